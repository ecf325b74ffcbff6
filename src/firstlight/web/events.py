"""The live stream of events (server-sent events): complete, in order, resumable.

One task a process asks the database for what is new; all open streams share what it found. A
stream is a number up to which its client has been told, so a slow client costs no memory: it
is behind, reads from the database until it has caught up, and is dropped where it takes
nothing at all. Its browser then comes back with the last number it saw.
"""

from __future__ import annotations

import asyncio
import logging
import time
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from firstlight.errors import FirstlightError
from firstlight.services.watching.event_stream import EventMessage, EventStreamService, Wanted
from firstlight.web.envelope import ServerBusy

__all__ = ["EventHub", "EventResponse", "StreamLimits"]

log = logging.getLogger("firstlight.web.events")

_PAGE = 500
_KEPT = 4096
_READERS = 4  # streams that catch up from the database at the same time
_AFTER_FAULT_S = 2.0


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """Times in seconds, and how many.

    Parameters
    ----------
    poll_interval_s
        Between two looks for new events.
    heartbeat_s
        A stream that says nothing else says that it is alive so often; permission is asked
        again as often.
    send_timeout_s
        A client that takes nothing for so long is dropped.
    max_streams
        Streams open at once.
    """

    poll_interval_s: float = 0.2
    heartbeat_s: float = 15.0
    send_timeout_s: float = 20.0
    max_streams: int = 1000


class EventHub:
    """What is new, found once for all streams of this process.

    Parameters
    ----------
    events
        Where events are read.
    limits
        See `StreamLimits`.
    """

    def __init__(self, events: EventStreamService, limits: StreamLimits) -> None:
        self._events = events
        self.limits = limits
        self._recent: list[EventMessage] = []
        # Everything above `_floor` and up to `_head` is in `_recent`.
        self._floor = self._head = 0
        self._open = 0
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._readers = asyncio.Semaphore(_READERS)
        self.closed = False

    @asynccontextmanager
    async def stream(self, after: int | None) -> AsyncIterator[int]:
        """Open a stream; gives the number after which it begins.

        Parameters
        ----------
        after
            The last number that the client was told; ``None`` to begin with what comes next.

        Raises
        ------
        ServerBusy
            There are too many.
        """
        if self._open >= self.limits.max_streams or self.closed:
            raise ServerBusy
        self._open += 1
        try:
            last = await asyncio.to_thread(self._events.last_number)
            if self._task is None:
                self._recent, self._floor, self._head = [], last, last
                self._task = asyncio.create_task(self._poll(), name="event poller")
            # Nobody was told a number that does not exist: the table has begun anew.
            yield last if after is None else min(max(after, 0), last)
        finally:
            self._open -= 1
            if self._open == 0 and self._task is not None:
                self._task.cancel()
                self._task = None

    async def gap(self, after: int | None) -> bytes:
        """What tells a client that events above its number are forgotten; empty if none are."""
        first = await asyncio.to_thread(self._events.first_number)
        if not after or first is None or after >= first - 1:
            return b""
        return b'event: gap\ndata: {"after":%d,"first":%d}\n\n' % (after, first)

    async def after(self, number: int) -> Sequence[EventMessage]:
        """Events above a number, the first of them; empty where there are none yet."""
        if number >= self._floor:
            start = bisect_right(self._recent, number, key=lambda event: event.number)
            return self._recent[start : start + _PAGE]
        async with self._readers:
            return await asyncio.to_thread(self._events.after, number, _PAGE)

    async def wait(self, number: int, seconds: float) -> None:
        """Wait until there may be events above a number, at most so long."""
        if self._head > number or self.closed:
            return
        try:
            await asyncio.wait_for(self._changed.wait(), seconds)
        except TimeoutError:
            return

    @property
    def open_streams(self) -> int:
        """How many are open now."""
        return self._open

    def close(self) -> None:
        """End all streams; their clients come back elsewhere, or later."""
        self.closed = True
        self._wake()

    async def _poll(self) -> None:
        while not self.closed:
            try:
                found = await asyncio.to_thread(self._events.after, self._head, _PAGE)
            except Exception as fault:  # noqa: BLE001, a poller that died would be silence for ever
                log.warning("events cannot be read: %s", fault)
                await asyncio.sleep(_AFTER_FAULT_S)
                continue
            if found:
                self._add(found)
            if len(found) < _PAGE:
                await asyncio.sleep(self.limits.poll_interval_s)

    def _add(self, found: Sequence[EventMessage]) -> None:
        recent = [*self._recent, *found]
        surplus = len(recent) - _KEPT
        if surplus > 0:
            self._floor = recent[surplus - 1].number
            recent = recent[surplus:]
        self._recent, self._head = recent, recent[-1].number
        self._wake()

    def _wake(self) -> None:
        waiting, self._changed = self._changed, asyncio.Event()
        waiting.set()


class EventResponse(Response):
    """An answer that goes on until the client leaves, its permission ends or the server stops.

    Parameters
    ----------
    hub
        Where events come from.
    after
        See `EventHub.stream`.
    allowed
        Asked at the beginning and once a heartbeat: returns what the client may be told, or
        raises when it may no longer be told anything.
    """

    def __init__(self, hub: EventHub, after: int | None, allowed: Callable[[], Wanted]) -> None:
        super().__init__(media_type="text/event-stream")
        self._hub = hub
        self._after = after
        self._allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; errors before the first byte are errors of the request."""
        del scope
        async with self._hub.stream(self._after) as position:
            wanted = await asyncio.to_thread(self._allowed)
            headers = [
                (b"content-type", b"text/event-stream; charset=utf-8"),
                (b"cache-control", b"no-store"),
                (b"x-accel-buffering", b"no"),
            ]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            gone = asyncio.create_task(_until_gone(receive))
            told = asyncio.create_task(self._tell(send, position, wanted))
            try:
                await asyncio.wait({gone, told}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (gone, told):
                    task.cancel()
                await asyncio.gather(gone, told, return_exceptions=True)

    async def _tell(self, send: Send, position: int, wanted: Wanted) -> None:
        limits = self._hub.limits

        async def write(text: bytes, *, more: bool = True) -> None:
            message = {"type": "http.response.body", "body": text, "more_body": more}
            await asyncio.wait_for(send(message), limits.send_timeout_s)

        # The first number, so that a client that leaves before any event misses none.
        await write(b"retry: 2000\n" + _mark(position) + await self._hub.gap(self._after))
        due = time.monotonic() + limits.heartbeat_s
        while not self._hub.closed:
            batch = await self._hub.after(position)
            text = b"".join(_as_text(event) for event in batch if wanted.takes(event))
            if batch:
                position = batch[-1].number
            if text:
                await write(text)
            if time.monotonic() >= due:
                try:
                    wanted = await asyncio.to_thread(self._allowed)
                except FirstlightError:
                    break
                await write(_mark(position))
                due = time.monotonic() + limits.heartbeat_s
            if not batch:
                await self._hub.wait(position, max(0.0, due - time.monotonic()))
        await write(b"", more=False)


async def _until_gone(receive: Receive) -> None:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return


def _as_text(event: EventMessage) -> bytes:
    return b"id: %d\ndata: %s\n\n" % (event.number, to_json(event.as_dict(), inf_nan_mode="null"))


def _mark(position: int) -> bytes:
    # No data: a browser keeps the number and tells its page nothing.
    return b": alive\nid: %d\n\n" % position


def last_event_id(header: str | None, after: Any) -> int | None:
    """Return the number to resume after: that of a browser that comes back, else the query's."""
    if header is not None and header.isascii() and header.isdigit():
        return int(header)
    return None if after is None else int(after)
