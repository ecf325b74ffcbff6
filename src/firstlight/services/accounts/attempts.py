"""How often somebody may fail: attempts are counted in memory, in a sliding window."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from firstlight.errors import UserError

__all__ = ["AttemptLimiter", "TooManyAttempts"]

_MOST_KEYS = 20_000


class TooManyAttempts(UserError):
    """There were too many failed attempts; wait, and try again."""

    code = "access.too_many_attempts"


class AttemptLimiter:
    """Counts the failures of each key.

    Parameters
    ----------
    limit
        Failures until a key is refused.
    window_s
        Seconds after which a failure is forgotten.
    clock
        Returns seconds that never go back.
    """

    def __init__(
        self, limit: int, window_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = limit
        self._window = window_s
        self._clock = clock
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def check(self, key: str) -> None:
        """Refuse a key that has failed too often.

        Raises
        ------
        TooManyAttempts
            With the seconds to wait in `expected`.
        """
        with self._lock:
            times = self._recent(key)
            if len(times) < self._limit:
                return
            wait = times[0] + self._window - self._clock()
        raise TooManyAttempts(expected=f"a pause of {max(1, round(wait))} s")

    def fail(self, key: str) -> None:
        """Count a failure."""
        with self._lock:
            times = self._recent(key)
            times.append(self._clock())
            while len(times) > self._limit:
                times.popleft()
            self._failures[key] = times
            self._failures.move_to_end(key)
            while len(self._failures) > _MOST_KEYS:
                self._failures.popitem(last=False)

    def forget(self, key: str) -> None:
        """Begin anew for a key that has succeeded."""
        with self._lock:
            self._failures.pop(key, None)

    def forgive(self, key: str) -> None:
        """Take the last failure back."""
        with self._lock:
            if times := self._failures.get(key):
                times.pop()

    def _recent(self, key: str) -> deque[float]:
        times = self._failures.get(key, deque())
        oldest = self._clock() - self._window
        while times and times[0] <= oldest:
            times.popleft()
        if not times:
            self._failures.pop(key, None)
        return times
