"""Results come back once: early, late, twice, malformed, too long, or from somebody else."""

import base64
import json
import threading

import pytest
from delivery_world import DONE
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from firstlight.errors import FirstlightError, InvalidInput
from firstlight.models.audience import audience_of
from firstlight.models.database import DatabaseUnreachable
from firstlight.models.notes import Annotation
from firstlight.models.object import Object
from firstlight.services.analyses.callbacks import (
    AlreadyUpdated,
    CallbackTokenExpired,
    CallbackTokenInvalid,
    _progress,
)

PNG = base64.b64encode(
    base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    )
).decode()


def test_results_end_the_run_with_all_that_belongs_to_them(world_anywhere):
    world = world_anywhere
    number, token = world.sent_run()
    world.post(
        token,
        {
            "status": "success",
            "message": "chi2/dof = 1.1",
            "analysis": {
                "results": {"format": "json", "data": {"z": 0.05}},
                "plots": [{"format": "png", "data": PNG}],
                "posterior_samples": {"t0": [1.0, 2.0, 3.0], "z": [0.1, 0.2, 0.3]},
                "annotations": [{"data": {"z": 0.05}}],
            },
        },
    )
    row = world.row(number)
    assert (row.status, row.status_message, row.error) == ("completed", "chi2/dof = 1.1", None)
    assert row.finished_at == world.now
    assert row.facts["num_plots"] == 1
    files = world.files_of(number)
    assert {file.kind for file in files} == {"inputs", "plot", "posterior", "results"}
    assert world.stored_keys() == {file.key for file in files}
    assert world.events()[-1]["change"] == "ended"
    assert world.events()[-1]["status"] == "completed"
    (told,) = world.notifications()
    assert (told.kind, told.text) == ("success", "fitter on FL1: done (chi2/dof = 1.1)")
    assert told.url == f"/objects/FL1/analyses/{number}"
    with world.database.reading() as session:
        (annotation,) = session.scalars(select(Annotation)).all()
    assert (annotation.origin, annotation.data) == ("fitter", {"z": 0.05})
    assert annotation.author_id == world.users["ada"]


def test_a_failure_is_a_failure_and_what_came_with_it_is_kept(world):
    number, token = world.sent_run()
    analysis = {"plots": [{"type": "png", "data": PNG}]}
    world.post(token, {"status": "failure", "message": "did not converge", "analysis": analysis})
    row = world.row(number)
    assert (row.status, row.status_message) == ("failure", "did not converge")
    assert row.error["code"] == "analysis.service_failed"
    assert [file.kind for file in world.files_of(number)] == ["inputs", "plot"]
    assert world.notifications()[0].kind == "error"


def test_a_token_holds_once(world_anywhere):
    world = world_anywhere
    number, token = world.sent_run()
    world.post(token)
    keys = world.stored_keys()
    with pytest.raises(AlreadyUpdated) as told:
        world.post(token, {"status": "failure", "message": "no", "analysis": {}})
    assert told.value.message == (
        "Analysis already updated with status='completed' and message=all well"
    )
    assert world.row(number).status == "completed"
    assert world.stored_keys() == keys


def test_of_posts_at_the_same_moment_one_gets_through(world_anywhere):
    world = world_anywhere
    number, token = world.sent_run()
    run = world.callbacks.expect(token)
    start, faults, done = threading.Barrier(6), [], []

    def post(which):
        path = world.folder / f"{which}.json"
        path.write_text(json.dumps({**DONE, "message": str(which)}))
        start.wait()
        try:
            world.callbacks.take(run, path)
            done.append(which)
        except FirstlightError as fault:
            faults.append(fault)

    threads = [threading.Thread(target=post, args=(which,)) for which in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 1
    assert [type(fault) for fault in faults] == [AlreadyUpdated] * 5
    assert world.row(number).status_message == str(done[0])
    files = world.files_of(number)
    assert len(files) == 2  # inputs and results
    assert world.stored_keys() == {file.key for file in files}
    assert len(world.notifications()) == 1


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'{"analysis": {}}', b'{"status": 3, "analysis": {}}',
     b'{"status": "success", "message": "m", "analysis": []}', b"[" * 100_000,
     b'{"status": "success", "analysis": {"plots": [{"format": "png", "data": "AAAA"}]}}',
     b"\xff\xfe\x00"],
)  # fmt: skip
def test_a_body_that_cannot_be_read_leaves_the_token_valid(world, body):
    number, token = world.sent_run()
    with pytest.raises(FirstlightError) as told:
        world.post(token, body)
    assert told.value.code.startswith("analysis.result_")
    assert world.row(number).status == "pending"
    world.post(token)
    assert world.row(number).status == "completed"


def test_what_is_too_late_is_told_so_and_changes_nothing(world_anywhere):
    world = world_anywhere
    number, token = world.sent_run()
    world.later(61)
    for _ in range(2):  # noticed by the post itself; and then found so
        with pytest.raises(CallbackTokenExpired) as told:
            world.post(token)
        assert told.value.message == "Token has expired"
        assert world.row(number).status == "timed_out"
    second = world.start(1)
    world.deliver()
    world.later(61)
    world.sweeper.sweep()
    with pytest.raises(CallbackTokenExpired):
        world.post(world.client.sent[-1][1]["callback_url"].rpartition("/")[2])
    assert world.row(second).status == "timed_out"
    assert len(world.notifications()) == 2


def test_time_that_runs_out_while_results_are_read_counts(world, monkeypatch):
    number, token = world.sent_run()
    keep = world.files.keep
    monkeypatch.setattr(world.files, "keep", lambda *given: (world.later(100), keep(*given))[1])
    with pytest.raises(CallbackTokenExpired):
        world.post(token)
    assert world.row(number).status == "pending"  # until the sweeper comes
    assert len(world.stored_keys()) == 1


def test_a_late_answer_to_a_run_that_is_sent_again_leaves_it_waiting(world):
    world.client.answers["https://analysis.example/fit"] = RuntimeError("cut off")
    number = world.start(world.add_fitter())
    token = world.deliver()["callback_url"].rpartition("/")[2]
    world.later(61)
    with pytest.raises(CallbackTokenExpired):
        world.post(token)
    assert world.row(number).status == "queued"
    world.deliver()
    world.post(token)
    assert world.row(number).status == "completed"


def test_a_cancelled_run_takes_nothing(world):
    number, token = world.sent_run()
    world.analyses.cancel(world.viewer("ada"), number)
    with pytest.raises(AlreadyUpdated) as told:
        world.post(token)
    assert "status='cancelled'" in told.value.message


@pytest.mark.parametrize(
    "token",
    ["", "x", "..", "3f2a1b4c-0000-4000-8000-123456789abc", "' or 1=1 --", "\x00", "é" * 36],
)
def test_a_foreign_token_is_invalid(world, token):
    world.sent_run()
    with pytest.raises(CallbackTokenInvalid) as told:
        world.callbacks.expect(token)
    assert told.value.message == "Invalid token"
    assert token not in str(told.value) or not token


def test_the_hash_of_a_token_is_no_token(world):
    number, _ = world.sent_run()
    with pytest.raises(CallbackTokenInvalid):
        world.callbacks.expect(world.row(number).token_hash)


def test_a_database_that_goes_away_for_a_moment_loses_no_results(world, monkeypatch):
    number, token = world.sent_run()
    monkeypatch.setattr("firstlight.services.analyses.callbacks._PAUSES_S", (0.0, 0.0, 0.0))
    begin, broken = world.database.begin, iter([True, True, False])

    class Broken:
        def __enter__(self):
            raise DatabaseUnreachable

        def __exit__(self, *exc):
            return False

    def begins():
        return Broken() if next(broken, False) else begin()

    monkeypatch.setattr(world.database, "begin", begins)
    world.post(token)
    assert world.row(number).status == "completed"
    assert len(world.files_of(number)) == 2


def test_a_commit_whose_answer_was_lost_counts(world, monkeypatch):
    number, token = world.sent_run()
    monkeypatch.setattr("firstlight.services.analyses.callbacks._PAUSES_S", (0.0, 0.0, 0.0))
    begin, lost = world.database.begin, iter([True])

    class Lost:
        def __init__(self):
            self.inner = begin()

        def __enter__(self):
            return self.inner.__enter__()

        def __exit__(self, *exc):
            self.inner.__exit__(*exc)
            if next(lost, False):
                raise DatabaseUnreachable

    monkeypatch.setattr(world.database, "begin", Lost)
    world.post(token)
    assert world.row(number).status == "completed"
    files = world.files_of(number)
    assert len(files) == 2
    assert world.stored_keys() == {file.key for file in files}
    assert len(world.notifications()) == 1


# --- annotations ----------------------------------------------------------------------------------


def annotated(data, **more):
    return {
        "status": "success",
        "message": "",
        "analysis": {"annotations": [{"data": data, **more}]},
    }


def test_annotations_are_under_the_services_own_origin_and_harm_nobodys(world_anywhere):
    world = world_anywhere
    with world.database.begin() as session:
        thing = session.scalars(select(Object).where(Object.name == "FL1")).one()
        for origin in ("gaia", "fitter:mine"):
            session.add(
                Annotation(
                    object_id=thing.id, subject="object", origin=origin, data={"theirs": 1},
                    author_id=world.users["mia"],
                    audience_id=audience_of(session, groups=[world.groups["A"]]),
                )
            )  # fmt: skip
    service = world.add_fitter()
    for data, more in (
        ({"a": 1}, {"origin": "gaia"}), ({"b": 1}, {"origin": "mine"}),
        ({"b": 2}, {"origin": "mine"}),
    ):  # fmt: skip
        world.start(service)
        token = world.deliver()["callback_url"].rpartition("/")[2]
        world.post(token, annotated(data, **more))
    with world.database.reading() as session:
        found = {
            row.origin: (row.data, row.author_id) for row in session.scalars(select(Annotation))
        }
    ada, mia = world.users["ada"], world.users["mia"]
    assert found == {
        "gaia": ({"theirs": 1}, mia),
        "fitter:mine": ({"theirs": 1}, mia),
        "fitter:gaia": ({"a": 1}, ada),
        "fitter:mine by ada": ({"b": 2}, ada),
    }


# --- progress -------------------------------------------------------------------------------------


def tell(world, token, fraction, message=""):
    body = json.dumps({"progress": fraction, "message": message}).encode()
    world.callbacks.progress(world.callbacks.expect(token), body)


def test_progress_is_told_and_uses_nothing_up(world_anywhere):
    world = world_anywhere
    number, token = world.sent_run()
    tell(world, token, 0.25, "fitting <b>salt3</b>\x00")
    assert world.row(number).progress == {
        "fraction": 0.25,
        "message": "fitting <b>salt3</b>",
        "told_at": world.now.isoformat(),
    }
    assert world.events()[-1]["progress"]["fraction"] == 0.25
    tell(world, token, 0.26)  # too fast
    assert world.row(number).progress["fraction"] == 0.25
    world.later(1)
    tell(world, token, 7)
    assert world.row(number).progress["fraction"] == 1.0
    world.post(token)
    with pytest.raises(AlreadyUpdated):
        tell(world, token, 0.5)


@given(st.binary(max_size=200) | st.text(max_size=50).map(str.encode))
def test_any_other_progress_is_refused(body):
    try:
        fraction, message = _progress(body)
    except InvalidInput:
        return
    assert 0 <= fraction <= 1
    assert isinstance(message, str)


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"progress": "1"}', b'{"progress": true}', b'{"progress": NaN}', b"[1]",
             b'{"progress": 1e999}', b"[" * 65_000],
)  # fmt: skip
def test_progress_that_is_no_number_is_refused(world, body):
    _, token = world.sent_run()
    with pytest.raises(InvalidInput):
        world.callbacks.progress(world.callbacks.expect(token), body)
