import datetime as dt
import sqlite3

import pytest

from firstlight.errors import InvalidInput
from firstlight.models.base import utc_now
from firstlight.models.token import SCOPES
from firstlight.services.access import Forbidden, NotSignedIn, TokenInvalid, Viewer
from firstlight.services.accounts.tokens import AccessService, TokenExists, TokenMissing
from firstlight.services.web_settings import WebSettings

HOUR = dt.timedelta(hours=1)


@pytest.fixture
def access(database):
    return AccessService(database=database, settings=WebSettings(public_sites=("open",)))


def test_a_token_is_shown_once_and_kept_as_a_hash(access, database):
    made = access.make("camera", ["upload"], sites=["tst", "sro"])
    assert made.token.startswith("fl_")
    assert len(made.token) > 40
    assert made.facts["prefix"] == made.token[:10]
    assert access.list() == [made.facts]
    assert made.facts["sites"] == ["sro", "tst"]
    with sqlite3.connect(database.url.database) as raw:
        dump = "\n".join(raw.iterdump())
    raw.close()
    assert "camera" in dump
    assert made.token not in dump


def test_a_token_tells_who_comes(access):
    viewer = access.identify(access.make("camera", ["upload"], sites=["tst"]).token)
    assert viewer.name == "camera"
    viewer.require("upload", "tst")
    with pytest.raises(Forbidden, match="does not allow to upload at site sro"):
        viewer.require("upload", "sro")
    with pytest.raises(Forbidden):
        viewer.require("upload")  # everywhere
    with pytest.raises(Forbidden):
        viewer.require("read", "tst")
    viewer.require("read", "open")


@pytest.mark.parametrize("token", ["", "fl_nothing", "fl_\udcff", "x" * 10_000])
def test_an_unknown_token_is_no_token(access, token):
    with pytest.raises(TokenInvalid):
        access.identify(token)
    with pytest.raises(TokenInvalid):
        access.identify(token, from_loopback=True)


def test_revoked_and_expired_tokens_are_worthless(database):
    now = [utc_now()]
    access = AccessService(database=database, settings=WebSettings(), clock=lambda: now[0])
    first = access.make("first", ["read"]).token
    second = access.make("second", ["read"], expires_at=now[0] + HOUR).token
    assert access.revoke("first")["revoked_at"] == access.revoke("first")["revoked_at"] is not None
    with pytest.raises(TokenInvalid, match="revoked"):
        access.identify(first)
    access.identify(second)
    now[0] += HOUR
    with pytest.raises(TokenInvalid, match="expired"):
        access.identify(second)


def test_a_name_is_used_once(access):
    access.make("camera", ["read"])
    access.revoke("camera")
    with pytest.raises(TokenExists):
        access.make("camera", ["read"])
    with pytest.raises(TokenMissing):
        access.revoke("another")


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": " "},
        {"name": "a\nb"},
        {"name": "this machine"},
        {"name": "user/1"},
        {"name": "x" * 129},
        {"scopes": []},
        {"scopes": ["write"]},
        {"sites": []},
        {"sites": [""]},
        {"expires_at": dt.datetime(2020, 1, 1, tzinfo=dt.UTC)},
    ],
)
def test_what_makes_no_sense_makes_no_token(access, wrong):
    options = {"name": "camera", "scopes": ["read"], **wrong}
    with pytest.raises(InvalidInput):
        access.make(options.pop("name"), options.pop("scopes"), **options)
    assert access.list() == []


def test_without_a_token_only_what_is_public(access):
    viewer = access.identify(None)
    assert viewer.sites() == {"open"}
    viewer.require("watch", "open")
    for scope, site in [("read", "tst"), ("upload", "open"), ("read", None), ("admin", None)]:
        with pytest.raises(NotSignedIn):
            viewer.require(scope, site)


def test_public_sites_are_added_to_a_readers_own(access):
    token = access.make("reader", ["read"], sites=["tst"]).token
    assert access.identify(token).sites() == {"open", "tst"}
    assert access.identify(token).sites("watch") == {"open"}
    assert access.identify(access.make("all", ["read"]).token).sites() is None


def test_all_may_be_public(database):
    access = AccessService(database=database, settings=WebSettings(public_sites="*"))
    assert access.identify(None).sites() is None
    access.identify(None).require("read", "anything")
    access.identify(None).require("read")


def test_a_limit_that_leaves_nothing_is_an_error_not_an_empty_list():
    with pytest.raises(NotSignedIn):
        Viewer().sites()
    with pytest.raises(Forbidden):
        Viewer("camera", frozenset({"upload"}), frozenset({"tst"})).sites("watch")


@pytest.mark.parametrize(
    ("scope", "implied"),
    [
        ("admin", set(SCOPES)),
        ("operate", {"read", "watch", "upload", "operate"}),
        ("read", {"read"}),
        ("watch", {"watch"}),
        ("upload", {"upload"}),
    ],
)
def test_what_a_scope_brings_with_it(access, scope, implied):
    assert access.identify(access.make("x", [scope]).token).scopes == implied


def test_the_laptops_owner_needs_no_token(database):
    open_ = AccessService(database=database, settings=WebSettings())
    closed = AccessService(database=database, settings=WebSettings(open_on_loopback=False))
    assert open_.identify(None, from_loopback=True).may("admin")
    assert not open_.identify(None, from_loopback=False).may("read")
    assert not closed.identify(None, from_loopback=True).may("read")


def test_what_the_owner_of_a_webhook_may_watch_now(database):
    access = AccessService(database=database, settings=WebSettings(public_sites=("open",)))
    access.make("some", ["watch"], sites=["tst"])
    access.make("all", ["operate"])
    access.make("reader", ["read"])
    assert access.sites_of("some") == {"tst", "open"}
    assert access.sites_of("all") is None
    assert access.sites_of("reader") == {"open"}
    assert access.sites_of("this machine") is None
    access.revoke("all")
    assert access.sites_of("all") == access.sites_of("nobody") == frozenset()
    closed = AccessService(database=database, settings=WebSettings(open_on_loopback=False))
    assert closed.sites_of("this machine") == frozenset()
