"""Where the parts of a live system ask for jobs, hear of them and stop them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from firstlight.work.engine import JobOutcome, JobRequest

__all__ = ["JobDesk", "alive", "cancel_alive"]


class JobDesk(Protocol):
    """An engine, as far as those need it who hand it what their rows ask for."""

    def submit(self, requests: Sequence[JobRequest]) -> None:
        """Ask for jobs; those that have ended are run again."""
        ...

    def outcomes(self, job_ids: Collection[str]) -> Mapping[str, JobOutcome]:
        """What is known of these; ids that are unknown are absent."""
        ...

    def cancel(self, job_ids: Collection[str]) -> None:
        """Stop these."""
        ...


def alive(jobs: JobDesk, job_ids: Collection[str]) -> list[str]:
    """Those of these jobs that are still to end."""
    known = jobs.outcomes(job_ids) if job_ids else {}
    return [name for name, outcome in known.items() if not outcome.state.finished]


def cancel_alive(jobs: JobDesk, job_ids: Collection[str]) -> None:
    """Stop those of these jobs that are still to end.

    It may be called again and again for the same ones: what has ended is only read.
    """
    if found := alive(jobs, job_ids):
        jobs.cancel(found)
