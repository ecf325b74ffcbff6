"""Runs go out with what their owner may see, each once or again, and end with clear words."""

import hashlib
import json
import re
import threading
import time
from datetime import timedelta

import pytest
from delivery_world import LATER, REFUSED, TAKEN, token_of
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, update

from firstlight.models.account import Membership, User
from firstlight.models.analysis import Analysis, AnalysisFileKind, AnalysisService
from firstlight.remotes.analysis_client import CallOutcome, ServiceReply
from firstlight.services.analyses.delivery import Claim, Delivered
from firstlight.services.analyses.run_queue import Candidate, ServiceWindows, choose
from firstlight.services.analyses.run_tokens import token_hash

URL = "https://analysis.example/fit"
OTHER = "https://other.example/fit"


def test_what_is_sent_is_skyportals_contract_and_what_we_add(world_anywhere):
    world = world_anywhere
    service = world.add_fitter(
        version="1.2",
        optional_analysis_parameters={"source": ["a", "b"]},
    )
    number = world.start(service, analysis_parameters={"source": "b"})
    document = world.deliver()
    row = world.row(number)
    token = token_of(document)
    assert re.fullmatch(
        r"https://portal\.example/api/webhook/obj_analysis/"
        r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
        document["callback_url"],
    )
    assert row.token_hash == token_hash(token)
    assert document == {
        "callback_url": document["callback_url"],
        "callback_method": "POST",
        "progress_url": document["callback_url"] + "/progress",
        "inputs": {
            "redshift": "redshift,redshift_error,redshift_origin\n0.05,,\n",
            "analysis_parameters": {"source": "b"},
        },
        "invalid_after": "2026-11-21 12:01:00",
        "analysis_resource_type": "obj",
        "resource_id": "FL1",
        "analysis_parameters": {"source": "b"},
        "service_version": "1.2",
        "inputs_sha256": row.inputs_sha256,
        "object": {"id": "FL1", "ra": 10.0, "dec": 20.0, "redshift": 0.05},
    }
    assert row.status == "pending"
    assert row.status_message == "pending"
    assert row.inputs_count == {"redshift": 1}
    assert row.inputs_stamp.startswith("redshift=")
    assert row.invalid_after == row.sent_at + timedelta(seconds=60)


def test_what_was_sent_is_kept(world):
    number, _ = world.sent_run()
    (file,) = world.files_of(number)
    assert file.kind == AnalysisFileKind.INPUTS
    kept = world.store.read(file.key)
    assert hashlib.sha256(kept).hexdigest() == file.sha256
    told = json.loads(kept)
    assert told["inputs"] == world.client.sent[0][1]["inputs"]
    assert "redshift" in told["rows"]


def test_what_the_service_wants_to_see_is_unsealed(world):
    info = {"header_token": {"Authorization": "Bearer abc"}}
    world.sent_run(authentication_type="header_token", _authinfo=info)
    authentication = world.client.sent[0][2]
    assert authentication.kind == "header_token"
    assert authentication.facts == {"headers": {"Authorization": "Bearer abc"}}


def test_a_run_that_fails_in_passing_is_tried_again_with_growing_pauses(world_anywhere):
    world = world_anywhere
    number = world.start(world.add_fitter())
    world.client.answers[URL] = LATER
    for attempt, pause in enumerate((1, 5, 30, 120, 600, 600), start=1):
        world.deliver()
        row = world.row(number)
        assert (row.status, row.attempts) == ("queued", attempt)
        assert row.next_try_at == world.now + timedelta(seconds=pause)
        assert row.error == {"code": "analysis.service_refused", "message": "busy"}
        world.later(pause - 0.5)
        world.deliver()
        assert len(world.client.sent) == attempt
        world.later(0.5)
    world.client.answers[URL] = TAKEN
    world.deliver()
    row = world.row(number)
    assert (row.status, row.attempts, row.error) == ("pending", 7, None)
    # Each attempt carries the same token, and one file of inputs is left.
    assert len({token_of(document) for _, document, _ in world.client.sent}) == 1
    assert len(world.files_of(number)) == 1
    assert world.stored_keys() == {world.files_of(number)[0].key}


def test_a_service_that_asks_for_more_time_gets_it(world):
    number = world.start(world.add_fitter())
    world.client.answers[URL] = ServiceReply(
        CallOutcome.TRY_LATER, 429, retry_after_s=77.0, error={"message": "slow down"}
    )
    world.deliver()
    assert world.row(number).next_try_at == world.now + timedelta(seconds=77)


def test_a_message_names_a_service_as_people_do(world_anywhere):
    world = world_anywhere
    world.client.answers[URL] = REFUSED
    world.start(world.add_fitter("fitter-2", display_name="Fit of supernovae"))
    world.deliver()
    (told,) = world.notifications()
    assert told.text.startswith("Fit of supernovae on FL1: failed")


def test_what_a_service_said_stands_in_a_sentence_of_ours(world):
    number = world.start(world.add_fitter())
    world.client.answers[URL] = ServiceReply(
        CallOutcome.TRY_LATER, error={"message": "The service cannot be reached."}
    )
    world.deliver()
    told = "The service cannot be reached; tried once, and tried again"
    assert world.row(number).status_message == told
    world.later(7 * 3600)
    world.deliver()
    told = "given up after it was tried 2 times: The service cannot be reached"
    assert (world.row(number).status, world.row(number).status_message) == ("failure", told)


def test_a_run_that_nobody_takes_is_given_up(world):
    number = world.start(world.add_fitter())
    world.client.answers[URL] = LATER
    for _ in range(60):
        world.deliver()
        world.later(601)
    row = world.row(number)
    assert row.status == "failure"
    assert row.status_message.startswith("given up after ")
    assert row.status_message.endswith("busy")
    assert world.now - row.created_at > timedelta(hours=6)
    assert [each.kind for each in world.notifications()] == ["error"]


def test_a_service_that_refuses_ends_the_run_at_once(world_anywhere):
    world = world_anywhere
    number = world.start(world.add_fitter())
    world.client.answers[URL] = REFUSED
    world.deliver()
    row = world.row(number)
    assert (row.status, row.status_message) == ("failure", "no such")
    assert row.finished_at == world.now
    assert world.events()[-1]["status"] == "failure"
    (told,) = world.notifications()
    assert told.text == "fitter on FL1: failed (no such)"
    world.later(10_000)
    world.deliver()
    assert len(world.client.sent) == 1


def break_enabled(world, service, number):
    world.change_service(service, enabled=False)


def break_service(world, service, number):
    with world.database.begin() as session:
        session.execute(delete(AnalysisService).where(AnalysisService.id == service))


def break_membership(world, service, number):
    with world.database.begin() as session:
        session.execute(delete(Membership).where(Membership.user_id == world.users["ada"]))


def break_account(world, service, number):
    with world.database.begin() as session:
        session.execute(
            update(User).where(User.id == world.users["ada"]).values(roles=["View only"])
        )


def break_owner(world, service, number):
    with world.database.begin() as session:
        session.execute(update(Analysis).where(Analysis.id == number).values(owner_id=None))


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (break_enabled, "analysis.service_gone", "disabled"),
        (break_service, "analysis.service_gone", "removed"),
        (break_membership, "analysis.owner_gone", "may no longer"),
        (break_account, "analysis.owner_gone", "may no longer run analyses"),
        (break_owner, "analysis.owner_gone", "removed"),
    ],
)
def test_what_was_lost_meanwhile_ends_the_run_and_nothing_is_sent(world, change, code, words):
    service = world.add_fitter()
    number = world.start(service)
    change(world, service, number)
    world.deliver()
    row = world.row(number)
    assert row.status == "failure"
    assert row.error["code"] == code
    assert words in row.status_message
    assert world.client.sent == []


def test_an_object_without_data_ends_the_run(world):
    number = world.start(world.add_fitter(input_data_types=["photometry"]))
    world.deliver()
    row = world.row(number)
    assert (row.status, row.error["code"]) == ("failure", "analysis.no_data")


def test_a_fault_of_ours_is_tried_again_and_then_told_without_details(world, monkeypatch):
    number = world.start(world.add_fitter())

    def breaks(number):
        raise RuntimeError("secret of the machine room")

    monkeypatch.setattr(world.packer, "pack", breaks)
    for _ in range(3):
        world.deliver()
        world.later(60)
    row = world.row(number)
    assert (row.status, row.attempts) == ("failure", 3)
    assert "secret" not in json.dumps([row.status_message, row.error])


def test_a_service_may_call_back_before_it_answers(world_anywhere):
    world = world_anywhere
    number = world.start(world.add_fitter())
    world.client.hook = lambda document: world.post(token_of(document))
    world.deliver()
    assert world.row(number).status == "completed"
    # Not even when it then says that it failed.
    world.client.answers[URL] = REFUSED
    second = world.start(1)
    world.deliver()
    assert world.row(second).status == "completed"


def test_a_run_that_is_cancelled_while_it_is_sent_stays_so(world_anywhere):
    world = world_anywhere
    service = world.add_fitter()
    for answer in (TAKEN, LATER, REFUSED):
        world.client.answers[URL] = answer
        number = world.start(service)
        world.client.hook = lambda document, n=number: world.analyses.cancel(world.viewer("ada"), n)
        world.deliver()
        assert world.row(number).status == "cancelled"


def test_a_run_that_was_cancelled_before_is_not_sent(world):
    number = world.start(world.add_fitter())
    claims = world.queue.claim([number])
    world.analyses.cancel(world.viewer("ada"), number)
    assert world.delivery.deliver(claims[0]) is Delivered.LEFT
    assert world.client.sent == []


def test_a_claim_holds_off_others_until_it_runs_out(world_anywhere):
    world = world_anywhere
    number = world.start(world.add_fitter())
    (first,) = world.queue.claim([number])
    assert first == Claim(number, 1, world.users["ada"], 1)
    assert world.queue.claim([number]) == []  # the first process is killed here
    world.deliver()
    assert world.client.sent == []
    world.later(world.settings.claim_s + 1)
    world.deliver()
    assert world.row(number).status == "pending"
    assert world.row(number).attempts == 2
    # The first one was only slow: its words count no more.
    assert world.delivery.deliver(first) is Delivered.LEFT
    assert world.row(number).status == "pending"


def test_of_many_that_claim_at_once_one_gets_each_run(world_anywhere):
    world = world_anywhere
    service = world.add_fitter()
    numbers = [world.start(service) for _ in range(20)]
    got, start = [], threading.Barrier(6)

    def claim():
        start.wait()
        got.append(world.queue.claim(numbers))

    threads = [threading.Thread(target=claim) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    claimed = [claim.number for claims in got for claim in claims]
    assert sorted(claimed) == numbers


# --- turns ----------------------------------------------------------------------------------------


def candidates(*owners, service=1):
    turns = {}
    found = []
    for number, owner in enumerate(owners):
        turns[owner] = turns.get(owner, 0) + 1
        found.append(Candidate(number, owner, service, turns[owner]))
    return found


def numbers(chosen):
    return [each.number for each in chosen]


def test_users_take_turns():
    waiting = candidates(1, 1, 1, 1, 2, 3, 3)
    assert numbers(choose(waiting, {}, lambda s: 9, 4)) == [0, 4, 5, 1]
    # Whoever has some under way comes after those who have none.
    assert numbers(choose(waiting, {1: 2, 2: 1}, lambda s: 9, 3)) == [5, 4, 6]
    assert choose(waiting, {}, lambda s: 0, 4) == []


@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3)), max_size=30),
    st.integers(0, 8),
    st.dictionaries(st.integers(1, 3), st.integers(0, 3)),
)
def test_limits_hold_and_no_user_is_passed_over(pairs, free, room):
    turns, waiting = {}, []
    for number, (owner, service) in enumerate(pairs):
        turns[owner] = turns.get(owner, 0) + 1
        waiting.append(Candidate(number, owner, service, turns[owner]))
    chosen = choose(waiting, {}, lambda service: room.get(service, 9), free)
    assert len(chosen) <= free
    for service in (1, 2, 3):
        assert sum(each.service == service for each in chosen) <= room.get(service, 9)
    left = [each for each in waiting if each not in chosen]
    if len(chosen) == free:
        last = max((each.turn for each in chosen), default=0)
        for each in left:
            if room.get(each.service, 9) > sum(c.service == each.service for c in chosen):
                assert each.turn >= last or each.number > 0


def test_a_service_gets_more_threads_as_it_does_well_and_few_when_not():
    windows = ServiceWindows(most=12)
    assert windows.room(7) == 2
    for _ in range(20):
        windows.begin(7)
        windows.end(7, well=True)
    assert windows.room(7) == 12
    windows.begin(7)
    assert windows.room(7) == 11
    windows.end(7, well=False)
    assert windows.room(7) == 1
    windows.begin(7)
    assert windows.full() == [7]
    assert windows.room(8) == 2


def until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_service_that_hangs_holds_up_no_other(world):
    """Whether its runs are new or were tried before."""
    world.client.gates[URL] = threading.Event()
    hangs, well = world.add_fitter("hangs"), world.add_fitter("well", url=OTHER)
    stuck = [world.start(hangs) for _ in range(30)]
    with world.database.begin() as session:
        session.execute(update(Analysis).where(Analysis.id.in_(stuck[:15])).values(attempts=1))
    try:
        world.queue.run()
        fine = [world.start(well, by="ada") for _ in range(10)]
        until(lambda: world.queue.run() and all(world.row(n).status == "pending" for n in fine))
        at_it = sum(url == URL for url, _, _ in world.client.sent)
        assert at_it == 4  # two new ones and two that are tried again
    finally:
        world.client.gates[URL].set()
    until(lambda: world.queue.run() and all(world.row(n).status == "pending" for n in stuck))
    assert world.states() == {"pending": 40}


def test_one_user_with_many_runs_does_not_hold_up_another(world):
    service = world.add_fitter(groups="AB")
    with world.database.begin() as session:
        session.get_one(User, world.users["bob"])
    first = [world.start(service) for _ in range(30)]
    last = world.start(service, by="bob", name="OF_B")
    world.deliver()
    order = [document["resource_id"] for _, document, _ in world.client.sent]
    assert len(order) == len(first) + 1
    assert order.index("OF_B") < 16  # which are sent at once, in any order
    assert world.row(last).status == "pending"


# --- the sweeper ----------------------------------------------------------------------------------


def test_a_silent_service_times_out(world_anywhere):
    world = world_anywhere
    number, _ = world.sent_run()
    world.later(60)
    assert world.sweeper.sweep() == 0
    world.later(1)
    assert world.sweeper.sweep() == 1
    row = world.row(number)
    assert (row.status, row.error["code"]) == ("timed_out", "analysis.timed_out")
    assert world.events()[-1]["status"] == "timed_out"
    assert len(world.notifications()) == 1
    assert world.sweeper.sweep() == 0


def test_the_sweeper_gives_up_what_nobody_sends_and_leaves_what_waits_its_turn(world):
    service = world.add_fitter()
    tried, fresh = world.start(service), world.start(service)
    world.queue.claim([tried])
    world.later(7 * 3600)
    assert world.sweeper.sweep() == 1
    assert world.row(tried).status == "failure"
    assert world.row(fresh).status == "queued"
    world.deliver()
    assert world.row(fresh).status == "pending"
