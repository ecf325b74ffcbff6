"""Whether this server is well, for whoever watches over it."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from firstlight.web.context import services_of
from firstlight.web.envelope import shows, success

router = APIRouter(prefix="/api", tags=["health"])


@router.get("/health", responses=shows({"last_event": 4711}, 503))
def tell_health(request: Request) -> Response:
    """Answer where the database does: anyone may ask, and learns nothing else."""
    return success({"last_event": services_of(request).event_stream.last_number()})
