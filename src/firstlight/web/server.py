"""The web server of one process."""

from __future__ import annotations

import gc
import signal
import socket
import sys
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn

from firstlight.errors import UserError
from firstlight.web.app import create_app
from firstlight.web.connections import patient_protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import FastAPI

    from firstlight.services.web_settings import WebSettings
    from firstlight.web.context import Services

__all__ = ["AddressTaken", "serve", "server_config"]

# A page asks the database some thirty times, and may wait a turn of each busy thread after each:
# with Python's own five milliseconds a quarter of a second beside a stream of results.
_TURN_S = 0.0005
_TICKS_TO_LOAD = 600  # of a tenth of a second: by then all is loaded that ever will be
_TICKS_TO_FREEZE = 100
_LAST_WORDS_S = 5  # how long requests under way may take when the server stops


class AddressTaken(UserError):
    """The server cannot listen at this address."""

    code = "web.address_taken"


def serve(
    services: Services,
    *,
    host: str | None = None,
    port: int | None = None,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Answer requests until the process is told to stop.

    Parameters
    ----------
    services
        What the application calls.
    host, port
        Instead of those in the settings.
    on_ready
        Called with the address, once requests are taken.

    Raises
    ------
    AddressTaken
        Another program listens there, or the address is not this machine's.
    """
    settings = services.web_settings
    host = settings.host if host is None else host
    port = settings.port if port is None else port
    listener = _listen(host, port)
    app = create_app(services)
    config = server_config(app, settings)
    if on_ready is not None:
        shown = f"[{host}]" if ":" in host else host
        on_ready(f"http://{shown}:{listener.getsockname()[1]}/")
    sys.setswitchinterval(_TURN_S)
    _Server(config, app.state.hub.close).run(sockets=[listener])


def server_config(app: FastAPI, settings: WebSettings) -> uvicorn.Config:
    """How the server is run: what it believes, what it writes down, how long it waits."""
    return uvicorn.Config(
        app,
        http=patient_protocol(settings.header_timeout_s, settings.send_timeout_s),
        # Who believes the headers of proxies can be told that all the world is this machine.
        proxy_headers=False,
        server_header=False,
        access_log=False,  # it would write tokens and queries
        log_config=None,
        timeout_graceful_shutdown=_LAST_WORDS_S,
    )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named, since asyncio sends small answers at once (TCP_NODELAY) only where
    # it is; without, each would wait 40 ms for the client's acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(512)
    except OSError as fault:
        listener.close()
        raise AddressTaken(
            str(fault.strerror or fault),
            subject=f"{host}:{port}",
            hint="choose another with --port, or in the settings: web.port",
        ) from fault
    return listener


class _Server(uvicorn.Server):
    """Ends the streams of events first: they would never end by themselves.

    What is loaded in the first minute lives until the end. To look through all of it for garbage
    would stop every answer for a third of a second, so it is put aside from time to time.
    """

    def __init__(self, config: uvicorn.Config, on_stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_stop = on_stop
        self._ticks_to_load = _TICKS_TO_LOAD

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second."""
        if self._ticks_to_load:  # the counter itself begins again every day
            self._ticks_to_load -= 1
            if self._ticks_to_load % _TICKS_TO_FREEZE == 0:
                gc.freeze()
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop, at a signal."""
        self._on_stop()
        super().handle_exit(signal.Signals(sig), frame)
