"""Downloads as photonranch-api offers them: an address is asked for, and then followed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import quote

from fastapi import APIRouter, Body, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from firstlight.services.finding.exposure_forms import ExposureRow
from firstlight.services.finding.served_files import FileMissing, ServedFile
from firstlight.services.finding.zip_links import ZipWish
from firstlight.web.addresses import absolute, file_address
from firstlight.web.api.downloads import ZIP_RESPONSES, zip_answer
from firstlight.web.api.photonranch import described
from firstlight.web.api.sites import pinned
from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.envelope import json_response

router = APIRouter(prefix="/photonranch", tags=["photonranch"])

Seconds: TypeAlias = Annotated[int, Field(ge=0, le=253_402_300_799)]  # of the year 9999


class DownloadRequest(BaseModel):
    """A file, and how it is wanted."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={
            "example": {
                "object_name": "tst-kb001ms-20220629-00010442-EX00.fits.fz",
                "s3_directory": "data",
                "image_type": "tif",
                "stretch": "arcsinh",
            }
        },
    )

    object_name: str = Field(max_length=200)
    s3_directory: Literal["data", "info-images", "allsky"] = "data"
    image_type: str = Field(default="other", max_length=20)
    stretch: Literal["arcsinh", "linear"] = "arcsinh"


class ZipRequest(BaseModel):
    """A period of a site."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={
            "example": {
                "site": "tst",
                "start_timestamp_s": 1656504000,
                "end_timestamp_s": 1656590400,
                "fits_size": "small",
            }
        },
    )

    site: str = Field(min_length=1, max_length=128)
    start_timestamp_s: Seconds
    end_timestamp_s: Seconds
    fits_size: Literal["small", "large", "best"] = "best"


@router.post("/download", responses=described("https://archive.example/api/files/WyJk...", 404))
def download(request: Request, asker: Asker, body: Annotated[DownloadRequest, Body()]) -> Response:
    """The address of one file: as it is stored, unpacked (`fits`) or as a picture (`tif`)."""
    if body.s3_directory == "info-images":
        site = body.object_name.partition("-")[0]
        asker.require("read", site)
        return json_response(absolute(request, _pinned_file(request, site, body.object_name)))
    services = services_of(request)
    row = services.search.exposure(
        _base(body.object_name), asker.sites(), collection=body.s3_directory
    )
    if body.image_type not in {"fits", "tif", "tiff"}:
        return json_response(absolute(request, _stored(request, row, body.object_name)))
    made = _converted(request, row, body)
    made.close()
    way = "fits" if body.image_type == "fits" else "tiff"
    own = f"/api/exposures/{row.id}/{way}?name={quote(body.object_name, safe='')}"
    return json_response(absolute(request, services.served_files.link(made.key) or own))


@router.post("/downloadzip", responses=described({"message": "https://archive.example/..."}, 404))
def download_zip(request: Request, asker: Asker, body: Annotated[ZipRequest, Body()]) -> Response:
    """The address of a zip archive with the FITS files of a site and period."""
    asker.require("read", body.site)
    wish = ZipWish(body.site, body.start_timestamp_s, body.end_timestamp_s, body.fits_size)
    _pack(request, wish)  # whether there is anything
    token = services_of(request).zip_links.token(wish)
    return json_response({"message": absolute(request, f"/photonranch/zips/{token}")})


@router.get("/zips/{token}", responses=ZIP_RESPONSES, response_class=Response)
def get_zip(
    request: Request, token: Annotated[str, Path(description="Part of the address.")]
) -> Response:
    """The archive, made while it is sent. The address is the permission."""
    return zip_answer(_pack(request, services_of(request).zip_links.wish(token)))


def _pack(request: Request, wish: ZipWish) -> Any:
    return services_of(request).downloads.zip(
        wish.site,
        datetime.fromtimestamp(wish.start, UTC),
        datetime.fromtimestamp(wish.end, UTC),
        [wish.site],
        size=wish.size,  # type: ignore[arg-type]  # checked before it was signed
    )


def _converted(request: Request, row: ExposureRow, body: DownloadRequest) -> ServedFile:
    downloads, sites = services_of(request).downloads, [row.columns["site"]]
    if body.image_type == "fits":
        return downloads.fits(row.id, sites, name=body.object_name)
    return downloads.tiff(row.id, sites, stretch=body.stretch, name=body.object_name)


def _stored(request: Request, row: ExposureRow, name: str) -> str:
    for file in row.files:
        if file.name == name:
            signed = services_of(request).served_files.link(file.key)
            return signed or file_address(row.id, name)
    raise FileMissing(subject=name)


def _pinned_file(request: Request, site: str, name: str) -> str:
    for image in pinned(request, site, signed=True):
        for file in image["files"]:
            if file["name"] == name:
                return str(file["url"])
    raise FileMissing(subject=name)


def _base(name: str) -> str:
    return name.rpartition("-")[0] or name
