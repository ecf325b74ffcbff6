"""Pages for people, rendered here; they need no scripts."""

from __future__ import annotations

from fastapi import APIRouter

__all__ = ["page_routers"]


def page_routers() -> list[APIRouter]:
    """All of them, in the order in which they are tried."""
    from firstlight.web.pages import (  # noqa: PLC0415, they import this package
        admin,
        analyses,
        analysis_services,
        archive,
        candidates,
        exposures,
        home,
        image_analyses,
        jobs,
        notifications,
        object_actions,
        objects,
        observations,
        profile,
        provenance,
        quality,
        sign_in,
    )

    return [
        admin.router,
        analyses.router,
        analysis_services.router,
        archive.router,
        candidates.router,
        exposures.router,
        home.router,
        image_analyses.router,
        jobs.router,
        notifications.router,
        object_actions.router,
        objects.router,
        observations.router,
        profile.router,
        provenance.router,
        quality.router,
        sign_in.router,
    ]
