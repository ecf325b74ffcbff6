"""Services are registered as old clients do it, kept safe, changed and taken away."""

import json

import pytest
from analysis_world import URL
from sqlalchemy import text

from firstlight.errors import InvalidInput
from firstlight.models.analysis import AnalysisService
from firstlight.remotes.guarded_http import GuardedClient, UrlRefused
from firstlight.remotes.settings import OutgoingSettings
from firstlight.services.access import Forbidden, NotSignedIn
from firstlight.services.analyses.analysis_services import (
    AnalysisServiceExists,
    AnalysisServiceMissing,
)
from firstlight.services.analyses.declared_parameters import BadDeclaration
from firstlight.services.analyses.sealed_secrets import SealedSecrets, SecretUnreadable

GIVEN = {
    "name": "n",
    "url": URL,
    "authentication_type": "none",
    "analysis_type": "meta_analysis",
    "input_data_types": ["redshift"],
}
TOKEN = {"header_token": {"Authorization": "Bearer MY_TOKEN"}}


def sealed(world, number):
    with world.database.reading() as session:
        return session.get_one(AnalysisService, number).sealed_authinfo


def refused(world, fault=InvalidInput, by="mia", **fields):
    with pytest.raises(fault) as caught:
        world.services.create(world.viewer(by), {**GIVEN, **fields})
    return caught.value


def test_a_service_is_shown_as_it_was_given_and_never_its_secret(analysis_world):
    world = analysis_world
    number = world.add_service(
        "My Awesome RR Lyrae Fitter",
        display_name="My display name",
        description="We fit",
        version="1.0",
        contact_name="I. M. Astronomer",
        contact_email="i@example.org",
        authentication_type="header_token",
        _authinfo=json.dumps(TOKEN),
        input_data_types=["redshift", "photometry"],
        optional_analysis_parameters='{"rrl_type": ["ab", "c"]}',
        timeout=60,
        is_summary=True,
        display_on_resource_dropdown=False,
    )
    shown = world.services.get(world.viewer("ada"), number)
    assert shown["optional_analysis_parameters"] == {"rrl_type": ["ab", "c"]}
    assert shown["input_data_types"] == ["photometry", "redshift"]
    assert shown["timeout"] == 60.0
    assert (shown["enabled"], shown["upload_only"], shown["is_summary"]) == (True, False, True)
    assert shown["display_on_resource_dropdown"] is False
    assert [group["name"] for group in shown["groups"]] == ["group A"]
    assert "MY_TOKEN" not in json.dumps(shown)
    assert "MY_TOKEN" not in json.dumps(world.services.details(world.viewer("mia"), number))
    with world.database.reading() as session:
        assert "MY_TOKEN" not in str(session.execute(text("SELECT * FROM analysis_services")).all())
    assert world.secrets.open(sealed(world, number)) == {"headers": TOKEN["header_token"]}


def test_a_secret_is_opened_with_the_same_key_alone(analysis_world):
    closed = analysis_world.secrets.seal({"a": "b"})
    assert closed != analysis_world.secrets.seal({"a": "b"})
    with pytest.raises(SecretUnreadable):
        SealedSecrets(b"another secret of the workspace!").open(closed)
    with pytest.raises(SecretUnreadable):
        analysis_world.secrets.open(closed[:-8] + "AAAAAAA=")


@pytest.mark.parametrize(
    ("kind", "info", "kept"),
    [
        ("header_token", TOKEN, {"headers": TOKEN["header_token"]}),
        (
            "api_key",
            {"api_key": "k", "api_key_name": "key"},
            {"api_key": "k", "api_key_name": "key"},
        ),
        ("api_key", {"api_key": "k"}, {"api_key": "k", "api_key_name": "api_key"}),
        (
            "api_key",
            {"api_key": {"api_key": "k", "api_key_name": "x"}},
            {"api_key": "k", "api_key_name": "x"},
        ),
        (
            "HTTPBasicAuth",
            {"HTTPBasicAuth": "", "username": "u", "password": "p"},
            {"username": "u", "password": "p"},
        ),
        (
            "HTTPDigestAuth",
            {"HTTPDigestAuth": {"username": "u", "password": "p"}},
            {"username": "u", "password": "p"},
        ),
        (
            "OAuth1",
            {
                "OAuth1": {
                    "app_key": "1",
                    "app_secret": "2",
                    "user_oauth_token": "3",
                    "user_oauth_token_secret": "4",
                }
            },
            {
                "app_key": "1",
                "app_secret": "2",
                "user_oauth_token": "3",
                "user_oauth_token_secret": "4",
            },
        ),
    ],
)
@pytest.mark.parametrize("as_text", [True, False])
def test_the_six_ways_to_be_known(analysis_world, kind, info, kept, as_text):
    given = json.dumps(info) if as_text else info
    number = analysis_world.add_service(authentication_type=kind, _authinfo=given)
    assert analysis_world.secrets.open(sealed(analysis_world, number)) == kept


@pytest.mark.parametrize(
    ("kind", "info", "message"),
    [
        ("header_token", None, "`_authinfo` is required"),
        ("header_token", "not JSON", "`_authinfo` must be parseable to a valid JSON object."),
        ("header_token", "[1]", "`_authinfo` must be parseable to a valid JSON object."),
        ("header_token", '{"other": 1}', '`_authinfo` must contain a key for "header_token".'),
        ("OAuth1", {"app": 1}, '`_authinfo` must contain a key for "OAuth1".'),
        ("HTTPBasicAuth", {"HTTPBasicAuth": {"username": "u"}}, "must contain a text `password`"),
        ("header_token", {"header_token": {"Host": "x"}}, "this header cannot be sent"),
        ("header_token", {"header_token": {"A": "b\nC: d"}}, "the value of a header cannot"),
        ("api_key", {"api_key": 5}, "must contain a text `api_key`"),
    ],
)
def test_wrong_authinfo(analysis_world, kind, info, message):
    fault = refused(analysis_world, authentication_type=kind, _authinfo=info)
    assert message in fault.message


@pytest.mark.parametrize(
    ("fields", "fault", "message"),
    [
        ({"url": None}, InvalidInput, "`url` is required to add an Analysis Service."),
        ({"url": "nowhere"}, InvalidInput, "a valid `url` is required to add an Analysis Service."),
        ({"url": "ftp://a/b"}, InvalidInput, "a valid `url`"),
        ({"url": "https://u:p@a.example/"}, InvalidInput, "a valid `url`"),
        ({"url": "local:unknown"}, InvalidInput, "no such local service"),
        ({"authentication_type": None}, InvalidInput, "`authentication_type` is required"),
        (
            {"authentication_type": "magic"},
            InvalidInput,
            "`authentication_type` must be one of: none, header_token",
        ),
        ({"analysis_type": "magic"}, InvalidInput, "`analysis_type` must be one of"),
        ({"analysis_type": None}, InvalidInput, "Invalid/missing parameters: analysis_type"),
        ({"input_data_types": ["magic"]}, InvalidInput, "`input_data_types` must be one of"),
        ({"optional_analysis_parameters": "{"}, InvalidInput, "Could not parse `optional_"),
        ({"optional_analysis_parameters": '{"a": 5}'}, BadDeclaration, "the parameter a"),
        ({"timeout": 0}, InvalidInput, ""),
        ({"timeout": float("inf")}, InvalidInput, ""),
        ({"timeout": 1e9}, InvalidInput, ""),
        ({"enabled": "perhaps"}, InvalidInput, ""),
        ({"input_format": "xml"}, InvalidInput, "`input_format` must be one of"),
        ({"name": " "}, InvalidInput, ""),
        ({"name": "a\x00b"}, InvalidInput, ""),
        ({"magic": 1}, InvalidInput, "Invalid/missing parameters: magic"),
        ({"group_ids": [999999]}, InvalidInput, ""),
    ],
)
def test_wrong_fields_are_named(analysis_world, fields, fault, message):
    caught = refused(analysis_world, fault, **fields)
    assert message in caught.message
    assert caught.field or "optional" in caught.message


def test_the_name_is_taken_once(either_world):
    either_world.add_service("one")
    fault = refused(either_world, AnalysisServiceExists, name="one")
    assert fault.message == "Analysis Service with that name already exists: one"
    other = either_world.add_service("two")
    with pytest.raises(AnalysisServiceExists):
        either_world.services.change(either_world.viewer("mia"), other, {"name": "one"})


def test_addresses_are_judged_when_given_and_when_changed(analysis_world):
    guard = GuardedClient(OutgoingSettings())
    analysis_world.check_url = guard.check_url
    private = "http://169.254.169.254/latest"
    analysis_world.services._rules = type(analysis_world.services._rules)(
        guard.check_url, lambda: ["period"]
    )
    refused(analysis_world, UrlRefused, url=private)
    number = analysis_world.add_service()
    mia = analysis_world.viewer("mia")
    with pytest.raises(UrlRefused):
        analysis_world.services.change(mia, number, {"url": private})
    # One that is never called may be anything, until it is; and nothing is sent to it.
    uploads = analysis_world.add_service(
        "uploads", url=private, upload_only=True, input_data_types=None
    )
    assert analysis_world.services.get(mia, uploads)["input_data_types"] == []
    with pytest.raises(UrlRefused):
        analysis_world.services.change(mia, uploads, {"upload_only": False})
    analysis_world.services.change(mia, uploads, {"upload_only": False, "url": "local:period"})
    assert analysis_world.services.get(mia, uploads)["url"] == "local:period"


def test_a_change_leaves_what_is_not_given(analysis_world):
    world, mia = analysis_world, analysis_world.viewer("mia")
    number = world.add_service(description="old", timeout=5)
    world.services.change(mia, number, {"version": "2", "enabled": False, "description": None})
    shown = world.services.get(mia, number)
    assert (shown["version"], shown["enabled"], shown["timeout"]) == ("2", False, 5.0)
    assert shown["description"] is None
    world.services.change(mia, number, {"group_ids": [world.groups["B"]], "timeout": None})
    assert [group["name"] for group in world.services.get(mia, number)["groups"]] == ["group B"]
    with pytest.raises(AnalysisServiceMissing):
        world.services.get(world.viewer("ada"), number)


def test_a_secret_does_not_follow_the_address_to_another_host(analysis_world):
    world = analysis_world
    number = world.add_service(authentication_type="header_token", _authinfo=TOKEN)
    root = world.viewer("root")
    with pytest.raises(InvalidInput, match="_authinfo"):
        world.services.change(root, number, {"url": "https://elsewhere.example/fit"})
    world.services.change(root, number, {"url": "https://analysis.example/other"})
    elsewhere = {"url": "https://elsewhere.example/fit"}
    world.services.change(world.viewer("mia"), number, elsewhere)  # who gave it
    world.services.change(root, number, {**elsewhere, "authinfo": {"header_token": {"A": "b"}}})
    assert world.secrets.open(sealed(world, number)) == {"headers": {"A": "b"}}
    with pytest.raises(InvalidInput, match="_authinfo"):
        world.services.change(root, number, {"authentication_type": "api_key"})
    world.services.change(root, number, {"authentication_type": "none"})
    assert sealed(world, number) is None


def test_removing_keeps_what_was_found_and_cancels_what_waits(either_world):
    world = either_world
    number = world.add_service(version="3")
    done, waits = world.start(number), world.start(number)
    world.set_status(done, "completed")
    world.services.remove(world.viewer("mia"), number)
    kept, ended = world.row(done), world.row(waits)
    assert (kept.status, kept.service_id, kept.service_name) == ("completed", None, "fitter")
    assert kept.service_version == "3"
    assert (ended.status, ended.next_try_at, ended.service_id) == ("cancelled", None, None)
    assert ended.finished_at == world.now
    assert world.events()[-1]["status"] == "cancelled"
    assert world.analyses.get(world.viewer("ada"), done)["analysis_service_name"] == "fitter"


def test_who_may(analysis_world):
    world = analysis_world
    refused(world, Forbidden, by="ada")
    refused(world, Forbidden, by="cy")
    refused(world, NotSignedIn, by=None)
    number = world.add_service(groups="A")
    assert [each["id"] for each in world.services.list(world.viewer("cy"))] == [number]
    assert world.services.list(world.viewer("bob")) == world.services.list(world.viewer(None)) == []
    for name in ("bob", None):
        with pytest.raises(AnalysisServiceMissing):
            world.services.get(world.viewer(name), number)
    for name, fault in (("ada", Forbidden), ("cy", Forbidden), (None, NotSignedIn)):
        with pytest.raises(fault):
            world.services.change(world.viewer(name), number, {"version": "9"})
        with pytest.raises(fault):
            world.services.remove(world.viewer(name), number)
    assert world.services.get(world.viewer("root"), number)["version"] is None
