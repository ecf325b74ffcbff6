"""A plain Python function as a service over HTTP, by the contract of SkyPortal."""

from __future__ import annotations

import contextlib
import hmac
import json
import logging
import re
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from firstlight.analysis_kit.declaration import ServiceDeclaration
from firstlight.analysis_kit.run_queue import Acceptance, QueueSettings, RunQueue

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["REQUIRED", "BadRequest", "ServeSettings", "application", "check_request", "serve"]

REQUIRED = ("inputs", "callback_url", "callback_method")
_RETRY_AFTER_S = 30
_LAST_WORDS_S = 5


class BadRequest(Exception):
    """The request is not of the contract; the message says where."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class ServeSettings:
    """Where and for whom a service answers.

    Attributes
    ----------
    token
        What a portal must show in ``Authorization``; empty for none.
    portal
        Results are sent to this address only; empty for wherever a request says.
    most_bytes
        The longest request.
    """

    host: str = "127.0.0.1"
    port: int = 6801
    token: str = ""
    portal: str = ""
    most_bytes: int = 100 << 20
    queue: QueueSettings = field(default_factory=QueueSettings)


def serve(
    name: str, settings: ServeSettings, announce: Callable[[ServiceDeclaration, str], None]
) -> None:
    """Serve a function until the process is told to stop.

    Parameters
    ----------
    name
        ``module:function`` or ``file.py:function``.
    announce
        Gets the declaration and the address, once requests are taken.

    Raises
    ------
    BrokenService
        The function cannot be loaded.
    OSError
        The address cannot be had.
    """
    import uvicorn  # noqa: PLC0415, what only a server needs

    runs = RunQueue(name, settings.queue)
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # With the protocol named asyncio sends small answers at once, and not 40 ms later.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as place:
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.bind((settings.host, settings.port))
        place.listen(128)
        declaration = runs.start()
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        address = f"http://{host}:{place.getsockname()[1]}{_path(declaration)}"
        app = application(runs, declaration, settings, lambda: announce(declaration, address))
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=_LAST_WORDS_S,
        )
        with contextlib.suppress(KeyboardInterrupt):  # that is how a service is stopped
            uvicorn.Server(config).run(sockets=[place])


def application(
    runs: RunQueue,
    declaration: ServiceDeclaration,
    settings: ServeSettings,
    ready: Callable[[], None] = lambda: None,
) -> Starlette:
    """The application: POST begins a run, GET tells that the service is there.

    Parameters
    ----------
    ready
        Called when it begins to answer.
    """
    from starlette.applications import Starlette  # noqa: PLC0415, what only a server needs
    from starlette.routing import Route  # noqa: PLC0415

    ends = _Ends(runs, declaration, settings)

    @contextlib.asynccontextmanager
    async def living(_: Starlette) -> AsyncIterator[None]:
        ready()
        try:
            yield
        finally:
            logging.getLogger("firstlight.analysis").info("stopping")
            runs.stop()

    routes = [
        Route(path, end, methods=[method])
        for path in (_path(declaration), "/")
        for method, end in (("POST", ends.begin), ("GET", ends.tell))
    ]
    elsewhere = {404: ends.elsewhere, 405: ends.elsewhere}
    return Starlette(routes=routes, lifespan=living, exception_handlers=elsewhere)


class _Ends:
    """What answers requests."""

    def __init__(
        self, runs: RunQueue, declaration: ServiceDeclaration, settings: ServeSettings
    ) -> None:
        self._runs = runs
        self._declaration = declaration
        self._settings = settings

    async def begin(self, request: Request) -> Response:
        """Take a run in."""
        try:
            _check_token(request, self._settings.token, required=True)
            data = await _body(request, self._settings.most_bytes)
            body = check_request(data, self._settings.portal)
        except BadRequest as fault:
            return _error(fault.status, str(fault))
        outcome = self._runs.accept(body)
        if outcome is Acceptance.FULL:
            return _error(503, "too many runs are waiting here", retry=True)
        if outcome is Acceptance.STOPPING:
            return _error(503, "the service is about to stop", retry=True)
        known = " before" if outcome is Acceptance.KNOWN else ""
        told = f"{self._declaration.name}: the analysis was accepted{known}"
        return _json({"status": "pending", "message": told})

    async def tell(self, request: Request) -> Response:
        """Say that the service is there."""
        try:
            _check_token(request, self._settings.token, required=False)
        except BadRequest as fault:
            return _error(fault.status, str(fault))
        name, version = self._declaration.name, self._declaration.version
        runs = self._runs.unfinished()
        return _json({"status": "active", "name": name, "version": version, "runs": runs})

    async def elsewhere(self, request: Request, fault: Exception) -> Response:
        """Say where the service is."""
        del request
        status = getattr(fault, "status_code", 404)
        there = _path(self._declaration)
        return _error(status, f"POST an analysis to {there}, or GET whether it is there")


def _json(told: Mapping[str, Any], status: int = 200, **headers: str) -> Response:
    from starlette.responses import JSONResponse  # noqa: PLC0415, what only a server needs

    return JSONResponse(told, status, headers)


def _error(status: int, message: str, *, retry: bool = False) -> Response:
    later = {"Retry-After": str(_RETRY_AFTER_S)} if retry else {}
    return _json({"status": "error", "message": message}, status, **later)


def check_request(data: bytes, portal: str = "") -> dict[str, Any]:
    """The body of a request, where it is one.

    Raises
    ------
    BadRequest
        It is no JSON, a key is missing, or the results cannot be sent where it says.
    """
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        raise BadRequest("Invalid JSON") from None
    if not isinstance(body, dict):
        raise BadRequest("Invalid JSON: an object is expected")
    missing = [name for name in REQUIRED if name not in body]
    if missing:
        raise BadRequest(f"missing required key {missing[0]} in the request")
    if not isinstance(body["inputs"], Mapping):
        raise BadRequest("inputs: an object is expected")
    if body["callback_method"] != "POST":
        raise BadRequest("callback_method: only POST is offered")
    _check_address(str(body["callback_url"]), portal)
    return body


def _check_address(url: str, portal: str) -> None:
    try:
        there, allowed = urlsplit(url), urlsplit(portal)
        usable = there.scheme in {"http", "https"} and bool(there.hostname)
        same = (there.scheme, there.hostname, there.port) == (
            allowed.scheme, allowed.hostname, allowed.port,
        )  # fmt: skip
    except ValueError:  # a port that is no number
        usable = same = False
    if not usable:
        raise BadRequest(
            "callback_url: an address that begins with http:// or https:// is expected"
        )
    if portal and not same:
        raise BadRequest("callback_url: results are sent to another portal only", 403)


async def _body(request: Request, most: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise BadRequest(f"the request is longer than {most} bytes", 413)
        parts.append(part)
    return b"".join(parts)


def _check_token(request: Request, token: str, *, required: bool) -> None:
    """Whether a token is shown as ``Bearer TOKEN``, ``token TOKEN`` or alone."""
    shown = request.headers.get("authorization", "")
    if not token or (not shown and not required):
        return
    bare = shown.split(" ", 1)[1] if shown.lower().startswith(("bearer ", "token ")) else shown
    if not hmac.compare_digest(bare.strip().encode(), token.encode()):
        raise BadRequest("Authorization: the token of this service is expected", 401)


def _path(declaration: ServiceDeclaration) -> str:
    return "/analysis/" + re.sub(r"[^A-Za-z0-9_.-]+", "-", declaration.name).strip("-")
