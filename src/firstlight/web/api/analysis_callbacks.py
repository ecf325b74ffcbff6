"""What analysis services post back. The token in the address is all that they show."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from starlette.concurrency import run_in_threadpool

from firstlight.services.analyses.callbacks import ExpectedRun
from firstlight.web.context import services_of
from firstlight.web.envelope import BodyTooLarge, shows, success
from firstlight.web.spooled_bodies import read_spooled

router = APIRouter(prefix="/api/webhook/obj_analysis", tags=["analysis services"])

Token = Annotated[str, Path(description="Of one run, as its `callback_url` has it.")]

_LONGEST_PROGRESS = 65_536
_TAKEN = {"status": "success"}


@router.post("/{token}", responses=shows(_TAKEN, 400, 403, 413))
async def take_results(request: Request, token: Token) -> Response:
    """Send the results of a run, once: `{"status", "message", "analysis"}`.

    The token is used up by the first body that can be read; what cannot be read is answered
    with what is wrong about it, and may be sent again.
    """
    callbacks = services_of(request).analysis_callbacks
    # Before anything large is read: a stranger's gigabytes are not for our disk.
    run = await run_in_threadpool(callbacks.expect, token)
    await read_spooled(request, callbacks.longest_body, lambda body: callbacks.take(run, body))
    return success(_TAKEN)


@router.post("/{token}/progress", responses=shows(_TAKEN, 400, 403))
async def take_progress(request: Request, token: Token) -> Response:
    """Tell how far a run is: `{"progress": 0..1, "message": "..."}`. The token stays valid."""
    callbacks = services_of(request).analysis_callbacks
    run: ExpectedRun = await run_in_threadpool(callbacks.expect, token)
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > _LONGEST_PROGRESS:
            raise BodyTooLarge(expected=f"at most {_LONGEST_PROGRESS} bytes")
    await run_in_threadpool(callbacks.progress, run, bytes(body))
    return success(_TAKEN)
