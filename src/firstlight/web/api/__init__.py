"""Routes for programs. Each handler calls one service and returns its answer."""

from __future__ import annotations

from importlib import import_module

from fastapi import APIRouter

__all__ = ["routers"]

# In the order in which they are tried: a file a noun. What is asked for most often comes first.
_NOUNS = (
    "health",
    "analysis_callbacks",
    "access",
    "arrivals",
    "events",
    "uploads",
    "sites",
    "exposures",
    "downloads",
    "observations",
    "files",
    "webhooks",
    "photonranch",
    "photonranch_downloads",
    "analysis_services",
    "analyses",
    "default_analyses",
    "photometry",
    "object_annotations",
    "classifications",
    "comments",
    "objs",
    "source_groups",
    "sources",
    "candidates",
    "system",
    "tags",
    "taxonomies",
    "image_analyses",
    "analysis_products",
    "users",
    "groups",
    "admission",
    "invitations",
    "profile",
    "tokens",
    "streams",
    "telescopes",
    "instruments",
    "spectra",
    "thumbnails",
)


def routers() -> list[APIRouter]:
    """All of them, in the order in which they are tried."""
    # Here, not above: they import this package.
    return [import_module(f"{__name__}.{noun}").router for noun in _NOUNS]
