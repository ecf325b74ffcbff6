"""Templates into answers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from fastapi import Request, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

__all__ = ["render"]

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent.parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    auto_reload=False,  # an upgrade under a running server would mix old code and new pages
    trim_blocks=True,
    lstrip_blocks=True,
)


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


_TEMPLATES.filters.update(moment=moment, bytes=size_in_words)


def render(
    request: Request, template: str, facts: Mapping[str, Any], *, status: int = 200
) -> Response:
    """Render a page."""
    text = _TEMPLATES.get_template(template).render(path=request.url.path, **facts)
    return HTMLResponse(text, status)
