"""Exposures and their files."""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.file_answers import FILE_RESPONSES, file_answer

router = APIRouter(prefix="/api", tags=["exposures"])

ExposureId = Annotated[uuid.UUID, Path(description="Id of the exposure.")]


@router.get(
    "/exposures/{exposure_id}/files/{name}", responses=FILE_RESPONSES, response_class=Response
)
def get_exposure_file(
    request: Request,
    asker: Asker,
    exposure_id: ExposureId,
    name: Annotated[str, Path(description="Of the file, as in the list of its files.")],
    *,
    download: Annotated[bool, Query(description="To be saved, not shown.")] = False,
) -> Response:
    """One file of an exposure, or a range of it."""
    file = services_of(request).served_files.of_exposure(exposure_id, name, asker)
    return file_answer(request, file, attachment=download)


@router.head("/exposures/{exposure_id}/files/{name}", include_in_schema=False)
def look_at_exposure_file(
    request: Request, asker: Asker, exposure_id: ExposureId, name: Annotated[str, Path()]
) -> Response:
    """What `get_exposure_file` would answer, without the file."""
    file = services_of(request).served_files.of_exposure(exposure_id, name, asker)
    return file_answer(request, file)
