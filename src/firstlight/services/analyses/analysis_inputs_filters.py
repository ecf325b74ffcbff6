"""Which part of an object's photometry a run is to have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement

from firstlight.errors import InvalidInput
from firstlight.models.photometry import Photometry
from firstlight.services.objects.wire_values import LARGEST_ID

__all__ = ["InputFilters"]

_MOST = 500


@dataclass(frozen=True, slots=True)
class InputFilters:
    """The choice of photometry of one run.

    Attributes
    ----------
    bands
        Names of filters; none for all.
    instruments
        Numbers of instruments; none for all.
    """

    bands: tuple[str, ...] = ()
    instruments: tuple[int, ...] = ()

    @classmethod
    def of(cls, given: object) -> InputFilters:
        """Read ``{"photometry": {"filters": [...], "instruments": [...]}}``; None for all.

        Raises
        ------
        InvalidInput
            There is something else in it.
        """
        inner = _part(given, "input_filters", {"photometry"}).get("photometry")
        part = _part(
            inner, "input_filters.photometry", {"filters", "instruments", "instruments_by_name"}
        )
        bands, instruments = part.get("filters") or [], part.get("instruments") or []
        if not isinstance(bands, list) or not all(isinstance(each, str) for each in bands):
            raise _wrong("input_filters.photometry.filters", bands, "a list of names of filters")
        if not isinstance(instruments, list) or not all(map(_is_number, instruments)):
            raise _wrong("input_filters.photometry.instruments", instruments, "a list of numbers")
        for name, found in (("filters", bands), ("instruments", instruments)):
            if len(found) > _MOST:
                raise _wrong(f"input_filters.photometry.{name}", len(found), f"at most {_MOST}")
        return cls(tuple(sorted(set(bands))), tuple(sorted(set(instruments))))

    @property
    def chooses(self) -> bool:
        """Whether it is a part only."""
        return bool(self.bands or self.instruments)

    def as_document(self) -> dict[str, Any]:
        """As it is kept with a run."""
        found = {"filters": list(self.bands), "instruments": list(self.instruments)}
        return {"photometry": {name: each for name, each in found.items() if each}}

    def conditions(self) -> list[ColumnElement[bool]]:
        """What a query on `Photometry` must have."""
        found: list[ColumnElement[bool]] = []
        if self.bands:
            found.append(Photometry.filter.in_(self.bands))
        if self.instruments:
            found.append(Photometry.instrument_id.in_(self.instruments))
        return found


def _part(given: object, field: str, known: set[str]) -> Mapping[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise _wrong(field, given, "an object")
    unknown = [str(each) for each in given if each not in known]
    if unknown:
        raise _wrong(field, unknown[0], ", ".join(sorted(known)))
    return given


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= LARGEST_ID


def _wrong(field: str, found: object, expected: str) -> InvalidInput:
    return InvalidInput(field=field, found=repr(found)[:100], expected=expected)
