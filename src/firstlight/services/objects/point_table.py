"""The points of a light curve as a table: page by page, with what may be done to each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from firstlight.errors import InvalidInput
from firstlight.models.database import Database
from firstlight.models.image import Image
from firstlight.models.instrument_record import InstrumentRecord
from firstlight.models.photometry import Photometry, PhotometryValidation
from firstlight.services.access import Viewer
from firstlight.services.objects.light_curve_plot import seen_points
from firstlight.services.objects.visible_objects import visible_object
from firstlight.services.objects.wire_values import authors

__all__ = ["PointPage", "PointTable"]

ROWS = 50
_LAST = 1_000_000


@dataclass(frozen=True, slots=True)
class PointPage:
    """Some points of a light curve, the latest first.

    Attributes
    ----------
    rows
        Of each point: its columns; ``instrument``, ``owner``, ``exposure`` (number of the
        exposure it was measured in); ``validated`` (None where nobody has judged it);
        ``may_remove`` and ``may_judge``.
    number, pages
        Of this page from 1, and how many there are.
    total
        Points in all.
    """

    rows: list[dict[str, Any]]
    number: int
    pages: int
    total: int


class PointTable:
    """Reads tables of points.

    Parameters
    ----------
    database
        The tables.
    """

    def __init__(self, *, database: Database) -> None:
        self._database = database

    def page(self, viewer: Viewer, name: str, number: int = 1) -> PointPage:
        """A page of the points of an object that the viewer may see.

        Raises
        ------
        ObjectMissing
            There is no such object, or none that the viewer may see.
        """
        if not 1 <= number <= _LAST:
            raise InvalidInput(field="page", found=number, expected=f"1 to {_LAST}")
        with self._database.reading() as session:
            points = seen_points(session, viewer, visible_object(session, viewer, name))
            total = session.scalar(points.with_only_columns(func.count())) or 0
            rows = session.scalars(
                points.order_by(Photometry.mjd.desc(), Photometry.id.desc())
                .offset((number - 1) * ROWS)
                .limit(ROWS)
            ).all()
            shown = _shown(session, viewer, list(rows))
        return PointPage(shown, number, max(1, -(-total // ROWS)), total)


def _shown(session: Session, viewer: Viewer, rows: list[Photometry]) -> list[dict[str, Any]]:
    instruments = _named(session, InstrumentRecord.id, InstrumentRecord.name, "instrument_id", rows)
    owners = authors(session, (row.owner_id for row in rows))
    exposures = _named(session, Image.id, Image.exposure_id, "image_id", rows)
    judged = _named(
        session, PhotometryValidation.photometry_id, PhotometryValidation.validated, "id", rows
    )
    manages = viewer.may("manage_photometry")
    return [
        {
            "id": row.id,
            "mjd": row.mjd,
            "filter": row.filter,
            "mag": row.mag,
            "mag_err": row.mag_err,
            "mag_system": row.mag_system,
            "flux": row.flux_ujy,
            "flux_err": row.flux_err_ujy,
            "rel_flux": row.rel_flux,
            "rel_flux_err": row.rel_flux_err,
            "limiting_mag": row.limiting_mag,
            "origin": row.origin,
            "flags": row.flags,
            "instrument": instruments.get(row.instrument_id, ""),
            "owner": owners[row.owner_id]["username"] if row.owner_id in owners else "",
            "exposure": exposures.get(row.image_id),
            "analysis": row.image_analysis_id,
            "provenance": row.provenance_id,
            "validated": judged.get(row.id),
            "may_remove": row.image_id is None and (manages or _is_own(viewer, row)),
            "may_judge": manages or viewer.may("manage_sources") or _is_own(viewer, row),
        }
        for row in rows
    ]


def _is_own(viewer: Viewer, row: Photometry) -> bool:
    return viewer.user_id is not None and row.owner_id == viewer.user_id


def _named(
    session: Session, key: Any, value: Any, column: str, rows: list[Photometry]
) -> dict[Any, Any]:
    wanted = {getattr(row, column) for row in rows} - {None}
    if not wanted:
        return {}
    found = session.execute(select(key, value).where(key.in_(wanted)))
    return {each[0]: each[1] for each in found}
