"""Templates into answers."""

from __future__ import annotations

from collections.abc import Mapping
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
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(
    request: Request, template: str, facts: Mapping[str, Any], *, status: int = 200
) -> Response:
    """Render a page."""
    text = _TEMPLATES.get_template(template).render(path=request.url.path, **facts)
    return HTMLResponse(text, status)
