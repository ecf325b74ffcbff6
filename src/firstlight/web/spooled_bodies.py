"""Bodies that are put into a file before anybody looks at them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, TypeVar

from fastapi import Request

from firstlight.web.envelope import BodyTooLarge
from firstlight.web.incoming import UploadReader, read_upload

__all__ = ["read_spooled"]

T = TypeVar("T")

_CHUNK = 1 << 20


async def read_spooled(request: Request, limit: int, take: Callable[[Path], T]) -> T:
    """Let `take` have the body of a request as a file, in a thread; the file goes afterwards.

    Raises
    ------
    BodyTooLarge
        It has, or will have, more than `limit` bytes.
    """
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and int(announced) > limit:
        raise BodyTooLarge(expected=f"at most {limit} bytes")

    def received(stream: UploadReader) -> T:
        with tempfile.NamedTemporaryFile(prefix="firstlight-") as spool:
            _copied(stream, spool, limit)
            return take(Path(spool.name))

    return await read_upload(request, received)


def _copied(stream: UploadReader, spool: IO[Any], limit: int) -> None:
    left = limit
    while piece := stream.read(_CHUNK):
        left -= len(piece)
        if left < 0:
            raise BodyTooLarge(expected=f"at most {limit} bytes")
        spool.write(piece)
    spool.flush()
