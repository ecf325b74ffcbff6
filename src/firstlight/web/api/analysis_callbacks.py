"""What analysis services post back. The token in the address is all that they show."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path as FilePath
from typing import IO, Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from starlette.concurrency import run_in_threadpool

from firstlight.services.analyses.callbacks import ExpectedRun
from firstlight.web.context import services_of
from firstlight.web.envelope import BodyTooLarge, shows, success
from firstlight.web.incoming import UploadReader, read_upload

router = APIRouter(prefix="/api/webhook/obj_analysis", tags=["analysis services"])

Token = Annotated[str, Path(description="Of one run, as its `callback_url` has it.")]

_CHUNK = 1 << 20
_IN_MEMORY = 1 << 18  # bytes of a body that is not worth a thread of its own
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
    limit = callbacks.longest_body
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit:
        raise _too_large(limit)

    def take(body: FilePath) -> None:
        callbacks.take(run, body)

    if announced.isdigit() and int(announced) <= _IN_MEMORY:
        await run_in_threadpool(_spooled, await request.body(), take)
    else:
        await read_upload(request, lambda stream: _received(stream, limit, take))
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
            raise _too_large(_LONGEST_PROGRESS)
    await run_in_threadpool(callbacks.progress, run, bytes(body))
    return success(_TAKEN)


def _spooled(body: bytes, take: Callable[[FilePath], None]) -> None:
    with tempfile.NamedTemporaryFile(prefix="firstlight-") as spool:
        spool.write(body)
        spool.flush()
        take(FilePath(spool.name))


def _received(stream: UploadReader, limit: int, take: Callable[[FilePath], None]) -> None:
    with tempfile.NamedTemporaryFile(prefix="firstlight-") as spool:
        _copied(stream, spool, limit)
        take(FilePath(spool.name))


def _copied(stream: UploadReader, spool: IO[Any], limit: int) -> None:
    left = limit
    while piece := stream.read(_CHUNK):
        left -= len(piece)
        if left < 0:
            raise _too_large(limit)
        spool.write(piece)
    spool.flush()


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(expected=f"at most {limit} bytes")
