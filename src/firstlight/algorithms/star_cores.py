"""The lost cores of stars that saturate two images alike, from the wings around them.

Where neither image has a value, nothing tells what the difference should be, and the mean of
the pixels around a core is a hundred times too low: with it the kernels of a subtraction, which
reach farther than the hole, would leave rings. The PSF scaled to the wings is right to some
percent.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from firstlight.algorithms.image_pair import shifted

__all__ = ["fill_cores"]

Floats = NDArray[np.float64]
Plane = NDArray[np.float32]

_MOST_PIXELS = 50_000  # of holes in both images together: more are no cores of stars
_TOUCHING = 1.5  # pixels
_MODEL_ERROR = 0.05  # of a star's light in a pixel of its wings
_FEWEST = 30  # pixels of wings
_TURNS = 8
_SETTLED = 0.01  # pixels


def fill_cores(
    pixels: Sequence[Plane],
    variances: Sequence[Plane],
    hidden: NDArray[np.uint8],
    holes: NDArray[np.int64],
    psfs: Sequence[Plane],
) -> None:
    """Fill cores that neither image has, in place.

    Parameters
    ----------
    pixels, variances
        Of both images ``(ny, nx)``, with some value in hidden pixels.
    hidden
        1, 2 or 3 where the first, the second or both have no value, else 0.
    holes
        Rows and columns of the hidden pixels ``(n, 2)``.
    psfs
        Of both, ``(k, k)``.

    Notes
    -----
    A hole that is larger than the radius of the PSF's stamp, or in whose surroundings there is
    no star, is left as it is.
    """
    rows, columns = holes[hidden[holes[:, 0], holes[:, 1]] == 3].T
    if not 0 < len(rows) <= _MOST_PIXELS:
        return
    for hole in _holes(rows, columns):
        middle = (float(columns[hole].mean()), float(rows[hole].mean()))
        extent = max(float(np.ptp(rows[hole])), float(np.ptp(columns[hole])))
        for bit, values, spread, psf in zip((1, 2), pixels, variances, psfs, strict=True):
            if extent <= psf.shape[0] // 2:
                _fill_one((values, spread, hidden, bit), psf, middle, extent / 2.0)


def _holes(rows: NDArray[np.int64], columns: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Indices of pixels that hang together."""
    pairs = cKDTree(np.column_stack([rows, columns])).query_pairs(_TOUCHING, output_type="ndarray")
    links = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), (len(rows), len(rows)))
    count, label = connected_components(links, directed=False)
    order = np.argsort(label, kind="stable")
    return np.split(order, np.searchsorted(label[order], np.arange(1, count)))


def _fill_one(
    planes: tuple[Plane, Plane, NDArray[np.uint8], int],
    psf: Plane,
    middle: tuple[float, float],
    size: float,
) -> None:
    """Scale and place the PSF by the pixels around a hole, and fill the hole with it."""
    values, spread, hidden, bit = planes
    i, j = (int(np.rint(place)) for place in middle)
    radius = psf.shape[0] // 2
    ny, nx = values.shape
    window = (
        slice(max(j - radius, 0), min(j + radius + 1, ny)),
        slice(max(i - radius, 0), min(i + radius + 1, nx)),
    )
    part = (
        slice(window[0].start - j + radius, window[0].stop - j + radius),
        slice(window[1].start - i + radius, window[1].stop - i + radius),
    )
    known = (hidden[window] & bit) == 0
    if known.sum() < _FEWEST:
        return
    light, noise = values[window].astype(np.float64), spread[window].astype(np.float64)
    stamp = psf.astype(np.float64)
    place = np.array([middle[0] - i, middle[1] - j])
    flux = 0.0
    for _ in range(_TURNS):
        moved = shifted(stamp, *place)
        design = np.stack([moved, *np.gradient(-moved)[::-1]])[:, part[0], part[1]]
        weight = known / (noise + (_MODEL_ERROR * np.maximum(flux * design[0], light)) ** 2)
        flux, step = _fit(design, light, weight)
        place = np.clip(place + np.clip(step, -1.0, 1.0), -size - 1.0, size + 1.0)
        if np.abs(step).max() < _SETTLED:
            break
    if flux <= 0.0:
        return
    model = flux * shifted(stamp, *place)[part]
    values[window][~known] = model[~known]


def _fit(design: Floats, light: Floats, weight: Floats) -> tuple[float, Floats]:
    """Flux, and by how much the star is off, of linear least squares."""
    loaded = design * weight
    normal = np.einsum("aij,bij->ab", loaded, design)
    found = np.linalg.lstsq(normal, np.einsum("aij,ij->a", loaded, light), rcond=1e-12)[0]
    if found[0] <= 0.0:
        return 0.0, np.zeros(2)
    return float(found[0]), np.asarray(found[1:] / found[0])
