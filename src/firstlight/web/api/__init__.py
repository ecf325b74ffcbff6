"""Routes for programs. Each handler calls one service and returns its answer."""

from __future__ import annotations

from fastapi import APIRouter

__all__ = ["routers"]


def routers() -> list[APIRouter]:
    """All of them, in the order in which they are tried."""
    from firstlight.web import metrics  # noqa: PLC0415, likewise
    from firstlight.web.api import (  # noqa: PLC0415, they import this package
        access,
        admission,
        arrivals,
        classifications,
        comments,
        downloads,
        events,
        exposures,
        files,
        groups,
        health,
        image_analyses,
        instruments,
        invitations,
        object_annotations,
        objs,
        observations,
        photometry,
        photonranch,
        photonranch_downloads,
        profile,
        sites,
        source_groups,
        sources,
        spectra,
        streams,
        system,
        tags,
        taxonomies,
        telescopes,
        thumbnails,
        tokens,
        uploads,
        users,
        webhooks,
    )

    return [
        health.router,
        metrics.router,
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
        photometry.router,
        object_annotations.router,
        classifications.router,
        comments.router,
        objs.router,
        source_groups.router,
        sources.router,
        system.router,
        tags.router,
        taxonomies.router,
        image_analyses.router,
        users.router,
        groups.router,
        admission.router,
        invitations.router,
        profile.router,
        tokens.router,
        streams.router,
        telescopes.router,
        instruments.router,
        spectra.router,
        thumbnails.router,
    ]
