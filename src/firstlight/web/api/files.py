"""Files behind signed links."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from firstlight.web.context import services_of
from firstlight.web.file_answers import FILE_RESPONSES, file_answer

router = APIRouter(prefix="/api", tags=["files"])

Token = Annotated[str, Path(description="The last part of a signed link.")]


@router.get("/files/{token}/{name}", include_in_schema=False, response_class=Response)
@router.get("/files/{token}", responses=FILE_RESPONSES, response_class=Response)
def get_file(request: Request, token: Token, name: str = "") -> Response:
    """The file that a signed link leads to, or a range of it. The address is the permission.

    A name may follow, for programs that call what they fetch by the end of its address.
    """
    del name
    file = services_of(request).served_files.by_link(token, "GET")
    return file_answer(request, file, shared=True)


@router.head("/files/{token}/{name}", include_in_schema=False)
@router.head("/files/{token}", include_in_schema=False)
def look_at_file(request: Request, token: Token, name: str = "") -> Response:
    """What `get_file` would answer, without the file."""
    del name
    file = services_of(request).served_files.by_link(token, "HEAD")
    return file_answer(request, file, shared=True)
