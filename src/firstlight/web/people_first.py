"""Programs that send results wait a moment while a page is being made for somebody."""

from __future__ import annotations

import asyncio
import contextlib

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["PeopleFirst"]

_SENT_BY_PROGRAMS = "/api/webhook/"
_NO_PAGES = ("/api/", "/static/", "/health", "/ready", "/metrics")


class PeopleFirst:
    """Lets a page be made before results are taken that arrive meanwhile.

    All share one interpreter: beside a stream of results a page would take several times as long.
    A program does not mind when its answer comes, as long as it comes.

    Parameters
    ----------
    app
        What answers.
    patience_s
        How long a program waits at most, however many pages are asked for.
    """

    def __init__(self, app: ASGIApp, patience_s: float = 0.25) -> None:
        self._app = app
        self._patience = patience_s
        self._pages = 0
        self._none = asyncio.Event()
        self._none.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] == "http" and scope["path"].startswith(_SENT_BY_PROGRAMS):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._none.wait(), self._patience)
        elif _is_page(scope):
            await self._make(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _make(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_made = False
        self._pages += 1
        self._none.clear()

        def made() -> None:
            nonlocal is_made
            if is_made:
                return
            is_made = True
            self._pages -= 1
            if self._pages == 0:
                self._none.set()

        async def sending(message: Message) -> None:
            made()  # what is being sent may take hours
            await send(message)

        try:
            await self._app(scope, receive, sending)
        finally:
            made()


def _is_page(scope: Scope) -> bool:
    asked = scope["type"] == "http" and scope["method"] == "GET"
    return asked and not scope["path"].startswith(_NO_PAGES)
