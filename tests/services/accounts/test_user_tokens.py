import datetime as dt

import pytest

from firstlight.errors import InvalidInput
from firstlight.services.access import Forbidden, TokenInvalid
from firstlight.services.accounts.authority import UserMissing
from firstlight.services.accounts.tokens import TokenExists, TokenMissing


def test_it_is_shown_once_and_kept_as_a_hash(world):
    ada = world.person("ada")
    made = world.tokens.make(ada, "laptop", ["comment"])
    dump = world.kept()
    assert made.token not in dump
    assert world.tokens.list(ada) == [made.facts]
    assert made.facts["name"] == "laptop"
    assert [acl["id"] for acl in made.facts["acls"]] == ["Comment"]
    by_secret = world.tokens.one(ada, made.token)
    assert by_secret == world.tokens.one(ada, made.facts["id"])


def test_it_allows_what_it_says_and_to_read(world):
    ada = world.person("ada")
    viewer = world.access.identify(world.tokens.make(ada, "x", ["comment"]).token)
    assert viewer.scopes == {"comment", "read", "watch"}
    assert (viewer.user_id, viewer.groups) == (ada.user_id, ada.groups)
    assert world.access.identify(world.tokens.make(ada, "y", []).token).scopes == {"read", "watch"}


def test_it_never_allows_more_than_its_account(world):
    ada = world.person("ada")
    for scopes in (["manage_users"], ["admin"], ["operate"], ["comment", "manage_groups"]):
        with pytest.raises(Forbidden):
            world.tokens.make(ada, "more", scopes)
    with pytest.raises(InvalidInput):
        world.tokens.make(ada, "more", ["everything"])
    token = world.tokens.make(ada, "x", ["comment", "upload"])
    world.users.withdraw(world.operator, ada.user_id, roles=["Full user"])
    assert world.access.identify(token.token).scopes == {"read", "watch"}
    world.users.grant(world.operator, ada.user_id, acls=["Comment", "Manage users"])
    assert world.access.identify(token.token).scopes == {"comment", "read", "watch"}


def test_a_narrow_token_makes_none_that_is_wider(world):
    boss = world.person("boss", "Super admin")
    narrow = world.access.identify(world.tokens.make(boss, "narrow", ["comment"]).token)
    assert not narrow.sees_all
    with pytest.raises(Forbidden):
        world.tokens.make(narrow, "wide", ["upload"])
    with pytest.raises(Forbidden):
        world.tokens.change(narrow, world.tokens.list(boss)[0]["id"], scopes=["admin"])
    world.tokens.make(narrow, "as narrow", ["comment"])
    at_site = world.tokens.make(boss, "at tst", ["admin"], sites=["tst"])
    bound = world.access.identify(at_site.token)
    assert not bound.sees_all
    assert bound.readable_sites() == {"tst", "open"}
    child = world.access.identify(world.tokens.make(bound, "child", ["read"]).token)
    assert child.readable_sites() == {"tst", "open"}
    assert not child.sees_all
    with pytest.raises(Forbidden):
        world.tokens.make(bound, "elsewhere", ["read"], sites=["sro"])


def test_a_token_at_sites_reaches_none_that_its_account_does_not(world):
    ada = world.person("ada")
    token = world.tokens.make(ada, "x", ["read"], sites=["tst"]).token
    assert world.access.identify(token).readable_sites() == {"open"}


def test_tokens_of_others_are_not_there(world):
    ada, bob = world.person("ada"), world.person("bob", "Group admin")
    made = world.tokens.make(ada, "laptop", ["comment"])
    for look in (made.token, made.facts["id"]):
        with pytest.raises(TokenMissing):
            world.tokens.one(bob, look)
        with pytest.raises(TokenMissing):
            world.tokens.remove(bob, look)
        with pytest.raises(TokenMissing):
            world.tokens.change(bob, look, name="mine")
    with pytest.raises(UserMissing):
        world.tokens.list(bob, user_id=ada.user_id)
    with pytest.raises(UserMissing):
        world.tokens.make(bob, "spy", [], user_id=ada.user_id)
    boss = world.person("boss", "Super admin")
    assert world.tokens.list(boss, user_id=ada.user_id) == [made.facts]
    with pytest.raises(Forbidden):
        world.tokens.make(boss, "more", ["admin"], user_id=ada.user_id)
    assert (
        world.access.identify(
            world.tokens.make(boss, "for ada", ["comment"], user_id=ada.user_id).token
        ).username
        == "ada"
    )


def test_tokens_of_the_workspace_are_no_ones(world):
    boss = world.person("boss", "Super admin")
    made = world.access.make("camera", ["upload"])
    with pytest.raises(TokenMissing):
        world.tokens.one(boss, made.facts["id"])


def test_names(world):
    ada, bob = world.person("ada"), world.person("bob")
    made = world.tokens.make(ada, "laptop", [])
    world.tokens.make(bob, "laptop", [])
    with pytest.raises(TokenExists):
        world.tokens.make(ada, "laptop", [])
    world.tokens.make(ada, "desk/top", [])
    with pytest.raises(TokenExists):
        world.tokens.change(ada, made.facts["id"], name="desk/top")
    world.tokens.change(ada, made.token, name="old laptop")
    assert world.tokens.one(ada, made.token)["name"] == "old laptop"
    for wrong in ("", " ", "x" * 101, "a\nb"):
        with pytest.raises(InvalidInput):
            world.tokens.make(ada, wrong, [])


def test_the_end_of_a_token(world):
    ada = world.person("ada")
    soon = world.now + dt.timedelta(hours=1)
    first = world.tokens.make(ada, "first", [], expires_at=soon).token
    second = world.tokens.make(ada, "second", [])
    world.tokens.remove(ada, second.token)
    with pytest.raises(TokenInvalid):
        world.access.identify(second.token)
    world.access.identify(first)
    world.later(hours=1)
    with pytest.raises(TokenInvalid):
        world.access.identify(first)
    with pytest.raises(InvalidInput):
        world.tokens.make(ada, "third", [], expires_at=soon)


def test_what_the_owner_of_a_webhook_may_watch(world):
    group = world.groups.create(world.operator, "people")
    world.groups.add_site(world.operator, group, "tst")
    ada = world.person("ada", groups=[(group, False)])
    token = world.access.identify(world.tokens.make(ada, "x", []).token)
    assert world.access.sites_of(ada.name) == {"tst", "open"}
    assert world.access.sites_of(token.name) == {"tst", "open"}
    world.users.set_disabled(world.operator, ada.user_id, True)
    assert world.access.sites_of(ada.name) == world.access.sites_of(token.name) == frozenset()
    assert world.access.sites_of("user/999") == frozenset()
