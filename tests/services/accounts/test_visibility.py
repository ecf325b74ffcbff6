"""Who sees a row, and who is told an event: the same, and what the sets say."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from firstlight.models.account import Group
from firstlight.models.audience import Audience, audience_of, public_audience, widened
from firstlight.models.event import Event, record_events
from firstlight.services.access import Viewer
from firstlight.services.visibility import seen_by
from firstlight.services.watching.event_stream import EventStreamService, Wanted

SITES = ("tst", "sro", "open")
GROUPS = range(1, 6)
some_groups = st.frozensets(st.sampled_from(GROUPS), max_size=4)
some_sites = st.frozensets(st.sampled_from(SITES), max_size=2)
audiences = st.lists(st.none() | st.tuples(some_groups, some_sites), min_size=1, max_size=8)
viewers = st.builds(
    Viewer,
    name=st.sampled_from(["", "user/1"]),
    scopes=st.sampled_from([frozenset(), frozenset({"read", "watch"}), frozenset({"upload"})]),
    token_sites=st.none() | some_sites,
    public_sites=st.none() | some_sites,
    groups=some_groups,
    sees_all=st.booleans(),
    user_id=st.sampled_from([None, 1]),
)


def belongs(viewer, audience):
    """The definition: everything, everybody's, a group in common, a site that may be read."""
    if viewer.sees_all or audience is None:
        return True
    groups, sites = audience
    readable = set(SITES) if viewer.public_sites is None else set(viewer.public_sites)
    if "read" in viewer.scopes:
        readable |= set(SITES) if viewer.token_sites is None else viewer.token_sites
    return bool(groups & viewer.groups or sites & readable)


@pytest.fixture
def five_groups(database):
    with database.begin() as session:
        session.add_all(Group(id=number, name=f"group {number}") for number in GROUPS)
    return database


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(drawn=audiences, viewer=viewers)
def test_seen_is_what_the_sets_say(five_groups, drawn, viewer):
    with five_groups.begin() as session:
        numbers = {_written(session, each): each for each in drawn}
        seen = set(
            session.scalars(
                select(Audience.id).where(Audience.id.in_(numbers), seen_by(viewer, Audience.id))
            )
        )
    assert seen == {number for number, each in numbers.items() if belongs(viewer, each)}


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(drawn=audiences, viewer=viewers)
def test_told_is_what_is_seen(five_groups, drawn, viewer):
    stream = EventStreamService(database=five_groups)
    last = stream.last_number()
    with five_groups.begin() as session:
        events = [
            Event(topic="object", site=None, audience_id=_written(session, each), data={"at": at})
            for at, each in enumerate(drawn)
        ]
        record_events(session, events)
    wanted = Wanted(sites=frozenset(), viewer=viewer, chosen=False)
    told = {event.data["at"] for event in stream.after(last) if wanted.takes(event)}
    assert told == {at for at, each in enumerate(drawn) if belongs(viewer, each)}


@given(first=st.tuples(some_groups, some_sites), more=some_groups, viewer=viewers)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_wider_audience_is_seen_by_more(five_groups, first, more, viewer):
    with five_groups.begin() as session:
        wide = widened(session, _written(session, first), groups=more)
        query = select(Audience.id).where(Audience.id == wide, seen_by(viewer, Audience.id))
        seen = session.scalar(query) is not None
    assert seen == belongs(viewer, (first[0] | more, first[1]))


def _written(session, audience):
    if audience is None:
        return public_audience(session)
    return audience_of(session, groups=audience[0], sites=audience[1])


def test_events_of_an_audience_are_not_told_to_whom_is_not_known(five_groups):
    stream = EventStreamService(database=five_groups)
    with five_groups.begin() as session:
        public = public_audience(session)
        record_events(
            session,
            [
                Event(topic="object", site=None, audience_id=public, data={}),
                Event(topic="imagedata", site="tst", data={}),
            ],
        )
    secret, plain = stream.after(0)
    assert not Wanted().takes(secret)
    assert Wanted().takes(plain)
    watcher = Viewer("user/1", frozenset({"read", "watch"}), frozenset(), user_id=1)
    everything = Wanted().by(watcher)
    assert everything.takes(secret)
    assert not everything.takes(plain)
    assert not Wanted(topics=frozenset({"imagedata"})).by(watcher).takes(secret)
    at_site = Wanted(sites=frozenset({"tst"})).by(Viewer("x", frozenset({"read", "watch"})))
    assert at_site.takes(plain)
    assert not at_site.takes(secret)
