"""Who asks: the token or the session in a request, or the person at this very machine.

A browser sends its cookie along whoever made it ask. So a request that relies on the cookie may
change something only when it proves to come from a page of ours: it brings the number that such
pages are given (`csrf_token_of`), in the header ``X-CSRF-Token`` or the form's field
``csrf_token``, and no other page is named as its origin. Requests with a token in their header
need none of this.
"""

from __future__ import annotations

import hashlib
import hmac
from contextlib import suppress
from ipaddress import ip_address
from typing import Annotated, Any, cast
from urllib.parse import urlsplit

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from firstlight.errors import UserError
from firstlight.services.access import TokenInvalid, Viewer
from firstlight.services.accounts.sign_in import SESSION_PREFIX
from firstlight.web.addresses import is_own_origin
from firstlight.web.client_address import client_address, neighbourhood, networks
from firstlight.web.context import services_of

__all__ = [
    "COOKIE",
    "CSRF_FIELD",
    "CSRF_HEADER",
    "Asker",
    "CsrfRefused",
    "Person",
    "address_of",
    "check_page",
    "csrf_token_of",
    "is_from_this_machine",
    "token_of",
    "viewer_of",
]

COOKIE = "firstlight_session"
CSRF_FIELD = "csrf_token"
CSRF_HEADER = "x-csrf-token"
_FORM = "application/x-www-form-urlencoded"
_SCHEMES = frozenset({"token", "bearer"})
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_SAME_PAGE = frozenset({"none", "same-origin"})
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


class CsrfRefused(UserError):
    """The request was not made by a page of this portal."""

    code = "access.csrf"


def viewer_of(connection: HTTPConnection, csrf: str | None = None) -> Viewer:
    """Identify the sender of a request.

    What is found is kept in the request's state, as ``viewer`` and ``csrf_token``, for pages;
    for one that goes on with a stream also ``last_event``, as it was before.

    Parameters
    ----------
    csrf
        From the form, where a handler has read it; the header is looked at anyway.

    Raises
    ------
    TokenInvalid, TooManyAttempts
        The token in the header is none; and so were too many before.
    CsrfRefused
        The request relies on its cookie, would change something, and no page of ours made it.
    """
    services = services_of(connection)
    if not getattr(connection.state, "has_stream", False):
        viewer = _identified(connection, csrf)
    else:
        with services.database.together():
            connection.state.last_event = services.event_stream.last_number()
            viewer = _identified(connection, csrf)
    connection.state.viewer = viewer
    return viewer


def _identified(connection: HTTPConnection, csrf: str | None) -> Viewer:
    services = services_of(connection)
    token = token_of(connection)
    if token is not None:
        return services.sign_in.identify_token(token, address_of(connection))
    kept = connection.cookies.get(COOKIE)
    # A cookie that has become worthless is none: what is public stays readable.
    with suppress(TokenInvalid):
        if kept:
            found = _holder(connection, kept)
            connection.state.csrf_token = csrf_token_of(kept)
            if _changes(connection):
                _check_csrf(connection, kept, csrf)
            return found
    return services.access.identify(None, from_loopback=is_from_this_machine(connection))


def _holder(connection: HTTPConnection, kept: str) -> Viewer:
    services = services_of(connection)
    if kept.startswith(SESSION_PREFIX):
        return services.sign_in.identify_session(kept)
    return services.access.identify(kept)


async def _asker(request: Request) -> Viewer:
    csrf = None
    if request.cookies.get(COOKIE) and _changes(request) and CSRF_HEADER not in request.headers:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        # Forms with files are streamed, and read by their handlers.
        if kind == _FORM and "authorization" not in request.headers:
            field = (await request.form()).get(CSRF_FIELD)
            csrf = field if isinstance(field, str) else None
    return await run_in_threadpool(viewer_of, request, csrf)


Asker = Annotated[Viewer, Depends(_asker)]
"""Parameter of a handler that needs to know who asks."""


async def _person(viewer: Asker) -> Viewer:
    viewer.require_user()
    return viewer


Person = Annotated[Viewer, Depends(_person)]
"""Parameter of a handler that is for those who have an account, signed in or by its token."""


def csrf_token_of(cookie: str) -> str:
    """What a page made for the owner of a cookie sends with its requests.

    It follows from the cookie, which other pages cannot read, and does not betray it.
    """
    return hmac.new(cookie.encode("utf-8", "replace"), b"csrf", hashlib.sha256).hexdigest()


def check_page(request: HTTPConnection) -> None:
    """Refuse what a page of somebody else has made a browser ask.

    Raises
    ------
    CsrfRefused
        The browser names another page.
    """
    origin = request.headers.get("origin")
    if origin is not None and not is_own_origin(cast("Request", request), origin):
        raise CsrfRefused("another page has made this request", found=origin[:200])
    site = request.headers.get("sec-fetch-site", "none")
    if site not in _SAME_PAGE:
        raise CsrfRefused("another page has made this request", found=site[:50])


def _check_csrf(connection: HTTPConnection, kept: str, csrf: str | None) -> None:
    check_page(connection)
    sent = connection.headers.get(CSRF_HEADER) or csrf or ""
    if not hmac.compare_digest(sent.encode("utf-8", "replace"), csrf_token_of(kept).encode()):
        raise CsrfRefused(
            "the page was made for another session",
            hint="load the page again; programs send a token in the header Authorization",
        )


def _changes(connection: HTTPConnection) -> bool:
    return connection.scope.get("method", "GET") not in _READING


def address_of(connection: HTTPConnection) -> str:
    """What counts as one sender when failures are counted."""
    trusted = services_of(connection).web_settings.trusted_proxies
    return neighbourhood(client_address(connection.scope, networks(trusted)))


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
    if connection.headers.get("sec-fetch-site", "none") in _SAME_PAGE:
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
