"""The photometry of an object as an analysis service gets it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from firstlight.algorithms.photometry.magnitudes import AB_ZERO_POINT_UJY
from firstlight.models.instrument_record import InstrumentRecord
from firstlight.models.object import Object
from firstlight.models.photometry import Photometry
from firstlight.services.access import Viewer
from firstlight.services.analyses.analysis_inputs_filters import InputFilters
from firstlight.services.analyses.analysis_inputs_table import InputTable
from firstlight.services.objects.bandpasses import Bandpasses
from firstlight.services.objects.light_curve_plot import seen_points
from firstlight.services.objects.photometry_values import Magnitudes, Series
from firstlight.services.objects.point_columns import read_columns

__all__ = ["photometry_table"]

Floats = NDArray[np.float64]

_NUMBERS = (
    "mjd", "flux_ujy", "flux_err_ujy", "mag", "mag_err", "limiting_mag", "rel_flux",
    "rel_flux_err", "bjd_tdb", "airmass",
)  # fmt: skip
_TEXTS = ("filter", "mag_system", "origin")
_COLUMNS = ("id", "instrument_id", *_TEXTS, *_NUMBERS)
_UNITS = {
    "mjd": "d", "flux": "uJy", "fluxerr": "uJy", "mag": "mag", "magerr": "mag",
    "limiting_mag": "mag", "zp": "mag", "predicted_mag": "mag", "bjd_tdb": "d",
}  # fmt: skip


def photometry_table(
    session: Session,
    viewer: Viewer,
    thing: Object,
    filters: InputFilters,
    bandpasses: Bandpasses,
) -> InputTable:
    """The current points that a viewer may see, by time, in µJy and AB magnitudes.

    Of the points of one time and filter only the one with the smallest magnitude error is
    sent, as SkyPortal does; one without such an error gives way to one that has it.

    Besides SkyPortal's columns there are those of points measured here: ``rel_flux`` and its
    error (relative to the star's mean after the ensemble's solution), ``bjd_tdb``, ``airmass``.
    """
    read = dict(zip((*_COLUMNS, "predicted"), _read(session, viewer, thing, filters), strict=True))
    numbers = {name: np.array(read[name], dtype=np.float64) for name in _NUMBERS}
    found = Magnitudes.of(numbers, Series.of(read["filter"], read["mag_system"]), bandpasses, "ab")
    kept = _best(numbers, found.mag_err, _codes(read["filter"]), np.array(read["id"], np.int64))
    named = _instrument_names(session, read["instrument_id"])
    texts = {name: _taken(read[name], kept) for name in _TEXTS}
    texts["instrument_name"] = _taken([named.get(each) for each in read["instrument_id"]], kept)
    numbers = {name: values[kept] for name, values in numbers.items()}
    columns = {
        "mjd": numbers["mjd"].tolist(),
        "flux": _nullable(numbers["flux_ujy"]),
        "fluxerr": _nullable(numbers["flux_err_ujy"]),
        "mag": _nullable(found.mag[kept]),
        "magerr": _nullable(found.mag_err[kept]),
        "filter": texts["filter"],
        "magsys": ["ab"] * len(kept),
        "limiting_mag": _nullable(found.limit[kept]),
        "zp": [AB_ZERO_POINT_UJY] * len(kept),
        "instrument_name": texts["instrument_name"],
        "predicted_mag": _numbers_of(_taken(read["predicted"], kept)),
    }
    ids = _taken(read["id"], kept)
    return InputTable(
        ids, columns, _content(numbers, texts), _more(ids, numbers, texts["origin"]), _UNITS
    )


def _read(
    session: Session, viewer: Viewer, thing: Object, filters: InputFilters
) -> list[list[Any]]:
    query = seen_points(session, viewer, thing).where(*filters.conditions())
    return read_columns(
        session,
        query.with_only_columns(
            *(getattr(Photometry, name) for name in _COLUMNS),
            # Text, for PostgreSQL would refuse the whole query for one value that is no number.
            Photometry.altdata["predicted_mag"].as_string(),
        ).order_by(Photometry.mjd, Photometry.id),
    )


def _best(
    numbers: dict[str, Floats], mag_err: Floats, bands: NDArray[np.int64], ids: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Of each time and filter the point with the smallest error, in order of time."""
    errors = (mag_err, numbers["flux_err_ujy"], numbers["rel_flux_err"])
    ranks = [np.where(np.isfinite(each), each, np.inf) for each in errors]
    order = np.lexsort((ids, ranks[2], ranks[1], ranks[0], bands, numbers["mjd"]))
    times, chosen = numbers["mjd"][order], bands[order]
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = (times[1:] != times[:-1]) | (chosen[1:] != chosen[:-1])
    return order[first]


def _more(ids: list[int], numbers: dict[str, Floats], origins: list[Any]) -> dict[str, list[Any]]:
    """Columns that SkyPortal has not, where there is anything in them."""
    found: dict[str, list[Any]] = {"id": ids}
    if any(origins):
        found["origin"] = [each or None for each in origins]
    for name, column in (
        ("rel_flux", "rel_flux"),
        ("rel_fluxerr", "rel_flux_err"),
        ("bjd_tdb", "bjd_tdb"),
        ("airmass", "airmass"),
    ):
        if np.isfinite(numbers[column]).any():
            found[name] = _nullable(numbers[column])
    return found


def _content(numbers: dict[str, Floats], texts: dict[str, list[Any]]) -> bytes:
    """The points as they are stored: numbers derived from them may differ in the last digit."""
    named = {name: [each or "" for each in values] for name, values in texts.items()}
    codes = {name: _codes(values) for name, values in named.items()}
    # Minus zero and zero are one number, and so are all that are none.
    floats = {
        name: np.where(np.isfinite(values), values + 0.0, np.nan)
        for name, values in numbers.items()
    }
    keys = [*(codes[name] for name in sorted(codes)), *(floats[name] for name in _NUMBERS[::-1])]
    order = np.lexsort(keys)
    parts = [json.dumps({name: sorted(set(named[name])) for name in sorted(named)}).encode()]
    parts += [codes[name][order].astype("<i8").tobytes() for name in sorted(codes)]
    parts += [floats[name][order].astype("<f8").tobytes() for name in _NUMBERS]
    return b"\n".join(parts)


def _codes(values: Iterable[str | None]) -> NDArray[np.int64]:
    """Of each text its place among the different ones in alphabetical order."""
    listed = [each or "" for each in values]
    places = {text: index for index, text in enumerate(sorted(set(listed)))}
    return np.array([places[each] for each in listed], dtype=np.int64)


def _instrument_names(session: Session, numbers: Iterable[int | None]) -> dict[int | None, str]:
    wanted = set(numbers) - {None}
    rows = session.execute(
        select(InstrumentRecord.id, InstrumentRecord.name).where(InstrumentRecord.id.in_(wanted))
    )
    return {row.id: row.name for row in rows}


def _taken(values: Sequence[Any], kept: NDArray[np.int64]) -> list[Any]:
    return [values[index] for index in kept.tolist()]


def _nullable(values: Floats) -> list[float | None]:
    known = np.isfinite(values)
    listed: list[float | None] = values.tolist()
    for index in np.flatnonzero(~known).tolist():
        listed[index] = None
    return listed


def _numbers_of(values: Iterable[object]) -> list[float | None]:
    found: list[float | None] = []
    for each in values:
        try:
            number = float(each) if isinstance(each, int | float | str) else np.nan
        except ValueError:
            number = np.nan
        found.append(number if np.isfinite(number) else None)
    return found
