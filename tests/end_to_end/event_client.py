"""A client of the live stream that loses its connection again and again."""

from __future__ import annotations

import json
import random
import threading
import time
from typing import Any

import httpx


class EventClient(threading.Thread):
    """Follows `/api/events` from the first event on, and resumes by the last id it saw.

    Parameters
    ----------
    address
        ``http://host:port``.
    events_per_connection
        It hangs up by itself after so many events, give or take; ``None`` for never.
    """

    def __init__(self, address: str, events_per_connection: int | None = None) -> None:
        super().__init__(daemon=True)
        self.address = address
        self.numbers: list[int] = []
        self.messages: list[dict[str, Any]] = []
        self.connections = 0
        self._each = events_per_connection
        self._last = "0"
        self._luck = random.Random(4)
        self._stopping = threading.Event()

    def run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._follow()
            except httpx.HTTPError:
                time.sleep(0.1)

    def stop(self) -> None:
        self._stopping.set()
        self.join(30)

    def wait_for(self, number: int, seconds: float = 60.0) -> None:
        """Until the event of this number has come."""
        deadline = time.monotonic() + seconds
        while not self.numbers or self.numbers[-1] < number:
            assert time.monotonic() < deadline, f"{self.numbers[-1:]} of {number} after {seconds} s"
            time.sleep(0.05)

    def _follow(self) -> None:
        most = None if self._each is None else self._luck.randint(1, 2 * self._each)
        seen = 0
        with httpx.stream(
            "GET",
            f"{self.address}/api/events",
            headers={"Last-Event-ID": self._last},
            timeout=httpx.Timeout(2.0),
        ) as answer:
            answer.raise_for_status()
            self.connections += 1
            number = ""
            for line in answer.iter_lines():
                if line.startswith("id:"):
                    number = line[3:].strip()
                elif line.startswith("data:"):
                    self.numbers.append(int(number))
                    self.messages.append(json.loads(line[5:]))
                    self._last = number
                    seen += 1
                if self._stopping.is_set() or (most is not None and seen >= most):
                    return
