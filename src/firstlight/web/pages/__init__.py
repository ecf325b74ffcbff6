"""Pages for people, rendered here; they need no scripts."""

from __future__ import annotations

from fastapi import APIRouter

__all__ = ["page_routers"]


def page_routers() -> list[APIRouter]:
    """All of them, in the order in which they are tried."""
    from firstlight.web.pages import archive, sign_in  # noqa: PLC0415, they import this package

    return [archive.router, sign_in.router]
