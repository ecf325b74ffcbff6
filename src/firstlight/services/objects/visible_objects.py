"""Objects as somebody may see them: what one may not see is missing."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from firstlight.errors import InvalidInput, MissingError
from firstlight.models.database import once
from firstlight.models.object import Object
from firstlight.models.photometry import Photometry
from firstlight.models.spectrum import Spectrum
from firstlight.services.access import Viewer
from firstlight.services.objects.sharing import readable
from firstlight.services.objects.wire_values import LARGEST_ID, storable
from firstlight.services.visibility import seen_by

__all__ = ["ObjectMissing", "Subject", "SubjectMissing", "subject_of", "visible_object"]

_LONGEST_NAME = 128
_LARGEST_POINT = 2**63 - 1


class ObjectMissing(MissingError):
    """There is no such object, or none that you may see."""

    code = "object.missing"


class SubjectMissing(MissingError):
    """There is no such spectrum or point of photometry, or none that you may see."""

    code = "object.subject_missing"


@dataclass(frozen=True, slots=True)
class Subject:
    """What a comment or an annotation is about: an object, a spectrum, a point of photometry.

    Attributes
    ----------
    name
        Of the object.
    audience_id
        Who may see the subject.
    """

    object_id: uuid.UUID
    name: str
    audience_id: int
    spectrum_id: int | None = None
    photometry_id: int | None = None

    @property
    def key(self) -> str:
        """As annotations name it."""
        if self.spectrum_id is not None:
            return f"spectrum:{self.spectrum_id}"
        if self.photometry_id is not None:
            return f"photometry:{self.photometry_id}"
        return "object"


def visible_object(session: Session, viewer: Viewer, name: str) -> Object:
    """Return an object by its name.

    Raises
    ------
    ObjectMissing
        There is none, or none that the viewer may see: the two look alike.
    """
    found = None
    if len(name) <= _LONGEST_NAME and storable(name):
        found = once(session, ("object", viewer, name), lambda: _seen(session, viewer, name))
    if found is None:
        raise ObjectMissing(subject=repr(name[:_LONGEST_NAME]))
    return found


def _seen(session: Session, viewer: Viewer, name: str) -> Object | None:
    return session.scalar(
        select(Object).where(Object.name == name, seen_by(viewer, Object.audience_id))
    )


def subject_of(session: Session, viewer: Viewer, kind: str, which: str) -> Subject:
    """Return what a note is about.

    Parameters
    ----------
    kind
        ``sources``, ``spectra`` or ``photometry``.
    which
        Name of the object, or number of the other.

    Raises
    ------
    ObjectMissing, SubjectMissing
        There is none that the viewer may see.
    InvalidInput
        There are no notes on this kind of thing.
    """
    if kind == "sources":
        thing = visible_object(session, viewer, which)
        return Subject(thing.id, thing.name, thing.audience_id)
    if kind not in {"spectra", "photometry"}:
        raise InvalidInput(
            "there are no notes on this",
            field="resource_type",
            found=repr(kind[:50]),
            expected="sources, spectra or photometry",
        )
    number = _number(kind, which)
    table: type[Spectrum | Photometry] = Spectrum if kind == "spectra" else Photometry
    row = session.execute(
        select(Object.id, Object.name, table.audience_id)
        .join(table, table.object_id == Object.id)
        .where(
            table.id == number,
            readable(viewer, table, "owner_id"),
            seen_by(viewer, Object.audience_id),
        )
    ).first()
    if row is None:
        raise SubjectMissing(subject=f"{kind} {number}")
    return Subject(
        *row,
        spectrum_id=number if kind == "spectra" else None,
        photometry_id=number if kind == "photometry" else None,
    )


def _number(kind: str, which: str) -> int:
    largest = LARGEST_ID if kind == "spectra" else _LARGEST_POINT
    if which.isascii() and which.isdigit() and len(which) < 20 and int(which) <= largest:
        return int(which)
    raise SubjectMissing(subject=f"{kind} {which[:50]!r}")
