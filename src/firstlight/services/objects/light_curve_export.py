"""A whole light curve in columns: Arrow, Parquet, CSV or JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from firstlight.algorithms.light_curves.thinning import thinned
from firstlight.errors import InvalidInput
from firstlight.formats.arrow_stream import write_arrow
from firstlight.formats.tables import write_csv, write_table
from firstlight.models.database import Database
from firstlight.models.instrument_record import InstrumentRecord
from firstlight.models.photometry import Photometry
from firstlight.services.access import Viewer
from firstlight.services.objects.bandpasses import Bandpasses
from firstlight.services.objects.light_curve_plot import seen_points
from firstlight.services.objects.photometry_settings import PhotometrySettings
from firstlight.services.objects.photometry_values import Magnitudes, Series
from firstlight.services.objects.point_columns import read_columns
from firstlight.services.objects.visible_objects import visible_object

__all__ = ["FORMATS", "ExportedLightCurve", "LightCurveColumns", "LightCurveExport"]

Columns = dict[str, NDArray[Any]]

FORMATS = {
    "arrow": ("application/vnd.apache.arrow.stream", "arrows"),
    "parquet": ("application/vnd.apache.parquet", "parquet"),
    "csv": ("text/csv; charset=utf-8", "csv"),
    "json": ("application/json", "json"),
}
"""Media type and ending of each format."""
UNITS = {
    "mjd": "d", "bjd_tdb": "d", "flux": "uJy", "flux_err": "uJy", "mag": "mag", "mag_err": "mag",
    "limiting_mag": "mag",
}  # fmt: skip
_NUMBERS = (
    "mjd", "bjd_tdb", "flux_ujy", "flux_err_ujy", "mag", "mag_err", "limiting_mag", "rel_flux",
    "rel_flux_err", "airmass",
)  # fmt: skip
_SERIES = ("filter", "instrument_id", "origin", "mag_system")
_READ = ("id", "flags", *_SERIES, *_NUMBERS)
# Digits that tell all there is: a tenth of a millisecond, a hundredth of a millimagnitude.
_DECIMALS = {"mjd": 9, "bjd_tdb": 9, "mag": 5, "mag_err": 5, "limiting_mag": 4, "airmass": 4}
_DIGITS = 8


@dataclass(frozen=True)
class ExportedLightCurve:
    """A file: its bytes, what they are, and a name for it."""

    body: bytes
    media_type: str
    filename: str


@dataclass(frozen=True)
class LightCurveColumns:
    """Points in order of time; columns of shape ``(n,)``, NaN or "" where there is no value.

    Attributes
    ----------
    columns
        ``id``, ``mjd``, ``bjd_tdb``, ``filter``, ``instrument``, ``origin``, ``flux`` and
        ``flux_err`` (microjansky, AB), ``mag``, ``mag_err``, ``limiting_mag`` in ``magsys``,
        ``rel_flux``, ``rel_flux_err``, ``airmass``, ``flags``.
    total
        Points that there are; more than in the columns where these were thinned.
    """

    name: str
    ra: float
    dec: float
    system: str
    columns: Columns
    total: int

    def as_dict(self) -> dict[str, Any]:
        """JSON values: columns as lists, texts as numbers into ``names``."""
        columns: dict[str, Any] = {}
        names: dict[str, list[str]] = {}
        for name, values in self.columns.items():
            if values.dtype.kind == "O":
                known, codes = np.unique(values.astype(str), return_inverse=True)
                names[name] = known.tolist()
                columns[name] = codes.tolist()
            elif values.dtype.kind != "f":
                columns[name] = values.tolist()
            elif np.isfinite(values).any():
                rounded = _rounded(name, values)
                columns[name] = rounded.tolist()
        return {
            "object": self.name,
            "ra": self.ra,
            "dec": self.dec,
            "magsys": self.system,
            "points": len(self.columns["id"]),
            "total": self.total,
            "units": UNITS,
            "names": names,
            "columns": columns,
        }


class LightCurveExport:
    """Gives the points of an object that somebody sees; of light-curve sets the current ones.

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

    def columns(
        self, viewer: Viewer, name: str, *, system: str = "ab", points: int | None = None
    ) -> LightCurveColumns:
        """The light curve.

        Parameters
        ----------
        system
            Of the magnitudes; those of filters without a zero point in it are AB (see
            ``magsys``).
        points
            About so many at most, chosen so that it looks the same; None for all.

        Raises
        ------
        ObjectMissing
            There is no such object.
        SystemUnknown
            There is no such magnitude system.
        InvalidInput
            `points` is not positive.
        """
        if points is not None and points < 1:
            raise InvalidInput(field="points", found=points, expected="a number above zero")
        with self._database.reading() as session:
            star = visible_object(session, viewer, name)
            read = read_columns(
                session,
                seen_points(session, viewer, star)
                .with_only_columns(*(getattr(Photometry, each) for each in _READ))
                .order_by(Photometry.mjd, Photometry.id),
            )
            instruments = _instruments(session)
        columns = self._columns(dict(zip(_READ, read, strict=True)), instruments, system)
        total = len(columns["id"])
        if points is not None:
            _, series = np.unique(columns["filter"].astype(str), return_inverse=True)
            shown = np.where(np.isfinite(columns["flux"]), columns["flux"], columns["rel_flux"])
            some = thinned(columns["mjd"], shown, series, points)
            columns = {name: values[some] for name, values in columns.items()}
        return LightCurveColumns(star.name, star.ra, star.dec, system.lower(), columns, total)

    def file(
        self,
        viewer: Viewer,
        name: str,
        kind: str,
        *,
        system: str = "ab",
        points: int | None = None,
    ) -> ExportedLightCurve:
        """The light curve as Arrow, Parquet or CSV; see `columns`.

        Raises
        ------
        InvalidInput
            There is no such format.
        """
        if kind not in FORMATS or kind == "json":
            known = ", ".join(FORMATS)
            raise InvalidInput(field="format", found=repr(kind)[:50], expected=known)
        found = self.columns(viewer, name, system=system, points=points)
        told = {
            "object": found.name,
            "ra": found.ra,
            "dec": found.dec,
            "magsys": found.system,
            "total": found.total,
        }
        if kind == "arrow":
            body = write_arrow(found.columns, units=UNITS, metadata=told)
        elif kind == "parquet":
            body = write_table(found.columns, units=UNITS, metadata=told)
        else:
            body = write_csv(found.columns, units=UNITS, metadata=told)
        media_type, ending = FORMATS[kind]
        return ExportedLightCurve(body, media_type, f"{found.name}_light_curve.{ending}")

    def _columns(
        self, read: Mapping[str, list[Any]], instruments: Mapping[int | None, str], system: str
    ) -> Columns:
        numbers = {name: np.array(read[name], float) for name in _NUMBERS}
        # Few series have many points: what belongs to a series is looked up once.
        known: dict[tuple[Any, ...], int] = {}
        keys = zip(*(read[name] for name in _SERIES), strict=True)
        code = np.array([known.setdefault(key, len(known)) for key in keys], np.int64)
        bands, cameras, origins, systems = zip(*known, strict=True) if known else ((),) * 4
        series = Series(bands, systems, code)
        found = Magnitudes.of(numbers, series, self._bandpasses, system)
        return {
            "id": np.array(read["id"], np.int64),
            "mjd": numbers["mjd"],
            "bjd_tdb": numbers["bjd_tdb"],
            "filter": _texts(bands, code),
            "instrument": _texts(map(instruments.get, cameras), code),
            "origin": _texts(origins, code),
            "flux": numbers["flux_ujy"],
            "flux_err": numbers["flux_err_ujy"],
            "mag": found.mag,
            "mag_err": found.mag_err,
            "limiting_mag": found.limit,
            "magsys": _texts(series.told_in(self._bandpasses, system), code),
            "rel_flux": numbers["rel_flux"],
            "rel_flux_err": numbers["rel_flux_err"],
            "airmass": numbers["airmass"],
            "flags": np.array(read["flags"], np.int64),
        }


def _instruments(session: Session) -> dict[int | None, str]:
    rows = session.execute(select(InstrumentRecord.id, InstrumentRecord.name))
    return {row.id: row.name for row in rows}


def _texts(values: Iterable[str | None], code: NDArray[np.int64]) -> NDArray[Any]:
    return np.array([each or "" for each in values], object)[code]


def _rounded(name: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """As many digits as mean something, so that JSON is short."""
    if name in _DECIMALS:
        return np.round(values, _DECIMALS[name])
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = 10.0 ** (_DIGITS - 1 - np.floor(np.log10(np.abs(values))))
    return np.where(np.isfinite(scale) & (values != 0), np.round(values * scale) / scale, values)
