"""What is tried again, how often, and when: data, and the loop that obeys it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

__all__ = ["RETRIES", "Cause", "Report", "RetryRule", "run_attempts"]


class Cause(StrEnum):
    """Why an attempt came to nothing. The first five are the kinds of `FirstlightError`."""

    USER = "user"
    MISSING = "missing"
    CONFLICT = "conflict"
    REMOTE = "remote"
    INTERNAL = "internal"
    WORKER_DIED = "worker_died"  # crashed, or killed from outside: by lack of memory, mostly
    TIMED_OUT = "timed_out"


@dataclass(frozen=True, slots=True)
class RetryRule:
    """How often one cause may end an attempt.

    Parameters
    ----------
    attempts
        The job has failed when this many attempts were made, whatever ended the earlier ones.
    delays_s
        Pause before the second, third, ... attempt; the last one repeats.
    """

    attempts: int = 1
    delays_s: tuple[float, ...] = (0.0,)

    def delay_s(self, made: int) -> float:
        """Pause after so many attempts."""
        return self.delays_s[min(made, len(self.delays_s)) - 1]


RETRIES: Mapping[Cause, RetryRule] = MappingProxyType(
    {
        # The same input gives the same error: these are for a person to look at.
        Cause.USER: RetryRule(),
        Cause.MISSING: RetryRule(),
        Cause.CONFLICT: RetryRule(),
        # Other systems come back.
        Cause.REMOTE: RetryRule(attempts=4, delays_s=(2.0, 15.0, 60.0)),
        # A busy database or a full disk may pass; a defect will not.
        Cause.INTERNAL: RetryRule(attempts=2, delays_s=(1.0,)),
        # The neighbours that ate the memory may be gone by then.
        Cause.WORKER_DIED: RetryRule(attempts=2, delays_s=(1.0,)),
        Cause.TIMED_OUT: RetryRule(),
    }
)


@dataclass(frozen=True, slots=True)
class Report:
    """What one attempt gave: a result, or an error with its cause. All of it is JSON."""

    result: Any = None
    error: dict[str, Any] | None = None
    cause: Cause | None = None

    def as_dict(self) -> dict[str, Any]:
        """For the wire and the record."""
        return asdict(self)

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Report:
        """Read what `as_dict` wrote."""
        cause = facts["cause"]
        return cls(facts["result"], facts["error"], None if cause is None else Cause(cause))


def run_attempts(
    attempt: Callable[[int], Report],
    retries: Mapping[Cause, RetryRule],
    pause: Callable[[float], None],
) -> tuple[Report, int]:
    """Attempt until it succeeds or the rules say enough.

    Parameters
    ----------
    attempt
        Called with 1, 2, ...
    pause
        Called with seconds, between attempts.

    Returns
    -------
    tuple
        The last report and the number of attempts made.
    """
    made = 0
    while True:
        made += 1
        report = attempt(made)
        if report.cause is None:
            return report, made
        rule = retries.get(report.cause, RetryRule())
        if made >= rule.attempts:
            return report, made
        pause(rule.delay_s(made))
