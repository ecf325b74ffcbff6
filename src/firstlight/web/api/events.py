"""The live stream of events."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from firstlight.services.watching.event_stream import Wanted
from firstlight.web.auth import viewer_of
from firstlight.web.context import hub_of
from firstlight.web.envelope import shows
from firstlight.web.events import EventResponse, last_event_id

router = APIRouter(prefix="/api", tags=["events"])

_EXAMPLE = (
    "id: 4711\n"
    'data: {"number":4711,"topic":"imagedata","site":"tst","data":{"s3_directory":"data",'
    '"base_filename":"tst-kb001ms-20220629-00010442","site":"tst"},'
    '"created_at":"2026-08-24T20:15:00+00:00"}\n\n'
)
_RESPONSES: dict[int | str, dict[str, Any]] = {
    **shows(None, 401, 403, 503),
    200: {
        "description": "Events, as they become true",
        "content": {"text/event-stream": {"example": _EXAMPLE}},
    },
}


@router.get("/events", responses=_RESPONSES)
async def stream_events(
    request: Request,
    site: Annotated[list[str] | None, Query(description="Of these sites only.")] = None,
    topic: Annotated[list[str] | None, Query(description="Of these topics only.")] = None,
    after: Annotated[
        int | None, Query(ge=0, description="Begin after this number; 0 for all there are.")
    ] = None,
    last_event_id_: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
) -> Response:
    """Events of the sites that one may watch, complete and in order, until one hangs up.

    A browser that comes back says by itself what it saw last. Events hold where to look, not
    what is there: ask for it. Whoever comes back after so long that events are forgotten is
    told first, by an event of the type `gap`; then search for what is new. Events of objects,
    which are of no site, go to those who may see what has changed, unless sites are asked for.
    """
    asked = Wanted(
        None if site is None else frozenset(site), None if topic is None else frozenset(topic)
    )

    def allowed() -> Wanted:
        return asked.by(viewer_of(request))

    await run_in_threadpool(allowed)
    return EventResponse(hub_of(request), last_event_id(last_event_id_, after), allowed)
