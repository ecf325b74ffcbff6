"""The body of an upload as a stream that a service can read, never held as a whole.

A service reads in a thread of its own; each read asks the event loop for what the network has
brought. So the sender is slowed down to the speed of the disk, and memory holds one piece.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.from_thread
import anyio.to_thread
from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from firstlight.errors import UserError
from firstlight.web.context import services_of

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

__all__ = [
    "BadForm",
    "Disposition",
    "UploadBroken",
    "UploadReader",
    "limiter_of",
    "parse",
    "read_upload",
]

T = TypeVar("T")

_FILE_FIELD = b"file"
_OTHER_FIELDS = 65_536  # bytes; those of a presigned form, which we do not need
_SILENCE_S = 60.0


class BadForm(UserError):
    """The form of the upload cannot be read."""

    code = "web.bad_form"


class UploadBroken(UserError):
    """The sender has gone, or has sent nothing for too long."""

    code = "web.upload_broken"


async def read_upload(request: Request, take: Callable[[UploadReader], T]) -> T:
    """Let `take` read the file in a request, in a thread.

    The body is the file itself or a form with the field ``file``, as for a bucket of S3.

    Raises
    ------
    BadForm, UploadBroken
        As errors of the stream, from within `take`.
    """
    limiter = limiter_of(request)
    pieces = request.stream()
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind == b"multipart/form-data":
        boundary = options.get(b"boundary", b"")
        if not 1 <= len(boundary) <= 70:
            raise BadForm("the form names no boundary", field="Content-Type")
        reader: UploadReader = _FormReader(pieces, boundary)
    else:
        announced = request.headers.get("content-length", "")
        reader = UploadReader(pieces, int(announced) if announced.isdigit() else None)
    return await anyio.to_thread.run_sync(take, reader, limiter=limiter)


class UploadReader(io.RawIOBase):
    """The bytes of one file, forwards only.

    Attributes
    ----------
    length
        Bytes that the sender said would come; ``None`` where it did not.
    """

    def __init__(self, pieces: AsyncIterator[bytes], length: int | None = None) -> None:
        self._pieces = pieces
        self._buffer = bytearray()
        self._ended = False
        self.length = length

    def readable(self) -> bool:
        """Yes."""
        return True

    def read(self, size: int | None = -1) -> bytes:
        """At most `size` bytes; none at the end."""
        wanted = None if size is None or size < 0 else size
        while not self._ended and (wanted is None or not self._buffer):
            self._fill()
        taken = bytes(self._buffer[:wanted])
        del self._buffer[:wanted]
        return taken

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as there are bytes."""
        taken = self.read(len(buffer))
        buffer[: len(taken)] = taken
        return len(taken)

    def _fill(self) -> None:
        piece = self._next()
        if piece is None:
            self._ended = True
        else:
            self._buffer += piece

    def _next(self) -> bytes | None:
        """What comes next over the network; None at the end."""
        return anyio.from_thread.run(_within_time, self._pieces)


class _FormReader(UploadReader):
    """The file in a form. Other fields are passed over; nothing is read beyond the file."""

    def __init__(self, pieces: AsyncIterator[bytes], boundary: bytes) -> None:
        super().__init__(pieces)
        self._name = b""
        self._in_file = self._complete = False
        self._others = 0
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_begin,
                "on_part_data": self._on_data,
                "on_part_end": self._on_end,
                **Disposition(self._on_disposition).callbacks,
            },
        )

    def _fill(self) -> None:
        piece = self._next()
        if piece is None:
            if not self._complete:
                raise BadForm("the form ends before its file does", expected="a field 'file'")
            self._ended = True
            return
        parse(self._parser, piece)
        if self._others > _OTHER_FIELDS:
            raise BadForm("the other fields are too long", expected=f"{_OTHER_FIELDS} bytes")

    def _on_begin(self) -> None:
        self._name = b""

    def _on_disposition(self, options: dict[bytes, bytes]) -> None:
        self._name = options.get(b"name", b"")
        if self._name == _FILE_FIELD and self._complete:
            raise FormParserError("there are two files")
        self._in_file = self._name == _FILE_FIELD

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._in_file:
            self._buffer += data[start:end]
        else:
            self._others += end - start

    def _on_end(self) -> None:
        self._complete = self._complete or self._in_file
        self._in_file = False


class Disposition:
    """Puts the header of a part together, and tells what its Content-Disposition says."""

    def __init__(self, tell: Callable[[dict[bytes, bytes]], None]) -> None:
        self._tell = tell
        self._name = self._value = b""

    @property
    def callbacks(self) -> MultipartCallbacks:
        """For a parser of forms."""
        return {
            "on_header_field": self._on_name,
            "on_header_value": self._on_value,
            "on_header_end": self._on_end,
        }

    def _on_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_end(self) -> None:
        if self._name.lower() == b"content-disposition":
            _, options = parse_options_header(self._value)
            self._tell(options)
        self._name = self._value = b""


def parse(parser: MultipartParser, piece: bytes) -> None:
    """Give a parser of forms what has come.

    Raises
    ------
    BadForm
        It is no form.
    """
    try:
        parser.write(piece)
    except FormParserError as fault:
        raise BadForm(found=str(fault)[:200]) from fault


async def _within_time(pieces: AsyncIterator[bytes]) -> bytes | None:
    try:
        return await asyncio.wait_for(anext(pieces), _SILENCE_S)
    except StopAsyncIteration:
        return None
    except TimeoutError as fault:
        raise UploadBroken(expected=f"something every {_SILENCE_S:g} s") from fault
    except ClientDisconnect as fault:
        raise UploadBroken("the sender has gone") from fault


def limiter_of(request: Request) -> anyio.CapacityLimiter:
    """Threads for uploads of their own: slow senders must not take those of the pages."""
    state = request.app.state
    if not hasattr(state, "upload_threads"):
        state.upload_threads = anyio.CapacityLimiter(services_of(request).web_settings.max_uploads)
    limiter: anyio.CapacityLimiter = state.upload_threads
    return limiter
