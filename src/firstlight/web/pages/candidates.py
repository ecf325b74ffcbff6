"""Candidates to look through: triplets of pictures, filters, keys, verdicts."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Path, Query, Request, Response
from pydantic import BaseModel, Field
from starlette.responses import RedirectResponse

from firstlight.errors import InvalidInput
from firstlight.services.scanning.candidate_query import CandidatePlace, CandidateQuery, Sign
from firstlight.services.scanning.candidates import CandidatePage
from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.envelope import status_of, told
from firstlight.web.pages.objects import object_address
from firstlight.web.pages.rendering import read_together, render

router = APIRouter(include_in_schema=False)

Number = Annotated[int, Path(ge=0, le=2**63 - 1)]

_PAGE = 24
_MJD_ZERO = 678_576  # the ordinal of 1858-11-17


class Asked(BaseModel):
    """The form above the list, as it is filled in."""

    kept: Literal["yes", "no"] = "yes"
    sign: Sign = "any"
    score: str = Field(default="", max_length=32)
    real: str = Field(default="", max_length=32)
    filter: str = Field(default="", max_length=64)
    since: str = Field(default="", max_length=32)
    until: str = Field(default="", max_length=32)
    judged: Literal["", "none", "real", "bogus"] = ""
    object: str = Field(default="", max_length=128)
    exposure: str = Field(default="", max_length=256)
    after: str = Field(default="", max_length=64)

    def query(self) -> CandidateQuery:
        """What it asks for."""
        return CandidateQuery(
            kept=self.kept == "yes",
            sign=self.sign,
            min_score=_number("score", self.score),
            min_real=_number("real", self.real),
            filter=self.filter or None,
            since=_day("since", self.since),
            until=_day("until", self.until, days=1),
            judged=self.judged or None,
            object_name=self.object or None,
            exposure=self.exposure or None,
            after=CandidatePlace.of(self.after) if self.after else None,
            limit=_PAGE,
        )

    def said(self) -> dict[str, str]:
        """What is filled in otherwise than at first, without the page."""
        return self.model_dump(exclude_defaults=True, exclude={"after"})


@router.get("/candidates")
@read_together
def show_candidates(request: Request, asker: Asker, asked: Annotated[Asked, Query()]) -> Response:
    """Candidates, the latest first."""
    service = services_of(request).candidates
    said = asked.said()
    page, fault = CandidatePage([], None), None
    try:
        page = service.page(asker, asked.query())
    except InvalidInput as wrong:
        fault = wrong
    names = {each.object for each in page.candidates if each.object is not None}
    facts = {
        "candidates": page.candidates,
        "object_urls": {name: object_address(name) for name in names},
        "asked": asked.model_dump(),
        "searching": bool(said),
        "fault": None if fault is None else told(fault),
        "filters": service.filters(asker),
        "may_judge": asker.may("annotate"),
        "back": _address(said, asked.after),
        "first": _address(said) if asked.after else None,
        "next": None if page.next_after is None else _address(said, str(page.next_after)),
    }
    status = HTTPStatus.OK if fault is None else status_of(fault)
    return render(request, "candidates.html", facts, status=status)


@router.get("/candidates/{number}/triplet.png")
def get_triplet(request: Request, asker: Asker, number: Number) -> Response:
    """New image, reference and difference at a candidate."""
    picture = services_of(request).candidates.triplet(asker, number)
    headers = {"Cache-Control": "private, max-age=3600"}
    return Response(picture, 200, headers, "image/png")


@router.post("/candidates/{number}/judge")
def judge_candidate(
    request: Request,
    asker: Asker,
    number: Number,
    verdict: Annotated[Literal["real", "bogus", ""], Form()] = "",
    back: Annotated[str, Form(max_length=2000)] = "",
) -> Response:
    """Say what a candidate is, and go on."""
    services_of(request).candidates.judge(asker, number, verdict or None)
    where = back if back.startswith("/candidates") else "/candidates"
    return RedirectResponse(where, HTTPStatus.SEE_OTHER)


def _address(said: dict[str, str], after: str = "") -> str:
    words = {**said, **({"after": after} if after else {})}
    return f"/candidates?{urlencode(words)}" if words else "/candidates"


def _number(field: str, word: str) -> float | None:
    if not word.strip():
        return None
    try:
        value = float(word)
    except ValueError:
        raise InvalidInput(field=field, found=word, expected="a number") from None
    if not 0 <= value < 1e9:
        raise InvalidInput(field=field, found=word, expected="0 or more")
    return value


def _day(field: str, word: str, *, days: int = 0) -> float | None:
    """MJD of the beginning of a day."""
    if not word.strip():
        return None
    try:
        ordinal = datetime.strptime(word.strip(), "%Y-%m-%d").toordinal()  # noqa: DTZ007, a day
    except ValueError:
        raise InvalidInput(field=field, found=word, expected="a day as 2026-11-21") from None
    return float(ordinal - _MJD_ZERO + days)
