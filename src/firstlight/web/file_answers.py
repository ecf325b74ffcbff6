"""Files as answers: ranges, conditions, and no chance to run anything in a browser."""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import format_datetime
from http import HTTPStatus
from urllib.parse import quote

from fastapi import Request, Response
from starlette.responses import StreamingResponse

from firstlight.services.finding.served_files import ServedFile

__all__ = ["FILE_RESPONSES", "attached", "file_answer"]

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
# Shown in the page; all else, which a sender may have filled with a page of its own, is saved.
_SHOWN = frozenset({"image/jpeg", "image/png", "text/plain; charset=utf-8", "video/mp4"})
_TAG = re.compile(r"[\x21\x23-\x7e]{1,200}")

FILE_RESPONSES: dict[int | str, dict[str, object]] = {
    200: {"description": "The file", "content": {"application/octet-stream": {}}},
    206: {"description": "The part that was asked for"},
    304: {"description": "It is the one that you have"},
    403: {"description": "The link has expired, or was changed"},
    404: {"description": "The file has been removed"},
    416: {"description": "There is no such part"},
}


def file_answer(
    request: Request, file: ServedFile, *, attachment: bool = False, shared: bool = False
) -> Response:
    """Answer with a file, or the part of it that was asked for.

    Parameters
    ----------
    attachment
        To be saved, not shown.
    shared
        Whether pages of others may show it: where the address itself is the permission.
    """
    headers = _headers(file, attachment=attachment)
    if shared:
        headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    if _has_it(request, headers.get("ETag")):
        file.close()
        return Response(None, HTTPStatus.NOT_MODIFIED, headers)
    part = _part(request, file.size, headers.get("ETag"))
    if part is None:
        file.close()
        headers = {"Content-Range": f"bytes */{file.size}"}
        return Response(None, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, headers)
    start, stop = part
    status = HTTPStatus.OK
    if (start, stop) != (0, file.size):
        status = HTTPStatus.PARTIAL_CONTENT
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{file.size}"
    headers["Content-Length"] = str(stop - start)
    if request.method == "HEAD":
        file.close()
        return Response(None, status, headers, file.media_type)
    return StreamingResponse(file.pieces(start, stop), status, headers, file.media_type)


def _headers(file: ServedFile, *, attachment: bool) -> dict[str, str]:
    shown = file.media_type in _SHOWN and not attachment
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Disposition": f"{'inline' if shown else 'attachment'}; {_named(file.name)}",
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
        "Last-Modified": format_datetime(file.modified.astimezone(UTC), usegmt=True),
    }
    tag = file.tag.strip('"')
    if _TAG.fullmatch(tag):
        headers["ETag"] = f'"{tag}"'
    return headers


def attached(name: str) -> str:
    """Value of the header that has a browser save an answer under this name."""
    return f"attachment; {_named(name)}"


def _named(name: str) -> str:
    plain = re.sub(r"[^\w.+=@ -]", "_", name, flags=re.ASCII)
    return f"filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _has_it(request: Request, tag: str | None) -> bool:
    asked = request.headers.get("if-none-match", "")
    tags = {each.strip().removeprefix("W/") for each in asked.split(",")}
    return tag is not None and tag in tags


def _part(request: Request, size: int, tag: str | None) -> tuple[int, int] | None:
    """Return the bytes ``[start, stop)`` to send; None where there are none of those.

    Several ranges at once are answered with the whole file, as the standard allows.
    """
    asked = _RANGE.fullmatch(request.headers.get("range", "").replace(" ", ""))
    condition = request.headers.get("if-range")
    if asked is None or asked.group() == "bytes=-" or (condition and condition != tag):
        return 0, size
    first, last = asked.groups()
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return 0, size  # not a range, so not one that could not be satisfied
    return (start, stop) if start < stop else None
