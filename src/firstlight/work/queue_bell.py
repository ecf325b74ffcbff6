"""What keeps those who take jobs from the queues waiting until there is a job for them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection

from sqlalchemy.exc import SQLAlchemyError

from firstlight.work.engine import Lane

__all__ = ["QueueBell"]

_EAGER_S, _IDLE_S = 0.05, 0.25  # between looks at the record, at least and at most
_SHARE = 10  # of the time for which nothing has moved, the next look waits for one part
_ANYWAY_S = 5.0  # whoever waits goes and sees for himself after this time

_log = logging.getLogger(__name__)


class QueueBell:
    """Rings for a lane that has a job: one asked for here at once, any other when it is seen.

    To look whether anything waits takes a fraction of what it takes to ask for the next job, so
    that one look for all lanes is what an idle process does.

    Parameters
    ----------
    look
        Reads from the record which lanes have jobs that nobody has taken.
    has_room
        Whether this process would take another job of a lane.
    """

    def __init__(
        self, look: Callable[[], Collection[Lane]], has_room: Callable[[Lane], bool]
    ) -> None:
        self._look = look
        self._has_room = has_room
        self._changed = threading.Condition()
        self._rung: set[Lane] = set(Lane)  # what waits since before the start
        self._moved = time.monotonic()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="jobs-bell", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """Look no more; whoever waits goes on."""
        self._closed.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    def ring(self, *lanes: Lane) -> None:
        """Say that a job has come into these lanes, or that there is room for one."""
        with self._changed:
            self._moved = time.monotonic()
            self._rung.update(lanes)
            self._changed.notify_all()

    def await_job(self, lane: Lane) -> None:
        """Wait until there is probably a job in this lane, and room for it.

        Called again and again by the one thread that takes the jobs of the lane.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed.is_set() or (lane in self._rung and self._has_room(lane)),
                timeout=_ANYWAY_S,
            )
            self._rung.discard(lane)
        if self._closed.is_set():
            time.sleep(_EAGER_S)  # there is nothing to be had until the end

    def _watch(self) -> None:
        while not self._closed.wait(self._pause_s()):
            try:
                waiting = self._look()
            except SQLAlchemyError:
                _log.warning("The queues of jobs cannot be read", exc_info=True)
                self._closed.wait(1.0)
                continue
            with self._changed:
                # Whoever has been told and lacks room is woken when there is some.
                if not self._rung.issuperset(waiting):
                    self._rung.update(waiting)
                    self._changed.notify_all()

    def _pause_s(self) -> float:
        return min(max((time.monotonic() - self._moved) / _SHARE, _EAGER_S), _IDLE_S)
