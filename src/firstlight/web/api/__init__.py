"""Routes for programs. Each handler calls one service and returns its answer."""

from __future__ import annotations

from fastapi import APIRouter

__all__ = ["routers"]


def routers() -> list[APIRouter]:
    """All of them, in the order in which they are tried."""
    from firstlight.web.api import (  # noqa: PLC0415, they import this package
        access,
        arrivals,
        downloads,
        events,
        exposures,
        files,
        health,
        observations,
        photonranch,
        photonranch_downloads,
        sites,
        uploads,
        webhooks,
    )

    return [
        health.router,
        access.router,
        arrivals.router,
        events.router,
        uploads.router,
        sites.router,
        exposures.router,
        downloads.router,
        observations.router,
        files.router,
        webhooks.router,
        photonranch.router,
        photonranch_downloads.router,
    ]
