import datetime as dt

import pytest

from firstlight.errors import InvalidInput
from firstlight.services.access import Forbidden
from firstlight.services.accounts.authority import GroupMissing
from firstlight.services.accounts.invitations import (
    Admission,
    InvitationInvalid,
    InvitationMissing,
    InvitationQuery,
)
from firstlight.services.accounts.users import UsernameTaken

PASSWORD = "a long password"  # noqa: S105, of nobody


def test_it_works_once_and_makes_the_account(world):
    group = world.groups.create(world.operator, "people")
    made = world.invitations.invite(
        world.operator,
        "ada@example.org",
        role="Group admin",
        groups=[Admission(group, admin=True, can_save=False)],
    )
    assert world.invitations.look(made.secret) == {
        "email": "ada@example.org",
        "role": "Group admin",
    }
    number = world.invitations.accept(made.secret, "Ada", PASSWORD, {"first_name": "Ada"})
    found = world.users.one(world.operator, number)
    assert (found["username"], found["contact_email"]) == ("ada", "ada@example.org")
    assert found["roles"] == ["Group admin"]
    assert group in world.viewer(number).groups
    member = world.groups.one(world.operator, group)["users"][0]
    assert (member["admin"], member["can_save"]) == (True, False)
    world.sign_in.sign_in("ada", PASSWORD, "here")
    for again in (
        lambda: world.invitations.look(made.secret),
        lambda: world.invitations.accept(made.secret, "eve", PASSWORD),
    ):
        with pytest.raises(InvitationInvalid):
            again()


def test_it_is_kept_as_a_hash(world):
    made = world.invitations.invite(world.operator, "ada@example.org")
    dump = world.kept()
    assert made.secret not in dump
    listed, total = world.invitations.list(world.operator)
    assert total == 1
    assert listed[0]["token"] is None


def test_it_ends(world):
    made = world.invitations.invite(world.operator, "ada@example.org")
    world.later(days=7)
    with pytest.raises(InvitationInvalid):
        world.invitations.accept(made.secret, "ada", PASSWORD)
    other = world.invitations.invite(world.operator, "ada@example.org")
    world.invitations.withdraw(world.operator, other.number)
    for secret in (other.secret, "", "x\udcff", "y" * 5000):
        with pytest.raises(InvitationInvalid):
            world.invitations.look(secret)


def test_a_wrong_choice_does_not_use_it_up(world):
    world.add("ada")
    made = world.invitations.invite(world.operator, "ada@example.org")
    with pytest.raises(UsernameTaken):
        world.invitations.accept(made.secret, "ada", PASSWORD)
    for username, password in (("", PASSWORD), ("ada2", "short"), ("operator", PASSWORD)):
        with pytest.raises(InvalidInput):
            world.invitations.accept(made.secret, username, password)
    world.invitations.accept(made.secret, "ada2", PASSWORD)


def test_nobody_invites_to_more_than_they_have(world):
    secret = world.groups.create(world.operator, "secret", details={"private": True})
    manager = world.person("manager", "Group admin")
    with pytest.raises(Forbidden):
        world.invitations.invite(manager, "eve@example.org", role="Super admin")
    with pytest.raises(GroupMissing):
        world.invitations.invite(manager, "eve@example.org", groups=[Admission(secret)])
    made = world.invitations.invite(manager, "eve@example.org", role="View only")
    with pytest.raises(Forbidden):
        world.invitations.change(manager, made.number, role="Super admin")
    with pytest.raises(GroupMissing):
        world.invitations.change(manager, made.number, group_ids=[secret])
    other = world.person("other", "Group admin")
    with pytest.raises(InvitationMissing):
        world.invitations.withdraw(other, made.number)
    assert world.invitations.list(other) == ([], 0)


def test_what_its_giver_has_lost_is_not_given(world):
    manager = world.person("manager", "Group admin")
    made = world.invitations.invite(manager, "eve@example.org", role="Group admin")
    world.users.grant(world.operator, manager.user_id, roles=["Full user"])
    world.users.withdraw(world.operator, manager.user_id, roles=["Group admin"])
    with pytest.raises(InvitationInvalid):
        world.invitations.accept(made.secret, "eve", PASSWORD)
    world.users.grant(world.operator, manager.user_id, roles=["Group admin"])
    world.users.remove(world.operator, manager.user_id)
    with pytest.raises(InvitationInvalid):
        world.invitations.accept(made.secret, "eve", PASSWORD)


def test_listing_and_changing(world):
    group = world.groups.create(world.operator, "people")
    boss = world.person("boss", "Super admin")
    first = world.invitations.invite(boss, "ada@example.org")
    world.invitations.invite(boss, "bob@example.org", groups=[Admission(group, admin=True)])
    until = world.now + dt.timedelta(days=300)
    world.invitations.change(
        boss, first.number, role="View only", group_ids=[group], user_expires_at=until
    )

    def found(**query):
        listed, total = world.invitations.list(boss, InvitationQuery(**query))
        assert total >= len(listed)
        return [each["user_email"][:3] for each in listed]

    assert found() == ["ada", "bob"]
    assert found(email="BOB") == ["bob"]
    assert found(group="people") == ["ada", "bob"]
    assert found(group="others") == []
    assert found(invited_by="boss", per_page=1, page=2) == ["bob"]
    assert found(invited_by="ada") == []
    facts = world.invitations.list(boss)[0][0]
    assert (facts["role_id"], facts["admin_for_groups"]) == ("View only", [False])
    number = world.invitations.accept(first.secret, "ada", PASSWORD)
    assert world.users.one(boss, number)["expiration_date"] == "2027-06-20T20:00:00"
    assert found() == ["bob"]
    assert found(include_used=True) == ["ada", "bob"]
    with pytest.raises(InvalidInput):
        world.invitations.change(boss, first.number, role="Full user")


@pytest.mark.parametrize("email", ["", " ", "ada", "a@b\0", "x" * 250 + "@b.org"])
def test_what_is_no_address(world, email):
    with pytest.raises(InvalidInput):
        world.invitations.invite(world.operator, email)
