import datetime as dt
import uuid

import pytest

from firstlight.errors import InvalidInput
from firstlight.models.account import User
from firstlight.models.audience import public_audience
from firstlight.models.notes import Comment
from firstlight.models.object import Object
from firstlight.services.access import Forbidden, NotSignedIn, TokenInvalid, Viewer
from firstlight.services.accounts.attempts import TooManyAttempts
from firstlight.services.accounts.authority import GroupMissing, LastAdmin, UserMissing
from firstlight.services.accounts.sign_in import SignInFailed
from firstlight.services.accounts.user_listing import UserQuery
from firstlight.services.accounts.users import NewUser, UsernameTaken

PASSWORD = "a long password"  # noqa: S105, of nobody


def test_an_account_has_a_group_of_its_own_and_is_in_the_group_of_all(world):
    ada = world.person("Ada")
    listed = world.groups.list(ada)
    assert {(group["name"], group["single_user_group"]) for group in listed["user_groups"]} == {
        ("ada", True),
        ("Sitewide Group", False),
    }
    assert {group["id"] for group in listed["user_groups"]} == ada.groups
    assert [group["name"] for group in listed["all_groups"]] == ["Sitewide Group"]


def test_own_groups_keep_apart_where_a_group_has_the_name(world):
    world.groups.create(world.operator, "ada")
    ada = world.person("ada")
    names = {group["name"] for group in world.groups.list(ada)["user_groups"]}
    assert names == {"ada (2)", "Sitewide Group"}


def test_a_super_admin_sees_all_and_another_what_the_groups_see(world):
    group = world.groups.create(world.operator, "tst people")
    world.groups.add_site(world.operator, group, "tst")
    boss = world.person("boss", "Super admin")
    ada = world.person("ada", groups=[(group, False)])
    bob = world.person("bob")
    assert boss.sees_all
    assert boss.readable_sites() is None
    assert not ada.sees_all
    assert ada.readable_sites() == {"tst", "open"}
    assert bob.readable_sites() == {"open"}
    assert bob.sites("watch") == {"open"}
    ada.require("upload")
    with pytest.raises(Forbidden):
        ada.require_delivery("tst")  # files of the site's cameras
    with pytest.raises(Forbidden):
        ada.require("manage_sources")
    world.groups.remove_site(world.operator, group, "tst")
    assert world.viewer(ada.user_id).readable_sites() == {"open"}


def test_an_operator_of_a_site(world):
    group = world.groups.create(world.operator, "tst people")
    world.groups.add_site(world.operator, group, "tst")
    ada = world.person("ada", acls=["Operate"], groups=[(group, False)])
    ada.require_delivery("tst")
    for site in ("sro", None):
        with pytest.raises(Forbidden):
            ada.require_delivery(site)


def test_who_has_no_site_gets_nothing_and_no_error(world):
    assert world.person("ada").sites() == {"open"}
    alone = Viewer("user/1", frozenset({"read", "watch"}), frozenset(), user_id=1)
    assert alone.sites() == frozenset()
    with pytest.raises(Forbidden):
        alone.sites("operate")


@pytest.mark.parametrize(
    "name", ["", " ", "a b", "a/b", "-ada", "operator", "x" * 129, "a\nb", "a\0b", "<b>"]
)
def test_what_cannot_be_a_username(world, name):
    with pytest.raises(InvalidInput):
        world.add(name)


def test_a_username_is_taken_once_whatever_the_case(world):
    world.add("ada")
    with pytest.raises(UsernameTaken):
        world.add("ADA")
    bob = world.add("bob")
    with pytest.raises(UsernameTaken):
        world.users.change_profile(world.operator, bob, {"username": "Ada"})
    assert world.users.one(world.operator, bob)["username"] == "bob"


def test_nobody_gives_what_they_have_not_got(world):
    manager = world.person("manager", "Group admin")
    ada = world.add("ada")
    boss = world.add("boss", "Super admin")
    for roles, acls in [
        (["Super admin"], []),
        ([], ["System admin"]),
        ([], ["Operate"]),
        ([], ["Manage groups"]),
    ]:
        with pytest.raises(Forbidden):
            world.users.grant(manager, ada, roles=roles, acls=acls)
        with pytest.raises(Forbidden):
            world.users.grant(manager, manager.user_id, roles=roles, acls=acls)
    with pytest.raises(Forbidden):
        world.users.create(manager, NewUser("eve", roles=["Super admin"]))
    for change in (
        lambda: world.users.set_expiry(manager, boss, world.now),
        lambda: world.users.remove(manager, boss),
        lambda: world.users.set_disabled(manager, boss, True),
        lambda: world.users.withdraw(manager, boss, roles=["Super admin"]),
        lambda: world.users.change_profile(manager, boss, {"contact_email": "eve@example.org"}),
        lambda: world.users.set_password(manager, boss, PASSWORD),
        # Whoever sets a password sees what its account sees.
        lambda: world.users.set_password(manager, ada, PASSWORD),
    ):
        with pytest.raises(Forbidden):
            change()
    world.users.grant(manager, ada, acls=["Manage sources"])
    assert world.users.one(manager, ada)["acls"] == ["Manage sources"]


def test_a_full_user_manages_nobody(world):
    ada, bob = world.person("ada"), world.add("bob")
    for change in (
        lambda: world.users.create(ada, NewUser("eve")),
        lambda: world.users.grant(ada, ada.user_id, acls=["Comment"]),
        lambda: world.users.remove(ada, bob),
        lambda: world.users.set_expiry(ada, bob, None),
        lambda: world.users.change_profile(ada, bob, {"first_name": "Eve"}),
        lambda: world.invitations.invite(ada, "eve@example.org"),
    ):
        with pytest.raises(Forbidden):
            change()
    with pytest.raises(NotSignedIn):
        world.users.list(Viewer())


def test_groups_are_given_by_those_who_administer_them(world):
    secret = world.groups.create(world.operator, "secret", details={"private": True})
    manager = world.person("manager", "Group admin")
    with pytest.raises(GroupMissing):
        world.users.create(manager, NewUser("eve", groups=[(secret, True)]))
    with pytest.raises(UserMissing):
        world.users.number_of(manager, "eve")


def test_somebody_remains_who_may_do_everything(world):
    first = world.add("first", "Super admin")
    second = world.add("second", "Super admin")
    world.users.withdraw(world.operator, second, roles=["Super admin"])
    for change in (
        lambda: world.users.withdraw(world.operator, first, roles=["Super admin"]),
        lambda: world.users.remove(world.viewer(first), first),
        lambda: world.users.set_disabled(world.operator, first, True),
        lambda: world.users.set_expiry(world.operator, first, world.now),
    ):
        with pytest.raises(LastAdmin):
            change()
    world.access.identify(None, from_loopback=True)  # nobody can sign in to the operator's
    with pytest.raises(LastAdmin):
        world.users.remove(world.operator, first)
    world.users.grant(world.operator, second, roles=["Super admin"])
    assert world.users.remove(world.operator, first)


def test_the_operators_account_is_left_alone(world):
    me = world.access.identify(None, from_loopback=True)
    assert me.username == "operator"
    assert me.sees_all
    assert world.access.identify(None, from_loopback=True) == me
    for change in (
        lambda: world.users.remove(world.operator, me.user_id),
        lambda: world.users.set_password(me, me.user_id, PASSWORD),
        lambda: world.users.set_disabled(world.operator, me.user_id, True),
        lambda: world.users.change_profile(me, me.user_id, {"username": "me"}),
    ):
        with pytest.raises(InvalidInput):
            change()
    world.users.change_profile(me, me.user_id, {"first_name": "Me"})
    with pytest.raises(SignInFailed):
        world.sign_in.sign_in("operator", "", "here")


def test_expired_and_closed_accounts_let_nobody_in(world):
    ada = world.add("ada", password=PASSWORD)
    token = world.tokens.make(world.viewer(ada), "laptop", ["comment"]).token
    session = world.sign_in.sign_in("ada", PASSWORD, "here").secret
    world.users.set_expiry(world.operator, ada, world.now + dt.timedelta(hours=1))
    world.access.identify(token)
    world.later(hours=1)
    for enter in (
        lambda: world.access.identify(token),
        lambda: world.sign_in.identify_session(session),
    ):
        with pytest.raises(TokenInvalid):
            enter()
    with pytest.raises(SignInFailed):
        world.sign_in.sign_in("ada", PASSWORD, "here")
    world.users.set_expiry(world.operator, ada, None)
    world.users.set_disabled(world.operator, ada, True)
    with pytest.raises(TokenInvalid):
        world.access.identify(token)
    world.users.set_disabled(world.operator, ada, False)
    world.access.identify(token)
    with pytest.raises(TokenInvalid):
        world.sign_in.identify_session(session)  # closing signed it out


def test_removing_an_account_takes_all_that_lets_it_in(world):
    ada = world.add("ada")
    token = world.tokens.make(world.viewer(ada), "laptop", []).token
    assert world.users.remove(world.operator, ada)
    with pytest.raises(TokenInvalid):
        world.access.identify(token)
    with pytest.raises(UserMissing):
        world.users.one(world.operator, ada)
    assert "ada" not in {
        group["name"]
        for group in world.groups.list(world.operator, with_single_user_groups=True)["all_groups"]
    }
    world.add("ada")


def test_an_author_is_emptied_and_stays_as_a_name(world):
    ada = world.add("ada", password=PASSWORD, acls=["Manage users"])
    world.users.change_profile(world.operator, ada, {"contact_email": "ada@example.org"})
    with world.database.begin() as session:
        session.add(comment_by(session, ada))
    assert not world.users.remove(world.operator, ada)
    left = world.users.one(world.operator, ada)
    assert (left["username"], left["contact_email"]) == ("ada", None)
    assert left["permissions"] == []
    with world.database.reading() as session:
        assert session.get_one(User, ada).password_hash is None
    assert world.users.list(world.operator)[1] == 0


def comment_by(session, user_id):
    audience = public_audience(session)
    thing = Object(
        id=uuid.uuid4(), name="FL1", ra=1.0, dec=2.0, origin="test", hpx=0, audience_id=audience
    )
    session.add(thing)
    session.flush()
    return Comment(object_id=thing.id, text="looks real", author_id=user_id, audience_id=audience)


def test_a_password_is_changed_with_the_old_one_and_signs_out_everywhere(world):
    ada = world.add("ada", password=PASSWORD)
    session = world.sign_in.sign_in("ada", PASSWORD, "here").secret
    me = world.sign_in.identify_session(session)
    for current in (None, "wrong"):
        with pytest.raises(Forbidden):
            world.users.set_password(me, ada, "another password", current=current)
    with pytest.raises(InvalidInput):
        world.users.set_password(me, ada, "short", current=PASSWORD)
    world.users.set_password(me, ada, "another password", current=PASSWORD)
    with pytest.raises(TokenInvalid):
        world.sign_in.identify_session(session)
    with pytest.raises(SignInFailed):
        world.sign_in.sign_in("ada", PASSWORD, "here")
    world.sign_in.sign_in("Ada ", "another password", "here")


def test_the_old_password_is_not_guessed(world):
    ada = world.add("ada", password=PASSWORD)
    me = world.viewer(ada)
    for _ in range(5):
        with pytest.raises(Forbidden):
            world.users.set_password(me, ada, "another password", current="wrong")
    with pytest.raises(TooManyAttempts):
        world.users.set_password(me, ada, "another password", current=PASSWORD)
    world.sign_in.sign_in("ada", PASSWORD, "here")


def test_a_narrow_token_does_not_set_the_password_of_its_account(world):
    ada = world.add("ada")  # signs in by token only
    narrow = world.access.identify(world.tokens.make(world.viewer(ada), "x", ["comment"]).token)
    with pytest.raises(Forbidden):
        world.users.set_password(narrow, ada, PASSWORD)
    with pytest.raises(Forbidden):
        world.users.change_profile(narrow, ada, {"username": "eve"})
    world.users.set_password(world.viewer(ada), ada, PASSWORD)


def test_passwords_are_stored_as_slow_hashes(world):
    world.add("ada", password=PASSWORD)
    dump = world.kept()
    assert PASSWORD not in dump
    assert "$argon2id$" in dump


def test_listing(world):
    world.add("ada", "Full user")
    world.add("bob", "View only", acls=["Comment"])
    old = world.add("old")
    world.users.change_profile(
        world.operator, old, {"first_name": "Ol_d", "contact_email": "old@example.org"}
    )
    world.users.set_expiry(world.operator, old, world.now)

    def names(viewer=world.operator, **query):
        found, total = world.users.list(viewer, UserQuery(**query))
        assert total >= len(found)
        return [user["username"] for user in found]

    assert names() == ["ada", "bob"]
    assert names(include_expired=True, descending=True) == ["old", "bob", "ada"]
    assert names(acl="Comment") == ["ada", "bob"]
    assert names(role="View only") == ["bob"]
    assert names(username="B") == ["bob"]
    assert names(first_name="l_", include_expired=True) == ["old"]
    assert names(first_name="%", include_expired=True) == []
    assert names(group="Sitewide Group", page=2, per_page=1) == ["bob"]
    assert names(page=9, per_page=10) == []
    assert world.users.list(world.operator, UserQuery(per_page=1))[1] == 2
    for wrong in ({"sort_by": "password_hash"}, {"username": "a\0"}):
        with pytest.raises(InvalidInput):
            names(**wrong)
    ada = world.viewer(1)
    assert names(ada, email="example", include_expired=True) == []
    shown = {user["username"]: user for user in world.users.list(ada)[0]}
    assert "permissions" in shown["ada"]
    assert "permissions" not in shown["bob"]
    assert [group["name"] for group in shown["bob"]["groups"]] == ["Sitewide Group"]
    assert world.users.one(ada, old)["contact_email"] is None


def test_preferences_are_merged(world):
    ada = world.person("ada")
    world.users.change_profile(ada, ada.user_id, {"preferences": {"theme": "dark", "page": 3}})
    world.users.change_profile(ada, ada.user_id, {"preferences": {"page": None, "unit": "uJy"}})
    assert world.users.profile(ada)["preferences"] == {"theme": "dark", "unit": "uJy"}
