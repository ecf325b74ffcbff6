"""Uploads: leave is asked for, then the file comes."""

from __future__ import annotations

from typing import Annotated, Any, BinaryIO, cast

from fastapi import APIRouter, Body, Path, Request, Response

from firstlight.services.intake.uploads import UploadRequest
from firstlight.web.addresses import absolute
from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.envelope import shows, success
from firstlight.web.incoming import UploadReader, read_upload

router = APIRouter(prefix="/api", tags=["uploads"])

_REQUEST: dict[str, Any] = {
    "object_name": "sro-kb001ms-20220629-00010442-EX10.jpg",
    "s3_directory": "data",
    "metadata": {"DATE-OBS": "2022-06-30T04:15:00", "FILTER": "rp", "EXPTIME": 60.0},
}
_FORM = {
    "url": "https://archive.example/api/uploads/WyJpbmJveC8...",
    "fields": {"key": "inbox/5a1e/sro-kb001ms-20220629-00010442-EX10.jpg"},
}


@router.post("/uploads", responses=shows(_FORM, 400, 401, 403))
def ask_for_leave(
    request: Request,
    asker: Asker,
    wish: Annotated[UploadRequest, Body(openapi_examples={"a picture": {"value": _REQUEST}})],
) -> Response:
    """Ask for leave to upload one file: post a form with these fields, and last `file`, there."""
    form = services_of(request).uploads.request(wish, asker)
    return success({**form, "url": absolute(request, str(form["url"]))})


_FILE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            },
        },
    }
}
_ARRIVED: dict[int | str, dict[str, Any]] = {
    **shows(None, 400, 403, 409, 413),
    204: {"description": "The file is safe, and on its way into the archive"},
}
del _ARRIVED[200]


@router.post("/uploads/{token}", status_code=204, responses=_ARRIVED, openapi_extra=_FILE_BODY)
async def receive_file(request: Request, token: Annotated[str, Path()]) -> Response:
    """Send the file: as the body, or in the field `file` of a form. The address is the leave.

    Like a bucket's, the answer is empty. What comes of the file is in the site's upload log.
    """
    services = services_of(request)

    def take(reader: UploadReader) -> None:
        stream = cast("BinaryIO", reader)
        services.live.announce([services.uploads.receive(token, stream, length=reader.length)])

    await read_upload(request, take)
    return Response(status_code=204)
