"""Comments on objects and spectra, and the files attached to them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Path, Query, Request, Response
from pydantic import Field
from starlette.responses import StreamingResponse

from firstlight.services.objects.comment_attachments import NewAttachment
from firstlight.web.api.portal_parameters import Groups, Page, PerPage, PortalRequest, RowId
from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.envelope import shows, success
from firstlight.web.file_answers import attached

router = APIRouter(prefix="/api", tags=["comments"])

Kind = Annotated[Literal["sources", "spectra"], Path(description="What is commented on.")]
Which = Annotated[str, Path(max_length=128, description="Name of the object, or a number.")]

_COMMENT: dict[str, Any] = {
    "id": 1,
    "created_at": "2026-08-21T12:35:30.123456",
    "modified": "2026-08-21T12:35:30.123456",
    "text": "looks real",
    "channel": None,
    "system": False,
    "attachment_name": None,
    "origin": None,
    "bot": False,
    "author_id": 1,
    "author": {"id": 1, "username": "ada", "first_name": "Ada", "last_name": "L", "is_bot": False},
    "groups": [{"id": 1, "name": "Observers"}],
    "obj_id": "FL1",
    "spectrum_id": None,
    "resourceType": "sources",
}
_FILE: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file", "content": {"application/octet-stream": {}}},
    404: {"description": "There is no such comment, or nothing is attached to it"},
}


class AttachmentRequest(PortalRequest):
    """A file: its name, and its bytes in base64."""

    name: str = Field(min_length=1, max_length=256, examples=["finder.png"])
    body: str = Field(examples=["aGk="])


class CommentRequest(PortalRequest):
    """A comment to be added."""

    text: str = Field(examples=["looks real"])
    group_ids: Groups = None
    channel: str | None = None
    attachment: AttachmentRequest | None = None


class CommentChange(PortalRequest):
    """What is to be changed of a comment."""

    text: str | None = Field(default=None, examples=["looks very real"])
    group_ids: Groups = None
    attachment: AttachmentRequest | None = None


@router.get("/{kind}/{which}/comments", responses=shows([_COMMENT], 400, 404))
def list_comments(
    request: Request,
    asker: Asker,
    kind: Kind,
    which: Which,
    *,
    text: Annotated[str | None, Query(description="Only those that contain it.")] = None,
    channel: Annotated[str | None, Query(description="Only those of a channel.")] = None,
    page: Page = 1,
    per_page: PerPage = 25,
) -> Response:
    """All comments on an object or spectrum, the oldest first; with `text`, a page of those."""
    found = services_of(request).comments.list(
        asker, kind, which, text=text, channel=channel, page=page, per_page=per_page
    )
    return success(found)


@router.post("/{kind}/{which}/comments", responses=shows({"comment_id": 1}, 400, 401, 403, 404))
def add_comment(
    request: Request,
    asker: Asker,
    kind: Kind,
    which: Which,
    body: Annotated[CommentRequest, Body()],
) -> Response:
    """Comment. What the same author has told the same people before is not added again."""
    made = services_of(request).comments.add(
        asker,
        kind,
        which,
        body.text,
        group_ids=body.group_ids,
        channel=body.channel,
        attachment=_new(body.attachment),
    )
    return success(made)


@router.get("/{kind}/{which}/comments/{comment_id}", responses=shows(_COMMENT, 404))
def get_comment(
    request: Request, asker: Asker, kind: Kind, which: Which, comment_id: RowId
) -> Response:
    """One comment."""
    return success(services_of(request).comments.get(asker, kind, which, comment_id))


@router.put("/{kind}/{which}/comments/{comment_id}", responses=shows({}, 400, 401, 403, 404))
def change_comment(
    request: Request,
    asker: Asker,
    kind: Kind,
    which: Which,
    comment_id: RowId,
    body: Annotated[CommentChange, Body()],
) -> Response:
    """Change one's own comment."""
    services_of(request).comments.change(
        asker,
        kind,
        which,
        comment_id,
        text=body.text,
        group_ids=body.group_ids,
        attachment=_new(body.attachment),
    )
    return success({})


@router.delete("/{kind}/{which}/comments/{comment_id}", responses=shows({}, 401, 403, 404))
def remove_comment(
    request: Request, asker: Asker, kind: Kind, which: Which, comment_id: RowId
) -> Response:
    """Take one's own comment back."""
    services_of(request).comments.remove(asker, kind, which, comment_id)
    return success({})


@router.get(
    "/{kind}/{which}/comments/{comment_id}/attachment",
    responses=_FILE,
    response_class=Response,
)
def get_attachment(
    request: Request,
    asker: Asker,
    kind: Kind,
    which: Which,
    comment_id: RowId,
    download: Annotated[str, Query(description="Empty, with `preview` empty: as JSON.")] = "true",
    preview: Annotated[str, Query(description="Of no effect: a file is always saved.")] = "",
) -> Response:
    """The file attached to a comment. A browser saves it: it is never shown as a page."""
    comments = services_of(request).comments
    if not download and not preview:
        return success(comments.attachment_text(asker, kind, which, comment_id))
    file = comments.attachment(asker, kind, which, comment_id)
    headers = {
        "Content-Disposition": attached(file.name),
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
        "X-Content-Type-Options": "nosniff",
        "Content-Length": str(file.size),
    }
    return StreamingResponse(file.pieces(), 200, headers, "application/octet-stream")


@router.get(
    "/{kind}/{which}/comments/{comment_id}/attachment.pdf",
    responses=_FILE,
    response_class=Response,
)
def get_attachment_pdf(
    request: Request, asker: Asker, kind: Kind, which: Which, comment_id: RowId
) -> Response:
    """The same file; nothing is made into a PDF."""
    return get_attachment(request, asker, kind, which, comment_id)


@router.get(
    "/comment_attachment",
    responses=shows({"totalWithoutAttachmentBytes": 1, "totalWithAttachmentBytes": 0}, 401, 403),
)
def count_attachments(request: Request, asker: Asker) -> Response:
    """How many comments have files. All of these are in the store, none in the tables."""
    return success(services_of(request).comments.attachment_counts(asker))


@router.post(
    "/comment_attachment",
    responses=shows({"totalMatches": 0, "pageNumber": 1, "numPerPage": 100}, 401, 403),
)
def move_attachments(
    request: Request, asker: Asker, page: Page = 1, per_page: PerPage = 100
) -> Response:
    """Move files from the tables to the store: there are none to be moved."""
    services_of(request).comments.attachment_counts(asker)
    return success({"totalMatches": 0, "pageNumber": page, "numPerPage": per_page})


def _new(attachment: AttachmentRequest | None) -> NewAttachment | None:
    return None if attachment is None else NewAttachment(attachment.name, attachment.body)
