"""How a table made by others describes stars, and how to read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from firstlight.algorithms.sky.sky_index import angular_separation
from firstlight.catalogs.base import ReferenceStars
from firstlight.catalogs.epoch import error_at_epoch, move

__all__ = ["Cone", "StarLayout", "stars_in_cone"]

Floats = NDArray[np.float64]

# Catalogues write 99, -99 or -999 for "not measured".
BRIGHTEST, FAINTEST = -30.0, 50.0


@dataclass(frozen=True)
class Cone:
    """A question to a catalogue.

    Attributes
    ----------
    ra, dec, radius
        ICRS degrees.
    epoch
        Julian year of the wanted positions.
    faintest
        Magnitude, or ``None`` for all.
    """

    ra: float
    dec: float
    radius: float
    epoch: float = 2000.0
    faintest: float | None = None


class StarLayout(BaseModel):
    """Which columns hold what, in which units.

    Columns named ``None`` are not there. Positions are ICRS degrees at `reference_epoch`, or at
    the Julian year in the column `epoch`; proper motions are mas a year, `pmra` with the factor
    cos(dec); magnitudes are magnitudes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ra: str = "ra"
    """Column of right ascension, degrees."""
    dec: str = "dec"
    """Column of declination, degrees."""
    mag: str
    """Column of magnitudes."""
    mag_err: str | None = None
    """Column of their errors."""
    ra_err: str | None = None
    """Column of position errors in right ascension, in `error_unit`."""
    dec_err: str | None = None
    """Column of position errors in declination, in `error_unit`."""
    pmra: str | None = None
    """Column of proper motion in right ascension, with cos(dec), mas a year."""
    pmdec: str | None = None
    """Column of proper motion in declination, mas a year."""
    pmra_err: str | None = None
    """Column of the error of `pmra`, mas a year."""
    pmdec_err: str | None = None
    """Column of the error of `pmdec`, mas a year."""
    epoch: str | None = None
    """Column of the epoch of each position, Julian year."""
    colour: str | tuple[str, str] | None = Field(
        default=None, description="a column, or two to be subtracted (first minus second)"
    )
    reference_epoch: float = 2000.0
    """Epoch of all positions, Julian year, where there is no such column."""
    error_unit: Literal["mas", "arcsec"] = "mas"
    """Unit of the columns of position errors."""
    position_err: float = Field(
        default=0.1, gt=0.0, description="arcseconds, where the table has no error of its own"
    )
    band: str
    """Name of the band of `mag`."""
    system: str
    """Magnitude system: AB or Vega."""
    colour_name: str | None = None
    """What to call the colour; the names of its columns if not given."""

    def column_names(self) -> list[str]:
        """Every column that is read, once, in a fixed order."""
        colour = self.colour if isinstance(self.colour, tuple) else (self.colour,)
        wanted = [
            self.ra, self.dec, self.mag, self.mag_err, self.ra_err, self.dec_err, self.pmra,
            self.pmdec, self.pmra_err, self.pmdec_err, self.epoch, *colour,
        ]  # fmt: skip
        return list(dict.fromkeys(name for name in wanted if name is not None))


def stars_in_cone(columns: Mapping[str, Any], layout: StarLayout, cone: Cone) -> ReferenceStars:
    """Turn columns into reference stars at the epoch of a cone, cut to it, brightest first.

    Parameters
    ----------
    columns
        Arrays of shape ``(n,)``, masked or not, with all of the layout's columns. Rows without
        a position are left out.
    cone
        Stars without a magnitude come last, and not at all where a faintest is asked for.
    """
    read = _Reader(columns, layout)
    ra, dec, years = read.positions(cone.epoch)
    near = np.isfinite(ra) & np.isfinite(dec)
    near[near] = angular_separation(cone.ra, cone.dec, ra[near], dec[near]) <= cone.radius
    mag = read.magnitudes()
    if cone.faintest is not None:
        near &= mag <= cone.faintest
    rows = np.flatnonzero(near)
    # Equal magnitudes are ordered by place, so that the order of files does not matter.
    rows = rows[np.lexsort((dec[rows], ra[rows], mag[rows]))]
    colour = read.colours()
    return ReferenceStars(
        ra=ra[rows],
        dec=dec[rows],
        mag=mag[rows],
        mag_err=read.column(layout.mag_err)[rows],
        position_err=read.position_errors(years)[rows],
        band=layout.band,
        system=layout.system,
        colour=None if colour is None else colour[rows],
        colour_name=None if colour is None else layout.colour_name or _colour_name(layout),
    )


class _Reader:
    """The columns of one layout as plain float64 arrays, NaN where there is nothing."""

    def __init__(self, columns: Mapping[str, Any], layout: StarLayout) -> None:
        self._columns = columns
        self._layout = layout
        self._length = len(columns[layout.ra])

    def column(self, name: str | None) -> Floats:
        """One column; all NaN where the layout has none."""
        if name is None:
            return np.full(self._length, np.nan)
        values = np.ma.asarray(self._columns[name]).astype(np.float64)
        return np.asarray(np.ma.filled(values, np.nan))

    def positions(self, epoch: float) -> tuple[Floats, Floats, Floats]:
        """Positions at an epoch, and the years that each has been moved by."""
        layout = self._layout
        given = self.column(layout.epoch)
        years = epoch - np.where(np.isfinite(given), given, layout.reference_epoch)
        ra, dec = self.column(layout.ra), self.column(layout.dec)
        if layout.pmra is None or layout.pmdec is None:
            return np.mod(ra, 360.0), dec, years
        moved = move(ra, dec, self.column(layout.pmra), self.column(layout.pmdec), years)
        return *moved, years

    def magnitudes(self) -> Floats:
        """Magnitudes, NaN for the numbers that mean "none"."""
        mag = self.column(self._layout.mag)
        return np.where((mag > BRIGHTEST) & (mag < FAINTEST), mag, np.nan)

    def colours(self) -> Floats | None:
        """The colour index, ``None`` where the layout has none."""
        colour = self._layout.colour
        if colour is None:
            return None
        if isinstance(colour, str):
            values = self.column(colour)
        else:
            values = self.column(colour[0]) - self.column(colour[1])
        return np.where(np.abs(values) < FAINTEST, values, np.nan)

    def position_errors(self, years: Floats) -> Floats:
        """Arcseconds, grown by the years."""
        layout = self._layout
        unit = 1e-3 if layout.error_unit == "mas" else 1.0
        base = self._mean_error(layout.ra_err, layout.dec_err) * unit
        base = np.where(np.isfinite(base) & (base > 0.0), base, layout.position_err)
        known = np.isfinite(self.column(layout.pmra)) & np.isfinite(self.column(layout.pmdec))
        pm_err = self._mean_error(layout.pmra_err, layout.pmdec_err)
        return error_at_epoch(base, pm_err, known, years)

    def _mean_error(self, first: str | None, second: str | None) -> Floats:
        """One circular error from two axes: their root mean square."""
        a, b = self.column(first), self.column(second)
        a, b = np.where(np.isnan(a), b, a), np.where(np.isnan(b), a, b)
        return np.sqrt((a**2 + b**2) / 2.0)


def _colour_name(layout: StarLayout) -> str | None:
    return "-".join(layout.colour) if isinstance(layout.colour, tuple) else layout.colour
