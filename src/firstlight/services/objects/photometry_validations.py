"""What people who looked at a point of photometry think of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from firstlight.errors import ConflictError, InvalidInput, MissingError
from firstlight.models.database import Database
from firstlight.models.object import Object
from firstlight.models.photometry import Photometry, PhotometryValidation
from firstlight.services.access import Forbidden, Viewer
from firstlight.services.objects.photometry import PhotometryMissing
from firstlight.services.objects.sharing import tell
from firstlight.services.objects.wire_values import optional_text
from firstlight.services.visibility import seen_by

__all__ = ["PhotometryValidations", "ValidationExists", "ValidationMissing"]

_LARGEST = 2**63 - 1
_FIELDS = {"validated", "explanation", "notes", "magsys"}


class ValidationExists(ConflictError):
    """The point has been judged already."""

    code = "photometry.validation_exists"


class ValidationMissing(MissingError):
    """Nobody has judged the point."""

    code = "photometry.validation_missing"


class PhotometryValidations:
    """Keeps one judgement a point.

    Parameters
    ----------
    database
        The tables.
    """

    def __init__(self, *, database: Database) -> None:
        self._database = database

    def add(self, viewer: Viewer, photometry_id: int, body: Mapping[str, Any]) -> int:
        """Judge a point.

        Parameters
        ----------
        body
            ``validated`` (true, false, or null where the question is open), ``explanation``,
            ``notes``.

        Raises
        ------
        PhotometryMissing, Forbidden
            It is not there, or the viewer neither owns it nor manages photometry or sources.
        ValidationExists
            It has been judged: change that.
        """
        with self._database.begin() as session:
            point, name = _judged(session, viewer, photometry_id)
            if session.get(PhotometryValidation, photometry_id) is not None:
                raise ValidationExists(subject=photometry_id, hint="PATCH changes it")
            row = PhotometryValidation(photometry_id=photometry_id, validator_id=viewer.user_id)
            _apply(row, body)
            session.add(row)
            tell(session, name, "photometry", point.audience_id, {"change": "validated"})
        return photometry_id

    def change(self, viewer: Viewer, photometry_id: int, body: Mapping[str, Any]) -> int:
        """Judge a point anew; what is not named stays.

        Raises
        ------
        ValidationMissing
            There is nothing to change.
        """
        with self._database.begin() as session:
            point, name = _judged(session, viewer, photometry_id)
            row = session.get(PhotometryValidation, photometry_id)
            if row is None:
                raise ValidationMissing(subject=photometry_id)
            row.validator_id = viewer.user_id
            _apply(row, body)
            tell(session, name, "photometry", point.audience_id, {"change": "validated"})
        return photometry_id

    def remove(self, viewer: Viewer, photometry_id: int) -> int:
        """Take a judgement back."""
        with self._database.begin() as session:
            point, name = _judged(session, viewer, photometry_id)
            row = session.get(PhotometryValidation, photometry_id)
            if row is None:
                raise ValidationMissing(subject=photometry_id)
            session.delete(row)
            tell(session, name, "photometry", point.audience_id, {"change": "validated"})
        return photometry_id


def _judged(session: Session, viewer: Viewer, number: int) -> tuple[Photometry, str]:
    found = None
    if 0 < number <= _LARGEST:
        found = session.execute(
            select(Photometry, Object.name)
            .join(Object, Object.id == Photometry.object_id)
            .where(
                Photometry.id == number,
                seen_by(viewer, Photometry.audience_id),
                seen_by(viewer, Object.audience_id),
            )
        ).first()
    if found is None:
        raise PhotometryMissing(subject=number)
    point, name = found
    manages = viewer.may("manage_photometry") or viewer.may("manage_sources")
    if not manages:
        viewer.require("upload")
        if point.owner_id is None or point.owner_id != viewer.user_id:
            raise Forbidden("the point is somebody else's", subject=number)
    return point, name


def _apply(row: PhotometryValidation, body: Mapping[str, Any]) -> None:
    unknown = sorted(set(body) - _FIELDS)
    if unknown:
        raise InvalidInput(field=unknown[0][:100], expected=", ".join(sorted(_FIELDS)))
    if "validated" in body:
        if not isinstance(body["validated"], bool | None):
            raise InvalidInput(field="validated", expected="true, false or null")
        row.validated = body["validated"]
    if "explanation" in body:
        row.explanation = optional_text(body["explanation"], "explanation", longest=1000)
    if "notes" in body:
        row.notes = optional_text(body["notes"], "notes", longest=2000)
