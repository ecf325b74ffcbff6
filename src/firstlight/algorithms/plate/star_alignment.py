"""Where the pixels of one image are on another, as exactly as the stars of both tell.

The second image's pixels are laid on a small patch of an imaginary sky, so that a projection of
the first one onto it, with its polynomials, is the map that is sought.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from firstlight.algorithms.plate.astrometry import (
    AstrometricFit,
    match_stars,
    polish_projection,
    refine_projection,
)
from firstlight.algorithms.plate.registration import NotRegistered, register
from firstlight.algorithms.sky.projection import Projection, from_tangent_plane, tangent_plane

__all__ = ["Alignment", "FrameStars", "NotRegistered", "align_stars"]

Floats = NDArray[np.float64]

_PIXEL = 1.0 / 3600.0  # degrees of the imaginary sky
_FAR = 6.0  # pixels by which an affine map may be off in the corners
_NEAR = 1.5
_MOST_BENT = 5  # order of the polynomials
_MOST_AT_FIRST = 600  # stars of either image
_MOST_TELLING = 1500  # pairs: with errors as the brightest have, more tell nothing new


@dataclass(frozen=True, eq=False)
class FrameStars:
    """Detections of one image.

    Attributes
    ----------
    x, y
        Pixels, ``(n,)``.
    flux
        Any measure that grows with brightness.
    error
        One sigma of a position along one axis, pixels.
    """

    x: Floats
    y: Floats
    flux: Floats
    error: Floats


@dataclass(frozen=True, eq=False)
class Alignment:
    """A map from pixels of the first image to those of the second.

    Attributes
    ----------
    first, second
        Numbers of the detections that are pairs, ``(n,)`` each.
    noise
        Of a pair's distance along one axis, pixels of the first image: of the better half.
    """

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    noise: float
    _projection: Projection
    _middle: tuple[float, float]

    @property
    def order(self) -> int:
        """Of the polynomials."""
        return self._projection.order

    def positions(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        """Pixels of the second image for pixels of the first."""
        return _from_sky(*self._projection.pixel_to_sky(x, y), self._middle)


def align_stars(
    first: FrameStars, second: FrameStars, shape: tuple[int, int], *, mirrored: bool = False
) -> Alignment | NotRegistered:
    """Find how the first image lies on the second: any shift and turn, scales alike to 5 %.

    Parameters
    ----------
    shape
        ``(ny, nx)`` of the first image.
    mirrored
        Whether one is a mirror image of the other.
    """
    found = register(
        first.x, first.y, first.flux, second.x, second.y, second.flux, mirrored=mirrored
    )
    if isinstance(found, NotRegistered):
        return found
    usable = np.isfinite(second.x) & np.isfinite(second.y)
    middle = float(np.mean(second.x[usable])), float(np.mean(second.y[usable]))
    sky = _to_sky(second.x, second.y, middle)
    start = _affine(found.matrix, middle)
    # The brightest tell the way, and all the more so as fewer of them are pairs by chance.
    here, there = _brightest(first, _MOST_AT_FIRST), _brightest(second, _MOST_AT_FIRST)
    rough = refine_projection(
        (first.x[here], first.y[here]), (sky[0][there], sky[1][there]), shape, start,
        radius=_FAR, max_order=_MOST_BENT,
    )  # fmt: skip
    if rough is None:
        return NotRegistered("too few stars are in both frames", "few_detections")
    rough = replace(rough, detected=here[rough.detected], reference=there[rough.reference])
    fine = _polished(first, second, sky, shape, rough)
    return Alignment(fine.detected, fine.reference, fine.noise, fine.projection, middle)


def _brightest(stars: FrameStars, most: int) -> NDArray[np.intp]:
    """Numbers of the brightest ones."""
    usable = np.flatnonzero(np.isfinite(stars.x) & np.isfinite(stars.y) & np.isfinite(stars.flux))
    order = np.argsort(-stars.flux[usable], kind="stable")
    return usable[order[:most]]


def _polished(
    first: FrameStars,
    second: FrameStars,
    sky: tuple[Floats, Floats],
    shape: tuple[int, int],
    rough: AstrometricFit,
) -> AstrometricFit:
    """The fit with the errors of both images; the rough one where there are too few stars."""
    x, y = rough.projection.sky_to_pixel(*sky)
    near = max(_NEAR, 4.0 * rough.noise)
    detected, reference = match_stars(first.x, first.y, x, y, near)
    errors = np.full(len(first.x), np.nan)
    errors[detected] = np.hypot(first.error[detected], second.error[reference])
    if np.count_nonzero(np.isfinite(errors)) > _MOST_TELLING:
        errors[errors > np.nanpercentile(errors, 100.0 * _MOST_TELLING / len(detected))] = np.nan
    fine = polish_projection(
        (first.x, first.y), errors, sky, shape, rough.projection,
        radius=near, max_order=_MOST_BENT,
    )  # fmt: skip
    return fine or rough


def _affine(matrix: Floats, middle: tuple[float, float]) -> Projection:
    turn = matrix[:, :2]
    x, y = np.linalg.solve(turn, np.array(middle) - matrix[:, 2])
    return Projection((0.0, 0.0), (float(x), float(y)), _PIXEL * np.diag([-1.0, 1.0]) @ turn)


def _to_sky(x: Floats, y: Floats, middle: tuple[float, float]) -> tuple[Floats, Floats]:
    """East is left, as on the sky."""
    return from_tangent_plane(-(x - middle[0]) * _PIXEL, (y - middle[1]) * _PIXEL, 0.0, 0.0)


def _from_sky(ra: Floats, dec: Floats, middle: tuple[float, float]) -> tuple[Floats, Floats]:
    xi, eta = tangent_plane(ra, dec, 0.0, 0.0)
    return middle[0] - xi / _PIXEL, middle[1] + eta / _PIXEL
