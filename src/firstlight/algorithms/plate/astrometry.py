"""The best projection for pairs of detections and reference stars, and which pairs to take.

Positions are fitted by `polynomial_fit`, robustly; the order of the distortion is the lowest
that no higher one is better than, at left-out stars and over the whole frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from firstlight.algorithms.plate.polynomial_fit import (
    MEDIAN_OF_ROUND,
    Places,
    choose_order,
    fit_polynomial,
    through_the_middle,
)
from firstlight.algorithms.sky.projection import (
    Projection,
    from_tangent_plane,
    polynomial_terms,
    tangent_plane,
)

__all__ = [
    "AstrometricFit",
    "fit_projection",
    "match_stars",
    "polish_projection",
    "refine_distortion",
    "refine_projection",
]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
Pairs = tuple[tuple[Floats, Floats], tuple[Floats, Floats]]
"""x and y of detections, and right ascension and declination of their stars."""

STARS_PER_COEFFICIENT = 3
"""A polynomial needs this many stars for each of its coefficients."""

_STILL = 1e-3  # pixels: a tangent point that moves by less changes nothing any more


@dataclass(frozen=True, eq=False)
class AstrometricFit:
    """A projection and the pairs it rests on.

    Attributes
    ----------
    projection
        The fit; without the inverse SIP coefficients.
    detected, reference
        Indices of the pairs in the detections and in the stars, shape ``(n,)``.
    residual_x, residual_y
        Detected minus predicted, pixels, shape ``(n,)``.
    noise
        Robust one-sigma error of one coordinate, pixels, corrected for the numbers fitted.
    """

    projection: Projection
    detected: Indices
    reference: Indices
    residual_x: Floats
    residual_y: Floats
    noise: float

    @property
    def rms(self) -> float:
        """Root mean square distance between detected and predicted places, pixels."""
        return float(np.sqrt(np.mean(self.residual_x**2 + self.residual_y**2)))

    @property
    def parameters(self) -> int:
        """Numbers fitted, both axes together."""
        order = self.projection.order
        return (order + 1) * (order + 2)


def fit_projection(
    x: Floats,
    y: Floats,
    ra: Floats,
    dec: Floats,
    start: Projection,
    order: int,
    errors: Floats | None = None,
) -> Projection:
    """Least-squares projection through pairs, robust against wrong ones.

    Parameters
    ----------
    x, y
        Detected places, 0-based pixels, shape ``(n,)``.
    ra, dec
        ICRS degrees of the stars, shape ``(n,)``.
    start
        Gives the reference pixel, which is kept, and a first tangent point.
    order
        1 for TAN, above for TAN-SIP. There must be at least ``(order + 1) (order + 2) / 2``
        pairs, not on one line.
    errors
        One sigma of each place along one axis, pixels, ``(n,)``; all alike if None. What the
        residuals show beyond them is added to all.

    Returns
    -------
    The projection of Cauchy-weighted least squares; its tangent point is at the reference
    pixel.
    """
    places = Places.around(x, y, start.crpix)
    crval, scale = start.crval, 3600.0 / start.pixel_scale
    weight = None
    for _ in range(3):
        plane = np.stack(tangent_plane(ra, dec, *crval), axis=1) * scale
        fit = fit_polynomial(places, plane, order, errors, weight)
        xi, eta = fit.coefficients[0] / scale
        lon, lat = from_tangent_plane(xi, eta, *crval)
        crval, weight = (float(lon), float(lat)), fit.weight
        if np.hypot(*fit.coefficients[0]) < _STILL:
            break
    plane = np.stack(tangent_plane(ra, dec, *crval), axis=1)
    coefficients = through_the_middle(places, plane, order, fit.weight)
    return _projection(crval, start.crpix, polynomial_terms(order)[1:], coefficients, places.size)


def match_stars(
    x: Floats, y: Floats, predicted_x: Floats, predicted_y: Floats, radius: float
) -> tuple[Indices, Indices]:
    """Pairs of detections and predictions that are each other's nearest, within `radius`.

    Returns
    -------
    Indices of the detections and of the predictions, shape ``(n,)`` each, in the order of the
    predictions. Predictions that are not finite have no pair.
    """
    if len(x) == 0:
        return np.empty(0, np.intp), np.empty(0, np.intp)
    return _nearest_pairs(cKDTree(np.column_stack([x, y])), (predicted_x, predicted_y), radius)


def _nearest_pairs(
    found: cKDTree, predicted: tuple[Floats, Floats], radius: float
) -> tuple[Indices, Indices]:
    """As `match_stars`, with the tree of at least one detection."""
    usable = np.flatnonzero(np.isfinite(predicted[0]) & np.isfinite(predicted[1]))
    if len(usable) == 0:
        return np.empty(0, np.intp), np.empty(0, np.intp)
    wanted = np.column_stack([each[usable] for each in predicted])
    distance, nearest = found.query(wanted, distance_upper_bound=np.nextafter(radius, np.inf))
    # Only detections that are somebody's nearest can be one of a pair.
    near = np.flatnonzero(distance <= radius)
    _, back = cKDTree(wanted).query(found.data[nearest[near]])
    pair = near[back == near]
    return nearest[pair].astype(np.intp), usable[pair]


def refine_projection(
    detections: tuple[Floats, Floats],
    stars: tuple[Floats, Floats],
    shape: tuple[int, int],
    start: Projection,
    *,
    radius: float,
    max_order: int = 1,
) -> AstrometricFit | None:
    """Match over the whole frame and fit, in turns, until pairs and projection agree.

    Parameters
    ----------
    detections
        x and y of the detections, 0-based pixels.
    stars
        Right ascension and declination of the stars that could be in the frame.
    shape
        ``(ny, nx)`` of the frame; stars predicted outside are not matched.
    start
        A projection good to `radius` pixels over most of the frame.
    radius
        Pixels within which pairs are first sought; later ones follow from the residuals.
    max_order
        Highest order of distortion tried.

    Returns
    -------
    The fit, or None where fewer than four pairs are left.
    """
    plain = _settle(detections, stars, shape, (start, radius), 1)
    if plain is None:
        return None
    return refine_distortion(detections, stars, shape, plain, radius=radius, max_order=max_order)


def refine_distortion(
    detections: tuple[Floats, Floats],
    stars: tuple[Floats, Floats],
    shape: tuple[int, int],
    plain: AstrometricFit,
    *,
    radius: float,
    max_order: int,
) -> AstrometricFit:
    """The second half of `refine_projection`: distortion, where there is a fit without any."""
    best = plain
    for order in range(2, max_order + 1):
        # Where distortion is strong a plain fit leaves the corners beyond a tight radius.
        reach = max(radius * 0.7, 6.0 * best.noise)
        better = _settle(detections, stars, shape, (best.projection, reach), order)
        if better is None or len(better.detected) < 0.9 * len(best.detected):
            continue
        found, wanted = better.detected, better.reference
        pairs = (
            (detections[0][found], detections[1][found]),
            (stars[0][wanted], stars[1][wanted]),
        )
        orders = best.projection.order, order
        if _chosen_order(pairs, None, shape, better.projection, orders) == order:
            best = better
    return best


def polish_projection(
    detections: tuple[Floats, Floats],
    errors: Floats,
    stars: tuple[Floats, Floats],
    shape: tuple[int, int],
    start: Projection,
    *,
    radius: float = 2.0,
    max_order: int = 5,
) -> AstrometricFit | None:
    """The best projection that positions with known errors allow, from one that is nearly right.

    A star counts by the error of its place: the brightest tell most, and one at the limit does
    no harm. The order is the lowest that predicts left-out stars as well as any other.

    Parameters
    ----------
    detections
        x and y of the detections, 0-based pixels.
    errors
        One sigma of each along one axis, pixels, ``(n,)``; those not finite are left out.
    stars
        Right ascension and declination of the reference stars, ICRS degrees.
    shape
        ``(ny, nx)`` of the frame.
    start
        Good to `radius` over the whole frame: what `plate_solve` or `refine_projection` found.
    radius
        Pixels within which pairs are sought.
    max_order
        Highest order of distortion tried.

    Returns
    -------
    The fit, or None where there are too few pairs. Its `noise` is that of the better half of
    the stars.
    """
    known = np.flatnonzero(np.isfinite(errors) & np.isfinite(detections[0] + detections[1]))
    x, y, sigma = (column[known] for column in (*detections, errors))
    ra, dec = stars
    projection, best = start, None
    for _ in range(2):
        px, py = _inside(*projection.sky_to_pixel(ra, dec), shape, radius)
        detected, reference = match_stars(x, y, px, py, radius)
        if len(detected) < STARS_PER_COEFFICIENT * len(polynomial_terms(1)):
            return None
        pairs = (x[detected], y[detected]), (ra[reference], dec[reference])
        projection = _best_order(pairs, sigma[detected], shape, projection, max_order)
        off_x, off_y = np.subtract(pairs[0], projection.sky_to_pixel(*pairs[1]))
        better = sigma[detected] <= np.median(sigma[detected])
        noise = float(np.median(np.hypot(off_x, off_y)[better])) / MEDIAN_OF_ROUND
        best = AstrometricFit(projection, known[detected], reference, off_x, off_y, noise)
    return best


def _best_order(
    pairs: Pairs,
    errors: Floats,
    shape: tuple[int, int],
    start: Projection,
    max_order: int,
) -> Projection:
    """The fit of the order that the pairs bear out."""
    (x, y), (ra, dec) = pairs
    orders = [
        order
        for order in range(1, max_order + 1)
        if order == 1 or STARS_PER_COEFFICIENT * len(polynomial_terms(order)) <= len(x)
    ]
    order = _chosen_order(pairs, errors, shape, start, orders)
    return fit_projection(x, y, ra, dec, start, order, errors)


def _chosen_order(
    pairs: Pairs,
    errors: Floats | None,
    shape: tuple[int, int],
    near: Projection,
    orders: Sequence[int],
) -> int:
    """The one of some rising orders that the pairs bear out; `near` sets the tangent plane."""
    places = Places.around(*pairs[0], near.crpix)
    plane = np.stack(tangent_plane(*pairs[1], *near.crval), axis=1) * 3600.0 / near.pixel_scale
    return orders[choose_order(places, plane, orders, errors, places.grid(shape))]


def _settle(
    detections: tuple[Floats, Floats],
    stars: tuple[Floats, Floats],
    shape: tuple[int, int],
    start: tuple[Projection, float],
    order: int,
) -> AstrometricFit | None:
    projection, radius = start
    if not len(detections[0]):
        return None
    places = projection.sky_to_pixel(*stars)
    tree = cKDTree(np.column_stack(detections))
    fit: AstrometricFit | None = None
    last: AstrometricFit | None = None
    for _ in range(8):
        pairs = _nearest_pairs(tree, _inside(*places, shape, radius), radius)
        told = _fit_pairs(detections, stars, pairs, (projection, radius), order)
        if told is None:
            return None
        fit, places = told
        projection = fit.projection
        tight = max(4.0 * fit.noise, 0.7)
        if last is not None and tight >= radius and len(last.detected) == len(fit.detected):
            break
        last = fit
        radius = min(radius, max(tight, 0.6 * radius))
    return fit


def _fit_pairs(
    detections: tuple[Floats, Floats],
    stars: tuple[Floats, Floats],
    pairs: tuple[Indices, Indices],
    start: tuple[Projection, float],
    order: int,
) -> tuple[AstrometricFit, tuple[Floats, Floats]] | None:
    """One turn, and where all stars are by it; None where the pairs are too few for the order."""
    detected, reference = pairs
    terms = (order + 1) * (order + 2) // 2
    fewest = 4 if order == 1 else STARS_PER_COEFFICIENT * terms
    if len(detected) < fewest:
        return None
    x, y = (each[detected] for each in detections)
    try:
        projection = fit_projection(x, y, stars[0][reference], stars[1][reference], start[0], order)
    except np.linalg.LinAlgError:
        return None
    places = projection.sky_to_pixel(*stars)
    off_x, off_y = x - places[0][reference], y - places[1][reference]
    distance = np.nan_to_num(np.hypot(off_x, off_y), nan=np.inf)
    middle = float(np.median(distance))
    if not np.isfinite(middle):
        return None
    freedom = max(len(detected) - terms, 1) / len(detected)
    # The median distance of a round normal error is 1.177 sigma.
    noise = middle / MEDIAN_OF_ROUND / np.sqrt(freedom)
    kept = distance <= start[1]
    fit = AstrometricFit(
        projection, detected[kept], reference[kept], off_x[kept], off_y[kept], noise
    )
    return fit, places


def _inside(px: Floats, py: Floats, shape: tuple[int, int], margin: float) -> tuple[Floats, Floats]:
    ny, nx = shape
    with np.errstate(invalid="ignore"):
        inside = (px > -margin) & (px < nx - 1 + margin) & (py > -margin) & (py < ny - 1 + margin)
    return np.where(inside, px, np.nan), np.where(inside, py, np.nan)


def _projection(
    crval: tuple[float, float],
    crpix: tuple[float, float],
    terms: tuple[tuple[int, int], ...],
    coefficients: Floats,
    size: float,
) -> Projection:
    """Tangent-plane polynomials as CD matrix and SIP tables."""
    degree = np.array([p + q for p, q in terms])
    plain = coefficients / size ** degree[:, np.newaxis]
    cd = plain[:2].T.copy()
    flat = Projection(crval, crpix, cd)
    order = int(degree.max())
    if order == 1:
        return flat
    a, b = np.zeros((order + 1, order + 1)), np.zeros((order + 1, order + 1))
    pixels = np.linalg.solve(cd, plain[2:].T)
    for (p, q), to_a, to_b in zip(terms[2:], *pixels, strict=True):
        a[p, q], b[p, q] = to_a, to_b
    return replace(flat, a=a, b=b)
