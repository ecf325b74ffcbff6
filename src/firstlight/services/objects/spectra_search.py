"""Which spectra are wanted: conditions of a search, and of the bulk download."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from firstlight.errors import InvalidInput
from firstlight.models.account import User
from firstlight.models.audience import AudienceGroup
from firstlight.models.notes import Classification, Comment
from firstlight.models.object import Object, SavedObject
from firstlight.models.spectrum import Spectrum
from firstlight.services.access import Viewer
from firstlight.services.objects.sharing import readable
from firstlight.services.objects.wire_values import LARGEST_ID, finite, moment, storable
from firstlight.services.visibility import seen_by

__all__ = ["BulkWish", "SpectrumWish", "bulk_objects", "conditions"]

_MOST_WORDS = 1000
_MOST_SOURCES = 500


@dataclass(frozen=True, slots=True)
class SpectrumWish:
    """Conditions that spectra meet; an empty one holds for all.

    Attributes
    ----------
    observed, modified
        First and last moment, as text.
    comments
        Texts, one of which a comment on the spectrum contains.
    comment_authors
        Names of users, one of whom has written such a comment.
    commented
        First and last moment at which it was written.
    """

    obj_id: str | None = None
    instrument_ids: Sequence[int] = ()
    group_ids: Sequence[int] = ()
    follow_up_ids: Sequence[int] = ()
    origins: Sequence[str] = ()
    labels: Sequence[str] = ()
    types: Sequence[str] = ()
    observed: tuple[str | None, str | None] = (None, None)
    modified: tuple[str | None, str | None] = (None, None)
    comments: Sequence[str] = ()
    comment_authors: Sequence[str] = ()
    commented: tuple[str | None, str | None] = (None, None)


@dataclass(frozen=True, slots=True)
class BulkWish:
    """Objects whose spectra are wanted; without conditions, all that have some.

    Attributes
    ----------
    min_probability
        Of the classes that are asked for.
    """

    group_id: int | None = None
    obj_ids: Sequence[str] = field(default_factory=tuple)
    classifications: Sequence[str] = field(default_factory=tuple)
    min_probability: float | None = None
    max_sources: int = 100


def conditions(viewer: Viewer, wish: SpectrumWish) -> list[ColumnElement[bool]]:
    """Conditions of a query on `Spectrum` joined with `Object`, visibility among them.

    Raises
    ------
    InvalidInput
        A time or number is none, or there are too many words.
    """
    known = [readable(viewer, Spectrum, "owner_id"), seen_by(viewer, Object.audience_id)]
    if wish.obj_id:
        known.append(Object.name == _words([wish.obj_id], "objID")[0])
    if wish.instrument_ids:
        known.append(Spectrum.instrument_id.in_(_numbers(wish.instrument_ids, "instrumentIDs")))
    if wish.group_ids:
        groups = _numbers(wish.group_ids, "groupIDs")
        within = select(AudienceGroup.audience_id).where(AudienceGroup.group_id.in_(groups))
        known.append(Spectrum.audience_id.in_(within))
    if wish.follow_up_ids:
        known.append(Spectrum.id.in_([]))  # no spectrum comes of a follow-up request here
    for column, words, name in (
        (Spectrum.origin, wish.origins, "origin"),
        (Spectrum.label, wish.labels, "label"),
        (Spectrum.type, wish.types, "type"),
    ):
        if words:
            known.append(column.in_(_words(words, name)))
    known += _between(Spectrum.observed_at, wish.observed, "observed")
    known += _between(Spectrum.modified_at, wish.modified, "modified")
    if wish.comments or wish.comment_authors or any(wish.commented):
        known.append(Spectrum.id.in_(_commented(viewer, wish)))
    return known


def bulk_objects(session: Session, viewer: Viewer, wish: BulkWish) -> tuple[list[Any], bool]:
    """Objects with spectra, by name, and whether there are more of them than are told.

    Returns
    -------
    tuple
        Rows with ``id``, ``name`` and ``redshift``.
    """
    size = min(max(wish.max_sources, 1), _MOST_SOURCES)
    query = (
        select(Object.id, Object.name, Object.redshift)
        .where(
            seen_by(viewer, Object.audience_id),
            Object.id.in_(select(Spectrum.object_id).where(readable(viewer, Spectrum, "owner_id"))),
        )
        .order_by(Object.name)
        .limit(size + 1)
    )
    if wish.obj_ids:
        query = query.where(Object.name.in_(_words(wish.obj_ids, "obj_ids")))
    if wish.group_id is not None:
        query = query.where(Object.id.in_(_saved_in(viewer, wish.group_id)))
    if wish.classifications:
        least = finite(wish.min_probability or 0.0, "classificationProbThreshold")
        classified = select(Classification.object_id).where(
            readable(viewer, Classification),
            Classification.classification.in_(_words(wish.classifications, "classifications")),
            or_(
                Classification.probability >= least,
                *([Classification.probability.is_(None)] if least <= 0 else []),
            ),
        )
        query = query.where(Object.id.in_(classified))
    found = list(session.execute(query))
    return found[:size], len(found) > size


def _saved_in(viewer: Viewer, group_id: int) -> Any:
    (number,) = _numbers([group_id], "group_id")
    if not (viewer.sees_all or number in viewer.groups):
        raise InvalidInput("you are not in this group", field="group_id", found=number)
    return select(SavedObject.object_id).where(SavedObject.group_id == number, SavedObject.active)


def _commented(viewer: Viewer, wish: SpectrumWish) -> Any:
    query = select(Comment.spectrum_id).where(
        Comment.spectrum_id.is_not(None),
        readable(viewer, Comment),
        *_between(Comment.created_at, wish.commented, "commentsFilter"),
    )
    if wish.comments:
        words = _words(wish.comments, "commentsFilter")
        query = query.where(or_(*(Comment.text.contains(word, autoescape=True) for word in words)))
    if wish.comment_authors:
        names = _words(wish.comment_authors, "commentsFilterAuthor")
        query = query.where(Comment.author_id.in_(select(User.id).where(User.username.in_(names))))
    return query


def _between(
    column: Any, bounds: tuple[str | None, str | None], field_name: str
) -> list[ColumnElement[bool]]:
    after, before = bounds
    known = []
    if after:
        known.append(column >= moment(after, f"{field_name}After"))
    if before:
        known.append(column <= moment(before, f"{field_name}Before"))
    return known


def _numbers(values: Sequence[int], field_name: str) -> list[int]:
    if len(values) > _MOST_WORDS or not all(0 <= each <= LARGEST_ID for each in values):
        raise InvalidInput(field=field_name, found=repr(values)[:100], expected="numbers of rows")
    return list(values)


def _words(values: Sequence[str], field_name: str) -> list[str]:
    if len(values) > _MOST_WORDS or not all(map(storable, values)):
        raise InvalidInput(
            field=field_name, found=repr(values)[:100], expected=f"at most {_MOST_WORDS} words"
        )
    return list(values)
