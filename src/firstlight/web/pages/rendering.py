"""Templates into answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, cast

from fastapi import Request, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

from firstlight.errors import FirstlightError
from firstlight.services.access import Viewer
from firstlight.services.digits import measured
from firstlight.web.auth import viewer_of
from firstlight.web.context import services_of
from firstlight.web.static_files import static_address

__all__ = ["csrf_token", "note_stream", "read_together", "render", "wants_part"]

P = ParamSpec("P")

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent.parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    auto_reload=False,  # an upgrade under a running server would mix old code and new pages
    trim_blocks=True,
    lstrip_blocks=True,
)
_MJD_ZERO = datetime(1858, 11, 17, tzinfo=UTC)
_PLACES = (
    ("Home", "/"),
    ("Exposures", "/exposures"),
    ("Observations", "/observations"),
    ("Objects", "/objects"),
    ("Candidates", "/candidates"),
    ("Quality", "/quality"),
    ("Jobs", "/jobs"),
    ("Sites", "/sites"),
)
_ADMIN = ("Admin", "/admin")
_ADMINISTER = ("manage_users", "manage_groups", "manage_services", "operate", "admin")


def moment(value: datetime | str | None) -> str:
    """Write a time to the second."""
    if value is None:
        return ""
    return f"{datetime.fromisoformat(value) if isinstance(value, str) else value:%Y-%m-%d %H:%M:%S}"


def size_in_words(count: int | None) -> str:
    """Write a number of bytes in the unit that people use for it."""
    if count is None:
        return ""
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def fixed(value: float | None, digits: int = 3) -> str:
    """Write a number with so many digits after the point; nothing where there is none."""
    return "" if value is None else f"{value:.{digits}f}"


def utc_day(mjd: float | None) -> str:
    """Write the day of a modified Julian date."""
    if mjd is None or not -600_000 < mjd < 2_900_000:
        return ""
    return f"{(_MJD_ZERO + timedelta(days=mjd)).date()}"


def plain(value: object) -> str:
    """Write a value of an annotation, however it is nested, on few lines."""
    if isinstance(value, float):
        return f"{value:.8g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


_TEMPLATES.filters.update(
    moment=moment,
    bytes=size_in_words,
    fixed=fixed,
    measured=measured,
    utc_day=utc_day,
    plain=plain,
    zip=zip,
)
_TEMPLATES.globals.update(static=static_address)


def render(
    request: Request, template: str, facts: Mapping[str, Any], *, status: int = 200
) -> Response:
    """Render a page."""
    viewer = _viewer(request)
    shared = {
        "path": request.url.path,
        "viewer": viewer,
        "csrf": csrf_token(request),
        "places": _places(viewer, request.url.path),
        "signs_out": bool(request.cookies),
        "last_event": getattr(request.state, "last_event", None),
        "unread": 0 if viewer.user_id is None else services_of(request).inbox.unread(viewer),
    }
    return HTMLResponse(_TEMPLATES.get_template(template).render(**shared, **facts), status)


def read_together(page: Callable[P, Response]) -> Callable[P, Response]:
    """Read what a page shows in one transaction: see `Database.together`."""

    @wraps(page)
    def made(*args: P.args, **kwargs: P.kwargs) -> Response:
        request = cast("Request", kwargs["request"])  # handlers are given everything by name
        with services_of(request).database.together():
            return page(*args, **kwargs)

    return made


async def note_stream(request: Request) -> None:
    """Note that a page will have a stream: it goes on from the event that was last before.

    What happens while a page is on its way would be missed by a stream that begins with its end.
    What scripts ask for, forms and data have no stream, and cost no query. How far events went
    is read with who asks: see `viewer_of`.
    """
    asked = request.method == "GET" and "text/html" in request.headers.get("accept", "")
    request.state.has_stream = asked


def csrf_token(request: Request) -> str:
    """What forms of this browser's session must send along; empty without a session."""
    return str(getattr(request.state, "csrf_token", ""))


def wants_part(request: Request) -> bool:
    """Whether a script asks for a part of a page, to put in place of the old one."""
    return request.headers.get("hx-request") == "true"


def _viewer(request: Request) -> Viewer:
    known = getattr(request.state, "viewer", None)
    if isinstance(known, Viewer):
        return known
    # The page that tells of a token's fault must not fail for it.
    with suppress(FirstlightError):
        return viewer_of(request)
    return Viewer()


def _places(viewer: Viewer, path: str) -> list[dict[str, Any]]:
    administers = any(viewer.may(scope) for scope in _ADMINISTER)
    places = (*_PLACES, _ADMIN) if administers else _PLACES
    return [
        {"name": name, "url": url, "here": path == url or (url != "/" and _below(path, url))}
        for name, url in places
    ]


def _below(path: str, url: str) -> bool:
    return path.startswith(url + "/")
