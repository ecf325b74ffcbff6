"""Fluxes at given places of a difference, from its maps of score and error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.subtraction.interpolation import lagrange_taps
from firstlight.algorithms.subtraction.response import PhaseResponse

__all__ = ["ForcedFluxes", "Pixels", "forced_fluxes"]

Floats = NDArray[np.float64]
_NEAR = 1  # pixels on each side whose flags count


class Pixels(Protocol):
    """A plane of which single pixels are read; an array is one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """``(ny, nx)``."""

    def __getitem__(self, index: Any, /) -> NDArray[Any]:
        """The pixels that an index of numpy names."""


@dataclass(frozen=True)
class ForcedFluxes:
    """Of point sources at places; each ``(n,)``.

    Attributes
    ----------
    flux, error
        In the unit of the error map; NaN where nothing is known.
    flags
        All bits of the nine pixels around.
    """

    flux: Floats
    error: Floats
    flags: NDArray[np.uint16]


def forced_fluxes(
    score: Pixels,
    flux_error: Pixels,
    flags: Pixels,
    x: Floats,
    y: Floats,
    phases: PhaseResponse | None = None,
) -> ForcedFluxes:
    """Measure point sources at places of a difference.

    Parameters
    ----------
    score, flux_error
        Of a point source at each pixel: its flux is their product. Where nothing is known the
        error is infinite.
    flags
        uint16.
    x, y
        Pixels, ``(n,)``.
    phases
        Of the difference, as in `Subtraction.phases`.

    Notes
    -----
    Flux and error between the pixels are those of the polynomial through the six nearest columns
    and rows, as in `Subtraction.flux_at`; beside pixels without a value, those of the nearest.
    """
    ny, nx = score.shape
    flux, error = np.full(len(x), np.nan), np.full(len(x), np.nan)
    bits = np.zeros(len(x), np.uint16)
    inside = np.flatnonzero((x > -0.5) & (x < nx - 0.5) & (y > -0.5) & (y < ny - 0.5))
    if not len(inside):
        return ForcedFluxes(flux, error, bits)
    x, y = x[inside], y[inside]
    columns, across = lagrange_taps(x, nx)
    rows, along = lagrange_taps(y, ny)
    index = rows[:, :, None], columns[:, None, :]
    errors = flux_error[index].astype(np.float64)
    known = np.isfinite(errors)
    errors = np.where(known, errors, 0.0)
    fluxes = score[index].astype(np.float64) * errors
    whole = known.all(axis=(1, 2))
    column, row = np.rint(x).astype(int), np.rint(y).astype(int)
    middle = flux_error[row, column].astype(np.float64)
    with np.errstate(invalid="ignore"):
        at_middle = score[row, column].astype(np.float64) * middle
    weights = along[:, :, None] * across[:, None, :]
    flux[inside] = np.where(whole, (fluxes * weights).sum(axis=(1, 2)), at_middle)
    error[inside] = np.where(whole, (errors * weights).sum(axis=(1, 2)), middle)
    if phases is not None:
        flux[inside], error[inside] = phases.corrected(flux[inside], error[inside], x, y)
    unknown = ~np.isfinite(error) | ~np.isfinite(flux) | ~(error > 0)
    flux[unknown] = error[unknown] = np.nan
    steps = np.arange(-_NEAR, _NEAR + 1)
    around = (
        np.clip(row[:, None, None] + steps[:, None], 0, ny - 1),
        np.clip(column[:, None, None] + steps, 0, nx - 1),
    )
    bits[inside] = np.bitwise_or.reduce(flags[around].reshape(len(x), -1), axis=1)
    return ForcedFluxes(flux, error, bits)
