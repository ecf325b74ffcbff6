"""The last touch to a plate solution: a fit to all clean stars, each by its error."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.flags import UNMEASURABLE
from firstlight.algorithms.plate.astrometry import polish_projection
from firstlight.algorithms.plate.plate_solve import PlateSolution, Stars, StarsNear
from firstlight.algorithms.sky.projection import Projection
from firstlight.algorithms.sky.sky_index import angular_separation

__all__ = ["MeasuredPlaces", "polished"]

Floats = NDArray[np.float64]

REACH = (0.7, 2.0)  # pixels; within which pairs are sought again, at least and at most
SPREADS = 3.0  # of the pairs found first; within which they are sought again
FEWEST = 20  # pairs; with fewer, what the optics do counts for more than errors of stars
KEPT = 0.5  # of the pairs found first; fewer clean ones are no reason to think again


@dataclass(frozen=True)
class MeasuredPlaces:
    """Where the sources of one image are, as well as that is known.

    Attributes
    ----------
    x, y
        Pixels, 0-based, ``(n,)``; in the order that the solution counts them in.
    x_err, y_err
        One sigma of each, pixels, ``(n,)``; NaN where it is not known.
    flags
        What is wrong with the pixels of each, ``(n,)``.
    """

    x: Floats
    y: Floats
    x_err: Floats
    y_err: Floats
    flags: NDArray[np.uint16]


def polished(
    answer: PlateSolution, places: MeasuredPlaces, shape: tuple[int, int], stars_near: StarsNear
) -> tuple[PlateSolution, int]:
    """The projection from all clean stars, each by its error, and how many these are.

    Where they are too few it is as it was, and their number 0. The pairs stay those that the
    odds were reckoned from.

    Parameters
    ----------
    answer
        What the catalogue has confirmed.
    shape
        ``(ny, nx)`` of the image.
    stars_near
        The catalogue at the time of the image.
    """
    errors = np.hypot(places.x_err, places.y_err) / np.sqrt(2.0)
    # What is cut by the border or clipped is not where its centre of light is.
    errors[(places.flags & np.uint16(UNMEASURABLE)) != 0] = np.nan
    ra, dec, _ = _as_deep(answer.projection, shape, stars_near, len(places.x))
    fit = polish_projection(
        (places.x, places.y),
        errors,
        (ra, dec),
        shape,
        answer.projection,
        radius=float(np.clip(SPREADS * answer.rms, *REACH)),
    )
    if fit is None or len(fit.detected) < max(FEWEST, KEPT * answer.n_matched):
        return answer, 0
    px, py = fit.projection.sky_to_pixel(answer.star_ra, answer.star_dec)
    off = np.hypot(places.x[answer.detected] - px, places.y[answer.detected] - py)
    rms = float(np.sqrt(np.mean(off**2)))
    return replace(answer, projection=fit.projection, rms=rms), len(fit.detected)


def _as_deep(
    projection: Projection, shape: tuple[int, int], stars_near: StarsNear, sources: int
) -> Stars:
    """Stars of the frame, brightest first, no deeper than its sources go.

    Twice as many as there are sources: those far fainter would only be neighbours by chance.
    """
    ny, nx = shape
    middle = projection.pixel_to_sky((nx - 1) / 2, (ny - 1) / 2)
    ra, dec = (float(each) for each in middle)
    radius = float(np.max(angular_separation(ra, dec, *projection.footprint(shape))))
    stars = stars_near(ra, dec, min(1.05 * radius, 180.0))
    x, y = projection.sky_to_pixel(stars[0], stars[1])
    with np.errstate(invalid="ignore"):
        inside = (x > -1) & (x < nx) & (y > -1) & (y < ny)
    chosen = np.flatnonzero(inside)
    chosen = chosen[np.argsort(stars[2][chosen], kind="stable")][: 2 * sources]
    return stars[0][chosen], stars[1][chosen], stars[2][chosen]
