"""SkyPortal's own client on a real port: users, groups, tokens, roles, invitations."""

import datetime as dt

import pytest
import skyportal_py
from skyportal_py import SkyPortalError
from skyportal_py.groups import GroupPost
from skyportal_py.invitations import InvitationPost
from skyportal_py.profile import ProfilePatch
from skyportal_py.users import UserPost

from firstlight.services.access import operator
from firstlight.services.accounts.users import NewUser
from firstlight.web.app import create_app


@pytest.fixture
def portal(make_services, serve):
    """A portal with a Super admin; makes clients of it."""
    services = make_services()
    boss = services.users.create(operator(), NewUser("boss", roles=["Super admin"]))
    url = serve(create_app(services))

    def connect(user_id=boss, scopes=("admin",)):
        made = services.user_tokens.make(
            operator(), f"token {len(scopes)} {dt.datetime.now(dt.UTC)}", scopes, user_id=user_id
        )
        return skyportal_py.create_client(url, made.token, trust_env=False)

    opened = []

    def client(*arguments, **options):
        opened.append(connect(*arguments, **options))
        return opened[-1]

    client.services, client.url, client.boss = services, url, boss
    yield client
    for each in opened:
        each.close()


def test_users(portal):
    sky = portal()
    group = sky.post_group(GroupPost(name="supernovae")).id
    new = UserPost(
        username="Bobby",
        first_name="Bob",
        affiliations=["Here"],
        contact_email="bob@example.org",
        roles=["Full user"],
        group_ids_and_admin=[[1, False], [group, True]],
    )
    bob = sky.post_user(new).id
    found = sky.fetch_user(bob)
    assert (found.username, found.roles, found.affiliations) == ("bobby", ["Full user"], ["Here"])
    assert "Upload data" in found.permissions
    sky.update_user(bob, expiration_date="2030-01-01")
    assert sky.fetch_user(bob).expiration_date == dt.datetime(2030, 1, 1)  # noqa: DTZ001, naive as there
    sky.update_user(bob)
    sky.update_user(bob, expiration_date=None)
    assert sky.fetch_user(bob).expiration_date is None
    page = sky.fetch_users(num_per_page=1, page_number=2)
    assert (page.total_matches, [user.username for user in page.users]) == (2, ["boss"])
    everyone = sky.fetch_users(
        first_name="b", role="Full user", acl="Comment", group="supernovae", stream="x",
        include_expired=True, sort_by="createdAt", sort_order="desc",
    )  # fmt: skip
    assert [user.username for user in everyone.users] == ["bobby"]
    assert {each.name for each in everyone.users[0].groups} == {
        "bobby",
        "Sitewide Group",
        "supernovae",
    }
    sky.delete_user(bob)
    with pytest.raises(SkyPortalError) as fault:
        sky.fetch_user(bob)
    assert fault.value.status_code == 404


def test_roles_and_acls(portal):
    sky = portal()
    bob = sky.post_user(UserPost(username="bob", roles=["View only"])).id
    assert "Comment" in sky.fetch_acls()
    roles = {role.id: role.acls for role in sky.fetch_roles()}
    assert roles["View only"] == []
    assert roles["Super admin"] == sky.fetch_acls()
    sky.post_user_acl(bob, ["Comment", "Annotate"])
    sky.delete_user_acl(bob, "Annotate")
    sky.post_user_role(bob, ["Full user"])
    sky.delete_user_role(bob, "View only")
    found = sky.fetch_user(bob)
    assert (found.acls, found.roles) == (["Comment"], ["Full user"])
    with pytest.raises(SkyPortalError, match="cannot be used") as fault:
        sky.post_user_acl(bob, ["Become user"])
    assert fault.value.status_code == 400
    with pytest.raises(SkyPortalError) as fault:
        sky.delete_user_role(portal.boss, "Super admin")
    assert fault.value.status_code == 409


def test_groups(portal):
    sky = portal()
    public = sky.fetch_public_group()
    assert public.name == "Sitewide Group"
    listed = sky.fetch_groups(include_single_user_groups=True)
    assert {group.name for group in listed.user_groups} == {"Sitewide Group", "boss"}
    number = sky.post_group(GroupPost(name="g2", nickname="two", auto_accept_requests=True)).id
    assert [user.id for user in sky.fetch_group(number).users] == []
    added = sky.post_group_user(number, portal.boss, admin=True)
    assert (added.group_id, added.user_id, added.admin) == (number, portal.boss, True)
    sky.update_group_user(number, portal.boss, can_save=False)
    found = sky.fetch_group(number)
    assert (found.users[0].can_save, found.group_users[0].user["username"]) == (False, "boss")
    assert sky.fetch_group(number, include_group_users=False).users is None
    sky.update_group(number, "g2", description="d", private=True)
    sky.update_group(number, "g3")
    assert [group.description for group in sky.fetch_groups_by_name("g3")] == ["d"]
    assert sky.fetch_groups_by_name("g2") == []
    sky.delete_group_user(number, portal.boss)
    sky.post_group_users_from_groups(number, [public.id])
    assert [user.username for user in sky.fetch_group(number).users] == ["boss"]
    named = sky.post_group(GroupPost(name="g4", group_admins=[portal.boss])).id
    assert sky.fetch_group(named).users[0].admin
    for group in (number, named):
        sky.delete_group(group)
    with pytest.raises(SkyPortalError, match="kept as it is"):
        sky.delete_group(public.id)
    assert sky.fetch_streams() == []
    assert sky.fetch_filters() == []


def test_a_full_user_administers_the_group_made_with_a_token(portal):
    boss = portal()
    bob = boss.post_user(UserPost(username="bob")).id
    sky = portal(bob, ["upload"])
    number = sky.post_group(GroupPost(name="bobs")).id
    assert [user.admin for user in sky.fetch_group(number).users] == [True]


def test_admission(portal):
    boss = portal()
    bob = boss.post_user(UserPost(username="bob")).id
    number = boss.post_group(GroupPost(name="comets")).id
    sky = portal(bob, ["upload"])
    asked = sky.post_group_admission_request(number, bob).id
    assert sky.fetch_group_admission_request(asked).status == "pending"
    assert [each.id for each in boss.fetch_group_admission_requests(group_id=number)] == [asked]
    assert [each.id for each in sky.fetch_profile().group_admission_requests] == [asked]
    boss.update_group_admission_request(asked, "accepted")
    assert [user.username for user in sky.fetch_group(number).users] == ["bob"]
    sky.delete_group_admission_request(asked)
    assert sky.fetch_group_admission_requests() == []


def test_profile(portal):
    sky = portal()
    sky.update_profile(ProfilePatch(first_name="Ada", bio="two\nlines", preferences={"k": 1}))
    found = sky.fetch_profile()
    assert (found.first_name, found.preferences, found.is_anonymous) == ("Ada", {"k": 1}, False)
    assert found.tokens[0].acls == ["System admin"]
    bob = sky.post_user(UserPost(username="bob")).id
    sky.update_profile(ProfilePatch(first_name="Bob", is_bot=True), user_id=bob)
    assert sky.fetch_user(bob).is_bot


def test_tokens(portal):
    sky = portal()
    secret = sky.post_token("t1", ["Comment"]).token_id
    assert [acl["id"] for acl in sky.fetch_token(secret).acls] == ["Comment"]
    sky.update_token(secret, name="t2", acls=["Comment", "Annotate"])
    [found] = [token for token in sky.fetch_tokens() if token.name == "t2"]
    assert found.id != secret
    assert found.created_by["username"] == "boss"
    other = skyportal_py.create_client(portal.url, secret, trust_env=False)
    assert other.fetch_profile().username == "boss"
    with pytest.raises(SkyPortalError) as fault:
        other.post_user(UserPost(username="eve"))
    assert fault.value.status_code == 403
    with pytest.raises(SkyPortalError) as fault:
        other.post_token("more", ["System admin"])
    assert fault.value.status_code == 403
    sky.delete_token(found.id)
    with pytest.raises(SkyPortalError, match="not known") as fault:
        other.fetch_profile()
    assert fault.value.status_code == 401
    bob = sky.post_user(UserPost(username="bob")).id
    sky.post_token("for bob", ["Comment"], user_id=bob)
    assert [token.name for token in sky.fetch_tokens(user_id=bob)] == ["for bob"]
    other.close()


def test_invitations(portal):
    sky = portal()
    number = sky.post_group(GroupPost(name="people")).id
    payload = InvitationPost(
        user_email="ada@example.org",
        group_ids=[number, 1],
        group_admin=[True, False],
        role="View only",
        user_expiration_date="2030-01-01",
    )
    made = sky.post_invitation(payload).id
    page = sky.fetch_invitations(
        include_used=True, email="ada", group="people", invited_by="boss", stream="x"
    )
    assert page.total_matches == 1
    invitation = page.invitations[0]
    assert (invitation.user_email, invitation.admin_for_groups) == ("ada@example.org", [True])
    assert (invitation.role.id, invitation.invited_by.username) == ("View only", "boss")
    sky.update_invitation(made, group_ids=[], role="Full user", user_expiration_date="2031-01-01")
    assert sky.fetch_invitations().invitations[0].groups == []
    sky.delete_invitation(made)
    assert sky.fetch_invitations().total_matches == 0


def test_strangers_and_wrong_tokens(portal):
    calls = (
        lambda sky: sky.fetch_profile(),
        lambda sky: sky.fetch_users(),
        lambda sky: sky.fetch_user(1),
        lambda sky: sky.fetch_groups(),
        lambda sky: sky.fetch_group(1),
        lambda sky: sky.fetch_public_group(),
        lambda sky: sky.fetch_tokens(),
        lambda sky: sky.fetch_acls(),
        lambda sky: sky.fetch_roles(),
        lambda sky: sky.fetch_invitations(),
        lambda sky: sky.fetch_group_admission_requests(),
        lambda sky: sky.post_group(GroupPost(name="x")),
        lambda sky: sky.post_user(UserPost(username="eve")),
        lambda sky: sky.post_token("x", []),
        lambda sky: sky.delete_user(1),
        lambda sky: sky.delete_group(1),
    )
    for token in (None, "fl_wrong"):
        with skyportal_py.create_client(portal.url, token, trust_env=False) as sky:
            for call in calls:
                with pytest.raises(SkyPortalError) as fault:
                    call(sky)
                assert fault.value.status_code == 401
                assert "non-JSON" not in str(fault.value)
