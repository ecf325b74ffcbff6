"""The lost cores of stars that saturate two images alike, from the wings around them.

Where neither image has a value, nothing tells what the difference should be, and the mean of
the pixels around a core is a hundred times too low: with it the kernels of a subtraction, which
reach farther than the hole, would leave rings. The PSF scaled to the wings is right to some
percent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from firstlight.algorithms.resampling.image_pair import shifted

__all__ = ["fill_cores"]

Floats = NDArray[np.float64]
Plane = NDArray[np.float32]

_MOST_PIXELS = 50_000  # of holes in both images together: more are no cores of stars
_TOUCHING = 1.5  # pixels
_LARGEST = 0.85  # hole, of the side of the stamp: some of the wings must be seen
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
    scale: float,
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
    scale
        Light in the second image over that in the first.

    Notes
    -----
    The image that knows more of the wings tells flux and place for both.

    A hole nearly as large as the stamp of the PSF, or in whose surroundings there is
    no star, is left as it is.
    """
    rows, columns = holes[hidden[holes[:, 0], holes[:, 1]] == 3].T
    if not 0 < len(rows) <= _MOST_PIXELS:
        return
    for hole in _holes(rows, columns):
        middle = (float(columns[hole].mean()), float(rows[hole].mean()))
        extent = max(float(np.ptp(rows[hole])), float(np.ptp(columns[hole])))
        if extent > _LARGEST * psfs[0].shape[0]:
            continue
        fits = [
            _fit_star((values, spread, hidden, bit), psf, middle, extent / 2.0)
            for bit, values, spread, psf in zip((1, 2), pixels, variances, psfs, strict=True)
        ]
        best = int(fits[1].weight > fits[0].weight)
        flux = fits[best].flux
        if flux <= 0.0:
            continue
        fluxes = (flux / scale, flux) if best else (flux, flux * scale)
        for bit, values, psf, light in zip((1, 2), pixels, psfs, fluxes, strict=True):
            _fill_one((values, hidden, bit), psf, middle, (light, fits[best].place))


def _holes(rows: NDArray[np.int64], columns: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Indices of pixels that hang together."""
    pairs = cKDTree(np.column_stack([rows, columns])).query_pairs(_TOUCHING, output_type="ndarray")
    links = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), (len(rows), len(rows)))
    count, label = connected_components(links, directed=False)
    order = np.argsort(label, kind="stable")
    return np.split(order, np.searchsorted(label[order], np.arange(1, count)))


@dataclass(frozen=True)
class _Star:
    """Flux, place off the middle pixel, and how well its flux is known: 1 / sigma²."""

    flux: float
    place: Floats
    weight: float


def _windows(
    shape: tuple[int, ...], middle: tuple[float, float], radius: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """A stamp around a place in the image, and the part of the stamp that is in it."""
    i, j = (int(np.rint(place)) for place in middle)
    window = (
        slice(max(j - radius, 0), min(j + radius + 1, shape[0])),
        slice(max(i - radius, 0), min(i + radius + 1, shape[1])),
    )
    part = (
        slice(window[0].start - j + radius, window[0].stop - j + radius),
        slice(window[1].start - i + radius, window[1].stop - i + radius),
    )
    return window, part


def _fit_star(
    planes: tuple[Plane, Plane, NDArray[np.uint8], int],
    psf: Plane,
    middle: tuple[float, float],
    size: float,
) -> _Star:
    """Scale and place the PSF by the pixels around a hole."""
    values, spread, hidden, bit = planes
    window, part = _windows(values.shape, middle, psf.shape[0] // 2)
    known = (hidden[window] & bit) == 0
    place = np.array(middle) - np.rint(middle)
    if known.sum() < _FEWEST:
        return _Star(0.0, place, 0.0)
    light, noise = values[window].astype(np.float64), spread[window].astype(np.float64)
    stamp = psf.astype(np.float64)
    flux, certain = 0.0, 0.0
    for _ in range(_TURNS):
        moved = shifted(stamp, *place)
        design = np.stack([moved, *np.gradient(-moved)[::-1]])[:, part[0], part[1]]
        weight = known / (noise + (_MODEL_ERROR * np.maximum(flux * design[0], light)) ** 2)
        certain = float((weight * design[0] ** 2).sum())
        flux, step = _fit(design, light, weight)
        place = np.clip(place + np.clip(step, -1.0, 1.0), -size - 1.0, size + 1.0)
        if np.abs(step).max() < _SETTLED:
            break
    return _Star(flux, place, certain)


def _fill_one(
    planes: tuple[Plane, NDArray[np.uint8], int],
    psf: Plane,
    middle: tuple[float, float],
    star: tuple[float, Floats],
) -> None:
    """Put a star of that flux and place into the hidden pixels."""
    values, hidden, bit = planes
    flux, place = star
    window, part = _windows(values.shape, middle, psf.shape[0] // 2)
    lost = (hidden[window] & bit) != 0
    model = flux * shifted(psf.astype(np.float64), *place)[part]
    values[window][lost] = model[lost]


def _fit(design: Floats, light: Floats, weight: Floats) -> tuple[float, Floats]:
    """Flux, and by how much the star is off, of linear least squares."""
    loaded = design * weight
    normal = np.einsum("aij,bij->ab", loaded, design)
    found = np.linalg.lstsq(normal, np.einsum("aij,ij->a", loaded, light), rcond=1e-12)[0]
    if found[0] <= 0.0:
        return 0.0, np.zeros(2)
    return float(found[0]), np.asarray(found[1:] / found[0])
