"""Tell stars from galaxies: how much wider than the PSF a source is, and the odds that follow.

Each source is fitted by the PSF and by the PSF widened by a small galaxy together; the share of
the light in the second is its extent (the idea of SPREAD_MODEL: Desai et al. 2012, ApJ 757, 83,
as linear least squares, so that it has an error). What that means depends on the frame: the
extents of all its sources are taken for a mixture of stars, which have none, and galaxies of all
sizes, whose part in the sources changes with their brightness. The mixture is fitted to the
frame, and gives the probability for each source.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter
from scipy.optimize import minimize
from scipy.special import expit, logsumexp

from firstlight.algorithms.flags import UNUSABLE
from firstlight.algorithms.psf.model import PsfModel
from firstlight.algorithms.sources.moments import FWHM_OF_SIGMA

__all__ = ["Extents", "Separation", "separate_stars", "source_extents"]

Floats = NDArray[np.float64]

_WIDENED = 0.7  # FWHM of the small galaxy, in FWHM of the PSF
_REACH = 2.0  # FWHM: half the side of the stamps
_MODEL_ERROR = 0.005  # of the light in a pixel
_ENOUGH = 0.8  # of the light on usable pixels
_AT_ONCE = 2000  # sources whose stamps are in memory together
_NODES = np.linspace(-2.5, 2.5, 21)  # of galaxies' sizes, sigma of their logarithm
_FEWEST = 30  # sources, to learn from
_MOST = 1000
_TAIL_ERRORS, _TAIL_EXTENT = 3.0, 0.5  # scatter of stars that are blended or hit
# Expectation and one sigma of: ln galaxies' typical extent, ln of its scatter, ln of the stars'
# own scatter, log odds of a galaxy among sources, and their change with log10 of the flux; log
# of the share of stars that are blended or hit.
_EXPECTED = np.array([-0.3, -0.3, np.log(0.02), -1.5, 0.0, np.log(0.03)])
_SURE = np.array([0.7, 0.4, 1.0, 2.0, 1.5, 0.5])


@dataclass(frozen=True)
class Extents:
    """How wide sources are.

    Attributes
    ----------
    extent, error
        Light in the widened profile over that of the PSF alone, and one sigma, ``(n,)``: 0 for
        a star, above 1 for a galaxy of 0.7 FWHM, more for larger ones, below 0 for what is
        sharper than a star. NaN where too few pixels can be used, or no light is seen.
    flux
        Electrons, both profiles together, ``(n,)``.
    """

    extent: Floats
    error: Floats
    flux: Floats


@dataclass(frozen=True)
class Separation:
    """What the sources of a frame are.

    Attributes
    ----------
    star
        Probability that a source is a star, ``(n,)``; NaN without an extent.
    scatter
        Of the extents of stars beyond their errors.
    typical, spread
        Median extent of galaxies, and one sigma of its natural logarithm.
    galaxies
        Share of galaxies among the sources.
    sources
        How many the mixture rests on; with fewer than thirty it is the expectation.
    """

    star: Floats
    scatter: float
    typical: float
    spread: float
    galaxies: float
    sources: int


def source_extents(
    planes: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint16]],
    psf: PsfModel,
    sources: tuple[ArrayLike, ArrayLike, ArrayLike],
    *,
    fwhm: float,
    model: NDArray[np.float32] | None = None,
) -> Extents:
    """Fit each source by the PSF and a widened PSF together.

    Parameters
    ----------
    planes
        Sky-subtracted electrons, variance of the sky alone, flags; each ``(ny, nx)``.
    psf
        Of this frame.
    sources
        x, y and flux of each, ``(n,)``, as `frame_photometry` fitted them.
    fwhm
        Pixels.
    model
        The light of all sources by those fluxes (`FrameFluxes.model`): neighbours are taken off
        by it. None where they need not be.
    """
    x, y, flux = (np.array(column, np.float64, ndmin=1) for column in sources)
    data, variance, flags = planes
    good = ((flags & int(UNUSABLE)) == 0) & np.isfinite(data) & np.isfinite(variance)
    light = np.zeros_like(data) if model is None else model
    frame = np.where(good, data, np.float32(0)), np.where(good, variance, np.float32(0)), light
    half = int(np.ceil(_REACH * fwhm))
    told = np.full((len(x), 3), np.nan)
    for start in range(0, len(x), _AT_ONCE):
        rows = np.arange(start, min(start + _AT_ONCE, len(x)))
        rows = rows[np.isfinite(x[rows] + y[rows] + flux[rows])]
        stamps = psf.stamps(x[rows], y[rows], half + 1)
        sigma = _WIDENED * fwhm / FWHM_OF_SIGMA
        wide = gaussian_filter(stamps, sigma, axes=(1, 2), mode="nearest", truncate=3.0)
        middles = np.stack([np.rint(x[rows]), np.rint(y[rows])], axis=1).astype(np.int64)
        own = flux[rows] if model is not None else np.zeros(len(rows))
        part = np.full((len(rows), 3), np.nan)
        _fit_two(frame, (stamps, wide, middles, own, np.maximum(flux[rows], 0.0)), part)
        told[rows] = part
    return Extents(told[:, 0], told[:, 1], told[:, 2])


def separate_stars(extents: Extents, *, galaxies: float | None = None) -> Separation:
    """Probabilities from the mixture of stars and galaxies that a frame's extents show.

    Parameters
    ----------
    extents
        Of all sources of a frame, unsaturated and whole ones above all.
    galaxies
        The share of galaxies expected among sources, for frames with too few to tell; None
        for about a fifth, unsure by a factor of five either way.

    Notes
    -----
    Parameters are those of the highest posterior probability, with wide priors. Where the error
    of an extent is large, the probability tends to the share of stars at that brightness: that
    is what is known of such a source.
    """
    known = np.isfinite(extents.extent) & (extents.error > 0) & (extents.flux > 0)
    rows = np.flatnonzero(known)
    star = np.full(len(known), np.nan)
    expected = _EXPECTED.copy()
    if galaxies is not None:
        expected[3] = np.log(galaxies / (1.0 - galaxies))
    if not len(rows):
        return _separation(star, expected, 0.0, 0)
    brightness = np.log10(extents.flux[rows])
    middle = float(np.median(brightness))
    columns = np.stack([extents.extent[rows], extents.error[rows], brightness - middle])
    best, used = expected, 0
    if len(rows) >= _FEWEST:
        # Stars of all brightnesses alike, to bound the work.
        some = columns[:, np.argsort(brightness)[:: max(1, len(rows) // _MOST)]]
        used = some.shape[1]

        def unlikely(p: Floats) -> float:
            as_star, as_galaxy = _likelihoods(some, p)
            prior = 0.5 * float((((p - expected) / _SURE) ** 2).sum())
            return prior - float(np.logaddexp(as_star, as_galaxy).sum())

        best = minimize(unlikely, expected, method="L-BFGS-B").x
    as_star, as_galaxy = _likelihoods(columns, best)
    star[rows] = expit(as_star - as_galaxy)
    return _separation(star, best, float(np.mean(1.0 - star[rows])), used)


def _separation(star: Floats, p: Floats, share: float, used: int) -> Separation:
    return Separation(
        star=star,
        scatter=float(np.exp(p[2])),
        typical=float(np.exp(p[0])),
        spread=float(np.exp(p[1])),
        galaxies=share,
        sources=used,
    )


def _likelihoods(columns: Floats, p: Floats) -> tuple[Floats, Floats]:
    """Log likelihood of each source as a star and as a galaxy, with their shares."""
    extent, error, brightness = columns
    odds = p[3] + p[4] * brightness
    sigma = np.hypot(error, np.exp(p[2]))
    tail = min(float(np.exp(p[5])), 0.5)
    wide = np.hypot(_TAIL_ERRORS * error, _TAIL_EXTENT)
    star = np.logaddexp(
        np.log1p(-tail) + _normal(extent, sigma), np.log(tail) + _normal(extent, wide)
    )
    sizes = np.exp(p[0] + np.exp(p[1]) * _NODES)
    weights = -0.5 * _NODES**2
    weights -= logsumexp(weights)
    # Each node stands for the sizes around it, however small the errors.
    around = sizes * np.exp(p[1]) * (_NODES[1] - _NODES[0])
    each = _normal(extent[:, None] - sizes, np.hypot(error[:, None], around)) + weights
    return star + np.log(expit(-odds)), logsumexp(each, axis=1) + np.log(expit(odds))


def _normal(off: Floats, sigma: Floats) -> Floats:
    return np.asarray(-0.5 * (off / sigma) ** 2 - np.log(sigma * np.sqrt(2.0 * np.pi)))


@njit(cache=True, nogil=True)
def _fit_two(frame, sources, told):  # type: ignore[no-untyped-def] # compiled
    """Extent, its error and the flux of each source; NaN where it cannot be told."""
    data, variance, model = frame
    stamps, wide, middles, own, light = sources
    ny, nx = data.shape
    half = stamps.shape[1] // 2
    column = np.empty(4)
    for s in range(stamps.shape[0]):
        square, right = np.zeros((4, 4)), np.zeros(4)
        share, whole = 0.0, 0.0
        narrow = stamps[s]
        for j in range(1, 2 * half):
            y = middles[s, 1] + j - half
            for i in range(1, 2 * half):
                x = middles[s, 0] + i - half
                whole += narrow[j, i]
                if x < 0 or y < 0 or x >= nx or y >= ny or not variance[y, x] > 0.0:
                    continue
                share += narrow[j, i]
                mine = light[s] * narrow[j, i]
                there = max(model[y, x], mine)
                w = 1.0 / (variance[y, x] + there + (_MODEL_ERROR * there) ** 2)
                off = data[y, x] - model[y, x] + own[s] * narrow[j, i]
                column[0], column[1] = narrow[j, i], wide[s, j, i]
                # A place that is a little wrong must not look like an extent.
                column[2] = narrow[j, i - 1] - narrow[j, i + 1]
                column[3] = narrow[j - 1, i] - narrow[j + 1, i]
                for a in range(4):
                    right[a] += w * column[a] * off
                    for b in range(4):
                        square[a, b] += w * column[a] * column[b]
        if share < _ENOUGH * whole or np.linalg.cond(square) > 1e12:
            continue
        inverse = np.linalg.inv(square)
        found = inverse @ right
        # Relative to what the PSF alone makes of the source: so the extent's error is Gaussian.
        point = right[0] / square[0, 0]
        if point > 1.0 / np.sqrt(square[0, 0]):
            told[s, 0] = found[1] / point
            told[s, 1] = np.sqrt(max(inverse[1, 1], 0.0)) / point
            told[s, 2] = found[0] + found[1]
