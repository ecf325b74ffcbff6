"""Jobs: what runs, waits and failed."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query, Request, Response
from starlette.responses import RedirectResponse

from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.pages.rendering import render

router = APIRouter(include_in_schema=False)

_PAGE = 60
_STATES = ("running", "queued", "failed", "done", "cancelled")


@router.get("/jobs")
def show_jobs(
    request: Request,
    asker: Asker,
    state: Annotated[str | None, Query(max_length=20)] = None,
    skip: Annotated[int, Query(ge=0, le=9_999_999)] = 0,
) -> Response:
    """Jobs, the one asked for last first."""
    service = services_of(request).jobs_view
    page = service.page(asker, state=state or None, skip=skip, limit=_PAGE)
    kept = {"state": state} if state else {}
    facts = {
        "jobs": page.jobs,
        "counts": service.counts(asker),
        "state": state or "",
        "states": _STATES,
        "first": f"/jobs?{urlencode(kept)}" if skip else None,
        "next": f"/jobs?{urlencode({**kept, 'skip': page.next_skip})}" if page.next_skip else None,
    }
    return render(request, "jobs.html", facts)


@router.post("/jobs/retry")
def retry_job(
    request: Request,
    asker: Asker,
    job: Annotated[str, Form(max_length=400)],
    state: Annotated[str, Form(max_length=20)] = "",
) -> Response:
    """Have a job done again that came to nothing."""
    services_of(request).jobs_view.retry(asker, job)
    back = f"/jobs?{urlencode({'state': state})}" if state else "/jobs"
    return RedirectResponse(back, HTTPStatus.SEE_OTHER)
