"""Periods of stars that vary all the time: multi-band Lomb-Scargle, then a Fourier series."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from astropy.timeseries import LombScargle
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import betaincc

from firstlight.analysis_kit.period_noise import red_noise_factor
from firstlight.analysis_kit.period_points import Points

__all__ = [
    "FourierFit",
    "Periodogram",
    "best_fourier",
    "false_alarm_of_sine",
    "fit_fourier",
    "fourier_posterior",
    "highest_peaks",
    "sine_periodogram",
]

Floats = NDArray[np.float64]

OVERSAMPLING = 5.0
_MOST_FREQUENCIES = 1_000_000
_FASTEST, _UNEVEN = 48.0, 10.0  # cycles a day, where nothing else is asked
_PEAKS = 5
_APART = 10.0  # peaks nearer than this many widths of a line are one
_MOST_HARMONICS = 6
_GRID = 121  # frequencies of the posterior, within six sigma of the best


@dataclass(frozen=True)
class Periodogram:
    """How well each frequency explains the points.

    Attributes
    ----------
    frequency
        ``(n,)`` cycles a day, rising.
    power
        ``(n,)``: of sines the share of the scatter that is taken away; of boxes the ratio of the
        depth to its error.
    peaks
        Indices of the highest local maxima, the highest first.
    tests
        About how many independent frequencies, phases and durations were tried.
    notes
        What bounded the search.
    """

    frequency: Floats
    power: Floats
    peaks: tuple[int, ...]
    tests: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FourierFit:
    """A Fourier series of one frequency: each series of points has its own coefficients.

    Attributes
    ----------
    order
        Number of harmonics.
    centre
        Time of phase 0 of the coefficients.
    coefficients
        ``(series, 1 + 2 order)``: mean, then sine and cosine of each harmonic.
    covariance
        ``(series, 1 + 2 order, 1 + 2 order)``, for the errors as given.
    chi2, dof
        ``(series,)``.
    """

    frequency: float
    order: int
    centre: float
    coefficients: Floats
    covariance: Floats
    chi2: Floats
    dof: NDArray[np.int64]

    @property
    def period(self) -> float:
        """Days."""
        return 1.0 / self.frequency

    @property
    def parameters(self) -> int:
        """How many were fitted, the frequency among them."""
        return self.coefficients.size + 1

    def flux(self, time: Floats, series: NDArray[np.int64]) -> Floats:
        """The model at times ``(n,)`` of points of `series`."""
        basis = _basis(time - self.centre, self.frequency, self.order)
        return np.asarray(np.sum(basis * self.coefficients[series], axis=1), np.float64)


def fastest_of(time: Floats) -> float:
    """The highest frequency that is tried where nothing else is asked, cycles a day.

    Points at regular times tell nothing beyond half the frequency of their own. Points at uneven
    times do (VanderPlas 2018, ApJS 236, 16, section 4.1): ten cycles a day are tried at least.
    """
    gaps = np.diff(np.unique(time))
    typical = float(np.median(gaps))
    regular = np.mean(np.abs(gaps - typical) < 0.1 * typical) > 0.8
    return float(np.clip(0.5 / typical, 0.01 if regular else _UNEVEN, _FASTEST))


def sine_periodogram(
    points: Points, shortest: float | None, longest: float | None, harmonics: int
) -> Periodogram:
    """Add the periodograms of all series (VanderPlas & Ivezić 2015, ApJ 812, 18).

    Parameters
    ----------
    shortest, longest
        Periods, days; None for what the times can tell.
    harmonics
        Terms of the Fourier series that each frequency is tried with.
    """
    step = 1.0 / (OVERSAMPLING * points.span)
    low = 1.0 / longest if longest else step
    high = 1.0 / shortest if shortest else fastest_of(points.time)
    wanted = int(np.ceil(max(high - low, 10 * step) / step))
    most = _MOST_FREQUENCIES // harmonics
    notes: tuple[str, ...] = ()
    if wanted > most:
        end = 1 / (low + most * step)
        notes = (f"no period below {end:.4g} d was tried: narrow the range of periods for those",)
    frequency = np.asarray(low + step * np.arange(min(wanted, most) + 1), np.float64)
    gain, scatter = np.zeros(len(frequency)), 0.0
    for each in range(len(points.names)):
        ours = points.part(points.series == each)
        weight = ours.error**-2
        mean = float(np.average(ours.flux, weights=weight))
        own = float(np.sum(weight * (ours.flux - mean) ** 2))
        if own <= 0:
            continue
        search = LombScargle(ours.time - points.time[0], ours.flux, ours.error, nterms=harmonics)
        method = "fast" if harmonics == 1 else "fastchi2"
        with np.errstate(divide="ignore", invalid="ignore"):  # where a sine fits no better
            share = search.power(
                frequency, method=method, assume_regular_frequency=True, normalization="standard"
            )
        gain += own * np.clip(np.nan_to_num(share), 0.0, 1.0)
        scatter += own
    power = np.asarray(gain / scatter if scatter > 0 else gain, np.float64)
    tests = float(points.span * (frequency[-1] - frequency[0])) * harmonics
    peaks = highest_peaks(power, _APART * OVERSAMPLING)
    return Periodogram(frequency, power, peaks, max(tests, 1.0), notes)


def highest_peaks(power: Floats, apart: float, most: int = _PEAKS) -> tuple[int, ...]:
    """Indices of the highest local maxima, no two of them nearer than `apart` steps."""
    inner = np.flatnonzero((power[1:-1] >= power[:-2]) & (power[1:-1] > power[2:])) + 1
    candidates = inner if len(inner) else np.array([int(np.argmax(power))])
    chosen: list[int] = []
    for index in candidates[np.argsort(power[candidates])[::-1][:2000]].tolist():
        if all(abs(index - other) > apart for other in chosen):
            chosen.append(index)
        if len(chosen) == most:
            break
    return tuple(chosen)


def false_alarm_of_sine(
    power: float, highest: float, points: Points, harmonics: int = 1, beta: float = 1.0
) -> float:
    """Chance that noise alone reaches a power anywhere below a frequency.

    Baluev's bound (2008, MNRAS 385, 1279, eq. 5 and 6), with the tail of as many sines as there
    are series. Where averages of the residuals vary `beta` times as much as white noise, so does
    the power of noise: what the sine takes away counts for less by the square of it.
    """
    sines = harmonics * len(points.names)
    free = max(len(points) - len(points.names), 2 * sines + 2)
    z = min(power, 1.0 - 1e-12)
    z = (z / beta**2) / (1.0 - z + z / beta**2)
    width = highest * harmonics * np.sqrt(4 * np.pi * np.var(points.time))
    single = float(betaincc(sines, 0.5 * (free - 2 * sines), z))
    several = width * np.sqrt(0.5 * free * z / (1.0 - z)) * single
    return float(np.clip(1.0 - (1.0 - single) * np.exp(-several), 0.0, 1.0))


def _basis(time: Floats, frequency: float, order: int) -> Floats:
    """``(n, 1 + 2 order)``: 1, sine and cosine of each harmonic."""
    turn = np.exp(2j * np.pi * np.mod(frequency * time, 1.0))
    basis = np.ones((len(time), 1 + 2 * order))
    harmonic = np.ones_like(turn)
    for each in range(order):
        harmonic = harmonic * turn
        basis[:, 1 + 2 * each] = harmonic.imag
        basis[:, 2 + 2 * each] = harmonic.real
    return basis


def fit_fourier(points: Points, frequency: float, order: int) -> FourierFit:
    """Fit the coefficients of one frequency, by weighted least squares."""
    centre = float(np.average(points.time, weights=points.error**-2))
    basis = _basis(points.time - centre, frequency, order) / points.error[:, None]
    scaled = points.flux / points.error
    fitted, errors, chi2, dof = [], [], [], []
    for each in range(len(points.names)):
        ours = points.series == each
        rows, wanted = basis[ours], scaled[ours]
        covariance = np.linalg.pinv(rows.T @ rows, hermitian=True)
        values = covariance @ (rows.T @ wanted)
        fitted.append(values)
        errors.append(covariance)
        chi2.append(float(np.sum((wanted - rows @ values) ** 2)))
        dof.append(max(len(wanted) - rows.shape[1], 1))
    return FourierFit(
        frequency, order, centre, np.array(fitted), np.array(errors), np.array(chi2), np.array(dof)
    )


def _refined(points: Points, frequency: float, order: int, within: float) -> FourierFit:
    found = minimize_scalar(
        lambda f: float(fit_fourier(points, f, order).chi2.sum()),
        bounds=(frequency - within, frequency + within),
        method="bounded",
        options={"xatol": 1e-3 * within, "maxiter": 40},
    )
    return fit_fourier(points, float(found.x), order)


def criterion(fit: FourierFit, points: Points) -> float:
    """Bayesian information criterion, each series' errors scaled to its own scatter."""
    count = np.bincount(points.series, minlength=len(points.names))
    return float(np.sum(count * np.log(fit.chi2 / count)) + fit.parameters * np.log(len(points)))


def best_fourier(points: Points, found: Periodogram, harmonics: int | None) -> list[FourierFit]:
    """Fit the peaks, and twice their periods, with as many harmonics as they need.

    Returns
    -------
    list
        One a candidate, that of the lowest information criterion first. A star whose two minima
        are alike has its highest peak at half its period; the criterion tells.
    """
    within = 0.5 / points.span
    fits: list[FourierFit] = []
    for index in found.peaks:
        peak = float(found.frequency[index])
        single = _ordered(points, _refined(points, peak, 1, within).frequency, harmonics, within)
        fits.append(single)
        if peak / 2 >= min(found.frequency[0], 2.0 / points.span):
            fits.append(_ordered(points, single.frequency / 2, harmonics, within / 2, double=True))
    fits.sort(key=lambda fit: criterion(fit, points))
    return fits


def _ordered(
    points: Points, frequency: float, harmonics: int | None, within: float, *, double: bool = False
) -> FourierFit:
    """The number of harmonics that the criterion wants, and the frequency refined with it."""
    if harmonics is not None:
        orders = [harmonics * 2 if double else harmonics]
    else:
        orders = list(range(2 if double else 1, _most_order(points, frequency) + 1)) or [1]
    tried = [fit_fourier(points, frequency, order) for order in orders]
    best = min(tried, key=lambda fit: criterion(fit, points))
    return _refined(points, best.frequency, best.order, within)


def _most_order(points: Points, frequency: float) -> int:
    """Harmonics that the points can carry: a third of the phases, and of the points, seen."""
    most = 2 * _MOST_HARMONICS
    for each in range(len(points.names)):
        ours = points.time[points.series == each]
        phases = len(np.unique(np.floor(24 * np.mod(ours * frequency, 1.0))))
        most = min(most, phases // 3, len(ours) // 6)
    return max(min(most, _MOST_HARMONICS if most < 8 else 8), 1)


def scaled_errors(points: Points, fit: FourierFit) -> tuple[Points, FourierFit]:
    """The errors made those of the scatter about the fit, series by series."""
    factor = np.sqrt(np.maximum(fit.chi2, 1e-30) / fit.dof)
    rescaled = replace(points, error=points.error * factor[points.series])
    return rescaled, fit_fourier(rescaled, fit.frequency, fit.order)


def noise_of(points: Points, fit: FourierFit) -> float:
    """The red noise factor of the residuals, on times of up to half a period."""
    residuals = (points.flux - fit.flux(points.time, points.series)) / points.error
    period = 1.0 / fit.frequency
    widths = np.minimum(period, points.span / 10) * np.array([0.05, 0.1, 0.25, 0.5])
    return red_noise_factor(points.time, residuals, widths)


def fourier_posterior(
    points: Points, fit: FourierFit, beta: float, draws: int, seed: int
) -> list[FourierFit]:
    """Draw frequencies and coefficients together.

    At a frequency the coefficients are normal, so only the frequency needs a grid: the posterior
    of Bretthorst (1988), with the errors as they are in `points` times `beta`.

    Returns
    -------
    list
        `draws` fits, each a sample.
    """
    width = _width(points, fit, beta)
    grid = fit.frequency + width * np.linspace(-6, 6, _GRID)
    fits = [fit_fourier(points, float(f), fit.order) for f in grid]
    chi2 = np.array([each.chi2.sum() for each in fits]) / beta**2
    share = np.cumsum(np.exp(-0.5 * (chi2 - chi2.min())))
    share = (share - share[0]) / (share[-1] - share[0])
    rng = np.random.default_rng(seed)
    frequency = np.interp(rng.random(draws), share, grid)
    means = np.array([each.coefficients for each in fits])
    nearest = np.clip(np.searchsorted(grid, frequency), 1, _GRID - 1)
    part = ((frequency - grid[nearest - 1]) / (grid[1] - grid[0]))[:, None, None]
    values = means[nearest - 1] * (1 - part) + means[nearest] * part
    for each in range(len(points.names)):
        spread = fit.covariance[each] * beta**2
        values[:, each] += rng.multivariate_normal(
            np.zeros(len(spread)), spread, draws, method="eigh"
        )
    return [
        replace(fit, frequency=float(f), coefficients=v)
        for f, v in zip(frequency, values, strict=True)
    ]


def _width(points: Points, fit: FourierFit, beta: float) -> float:
    """Sigma of the frequency, by the curvature of chi squared on a scale of that size."""
    lowest = float(fit.chi2.sum())
    step = 0.02 / points.span
    for _ in range(12):
        raised = [
            float(fit_fourier(points, fit.frequency + s * step, fit.order).chi2.sum()) - lowest
            for s in (-1, 1)
        ]
        rise = max(float(np.mean(raised)) / beta**2, 1e-6)
        step = step / np.sqrt(rise)
        if 0.5 < rise < 2.0:
            break
        step = min(step, 0.2 / points.span)
    return float(step)
