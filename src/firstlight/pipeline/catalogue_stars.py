"""The catalogue's stars in the exposures of an observation: who was found, and where each is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

__all__ = ["CatalogueStars", "SolvedFrame", "catalogue_stars"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class SolvedFrame:
    """One exposure with its solution; all pixels are those of the mosaic.

    Attributes
    ----------
    shape
        Rows and columns.
    pixel_scale
        Arcseconds.
    sky_to_pixel
        From ICRS degrees to pixels (x, y), NaN where that is behind the camera.
    x, y
        Sources, pixels, ``(n_source,)``.
    """

    shape: tuple[int, int]
    pixel_scale: float
    sky_to_pixel: Callable[[Floats, Floats], tuple[Floats, Floats]]
    x: Floats
    y: Floats


@dataclass(frozen=True)
class CatalogueStars:
    """Stars of the catalogue that were found often enough.

    Attributes
    ----------
    rows
        Rows of the catalogue, ``(n_star,)``.
    x, y
        Where the solution puts each star, pixels, ``(n_star, n_frame)``; NaN outside the frame.
        Solutions are steadier than the centroids of single stars on a mosaic.
    source
        The star's source in each frame, -1 where none was found, ``(n_star, n_frame)``.
    duplicate
        Frames in which more than one source had this star as its nearest, ``(n_star,)``; the
        closest was taken.
    """

    rows: Integers
    x: Floats
    y: Floats
    source: Integers
    duplicate: Integers


def catalogue_stars(
    frames: Sequence[SolvedFrame],
    ra: Floats,
    dec: Floats,
    *,
    radius: float,
    edge: float,
    coverage: float,
) -> CatalogueStars:
    """Match the sources of all frames to a catalogue.

    In each frame every source belongs to the star nearest to it, if it is within the radius, and
    of the sources of one star the closest wins. Sources near the edge are not matched.

    Parameters
    ----------
    frames
        Of one observation.
    ra, dec
        The catalogue at the epoch of the observation, ICRS degrees, ``(n,)``.
    radius
        Arcseconds.
    edge
        Pixels from the edges of the frame.
    coverage
        Fraction of the frames in which a star must be found.
    """
    shape = (len(ra), len(frames))
    x, y = np.full(shape, np.nan), np.full(shape, np.nan)
    source, twice = np.full(shape, -1), np.zeros(len(ra), dtype=np.int64)
    for number, frame in enumerate(frames):
        u, v = frame.sky_to_pixel(ra, dec)
        ny, nx = frame.shape
        inside = (u >= 0) & (u <= nx - 1) & (v >= 0) & (v <= ny - 1)
        x[inside, number], y[inside, number] = u[inside], v[inside]
        source[:, number], several = _matched(frame, u, v, radius / frame.pixel_scale, edge)
        twice += several
    found = (source >= 0).mean(axis=1) if len(frames) else np.zeros(len(ra))
    rows = np.flatnonzero((found >= coverage) & (found > 0))
    return CatalogueStars(rows, x[rows], y[rows], source[rows], twice[rows])


def _matched(
    frame: SolvedFrame, u: Floats, v: Floats, radius: float, edge: float
) -> tuple[Integers, NDArray[np.bool_]]:
    """Source of each star of the catalogue, and whether there were several, ``(n,)`` each."""
    best, several = np.full(len(u), -1), np.zeros(len(u), dtype=bool)
    ny, nx = frame.shape
    kept = (frame.x >= edge) & (frame.x <= nx - 1 - edge)
    sources = np.flatnonzero(kept & (frame.y >= edge) & (frame.y <= ny - 1 - edge))
    stars = np.flatnonzero(np.isfinite(u) & np.isfinite(v))
    if not len(sources) or not len(stars):
        return best, several
    tree = cKDTree(np.column_stack([u[stars], v[stars]]))
    places = np.column_stack([frame.x[sources], frame.y[sources]])
    apart, nearest = tree.query(places, distance_upper_bound=radius)
    near = np.flatnonzero(np.isfinite(apart))
    for k in near[np.argsort(apart[near], kind="stable")]:
        star = stars[nearest[k]]
        several[star] = best[star] >= 0
        if best[star] < 0:
            best[star] = sources[k]
    return best, several
