"""Who asks: the token in a request, or the person at this very machine."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_address
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends
from starlette.requests import HTTPConnection

from firstlight.services.access import TokenInvalid, Viewer
from firstlight.web.context import services_of

__all__ = ["COOKIE", "Asker", "is_from_this_machine", "token_of", "viewer_of"]

COOKIE = "firstlight_token"
_SCHEMES = frozenset({"token", "bearer"})
_READING = frozenset({"GET", "HEAD"})
# With any of these a request has come through a proxy, and its address says nothing.
_PROXY_HEADERS = (
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-server",
    "x-real-ip",
    "cf-connecting-ip",
    "true-client-ip",
    "x-client-ip",
)


def viewer_of(connection: HTTPConnection) -> Viewer:
    """Identify the sender of a request."""
    access = services_of(connection).access
    token = token_of(connection)
    if token is not None:
        return access.identify(token)
    kept = connection.cookies.get(COOKIE)
    # A cookie is sent along by a browser whoever made it ask, so it must not change anything.
    if kept and connection.scope.get("method", "GET") in _READING:
        # One that has become worthless is none: what is public stays readable.
        with suppress(TokenInvalid):
            return access.identify(kept)
    return access.identify(None, from_loopback=is_from_this_machine(connection))


Asker = Annotated[Viewer, Depends(viewer_of)]
"""Parameter of a handler that needs to know who asks."""


def token_of(connection: HTTPConnection) -> str | None:
    """Return the token in the header of a request.

    Never one in the URL, which is logged and passed on.

    Raises
    ------
    TokenInvalid
        There is such a header, and it is not understood.
    """
    header = connection.headers.get("authorization")
    if header is None:
        return None
    scheme, _, token = header.strip().partition(" ")
    if scheme.lower() not in _SCHEMES or not token.strip():
        raise TokenInvalid("the header is not understood", expected="Authorization: token ...")
    return token.strip()


def is_from_this_machine(connection: HTTPConnection) -> bool:
    """Whether a request surely comes from a person or program at this machine.

    The address alone is not enough: a proxy beside the server makes all the world local, and
    any page in the person's browser can ask. So no header of a proxy may be there, the name
    asked for must be this machine's own (a foreign name may have been bound to the loopback
    address), and a browser must not say that another page made it ask.
    """
    if any(name in connection.headers for name in _PROXY_HEADERS):
        return False
    client = connection.client
    if client is None or not _is_loopback(client.host):
        return False
    host = connection.headers.get("host", "")
    return _names_this_machine(host) and _asked_by_itself(connection, host)


def _asked_by_itself(connection: HTTPConnection, host: str) -> bool:
    origin = connection.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != host:
        return False
    if connection.headers.get("sec-fetch-site", "none") in {"none", "same-origin"}:
        return True
    # A link on another page may be followed; the other page does not see what it leads to.
    reading = connection.scope.get("method") in _READING
    return reading and connection.headers.get("sec-fetch-mode") == "navigate"


def _names_this_machine(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return name == "localhost" or name.endswith(".localhost") or _is_loopback(name)


def _is_loopback(text: str) -> bool:
    try:
        address: Any = ip_address(text)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)
