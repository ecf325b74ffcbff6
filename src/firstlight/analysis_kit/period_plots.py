"""Pictures of a period: the periodogram, the folded light curve, what the model leaves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter
from numpy.typing import NDArray

from firstlight.analysis_kit.period_points import Points
from firstlight.analysis_kit.period_sines import Periodogram

__all__ = ["COLOURS", "MODEL", "draw_fold", "draw_periodogram", "draw_points", "new_figure", "tidy"]

Floats = NDArray[np.float64]
Flux = Callable[[Floats, NDArray[np.int64]], Floats]

# Okabe & Ito's colours, which the colour-blind tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MODEL = "#222222"
_MARKED = "#D55E00"
_FEW = 250  # more points than this are drawn faint, with their means
_MANY = 1500
_DRAWN = 20_000
_BINS = 80


def new_figure(width: float = 8.0, height: float = 4.5) -> Figure:
    """An empty figure that belongs to no window."""
    return Figure(figsize=(width, height), layout="constrained")


def tidy(axes: Any) -> None:
    """The frame and the ticks that all pictures have."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9, colors="#333333")
    axes.grid(visible=True, color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)


def draw_periodogram(
    found: Periodogram, marked: Sequence[tuple[float, str]], level: float | None, title: str
) -> Figure:
    """The power of each period.

    Parameters
    ----------
    marked
        Periods with what is said of them, the best first.
    level
        The power at which something is found; None draws no line.
    title
        Also names the power.
    """
    figure = new_figure(8.0, 4.0)
    axes = figure.subplots()
    tidy(axes)
    period, power = _thinned(1.0 / found.frequency, found.power)
    axes.plot(period, power, color=COLOURS[0], linewidth=0.7, rasterized=True)
    axes.set_xscale("log")
    axes.set_xlim(period.min(), period.max())
    top = max(float(found.power.max()), level or 0.0, 1e-12)
    axes.set_ylim(0.0, 1.25 * top)
    heights = np.interp([1.0 / each for each, _ in marked], found.frequency, found.power)
    for place, ((each, words), height) in enumerate(zip(marked, heights, strict=True)):
        colour = _MARKED if place == 0 else "#777777"
        axes.plot(each, height + 0.03 * top, marker="v", color=colour, markersize=7 - place // 2)
        if place == 0:
            right = np.log(each / period.min()) > 0.6 * np.log(period.max() / period.min())
            axes.annotate(
                words, (each, height + 0.06 * top), xytext=(0, 6), textcoords="offset points",
                ha="right" if right else "left", color=colour, fontsize=10, fontweight="bold",
            )  # fmt: skip
    if level is not None and level > 0.04 * top:
        axes.axhline(level, color="#999999", linestyle="--", linewidth=0.9)
        axes.annotate(
            "found above", (period.min(), level), xytext=(4, 3), textcoords="offset points",
            fontsize=8, color="#777777",
        )  # fmt: skip
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    crowded = period.max() / period.min() > 30
    axes.xaxis.set_minor_formatter(
        NullFormatter() if crowded else FuncFormatter(lambda value, _: f"{value:g}")
    )
    axes.set_xlabel("period (d)")
    axes.set_ylabel("share of the scatter explained" if power.max() <= 1 else "depth / its error")
    axes.set_title(title, loc="left", fontsize=11)
    return figure


def _thinned(period: Floats, power: Floats, most: int = 12_000) -> tuple[Floats, Floats]:
    """The highest of each group of neighbours: no peak is lost."""
    each = int(np.ceil(len(period) / most))
    if each == 1:
        return period, power
    whole = len(period) // each * each
    table = power[:whole].reshape(-1, each)
    top = np.argmax(table, axis=1) + each * np.arange(len(table))
    return period[top], power[top]


def draw_points(
    axes: Any, x: Floats, y: Floats, error: Floats, colour: str, label: str | None = None
) -> None:
    """Points with their errors where there are few; faint dots and their means elsewhere."""
    if len(x) <= _FEW:
        axes.errorbar(
            x, y, error, fmt="o", color=colour, ecolor=colour + "66", markersize=4.5,
            elinewidth=0.8, markeredgewidth=0, label=label,
        )  # fmt: skip
        return
    step = int(np.ceil(len(x) / _DRAWN))
    many = len(x) > _MANY
    axes.plot(
        x[::step], y[::step], ".", color=colour, markeredgewidth=0, rasterized=many,
        alpha=min(0.35, 1500 / len(x) + 0.05) if many else 0.35, markersize=2 if many else 4,
    )  # fmt: skip
    middle, mean, sigma = binned_means(x, y, error)
    axes.errorbar(
        middle, mean, sigma, fmt="o", color=colour, markersize=4.5, markeredgecolor="white",
        markeredgewidth=0.6, elinewidth=0.8, label=label, zorder=4,
    )  # fmt: skip


def binned_means(
    x: Floats, y: Floats, error: Floats, bins: int = _BINS
) -> tuple[Floats, Floats, Floats]:
    """Middle, weighted mean and its error, of each of `bins` equal parts of the range."""
    edges = np.linspace(x.min(), x.max() + 1e-12, bins + 1)
    group = np.clip(np.digitize(x, edges) - 1, 0, bins - 1)
    weight = error**-2
    total = np.bincount(group, weight, minlength=bins)
    full = total > 0
    place = np.bincount(group, weight * x, minlength=bins)[full] / total[full]
    mean = np.bincount(group, weight * y, minlength=bins)[full] / total[full]
    return place, mean, np.asarray(total[full] ** -0.5, np.float64)


def draw_fold(
    points: Points,
    flux: Flux,
    period: float,
    epoch: float,
    title: str,
    window: tuple[float, float] = (-0.5, 1.5),
) -> Figure:
    """The light curve folded, with the model, and the residuals below.

    Parameters
    ----------
    flux
        The model: times and series to relative flux.
    window
        Phases that are drawn.
    """
    figure = new_figure(8.0, 5.6)
    upper, lower = figure.subplots(
        2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 1], "hspace": 0.05}
    )
    residuals = points.flux - flux(points.time, points.series)
    shift = _shifts(points)
    phase = np.mod((points.time - epoch) / period - window[0], 1.0) + window[0]
    for each, name in enumerate(points.names):
        ours = points.series == each
        colour = COLOURS[each % len(COLOURS)]
        for turn in range(int(np.ceil(window[1] - window[0]))):
            x = phase[ours] + turn
            inside = x <= window[1]
            if not inside.any():
                continue
            y, error = points.flux[ours][inside] + shift[each], points.error[ours][inside]
            label = name if turn == 0 else None
            draw_points(upper, x[inside], y, error, colour, label)
            draw_points(lower, x[inside], residuals[ours][inside], error, colour)
        line = np.linspace(*window, 800)
        model = flux(epoch + period * line, np.full(len(line), each, np.int64)) + shift[each]
        upper.plot(line, model, color=MODEL, linewidth=1.3, zorder=5)
    for axes in (upper, lower):
        tidy(axes)
        axes.set_xlim(*window)
    _limits(upper, points.flux + shift[points.series])
    _limits(lower, residuals)
    lower.axhline(0.0, color=MODEL, linewidth=1.0, zorder=5)
    unit = "relative flux" if points.bright else "flux (standard deviations)"
    upper.set_ylabel(unit + (", shifted" if np.any(shift) else ""))
    lower.set_ylabel("residual")
    lower.set_xlabel("phase")
    upper.set_title(title, loc="left", fontsize=11)
    if len(points.names) > 1:
        upper.legend(fontsize=9, frameon=False, loc="upper right", ncols=len(points.names))
    return figure


def _limits(axes: Any, values: Floats) -> None:
    """A range that a few outliers do not spoil."""
    low, high = np.percentile(values, [0.3, 99.7])
    margin = 0.25 * (high - low) + 1e-12
    axes.set_ylim(
        max(low - margin, values.min() - margin), min(high + margin, values.max() + margin)
    )


def _shifts(points: Points) -> Floats:
    """Offsets that draw the series one below the other."""
    if len(points.names) == 1:
        return np.zeros(1)
    height = np.array(
        [
            float(np.ptp(np.percentile(points.flux[points.series == each], [2, 98])))
            for each in range(len(points.names))
        ]
    )
    steps = 0.6 * (height[1:] + height[:-1])
    return -np.concatenate([[0.0], np.cumsum(steps)])
