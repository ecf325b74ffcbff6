"""How much of a star's light a circle holds: the curve of growth, over the image and beyond it.

Two things make an aperture's share of the light uncertain. It changes over the image, because
the stars grow away from the optical axis: the share of each circle in the largest one is fitted
as a polynomial of the place. And the largest circle does not hold all: what lies beyond is
extrapolated with a Moffat profile (Moffat 1969, A&A 3, 455) fitted to the same curve. Its power
has a wide prior, so that a curve that tells little of the wings gives ordinary ones, with a
large error.

Neighbours too faint to be seen, and a sky that is a little too low, add the same light to every
star, and most to the largest circle. So the shares are read at the bright end of a line in one
over the flux.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from firstlight.algorithms.median_deviation import MAD_TO_SIGMA
from firstlight.algorithms.sources.aperture import ApertureFluxes

__all__ = ["GrowthCurve", "growth_curve", "uncrowded", "undisturbed"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_MIN_SNR = 50.0
_MOST_STARS = 60  # the brightest: unseen neighbours add the same light to each star
_CLIP = 4.0
_TURNS = 5
_STARS_A_TERM = 8
_FEWEST_FOR_SCATTER = 5
_SECTORS = 8
_UNLIKE = 3.0  # sigma of a sector
_WORTHWHILE = 12.0  # improvement of chi-square a term, for a curve that changes over the image
_MODEL_ERROR = 1e-3  # no star is exactly a Moffat profile
_WINGS_ERROR = 0.15  # of the light beyond: wings need not go on as they began
_LEAST_SHARE = 0.6  # smaller circles feel the pixels more than the profile
# Powers of real telescopes lie between 2 (bad mirrors) and 5 (nothing but the air).
_POWERS = np.linspace(1.6, 10.0, 85)
_USUAL, _SPREAD = 1 / 3.2, 0.1
_STRETCH = np.linspace(0.6, 1.7, 111)


@dataclass(frozen=True)
class GrowthCurve:
    """Share of the light of a point source in circles.

    Attributes
    ----------
    radii
        Pixels, ascending, shape ``(k,)``.
    share
        In each circle of the light in the largest, mean over the stars, ``(k,)``; NaN without
        stars.
    terms
        Of a polynomial in the scaled place: the same share as it changes over the image,
        ``(n_term, k)``.
    covariance
        Of `terms`, ``(k, n_term, n_term)``.
    scatter
        Of single stars about that polynomial, beyond their noise, ``(k,)``.
    middle, reach
        Scaled place is ``(pixels - middle) / reach``, limited to ±1.
    core, power
        Of the Moffat profile; NaN without stars.
    beyond, beyond_err
        Share of all light that lies outside the largest circle, and its one-sigma error.
    stars
        How many it rests on.
    """

    radii: Floats
    share: Floats
    terms: Floats
    covariance: Floats
    scatter: Floats
    middle: tuple[float, float]
    reach: tuple[float, float]
    core: float
    power: float
    beyond: float
    beyond_err: float
    stars: int

    @property
    def factor(self) -> Floats:
        """What a flux in each circle is multiplied with to hold all the light, ``(k,)``.

        A mean over the stars; ones without stars.
        """
        if self.stars == 0:
            return np.ones(len(self.radii))
        return np.asarray(1.0 / (self.share * (1.0 - self.beyond)))

    def at(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Factor to all the light and its relative one-sigma error at places of the image.

        Parameters
        ----------
        x, y
            Pixels, shape ``(n,)``.

        Returns
        -------
        Both ``(n, k)``. The error holds those of the polynomial and of the extrapolation, and
        what single stars scatter about it. Factor 1 and error 0 without stars.
        """
        if self.stars == 0:
            shape = (len(x), len(self.radii))
            return np.ones(shape), np.zeros(shape)
        design = _design(self._scaled(x, y), len(self.terms))
        share = design @ self.terms
        spread = np.einsum("ni,kij,nj->nk", design, self.covariance, design) + self.scatter**2
        beyond = self._beyond(share)
        factor = 1.0 / (share * (1.0 - beyond)[:, None])
        own = spread / share**2 + (self.beyond_err / (1.0 - self.beyond)) ** 2
        return factor, np.sqrt(own)

    def _scaled(self, x: Floats, y: Floats) -> Floats:
        place = np.stack([x, y], axis=1)
        scaled = (place - np.array(self.middle)) / np.array(self.reach)
        # Beyond the stars that bind it a polynomial may go anywhere.
        return np.asarray(np.clip(np.nan_to_num(scaled), -1.0, 1.0))

    def _beyond(self, share: Floats) -> Floats:
        """Wings at places whose stars are wider or narrower than the mean, ``(n,)``."""
        told = int(np.argmin(np.abs(self.share - 0.9)))
        cores = self.core * _STRETCH
        largest = _held(self.radii[-1:], cores[:, None], self.power)[:, 0]
        model = _held(self.radii[told : told + 1], cores[:, None], self.power)[:, 0] / largest
        at_one = np.interp(1.0, _STRETCH, model)
        # The measured share relative to the mean one, on the model's own scale.
        wanted = share[:, told] / self.share[told] * at_one
        outside = np.interp(wanted, model[::-1], (1.0 - largest)[::-1])
        usual = np.interp(1.0, _STRETCH, 1.0 - largest)
        return np.asarray(self.beyond * outside / max(float(usual), 1e-9))


def growth_curve(
    fluxes: ApertureFluxes, x: Floats, y: Floats, usable: Bools | None = None
) -> GrowthCurve:
    """Curve of growth of the bright stars of one image.

    Parameters
    ----------
    fluxes
        Of candidates, in at least two circles.
    x, y
        Their places, pixels, shape ``(n,)``.
    usable
        True for isolated point sources, ``(n,)``; all if None. Flagged ones and those below a
        signal-to-noise ratio of 50 in the largest circle are left out anyhow.

    Returns
    -------
    Without a single usable star all shares are NaN and `stars` is 0.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        snr = fluxes.flux[:, -1] / fluxes.error[:, -1]
        good = (snr > _MIN_SNR) & (fluxes.flags[:, -1] == 0) & (fluxes.flux > 0).all(axis=1)
    if usable is not None:
        good &= usable
    chosen = np.flatnonzero(good)
    chosen = chosen[np.argsort(-snr[chosen], kind="stable")[:_MOST_STARS]]
    if len(chosen) == 0:
        return _unknown(fluxes.radii)
    flux, error = fluxes.flux[chosen], fluxes.error[chosen]
    ratio = flux / flux[:, -1:]
    # Circles are nested: only the ring between a circle and the largest is independent of it.
    ring = np.maximum(np.square(error[:, -1:]) - np.square(error), 0.0)
    noise = np.sqrt(np.square(ratio) * ring + np.square((1 - ratio) * error)) / flux[:, -1:]
    place = np.stack([x[chosen], y[chosen]], axis=1)
    low, high = place.min(axis=0), place.max(axis=0)
    reach = np.maximum((high - low) / 2.0, 1.0)
    scaled = (place - (low + high) / 2.0) / reach
    kept = _alike(ratio, noise)
    stars = _Stars(ratio[kept], noise[kept], np.median(flux[:, -1]) / flux[kept, -1])
    terms, covariance, scatter = _fit(scaled[kept], stars)
    share = np.average(_design(scaled[kept], len(terms)) @ terms, axis=0)
    mean_error = np.sqrt(covariance[:, 0, 0])
    core, power, beyond, beyond_err = _profile(fluxes.radii, share, mean_error)
    middle = (low + high) / 2.0
    return GrowthCurve(
        radii=fluxes.radii,
        share=share,
        terms=terms,
        covariance=covariance,
        scatter=scatter,
        middle=(float(middle[0]), float(middle[1])),
        reach=(float(reach[0]), float(reach[1])),
        core=core,
        power=power,
        beyond=beyond,
        beyond_err=beyond_err,
        stars=int(kept.sum()),
    )


def _unknown(radii: Floats) -> GrowthCurve:
    size = len(radii)
    return GrowthCurve(
        radii=radii,
        share=np.full(size, np.nan),
        terms=np.full((1, size), np.nan),
        covariance=np.zeros((size, 1, 1)),
        scatter=np.zeros(size),
        middle=(0.0, 0.0),
        reach=(1.0, 1.0),
        core=float("nan"),
        power=float("nan"),
        beyond=0.0,
        beyond_err=0.0,
        stars=0,
    )


def _alike(ratio: Floats, noise: Floats) -> Bools:
    """Stars whose curve is that of the others: neighbours and cosmic rays make others."""
    middle = np.median(ratio, axis=0)
    off = np.abs(ratio - middle)
    limit = _CLIP * np.maximum(MAD_TO_SIGMA * np.median(off, axis=0), noise + _MODEL_ERROR)
    kept = np.asarray((off <= limit).all(axis=1))
    return kept if kept.any() else np.ones(len(ratio), dtype=bool)


def _design(scaled: Floats, n_term: int) -> Floats:
    u, v = scaled.T
    columns = [np.ones(len(u)), u, v, u * u, u * v, v * v]
    return np.stack(columns[:n_term], axis=1)


@dataclass(frozen=True)
class _Stars:
    """What the curve is made of: shares and their noise ``(n, k)``, faintness ``(n,)``."""

    ratio: Floats
    noise: Floats
    faintness: Floats


def _fit(scaled: Floats, stars: _Stars) -> tuple[Floats, Floats, Floats]:
    """Terms ``(n_term, k)``, covariances ``(k, n_term, n_term)``, intrinsic scatters ``(k,)``."""
    size, n_term = stars.ratio.shape[1], _terms_needed(scaled, stars)
    design = _design(scaled, n_term)
    terms, scatter = np.zeros((n_term, size)), np.zeros(size)
    covariance = np.zeros((size, n_term, n_term))
    terms[0, -1] = 1.0
    for k in range(size - 1):
        terms[:, k], covariance[k], scatter[k] = _fit_one(design, stars, k)
    return terms, covariance, scatter


def _terms_needed(scaled: Floats, stars: _Stars) -> int:
    """How many terms the stars call for: a constant, a plane or a quadratic surface.

    Told by the smaller circles, which feel the width of the stars most and neighbours least.
    """
    told = min(1, stars.ratio.shape[1] - 1)
    ratio = stars.ratio[:, told]
    root = 1.0 / np.hypot(stars.noise[:, told], _MODEL_ERROR)
    best, chosen = np.inf, 1
    for n_term in (1, 3, 6):
        if n_term > 1 and len(ratio) < _STARS_A_TERM * n_term:
            break
        full = np.column_stack([_design(scaled, n_term), stars.faintness])
        found = np.linalg.lstsq(full * root[:, None], ratio * root, rcond=None)[0]
        left = (ratio - full @ found) * root
        # Relative to the scatter that remains: what none explains must not call for one.
        freedom = max(len(left) - n_term, 1)
        cost = freedom * np.log(np.sum(left**2) / freedom + 1e-12) + _WORTHWHILE * np.log(n_term)
        if cost < best:
            best, chosen = cost, n_term
    return chosen


def _fit_one(design: Floats, stars: _Stars, k: int) -> tuple[Floats, Floats, float]:
    """Terms, their covariance, and the intrinsic scatter of stars about them.

    Light that all stars share is fitted with them, held near zero by a prior as wide as the
    noise of the typical star.
    """
    ratio, noise, n_term = stars.ratio[:, k], stars.noise[:, k], design.shape[1]
    full = np.column_stack([design, stars.faintness])
    held = np.full(n_term + 1, 1e-9)
    left, sigma, scatter = ratio - np.median(ratio), noise + _MODEL_ERROR, 0.0
    found, inverse = np.zeros(n_term + 1), np.eye(n_term + 1)
    for _ in range(_TURNS):
        weight = _biweight(left / sigma) / np.square(sigma)
        loaded = full * weight[:, None]
        held[-1] = 1.0 / (float(np.median(np.square(sigma))) + 1e-12)
        inverse = np.linalg.inv(loaded.T @ full + np.diag(held))
        found = inverse @ (loaded.T @ ratio)
        left = ratio - full @ found
        sigma, scatter = _spread(left, noise, stars.faintness, n_term)
    return found[:-1], inverse[:-1, :-1], scatter


def _spread(left: Floats, noise: Floats, faintness: Floats, n_term: int) -> tuple[Floats, float]:
    """Sigma of each star's share ``(n,)``, and that part which is intrinsic.

    Neighbours too faint to be seen add their light whatever a star's own, which is told by the
    fainter half; what a profile itself changes is a share of the light, told by the brightest.
    """
    grown = MAD_TO_SIGMA * float(np.sqrt(len(left) / max(len(left) - n_term, 1)))
    faint = faintness >= np.median(faintness)
    disturbed = float(np.median(np.abs(left / faintness)[faint])) * grown
    usual = float(np.median(np.square(noise / faintness)[faint]))
    added = np.square(faintness) * max(disturbed**2 - usual, 0.0)
    number = max(_FEWEST_FOR_SCATTER, len(left) // 4)
    brightest = np.argsort(faintness, kind="stable")[:number]
    spread = float(np.median(np.abs(left[brightest]))) * grown
    known = float(np.median((np.square(noise) + added)[brightest]))
    scatter = float(np.sqrt(max(spread**2 - known, 0.0)))
    return np.sqrt(np.square(noise) + added + scatter**2) + 1e-6, scatter


def _biweight(off: Floats) -> Floats:
    """Tukey's weights of deviations in sigma."""
    return np.asarray(np.square(np.clip(1.0 - np.square(off / _CLIP), 0.0, None)) + 1e-6)


def _held(radii: Floats, core: Floats | float, power: Floats | float) -> Floats:
    """Share of a Moffat profile's light inside radii."""
    return np.asarray(1.0 - (1.0 + np.square(radii / core)) ** (1.0 - np.asarray(power)))


def _profile(radii: Floats, share: Floats, error: Floats) -> tuple[float, float, float, float]:
    """Core, power, and the mean and scatter of what lies beyond, over all likely profiles."""
    told = (share >= _LEAST_SHARE) & (share < 1.0)
    if not told.any():
        told = np.arange(len(share)) == max(len(share) - 2, 0)
    half = float(np.interp(0.6, share, radii)) if share[0] < 0.6 else float(radii[0])
    cores = half * np.geomspace(0.4, 3.0, 240)
    model = _held(radii[:, None, None], cores[:, None], _POWERS)
    largest = model[-1]
    sigma = np.hypot(error, _MODEL_ERROR)[told, None, None]
    chi = np.sum(np.square((model[told] / largest - share[told, None, None]) / sigma), axis=0)
    chi = chi + np.square((1.0 / _POWERS - _USUAL) / _SPREAD)
    likely = np.exp(-0.5 * (chi - chi.min()))
    likely /= likely.sum()
    outside = 1.0 - largest
    beyond = float(np.sum(likely * outside))
    spread = float(np.sqrt(max(np.sum(likely * np.square(outside)) - beyond**2, 0.0)))
    row, column = np.unravel_index(int(np.argmin(chi)), chi.shape)
    error_beyond = float(np.hypot(spread, _WINGS_ERROR * beyond))
    return float(cores[row]), float(_POWERS[column]), beyond, error_beyond


def undisturbed(
    planes: tuple[NDArray[np.floating], NDArray[np.floating]],
    x: Floats,
    y: Floats,
    flux: Floats,
    sky: Floats,
    ring: tuple[float, float],
) -> Bools:
    """Where the ring about a star looks like that of the other stars, in each of eight sectors.

    It finds companions that are no peaks of their own in the wings of a bright star. One sector
    has an eighth of the ring's noise power, and the median over the stars knows few companions.

    Parameters
    ----------
    planes
        Image and its variance, ``(ny, nx)``.
    x, y, flux, sky
        Of the stars: pixels, light in the unit of the image, and sky a pixel, ``(n,)``.
    ring
        Inner and outer radius, pixels.
    """
    data, variance = planes
    light, noise = np.full((len(x), _SECTORS), np.nan), np.full((len(x), _SECTORS), np.nan)
    reach = int(np.ceil(ring[1]))
    for n in np.flatnonzero(np.isfinite(x + y + flux + sky) & (flux > 0)):
        j, i = int(np.rint(y[n])), int(np.rint(x[n]))
        if not (reach <= i < data.shape[1] - reach and reach <= j < data.shape[0] - reach):
            continue
        part = np.s_[j - reach : j + reach + 1, i - reach : i + reach + 1]
        dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1]
        dy, dx = dy + (j - y[n]), dx + (i - x[n])
        inside = (np.hypot(dx, dy) >= ring[0]) & (np.hypot(dx, dy) < ring[1])
        inside &= np.isfinite(variance[part])
        turn = (np.arctan2(dy, dx)[inside] / (2 * np.pi) % 1.0 * _SECTORS).astype(int) % _SECTORS
        light[n] = np.bincount(turn, data[part][inside] - sky[n], _SECTORS) / flux[n]
        noise[n] = np.sqrt(np.bincount(turn, variance[part][inside], _SECTORS)) / flux[n]
    seen: Bools = np.isfinite(light).all(axis=1)
    if not seen.any():
        return seen
    off = light - np.median(light[seen], axis=0)
    # Whole pixels in round sectors: where a star lies in its pixel changes them a little.
    usual = MAD_TO_SIGMA * np.median(np.abs(off[seen]), axis=0)
    with np.errstate(invalid="ignore"):
        alike = np.abs(off) < _UNLIKE * np.hypot(noise, 0.5 * usual)
    return np.asarray(alike.all(axis=1), dtype=np.bool_)


def uncrowded(x: Floats, y: Floats, flux: Floats, radius: float, most: float) -> Bools:
    """Where all others within `radius` (pixels) together have less than `most` of a star's light.

    Parameters
    ----------
    x, y, flux
        Of all that was found, shape ``(n,)``; what is not finite or not positive disturbs nobody.
    """
    light = np.where(np.isfinite(flux), np.maximum(flux, 0.0), 0.0)
    known = np.isfinite(x) & np.isfinite(y)
    tree = cKDTree(np.stack([x, y], axis=1)[known])
    pairs = tree.query_pairs(radius, output_type="ndarray")
    around = np.zeros(int(known.sum()))
    own = light[known]
    np.add.at(around, pairs[:, 0], own[pairs[:, 1]])
    np.add.at(around, pairs[:, 1], own[pairs[:, 0]])
    out = np.zeros(len(x), dtype=bool)
    out[known] = around < most * own
    return out
