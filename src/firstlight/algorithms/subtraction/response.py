"""What a map of fluxes reads where a point source is, for each electron of it.

A map is made for sources on the middles of pixels that look as those in the middle of a tile do.
One elsewhere in the tile has another shape; one between the pixels is read from the pixels around
it, which lose some of it, and where a pixel is more than half as wide as the star the sampled
star itself is another one at each part of a pixel (Anderson & King 2000, PASP 112, 1360). All of
this is known from the PSF and the filter, so it need not be left in the fluxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numba import njit
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from firstlight.algorithms.subtraction.interpolation import lagrange_taps

__all__ = [
    "REACH",
    "FluxResponse",
    "PhaseResponse",
    "SourceReader",
    "StarShapes",
    "mean_phases",
]

Floats = NDArray[np.float64]
Plane = NDArray[np.float32]

REACH = 3
"""Pixels from a place to the farthest one that a flux is read from."""

_PHASES = np.arange(-2, 3) / 5.0  # parts of a pixel
_MIDDLE = len(_PHASES) // 2
_NODES = 3  # a side of a tile: its ends and its middle
_STEP = 16  # pixels; between places so far apart what is read changes little


class StarShapes(Protocol):
    """What tells the PSF at any place, as `PsfModel` does."""

    def stamps(self, x: ArrayLike, y: ArrayLike, radius: int | None = None) -> Floats:
        """Stamps ``(n, 2 radius + 1, 2 radius + 1)``, each around the pixel nearest to it."""


@dataclass(frozen=True)
class PhaseResponse:
    """How a source's part of a pixel changes what is read of it.

    Attributes
    ----------
    light
        Flux that is read over its mean, at -0.4, -0.2, 0, 0.2 and 0.4 of a pixel, ``(5, 5)``,
        rows along y.
    noise
        One sigma of it over that of a flux read on the middle of a pixel, likewise.
    """

    light: Floats
    noise: Floats

    @classmethod
    def from_lists(cls, told: dict[str, list[list[float]]]) -> Self:
        """As `lists` gives it."""
        return cls(np.array(told["light"], np.float64), np.array(told["noise"], np.float64))

    def lists(self) -> dict[str, list[list[float]]]:
        """JSON values."""
        return {"light": self.light.round(6).tolist(), "noise": self.noise.round(6).tolist()}

    def at(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Light and noise at places, pixels ``(n,)``: both are periodic, and smooth."""
        across, along = _harmonics(x), _harmonics(y)
        inverse = np.linalg.inv(_harmonics(_PHASES))
        light, noise = (
            ((along @ (inverse @ each @ inverse.T)) * across).sum(axis=1)
            for each in (self.light, self.noise)
        )
        return light, noise

    def corrected(self, flux: Floats, error: Floats, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Flux and error read at places, pixels, as they would be without this; all ``(n,)``."""
        light, noise = self.at(x, y)
        return flux / light, error * (noise / light)


def _harmonics(place: Floats) -> Floats:
    """The five that five parts of a pixel tell apart, ``(n, 5)``."""
    turn = 2.0 * np.pi * place
    return np.stack(
        [np.ones_like(turn), np.cos(turn), np.sin(turn), np.cos(2 * turn), np.sin(2 * turn)], axis=1
    )


class SourceReader:
    """Reads point sources through the filter of one tile.

    Parameters
    ----------
    shapes
        Of stars in the new image.
    borders
        First pixel of the tile and of the next one, along y and along x.
    kernel
        By which the new image becomes the map of fluxes, a stamp that is `REACH` pixels larger on
        every side than what is looked at of a star.
    """

    def __init__(
        self,
        shapes: StarShapes,
        borders: tuple[tuple[int, int], tuple[int, int]],
        kernel: Plane,
    ) -> None:
        self._shapes, self._radius = shapes, kernel.shape[0] // 2 - REACH
        self._rows, self._columns = (np.rint(_nodes(*each)) for each in borders)
        side = 2 * self._radius + 1
        # Of the pixels around a place, what each reads of a stamp; the farthest before comes last.
        self._windows = sliding_window_view(kernel[::-1, ::-1], (side, side))

    def nodes(self) -> Floats:
        """Flux that is read of one electron at the ends and the middle of the tile ``(3, 3)``.

        In units of that in the middle; rows along y.
        """
        read = self._read(self._columns, self._rows, self._windows[REACH, REACH][None])[0]
        return np.asarray(read / read[_NODES // 2, _NODES // 2])

    def phases(self, alike: Plane) -> tuple[PhaseResponse, float]:
        """How the part of a pixel matters in the middle, and the mean over all parts.

        Parameters
        ----------
        alike
            Correlation of the fluxes' noise at a distance, a stamp.
        """
        place = self._columns[_NODES // 2] + _PHASES, self._rows[_NODES // 2] + _PHASES
        side = 2 * REACH + 1
        reads = self._read(*place, self._windows.reshape(side**2, *self._windows.shape[2:]))
        reads = reads.reshape(side, side, *reads.shape[1:])[::-1, ::-1]
        taps = _taps()
        light = np.einsum("aj,bi,jiab->ab", taps, taps, reads)
        light = light / light[_MIDDLE, _MIDDLE]
        mean = float(light.mean())
        return PhaseResponse(light / mean, _noise(taps, alike)), mean

    def _read(self, across: Floats, along: Floats, windows: Plane) -> Floats:
        """What windows ``(n, k, k)`` have of stars on a net of places ``(n, rows, columns)``."""
        y, x = (grid.ravel() for grid in np.meshgrid(along, across, indexing="ij"))
        stamps = self._shapes.stamps(x, y, self._radius).astype(np.float32)
        read = windows.reshape(len(windows), -1) @ stamps.reshape(len(stamps), -1).T
        return read.reshape(len(windows), len(along), len(across)).astype(np.float64)


def _nodes(first: float, after: float) -> Floats:
    return np.linspace(first, after - 1.0, _NODES)


def _taps() -> Floats:
    """Weights of the pixels from `REACH` before to as many after, for each part of a pixel."""
    size = 4 * REACH
    pixels, weights = lagrange_taps(2.0 * REACH + _PHASES, size)
    whole = np.zeros((len(_PHASES), size))
    np.put_along_axis(whole, pixels, weights, axis=1)
    return whole[:, REACH : 3 * REACH + 1]


def _noise(taps: Floats, alike: Plane) -> Floats:
    """One sigma of what is read with these weights, over that of one pixel."""
    most = taps.shape[1] - 1
    own = np.stack([np.correlate(each, each, "full") for each in taps])
    middle = alike.shape[0] // 2
    near = np.zeros((2 * most + 1, 2 * most + 1))
    reach = min(most, middle)
    cut = slice(middle - reach, middle + reach + 1)
    near[most - reach : most + reach + 1, most - reach : most + reach + 1] = alike[cut, cut]
    return np.asarray(np.sqrt(np.maximum(own @ near @ own.T, 0.0)))


@dataclass(frozen=True)
class FluxResponse:
    """Of all tiles of an image.

    Attributes
    ----------
    nodes
        Flux that is read of one electron, in the mean over the parts of a pixel, at the nodes of
        all tiles: ``(3 rows, 3 columns)`` of tiles.
    edges
        Borders of the tiles along y and along x, pixels.
    blends
        Half the width of the band in which they go over into each other, likewise.
    phases
        The mean of all tiles.
    """

    nodes: Floats
    edges: tuple[Floats, Floats]
    blends: tuple[int, int]
    phases: PhaseResponse

    def take_out(self, flux: Plane, error: Plane) -> None:
        """Let the maps tell what a source has that is anywhere in a pixel, in place."""
        rows, columns = (_along(*each) for each in zip(self.edges, self.blends, strict=True))
        _divide((flux, error), 1.0 / (rows @ self.nodes @ columns.T), _STEP)


def mean_phases(phases: Sequence[PhaseResponse]) -> PhaseResponse:
    """Of some tiles."""
    light, noise = (
        np.mean([getattr(each, name) for each in phases], axis=0) for name in ("light", "noise")
    )
    return PhaseResponse(light, noise)


def _along(edges: Floats, blend: int) -> Floats:
    """Weights of the nodes of all tiles at every 16th pixel of an axis ``(n, 3 tiles)``."""
    place = np.arange(0.0, edges[-1] + _STEP, _STEP)
    count = len(edges) - 1
    found = np.zeros((len(place), _NODES * count))
    for tile in range(count):
        first, last = float(edges[tile]), float(edges[tile + 1])
        width = max(2.0 * blend, 1.0)
        rise = np.clip((place + 0.5 - first) / width + 0.5, 0.0, 1.0) if tile else 1.0
        fall = np.clip((last - place - 0.5) / width + 0.5, 0.0, 1.0) if tile < count - 1 else 1.0
        nodes = np.rint(_nodes(first, last))
        for node in range(_NODES):
            others = np.delete(nodes, node)
            parabola = np.prod(place[:, None] - others, axis=1) / np.prod(nodes[node] - others)
            found[:, _NODES * tile + node] = parabola * rise * fall
    return found


@njit(cache=True, nogil=True, fastmath={"contract", "arcp", "reassoc", "nsz"})
def _divide(planes, knots, step):  # type: ignore[no-untyped-def] # compiled
    """Multiply by what lies between knots at every so many pixels."""
    flux, error = planes
    ny, nx = flux.shape
    line = np.empty(knots.shape[1])
    for y in range(ny):
        j = y // step
        v = (y - j * step) / step
        for i in range(line.size):
            line[i] = (1.0 - v) * knots[j, i] + v * knots[j + 1, i]
        for i in range(line.size - 1):
            first = np.float32(line[i])
            slope = np.float32((line[i + 1] - line[i]) / step)
            for x in range(i * step, min(i * step + step, nx)):
                factor = first + slope * np.float32(x - i * step)
                flux[y, x] *= factor
                error[y, x] *= factor
