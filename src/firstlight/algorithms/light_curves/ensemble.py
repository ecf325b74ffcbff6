"""Differential photometry of every star of a field against an ensemble that the data choose.

For each star, in this order: the stars that are steady enough become comparisons; what all of
them share is solved (`self_calibration`) without the star itself and without the quarter of the
field it belongs to; the aperture that serves stars of its brightness is taken (`aperture_choice`);
what is left over in the comparisons near it, like it in brightness and colour, is subtracted
(`local_ensemble`); and its own response to airmass and seeing is removed with its variability
protected (`star_trends`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.light_curves.local_ensemble import (
    Likeness,
    choose_widths,
    ensemble_weights,
    predict,
)
from firstlight.algorithms.light_curves.noise import NoiseModel, fit_noise_model
from firstlight.algorithms.light_curves.self_calibration import (
    SharedTerms,
    clipped_scatter,
    fit_shared_terms,
    robust_scatter,
)
from firstlight.algorithms.light_curves.star_trends import (
    StarTrends,
    fit_star_trends,
    point_to_point_scatter,
)
from firstlight.algorithms.sources.aperture_choice import choose_apertures
from firstlight.errors import UserError

__all__ = ["EnsembleResult", "FieldPhotometry", "NotEnoughComparisons", "solve_ensemble"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_TO_MAG = 2.5 / np.log(10.0)
_FEWEST_COMPARISONS = 3
_MOST_COMPARISONS = 300  # beyond this the fit is no better and the time grows
_FEWEST_FRAMES = 5
_DETECTED = 3.0  # signal to noise of a comparison that tells how bright a frame is
_FOLDS = 4
_DEGREE = 8
_FLOOR_MAG = 0.001


class NotEnoughComparisons(UserError):
    """Too few steady stars to compare with."""

    code = "ensemble.too_few_comparisons"


@dataclass(frozen=True)
class FieldPhotometry:
    """What was measured of the stars of one Observation.

    Attributes
    ----------
    flux, flux_err
        Aperture sums above the background and their one-sigma errors, electrons, shape
        ``(n_star, n_frame, n_aperture)``, apertures in increasing size.
    valid
        Which are usable (measured, on the detector, not saturated), same shape.
    x, y
        Positions on the detector, pixels, ``(n_star, n_frame)``; NaN where unknown.
    time
        Days, increasing, ``(n_frame,)``.
    exposure
        Seconds, ``(n_frame,)``; ``None`` when all are alike.
    airmass, fwhm
        Per frame, ``(n_frame,)``; ``None`` where unknown. NaN is filled with the median.
    colour
        Colour index of each star, ``(n_star,)``, NaN where unknown; ``None`` without colours.
    """

    flux: Floats
    flux_err: Floats
    valid: Bools
    x: Floats
    y: Floats
    time: Floats
    exposure: Floats | None = None
    airmass: Floats | None = None
    fwhm: Floats | None = None
    colour: Floats | None = None


@dataclass(frozen=True)
class EnsembleResult:
    """Light curves of all stars.

    Attributes
    ----------
    rel_flux, rel_flux_err
        Flux relative to the star's own level outside events, and its one-sigma error with the
        systematic floor, ``(n_star, n_frame)``; NaN where there is no valid measurement.
    mag
        Mean instrumental magnitude, ``-2.5 log10(electrons)`` (per second where exposures were
        given) in the chosen aperture, ``(n_star,)``.
    aperture
        Index of the aperture used, ``(n_star,)``.
    scatter
        Robust scatter of each light curve, magnitudes, ``(n_star,)``.
    expected
        Scatter that the noise model expects, magnitudes, ``(n_star,)``.
    comparisons
        Indices of the comparison stars, ``(n_comparison,)``.
    weights
        Share of each comparison in each star's local ensemble, ``(n_star, n_comparison)``; rows
        sum to one, a star's weight in its own ensemble is zero.
    shared
        The shared terms of the most used aperture, fitted to all comparisons, for diagnosis.
    trends
        Each star's own response to the nuisances, and the evidence for an event.
    nuisances
        Names of the nuisances, in order.
    noise
        Noise model per aperture.
    reach, likeness
        Radius in pixels and width in magnitudes of the local ensembles, as chosen by the data.
    """

    rel_flux: Floats
    rel_flux_err: Floats
    mag: Floats
    aperture: NDArray[np.int64]
    scatter: Floats
    expected: Floats
    comparisons: NDArray[np.int64]
    weights: Floats
    shared: SharedTerms
    trends: StarTrends
    nuisances: tuple[str, ...]
    noise: tuple[NoiseModel, ...]
    reach: float
    likeness: float


@dataclass(frozen=True)
class _Prepared:
    mag: Floats  # (n_star, n_frame, n_aperture)
    formal: Floats
    valid: Bools
    position: tuple[Floats, Floats]
    half_size: float
    nuisance: Floats
    names: tuple[str, ...]
    time: Floats
    colour: Floats | None


@dataclass(frozen=True)
class _FirstLook:
    """One aperture, with all comparisons in one fit."""

    shared: SharedTerms
    scatter: Floats  # (n_star,)
    residual: Floats  # (n_star, n_frame)


@dataclass
class _Curves:
    """Light curves as they are filled in, aperture by aperture."""

    residual: Floats
    error: Floats
    weights: Floats
    base: Floats
    response: Floats
    event: Floats
    gain: Floats
    noise: list[NoiseModel]


def solve_ensemble(photometry: FieldPhotometry) -> EnsembleResult:
    """Make the light curves of all stars of a field.

    A frame in which fewer than three comparisons stand out of the noise, as under clouds, tells
    nothing of its zero point: no star has a value there.

    Raises
    ------
    NotEnoughComparisons
        With fewer than three steady stars that were seen in at least half of the frames and in
        five of them, or fewer than five frames.
    """
    data = _prepare(photometry)
    n_star, n_frame, n_aperture = data.mag.shape
    chosen = _comparisons(data)
    dark = _dark_frames(data, chosen)
    if dark.any():
        data = _without_frames(data, dark)
        chosen = _comparisons(data)
    data = _without_colour_extinction(data, chosen)
    looks: list[_FirstLook] = []
    for a in range(n_aperture):
        looks.append(_first_look(data, a, chosen, looks[-1].shared if looks else None))
    likeness = Likeness(_places(data), _mean_mag(data, n_aperture // 2), data.colour)
    aperture = choose_apertures(likeness.mag, np.stack([look.scatter for look in looks], axis=1))
    main = int(np.bincount(aperture[chosen], minlength=n_aperture).argmax())
    widths = choose_widths(
        likeness,
        chosen,
        looks[main].residual[chosen],
        data.valid[chosen, :, main],
        _finite(looks[main].scatter[chosen]),
    )
    curves = _Curves(
        residual=np.full((n_star, n_frame), np.nan),
        error=np.full((n_star, n_frame), np.nan),
        weights=np.zeros((n_star, len(chosen))),
        base=np.full(n_star, np.nan),
        response=np.zeros((n_star, data.nuisance.shape[1])),
        event=np.zeros(n_star),
        gain=np.zeros(n_star),
        noise=[NoiseModel(1.0, 0.0)] * n_aperture,
    )
    for a in np.unique(aperture):
        shares = ensemble_weights(likeness, chosen, _finite(looks[a].scatter[chosen]), *widths)
        _solve_aperture(data, int(a), chosen, shares, looks[a], aperture == a, curves)
    return _result(data, curves, aperture, chosen, looks[main].shared, widths)


def _prepare(photometry: FieldPhotometry) -> _Prepared:
    flux = np.asarray(photometry.flux, float)
    usable = photometry.valid & np.isfinite(flux) & (flux > 0) & (photometry.flux_err > 0)
    usable &= (np.isfinite(photometry.x) & np.isfinite(photometry.y))[:, :, None]
    if flux.shape[1] < _FEWEST_FRAMES:
        raise NotEnoughComparisons(
            "a light curve needs more frames",
            found=flux.shape[1],
            expected=f"at least {_FEWEST_FRAMES}",
        )
    safe = np.where(usable, flux, 1.0)
    mag = np.where(usable, -_TO_MAG * np.log(safe), np.nan)
    if photometry.exposure is not None:
        mag = mag + _TO_MAG * np.log(photometry.exposure)[:, None]
    formal = np.where(usable, _TO_MAG * photometry.flux_err / safe, np.nan)
    seen = usable.any(axis=2)
    x, y = np.where(seen, photometry.x, np.nan), np.where(seen, photometry.y, np.nan)
    low = np.array([np.nanmin(x), np.nanmin(y)]) if seen.any() else np.zeros(2)
    high = np.array([np.nanmax(x), np.nanmax(y)]) if seen.any() else np.ones(2)
    half = max(float((high - low).max()) / 2.0, 1.0)
    position = ((x - (low + high)[0] / 2.0) / half, (y - (low + high)[1] / 2.0) / half)
    nuisance, names = _nuisances(photometry)
    return _Prepared(
        mag, formal, usable, position, half, nuisance, names, photometry.time, photometry.colour
    )


def _nuisances(photometry: FieldPhotometry) -> tuple[Floats, tuple[str, ...]]:
    """Airmass and FWHM, as far as they are known and change, standardised."""
    columns, names = [], []
    for name in ("airmass", "fwhm"):
        values = getattr(photometry, name)
        if values is None or not np.isfinite(values).any():
            continue
        filled = np.where(np.isfinite(values), values, np.nanmedian(values))
        if np.std(filled) > 1e-3:
            columns.append((filled - filled.mean()) / np.std(filled))
            names.append(name)
    n_frame = len(photometry.time)
    stacked = np.stack(columns, axis=1) if columns else np.zeros((n_frame, 0))
    return stacked, tuple(names)


def _mean_mag(data: _Prepared, aperture: int) -> Floats:
    out = np.full(len(data.mag), np.nan)
    seen = data.valid[:, :, aperture].any(axis=1)
    out[seen] = np.nanmedian(data.mag[seen, :, aperture], axis=1)
    return out


def _comparisons(data: _Prepared) -> NDArray[np.int64]:
    """The steadiest stars that are seen in at least half of the frames, brightest first."""
    middle = data.mag.shape[2] // 2
    mag, valid = data.mag[:, :, middle], data.valid[:, :, middle]
    often = np.flatnonzero((valid.mean(axis=1) >= 0.5) & (valid.sum(axis=1) >= _FEWEST_FRAMES))
    if len(often) < _FEWEST_COMPARISONS:
        raise NotEnoughComparisons(
            "too few stars were seen in half of the frames",
            found=len(often),
            expected=f"at least {_FEWEST_COMPARISONS}",
            hint="check saturation limits and the detection threshold",
        )
    level = _mean_mag(data, middle)
    rough = mag[often] - level[often, None]
    common = np.zeros(mag.shape[1])
    seen = valid[often].any(axis=0)
    common[seen] = np.nanmedian(rough[:, seen], axis=0)
    scatter = np.hypot(robust_scatter(rough - common, valid[often]), _FLOOR_MAG)
    steady = often[np.lexsort((level[often], scatter))][:_MOST_COMPARISONS]
    return steady[np.lexsort((steady, level[steady]))]


def _dark_frames(data: _Prepared, chosen: NDArray[np.int64]) -> Bools:
    """Frames without stars to compare with, ``(n_frame,)``.

    What is measured there is noise. Its logarithm is anything, and so would be all that is
    measured against it.
    """
    middle = data.mag.shape[2] // 2
    valid = data.valid[chosen, :, middle]
    formal = np.where(valid, data.formal[chosen, :, middle], np.inf)
    return np.asarray((formal < _TO_MAG / _DETECTED).sum(axis=0) < _FEWEST_COMPARISONS)


def _without_frames(data: _Prepared, left_out: Bools) -> _Prepared:
    """With nothing measured in some frames."""
    gone = left_out[None, :, None]
    return replace(
        data,
        mag=np.where(gone, np.nan, data.mag),
        formal=np.where(gone, np.nan, data.formal),
        valid=data.valid & ~gone,
    )


def _degree(n_comparison: int) -> int:
    """Fewer stars cannot measure a response map."""
    if n_comparison < 15:
        return 0
    return 4 if n_comparison < 40 else _DEGREE


def _shared(
    data: _Prepared, aperture: int, stars: NDArray[np.int64], start: SharedTerms | None = None
) -> SharedTerms:
    u, v = data.position
    valid = data.valid[stars, :, aperture]
    kept = stars[valid.sum(axis=1) >= _FEWEST_FRAMES]
    return fit_shared_terms(
        data.mag[kept, :, aperture],
        data.valid[kept, :, aperture],
        (u[kept], v[kept]),
        data.nuisance,
        degree=start.degree if start is not None else _degree(len(stars)),
        start=start,
    )


def _first_look(
    data: _Prepared, aperture: int, chosen: NDArray[np.int64], start: SharedTerms | None
) -> _FirstLook:
    shared = _shared(data, aperture, chosen, start)
    valid = data.valid[:, :, aperture]
    level = data.mag[:, :, aperture] - shared.at(*data.position)
    residual = _without_trends(level, valid, data.nuisance, shared.response_width)
    scatter = clipped_scatter(residual, valid)
    scatter[valid.sum(axis=1) < _FEWEST_FRAMES] = np.nan
    return _FirstLook(shared, scatter, residual)


def _without_trends(level: Floats, valid: Bools, nuisance: Floats, width: Floats) -> Floats:
    """Quick removal of the median and of shrunken responses, for comparisons."""
    out = level - _row_median(level, valid)
    out = out - _responses(out, valid, nuisance, width) @ nuisance.T
    return np.where(valid, out - _row_median(out, valid), np.nan)


def _responses(level: Floats, valid: Bools, nuisance: Floats, width: Floats) -> Floats:
    """Responses of each star to the nuisances, outliers clipped, ``(n_star, n_nuisance)``."""
    value = np.where(valid, level - _row_median(level, valid), 0.0)
    noise = np.maximum(_finite(robust_scatter(value, valid)), _FLOOR_MAG)[:, None]
    value = np.clip(value, -4.0 * noise, 4.0 * noise)
    columns = np.concatenate([np.ones((len(nuisance), 1)), nuisance], axis=1)
    normal = np.einsum("ij,jp,jq->ipq", valid.astype(float), columns, columns)
    ridge = np.concatenate([np.full((len(value), 1), 1e-9), (noise / width) ** 2 + 1e-9], axis=1)
    normal += ridge[:, :, None] * np.eye(columns.shape[1])
    right = np.einsum("ij,jp->ip", np.where(valid, value, 0.0), columns)
    found: Floats = np.linalg.solve(normal, right[..., None])[..., 0]
    return found[:, 1:]


def _row_median(values: Floats, valid: Bools) -> Floats:
    out = np.zeros((len(values), 1))
    seen = valid.any(axis=1)
    out[seen, 0] = np.nanmedian(np.where(valid, values, np.nan)[seen], axis=1)
    return out


def _places(data: _Prepared) -> Floats:
    """Mean position of each star once the drift of the field is taken out, ``(n_star, 2)``."""
    places = []
    for p in data.position:
        seen = np.isfinite(p)
        step = np.where(seen[:, 1:] & seen[:, :-1], np.diff(p, axis=1), np.nan)
        shift = np.zeros(p.shape[1])
        known = np.isfinite(step).any(axis=0)
        shift[1:][known] = np.nanmedian(step[:, known], axis=0)
        still = np.where(seen, p - np.cumsum(shift), 0.0)
        places.append(still.sum(axis=1) / np.maximum(seen.sum(axis=1), 1))
    return np.stack(places, axis=1)


def _without_colour_extinction(data: _Prepared, chosen: NDArray[np.int64]) -> _Prepared:
    """Take out what airmass does to stars of different colour, where colours are known.

    The slope of the comparisons' airmass responses with colour is found by medians of pairs
    (Theil-Sen), so that no single star matters.
    """
    if data.colour is None or "airmass" not in data.names:
        return data
    known = chosen[np.isfinite(data.colour[chosen])]
    if len(known) < 5:
        return data
    middle = data.mag.shape[2] // 2
    shared = _shared(data, middle, chosen)
    level = (data.mag[:, :, middle] - shared.at(*data.position))[known]
    valid = data.valid[known, :, middle]
    wide = np.full(data.nuisance.shape[1], np.inf)
    response = _responses(level, valid, data.nuisance, wide)
    column = data.names.index("airmass")
    colour = data.colour[known]
    first, second = np.triu_indices(len(known), 1)
    apart = colour[first] - colour[second]
    far = np.abs(apart) > 0.05
    if not far.any():
        return data
    slope = np.median((response[first, column] - response[second, column])[far] / apart[far])
    offset = np.where(np.isfinite(data.colour), data.colour - np.median(colour), 0.0)
    change = slope * offset[:, None] * data.nuisance[:, column]
    return replace(data, mag=data.mag - change[:, :, None])


def _finite(scatter: Floats) -> Floats:
    """Stars without a scatter in some aperture count as very noisy there."""
    return np.where(np.isfinite(scatter), scatter, 1.0)


def _solve_aperture(
    data: _Prepared,
    aperture: int,
    chosen: NDArray[np.int64],
    shares: Floats,
    look: _FirstLook,
    wanted: Bools,
    curves: _Curves,
) -> None:
    """Fill in the `wanted` stars from their fluxes in one aperture.

    The comparisons are dealt into folds by brightness, and the stars of a fold are reduced with
    shared terms from the others: no star has a part in what is subtracted from it.
    """
    valid = data.valid[:, :, aperture]
    fold = np.full(len(data.mag), -1)
    fold[chosen] = np.arange(len(chosen)) % min(_FOLDS, len(chosen))
    level = np.full(valid.shape, np.nan)
    spread = np.zeros(valid.shape)
    scatter = _finite(look.scatter[chosen])
    for k in np.unique(fold):
        shared = look.shared
        if k >= 0:
            shared = _shared(data, aperture, chosen[fold[chosen] != k], look.shared)
        rows = fold == k
        cleared = data.mag[:, :, aperture] - shared.at(*data.position)
        left = _without_trends(cleared[chosen], valid[chosen], data.nuisance, shared.response_width)
        mean, error = predict(shares[rows], left, valid[chosen], scatter)
        level[rows], spread[rows] = cleared[rows] - mean, error
    white = point_to_point_scatter(level, valid)
    sigma = np.hypot(_finite(white), _FLOOR_MAG)[:, None] * look.shared.frame_noise
    good = valid & wanted[:, None]
    trends = fit_star_trends(
        level, sigma, good, data.nuisance, look.shared.response_width, data.time
    )
    residual = level - trends.base[:, None] - trends.response @ data.nuisance.T
    noise = _noise(data.formal[:, :, aperture], look)
    own = noise.sigma(data.formal[:, :, aperture]) * look.shared.frame_noise
    curves.noise[aperture] = noise
    curves.residual[wanted] = np.where(valid, residual, np.nan)[wanted]
    curves.error[wanted] = np.where(valid, np.hypot(own, spread), np.nan)[wanted]
    curves.weights[wanted] = shares[wanted]
    curves.base[wanted] = trends.base[wanted]
    curves.response[wanted] = trends.response[wanted]
    curves.event[wanted] = trends.event_probability[wanted]
    curves.gain[wanted] = trends.event_gain[wanted]


def _noise(formal: Floats, look: _FirstLook) -> NoiseModel:
    seen = np.isfinite(formal).any(axis=1)
    typical = np.full(len(formal), np.nan)
    typical[seen] = np.nanmedian(formal[seen], axis=1)
    return fit_noise_model(look.scatter, typical)


def _result(
    data: _Prepared,
    curves: _Curves,
    aperture: NDArray[np.int64],
    chosen: NDArray[np.int64],
    shared: SharedTerms,
    widths: tuple[float, float],
) -> EnsembleResult:
    rel_flux = 10.0 ** (-0.4 * curves.residual)
    valid = np.isfinite(curves.residual)
    expected = np.full(len(valid), np.nan)
    seen = valid.any(axis=1)
    expected[seen] = np.nanmedian(curves.error[seen], axis=1)
    return EnsembleResult(
        rel_flux=rel_flux,
        rel_flux_err=rel_flux * curves.error / _TO_MAG,
        mag=curves.base,
        aperture=aperture,
        scatter=robust_scatter(curves.residual, valid),
        expected=expected,
        comparisons=chosen,
        weights=curves.weights,
        shared=shared,
        trends=StarTrends(curves.base, curves.response, curves.event, curves.gain),
        nuisances=data.names,
        noise=tuple(curves.noise),
        reach=widths[0] * data.half_size,
        likeness=widths[1],
    )
