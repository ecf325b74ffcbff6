"""What has ended is not stopped again, and nobody is asked about nothing."""

from firstlight.work.engine import JobOutcome, JobState
from firstlight.work.job_desk import alive, cancel_alive


class Desk:
    def __init__(self, **known):
        self.known, self.asked, self.cancelled = known, [], []

    def outcomes(self, job_ids):
        self.asked.append(list(job_ids))
        return {
            name: JobOutcome(name, "a kind", self.known[name])
            for name in job_ids
            if name in self.known
        }

    def cancel(self, job_ids):
        self.cancelled.append(list(job_ids))


def test_only_jobs_that_are_still_to_end_are_stopped():
    desk = Desk(**{state.value: state for state in JobState})
    names = [*JobState, "unknown"]
    assert alive(desk, names) == ["queued", "running"]
    cancel_alive(desk, names)
    assert desk.cancelled == [["queued", "running"]]


def test_where_nothing_is_to_be_stopped_the_engine_is_left_alone():
    desk = Desk(ended=JobState.DONE)
    cancel_alive(desk, ["ended"])
    cancel_alive(desk, [])
    assert desk.cancelled == []
    assert desk.asked == [["ended"]]
