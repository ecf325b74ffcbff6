"""The durable engine and its process pool: jobs by name.

`firstlight.work.engine` says what a job is and what an engine promises; `InlineEngine` runs jobs
in the caller's process, `DbosEngine` durably in worker processes, on one machine or many.
"""

from firstlight.work.engine import (
    UNSUCCESSFUL,
    Engine,
    JobKind,
    JobOutcome,
    JobRequest,
    JobState,
    JobTable,
    Lane,
    WorkerSetup,
)
from firstlight.work.inline_engine import InlineEngine

__all__ = [
    "UNSUCCESSFUL",
    "Engine",
    "InlineEngine",
    "JobKind",
    "JobOutcome",
    "JobRequest",
    "JobState",
    "JobTable",
    "Lane",
    "WorkerSetup",
]
