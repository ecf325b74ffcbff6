"""The home page: tonight and last night."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from firstlight.services.access import Viewer
from firstlight.services.finding.home import SiteNights
from firstlight.services.scanning.candidate_query import CandidateQuery
from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.pages.archive import view
from firstlight.web.pages.rendering import read_together, render

router = APIRouter(include_in_schema=False)

_REFUSED = 5
_LATEST = CandidateQuery(limit=6)


@router.get("/")
@read_together
def show_home(request: Request, asker: Asker) -> Response:
    """What has come lately, what failed, what is new."""
    services, allowed = services_of(request), asker.sites()
    sites = services.home.sites(allowed)
    facts = {
        "sites": [_site(each) for each in sites],
        "failures": services.home.failures(allowed),
        "refused": services.upload_log.page(allowed, state="quarantined", limit=_REFUSED).entries,
        "candidates": services.home.candidates(asker),
        "changes": services.candidates.page(asker, _LATEST).candidates,
        "jobs": services.jobs_view.counts(asker),
        "may_operate": asker.may("operate"),
        "address": str(request.base_url).rstrip("/"),
        "is_own": _is_own(asker),
    }
    return render(request, "home.html", facts)


def _is_own(viewer: Viewer) -> bool:
    """Whether commands on this machine are of use to the viewer."""
    return viewer.may("operate")


def _site(site: SiteNights) -> dict[str, Any]:
    return {
        "name": site.site,
        "nights": site.nights,
        "latest": [view(row) for row in site.latest],
    }
