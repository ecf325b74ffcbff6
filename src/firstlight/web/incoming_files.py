"""A form with several files as a stream of its parts, none of which is held as a whole.

As `incoming`, for forms whose fields count too: the reader is given one part after another, in
the order of the form.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeVar

import anyio.to_thread
from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from firstlight.web.incoming import BadForm, Disposition, UploadReader, limiter_of, parse

__all__ = ["FormPart", "FormParts", "is_form", "read_form"]

T = TypeVar("T")

_LONGEST_FIELDS = 65_536  # bytes, of all fields that are no file
_MOST_PARTS = 200
_PIECE = 1 << 20


def is_form(request: Request) -> bool:
    """Whether a request brings a form of several parts."""
    kind, _ = parse_options_header(request.headers.get("content-type", ""))
    return kind == b"multipart/form-data"


async def read_form(request: Request, take: Callable[[FormParts], T]) -> T:
    """Let `take` read the parts of a form, in a thread.

    Raises
    ------
    BadForm
        It is no form; what is wrong within it is an error of the stream, from within `take`.
    """
    _, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary", b"")
    if not is_form(request) or not 1 <= len(boundary) <= 70:
        raise BadForm("this is no form", field="Content-Type", expected="multipart/form-data")
    parts = FormParts(request.stream(), boundary)
    return await anyio.to_thread.run_sync(take, parts, limiter=limiter_of(request))


class FormPart(UploadReader):
    """One part of a form, read as an upload is.

    Attributes
    ----------
    name
        Of the field.
    filename
        Of the file; None for a field that is no file.
    """

    def __init__(self, parts: FormParts, name: str, filename: str | None) -> None:
        super().__init__(parts.pieces)
        self._parts = parts
        self.name = name
        self.filename = filename

    def text(self) -> str:
        """All of a field that is no file."""
        return self.read().decode("utf-8", errors="replace")

    def add(self, data: bytes) -> None:
        """What has come of it."""
        self._buffer += data

    def end(self) -> None:
        """No more comes."""
        self._ended = True

    def _fill(self) -> None:
        self._parts.advance()


class FormParts:
    """The parts of a form, in order. What is not read of one is passed over by the next."""

    def __init__(self, pieces: AsyncIterator[bytes], boundary: bytes) -> None:
        self.pieces = pieces
        self._source = UploadReader(pieces)
        self._ended = False
        self._waiting: deque[FormPart] = deque()
        self._current: FormPart | None = None
        self._fields = self._count = 0
        self._complete = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_begin,
                "on_part_data": self._on_data,
                "on_part_end": self._on_end,
                **Disposition(self._on_disposition).callbacks,
                "on_headers_finished": self._on_headers,
                "on_end": self._on_form_end,
            },
        )
        self._disposition: dict[bytes, bytes] = {}

    def parts(self) -> Iterator[FormPart]:
        """Each part, once.

        Raises
        ------
        BadForm
            The form cannot be read, or ends too early.
        """
        while True:
            while not self._waiting and not self._ended:
                self.advance()
            if not self._waiting:
                return
            part = self._waiting.popleft()
            yield part
            while part.read(_PIECE):
                pass  # whatever was left of it

    def advance(self) -> None:
        """Take in what comes next over the network."""
        piece = self._source.read(_PIECE)
        if not piece:
            if not self._complete:
                raise BadForm("the form ends too early")
            self._ended = True
            return
        parse(self._parser, piece)
        if self._fields > _LONGEST_FIELDS:
            raise BadForm("the fields are too long", expected=f"{_LONGEST_FIELDS} bytes")

    def _on_begin(self) -> None:
        self._disposition = {}
        self._count += 1
        if self._count > _MOST_PARTS:
            raise FormParserError(f"more than {_MOST_PARTS} parts")

    def _on_disposition(self, options: dict[bytes, bytes]) -> None:
        self._disposition = options

    def _on_headers(self) -> None:
        name, filename = (self._disposition.get(each) for each in (b"name", b"filename"))
        self._current = FormPart(self, _decoded(name) or "", _decoded(filename))
        self._waiting.append(self._current)

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        part: Any = self._current
        part.add(data[start:end])
        if part.filename is None:
            self._fields += end - start

    def _on_end(self) -> None:
        part: Any = self._current
        part.end()

    def _on_form_end(self) -> None:
        self._complete = True


def _decoded(text: bytes | None) -> str | None:
    return None if text is None else text.decode("utf-8", errors="replace")
