"""Quality of images: numbers, what is wrong, and how they went over time."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query, Request, Response
from pydantic import BaseModel, Field
from starlette.responses import RedirectResponse

from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.pages.rendering import render

router = APIRouter(include_in_schema=False)

_PAGE = 60
_WORDS = (
    "pointing", "tracking", "seeing", "clouds", "bright sky", "noise", "few stars", "astrometry",
    "photometry", "subtraction", "saturation", "shutter", "hardware", "other",
)  # fmt: skip


class Asked(BaseModel):
    """The form above the list, as it is filled in."""

    show: Literal["all", "bad"] = "all"
    instrument: str = Field(default="", max_length=64)
    exposure: str = Field(default="", max_length=200)
    skip: int = Field(default=0, ge=0, le=9_999_999)

    def address(self, skip: int) -> str:
        """Of the page that begins there."""
        said = self.model_dump(exclude_defaults=True, exclude={"skip"})
        words = {**said, **({"skip": str(skip)} if skip else {})}
        return f"/quality?{urlencode(words)}" if words else "/quality"


@router.get("/quality")
def show_quality(request: Request, asker: Asker, asked: Annotated[Asked, Query()]) -> Response:
    """Reports on images, the latest first."""
    page = services_of(request).quality.page(
        asker,
        instrument=asked.instrument or None,
        exposure=asked.exposure or None,
        bad=asked.show == "bad",
        skip=asked.skip,
        limit=_PAGE,
    )
    facts = {
        "images": page.images,
        "asked": asked.model_dump(),
        "searching": bool(asked.model_dump(exclude_defaults=True)),
        "words": _WORDS,
        "may_mark": asker.may("operate"),
        "back": asked.address(asked.skip),
        "first": asked.address(0) if asked.skip else None,
        "next": None if page.next_skip is None else asked.address(page.next_skip),
    }
    return render(request, "quality.html", facts)


@router.post("/quality/mark")
def mark_exposure(
    request: Request,
    asker: Asker,
    exposure: Annotated[str, Form(max_length=64)],
    badness: Annotated[list[str] | None, Form()] = None,
    note: Annotated[str, Form(max_length=2000)] = "",
    back: Annotated[str, Form(max_length=2000)] = "",
) -> Response:
    """Say what is wrong with an exposure; nothing takes it back."""
    services_of(request).quality.mark(asker, exposure, badness or [], note=note or None)
    where = back if back.startswith("/quality") else "/quality"
    return RedirectResponse(where, HTTPStatus.SEE_OTHER)
