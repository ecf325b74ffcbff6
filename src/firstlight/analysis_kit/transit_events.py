"""Where in the points the transits are, and the blocks whose baseline is common."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from firstlight.analysis_kit.failures import AnalysisFailed
from firstlight.analysis_kit.period_boxes import BoxPeak, fit_box, trapezoid
from firstlight.analysis_kit.period_findings import Search, find_boxes
from firstlight.analysis_kit.period_noise import robust_scatter
from firstlight.analysis_kit.period_points import Points

__all__ = ["Blocks", "Guess", "airmass_of", "blocks_of", "single_dip", "transit_near"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_DURATIONS = np.geomspace(
    0.03, 0.35, 9
)  # days: those of planets before stars, whole within a night
_MOST_TRIED = 6000
_REACH = 2.5  # durations on either side of mid-transit that are kept
_FEWEST_BLOCK = 5
_GAP = 0.25  # days without points that end a night
# What a dip must be, in its errors, to be a transit.
_FOUND = 5.0


@dataclass(frozen=True)
class Guess:
    """A first idea of the transit.

    Attributes
    ----------
    period
        Days; None where only one transit is known.
    snr
        Of the depth.
    """

    epoch: float
    duration: float
    depth: float
    snr: float
    period: float | None = None


@dataclass(frozen=True)
class Blocks:
    """Points about the transits, sorted by block: one series in one transit.

    Attributes
    ----------
    points
        In the order of the blocks.
    starts
        ``(blocks,)``, index of the first point of each.
    series, event
        ``(blocks,)``: of each; the event counts transits from that of the epoch.
    design
        ``(n, q)``: polynomial of the baseline in time, and the airmass where it is known.
    middle, half
        ``(blocks,)``: time that the polynomial is about, and half the length of the block.
    airmass_middle
        ``(blocks,)``, of each; empty where the airmass is not used.
    """

    points: Points
    starts: Integers
    series: Integers
    event: Integers
    design: Floats
    order: int
    middle: Floats
    half: Floats
    airmass_middle: Floats

    @property
    def of_point(self) -> Integers:
        """``(n,)``, the block of each point."""
        count = np.diff(np.append(self.starts, len(self.points)))
        return np.repeat(np.arange(len(self.starts)), count)

    def terms(self, block: int, time: Floats, airmass: Floats | None) -> Floats:
        """``(n, q)``, the design of a block at other times."""
        terms = _polynomial((time - self.middle[block]) / self.half[block], self.order)
        if airmass is None or not len(self.airmass_middle):
            return terms
        return np.column_stack([terms, airmass - self.airmass_middle[block]])


def _polynomial(x: Floats, order: int) -> Floats:
    return np.asarray(x[:, None] ** np.arange(order + 1), np.float64)


def airmass_of(points: Points, site: tuple[float, float], place: tuple[float, float]) -> Floats:
    """Airmass of each point, ``(n,)`` (Young 1994), for the mean sidereal time.

    Parameters
    ----------
    site
        East longitude and latitude, degrees.
    place
        Right ascension and declination, degrees.
    """
    turns = 280.46061837 + 360.98564736629 * (points.mjd - 51544.5) + site[0]
    angle = np.radians(turns - place[0])
    latitude, declination = np.radians(site[1]), np.radians(place[1])
    up = np.sin(latitude) * np.sin(declination)
    up = up + np.cos(latitude) * np.cos(declination) * np.cos(angle)
    c = np.clip(up, 0.02, 1.0)
    above = 1.002432 * c**2 + 0.148386 * c + 0.0096467
    return np.asarray(above / (c**3 + 0.149864 * c**2 + 0.0102963 * c + 0.000303978), np.float64)


def blocks_of(points: Points, guess: Guess, order: int, airmass: Floats | None = None) -> Blocks:
    """Keep the points about the transits and sort them into blocks.

    Blocks with fewer points than the baseline has terms, and two more, are left out.

    Raises
    ------
    AnalysisFailed
        Nothing is left.
    """
    event = np.zeros(len(points), np.int64)
    if guess.period is not None:
        event = np.round((points.time - guess.epoch) / guess.period).astype(np.int64)
    away = points.time - guess.epoch - event * (guess.period or 0.0)
    near = np.abs(away) <= _REACH * guess.duration
    label = event * len(points.names) + points.series
    terms = order + 1 + (airmass is not None)
    names, count = np.unique(label[near], return_counts=True)
    near &= np.isin(label, names[count >= max(terms + 2, _FEWEST_BLOCK)])
    if not near.any():
        raise AnalysisFailed(
            "no transit has enough points about it",
            hint="choose another epoch, or a baseline of lower order",
        )
    chosen = np.flatnonzero(near)
    chosen = chosen[np.argsort(label[chosen], kind="stable")]
    kept = replace(
        points,
        **{name: getattr(points, name)[chosen] for name in ("time", "mjd", "flux", "error")},
        series=points.series[chosen],
    )
    starts = np.flatnonzero(np.diff(label[chosen], prepend=label[chosen][0] - 1))
    ends = np.append(starts[1:], len(chosen))
    pairs = list(zip(starts, ends, strict=True))
    middle = np.array([0.5 * (kept.time[a] + kept.time[b - 1]) for a, b in pairs])
    half = np.array([max(0.5 * np.ptp(kept.time[a:b]), 1e-6) for a, b in pairs])
    lengths = ends - starts
    design = _polynomial((kept.time - np.repeat(middle, lengths)) / np.repeat(half, lengths), order)
    airmass_middle = np.zeros(0)
    if airmass is not None:
        there = airmass[chosen]
        airmass_middle = np.array([float(there[a:b].mean()) for a, b in pairs])
        design = np.column_stack([design, there - np.repeat(airmass_middle, lengths)])
    return Blocks(
        kept, starts, kept.series[starts], event[chosen][starts], design, order, middle, half,
        airmass_middle,
    )  # fmt: skip


def transit_near(points: Points, epoch: float | None, period: float | None) -> Guess:
    """Find the transit that the fit starts from.

    Parameters
    ----------
    epoch
        Of a mid-transit, on the clock of the points; None to search for it.
    period
        Days; None for one transit, or to search for it where the points cover several days.

    Raises
    ------
    AnalysisFailed
        There is no dip.
    """
    if period is None and epoch is None and points.span > 3.0:
        repeated = _repeated(points)
        if repeated is not None:
            return repeated
    if period is not None:
        return _known_period(points, epoch, period)
    return single_dip(points, epoch)


def _repeated(points: Points) -> Guess | None:
    """The best period of a box search, where it stands out."""
    try:
        found = find_boxes(points, Search())
    except AnalysisFailed:
        return None
    if found.false_alarm > 1e-3:
        return None
    fit = found.fit
    snr = found.snr / found.beta
    return Guess(fit.epoch, fit.duration, float(fit.depth.max()), snr, fit.period)


def _known_period(points: Points, epoch: float | None, period: float) -> Guess:
    """The dip nearest to an epoch, or anywhere, of points folded at a period."""
    if epoch is not None:
        turns = np.round((points.time - epoch) / period)
        # The transit with the most points is the one whose time is fitted.
        numbers, count = np.unique(turns, return_counts=True)
        epoch = epoch + period * float(numbers[np.argmax(count)])
    start = points.time[0] if epoch is None else epoch - 0.5 * period
    folded = np.mod(points.time - start, period) + start
    order = np.argsort(folded, kind="stable")
    one = replace(
        points,
        time=folded[order],
        mjd=points.mjd[order],
        flux=points.flux[order],
        error=points.error[order],
        series=points.series[order],
    )
    guess = single_dip(one, epoch)
    turns = np.round((points.time - guess.epoch) / period)
    numbers, count = np.unique(turns, return_counts=True)
    first = guess.epoch + period * float(numbers[np.argmax(count)])
    peak = BoxPeak(period, first, guess.duration, guess.depth, guess.snr)
    if len(numbers) < 2:
        return replace(guess, period=period, epoch=first)
    fit = fit_box(points, peak)
    shift = period * np.round((first - fit.epoch) / period)
    kept = abs(fit.period - period) < 0.1 * guess.duration
    return Guess(
        fit.epoch + shift if kept else first, guess.duration, guess.depth, guess.snr, period
    )


def single_dip(points: Points, epoch: float | None) -> Guess:
    """The deepest dip, in its errors, of a straight line of each night and series.

    Parameters
    ----------
    epoch
        Search within a fifth of a day of it; None searches everywhere.

    Raises
    ------
    AnalysisFailed
        No dip is five times its error.
    """
    best = Guess(0.0, 0.0, 0.0, 0.0)
    for duration in _DURATIONS:
        step = duration / 8.0
        centres = np.unique(np.round(points.time / step)) * step
        if epoch is not None:
            centres = centres[np.abs(centres - epoch) <= 0.2]
        stride = max(int(np.ceil(len(centres) * len(_DURATIONS) / _MOST_TRIED)), 1)
        for centre in centres[::stride]:
            found = _dip(points, float(centre), float(duration))
            best = max(best, found, key=lambda each: each.snr)
    if best.snr < _FOUND:
        where = "" if epoch is None else f" within 0.2 d of {epoch:.4f}"
        raise AnalysisFailed(
            f"no transit in the data{where}: the deepest dip is {best.snr:.1f} times its error, "
            f"and {_FOUND:.0f} are needed",
            hint="give the epoch of a transit that the points cover",
        )
    return best


def _dip(points: Points, centre: float, duration: float) -> Guess:
    """Depth of a trapezoid about a straight line, and its error by the scatter about both."""
    nothing = Guess(centre, duration, 0.0, 0.0)
    low, high = np.searchsorted(points.time, [centre - 2.0 * duration, centre + 2.0 * duration])
    time, flux = points.time[low:high], points.flux[low:high]
    error, series = points.error[low:high], points.series[low:high]
    inside = np.abs(time - centre) < 0.5 * duration
    if inside.sum() < 3 or (~inside).sum() < 4:
        return nothing
    dip = trapezoid(time, 1e9, centre, duration, 0.3)
    used = np.unique(series)
    groups = (series[:, None] == used[None, :]).astype(float)
    lines = np.column_stack([groups, groups * ((time - centre) / duration)[:, None]])
    design = np.column_stack([dip, lines]) / error[:, None]
    normal = design.T @ design
    covariance = np.linalg.pinv(normal, hermitian=True)
    values = covariance @ (design.T @ (flux / error))
    left = flux / error - design @ values
    free = max(len(time) - design.shape[1], 1)
    scatter = max(robust_scatter(left), float(np.sqrt(left @ left / free)), 1e-9)
    sigma = float(np.sqrt(covariance[0, 0])) * scatter
    depth = -float(values[0])
    return Guess(centre, duration, depth, depth / sigma if sigma > 0 else 0.0)
