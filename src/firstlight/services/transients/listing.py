"""What was measured on differences, in lists and for one object."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from firstlight.models.database import Database
from firstlight.models.forced_run import FollowedObject
from firstlight.models.image import Image
from firstlight.models.measurement import Measurement, MeasurementSet
from firstlight.models.object import Object
from firstlight.models.photometry import FORCED, Photometry
from firstlight.models.step_run import is_current
from firstlight.services.transients.forced_photometry import NoSuchObject

__all__ = ["TransientListing", "TransientWish"]


@dataclass(frozen=True)
class TransientWish:
    """Which measurements are wanted.

    Attributes
    ----------
    kept
        Only those that nothing speaks against.
    since
        Only those of images taken from then on, aware.
    min_score
        Only those of at least this signal-to-noise ratio, of either sign.
    limit
        At most so many, the newest.
    """

    kept: bool = False
    since: datetime | None = None
    min_score: float | None = None
    limit: int = 50


class TransientListing:
    """Lists measurements of the present sets, for whoever may open the workspace.

    Parameters
    ----------
    database
        The tables.
    """

    def __init__(self, *, database: Database) -> None:
        self._database = database

    def measurements(self, wish: TransientWish) -> list[dict[str, Any]]:
        """The newest measurements, as JSON values."""
        query = _present_measurements()
        if wish.kept:
            query = query.where(Measurement.is_kept)
        if wish.since is not None:
            query = query.where(Measurement.mjd >= _mjd(wish.since))
        if wish.min_score is not None:
            query = query.where(func.abs(Measurement.score) >= wish.min_score)
        query = query.order_by(Measurement.mjd.desc(), Measurement.id).limit(wish.limit)
        with self._database.reading() as session:
            return [_facts(row, name) for row, name in session.execute(query)]

    def one(self, name: str) -> dict[str, Any]:
        """What is known of an Object from differences.

        Raises
        ------
        NoSuchObject
            There is none of this name.
        """
        with self._database.reading() as session:
            thing = session.scalars(select(Object).where(Object.name == name)).one_or_none()
            if thing is None:
                raise NoSuchObject(subject=name, hint="firstlight object list")
            query = _present_measurements().where(Measurement.object_id == thing.id)
            rows = session.execute(query.order_by(Measurement.mjd)).all()
            return {
                "name": thing.name,
                "ra": thing.ra,
                "dec": thing.dec,
                "error_arcsec": None if thing.dec_err is None else thing.dec_err * 3600.0,
                "origin": thing.origin,
                "known_as": sorted({row.known_as for row, _ in rows if row.known_as}),
                "measurements": [_facts(row, each) for row, each in rows],
                "forced": _forced(session, thing.id),
            }


def _present_measurements() -> Select[Measurement, str | None]:
    """Measurements of the sets that the runs of their sections name, and names of Objects."""
    return (
        select(Measurement, Object.name)
        .join(MeasurementSet, MeasurementSet.id == Measurement.set_id)
        .join(Image, Image.id == MeasurementSet.image_id)
        .outerjoin(Object, Object.id == Measurement.object_id)
        .where(is_current(MeasurementSet.id))
    )


def _facts(row: Measurement, name: str | None) -> dict[str, Any]:
    columns = (
        "id", "mjd", "filter", "ra", "dec", "score", "flux_ujy", "flux_err_ujy", "mag", "mag_err",
        "real", "is_kept", "why_not", "known_as",
    )  # fmt: skip
    return {"object": name} | {column: getattr(row, column) for column in columns}


def _forced(session: Session, ident: uuid.UUID) -> dict[str, Any]:
    """How far forced photometry has got."""
    followed = session.get(FollowedObject, ident)
    count, first, last = session.execute(
        select(func.count(), func.min(Photometry.mjd), func.max(Photometry.mjd)).where(
            Photometry.object_id == ident, Photometry.origin == FORCED
        )
    ).one()
    return {
        "is_followed": followed is not None,
        "is_complete": followed is not None and followed.is_complete,
        "n_points": count,
        "first_mjd": first,
        "last_mjd": last,
    }


def _mjd(time: datetime) -> float:
    return time.timestamp() / 86_400.0 + 40_587.0
