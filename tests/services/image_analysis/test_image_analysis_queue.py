"""Users take turns, limits hold, and no analysis is lost with its worker."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_portal import OPERATOR, Portal
from sqlalchemy import select

from firstlight.models.account import UserNotification
from firstlight.models.image_analysis import AnalysisState, ImageAnalysis
from firstlight.services.image_analysis.image_analysis_limits import ImageAnalysisLimits
from firstlight.services.image_analysis.image_analysis_queue import in_turns, job_id, next_ones
from firstlight.work.engine import JobOutcome, JobState

START = datetime(2026, 1, 1, tzinfo=UTC)
FILE = b"SIMPLE  = T"  # no analysis is run here


def limits(**given):
    return ImageAnalysisLimits(**{"at_once": 2, "at_once_per_user": 1, **given})


def test_one_user_with_many_does_not_hold_up_the_others():
    waiting = [(number, 1) for number in range(1, 11)] + [(11, 2), (12, 3)]
    assert next_ones(waiting, {}, {}, limits()) == [1, 11]
    # The first one's has ended: whoever has never had a turn comes before it.
    turns = {1: START, 2: START + timedelta(seconds=1)}
    assert next_ones(waiting[1:10] + waiting[11:], {2: 1}, turns, limits()) == [12]
    # Then who has waited longest since a turn.
    turns[3] = START + timedelta(seconds=2)
    assert next_ones(waiting[1:10], {}, turns, limits()) == [2]


def test_a_user_alone_gets_as_many_as_one_user_may():
    waiting = [(number, 1) for number in range(5)]
    assert next_ones(waiting, {}, {}, limits()) == [0]
    assert next_ones(waiting, {}, {}, limits(at_once_per_user=3)) == [0, 1]
    assert next_ones(waiting, {1: 1}, {}, limits()) == []
    assert next_ones(waiting, {2: 2}, {}, limits()) == []


@given(
    st.lists(st.integers(1, 5), max_size=40),
    st.integers(1, 4),
    st.integers(1, 4),
)
def test_all_are_served_in_turns_within_the_limits(owners, at_once, per_user):
    rules = limits(at_once=at_once, at_once_per_user=per_user)
    waiting = list(enumerate(owners))
    running, turns, served, now = [], {}, [], START
    while waiting or running:
        under_way = {}
        for _, owner in running:
            under_way[owner] = under_way.get(owner, 0) + 1
        chosen = set(next_ones(waiting, under_way, turns, rules))
        new = [each for each in waiting if each[0] in chosen]
        running += new
        waiting = [each for each in waiting if each[0] not in chosen]
        served += [owner for _, owner in new]
        assert running, "nothing runs though some wait"
        assert len(running) <= at_once
        now += timedelta(seconds=1)
        for _, owner in new:
            turns[owner] = now
            mine = sum(1 for _, other in running if other == owner)
            assert mine <= per_user
        running.pop(0)
    assert sorted(served) == sorted(owners)
    if at_once == 1:
        # What a page tells of the order is what comes to pass.
        told = in_turns(list(enumerate(owners)), {})
        assert [owners[number] for number in told] == served
    if at_once == 1:
        for owner in set(owners):
            # Between two turns of one, nobody else has had more than one turn more than others.
            places = [place for place, each in enumerate(served) if each == owner]
            for first, second in pairwise(places):
                between = served[first + 1 : second]
                assert all(between.count(other) <= 1 for other in set(between))


@pytest.fixture
def portal(database, store):
    return Portal(database, store, limits())


@pytest.fixture
def users(portal):
    users = [portal.user(name) for name in ("ada", "bob")]
    portal.object("star", 10.0, 20.0, users)
    return users


def started(portal, viewer, count=1):
    uploads = [portal.upload(viewer, FILE)["id"] for _ in range(count)]
    return [each["id"] for each in portal.analyses.start(viewer, "star", uploads)]


def finish(portal, number, state, **error):
    portal.jobs.known[job_id(number)] = JobOutcome(
        job_id(number), "image_analysis", state, error=error or None
    )


def test_what_waits_is_handed_over_once_and_in_turns(portal, users):
    ada, bob = users
    hers, his = started(portal, ada, 3), started(portal, bob)
    portal.queue.run()
    assert portal.jobs.submitted == [job_id(hers[0]), job_id(his[0])]
    portal.queue.run()
    assert len(portal.jobs.submitted) == 2


def test_places_are_told_in_the_order_of_turns(portal, users):
    ada, bob = users
    hers, his = started(portal, ada, 3), started(portal, bob, 2)
    shown = [portal.analyses.get(OPERATOR, number)["queue_position"] for number in (*hers, *his)]
    assert shown == [1, 3, 5, 2, 4]
    # Hers has begun: his is next.
    with portal.database.begin() as session:
        row = session.get(ImageAnalysis, hers[0])
        row.state, row.started_at = AnalysisState.RUNNING, START
    shown = [portal.analyses.get(OPERATOR, number)["queue_position"] for number in (*hers, *his)]
    assert shown == [None, 2, 4, 1, 3]


@pytest.mark.parametrize(
    ("outcome", "error", "state", "code"),
    [
        (JobState.FAILED, {"code": "work.worker_died", "kind": "internal",
                           "message": "x", "found": "killed by SIGKILL"},
         "failed", "analysis.worker_died"),
        (JobState.TIMED_OUT, {"code": "work.timed_out", "message": "x", "found": "300 s"},
         "timed_out", "analysis.timed_out"),
        (JobState.FAILED, {"code": "database.unreachable", "kind": "remote", "message": "gone"},
         "failed", "database.unreachable"),
        (JobState.CANCELLED, {}, "cancelled", None),
        (JobState.DONE, {}, "failed", "internal"),
    ],
)  # fmt: skip
def test_a_worker_that_ends_leaves_a_message(portal, users, outcome, error, state, code):
    number = started(portal, users[0])[0]
    portal.queue.run()
    finish(portal, number, outcome, **error)
    portal.queue.run()
    told = portal.analyses.get(users[0], number)
    assert told["state"] == state
    if code is None:
        assert told["error"] is None
        return
    assert told["error"]["code"] == code
    assert told["error"]["hint"]
    assert told["steps"][0]["state"] == "failed"
    assert {step["state"] for step in told["steps"][1:]} == {"skipped"}
    portal.queue.run()
    assert len(portal.rows(select(UserNotification))) == 1


def test_a_job_that_is_cancelled_is_stopped(portal, users):
    number = started(portal, users[0])[0]
    portal.queue.run()
    portal.analyses.cancel(users[0], number)
    portal.queue.run()
    assert portal.jobs.cancelled == [job_id(number)]


def test_jobs_that_were_forgotten_are_asked_for_again(portal, users):
    number = started(portal, users[0])[0]
    portal.queue.run()
    portal.jobs.known.clear()  # as when the record of the jobs is lost
    portal.queue.run()
    assert portal.jobs.submitted == [job_id(number)] * 2
