"""What people do on an object's page: forms that post, and lead back to where they were.

A script puts the answer's part in place of the old one; without scripts the page is loaded again.
"""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Form, Path, Request, Response
from starlette.responses import RedirectResponse

from firstlight.errors import InvalidInput
from firstlight.services.objects.classifications import NewClassification
from firstlight.services.objects.photometry_validations import ValidationExists
from firstlight.services.objects.tags import TagExists
from firstlight.services.objects.wire_values import LARGEST_ID
from firstlight.services.star_light_curve import parse_target
from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.pages.objects import Number, ObjectName, object_address

router = APIRouter(include_in_schema=False)

RowId = Annotated[int, Path(ge=0, le=LARGEST_ID)]
Text = Annotated[str, Form(max_length=100_000)]
Word = Annotated[str, Form(max_length=500)]
_THING = "sources"


@router.post("/objects")
def add_object(
    request: Request, asker: Asker, name: Word, position: Word, group: Word = ""
) -> Response:
    """Add an object and go to its page."""
    place = parse_target(position)
    if place is None:
        raise InvalidInput(
            "this is not a position",
            field="position",
            found=position,
            expected="degrees (31.0429 46.6878) or hours and degrees (02:04:10.3 +46:41:16)",
        )
    body = {"id": name.strip(), "ra": place[0], "dec": place[1]}
    chosen = {"group_ids": [_whole(group, "group")]} if group else {}
    made = services_of(request).objects.post(asker, {**body, **chosen})
    return RedirectResponse(object_address(str(made["id"])), 303)


@router.post("/objects/{name}/redshift")
def set_redshift(
    request: Request, asker: Asker, name: ObjectName, redshift: Word, origin: Word = ""
) -> Response:
    """Tell the redshift of an object; nothing takes it back."""
    try:
        value = float(redshift) if redshift.strip() else None
    except ValueError:
        raise InvalidInput(field="redshift", found=redshift, expected="a number") from None
    facts = {"redshift": value, "redshift_origin": origin.strip() or None}
    services_of(request).objects.change(asker, name, facts)
    return _back(name)


@router.post("/objects/{name}/comments")
def add_comment(request: Request, asker: Asker, name: ObjectName, text: Text) -> Response:
    """Say something about an object."""
    services_of(request).comments.add(asker, _THING, name, text.strip())
    return _back(name, "comments")


@router.post("/objects/{name}/comments/{number}/delete")
def remove_comment(request: Request, asker: Asker, name: ObjectName, number: RowId) -> Response:
    """Take a comment back."""
    services_of(request).comments.remove(asker, _THING, name, number)
    return _back(name, "comments")


@router.post("/objects/{name}/classifications")
def classify(
    request: Request, asker: Asker, name: ObjectName, chosen: Word, probability: Word = ""
) -> Response:
    """Tell what an object is taken for: ``taxonomy:class``."""
    taxonomy, _, class_name = chosen.partition(":")
    try:
        share = float(probability) if probability.strip() else None
    except ValueError:
        raise InvalidInput(field="probability", found=probability, expected="0 to 1") from None
    new = NewClassification(
        obj_id=name,
        taxonomy_id=_whole(taxonomy, "taxonomy"),
        classification=class_name,
        probability=share,
    )
    services_of(request).classifications.add(asker, [new])
    return _back(name, "classifications")


@router.post("/objects/{name}/classifications/{number}/delete")
def remove_class(request: Request, asker: Asker, name: ObjectName, number: RowId) -> Response:
    """Take a classification back."""
    services_of(request).classifications.remove(asker, number)
    return _back(name, "classifications")


@router.post("/objects/{name}/classifications/{number}/vote")
def vote(
    request: Request, asker: Asker, name: ObjectName, number: RowId, vote: Annotated[int, Form()]
) -> Response:
    """Agree (1), disagree (-1), or neither (0)."""
    classifications = services_of(request).classifications
    if vote == 0:
        classifications.take_vote_back(asker, number)
    else:
        classifications.vote(asker, number, vote)
    return _back(name, "classifications")


@router.post("/objects/{name}/tags")
def put_tag(request: Request, asker: Asker, name: ObjectName, tag: Word) -> Response:
    """Mark an object with a word, which becomes a tag where there is none of that name."""
    tags = services_of(request).tags
    wanted = tag.strip()
    known = {each["name"]: each["id"] for each in tags.list(asker)}
    if wanted not in known:
        try:
            known[wanted] = tags.make(asker, wanted)["id"]
        except TagExists:  # somebody was faster
            known = {each["name"]: each["id"] for each in tags.list(asker)}
    tags.put(asker, name, known[wanted])
    return _back(name)


@router.post("/objects/{name}/tags/{number}/delete")
def take_tag_off(request: Request, asker: Asker, name: ObjectName, number: RowId) -> Response:
    """Take a mark off."""
    services_of(request).tags.take_off(asker, number)
    return _back(name)


@router.post("/objects/{name}/groups")
def share(
    request: Request,
    asker: Asker,
    name: ObjectName,
    save: Annotated[list[int] | None, Form()] = None,
    unsave: Annotated[list[int] | None, Form()] = None,
) -> Response:
    """Put an object into the lists of groups, or take it off them."""
    services_of(request).saved_objects.change(asker, name, invite=save or [], unsave=unsave or [])
    return _back(name, "sharing")


@router.post("/objects/{name}/photometry/{number}/delete")
def remove_point(request: Request, asker: Asker, name: ObjectName, number: Number) -> Response:
    """Remove a point that somebody sent."""
    services_of(request).photometry.remove(asker, number)
    return _back(name, "points")


@router.post("/objects/{name}/photometry/{number}/validation")
def judge_point(
    request: Request, asker: Asker, name: ObjectName, number: Number, verdict: Word
) -> Response:
    """Judge a point: ``good``, ``bad``, or ``open`` to take that back."""
    judgements = services_of(request).photometry_validations
    if verdict == "open":
        judgements.remove(asker, number)
        return _back(name, "points")
    body = {"validated": verdict == "good"}
    try:
        judgements.add(asker, number, body)
    except ValidationExists:
        judgements.change(asker, number, body)
    return _back(name, "points")


def _back(name: str, part: str = "") -> Response:
    return RedirectResponse(object_address(name) + (f"#{quote(part)}" if part else ""), 303)


def _whole(text: str, field: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= LARGEST_ID):
        raise InvalidInput(field=field, found=text[:50], expected="a number")
    return int(text)
