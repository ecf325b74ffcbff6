"""JSON goes out packed where the asker can unpack it: light curves are long."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["PackedJson"]

_SHORT = 2_000  # bytes that one packet of the network holds anyway
_LONG = 100_000  # bytes whose packing would keep the others waiting
_LEVEL = 4


class PackedJson:
    """Packs whole JSON answers (gzip).

    Pages are not packed: they hold what proves their origin beside text of the asker, and the
    length of what is packed would tell of one by the other.

    Parameters
    ----------
    app
        What answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        accepted = "" if scope["type"] != "http" else Headers(scope=scope).get("accept-encoding")
        if "gzip" not in (accepted or ""):
            await self._app(scope, receive, send)
            return
        start: Message | None = None

        async def sending(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and _is_plain_json(message):
                start = message  # waits for its body
                return
            if start is not None:
                held, start = start, None
                message = await _packed(held, message)
                await send(held)
            await send(message)

        await self._app(scope, receive, sending)


def _is_plain_json(start: Message) -> bool:
    headers = Headers(raw=start["headers"])
    return (
        headers.get("content-type", "") == "application/json" and "content-encoding" not in headers
    )


async def _packed(start: Message, message: Message) -> Any:
    """Pack a body that has come as a whole, and say so in the header."""
    body = message.get("body", b"")
    headers = MutableHeaders(raw=start["headers"])
    headers.add_vary_header("Accept-Encoding")
    if message.get("more_body", False) or len(body) < _SHORT:
        return message
    if len(body) < _LONG:
        body = gzip.compress(body, _LEVEL, mtime=0)
    else:
        body = await asyncio.to_thread(gzip.compress, body, _LEVEL, mtime=0)
    headers["Content-Encoding"] = "gzip"
    headers["Content-Length"] = str(len(body))
    return {**message, "body": body}
