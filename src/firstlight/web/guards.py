"""Around every request: limits of its body, headers of its answer, one line in the log."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from typing import Any
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from firstlight.web.envelope import BodyTooLarge, BodyTooSlow
from firstlight.web.faults import answer_fault

__all__ = ["UPLOADS", "BodyLimit", "HeadAnswers", "RequestLog", "SafeHeaders", "SlowBodies"]

UPLOADS = "/api/uploads/"
"""Requests below this address carry files."""
_DATA = ("/api/photometry", "/api/spectr", "/api/thumbnail", "/api/sources/", "/api/obj/")
"""Below these, tables, spectra, pictures and files of parameters come as JSON."""
_IMAGES = re.compile(
    r"/api/(image_uploads|sources/[^/]+/image_analyses)|/objects/[^/]+/image_(uploads|analysis)"
)
"""Forms with images for analysis."""
_ENCODED_IMAGE = re.compile(r"/api/internal/sources/[^/]+/image_analysis")
"""An image in base64 within JSON, which is read as a whole."""
_RESULTS = "/api/webhook/obj_analysis/"
"""Below this, analysis services send their results; a token comes next."""
_UPLOADED_RESULTS = re.compile(r"/api/obj/[^/]+/analysis_upload(/[^/]*)?")
"""Results that people upload."""
_RESULTS_TOKEN = re.compile(r"(/obj_analysis/)[^/]+", re.IGNORECASE)
_MULTIPART_OVERHEAD = 65_536

_WITH_HEAD = ("/files/", "/api/events", "/api/arrivals/", "/static/")

log = logging.getLogger("firstlight.web.requests")

_SAFE = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class SafeHeaders:
    """Adds the headers that keep a browser from doing what no page of ours asks for.

    Parameters
    ----------
    app
        What answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _SAFE.items():
                    headers.setdefault(name, value)
                # Answers depend on who asks; no shared cache may keep one.
                headers.setdefault("Cache-Control", "private, no-cache")
                headers.add_vary_header("Authorization, Cookie")
            await send(message)

        await self._app(scope, receive, sending)


class BodyLimit:
    """Refuses bodies that are longer than allowed, announced or not.

    Parameters
    ----------
    app
        What answers.
    limit, data_limit, upload_limit
        Bytes of a body, of one that holds measurements, and of an upload.
    """

    def __init__(self, app: ASGIApp, limit: int, data_limit: int, upload_limit: int) -> None:
        self._app = app
        self._limit = limit
        self._data_limit = data_limit
        self._upload_limit = upload_limit + _MULTIPART_OVERHEAD

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._limit_of(scope["path"])
        announced = Headers(scope=scope).get("content-length", "0")
        if announced.isascii() and announced.isdigit() and int(announced) > limit:
            fault = _too_large(limit, int(announced))
            await answer_fault(Request(scope), fault)(scope, receive, send)
            return
        received = 0

        async def receiving() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise _too_large(limit, received)
            return message

        await self._app(scope, receiving, send)

    def _limit_of(self, path: str) -> int:
        if path.startswith((UPLOADS, _RESULTS)) or _IMAGES.fullmatch(path):
            return self._upload_limit
        if _UPLOADED_RESULTS.fullmatch(path):
            return self._upload_limit  # their handler has the limit of results
        data = path.startswith(_DATA) or _ENCODED_IMAGE.fullmatch(path)
        return max(self._limit, self._data_limit) if data else self._limit


class SlowBodies:
    """Ends requests whose bodies come so slowly that they would hold on for ever.

    Only the time spent in waiting for the sender counts, not that in which a disk is written.

    Parameters
    ----------
    app
        What answers.
    patience_s
        Seconds that may be spent in waiting, whatever comes.
    bytes_per_s
        And one second more for so many bytes that have come.
    """

    def __init__(self, app: ASGIApp, patience_s: float, bytes_per_s: float) -> None:
        self._app = app
        self._patience_s = patience_s
        self._bytes_per_s = bytes_per_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        waited = received = 0.0
        complete = False

        async def receiving() -> Message:
            nonlocal waited, received, complete
            if complete:
                return await receive()  # only the end of the connection is still to come
            began = time.monotonic()
            left = self._patience_s + received / self._bytes_per_s - waited
            try:
                async with asyncio.timeout(left):
                    message = await receive()
            except TimeoutError as fault:
                raise BodyTooSlow(expected=f"{self._bytes_per_s:g} bytes a second") from fault
            waited += time.monotonic() - began
            received += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            return message

        await self._app(scope, receiving, send)


class HeadAnswers:
    """Answers HEAD as GET without the body, where nothing else is made of it.

    So whatever can be got can be looked at, as monitors and ``curl -I`` do. Files have answers
    of their own, and the stream of events has no end to wait for.

    Parameters
    ----------
    app
        What answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        path = scope.get("path", "")
        own = any(part in path for part in _WITH_HEAD)
        if scope["type"] != "http" or scope["method"] != "HEAD" or own:
            await self._app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        inner = {**scope, "method": "GET"}
        try:
            await self._app(inner, receive, sending)
        finally:
            # What the log and the meters around this look at.
            scope.update({key: inner[key] for key in ("route", "path_params") if key in inner})


class RequestLog:
    """Writes one line for each request: no tokens, no queries, no bodies.

    Parameters
    ----------
    app
        What answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.monotonic(), 0

        async def sending(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, sending)
        finally:
            took = 1000 * (time.monotonic() - started)
            log.info("%s %s %d %.0f ms", scope["method"], shown_path(scope), status, took)


def shown_path(scope: Any) -> str:
    """Path of a request as it may be logged: tokens left out, on one line of ASCII."""
    path = str(scope["path"])
    token = scope.get("path_params", {}).get("token")
    if token:
        path = path.replace(str(token), "(token)")
    elif scope.get("route") is None:
        path = "/".join(part if len(part) <= 40 else "(long)" for part in path.split("/"))
    # Also where a request was refused before its route was looked for.
    path = _RESULTS_TOKEN.sub(r"\1(token)", path)
    return quote(path[:500], safe="/()-_.:")


def _too_large(limit: int, size: int) -> BodyTooLarge:
    return BodyTooLarge(
        found=_in_words(size),
        expected=f"at most {_in_words(limit)}",
        hint="send less at once; images are packed with fpack or gzip",
    )


def _in_words(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size} bytes"
