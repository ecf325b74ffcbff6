import pytest

from firstlight.errors import InvalidInput
from firstlight.services.access import Forbidden, NotSignedIn, Viewer
from firstlight.services.accounts.admission import AdmissionMissing, AdmissionSettled
from firstlight.services.accounts.authority import GroupMissing, UserMissing
from firstlight.services.accounts.groups import AlreadyMember, GroupExists, NotMember
from firstlight.services.accounts.invitations import Admission, InvitationMissing
from firstlight.services.accounts.users import NewUser


@pytest.fixture
def people(world):
    """Ada has a private group, Bob has none of it, Carl is a member."""
    ada, bob, carl = (world.person(name) for name in ("ada", "bob", "carl"))
    group = world.groups.create(ada, "supernovae", details={"private": True})
    world.groups.add_member(world.viewer(ada.user_id), group, carl.user_id)
    return group, world.viewer(ada.user_id), bob, world.viewer(carl.user_id)


def test_who_makes_a_group_administers_it(world, people):
    group, ada, _, carl = people
    found = world.groups.one(ada, group)
    assert [(user["username"], user["admin"]) for user in found["users"]] == [
        ("ada", True),
        ("carl", False),
    ]
    assert "users" not in world.groups.one(carl, group, with_users=False)
    world.groups.change(ada, group, "novae", {"description": "all\nof them"})
    assert world.groups.one(carl, group)["description"] == "all\nof them"


def test_a_private_group_is_not_there_for_others(world, people):
    group, _, bob, _ = people
    for look in (
        lambda: world.groups.one(bob, group),
        lambda: world.groups.change(bob, group, "mine", {}),
        lambda: world.groups.remove(bob, group),
        lambda: world.groups.add_member(bob, group, bob.user_id, admin=True),
        lambda: world.groups.change_member(bob, group, bob.user_id, {"admin": True}),
        lambda: world.groups.remove_member(bob, group, bob.user_id),
        lambda: world.groups.add_members_of(bob, group, [group]),
        lambda: world.groups.sites(bob, group),
        lambda: world.admissions.ask(bob, group, bob.user_id),
    ):
        with pytest.raises(GroupMissing):
            look()
    names = [each["name"] for each in world.groups.list(bob)["all_groups"]]
    assert names == ["Sitewide Group"]
    assert world.groups.named(bob, "supernovae") == []


def test_a_member_is_no_administrator(world, people):
    group, _, bob, carl = people
    for change in (
        lambda: world.groups.change_member(carl, group, carl.user_id, {"admin": True}),
        lambda: world.groups.add_member(carl, group, bob.user_id),
        lambda: world.groups.change(carl, group, "mine", {}),
        lambda: world.groups.remove(carl, group),
        lambda: world.groups.add_site(carl, group, "tst"),
    ):
        with pytest.raises(Forbidden):
            change()
    world.groups.remove_member(carl, group, carl.user_id)
    assert group not in world.viewer(carl.user_id).groups


def test_an_administrator_of_a_group_cannot_give_it_a_site(world, people):
    group, ada, _, _ = people
    with pytest.raises(Forbidden):
        world.groups.add_site(ada, group, "tst")
    world.groups.add_site(world.operator, group, "tst")
    assert world.groups.sites(ada, group) == ["tst"]
    for wrong in ("", " ", "a,b", "a\0"):
        with pytest.raises(InvalidInput):
            world.groups.add_site(world.operator, group, wrong)


def test_administering_one_group_is_not_administering_another(world, people):
    group, ada, bob, _ = people
    other = world.groups.create(bob, "comets", details={"private": True})
    bob = world.viewer(bob.user_id)
    with pytest.raises(GroupMissing):
        world.groups.add_member(ada, other, ada.user_id)
    with pytest.raises(GroupMissing):
        world.groups.add_members_of(ada, group, [other])  # it would tell who is in it
    with pytest.raises(GroupMissing):
        world.groups.change_member(bob, group, bob.user_id, {"admin": True})


def test_a_token_without_upload_manages_no_group(world, people):
    group, ada, bob, _ = people
    narrow = world.access.identify(world.tokens.make(ada, "x", ["comment"]).token)
    assert group in narrow.groups
    with pytest.raises(Forbidden):
        world.groups.add_member(narrow, group, bob.user_id)
    with pytest.raises(Forbidden):
        world.groups.create(narrow, "another")


def test_groups_that_stay(world, people):
    _, ada, bob, _ = people
    sitewide = world.groups.public(ada)["id"]
    own = next(g["id"] for g in world.groups.list(ada)["user_groups"] if g["single_user_group"])
    for group in (sitewide, own):
        for change in (
            lambda group=group: world.groups.remove(world.operator, group),
            lambda group=group: world.groups.change(world.operator, group, "x", {}),
            lambda group=group: world.groups.add_member(world.operator, group, bob.user_id),
            lambda group=group: world.groups.remove_member(world.operator, group, ada.user_id),
        ):
            with pytest.raises(InvalidInput):
                change()
    with pytest.raises(Forbidden):
        world.groups.remove_member(ada, sitewide, ada.user_id)
    with pytest.raises(GroupMissing):
        world.groups.one(bob, own)


@pytest.mark.parametrize("name", ["sitewide group", "Sitewide Group", "SUPERNOVAE", "ada"])
def test_names_are_taken_once(world, people, name):
    with pytest.raises(GroupExists):
        world.groups.create(people[1], name)


def test_members(world, people):
    group, ada, bob, carl = people
    with pytest.raises(AlreadyMember):
        world.groups.add_member(ada, group, carl.user_id)
    with pytest.raises(UserMissing):
        world.groups.add_member(ada, group, 999)
    with pytest.raises(NotMember):
        world.groups.remove_member(ada, group, bob.user_id)
    world.groups.change_member(ada, group, carl.user_id, {"can_save": False})
    carls = world.groups.one(ada, group)["users"][1]
    assert (carls["can_save"], carls["admin"]) == (False, False)
    world.groups.add_members_of(ada, group, [world.groups.public(ada)["id"]])
    assert len(world.groups.one(ada, group)["users"]) == 3
    assert world.groups.one(ada, group)["users"][1]["can_save"] is False


def test_removing_a_group(world, people):
    group, ada, _, carl = people
    world.groups.remove(ada, group)
    assert group not in world.viewer(carl.user_id).groups
    with pytest.raises(GroupMissing):
        world.groups.one(ada, group)


def test_a_manager_of_groups_reaches_all_but_the_groups_of_one(world, people):
    group, ada, bob, _ = people
    world.users.grant(world.operator, bob.user_id, acls=["Manage groups"])
    bob = world.viewer(bob.user_id)
    world.groups.add_member(bob, group, bob.user_id)
    own = next(g["id"] for g in world.groups.list(ada)["user_groups"] if g["single_user_group"])
    with pytest.raises(GroupMissing):
        world.groups.one(bob, own)
    with pytest.raises(Forbidden):
        world.groups.add_site(bob, group, "tst")


def test_strangers(world):
    for look in (
        lambda: world.groups.list(Viewer()),
        lambda: world.groups.one(Viewer(), 1),
        lambda: world.groups.public(Viewer()),
        lambda: world.groups.create(Viewer(), "x"),
        lambda: world.admissions.list(Viewer()),
        lambda: world.tokens.list(Viewer()),
    ):
        with pytest.raises(NotSignedIn):
            look()
    camera = world.access.identify(world.access.make("camera", ["upload", "read"]).token)
    with pytest.raises(Forbidden):
        world.groups.list(camera)


def test_admission(world, people):
    _, ada, bob, carl = people
    group = world.groups.create(ada, "comets")
    ada = world.viewer(ada.user_id)
    number = world.admissions.ask(bob, group, bob.user_id)
    assert world.admissions.ask(bob, group, bob.user_id) == number
    with pytest.raises(Forbidden):
        world.admissions.ask(bob, group, carl.user_id)
    with pytest.raises(Forbidden):
        world.admissions.settle(bob, number, "accepted")
    with pytest.raises(AdmissionMissing):
        world.admissions.one(carl, number)
    assert [each["id"] for each in world.admissions.list(ada, group_id=group)] == [number]
    with pytest.raises(InvalidInput):
        world.admissions.settle(ada, number, "maybe")
    world.admissions.settle(ada, number, "accepted")
    assert group in world.viewer(bob.user_id).groups
    assert world.admissions.one(bob, number)["status"] == "accepted"
    with pytest.raises(AdmissionSettled):
        world.admissions.ask(bob, group, bob.user_id)
    declined = world.admissions.ask(carl, group, carl.user_id)
    world.admissions.settle(ada, declined, "declined")
    assert group not in world.viewer(carl.user_id).groups
    world.admissions.withdraw(carl, declined)
    assert world.admissions.list(carl) == []


def test_a_group_that_accepts_everyone(world, people):
    _, ada, bob, _ = people
    group = world.groups.create(ada, "open", details={"auto_accept_requests": True})
    world.admissions.ask(bob, group, bob.user_id)
    assert group in world.viewer(bob.user_id).groups


@pytest.mark.parametrize("number", [0, -1, 2**31, 2**70, -(2**70)])
def test_numbers_that_are_none(world, people, number):
    group, ada, _, _ = people
    boss = world.person("boss", "Super admin")
    for look, fault in (
        (lambda: world.users.one(boss, number), UserMissing),
        (lambda: world.users.remove(boss, number), UserMissing),
        (lambda: world.users.set_password(boss, number, "a long password"), UserMissing),
        (lambda: world.users.create(boss, NewUser("x", groups=[(number, True)])), GroupMissing),
        (lambda: world.tokens.list(boss, user_id=number), UserMissing),
        (lambda: world.tokens.make(boss, "x", [], user_id=number), UserMissing),
        (lambda: world.groups.one(ada, number), GroupMissing),
        (lambda: world.groups.add_member(ada, group, number), UserMissing),
        (lambda: world.groups.add_member(ada, number, ada.user_id), GroupMissing),
        (lambda: world.groups.remove_member(ada, group, number), NotMember),
        (lambda: world.groups.add_members_of(ada, group, [number]), GroupMissing),
        (lambda: world.groups.create(ada, "y", admins=[number]), UserMissing),
        (lambda: world.admissions.one(ada, number), AdmissionMissing),
        (lambda: world.admissions.ask(ada, number, ada.user_id), GroupMissing),
        (lambda: world.invitations.withdraw(boss, number), InvitationMissing),
        (
            lambda: world.invitations.invite(boss, "a@b.org", groups=[Admission(number)]),
            GroupMissing,
        ),
        (lambda: world.sign_in.close_all(boss, number), UserMissing),
    ):
        with pytest.raises(fault):
            look()
    assert world.admissions.list(boss, group_id=number) == []
