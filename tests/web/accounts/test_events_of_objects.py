"""The stream tells of an object those who may see what has changed, and nobody else."""

import pytest
from stream_reader import listening

from firstlight.models.audience import audience_of
from firstlight.models.event import Event, record_events
from firstlight.services.access import operator
from firstlight.services.accounts.users import NewUser
from firstlight.web.app import create_app


@pytest.fixture
def portal(make_services, serve):
    services = make_services(public_sites=("open",), heartbeat_s=0.3)
    return services, serve(create_app(services))


@pytest.fixture
def headers(portal):
    """Make an account of these groups and roles; returns what its token sends."""
    services, _ = portal

    def make(name, *groups, role="View only"):
        pairs = [(group, False) for group in groups]
        user = services.users.create(operator(), NewUser(name, roles=[role], groups=pairs))
        scopes = ["admin"] if role == "Super admin" else []
        made = services.user_tokens.make(operator(), "x", scopes, user_id=user)
        return {"Authorization": f"token {made.token}"}

    return make


@pytest.fixture
def publish(database):
    def send(name, groups, sites=()):
        with database.begin() as session:
            audience = audience_of(session, groups=groups, sites=sites)
            event = Event(topic="object", site=None, audience_id=audience, data={"object": name})
            record_events(session, [event])

    return send


def told(address, count, headers=None, **query):
    with listening(address, headers, after=0, **query) as stream:
        return [each["data"]["object"] for each in stream.messages(count)]


def test_each_is_told_what_is_theirs_to_see(portal, headers, publish):
    services, address = portal
    ours = services.groups.create(operator(), "ours", details={"private": True})
    theirs = services.groups.create(operator(), "theirs", details={"private": True})
    readers = services.groups.create(operator(), "readers of tst")
    services.groups.add_site(operator(), readers, "tst")
    publish("secret of theirs", [theirs])
    publish("ours", [ours])
    publish("of both", [ours, theirs])
    publish("at tst", [], ["tst"])
    publish("at open", [], ["open"])
    # The last one is for all, so that each list is complete when it has come.
    assert told(address, 3, headers("ada", ours)) == ["ours", "of both", "at open"]
    assert told(address, 2, headers("bob", readers)) == ["at tst", "at open"]
    assert told(address, 1) == ["at open"]
    everything = ["secret of theirs", "ours", "of both", "at tst", "at open"]
    assert told(address, 5, headers("boss", role="Super admin")) == everything


def test_who_joins_a_group_is_told_from_then_on(portal, headers, publish):
    services, address = portal
    ours = services.groups.create(operator(), "ours")
    sent = headers("ada")
    with listening(address, sent) as stream:
        publish("before", [ours])
        services.groups.add_member(operator(), ours, services.users.number_of(operator(), "ada"))
        lines = stream.lines(6)  # two heartbeats: permission was asked again
        assert not any("before" in line for line in lines)
        publish("after", [ours])
        assert [each["data"]["object"] for each in stream.messages(1)] == ["after"]
