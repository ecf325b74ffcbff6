"""What the two searches find, in one form: the period, how sure it is, its model, its posterior."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstlight.analysis_kit.failures import AnalysisFailed
from firstlight.analysis_kit.period_boxes import (
    BoxFit,
    BoxPeak,
    box_periodogram,
    box_posterior,
    comes_again,
    events_of,
    false_alarm_of_box,
    fit_box,
    measured_noise,
    noise_of_box,
    odd_even,
)
from firstlight.analysis_kit.period_noise import robust_scatter
from firstlight.analysis_kit.period_points import Points, running_median, without_trend
from firstlight.analysis_kit.period_sines import (
    FourierFit,
    Periodogram,
    best_fourier,
    criterion,
    false_alarm_of_sine,
    fit_fourier,
    fourier_posterior,
    noise_of,
    scaled_errors,
    sine_periodogram,
)

__all__ = ["BoxFinding", "Finding", "Search", "SineFinding", "find_boxes", "find_sines", "relation"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_SIDEREAL = 1.00273791  # turns of the Earth in a day
_WINDOW = 1.5  # days of the running median, unless eclipses are longer
_GROSS = 12.0  # a point this many scatters away is no measurement
_HOUR = 1 / 24
_DRAWS = 1000
_STEPS = 900


@dataclass(frozen=True)
class Search:
    """What is searched for.

    Attributes
    ----------
    shortest, longest
        Periods, days; None for what the times can tell.
    harmonics
        None for as many as the points ask for.
    detrend
        ``auto``, ``none``, ``linear`` or ``median``.
    outliers
        Points further than this many sigma from the model are left out; 0 keeps all.
    """

    shortest: float | None = None
    longest: float | None = None
    harmonics: int | None = None
    detrend: str = "auto"
    outliers: float = 5.0


@dataclass(frozen=True)
class Finding(ABC):
    """A period with the model that it comes with.

    Attributes
    ----------
    points
        Those that were fitted, without the trend, with errors as their scatter about the model.
    trend
        What was taken out of them, ``(n,)``.
    beta
        The red noise factor.
    """

    points: Points
    trend: Floats
    spectrum: Periodogram
    beta: float

    @property
    @abstractmethod
    def method(self) -> str:
        """``lomb_scargle`` or ``bls``."""

    @property
    @abstractmethod
    def model(self) -> FourierFit | BoxFit:
        """The best fit."""

    @property
    @abstractmethod
    def epoch(self) -> float:
        """Of the highest flux, or of mid-eclipse."""

    @property
    @abstractmethod
    def false_alarm(self) -> float:
        """Chance that noise alone looks like it."""

    @abstractmethod
    def draws(self, seed: int, told: Callable[[float], None]) -> list[Any]:
        """Samples of the posterior: each has `flux`."""

    @abstractmethod
    def samples(self, draws: list[Any]) -> dict[str, Floats]:
        """The parameters of the draws."""

    @abstractmethod
    def numbers(self) -> dict[str, Any]:
        """What is told besides the parameters."""

    @abstractmethod
    def candidates(self) -> list[dict[str, Any]]:
        """Other periods, and what they have to do with the best."""

    @abstractmethod
    def level(self, chance: float) -> float:
        """The power that noise reaches with this chance."""

    @property
    def period(self) -> float:
        """Days."""
        return self.model.period

    @property
    def gain(self) -> float:
        """Of the information criterion, over a constant star; positive is better."""
        points, count = self.points, len(self.points)
        weight = points.error**-2
        total = np.bincount(points.series, weight)
        mean = np.bincount(points.series, weight * points.flux) / total
        flat = float(weight @ (points.flux - mean[points.series]) ** 2)
        left = float(weight @ (points.flux - self.flux(points.time, points.series)) ** 2)
        return count * float(np.log(flat / max(left, 1e-30))) - self.model.parameters * float(
            np.log(count)
        )

    def flux(self, time: Floats, series: Integers) -> Floats:
        """The model at times ``(n,)`` of points of `series`."""
        return self.model.flux(time, series)


def relation(period: float, best: float, span: float) -> str:
    """What a period has to do with the best one: ``harmonic 1/2``, ``alias of +1 per day``..."""
    frequency, main, width = 1.0 / period, 1.0 / best, 0.5 / span
    if abs(frequency - main) < width:
        return "best"
    for up in range(1, 5):
        for down in range(1, 5):
            if abs(frequency - main * up / down) < width * max(1.0, up / down):
                return f"harmonic: {down}/{up} of the period"
    for turns in (1, 2, 3):
        for day in (_SIDEREAL, 1.0):
            if (
                min(abs(abs(frequency - main) - turns * day), abs(frequency + main - turns * day))
                < width
            ):
                return f"alias: {turns} a day"
    return "other"


def _without_gross(points: Points, outliers: float, *, dips: bool = False) -> Points:
    """Without the points far from all others of their series, which would rule a search.

    Where dips are looked for, a low point is a measurement unless it stands alone among at least
    three others of the same hour.
    """
    if outliers <= 0:
        return points
    kept = np.ones(len(points), bool)
    for each in range(len(points.names)):
        ours = points.series == each
        time, flux = points.time[ours], points.flux[ours]
        if not dips:
            away = (flux - np.median(flux)) / (robust_scatter(flux) or np.inf)
            kept[ours] = np.abs(away) <= _GROSS
            continue
        flux = flux - running_median(time, flux, _WINDOW)
        scatter = robust_scatter(flux) or np.inf
        alone = (_neighbours(time, flux) - flux) / scatter
        kept[ours] = (flux / scatter <= outliers) & (alone <= outliers)
    return points.part(kept)


def _neighbours(time: Floats, flux: Floats) -> Floats:
    """Median of the two points before and the two after, of the same hour; else the flux itself."""
    padded = np.pad(flux, 2, constant_values=np.nan)
    times = np.pad(time, 2, constant_values=np.inf)
    count = len(flux)
    columns = []
    for shift in (0, 1, 3, 4):
        near = np.abs(times[shift : shift + count] - time) < _HOUR
        columns.append(np.where(near, padded[shift : shift + count], np.nan))
    table = np.array(columns)
    enough = np.isfinite(table).sum(axis=0) >= 3
    found = flux.copy()
    found[enough] = np.nanmedian(table[:, enough], axis=0)
    return found


@dataclass(frozen=True)
class SineFinding(Finding):
    """A Fourier series. `points` have errors as their scatter about it."""

    fits: tuple[FourierFit, ...]
    fit: FourierFit
    terms: int

    @property
    def method(self) -> str:
        """See `Finding`."""
        return "lomb_scargle"

    @property
    def model(self) -> FourierFit:
        """See `Finding`."""
        return self.fit

    @property
    def false_alarm(self) -> float:
        """See `Finding`."""
        return self._chance(float(self.spectrum.power.max()))

    def _chance(self, power: float) -> float:
        highest = float(self.spectrum.frequency[-1])
        return false_alarm_of_sine(power, highest, self.points, self.terms, self.beta)

    @property
    def epoch(self) -> float:
        """See `Finding`."""
        return self._highest(self.fit)

    def _highest(self, fit: FourierFit) -> float:
        """Time of the highest flux of the main series, in the cycle of the centre."""
        phase = np.arange(512) / 512
        period = 1.0 / fit.frequency
        main = self.points.main
        flux = fit.flux(fit.centre + period * phase, np.full(512, main, np.int64))
        top = int(np.argmax(flux))
        low, high = flux[top - 1], flux[(top + 1) % 512]
        curve = low - 2 * flux[top] + high
        part = 0.5 * (low - high) / curve if curve < 0 else 0.0
        return float(fit.centre + period * (top + part) / 512)

    def draws(self, seed: int, told: Callable[[float], None]) -> list[FourierFit]:
        """See `Finding`."""
        told(0.5)
        return fourier_posterior(self.points, self.fit, self.beta, _DRAWS, seed)

    def samples(self, draws: list[FourierFit]) -> dict[str, Floats]:
        """See `Finding`."""
        period = np.array([1.0 / each.frequency for each in draws])
        # The highest point, in the same cycle as that of the best fit.
        epoch = np.array([self._highest(each) for each in draws])
        epoch -= period * np.round((epoch - self.epoch) / period)
        found = {"period": period, "epoch": epoch}
        for index, name in enumerate(self.points.names):
            found[_named("amplitude", name, self.points)] = np.array(
                [self._height(each, index) for each in draws]
            )
        return found

    def _height(self, fit: FourierFit, series: int) -> float:
        phase = np.arange(128) / (128 * fit.frequency)
        flux = fit.flux(fit.centre + phase, np.full(128, series, np.int64))
        level = fit.coefficients[series, 0] if self.points.bright else 1.0
        return float(np.ptp(flux) / level)

    def numbers(self) -> dict[str, Any]:
        """See `Finding`."""
        told: dict[str, Any] = {"harmonics": self.fit.order}
        told["amplitude_is"] = "highest less lowest, as a share of the mean flux"
        return told

    def candidates(self) -> list[dict[str, Any]]:
        """See `Finding`."""
        best = criterion(self.fits[0], self.points)
        return [
            {
                "period": 1.0 / each.frequency,
                "harmonics": each.order,
                "relation": relation(1.0 / each.frequency, self.period, self.points.span),
                "criterion_less_best": criterion(each, self.points) - best,
            }
            for each in self.fits
        ]

    def level(self, chance: float) -> float:
        """See `Finding`."""
        low, high = 0.0, 1.0
        for _ in range(40):
            middle = 0.5 * (low + high)
            low, high = (low, middle) if self._chance(middle) < chance else (middle, high)
        return high


@dataclass(frozen=True)
class BoxFinding(Finding):
    """A trapezoid. `points` have errors as their scatter about it."""

    peaks: tuple[BoxPeak, ...]
    fit: BoxFit
    snr: float
    parity: tuple[float, float, float]

    @property
    def method(self) -> str:
        """See `Finding`."""
        return "bls"

    @property
    def model(self) -> BoxFit:
        """See `Finding`."""
        return self.fit

    @property
    def false_alarm(self) -> float:
        """See `Finding`."""
        return false_alarm_of_box(self.snr, self.spectrum.tests, self.beta)

    @property
    def epoch(self) -> float:
        """See `Finding`."""
        return self.fit.epoch

    def draws(self, seed: int, told: Callable[[float], None]) -> list[BoxFit]:
        """See `Finding`."""
        return box_posterior(self.points, self.fit, self.beta, _STEPS, seed, told)

    def samples(self, draws: list[BoxFit]) -> dict[str, Floats]:
        """See `Finding`."""
        found = {
            name: np.array([getattr(each, name) for each in draws])
            for name in ("period", "epoch", "duration")
        }
        for index, name in enumerate(self.points.names):
            found[_named("depth", name, self.points)] = np.array([d.depth[index] for d in draws])
        return found

    def numbers(self) -> dict[str, Any]:
        """See `Finding`."""
        odd, even, sigma = self.parity
        return {
            "ratio_of_depth_to_error": self.snr / self.beta,
            "eclipses_seen": events_of(self.points, _as_peak(self.fit)),
            "ingress_share": self.fit.slope,
            "depth_odd": odd,
            "depth_even": even,
            "odd_even_sigma": sigma / self.beta,
        }

    def candidates(self) -> list[dict[str, Any]]:
        """See `Finding`."""
        return [
            {
                "period": each.period,
                "duration": each.duration,
                "depth": each.depth,
                "relation": relation(each.period, self.period, self.points.span),
                "ratio_of_depth_to_error": each.snr,
            }
            for each in self.peaks[:6]
        ]

    def level(self, chance: float) -> float:
        """See `Finding`."""
        low, high = 0.0, 60.0
        for _ in range(40):
            middle = 0.5 * (low + high)
            found = false_alarm_of_box(middle, self.spectrum.tests) < chance
            low, high = (low, middle) if found else (middle, high)
        return high


def _as_peak(fit: BoxFit) -> BoxPeak:
    return BoxPeak(fit.period, fit.epoch, fit.duration, float(fit.depth.max()), 0.0)


def _named(what: str, series: str, points: Points) -> str:
    return what if len(points.names) == 1 else f"{what}_{series}"


def find_sines(points: Points, search: Search) -> SineFinding:
    """Search sines and fit the best with a Fourier series."""
    how = "none" if search.detrend == "auto" else search.detrend
    kept = _without_gross(points, search.outliers)
    clean, trend = without_trend(kept, how, _WINDOW)
    terms = search.harmonics or 1
    spectrum = sine_periodogram(clean, search.shortest, search.longest, terms)
    fits = best_fourier(clean, spectrum, search.harmonics)
    fit = fits[0]
    if search.outliers > 0:
        away = (clean.flux - fit.flux(clean.time, clean.series)) / clean.error
        limits = [
            search.outliers * (robust_scatter(away[clean.series == each]) or np.inf)
            for each in range(len(clean.names))
        ]
        near = np.abs(away) <= np.array(limits)[clean.series]
        clean, trend = clean.part(near), trend[near]
        fits = best_fourier(clean, spectrum, search.harmonics)
        fit = fits[0]
    # Errors are those of the scatter; the fit and the choice follow them once.
    scaled, fit = scaled_errors(clean, fit)
    fit = fit_fourier(scaled, fit.frequency, fit.order)
    beta = noise_of(scaled, fit)
    return SineFinding(scaled, trend, spectrum, beta, tuple(fits), fit, terms)


def find_boxes(points: Points, search: Search) -> BoxFinding:
    """Search boxes and fit the best with a trapezoid."""
    how = search.detrend
    if how == "auto":
        how = "median" if _continuous(points) else "none"
    kept = _without_gross(points, search.outliers, dips=True)
    clean, trend = without_trend(kept, how, _WINDOW)
    clean = measured_noise(clean)
    spectrum, peaks = box_periodogram(clean, search.shortest, search.longest)
    told = [each for each in peaks if each.snr > 0]
    if not told:
        raise AnalysisFailed(
            "no box of any period is a dip", hint="try lomb_scargle, or another range of periods"
        )
    # One event alone fits many periods: the best that has two comes first.
    repeated = [each for each in told if comes_again(clean, each)] or told
    fit = fit_box(clean, repeated[0])
    factor = np.sqrt(max(fit.chi2, 1e-30) / max(len(clean) - fit.parameters, 1))
    scaled = replace(clean, error=clean.error * factor)
    fit = fit_box(scaled, replace(repeated[0], period=fit.period, epoch=fit.epoch))
    beta = noise_of_box(scaled, fit)
    snr = float(np.sqrt(np.sum((fit.depth / np.maximum(fit.depth_error, 1e-30)) ** 2)))
    ordered = (repeated[0], *(each for each in told if each is not repeated[0]))
    return BoxFinding(scaled, trend, spectrum, beta, ordered, fit, snr, odd_even(scaled, fit))


def _continuous(points: Points) -> bool:
    """Whether the points leave few gaps, as from space: a running median then spares eclipses."""
    cells = len(np.unique(np.floor(points.time * 10)))
    return cells > 0.5 * points.span * 10 and points.span > 3 * _WINDOW
