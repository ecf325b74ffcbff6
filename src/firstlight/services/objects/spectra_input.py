"""Spectra as they are sent: checked, and turned into the columns of a row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from firstlight.errors import InvalidInput
from firstlight.models.account import User
from firstlight.models.instrument_record import InstrumentRecord
from firstlight.models.spectrum import Spectrum
from firstlight.services.objects.wire_values import (
    LARGEST_ID,
    moment,
    optional_text,
    plain_json,
)

__all__ = ["SPECTRUM_TYPES", "SPECTRUM_UNITS", "apply_to_spectrum", "as_array", "packed"]

Floats = NDArray[np.float64]

SPECTRUM_TYPES = ("source", "host", "host_center")
SPECTRUM_UNITS = ("Jy", "AB", "erg/s/cm/cm/AA")
_MOST_POINTS = 200_000
_MOST_PEOPLE = 100
_ARRAYS = ("wavelengths", "fluxes", "errors")
_TEXTS = {"label": 256, "origin": 128, "original_filename": 256}
_PEOPLE = {"pi": "pis", "reduced_by": "reducers", "observed_by": "observers"}
_OUTSIDERS = {
    "external_pi": "pi",
    "external_reducer": "reduced_by",
    "external_observer": "observed_by",
}
_FOLLOW_UP = ("followup_request_id", "assignment_id")
_STORED = np.dtype("<f8")


def apply_to_spectrum(session: Session, row: Spectrum, given: Mapping[str, Any]) -> None:
    """Set what is given on a spectrum, new or old. Object and audience are set by the caller.

    Raises
    ------
    InvalidInput
        Wavelengths are not positive and in order, an array is of another length or holds what
        is no number, or a word is not known.
    """
    for key in _FOLLOW_UP:
        if given.get(key) is not None:
            raise InvalidInput("there are no follow-up requests here", field=key, expected="none")
    if given.get("instrument_id") is not None:
        row.instrument_id = _instrument(session, given["instrument_id"])
    if given.get("observed_at") is not None:
        row.observed_at = moment(given["observed_at"], "observed_at")
    if any(given.get(key) is not None for key in _ARRAYS):
        _apply_arrays(row, given)
    if given.get("type") is not None:
        row.type = _one_of(given["type"], "type", SPECTRUM_TYPES)
    if given.get("units") is not None:
        row.units = _one_of(given["units"], "units", SPECTRUM_UNITS)
    for key, longest in _TEXTS.items():
        if given.get(key) is not None:
            setattr(row, key, optional_text(given[key], key, longest=longest))
    if given.get("altdata") is not None:
        row.altdata = plain_json(given["altdata"], "altdata")
    if given.get("original_text") is not None:
        row.original_text = optional_text(given["original_text"], "ascii", longest=10_000_000)
    row.people = _people(session, row.people or {}, given)


def packed(values: Floats) -> bytes:
    """An array as it is stored."""
    return values.astype(_STORED).tobytes()


def as_array(stored: bytes) -> Floats:
    """A stored array, shape ``(n,)``."""
    return np.frombuffer(stored, dtype=_STORED)


def _apply_arrays(row: Spectrum, given: Mapping[str, Any]) -> None:
    old: dict[str, bytes | None] = {
        "wavelengths": row.wavelengths,
        "fluxes": row.fluxes,
        "errors": row.errors,
    }
    arrays = {
        key: _kept(old[key]) if given.get(key) is None else _checked(given[key], key)
        for key in _ARRAYS
    }
    waves, fluxes, errors = (arrays[key] for key in _ARRAYS)
    if waves is None or fluxes is None:
        raise InvalidInput(field="wavelengths, fluxes", found="none", expected="both")
    for key, values in (("fluxes", fluxes), ("errors", errors)):
        if values is not None and values.size != waves.size:
            raise InvalidInput(
                "the arrays are not of one length",
                field=key,
                found=values.size,
                expected=waves.size,
            )
    steps = np.diff(waves)
    if not (waves > 0).all() or not ((steps > 0).all() or (steps < 0).all()):
        raise InvalidInput(
            "wavelengths are positive and in order, each once",
            field="wavelengths",
            hint="sort them, and merge the orders of an echelle spectrum",
        )
    if errors is not None and (errors < 0).any():
        raise InvalidInput(field="errors", found=float(errors.min()), expected="none below 0")
    row.wavelengths, row.fluxes = packed(waves), packed(fluxes)
    row.errors = None if errors is None else packed(errors)


def _kept(stored: bytes | None) -> Floats | None:
    return None if stored is None else as_array(stored)


def _checked(values: object, field: str) -> Floats:
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as fault:
        raise InvalidInput(
            "this is not a list of numbers", field=field, found=str(fault)[:100]
        ) from fault
    if found.ndim != 1 or not 1 <= found.size <= _MOST_POINTS:
        raise InvalidInput(
            field=field, found=f"shape {found.shape}", expected=f"1 to {_MOST_POINTS} numbers"
        )
    if not np.isfinite(found).all():
        where = int(np.flatnonzero(~np.isfinite(found))[0])
        raise InvalidInput(
            "a number is missing or infinite",
            field=field,
            found=f"the {where + 1}th of {found.size}",
            hint="leave those wavelengths out",
        )
    return found


def _instrument(session: Session, number: int) -> int:
    known = 0 < number <= LARGEST_ID and session.get(InstrumentRecord, number) is not None
    if not known:
        raise InvalidInput("there is no such instrument", field="instrument_id", found=number)
    return number


def _one_of(value: object, field: str, known: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in known:
        raise InvalidInput(field=field, found=repr(value)[:100], expected=", ".join(known))
    return value


def _people(session: Session, old: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(old)
    for key, role in _PEOPLE.items():
        if given.get(key) is not None:
            found[role] = _users(session, given[key], key)
    for key, role in _OUTSIDERS.items():
        if given.get(key) is not None:
            name = optional_text(given[key], key, longest=256)
            if name is not None and not found.get(_PEOPLE[role]):
                raise InvalidInput(
                    "somebody from outside needs somebody here to answer for them",
                    field=key,
                    expected=f"numbers of users in {role}",
                )
            found[key] = name
    return found


def _users(session: Session, numbers: object, field: str) -> list[int]:
    wanted = numbers if isinstance(numbers, list) else []
    if len(wanted) > _MOST_PEOPLE or not all(0 < each <= LARGEST_ID for each in wanted):
        raise InvalidInput(field=field, found=repr(numbers)[:100], expected="numbers of users")
    known = set(session.scalars(select(User.id).where(User.id.in_(wanted))))
    unknown = sorted(set(wanted) - known)
    if unknown:
        raise InvalidInput("there are no such users", field=field, found=unknown[:20])
    return list(wanted)
