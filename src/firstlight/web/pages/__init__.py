"""Pages for people, rendered here; they need no scripts."""

from __future__ import annotations

from fastapi import APIRouter

__all__ = ["page_routers"]


def page_routers() -> list[APIRouter]:
    """All of them, in the order in which they are tried."""
    return []
