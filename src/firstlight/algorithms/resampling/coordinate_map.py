"""Where each pixel of one image lies in another, on a coarse net of nodes.

Between the nodes a position is a cubic polynomial of each axis (Lagrange's, through four nodes), so
that a smooth distortion costs a few operations a pixel instead of two projections on the sky.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from firstlight.algorithms.sky.projection import Projection
from firstlight.errors import InvalidInput

__all__ = ["CoordinateMap", "coordinate_map", "cubic_taps", "sample_map"]

Floats = NDArray[np.float64]

# Pixels of the target, x and y, to pixels of the source.
Positions = Callable[[Floats, Floats], tuple[Floats, Floats]]

_STEPS = (128, 64, 32, 16, 8)


@dataclass(frozen=True, eq=False)
class CoordinateMap:
    """Positions in a source image of the pixels of a target image.

    Attributes
    ----------
    shape
        ``(ny, nx)`` of the target.
    step
        Target pixels between nodes; node ``[j, i]`` is at x = (i - 1) step, y = (j - 1) step.
    x, y
        0-based source pixels at the nodes, ``(rows, columns)``; NaN where there are none.
    area
        Source pixels that one target pixel covers, at the nodes.
    """

    shape: tuple[int, int]
    step: int
    x: Floats
    y: Floats
    area: Floats

    def at(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        """Source pixels of target pixels; places off the target are extrapolated."""
        (j, along), (i, across) = (
            self._cell(np.asarray(place, np.float64), count)
            for place, count in zip((y, x), self.x.shape, strict=True)
        )
        k = np.arange(4)
        where = (j[..., None, None] + k[:, None], i[..., None, None] + k)
        found = [
            np.einsum("...jk,...j,...k->...", nodes[where], along, across)
            for nodes in (self.x, self.y)
        ]
        return found[0], found[1]

    def jacobian(self) -> Floats:
        """Change of source (x, y), rows, with target x and y, columns, in the target's middle."""
        y, x = ((n - 1) / 2.0 for n in self.shape)
        xs, ys = self.at(x + np.array([-0.5, 0.5, 0, 0]), y + np.array([0, 0, -0.5, 0.5]))
        return np.array([[p[1] - p[0], p[3] - p[2]] for p in (xs, ys)])

    def _cell(self, place: Floats, count: int) -> tuple[NDArray[np.intp], Floats]:
        """First of the four nodes, and the weights of all."""
        scaled = place / self.step
        first = np.clip(np.floor(scaled), 0, count - 4).astype(np.intp)
        return first, np.moveaxis(cubic_taps(scaled - first), 0, -1)


def cubic_taps(t: Floats) -> Floats:
    """Weights of nodes at -1, 0, 1 and 2 for a value at `t`, stacked along a new first axis."""
    return np.stack(
        [
            -t * (t - 1) * (t - 2) / 6,
            (t + 1) * (t - 1) * (t - 2) / 2,
            -(t + 1) * t * (t - 2) / 2,
            (t + 1) * t * (t - 1) / 6,
        ]
    )


def coordinate_map(
    target: Projection, source: Projection, shape: tuple[int, int], *, tolerance: float = 1e-4
) -> CoordinateMap:
    """Map between two images of the same sky.

    Parameters
    ----------
    target, source
        Solutions of the image whose grid is wanted and of the image to be resampled.
    shape
        ``(ny, nx)`` of the target.
    tolerance
        Of a position, source pixels.
    """

    def positions(x: Floats, y: Floats) -> tuple[Floats, Floats]:
        return source.sky_to_pixel(*target.pixel_to_sky(x, y))

    return sample_map(positions, shape, tolerance=tolerance)


def sample_map(
    positions: Positions, shape: tuple[int, int], *, tolerance: float = 1e-4
) -> CoordinateMap:
    """Sample a function on the widest net of nodes that reproduces it.

    Parameters
    ----------
    positions
        Source pixels (x, y) of arrays of target pixels (x, y).
    shape
        ``(ny, nx)`` of the target.
    tolerance
        Largest error of a position in the middle of a cell, source pixels.

    Raises
    ------
    InvalidInput
        The function is not smooth: even nodes every 8 pixels leave an error of over 0.05 pixels
        and over the tolerance.
    """
    error = np.inf
    for step in _STEPS:
        net = _sampled(positions, shape, step)
        error = _worst(net, positions)
        if error <= tolerance:
            return net
    if error > max(0.05, tolerance):
        raise InvalidInput(
            "The coordinates are too rough to be resampled.",
            field="positions",
            found=f"an error of {error:.3g} pixels",
            expected="a smooth function of the place",
        )
    return net


def _sampled(positions: Positions, shape: tuple[int, int], step: int) -> CoordinateMap:
    ny, nx = shape
    rows, columns = ((n - 1) // step + 4 for n in (ny, nx))
    y, x = np.meshgrid(
        (np.arange(rows) - 1.0) * step, (np.arange(columns) - 1.0) * step, indexing="ij"
    )
    # The pixel's own edges give the area that the pixel covers.
    offsets = np.array([[0, 0], [0.5, 0], [-0.5, 0], [0, 0.5], [0, -0.5]])
    xs, ys = positions(
        x + offsets[:, 0, None, None],
        y + offsets[:, 1, None, None],
    )
    across, along = ([p[i] - p[i + 1] for p in (xs, ys)] for i in (1, 3))
    area = np.abs(across[0] * along[1] - across[1] * along[0])
    return CoordinateMap(shape, step, xs[0].copy(), ys[0].copy(), area)


def _worst(net: CoordinateMap, positions: Positions) -> float:
    """Largest error in the middles of the cells, where both positions are known."""
    ny, nx = net.shape
    y, x = np.meshgrid(
        np.arange(0, ny, net.step) + net.step / 2,
        np.arange(0, nx, net.step) + net.step / 2,
        indexing="ij",
    )
    error = np.hypot(*(a - b for a, b in zip(net.at(x, y), positions(x, y), strict=True)))
    known = np.isfinite(error)
    return float(error[known].max()) if known.any() else 0.0
