"""The best projection for pairs of detections and reference stars, and which pairs to take.

The distortion's order is the lowest that predicts left-out stars as well as any higher one does
(cross-validation by the leave-one-out residuals of linear least squares, r / (1 - h)).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

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
    "refine_projection",
]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

STARS_PER_COEFFICIENT = 3
"""A polynomial needs this many stars for each of its coefficients."""

_MEDIAN_OF_ROUND = 1.177  # sigma: distance of a round normal error
_LEAST_NOISE = 0.002  # pixels: what the pixel grid leaves in any position
_HEAVY = 4.0  # squared sigma from which a left-out star counts by its logarithm only


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
    u, v = x - start.crpix[0], y - start.crpix[1]
    size = max(float(np.max(np.hypot(u, v))), 1.0)
    terms = polynomial_terms(order)
    design = _design(u / size, v / size, order)
    weight = np.ones(len(x)) if errors is None else 1.0 / np.hypot(errors, np.median(errors))
    crval = start.crval
    for _ in range(5):
        plane = np.stack(tangent_plane(ra, dec, *crval), axis=1)
        coefficients = _solve(design, plane, weight)
        off = np.hypot(*(plane - design @ coefficients).T)
        if errors is None:
            # 1.48 of the median is one sigma; two of those is where a Cauchy weight halves.
            core = 2.0 * 1.48 * float(np.median(off)) / 1.18 + 1e-12
            weight = 1.0 / np.sqrt(1.0 + (off / core) ** 2)
        else:
            off = off * 3600.0 / start.pixel_scale
            sigma = _with_excess(errors, off)
            weight = 1.0 / np.sqrt(sigma**2 + (0.5 * off) ** 2)
        lon, lat = from_tangent_plane(coefficients[0, 0], coefficients[0, 1], *crval)
        crval = (float(lon), float(lat))
    plane = np.stack(tangent_plane(ra, dec, *crval), axis=1)
    coefficients = _solve(design[:, 1:], plane, weight)
    return _projection(crval, start.crpix, terms[1:], coefficients, size)


def match_stars(
    x: Floats, y: Floats, predicted_x: Floats, predicted_y: Floats, radius: float
) -> tuple[Indices, Indices]:
    """Pairs of detections and predictions that are each other's nearest, within `radius`.

    Returns
    -------
    Indices of the detections and of the predictions, shape ``(n,)`` each, in the order of the
    predictions. Predictions that are not finite have no pair.
    """
    usable = np.flatnonzero(np.isfinite(predicted_x) & np.isfinite(predicted_y))
    if len(usable) == 0 or len(x) == 0:
        return np.empty(0, np.intp), np.empty(0, np.intp)
    found = np.column_stack([x, y])
    wanted = np.column_stack([predicted_x[usable], predicted_y[usable]])
    distance, nearest = cKDTree(found).query(wanted)
    _, back = cKDTree(wanted).query(found)
    pair = np.flatnonzero((distance <= radius) & (back[nearest] == np.arange(len(wanted))))
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
    best = _settle(detections, stars, shape, (start, radius), 1)
    if best is None:
        return None
    for order in range(2, max_order + 1):
        # Where distortion is strong a plain fit leaves the corners beyond a tight radius.
        reach = max(radius * 0.7, 6.0 * best.noise)
        better = _settle(detections, stars, shape, (best.projection, reach), order)
        if better is not None and _predicts_better(detections, stars, better, best):
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
        pairs = (x[detected], y[detected], ra[reference], dec[reference])
        projection = _best_order(pairs, sigma[detected], projection, max_order)
        off_x, off_y = np.subtract(pairs[:2], projection.sky_to_pixel(*pairs[2:]))
        better = sigma[detected] <= np.median(sigma[detected])
        noise = float(np.median(np.hypot(off_x, off_y)[better])) / _MEDIAN_OF_ROUND
        best = AstrometricFit(projection, known[detected], reference, off_x, off_y, noise)
    return best


def _best_order(
    pairs: tuple[Floats, Floats, Floats, Floats],
    errors: Floats,
    start: Projection,
    max_order: int,
) -> Projection:
    """Fit every order that the pairs allow; take the one that predicts left-out stars."""
    x, y, ra, dec = pairs
    orders = [
        order
        for order in range(1, max_order + 1)
        if order == 1 or STARS_PER_COEFFICIENT * len(polynomial_terms(order)) <= len(x)
    ]
    highest = fit_projection(*pairs, start, orders[-1], errors)
    off = np.hypot(*np.subtract((x, y), highest.sky_to_pixel(ra, dec)))
    sigma = _with_excess(errors, off)
    scale = 3600.0 / highest.pixel_scale
    # The weights of the robust fit: one blend must not ask for an order of its own.
    root = (scale / np.hypot(sigma, 0.5 * off))[:, np.newaxis]
    plane = np.stack(tangent_plane(ra, dec, *highest.crval), axis=1)
    u, v = x - start.crpix[0], y - start.crpix[1]
    size = max(float(np.max(np.hypot(u, v))), 1.0)
    misses = []
    for order in orders:
        missed = _left_out(_design(u / size, v / size, order) * root, plane * root)
        squared = missed * (scale / root[:, 0] / sigma) ** 2
        misses.append(float(np.sum(_HEAVY * np.log1p(squared / _HEAVY))))
    best = 0
    for k in range(1, len(orders)):
        terms = (len(polynomial_terms(orders[i])) for i in (k, best))
        extra = 2 * (next(terms) - next(terms))
        if misses[best] - misses[k] > 3.0 * np.sqrt(2.0 * extra):
            best = k
    return fit_projection(*pairs, start, orders[best], errors)


def _with_excess(errors: Floats, off: Floats) -> Floats:
    """Errors with the scatter added that the distances `off`, pixels, show beyond them.

    It shows in those whose errors are least.
    """
    best = errors <= np.median(errors)
    low, high = _LEAST_NOISE, max(float(np.median(off[best])), 2.0 * _LEAST_NOISE)
    for _ in range(20):
        middle = float(np.sqrt(low * high))
        if np.median(off[best] / np.hypot(errors[best], middle)) > _MEDIAN_OF_ROUND:
            low = middle
        else:
            high = middle
    return np.hypot(errors, high)


def _settle(
    detections: tuple[Floats, Floats],
    stars: tuple[Floats, Floats],
    shape: tuple[int, int],
    start: tuple[Projection, float],
    order: int,
) -> AstrometricFit | None:
    projection, radius = start
    last: AstrometricFit | None = None
    for _ in range(8):
        fit = _match_and_fit(detections, stars, shape, (projection, radius), order)
        if fit is None:
            return None
        projection = fit.projection
        tight = max(4.0 * fit.noise, 0.7)
        if last is not None and tight >= radius and len(last.detected) == len(fit.detected):
            break
        last = fit
        radius = min(radius, max(tight, 0.6 * radius))
    return fit


def _match_and_fit(
    detections: tuple[Floats, Floats],
    stars: tuple[Floats, Floats],
    shape: tuple[int, int],
    start: tuple[Projection, float],
    order: int,
) -> AstrometricFit | None:
    """One turn; None where the pairs are too few for the order."""
    x, y = detections
    ra, dec = stars
    px, py = _inside(*start[0].sky_to_pixel(ra, dec), shape, start[1])
    detected, reference = match_stars(x, y, px, py, start[1])
    terms = (order + 1) * (order + 2) // 2
    fewest = 4 if order == 1 else STARS_PER_COEFFICIENT * terms
    if len(detected) < fewest:
        return None
    pairs = (x[detected], y[detected], ra[reference], dec[reference])
    try:
        projection = fit_projection(*pairs, start[0], order)
    except np.linalg.LinAlgError:
        return None
    off_x, off_y = np.subtract(pairs[:2], projection.sky_to_pixel(*pairs[2:]))
    distance = np.nan_to_num(np.hypot(off_x, off_y), nan=np.inf)
    if not np.isfinite(np.median(distance)):
        return None
    freedom = max(len(detected) - terms, 1) / len(detected)
    # The median distance of a round normal error is 1.177 sigma.
    noise = float(np.median(distance)) / _MEDIAN_OF_ROUND / np.sqrt(freedom)
    kept = distance <= start[1]
    return AstrometricFit(
        projection, detected[kept], reference[kept], off_x[kept], off_y[kept], noise
    )


def _inside(px: Floats, py: Floats, shape: tuple[int, int], margin: float) -> tuple[Floats, Floats]:
    ny, nx = shape
    with np.errstate(invalid="ignore"):
        inside = (px > -margin) & (px < nx - 1 + margin) & (py > -margin) & (py < ny - 1 + margin)
    return np.where(inside, px, np.nan), np.where(inside, py, np.nan)


def _predicts_better(
    detections: tuple[Floats, Floats],
    stars: tuple[Floats, Floats],
    higher: AstrometricFit,
    lower: AstrometricFit,
) -> bool:
    """Tell whether the higher order predicts left-out stars better, beyond doubt."""
    crval, crpix = higher.projection.crval, higher.projection.crpix
    u = detections[0][higher.detected] - crpix[0]
    v = detections[1][higher.detected] - crpix[1]
    size = max(float(np.max(np.hypot(u, v))), 1.0)
    ra, dec = (s[higher.reference] for s in stars)
    plane = np.stack(tangent_plane(ra, dec, *crval), axis=1)
    scale = higher.projection.pixel_scale / 3600.0
    sound = np.hypot(higher.residual_x, higher.residual_y) <= max(4.0 * higher.noise, 0.3)
    orders = (lower.projection.order, higher.projection.order)
    left = [
        _left_out(_design(u[sound] / size, v[sound] / size, order), plane[sound]) / scale**2
        for order in orders
    ]
    extra = 2 * (len(polynomial_terms(orders[1])) - len(polynomial_terms(orders[0])))
    # One coordinate's variance from the left-out residuals themselves bears heavy tails.
    variance = 0.5 * float(np.mean(left[1]))
    gain = float(np.sum(left[0] - left[1])) / variance
    return gain > 3.0 * np.sqrt(2.0 * extra) and len(higher.detected) >= 0.9 * len(lower.detected)


def _left_out(design: Floats, plane: Floats) -> Floats:
    """Squared residual of each star from the fit to all others, both axes together."""
    q, _ = np.linalg.qr(design)
    leverage = np.minimum(np.sum(q**2, axis=1), 0.999)
    off = plane - q @ (q.T @ plane)
    return np.asarray(np.sum(off**2, axis=1) / (1.0 - leverage) ** 2)


def _solve(design: Floats, plane: Floats, weight: Floats) -> Floats:
    column = weight[:, np.newaxis]
    return np.asarray(np.linalg.lstsq(design * column, plane * column, rcond=None)[0], np.float64)


def _design(u: Floats, v: Floats, order: int) -> Floats:
    return np.stack([u**p * v**q for p, q in polynomial_terms(order)], axis=1)


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
