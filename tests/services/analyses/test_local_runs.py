"""Services that run in a worker: begun again once, cancelled, timed out, told as all others."""

import json
import os

import pytest
from delivery_world import DONE, DeliveryWorld
from sqlalchemy import update

from firstlight.models.analysis import Analysis, AnalysisService
from firstlight.remotes.analysis_client import CallOutcome, ServiceReply
from firstlight.services.access import Forbidden
from firstlight.services.analyses.analysis_services import AnalysisServiceMissing
from firstlight.services.analyses.connection_test import ConnectionTest
from firstlight.services.analyses.local_runs import LocalRunQueue, LocalRuns, local_job_id
from firstlight.work.engine import JobOutcome, JobState


class FakeJobs:
    def __init__(self):
        self.known, self.submitted, self.cancelled = {}, [], []

    def submit(self, requests):
        for request in requests:
            self.submitted.append(request.payload["analysis"])
            self.known[request.job_id] = JobOutcome(request.job_id, "analysis", JobState.QUEUED)

    def outcomes(self, job_ids):
        return {name: self.known[name] for name in job_ids if name in self.known}

    def cancel(self, job_ids):
        self.cancelled += job_ids

    def end(self, number, state, started=None):
        name = local_job_id(number)
        self.known[name] = JobOutcome(name, "analysis", state, started=started)


class FakeChild:
    """The process of an author's function, which answers at once."""

    def __init__(self, world, answer):
        self.world, self.answer, self.bodies, self.closed = world, answer, [], 0

    def run(self, body, *, timeout, tell):
        self.bodies.append((body, timeout))
        tell(0.5, "half")
        return self.answer() if callable(self.answer) else self.answer

    def close(self):
        self.closed += 1


class LocalWorld(DeliveryWorld):
    def wire(self, **settings):
        super().wire(**settings)
        self.jobs = FakeJobs()
        self.child = FakeChild(self, DONE)
        self.made = []
        shared = {
            "database": self.database, "settings": self.settings, "clock": lambda: self.now,
        }  # fmt: skip
        self.local_queue = LocalRunQueue(**shared, jobs=self.jobs)
        self.local = LocalRuns(
            **shared, packer=self.packer, results=self.results, callbacks=self.callbacks,
            services=lambda: {"period": "periods.module"}, make_child=self.make_child,
        )  # fmt: skip

    def make_child(self, name, megabytes, cpu_s):
        self.made.append((name, megabytes))
        self.cpu_s = cpu_s
        return self.child

    def local_run(self, name="period"):
        service = self.add_fitter("local", url=f"local:{name}")
        return self.start(service)


@pytest.fixture
def world_class():
    return LocalWorld


def test_a_local_run_is_a_job_and_never_sent(world):
    number = world.local_run()
    world.deliver()
    assert world.client.sent == []
    world.local_queue.run()
    world.local_queue.run()
    assert world.jobs.submitted == [number]
    assert world.local.run({"analysis": number}) == {"analysis": number}
    row = world.row(number)
    assert (row.status, row.status_message, row.attempts) == ("completed", "all well", 1)
    assert row.progress["message"] == "half"
    assert row.inputs_count == {"redshift": 1}
    body, timeout = world.child.bodies[0]
    assert body["inputs"]["redshift"].startswith("redshift,")
    assert "callback_url" not in body
    assert (timeout, world.made) == (60, [("periods.module", world.settings.local_memory_mb)])
    assert world.cpu_s > timeout * os.cpu_count()  # a run in time never comes to this limit
    assert {file.kind for file in world.files_of(number)} == {"inputs", "results"}
    assert world.notifications()[0].kind == "success"
    # The same job again changes nothing.
    world.local.run({"analysis": number})
    assert len(world.child.bodies) == 1


def test_only_so_many_run_at_once(world):
    service = world.add_fitter("local", url="local:period")
    numbers = [world.start(service) for _ in range(3)]
    world.local_queue.run()
    assert world.jobs.submitted == numbers[:1]
    world.local.run({"analysis": numbers[0]})
    world.jobs.end(numbers[0], JobState.DONE)
    world.local_queue.run()
    assert world.jobs.submitted == numbers[:2]


def test_a_run_whose_process_dies_is_begun_once_more_and_then_given_up(world):
    number = world.local_run()

    class KilledError(BaseException):
        pass

    def dies():
        raise KilledError

    world.child.answer = dies
    for attempt in (1, 2):
        world.local_queue.run()
        assert world.jobs.submitted == [number] * attempt
        with pytest.raises(KilledError):
            world.local.run({"analysis": number})
        assert world.row(number).status == "pending"
        # Its time limit is its process's, whatever the clock says.
        world.later(10_000)
        assert world.sweeper.sweep() == 0
        world.jobs.end(number, JobState.FAILED)
    world.local_queue.run()
    row = world.row(number)
    assert (row.status, row.error["code"]) == ("failure", "analysis.worker_died")
    world.local_queue.run()
    assert world.jobs.submitted == [number, number]


def test_a_job_that_ends_before_it_takes_the_run_up_is_not_asked_for_for_ever(world):
    number = world.local_run()
    for _ in range(5):
        world.local_queue.run()
        world.later(1)
        world.jobs.end(number, JobState.FAILED, started=world.now)
    assert world.row(number).status == "failure"
    assert len(world.jobs.submitted) == 2


def test_a_run_that_begins_for_the_third_time_ends(world):
    number = world.local_run()
    with world.database.begin() as session:
        session.execute(update(Analysis).values(attempts=2, status="pending"))
    world.local.run({"analysis": number})
    assert world.row(number).error["code"] == "analysis.worker_died"
    assert world.child.bodies == []


def test_a_cancelled_run_stops_and_stays_cancelled(world):
    number = world.local_run()
    world.local_queue.run()

    def cancelled():
        world.analyses.cancel(world.viewer("ada"), number)
        return DONE

    world.child.answer = cancelled
    world.local.run({"analysis": number})
    assert world.row(number).status == "cancelled"
    assert {file.kind for file in world.files_of(number)} == {"inputs"}
    world.local_queue.run()
    assert world.jobs.cancelled == [local_job_id(number)]


def test_what_takes_too_long_has_timed_out(world, monkeypatch):
    number = world.local_run()
    world.change_service(world.row(number).service_id, timeout=0.0)
    world.child.answer = {"status": "failure", "message": "it took too long", "analysis": {}}
    world.local.run({"analysis": number})
    assert world.row(number).status == "timed_out"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({"status": "failure", "message": "no", "analysis": {}}, "analysis.service_failed"),
        ({"status": "success", "analysis": {"plots": [{"format": "png", "data": "AAAA"}]}},
         "analysis.result_malformed"),
    ],
)  # fmt: skip
def test_what_fails_ends_as_a_failure(world, answer, code):
    number = world.local_run()
    world.child.answer = answer
    world.local.run({"analysis": number})
    row = world.row(number)
    assert (row.status, row.error["code"]) == ("failure", code)


def test_a_service_that_is_not_installed_is_named(world):
    number = world.local_run("transit")
    world.local.run({"analysis": number})
    assert world.row(number).error["code"] == "analysis.local_service_missing"
    assert "transit" in json.dumps(world.row(number).error)


# --- whether a service answers --------------------------------------------------------------------


class Looker:
    def __init__(self, reply):
        self.reply, self.calls = reply, []

    def look(self, url, authentication):
        self.calls.append((url, authentication))
        return self.reply


def connection(world, reply):
    client = Looker(reply)
    tested = ConnectionTest(
        database=world.database, client=client, seals=world.secrets,
        local_names=lambda: {"period"},
    )  # fmt: skip
    return tested, client


def test_a_connection_is_tested_by_whoever_manages_services(world):
    info = {"header_token": {"Authorization": "Bearer abc"}}
    service = world.add_fitter(authentication_type="header_token", _authinfo=info)
    tested, client = connection(world, ServiceReply(CallOutcome.TAKEN, 200, "active"))
    told = tested.connection_test(world.viewer("mia"), service)
    assert told == {
        "ok": True, "status": 200, "message": "the service answered 200: active", "hint": None,
    }  # fmt: skip
    assert client.calls[0][1].facts == {"headers": {"Authorization": "Bearer abc"}}
    with pytest.raises(Forbidden):
        tested.connection_test(world.viewer("ada"), service)
    with pytest.raises(AnalysisServiceMissing):
        tested.connection_test(world.viewer("mia"), 999)


def test_what_a_test_says_of_other_answers(world):
    service = world.add_fitter()
    refused = {"message": "this address may not be called", "found": "10.0.0.1", "hint": "ask"}
    for reply, ok, words in (
        (ServiceReply(CallOutcome.REFUSED, 405, error={"message": "x"}), True, "405"),
        (ServiceReply(CallOutcome.TRY_LATER, 500, error={"message": "it broke"}), False, "broke"),
        (ServiceReply(CallOutcome.REFUSED, error=refused), False, "(10.0.0.1)"),
    ):
        told = connection(world, reply)[0].connection_test(world.viewer("mia"), service)
        assert told["ok"] is ok
        assert words in told["message"]


def test_local_services_are_tested_without_a_call(world):
    for name, ok in (("period", True), ("transit", False)):
        service = world.add_fitter(f"of {name}", url=f"local:{name}")
        tested, client = connection(world, None)
        assert tested.connection_test(world.viewer("mia"), service)["ok"] is ok
        assert client.calls == []
    with world.database.reading() as session:
        assert session.get_one(AnalysisService, 1).url == "local:period"
