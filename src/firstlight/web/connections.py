"""A connection that is closed when its other end does not do its part."""

from __future__ import annotations

import asyncio
from typing import cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["PatientProtocol", "patient_protocol"]


class PatientProtocol(H11Protocol):
    """HTTP/1.1 with a time for the header of each request and for taking each answer.

    Bodies have a time of their own; see `firstlight.web.guards.SlowBodies`.

    Attributes
    ----------
    header_timeout_s
        From the first byte of a header, or the opening of the connection, to its last.
    send_timeout_s
        How long a full buffer may stay full.
    """

    header_timeout_s = 10.0
    send_timeout_s = 60.0

    _header_timer: asyncio.TimerHandle | None = None
    _send_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, and wait for the first header."""
        super().connection_made(cast("asyncio.Transport", transport))
        self.access_log = False  # whoever listens to that logger: it would tell tokens and queries
        self._await_header()

    def connection_lost(self, exc: Exception | None) -> None:
        """End, and wait for nothing more."""
        self._stop_header_timer()
        self._stop_send_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what has come; a header that has begun must end in time."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_header_timer()
        elif not self.transport.is_closing():
            self._await_header()

    def on_response_complete(self) -> None:
        """Go on with the next request; the rest of a body that nobody reads must end in time."""
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY:
            self._await_header()

    def pause_writing(self) -> None:
        """Wait for the client to take what was sent."""
        super().pause_writing()
        if self._send_timer is None:
            self._send_timer = self.loop.call_later(self.send_timeout_s, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on: it has taken some."""
        self._stop_send_timer()
        super().resume_writing()

    def _await_header(self) -> None:
        if self._header_timer is None:
            self._header_timer = self.loop.call_later(self.header_timeout_s, self.transport.close)

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _stop_send_timer(self) -> None:
        if self._send_timer is not None:
            self._send_timer.cancel()
            self._send_timer = None


def patient_protocol(header_timeout_s: float, send_timeout_s: float) -> type[PatientProtocol]:
    """The protocol with these times, as uvicorn wants it: as a class."""
    times = {"header_timeout_s": header_timeout_s, "send_timeout_s": send_timeout_s}
    return type("PatientProtocol", (PatientProtocol,), times)
