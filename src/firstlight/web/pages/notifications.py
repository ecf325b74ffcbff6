"""What a user is told."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from starlette.responses import JSONResponse, RedirectResponse

from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.pages.rendering import render

router = APIRouter(include_in_schema=False)


@router.get("/notifications")
def show_notifications(request: Request, asker: Asker) -> Response:
    """The latest notifications."""
    rows = services_of(request).inbox.latest(asker)
    facts = {"rows": rows, "newest": rows[0]["id"] if rows else 0}
    return render(request, "notifications.html", facts)


@router.get("/notifications.json")
def count_notifications(request: Request, asker: Asker) -> Response:
    """How many are new, and the newest: for the bell at the head of every page."""
    inbox = services_of(request).inbox
    latest = inbox.latest(asker, limit=1)
    return JSONResponse({"unread": inbox.unread(asker), "latest": latest[0] if latest else None})


@router.post("/notifications/seen")
def mark_seen(
    request: Request, asker: Asker, up_to: Annotated[int, Form(ge=0, le=2**31 - 1)]
) -> Response:
    """Take note that they were read."""
    services_of(request).inbox.mark_seen(asker, up_to)
    return RedirectResponse("/notifications", 303)
