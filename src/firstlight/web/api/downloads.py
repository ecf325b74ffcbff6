"""Files as people want them: plain FITS, TIFF pictures, and zip archives of a period."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import AwareDatetime
from starlette.responses import StreamingResponse

from firstlight.services.finding.downloads import ZipDownload
from firstlight.web.api.exposures import Which, named
from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.envelope import shows
from firstlight.web.file_answers import FILE_RESPONSES, attached, file_answer

router = APIRouter(prefix="/api", tags=["downloads"])

Name = Annotated[
    str | None, Query(description="Of one of its files; by default the best there is.")
]
ZIP_RESPONSES: dict[int | str, dict[str, Any]] = {
    **shows(None, 400, 401, 403, 404),
    200: {
        "description": "A zip archive, made while it is sent",
        "content": {"application/zip": {}},
    },
}


@router.get("/exposures/{which}/fits", responses=FILE_RESPONSES, response_class=Response)
def get_fits(request: Request, asker: Asker, which: Which, name: Name = None) -> Response:
    """Plain FITS, unpacked where it is stored packed."""
    file = services_of(request).downloads.fits(named(which), asker.sites(), name=name)
    return file_answer(request, file)


@router.get("/exposures/{which}/tiff", responses=FILE_RESPONSES, response_class=Response)
def get_tiff(
    request: Request,
    asker: Asker,
    which: Which,
    name: Name = None,
    stretch: Literal["arcsinh", "linear"] = "arcsinh",
) -> Response:
    """A TIFF of 16 bits, made of the first image of a FITS file."""
    file = services_of(request).downloads.tiff(
        named(which), asker.sites(), stretch=stretch, name=name
    )
    return file_answer(request, file)


@router.get("/sites/{site}/zip", responses=ZIP_RESPONSES, response_class=Response)
def get_zip(
    request: Request,
    asker: Asker,
    site: Annotated[str, Path(max_length=128)],
    start: Annotated[AwareDatetime, Query(description="Began then or later.")],
    end: Annotated[AwareDatetime, Query(description="Began before.")],
    size: Literal["small", "large", "best"] = "best",
) -> Response:
    """The FITS files of all exposures of a site that began in a period, as one zip archive."""
    asker.require("read", site)
    return zip_answer(services_of(request).downloads.zip(site, start, end, [site], size=size))


def zip_answer(packed: ZipDownload) -> Response:
    """Send an archive while it is made; nothing is kept of it here."""
    headers = {"Content-Disposition": attached(packed.name), "Cache-Control": "no-store"}
    return StreamingResponse(packed.pieces, headers=headers, media_type="application/zip")
