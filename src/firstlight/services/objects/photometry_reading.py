"""Photometry as SkyPortal's clients read it: a dictionary a point."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from astropy.time import Time
from sqlalchemy import ColumnElement, Row, select
from sqlalchemy.orm import Session

from firstlight.errors import InvalidInput, UserError
from firstlight.models.database import Database
from firstlight.models.instrument_record import InstrumentRecord
from firstlight.models.notes import Annotation
from firstlight.models.object import Object
from firstlight.models.photometry import Photometry, PhotometryValidation
from firstlight.services.access import Viewer
from firstlight.services.objects.bandpasses import Bandpasses
from firstlight.services.objects.current_points import current_sets
from firstlight.services.objects.photometry import PhotometryMissing
from firstlight.services.objects.photometry_settings import PhotometrySettings
from firstlight.services.objects.photometry_values import shown_values
from firstlight.services.objects.sharing import groups_by_audience, readable
from firstlight.services.objects.visible_objects import visible_object
from firstlight.services.objects.wire_values import LARGEST_ID, authors, moment, wire_time
from firstlight.services.visibility import seen_by

__all__ = ["PhotometryForm", "PhotometryReading", "TooManyPoints"]

FORMS = ("mag", "flux", "both", "plot")

_MOST_IN_RANGE = 100_000
_LARGEST = 2**63 - 1
_GROUP = ("id", "name", "nickname", "single_user_group")
_SAME_TIME = 1e-6  # days; two points nearer than this are one in `deduplicate`
_COLUMNS = (
    "id", "object_id", "set_id", "ra", "dec", "ra_err", "dec_err", "filter", "mjd", "origin",
    "instrument_id", "altdata", "created_at", "audience_id", "owner_id", "flux_ujy",
    "flux_err_ujy", "mag", "mag_err", "mag_system", "limiting_mag", "limit_sigma",
    "reference_flux_ujy", "reference_flux_err_ujy", "rel_flux", "rel_flux_err", "image_id",
    "image_analysis_id", "provenance_id", "flags", "bjd_tdb", "airmass",
)  # fmt: skip
_MADE_HERE = ("rel_flux", "rel_flux_err", "bjd_tdb", "airmass", "flags", "image_analysis_id")


class TooManyPoints(UserError):
    """There are more points than one answer may have."""

    code = "photometry.too_many_points"


@dataclass(frozen=True)
class PhotometryForm:
    """How points are told.

    Attributes
    ----------
    form
        ``mag``, ``flux``, ``both``, or ``plot`` for few columns.
    system
        Of magnitudes and zero points. A point whose filter has no zero point in it is told in
        AB, and says so.
    validations, annotations, owners
        Whether to tell these of each point.
    deduplicate
        Of points of one instrument, filter and time, only the one with the smallest error.
    fold
        Tell the phase of each, by the period that an annotation of the object gives.
    """

    form: str = "mag"
    system: str = "ab"
    validations: bool = False
    annotations: bool = False
    owners: bool = False
    streams: bool = False
    deduplicate: bool = False
    fold: bool = False

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise InvalidInput(
                field="format", found=repr(self.form)[:50], expected=", ".join(FORMS)
            )


class PhotometryReading:
    """Reads photometry, of whatever origin; of light-curve sets those that are current.

    Parameters
    ----------
    database
        The tables.
    settings
        Filters of one's own.
    """

    def __init__(self, *, database: Database, settings: PhotometrySettings) -> None:
        self._database = database
        self._bandpasses = Bandpasses(settings.filters)

    def of_object(
        self, viewer: Viewer, name: str, form: PhotometryForm | None = None
    ) -> list[dict[str, Any]]:
        """The light curve of an object, in order of time.

        Raises
        ------
        ObjectMissing
            There is no such object.
        InvalidInput
            It is to be folded, and no annotation has a period.
        """
        form = form or PhotometryForm()
        with self._database.reading() as session:
            thing = visible_object(session, viewer, name)
            rows = _select(session, viewer, Photometry.object_id == thing.id)
            if form.deduplicate:
                rows = _deduplicated(rows)
            period = _period(session, viewer, thing) if form.fold else None
            points = self._told(session, viewer, rows, form, {thing.id: thing.name})
        if period is not None:
            for point in points:
                point["phase"] = (point["mjd"] / period) % 1.0
        return points

    def point(
        self, viewer: Viewer, photometry_id: int, form: PhotometryForm | None = None
    ) -> dict[str, Any]:
        """One point, also of a set that is not current.

        Raises
        ------
        PhotometryMissing
            There is none that the viewer may see.
        """
        form = form or PhotometryForm(annotations=True)
        with self._database.reading() as session:
            rows: Sequence[Row[Any]] = []
            if 0 < photometry_id <= _LARGEST:
                rows = _query(session, viewer, Photometry.id == photometry_id)
            if not rows:
                raise PhotometryMissing(subject=photometry_id)
            names = _names(session, rows)
            return self._told(session, viewer, rows, form, names)[0]

    def in_range(
        self,
        viewer: Viewer,
        form: PhotometryForm | None = None,
        *,
        instruments: Sequence[int] | None = None,
        first: str | None = None,
        last: str | None = None,
    ) -> list[dict[str, Any]]:
        """Points of all objects, by instrument and time.

        Parameters
        ----------
        first, last
            ISO 8601, UTC where nothing else is said.

        Raises
        ------
        InvalidInput
            A time or an instrument is none.
        TooManyPoints
            With how many there may be.
        """
        form = form or PhotometryForm(annotations=True)
        conditions: list[ColumnElement[bool]] = []
        if instruments is not None:
            wrong = [each for each in instruments if not 0 < each <= LARGEST_ID]
            if wrong:
                raise InvalidInput(field="instrument_ids", found=wrong[0], expected="their numbers")
            conditions.append(Photometry.instrument_id.in_(sorted(set(instruments))[:1000]))
        if first is not None:
            conditions.append(Photometry.mjd >= _mjd(moment(first, "min_date")))
        if last is not None:
            conditions.append(Photometry.mjd <= _mjd(moment(last, "max_date")))
        with self._database.reading() as session:
            rows = _select(session, viewer, *conditions, most=_MOST_IN_RANGE)
            return self._told(session, viewer, rows, form, _names(session, rows))

    def origins(self, viewer: Viewer) -> list[str]:
        """What the points that were sent, and that the viewer sees, are said to come from."""
        with self._database.reading() as session:
            found = session.scalars(
                select(Photometry.origin)
                .where(
                    Photometry.upload_id.is_not(None),
                    Photometry.origin != "",
                    seen_by(viewer, Photometry.audience_id),
                )
                .distinct()
            )
            return sorted(found)

    def _told(
        self,
        session: Session,
        viewer: Viewer,
        rows: Sequence[Row[Any]],
        form: PhotometryForm,
        names: Mapping[uuid.UUID, str],
    ) -> list[dict[str, Any]]:
        measured = shown_values(rows, self._bandpasses, form.form, form.system)
        if form.form == "plot":
            return [
                {
                    "id": row.id,
                    "obj_id": names[row.object_id],
                    "filter": row.filter,
                    "mjd": row.mjd,
                    "origin": row.origin or None,
                    **values,
                }
                for row, values in zip(rows, measured, strict=True)
            ]
        instruments = _instrument_names(session)
        groups = _groups(session, viewer, rows)
        points = [
            {
                **_facts(row),
                "obj_id": names[row.object_id],
                "instrument_name": instruments.get(row.instrument_id),
                "groups": groups[row.audience_id],
                **values,
            }
            for row, values in zip(rows, measured, strict=True)
        ]
        _embed(session, viewer, form, rows, points)
        return points


def _facts(row: Row[Any]) -> dict[str, Any]:
    """What is in the row of a point itself."""
    return {
        "id": row.id,
        "ra": row.ra,
        "dec": row.dec,
        "ra_unc": row.ra_err,
        "dec_unc": row.dec_err,
        "filter": row.filter,
        "mjd": row.mjd,
        "instrument_id": row.instrument_id,
        "origin": row.origin or None,
        "altdata": _altdata(row),
        "created_at": wire_time(row.created_at),
    }


def _embed(
    session: Session,
    viewer: Viewer,
    form: PhotometryForm,
    rows: Sequence[Row[Any]],
    points: list[dict[str, Any]],
) -> None:
    """Tell what else was asked for of each point."""
    for wanted, column, found in (
        (form.annotations, "annotations", _annotations),
        (form.validations, "validations", _validations),
    ):
        if wanted:
            by_point = found(session, viewer, rows)
            for point in points:
                point[column] = by_point.get(point["id"], [])
    if form.owners:
        known = authors(session, (row.owner_id for row in rows))
        for row, point in zip(rows, points, strict=True):
            point["owner"] = known.get(row.owner_id)
    if form.streams:
        for point in points:
            point["streams"] = []


def _select(
    session: Session, viewer: Viewer, *conditions: ColumnElement[bool], most: int | None = None
) -> Sequence[Row[Any]]:
    """Points that the viewer sees, of current sets, in order of time."""
    rows = _query(session, viewer, *conditions, most=most)
    of_sets = {row.object_id for row in rows if row.set_id is not None}
    if not of_sets:
        return rows
    current = current_sets(session, of_sets)
    none: set[uuid.UUID] = set()
    return [
        row for row in rows if row.set_id is None or row.set_id in current.get(row.object_id, none)
    ]


def _query(
    session: Session, viewer: Viewer, *conditions: ColumnElement[bool], most: int | None = None
) -> Sequence[Row[Any]]:
    query = (
        select(*(getattr(Photometry, name) for name in _COLUMNS))
        .where(
            *conditions,
            seen_by(viewer, Photometry.audience_id),
            Photometry.object_id.in_(select(Object.id).where(seen_by(viewer, Object.audience_id))),
        )
        .order_by(Photometry.mjd, Photometry.id)
    )
    if most is not None:
        query = query.limit(most + 1)
    rows = session.execute(query).all()
    if most is not None and len(rows) > most:
        raise TooManyPoints(expected=f"at most {most}", hint="name instruments, and a shorter time")
    return rows


def _names(session: Session, rows: Sequence[Row[Any]]) -> dict[uuid.UUID, str]:
    wanted = list({row.object_id for row in rows})
    found: dict[uuid.UUID, str] = {}
    for start in range(0, len(wanted), 5_000):
        some = wanted[start : start + 5_000]
        named = session.execute(select(Object.id, Object.name).where(Object.id.in_(some)))
        found |= {row.id: row.name for row in named}
    return found


def _instrument_names(session: Session) -> dict[int | None, str]:
    return {
        row.id: row.name
        for row in session.execute(select(InstrumentRecord.id, InstrumentRecord.name))
    }


def _groups(
    session: Session, viewer: Viewer, rows: Sequence[Row[Any]]
) -> dict[int, list[dict[str, Any]]]:
    found = groups_by_audience(session, viewer, {row.audience_id for row in rows})
    return {
        audience: [{name: group[name] for name in _GROUP} for group in groups]
        for audience, groups in found.items()
    }


def _altdata(row: Row[Any]) -> dict[str, Any] | None:
    """What was sent besides; of points that were measured here, what clients have no column for."""
    if row.image_id is None:
        return row.altdata  # type: ignore[no-any-return]  # a row is not typed
    here = {name: getattr(row, name) for name in _MADE_HERE}
    here |= {"image_id": str(row.image_id), "provenance_id": row.provenance_id}
    return {**(row.altdata or {}), **{key: each for key, each in here.items() if each is not None}}


def _deduplicated(rows: Sequence[Row[Any]]) -> Sequence[Row[Any]]:
    best: dict[tuple[Any, ...], Row[Any]] = {}
    for row in rows:
        key = (row.instrument_id, row.filter, round(row.mjd / _SAME_TIME))
        known = best.get(key)
        if known is None or _error(row) < _error(known):
            best[key] = row
    return sorted(best.values(), key=lambda row: (row.mjd, row.id))


def _error(row: Row[Any]) -> float:
    # A limit tells less than any measurement.
    return float("inf") if row.flux_ujy is None else row.flux_err_ujy or float("inf")


def _period(session: Session, viewer: Viewer, thing: Object) -> float:
    rows = session.scalars(
        select(Annotation)
        .where(
            Annotation.object_id == thing.id,
            Annotation.subject == "object",
            readable(viewer, Annotation),
        )
        .order_by(Annotation.modified_at.desc())
    )
    for row in rows:
        value = row.data.get("period")
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            return float(value)
    raise InvalidInput(
        "no annotation of this object has a period",
        field="phaseFoldData",
        expected="an annotation with 'period' in days",
    )


def _annotations(
    session: Session, viewer: Viewer, rows: Sequence[Row[Any]]
) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    objects = list({row.object_id for row in rows})
    for start in range(0, len(objects), 5_000):
        notes = session.scalars(
            select(Annotation)
            .where(
                Annotation.object_id.in_(objects[start : start + 5_000]),
                Annotation.photometry_id.is_not(None),
                readable(viewer, Annotation),
            )
            .order_by(Annotation.id)
        )
        for note in notes:
            assert note.photometry_id is not None  # noqa: S101, so says the query
            found[note.photometry_id].append(
                {
                    "id": note.id,
                    "created_at": wire_time(note.created_at),
                    "modified": wire_time(note.modified_at),
                    "data": note.data,
                    "origin": note.origin,
                    "author_id": note.author_id,
                }
            )
    return found


def _validations(
    session: Session, viewer: Viewer, rows: Sequence[Row[Any]]
) -> dict[int, list[dict[str, Any]]]:
    del viewer  # whoever sees a point sees what is thought of it
    found: dict[int, list[dict[str, Any]]] = {}
    objects = list({row.object_id for row in rows})
    for start in range(0, len(objects), 5_000):
        query = (
            select(PhotometryValidation)
            .join(Photometry, Photometry.id == PhotometryValidation.photometry_id)
            .where(Photometry.object_id.in_(objects[start : start + 5_000]))
        )
        for row in session.scalars(query):
            found[row.photometry_id] = [
                {
                    "id": row.photometry_id,
                    "created_at": wire_time(row.created_at),
                    "modified": wire_time(row.modified_at),
                    "photometry_id": row.photometry_id,
                    "validated": row.validated,
                    "validator_id": row.validator_id,
                    "explanation": row.explanation,
                    "notes": row.notes,
                }
            ]
    return found


def _mjd(time: datetime) -> float:
    return float(Time(time).utc.mjd)
