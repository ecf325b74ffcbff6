"""The plan of a night: stages one after the other, and what its report says."""

from collections.abc import Mapping

import pytest

from firstlight.errors import InvalidInput, Kind
from firstlight.services.night import NightReport, NightService, Plan
from firstlight.work.engine import JobKind, JobRequest
from firstlight.work.inline_engine import InlineEngine

DONE: list[str] = []


def work(payload: Mapping[str, object], services: object) -> dict[str, object]:
    """Job: note that it was done, and fail as it is told to."""
    DONE.append(str(payload["name"]))
    if payload.get("fault"):
        raise InvalidInput("no good", subject=str(payload["name"]), **payload.get("facts", {}))
    if payload.get("defect"):
        raise ZeroDivisionError("first line\nand what nobody reads")
    return {"failures": payload.get("failures", [])}


@pytest.fixture(autouse=True)
def _forget():
    DONE.clear()


class Engines:
    """Makes engines, and counts them."""

    def __init__(self):
        self.made = 0

    def __call__(self):
        self.made += 1
        return InlineEngine({"work": JobKind(f"{__name__}:work")})


@pytest.fixture
def engines():
    return Engines()


def _job(name: str, **facts: object) -> JobRequest:
    return JobRequest(job_id=name, name="work", payload={"name": name, **facts})


def _run(service: NightService, **options: object) -> NightReport:
    with service.running() as night:
        for stage in night.stages(**options):
            stage.run(lambda _done: None)
    return service.report()


def test_nothing_to_do_starts_no_engine(engines):
    report = _run(NightService(make_engine=engines, plans=[Plan("reduce", lambda retry: [])]))
    assert engines.made == 0
    assert report.sentence().startswith("nothing to do")
    assert report.as_dict() == {"done": 0, "failures": [], "stages": {}, "broken": 0}


def test_a_stage_is_planned_when_the_one_before_has_ended(engines):
    seen: list[list[str]] = []

    def second(retry: bool) -> list[JobRequest]:
        seen.append(list(DONE))
        return [_job("c")]

    plans = [Plan("first", lambda retry: [_job("a"), _job("b")]), Plan("second", second)]
    report = _run(NightService(make_engine=engines, plans=plans))
    assert seen == [["a", "b"]]
    assert DONE == ["a", "b", "c"]
    assert engines.made == 1, "one engine for the whole night"
    assert report.stages == {"first": 2, "second": 1}
    assert report.done == 3


def test_one_bad_job_stops_nothing_and_is_told(engines):
    plans = [
        Plan("first", lambda retry: [_job("a", fault=True), _job("b")]),
        Plan("second", lambda retry: [_job("c", failures=["frame 7: not solved"])]),
    ]
    report = _run(NightService(make_engine=engines, plans=plans))
    assert DONE == ["a", "b", "c"]
    assert report.done == 2
    assert report.failures == ["a: no good", "frame 7: not solved"]
    assert "2 jobs done, 2 failures" in report.sentence()
    assert report.broken == [Kind.USER]


def test_what_to_do_is_told_with_the_fault(engines):
    plan = Plan(
        "first", lambda retry: [_job("a", fault=True, facts={"field": "x", "hint": "try b"})]
    )
    report = _run(NightService(make_engine=engines, plans=[plan]))
    assert report.failures == ["a: no good | field: x | hint: try b"]


def test_a_defect_is_told_in_one_line_and_counts_as_broken(engines):
    plan = Plan("first", lambda retry: [_job("a", defect=True), _job("b")])
    report = _run(NightService(make_engine=engines, plans=[plan]))
    assert [line.partition(": ")[2] for line in report.failures] == [
        "ZeroDivisionError: first line"
    ]
    assert report.broken == [Kind.INTERNAL]
    assert report.done == 1


@pytest.mark.parametrize("wanted", [True, False])
def test_the_wish_to_try_again_reaches_the_plans(engines, wanted):
    asked: list[bool] = []
    plan = Plan("reduce", lambda retry: asked.append(retry) or [])
    _run(NightService(make_engine=engines, plans=[plan]), retry_failed=wanted)
    assert asked == [wanted]


def test_progress_ends_at_the_number_of_jobs(engines):
    seen: list[int] = []
    plan = Plan("reduce", lambda retry: [_job(str(n)) for n in range(5)])
    with NightService(make_engine=engines, plans=[plan]).running() as night:
        for stage in night.stages():
            assert stage.total == 5
            stage.run(seen.append)
    assert seen == [1, 2, 3, 4, 5]


def test_the_engine_is_stopped_whatever_happens(engines):
    stopped = []

    class Watched(InlineEngine):
        def stop(self):
            stopped.append(True)
            super().stop()

    def make():
        return Watched({"work": JobKind(f"{__name__}:work")})

    service = NightService(make_engine=make, plans=[Plan("reduce", lambda retry: [_job("a")])])

    def interrupted():
        with service.running() as night:
            next(night.stages())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert stopped == [True]
