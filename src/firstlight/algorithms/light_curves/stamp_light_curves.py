"""Relative light curves, colour by colour, of stars on a colour mosaic.

For each star, in this order: reference stars are chosen by the likeness of their stamps and
combined (`similar_stamps`) into a comparison, which is what the star would have given in each
frame had it been constant; an aperture for each colour is taken from the comparison; the light of
the star in it over that of the comparison, frame by frame, is the light curve. Then what all stars
of the field still share (a haze that is thicker on one side, vignetting that the drift turns into
a trend) is taken out, and the errors are measured on the field (`light_curve_noise`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.light_curves.mosaic_sky import BANDS
from firstlight.algorithms.light_curves.noise import fit_noise_model
from firstlight.algorithms.light_curves.self_calibration import clipped_scatter, fit_shared_terms
from firstlight.algorithms.light_curves.similar_stamps import (
    StampStack,
    combination,
    similarity,
    windows,
)
from firstlight.algorithms.light_curves.stamps import MARGIN
from firstlight.errors import UserError

__all__ = [
    "USUAL_RULES",
    "NotEnoughReferences",
    "ReferenceRules",
    "StampLightCurves",
    "StampPhotometry",
    "solve_stamp_light_curves",
]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Integers = NDArray[np.int64]

_TO_MAG = 2.5 / np.log(10.0)
_OFTEN = 0.9  # of the frames, in which a reference must be usable
_PLENTY = 100  # references usable in all frames: no others are needed
_WILD = 4.0  # times the field's scatter: a star whose plain sums say that it varies
_SHARING = 12  # stars that tell what is shared; fewer would take out each other's noise
_MOST_SHARING = 300
_PRECISE = 0.05  # their errors, magnitudes
_CLIPPINGS = 3
_LIKE = 60  # stars of like brightness that tell how alike stars are


class NotEnoughReferences(UserError):
    """Too few frames, or no star has enough others to be compared with."""

    code = "stamp_light_curve.too_few_references"


@dataclass(frozen=True)
class ReferenceRules:
    """How references and apertures are chosen.

    Attributes
    ----------
    most, fewest
        References of a star. A star with fewer candidates gets no light curve.
    signal_to_noise
        Of a candidate's whole stamp in a typical frame.
    aperture_cutoff
        Share of a colour's information (squared signal to noise) that the pixels left out of the
        aperture hold together. The project's own code uses 0.2; 0.05 had 5 % less scatter.
    fewest_frames
        In which a star must be usable.
    """

    most: int = 150
    fewest: int = 10
    signal_to_noise: float = 20.0
    aperture_cutoff: float = 0.05
    fewest_frames: int = 10


USUAL_RULES = ReferenceRules()


@dataclass(frozen=True)
class StampPhotometry:
    """The stamps of an observation.

    Attributes
    ----------
    pixels
        Electrons with the sky, ``(n_star, n_frame, side, side)``.
    row, column
        Of the star in its stamp, pixels, ``(n_star, n_frame)``.
    usable
        Whether the stamp is whole, unsaturated and unflagged, ``(n_star, n_frame)``.
    sky
        Electrons per pixel of each colour, ``(n_star, n_frame, 3)``.
    x, y
        On the detector, pixels, ``(n_star, n_frame)``; NaN where unknown.
    bands
        Colour of each element of a stamp, index into `mosaic_sky.BANDS`, ``(side, side)``.
    read_noise
        Electrons.
    """

    pixels: NDArray[np.float32]
    row: Floats
    column: Floats
    usable: Bools
    sky: Floats
    x: Floats
    y: Floats
    bands: Integers
    read_noise: float


@dataclass(frozen=True)
class StampLightCurves:
    """Light curves; NaN where a star was not usable or has no references.

    Attributes
    ----------
    flux, error
        Relative to the star's own median, and one-sigma errors with the systematic floor,
        ``(n_star, n_colour, n_frame)``.
    combined, combined_error
        Of all colours, weighted by their errors, ``(n_star, n_frame)``.
    scatter, expected
        Robust rms of the curves as fractions, and what their errors expect, colours first and
        then the combination, ``(n_star, n_colour + 1)``.
    electrons
        In the aperture in a typical frame, ``(n_star, n_colour)``.
    aperture
        Pixels in the aperture in a typical frame, ``(n_star, n_colour)``.
    references, coefficients
        Indices of the references, most alike first, -1 where there are fewer, and their typical
        coefficients, ``(n_star, most)``.
    variable
        Stars found to vary, which are nobody's reference, ``(n_star,)``.
    misfit
        Mean squared difference of the star's stamps and its comparison's of the same light, in
        units of their noise, ``(n_star,)``. A star that varies looks like its references all the
        same, and has about 1; one with a neighbour in its light does not, however steady.
    blended
        Stars whose misfit is half as much again as that of stars as bright, ``(n_star,)``: their
        neighbours move in and out of their light as they drift, and what looks like variability
        may be that.
    """

    flux: Floats
    error: Floats
    combined: Floats
    combined_error: Floats
    scatter: Floats
    expected: Floats
    electrons: Floats
    aperture: Floats
    references: Integers
    coefficients: Floats
    variable: Bools
    misfit: Floats
    blended: Bools


def solve_stamp_light_curves(
    photometry: StampPhotometry, rules: ReferenceRules = USUAL_RULES
) -> StampLightCurves:
    """Make the light curves of all stars from their stamps.

    Raises
    ------
    NotEnoughReferences
        With fewer frames than the rules ask for, or when no star has references enough.
    """
    n_frame = photometry.usable.shape[1]
    if n_frame < rules.fewest_frames:
        raise NotEnoughReferences(
            "a light curve needs more frames",
            found=n_frame,
            expected=f"at least {rules.fewest_frames}",
        )
    stars = _Stars(photometry, rules)
    curves = _Curves.empty(len(photometry.usable), n_frame, rules.most)
    every = np.arange(len(photometry.usable))
    _solve(stars, curves, every)
    if not np.isfinite(curves.flux).any():
        raise NotEnoughReferences(
            "no star has enough others to be compared with",
            found=f"{int(stars.candidate.sum())} candidates",
            expected=f"at least {rules.fewest}, alike and apart",
        )
    first = _finished(curves, photometry)
    varying = _varying(first, n_frame)
    stars.candidate &= ~varying
    misled = _misled(first, varying)
    if not misled.any():
        return replace(first, variable=varying)
    _solve(stars, curves, every[misled])
    return replace(_finished(curves, photometry), variable=varying)


@dataclass
class _Curves:
    """Light curves as they are filled in, before what they share is known."""

    flux: Floats
    error: Floats
    electrons: Floats
    aperture: Floats
    references: Integers
    coefficients: Floats
    misfit: Floats

    @classmethod
    def empty(cls, n_star: int, n_frame: int, most: int) -> _Curves:
        n = len(BANDS)
        return cls(
            flux=np.full((n_star, n, n_frame), np.nan),
            error=np.full((n_star, n, n_frame), np.nan),
            electrons=np.full((n_star, n), np.nan),
            aperture=np.full((n_star, n), np.nan),
            references=np.full((n_star, most), -1),
            coefficients=np.zeros((n_star, most)),
            misfit=np.full(n_star, np.nan),
        )


class _Stars:
    """All stamps, prepared for comparison, and who may be a reference."""

    def __init__(self, photometry: StampPhotometry, rules: ReferenceRules) -> None:
        self.given, self.rules = photometry, rules
        above = photometry.pixels - np.take(
            photometry.sky.astype(np.float32), photometry.bands, axis=2
        )
        whole = photometry.usable & np.isfinite(above).all(axis=(2, 3))
        self.stack = StampStack.prepare(above, photometry.row, photometry.column, whole)
        window = slice(MARGIN, photometry.bands.shape[0] - MARGIN)
        self.bands = photometry.bands[window, window].ravel()
        shares = np.bincount(self.bands, minlength=len(BANDS))
        # Variance that is there without the star, summed over a window.
        self.floor = photometry.sky @ shares + len(self.bands) * photometry.read_noise**2
        self.candidate = self._steady()

    def _steady(self) -> Bools:
        """Stars often usable, bright enough, and whose plain sums do not vary wildly."""
        usable, total = self.stack.usable, self.stack.total[:, :, 1, 1].astype(np.float64)
        positive = np.where(usable, total, 1.0)
        formal = _TO_MAG * np.sqrt(positive + np.maximum(self.floor, 0)) / positive
        often: Bools = usable.mean(axis=1) >= _OFTEN
        typical = np.full(len(usable), np.inf)
        typical[often] = np.nanmedian(np.where(usable, formal, np.nan)[often], axis=1)
        bright: Bools = often & (typical < _TO_MAG / self.rules.signal_to_noise)
        if not bright.any():
            return bright
        level = np.where(usable, -_TO_MAG * np.log(positive), np.nan)[bright]
        level -= np.nanmedian(level, axis=1, keepdims=True)
        seen = usable[bright].any(axis=0)
        level[:, seen] -= np.nanmedian(level[:, seen], axis=0)
        scatter = clipped_scatter(level, usable[bright])
        # Where in its superpixels a star is changes its sum: the model's floor knows that.
        model = fit_noise_model(scatter, typical[bright])
        bright[bright] = scatter < _WILD * model.sigma(typical[bright])
        return bright

    def references(self, target: int, frames: Integers) -> Integers:
        """Who is compared with a star, most alike first; nobody when there are too few."""
        given, side = self.given, self.given.bands.shape[0]
        seen = self.stack.usable[:, frames].mean(axis=1)
        allowed = self.candidate & (seen >= _OFTEN)
        allowed[target] = False
        # Stars whose stamps share pixels share noise, and each is in the other's light.
        middle = frames[len(frames) // 2]
        away_x = np.abs(given.x[:, middle] - given.x[target, middle])
        away_y = np.abs(given.y[:, middle] - given.y[target, middle])
        allowed &= ~((away_x < side) & (away_y < side))
        # References that come and go change the comparison: those that stay are better.
        if (allowed & (seen == 1)).sum() >= _PLENTY:
            allowed &= seen == 1
        candidates = np.flatnonzero(allowed)
        if len(candidates) < self.rules.fewest:
            return candidates[:0]
        score = similarity(self.stack, target, candidates)
        best = np.argsort(score, kind="stable")[: self.rules.most]
        return candidates[best[np.isfinite(score[best])]]


def _solve(stars: _Stars, curves: _Curves, targets: Integers) -> None:
    """Fill in the curves of some stars."""
    for target in targets.tolist():
        for values in (curves.flux, curves.error, curves.electrons, curves.aperture, curves.misfit):
            values[target] = np.nan
        curves.references[target], curves.coefficients[target] = -1, 0.0
        frames = np.flatnonzero(stars.stack.usable[target])
        if len(frames) < stars.rules.fewest_frames:
            continue
        chosen = stars.references(target, frames)
        if len(chosen) >= stars.rules.fewest:
            _solve_one(stars, curves, target, frames, chosen)


def _solve_one(
    stars: _Stars, curves: _Curves, target: int, frames: Integers, chosen: Integers
) -> None:
    given, n_pixel = stars.given, len(stars.bands)
    seen = stars.stack.usable[np.ix_(chosen, frames)]
    light = windows(stars.stack, target, chosen)[:, frames].reshape(len(chosen), -1, n_pixel)
    own = windows(stars.stack, target, np.array([target]))[0, frames].reshape(-1, n_pixel)
    total = np.where(seen, light.sum(axis=2, dtype=np.float64), np.nan)
    mean = np.nanmedian(total, axis=1)
    spread = np.nanmean((total + stars.floor[np.ix_(chosen, frames)]) / total**2, axis=1)
    alike = np.where(seen[:, :, None], light / np.nan_to_num(total, nan=1.0)[:, :, None], 0)
    aim = own / own.sum(axis=1, keepdims=True)
    found = combination(aim, alike.astype(np.float32), seen, spread)
    kept = np.asarray(np.isfinite(found).all(axis=1))
    found = np.where(kept[:, None], found, 0.0)
    share = found / mean
    comparison = np.einsum("fk,kfp->fp", share, light)
    size = np.median(own.sum(axis=1)) / np.median(comparison.sum(axis=1))
    if not (np.isfinite(size) and size > 0):
        return
    share *= size
    comparison *= size
    sky = np.einsum("fk,kfb->fb", share**2, given.sky[np.ix_(chosen, frames)])
    unsure = np.maximum(np.einsum("fk,kfp->fp", share**2, light), 0) + sky[:, stars.bands]
    unsure += given.read_noise**2 * np.square(share).sum(axis=1, keepdims=True)
    background = given.sky[target][frames][:, stars.bands] + given.read_noise**2
    curves.misfit[target] = _misfit(own, comparison, background, unsure)
    for band in range(len(BANDS)):
        of = stars.bands == band
        planes = (own[:, of], comparison[:, of], background[:, of], unsure[:, of])
        flux, error, electrons, size_of = _extract(*planes, stars.rules.aperture_cutoff)
        curves.flux[target, band, frames] = flux
        curves.error[target, band, frames] = error
        curves.electrons[target, band] = electrons
        curves.aperture[target, band] = size_of
    curves.references[target, : len(chosen)] = chosen
    curves.coefficients[target, : len(chosen)] = np.median(found, axis=0)


def _misfit(own: Floats, comparison: Floats, background: Floats, unsure: Floats) -> float:
    """Reduced chi-square of the stamps' shapes, all ``(n_frame, n_pixel)``."""
    light = comparison.sum(axis=1, keepdims=True)
    size = np.divide(
        own.sum(axis=1, keepdims=True), light, out=np.ones_like(light), where=light > 0
    )
    expected = size * comparison
    variance = np.maximum(expected, 0) + background + size**2 * unsure
    return float(np.mean((own - expected) ** 2 / variance))


def _extract(
    own: Floats, comparison: Floats, background: Floats, unsure: Floats, cutoff: float
) -> tuple[Floats, Floats, float, float]:
    """Light of the star over that of the comparison, in the pixels that know most about it.

    Within the aperture a pixel's weight is its expected light over its variance, for both alike:
    the weighting of Horne (1986, PASP 98, 609), with the comparison as the profile. It has 10 %
    less scatter than plain sums, and asks nothing of the star's own noisy pixels.

    Parameters
    ----------
    own, comparison, background, unsure
        Light of both, and variances: without the star's light, and of the comparison,
        ``(n_frame, n_pixel)``.

    Returns
    -------
    Relative flux and its error ``(n_frame,)``, typical electrons and pixels in the aperture. NaN
    where the comparison has no light.
    """
    light = np.maximum(comparison, 0)
    variance = light + background
    known = light**2 / variance
    order = np.argsort(known, axis=1)
    below = np.cumsum(np.take_along_axis(known, order, 1), axis=1)
    inside = np.zeros(known.shape, dtype=bool)
    np.put_along_axis(inside, order, below > cutoff * below[:, -1:], axis=1)
    weight = np.where(inside, light / variance, 0.0)
    measured, expected = (weight * own).sum(axis=1), (weight * comparison).sum(axis=1)
    good = expected > 0
    flux, error = np.full(len(own), np.nan), np.full(len(own), np.nan)
    flux[good] = measured[good] / expected[good]
    squared = (weight**2 * variance).sum(axis=1) + (weight**2 * unsure).sum(axis=1)
    error[good] = np.sqrt(squared[good]) / expected[good]
    level = float(np.median(flux[good])) if good.any() else np.nan
    if not level > 0:
        return flux * np.nan, error * np.nan, np.nan, np.nan
    electrons = float(np.median(np.where(inside, light, 0).sum(axis=1)))
    return flux / level, error / level, electrons, float(np.median(inside.sum(axis=1)))


def _finished(curves: _Curves, photometry: StampPhotometry) -> StampLightCurves:
    """Take out what is shared, measure the errors, and combine the colours."""
    flux, error = np.full_like(curves.flux, np.nan), np.full_like(curves.error, np.nan)
    scatter = np.full((len(flux), len(BANDS) + 1), np.nan)
    expected = scatter.copy()
    blended = _blended(curves.misfit, curves.electrons.sum(axis=1))
    for band in range(len(BANDS)):
        one = _without_shared(curves.flux[:, band], curves.error[:, band], photometry)
        flux[:, band] = one
        error[:, band] = _honest(one, curves.error[:, band], ~blended)
        scatter[:, band], expected[:, band] = _rms(one, error[:, band])
    combined, formal = _combined(flux, error)
    combined_error = _honest(combined, formal, ~blended)
    scatter[:, -1], expected[:, -1] = _rms(combined, combined_error)
    return StampLightCurves(
        flux=flux,
        error=error,
        combined=combined,
        combined_error=combined_error,
        scatter=scatter,
        expected=expected,
        electrons=curves.electrons.copy(),
        aperture=curves.aperture.copy(),
        references=curves.references.copy(),
        coefficients=curves.coefficients.copy(),
        variable=np.zeros(len(flux), dtype=bool),
        misfit=curves.misfit.copy(),
        blended=blended,
    )


def _without_shared(flux: Floats, error: Floats, photometry: StampPhotometry) -> Floats:
    """Remove each frame's zero point and gradient, as the well-measured stars tell them."""
    good = np.isfinite(flux) & (flux > 0) & np.isfinite(photometry.x) & np.isfinite(photometry.y)
    often = np.flatnonzero(good.mean(axis=1) >= _OFTEN)
    typical = _row_median(np.where(good, error, np.nan)[often])
    precise = often[typical < _PRECISE]
    precise = precise[np.argsort(typical[typical < _PRECISE], kind="stable")][:_MOST_SHARING]
    if len(precise) < _SHARING:
        return flux
    low = np.array([np.nanmin(photometry.x), np.nanmin(photometry.y)])
    high = np.array([np.nanmax(photometry.x), np.nanmax(photometry.y)])
    half = max(float((high - low).max()) / 2, 1.0)
    u = (photometry.x - (low + high)[0] / 2) / half
    v = (photometry.y - (low + high)[1] / 2) / half
    mag = -_TO_MAG * np.log(np.where(good, flux, 1.0))
    none = np.zeros((flux.shape[1], 0))
    shared = fit_shared_terms(mag[precise], good[precise], (u[precise], v[precise]), none, degree=0)
    change = shared.at(np.where(good, u, 0.0), np.where(good, v, 0.0))
    out = np.where(np.isfinite(flux), flux * 10 ** (0.4 * change), np.nan)
    return np.asarray(out / _row_median(out)[:, None])


def _blended(misfit: Floats, electrons: Floats) -> Bools:
    """Stars less like their references than others as bright, ``(n_star,)``.

    Of a bright star the noise is so small that any comparison is seen to differ.
    """
    out = np.zeros(len(misfit), dtype=bool)
    told = np.flatnonzero(np.isfinite(misfit) & np.isfinite(electrons))
    order = told[np.argsort(electrons[told], kind="stable")]
    for rank, star in enumerate(order):
        start = int(np.clip(rank - _LIKE // 2, 0, max(len(order) - _LIKE, 0)))
        out[star] = misfit[star] > 1.5 * np.median(misfit[order[start : start + _LIKE]])
    return out


def _honest(flux: Floats, formal: Floats, clean: Bools) -> Floats:
    """Errors with the factor and the floor that the scatter of the field's stars asks for.

    Only `clean` stars are asked, where there are some.
    """
    typical, scatter = _row_median(formal), _robust(flux)
    kept = np.isfinite(scatter) & np.isfinite(typical)
    if (kept & clean).sum() >= _SHARING:
        kept &= clean
    for _ in range(_CLIPPINGS):
        model = fit_noise_model(np.where(kept, scatter, np.nan), typical)
        # Stars that vary, or whose neighbours come and go, must not set the field's noise.
        kept &= scatter < _beyond(flux.shape[1]) * model.sigma(typical)
    return model.sigma(formal)


def _combined(flux: Floats, error: Floats) -> tuple[Floats, Floats]:
    """Mean over the colours with the same weights in all frames, and its formal error."""
    n_star, n_band, n_frame = flux.shape
    weight = np.stack([_row_median(error[:, b]) ** -2 for b in range(n_band)], axis=1)
    weight = np.nan_to_num(weight, nan=0.0, posinf=0.0)[:, :, None]
    seen = np.isfinite(flux) & np.isfinite(error)
    share = np.where(seen, weight, 0.0)
    whole = share.sum(axis=1)
    out, formal = np.full((n_star, n_frame), np.nan), np.full((n_star, n_frame), np.nan)
    some = whole > 0
    mean = (share * np.where(seen, flux, 0)).sum(axis=1)
    spread = np.sqrt(((share * np.where(seen, error, 0)) ** 2).sum(axis=1))
    out[some], formal[some] = mean[some] / whole[some], spread[some] / whole[some]
    return out, formal


def _varying(curves: StampLightCurves, n_frame: int) -> Bools:
    """Stars whose scatter is five of its own errors, and by a third, beyond what is expected."""
    known = np.isfinite(curves.expected) & (curves.expected > 0)
    ratio = np.divide(curves.scatter, curves.expected, out=np.zeros(known.shape), where=known)
    return np.asarray((ratio > 2 * _beyond(n_frame) - 1).any(axis=1))


def _beyond(n_frame: int) -> float:
    """Ratio of a scatter to what is expected that chance gives to one star in a hundred."""
    return max(1 + 2.5 / float(np.sqrt(2 * max(n_frame - 1, 1))), 1.17)


def _misled(curves: StampLightCurves, varying: Bools) -> Bools:
    """Stars whose comparison varies by more than a quarter of their noise with some of its stars.

    Most stars have one of those that vary among their many references, and nearly all do not
    notice: solving them again would double the time.
    """
    vary = np.where(varying, np.nan_to_num(curves.scatter[:, -1]), 0.0)
    brought = np.where(curves.references >= 0, curves.coefficients * vary[curves.references], 0.0)
    harm = np.sqrt(np.square(brought).sum(axis=1))
    return np.asarray(harm > 0.25 * np.nan_to_num(curves.expected[:, -1], nan=np.inf))


def _rms(flux: Floats, error: Floats) -> tuple[Floats, Floats]:
    return _robust(flux), _row_median(error)


def _robust(flux: Floats) -> Floats:
    """Scatter of each curve, corrected so that half of all constant stars are above the truth.

    About their own level few points scatter less than they do about the truth: by a twentieth
    with thirty of them, by a tenth with ten.
    """
    seen = np.isfinite(flux)
    free = np.maximum(seen.sum(axis=1) - 1, 1)
    middle = (1 - 2 / (9 * free)) ** 3  # median of chi-square, per degree of freedom
    return np.asarray(clipped_scatter(flux, seen) * np.sqrt((free + 1) / free / middle))


def _row_median(values: Floats) -> Floats:
    out = np.full(len(values), np.nan)
    seen = np.isfinite(values).any(axis=1)
    out[seen] = np.nanmedian(values[seen], axis=1)
    return out
