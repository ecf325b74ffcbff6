"""Runs are sent by a process of their own, since packing them would keep pages waiting."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from firstlight.errors import InternalError
from firstlight.services.analyses.run_queue import RunQueue
from firstlight.work.retry import Report

__all__ = ["RunSender", "SendingFailed", "send_for_a_while"]

_TURN_S = 1.0  # so long a process sends before it is asked whether it is to go on
_LAST_TURN_S = 10.0  # so long calls that are under way may take to end when all is stopped
_KEY = "analyses"


class SendingFailed(InternalError):
    """The process that sends runs to their services has failed."""

    code = "analysis.sending_failed"

    @classmethod
    def of(cls, error: Mapping[str, Any]) -> SendingFailed:
        """Tell what befell the process."""
        return cls(found=error.get("message"), hint=error.get("hint"))


class Helper(Protocol):
    """Another process that does what it is told by name: a `ProcessPool` of one."""

    def start(self) -> None:
        """Begin."""
        ...

    def run(
        self, handler: str, payload: Any, *, key: str, timeout_s: float | None = None
    ) -> Report:
        """Have it do something, and wait."""
        ...

    def close(self) -> None:
        """End it."""
        ...


class RunSender:
    """Has runs sent by another process, which is started with the first one that is due.

    Parameters
    ----------
    queue
        Tells whether any run is due. The other process has a queue of its own.
    helper
        Makes that process.
    send, finish
        Names of what it is to do: to send for a while, as `send_for_a_while`; and to end what
        is under way.
    address
        Where services reach this server.
    every_s
        Seconds between two looks.
    """

    def __init__(
        self,
        *,
        queue: RunQueue,
        helper: Callable[[], Helper],
        send: str,
        finish: str,
        address: Callable[[], str],
        every_s: float,
    ) -> None:
        self._queue = queue
        self._make_helper = helper
        self._send = send
        self._finish = finish
        self._address = address
        self._every_s = every_s
        self._helper: Helper | None = None
        self._at_work = False

    def run(self) -> float:
        """Have sent what is due; returns the seconds until next time.

        Raises
        ------
        SendingFailed
            The other process died. What it was sending is due again after a while.
        """
        if not self._at_work and not self._queue.any_due():
            return self._every_s
        if self._helper is None:
            self._helper = self._make_helper()
            self._helper.start()
        self._at_work = False
        self._at_work = bool(self._asked(self._helper, self._send, None))
        return 0.0 if self._at_work else self._every_s

    def close(self) -> None:
        """Wait a while for calls that are under way, and end the process."""
        helper, self._helper = self._helper, None
        if helper is not None:
            try:
                self._asked(helper, self._finish, _LAST_TURN_S)
            finally:
                helper.close()

    def _asked(self, helper: Helper, what: str, timeout_s: float | None) -> Any:
        payload = {"address": self._address()}
        report = helper.run(what, payload, key=_KEY, timeout_s=timeout_s)
        if report.cause is not None:
            raise SendingFailed.of(report.error or {})
        return report.result


def send_for_a_while(queue: RunQueue) -> bool:
    """Send what is due, for a second or until nothing is.

    Returns
    -------
    bool
        Whether there is more, or calls are under way still.
    """
    until = time.monotonic() + _TURN_S
    while time.monotonic() < until:
        pause = queue.run()
        if not queue.at_work:
            return False
        time.sleep(pause)
    return True
