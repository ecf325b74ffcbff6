"""Whether this server is well, for whoever watches over it."""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus

from fastapi import APIRouter, Request, Response

from firstlight.services.server_state import Readiness
from firstlight.web.context import services_of
from firstlight.web.envelope import json_response, shows, success

router = APIRouter(tags=["health"])

_ALIVE = {"alive": True}
_READY = {"database": "ok", "storage": "ok", "workers": "ok"}
_PATIENCE_S = 5.0
_KEPT_S = 2.0


@router.get("/health", responses=shows(_ALIVE))
async def tell_alive() -> Response:
    """Answer as long as the process can: nothing else is asked. For restarts."""
    return success(_ALIVE)


@router.get("/ready", responses=shows(_READY, 503))
async def tell_readiness(request: Request) -> Response:
    """Tell whether requests can be answered: 503 where database or storage do not.

    Without workers the server is ready, since what is there can be read; `workers` is then
    `silent`. Anyone may ask, and learns nothing else; the answer may be two seconds old.
    """
    found = await _readiness(request)
    if found is None:
        facts, ready = {"database": "broken", "storage": "broken", "workers": "broken"}, False
    else:
        facts, ready = found.as_dict(), found.is_ready
    if ready:
        return success(facts)
    told = {"code": "web.not_ready", "kind": "remote", **facts}
    body = {"status": "error", "message": "The server is not ready.", "data": told}
    return json_response(body, HTTPStatus.SERVICE_UNAVAILABLE, {"Retry-After": "5"})


@router.get("/api/health", responses=shows({"last_event": 4711}, 503))
def tell_health(request: Request) -> Response:
    """Answer where the database does: anyone may ask, and learns nothing else."""
    return success({"last_event": services_of(request).event_stream.last_number()})


async def _readiness(request: Request) -> Readiness | None:
    """One look for all who ask, and one thread at most where something hangs."""
    state = request.app.state
    task: asyncio.Task[Readiness] | None = getattr(state, "readiness", None)
    if task is None or (task.done() and time.monotonic() - state.readiness_at > _KEPT_S):
        ask = services_of(request).server_state.readiness
        task = state.readiness = asyncio.create_task(asyncio.to_thread(ask), name="readiness")
        task.add_done_callback(lambda _: setattr(state, "readiness_at", time.monotonic()))
    await asyncio.wait({task}, timeout=_PATIENCE_S)
    return task.result() if task.done() else None
