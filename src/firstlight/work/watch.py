"""Waiting for jobs: what this process hears of its own, and what the record says of the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from queue import Empty, SimpleQueue

from firstlight.work.engine import JobOutcome, JobState, OnChange, UnknownJob

__all__ = ["Watch"]

_LOOK_S = 0.25  # between looks at the record, while others have the jobs
_OWN_LOOK_S = 1.0  # the same, while this process has some of them: of those it hears at once
_CONFIRM_S = 0.01  # the same, once only the writing of known ends is waited for
_SHARE = 10  # at most one part in so many of the time is spent on looking


class Watch:
    """One wait for some jobs.

    Parameters
    ----------
    look
        Reads the outcomes of some jobs from the record.
    job_ids
        Without repetition.
    """

    def __init__(
        self,
        look: Callable[[Collection[str]], dict[str, JobOutcome]],
        job_ids: Sequence[str],
        on_change: OnChange | None,
    ) -> None:
        self._look = look
        self._job_ids = job_ids
        self._pending = dict.fromkeys(job_ids)
        self._on_change = on_change or (lambda _: None)
        self._told: dict[str, JobOutcome] = {}
        self._ends: dict[str, JobOutcome] = {}
        self._in_hand: Callable[[str], bool] = lambda _: False

    def run(
        self, heard: SimpleQueue[JobOutcome], in_hand: Callable[[str], bool]
    ) -> dict[str, JobOutcome]:
        """Wait until the record shows the end of each job.

        What is heard is told at once, but an end counts when it is written down: whoever exits
        on hearing of it would otherwise leave a job to be done again.

        Parameters
        ----------
        heard
            Where this process puts what becomes of its own jobs.
        in_hand
            Whether a job is one of these, so that its progress will be heard.
        """
        self._in_hand = in_hand
        next_look = 0.0
        while self._pending:
            now = time.monotonic()
            if now >= next_look:
                self._read_record()
                next_look = time.monotonic() + self._next_pause_s(time.monotonic() - now)
                continue
            try:
                outcome = heard.get(timeout=next_look - now)
            except Empty:
                continue
            if outcome.job_id in self._pending:
                self._tell(outcome)
                next_look = min(next_look, time.monotonic() + self._next_pause_s(0.0))
        return {job_id: self._ends[job_id] for job_id in self._job_ids}

    def _next_pause_s(self, cost_s: float) -> float:
        if all(map(self._ended, self._pending)):
            pause = _CONFIRM_S
        else:
            pause = _OWN_LOOK_S if any(map(self._in_hand, self._pending)) else _LOOK_S
        return max(pause, _SHARE * cost_s)

    def _read_record(self) -> None:
        written = self._look(self._pending.keys())
        for job_id in list(self._pending):
            outcome = written.get(job_id)
            if outcome is None:
                raise UnknownJob(subject=job_id)
            if outcome.state.finished:
                self._ends[job_id] = outcome
                del self._pending[job_id]
                self._tell(outcome)
            elif job_id not in self._told or not (self._ended(job_id) or self._in_hand(job_id)):
                self._tell(outcome)

    def _ended(self, job_id: str) -> bool:
        return self._told[job_id].state.finished

    def _tell(self, outcome: JobOutcome) -> None:
        before = self._told.get(outcome.job_id)
        if before is not None and before.state is outcome.state:
            again = outcome.state is JobState.RUNNING and outcome.attempts > max(1, before.attempts)
            if not again:
                return
        self._told[outcome.job_id] = outcome
        self._on_change(outcome)
