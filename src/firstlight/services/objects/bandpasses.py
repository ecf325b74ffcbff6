"""Filters that photometry may name: where they lie in the spectrum, and their Vega offsets."""

from __future__ import annotations

import csv
import difflib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.resources import files

from firstlight.algorithms.photometry.photometric_systems import st_offset
from firstlight.errors import UserError
from firstlight.services.objects.photometry_settings import FilterSettings

__all__ = [
    "SYSTEMS",
    "Bandpass",
    "Bandpasses",
    "FilterUnknown",
    "SystemUnknown",
]

_TABLE = "bandpasses.csv"
SYSTEMS = ("ab", "vega", "bd17", "st")
"""Magnitude systems; each by the flux of a source of magnitude zero."""
_SAME_SYSTEM = {"vegahst": "vega"}


class FilterUnknown(UserError):
    """There is no such filter."""

    code = "photometry.filter_unknown"


class SystemUnknown(UserError):
    """There is no such magnitude system, or the filter has no zero point in it."""

    code = "photometry.system_unknown"


@dataclass(frozen=True)
class Bandpass:
    """One filter.

    Attributes
    ----------
    wavelength
        Effective wavelength, Angstrom.
    offsets
        AB minus magnitude by system; systems in which it has no zero point are absent.
    colour
        For drawing, ``#rrggbb``.
    """

    name: str
    wavelength: float
    offsets: Mapping[str, float] = field(default_factory=dict)
    colour: str = ""


class Bandpasses(Mapping[str, Bandpass]):
    """All filters by name: those of sncosmo and speclite, and those of the settings.

    Parameters
    ----------
    own
        Filters of the settings.

    Notes
    -----
    The numbers are made once by ``tools/make_filter_table.py``, so neither library is needed.
    The table is read when a filter is first asked for.
    """

    def __init__(self, own: Mapping[str, FilterSettings] | None = None) -> None:
        self._own = dict(own or {})

    def __getitem__(self, name: str) -> Bandpass:
        try:
            return self._all[name]
        except KeyError:
            raise self.unknown(name) from None

    def __contains__(self, name: object) -> bool:
        return name in self._all

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def unknown(self, name: str, subject: str | None = None) -> FilterUnknown:
        """The error for a filter that there is not, naming those of like names."""
        near = self.near(name)
        return FilterUnknown(
            subject=subject,
            field="filter",
            found=repr(name[:100]),
            expected="a filter of sncosmo or speclite, or one of [photometry.filters]",
            hint=f"did you mean {', '.join(near)}?" if near else None,
        )

    def near(self, name: str, count: int = 4) -> list[str]:
        """Names that are like one, the likest first, whatever their case."""
        asked = name.lower()[:100]
        found = [each for each in self if each.lower() == asked]
        plain = {each.lower(): each for each in self}
        close = difflib.get_close_matches(asked, plain, n=count, cutoff=0.5)
        # "g" is like none by its letters, but it ends the names of its kind.
        ends = sorted(
            (each for each in self if len(asked) <= 2 and each.lower().endswith(asked)), key=len
        )
        return list(dict.fromkeys([*found, *(plain[each] for each in close), *ends]))[:count]

    def offset(self, name: str | None, system: str) -> float | None:
        """AB minus magnitude in a system; None where it is not known.

        Raises
        ------
        SystemUnknown
            There is no such system.
        """
        known = self.system(system)
        if known == "ab":
            return 0.0
        band = self._all.get(name) if name is not None else None
        return None if band is None else band.offsets.get(known)

    def system(self, name: str, subject: str | None = None) -> str:
        """The name of a magnitude system as it is kept.

        Raises
        ------
        SystemUnknown
            There is no such system.
        """
        known = _SAME_SYSTEM.get(name.lower(), name.lower())
        if known not in SYSTEMS:
            raise SystemUnknown(
                subject=subject,
                field="magsys",
                found=repr(name[:50]),
                expected=", ".join(SYSTEMS),
            )
        return known

    def describe(self, names: Iterable[str] | None = None) -> list[dict[str, object]]:
        """Name, wavelength, Vega offset and colour of filters, from blue to red."""
        wanted = self._all.values() if names is None else [self[name] for name in names]
        return [
            {
                "name": band.name,
                "wavelength": band.wavelength,
                "vega": band.offsets.get("vega"),
                "colour": band.colour,
            }
            for band in sorted(wanted, key=lambda band: (band.wavelength, band.name))
        ]

    @cached_property
    def _all(self) -> dict[str, Bandpass]:
        found = dict(_shipped())
        for name, given in self._own.items():
            offsets = {} if given.vega is None else {"vega": given.vega}
            colour = given.colour or _drawn(given.wavelength)
            found[name] = Bandpass(name, given.wavelength, offsets, colour)
        return found


@cache
def _shipped() -> Mapping[str, Bandpass]:
    """The filters of the package's table."""
    text = files("firstlight.services.objects").joinpath(_TABLE).read_text("ascii")
    found = {}
    for row in csv.DictReader(text.splitlines()):
        offsets = {name: float(row[name]) for name in ("vega", "bd17") if row[name]}
        offsets["st"] = st_offset(float(row["pivot"]))
        wavelength = float(row["wavelength"])
        found[row["name"]] = Bandpass(row["name"], wavelength, offsets, _drawn(wavelength))
    return found


# Colours that a light and a dark page both show, by wavelength in Angstrom.
_PALETTE = (
    (2500, (0x94, 0x3F, 0xC9)), (3700, (0x7B, 0x4F, 0xD9)), (4400, (0x3F, 0x6F, 0xE0)),
    (4800, (0x1F, 0x9E, 0x89)), (5500, (0x3F, 0xA3, 0x34)), (6300, (0xE0, 0x5A, 0x2B)),
    (7500, (0xC2, 0x2F, 0x3F)), (9000, (0x9C, 0x3A, 0x6E)), (12500, (0x8A, 0x5A, 0x44)),
    (22000, (0x7A, 0x70, 0x66)),
)  # fmt: skip


def _drawn(wavelength: float) -> str:
    """A colour between the two nearest of the palette."""
    if wavelength <= _PALETTE[0][0]:
        return _hexadecimal(_PALETTE[0][1])
    for (low, one), (high, other) in itertools.pairwise(_PALETTE):
        if wavelength <= high:
            share = (wavelength - low) / (high - low)
            return _hexadecimal(
                tuple(round(a + share * (b - a)) for a, b in zip(one, other, strict=True))
            )
    return _hexadecimal(_PALETTE[-1][1])


def _hexadecimal(colour: tuple[int, ...]) -> str:
    return "#" + "".join(f"{each:02x}" for each in colour)
