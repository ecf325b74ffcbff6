"""Bodies that are put into a file before anybody looks at them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, TypeVar

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from firstlight.web.envelope import BodyTooLarge
from firstlight.web.incoming import UploadReader, read_upload

__all__ = ["read_spooled"]

T = TypeVar("T")

_CHUNK = 1 << 20
_IN_MEMORY = 1 << 18  # bytes of a body that is not read piece by piece from within its thread


async def read_spooled(request: Request, limit: int, take: Callable[[Path], T]) -> T:
    """Let `take` have the body of a request as a file, in a thread; the file goes afterwards.

    The body is the file itself or a form with the field ``file``.

    Raises
    ------
    BodyTooLarge
        It has, or will have, more than `limit` bytes.
    """
    announced = _announced(request)
    if announced is not None and announced > limit:
        raise _too_large(limit)

    def received(stream: UploadReader) -> T:
        with tempfile.NamedTemporaryFile(prefix="firstlight-") as spool:
            _copied(stream, spool, limit)
            return take(Path(spool.name))

    def spooled(body: bytes) -> T:
        with tempfile.NamedTemporaryFile(prefix="firstlight-") as spool:
            spool.write(body)
            spool.flush()
            return take(Path(spool.name))

    if announced is not None and announced <= _IN_MEMORY and not _is_form(request):
        return await run_in_threadpool(spooled, await request.body())
    return await read_upload(request, received)


def _announced(request: Request) -> int | None:
    """How many bytes will come; None where nobody says."""
    length = request.headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() else None


def _is_form(request: Request) -> bool:
    kind = request.headers.get("content-type", "")
    return kind.strip().lower().startswith("multipart/form-data")


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
