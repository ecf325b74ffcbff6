"""Candidates: what changed in images, measured."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Query, Request, Response
from pydantic import Field

from firstlight.errors import InvalidInput
from firstlight.services.scanning.candidate_query import (
    LONGEST_PAGE,
    CandidatePlace,
    CandidateQuery,
    Sign,
)
from firstlight.web.api.portal_parameters import PortalRequest, RowId
from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.envelope import shows, success

__all__ = ["router"]

router = APIRouter(prefix="/api", tags=["candidates"])

_CANDIDATE: dict[str, Any] = {
    "id": 17, "object": "FL26aaaac", "ra": 31.0428, "dec": 46.6878, "mjd": 60310.2514,
    "filter": "r", "instrument": "demo", "section_id": "1", "score": 11.8, "real": 0.97,
    "mag": 19.42, "mag_err": 0.09, "kept": True, "why_not": [], "verdicts": ["real"],
}  # fmt: skip

_PAGE: dict[str, Any] = {
    "candidates": [_CANDIDATE], "totalMatches": 40, "nextAfter": "60310.2514,17",
    "pageNumber": 1, "numPerPage": 24,
}  # fmt: skip


class VerdictRequest(PortalRequest):
    """What somebody thinks of a candidate."""

    verdict: Literal["real", "bogus"] | None = Field(examples=["real"])


class CandidateFilters(PortalRequest):
    """Which candidates are listed; times are MJD."""

    kept: bool = True
    sign: Sign = "any"
    min_score: float | None = Field(default=None, ge=0, le=1e9)
    min_real: float | None = Field(default=None, ge=0, le=1)
    filter: str | None = Field(default=None, max_length=64)
    instrument: str | None = Field(default=None, max_length=128)
    since: float | None = Field(default=None, ge=-1e6, le=1e7)
    until: float | None = Field(default=None, ge=-1e6, le=1e7)
    judged: Literal["real", "bogus", "none"] | None = None
    obj_id: str | None = Field(default=None, max_length=128)
    after: str | None = Field(default=None, max_length=64, examples=["60310.2514,17"])
    pageNumber: int = Field(default=1, ge=1, le=50_000)  # noqa: N815, SkyPortal's name
    numPerPage: int = Field(default=24, ge=1, le=LONGEST_PAGE)  # noqa: N815, SkyPortal's name


@router.get(
    "/candidates",
    responses=shows(_PAGE, 400, 401),
)
def list_candidates(
    request: Request, asker: Asker, asked: Annotated[CandidateFilters, Query()]
) -> Response:
    """Candidates of the current measurements, the latest first.

    `nextAfter`, sent back as `after`, asks for those after the last one of this page; so none is
    left out or comes twice, whatever is judged or measured meanwhile. It is null on the last
    page. `pageNumber` counts in the list as it is.
    """
    if asked.after is not None and asked.pageNumber != 1:
        raise InvalidInput(field="pageNumber", found=asked.pageNumber, expected="no page, or after")
    conditions = asked.model_dump(exclude={"obj_id", "after", "pageNumber", "numPerPage"})
    query = CandidateQuery(
        **conditions,
        object_name=asked.obj_id,
        after=None if asked.after is None else CandidatePlace.of(asked.after),
        skip=(asked.pageNumber - 1) * asked.numPerPage,
        limit=asked.numPerPage,
    )
    found = services_of(request).candidates.page(asker, query, counted=True)
    return success(
        {
            "candidates": [each.as_dict() for each in found.candidates],
            "totalMatches": found.total,
            "nextAfter": None if found.next_after is None else str(found.next_after),
            "pageNumber": asked.pageNumber,
            "numPerPage": asked.numPerPage,
        }
    )


@router.put("/candidates/{number}/verdict", responses=shows({}, 400, 401, 403, 404))
def judge_candidate(
    request: Request, asker: Asker, number: RowId, body: Annotated[VerdictRequest, Body()]
) -> Response:
    """Say whether a candidate's object is real; null takes one's word back."""
    services_of(request).candidates.judge(asker, number, body.verdict)
    return success({})
