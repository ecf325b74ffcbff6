"""A light curve as a page draws it: its columns, packed so that 50,000 points come at once."""

from __future__ import annotations

import gzip
import json
import uuid
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Select, case, func, or_, select
from sqlalchemy.orm import Session

from firstlight.algorithms.photometry.magnitudes import AB_ZERO_POINT_UJY
from firstlight.models.database import Database
from firstlight.models.instrument_record import InstrumentRecord
from firstlight.models.object import Object
from firstlight.models.photometry import Photometry
from firstlight.services.access import Viewer
from firstlight.services.objects.current_points import current_sets
from firstlight.services.objects.visible_objects import visible_object
from firstlight.services.visibility import seen_by

__all__ = ["Curve", "LightCurvePlots", "seen_points"]

Floats = NDArray[np.float64]

_KEPT_CURVES = 16
_NUMBERS = ("mjd", "flux", "flux_err", "rel", "rel_err", "mag", "mag_err", "limit", "bjd")


@dataclass(frozen=True, slots=True)
class Curve:
    """The points of a light curve that somebody may see, by time.

    Attributes
    ----------
    ids
        ``(n,)``, numbers of the points.
    numbers
        Each ``(n,)``, NaN where there is none: ``mjd``, ``bjd`` (TDB), ``flux`` and
        ``flux_err`` in µJy, ``mag`` and ``mag_err`` (AB, where there is a flux), ``rel`` and
        ``rel_err`` (relative to the star's mean), ``limit`` (AB).
    series
        ``(n,)``, index into `names`.
    names
        Of each series: ``filter``, ``instrument``, ``origin``, ``system``.
    pictured
        ``(n,)``, whether there is an image of the point.
    """

    ids: NDArray[np.int64]
    numbers: dict[str, Floats]
    series: NDArray[np.uint16]
    names: list[dict[str, str]]
    pictured: NDArray[np.bool_]

    def packed(self) -> bytes:
        """The columns in one piece, gzip'ed.

        ``FLC1``, the length of a JSON head (uint32), the head, then little-endian columns: each
        with the first bytes of all values, then the second ones, and so on, which packs better.
        The head tells of each column its name, type and number of values. Columns without any
        value are left out.
        """
        columns: list[tuple[str, str, NDArray[Any]]] = []
        for name, values in self.numbers.items():
            if np.isfinite(values).any():
                kind = "<f8" if name in {"mjd", "bjd"} else "<f4"
                columns.append((name, kind, values.astype(kind)))
        columns.append(("id", "<f8", self.ids.astype("<f8")))
        columns.append(("series", "<u2", self.series.astype("<u2")))
        columns.append(("pictured", "<u1", self.pictured.astype("<u1")))
        head = {
            "n": len(self.ids),
            "series": self.names,
            "columns": [{"name": name, "type": kind} for name, kind, _ in columns],
        }
        text = json.dumps(head).encode()
        parts = [b"FLC1", len(text).to_bytes(4, "little"), text]
        for _, _, values in columns:
            width = values.dtype.itemsize
            raw = np.frombuffer(values.tobytes(), np.uint8).reshape(-1, width)
            parts.append(np.ascontiguousarray(raw.T).tobytes())
        return gzip.compress(b"".join(parts), 4, mtime=0)


class LightCurvePlots:
    """Gives pages the light curves they draw, and keeps the latest few.

    Parameters
    ----------
    database
        The tables.
    """

    def __init__(self, *, database: Database) -> None:
        self._database = database
        self._kept: OrderedDict[tuple[Any, ...], tuple[Curve, bytes]] = OrderedDict()
        self._lock = Lock()

    def curve(self, viewer: Viewer, name: str) -> Curve:
        """The points of an object that the viewer may see.

        Raises
        ------
        ObjectMissing
            There is no such object, or none that the viewer may see.
        """
        return self._found(viewer, name)[0]

    def packed(self, viewer: Viewer, name: str) -> bytes:
        """The same as `Curve.packed`."""
        return self._found(viewer, name)[1]

    def _found(self, viewer: Viewer, name: str) -> tuple[Curve, bytes]:
        with self._database.reading() as session:
            star = visible_object(session, viewer, name)
            points = seen_points(session, viewer, star)
            version = session.execute(
                points.with_only_columns(
                    func.count(), func.max(Photometry.id), func.max(Photometry.modified_at)
                )
            ).one()
            # Whoever sees as many points, with the same last one, of the same audiences.
            audiences = tuple(
                session.scalars(points.with_only_columns(Photometry.audience_id).distinct())
            )
            key = (star.id, *version, *sorted(audiences))
            with self._lock:
                if key in self._kept:
                    self._kept.move_to_end(key)
                    return self._kept[key]
            curve = _read(session, points)
        found = curve, curve.packed()
        with self._lock:
            self._kept[key] = found
            while len(self._kept) > _KEPT_CURVES:
                self._kept.popitem(last=False)
        return found


def seen_points(session: Session, viewer: Viewer, star: Object) -> Select[Any]:
    """A query for the points of an object's light curve that a viewer may see.

    Of the sets of light curves only the current ones count.
    """
    sets = current_sets(session, [star.id]).get(star.id, set())
    return select(Photometry).where(
        Photometry.object_id == star.id,
        seen_by(viewer, Photometry.audience_id),
        _current(sets),
    )


def _current(sets: set[uuid.UUID]) -> ColumnElement[bool]:
    without: ColumnElement[bool] = Photometry.set_id.is_(None)
    return or_(without, Photometry.set_id.in_(sets)) if sets else without


def _read(session: Session, points: Select[Any]) -> Curve:
    # A point of an uploaded image is in one series with those of the camera's nightly reduction.
    origin = case((Photometry.image_analysis_id.is_not(None), ""), else_=Photometry.origin)
    has_image = or_(Photometry.image_id.is_not(None), Photometry.image_analysis_id.is_not(None))
    rows = session.execute(
        points.with_only_columns(
            Photometry.id,
            Photometry.mjd,
            Photometry.flux_ujy,
            Photometry.flux_err_ujy,
            Photometry.rel_flux,
            Photometry.rel_flux_err,
            Photometry.mag,
            Photometry.mag_err,
            Photometry.limiting_mag,
            Photometry.bjd_tdb,
            Photometry.filter,
            Photometry.instrument_id,
            origin,
            Photometry.mag_system,
            case((has_image, 1), else_=0),
        ).order_by(Photometry.mjd, Photometry.id)
    ).all()
    if not rows:
        return Curve(np.empty(0, np.int64), {}, np.empty(0, np.uint16), [], np.empty(0, bool))
    columns = list(zip(*rows, strict=True))
    numbers = dict(zip(_NUMBERS, (_floats(each) for each in columns[1:10]), strict=True))
    known: dict[tuple[Any, ...], int] = {}
    series = [known.setdefault(key, len(known)) for key in zip(*columns[10:14], strict=True)]
    _put_magnitudes_on_one_scale(numbers)
    return Curve(
        ids=np.array(columns[0], np.int64),
        numbers=numbers,
        series=np.array(series, np.uint16),
        names=_named(session, list(known)),
        pictured=np.array(columns[14], np.bool_),
    )


def _put_magnitudes_on_one_scale(numbers: dict[str, Floats]) -> None:
    """AB magnitudes where there is a flux: those stored may be of another system."""
    flux, error = numbers["flux"], numbers["flux_err"]
    bright = np.isfinite(flux) & (flux > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        numbers["mag"] = np.where(bright, AB_ZERO_POINT_UJY - 2.5 * np.log10(flux), numbers["mag"])
        numbers["mag_err"] = np.where(bright, 2.5 / np.log(10.0) * error / flux, numbers["mag_err"])


def _named(session: Session, keys: Sequence[tuple[Any, ...]]) -> list[dict[str, str]]:
    numbers = {each[1] for each in keys if each[1] is not None}
    rows = session.execute(
        select(InstrumentRecord.id, InstrumentRecord.name).where(InstrumentRecord.id.in_(numbers))
    )
    instruments = {row.id: row.name for row in rows}
    return [
        {
            "filter": band or "",
            "instrument": instruments.get(instrument, ""),
            "origin": origin or "",
            "system": system or "",
        }
        for band, instrument, origin, system in keys
    ]


def _floats(column: Sequence[float | None]) -> Floats:
    return np.array(column, dtype=np.float64)
