"""Pictures of a transit: folded with the model, and each transit as it was observed."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from firstlight.analysis_kit.period_plots import (
    COLOURS,
    MODEL,
    binned_means,
    draw_points,
    new_figure,
    tidy,
)
from firstlight.analysis_kit.transit_likelihood import Likelihood

__all__ = ["draw_observed", "draw_transit"]

Floats = NDArray[np.float64]

_MOST_DRAWN = 6
_BIN_SHARE = 12  # bins in a duration


def draw_transit(likelihood: Likelihood, best: Floats, draws: Floats, title: str) -> Figure:
    """All transits on one another, without their baselines, and the residuals.

    Parameters
    ----------
    draws
        ``(m, p)``: the shaded band holds 68 % of these.
    """
    figure = new_figure(8.0, 5.8)
    upper, lower = figure.subplots(
        2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 1], "hspace": 0.05}
    )
    points, place = likelihood.blocks.points, best[None, :]
    light = likelihood.model(place)
    values, _, _ = likelihood.baseline(light, likelihood.variance(place))
    level = likelihood.level(values[0])
    event = likelihood.blocks.event[likelihood.blocks.of_point].astype(float)
    hours = 24.0 * likelihood.away(place, points.time, event)[0]
    flux, error = points.flux / level, np.sqrt(likelihood.variance(place)[0]) / np.abs(level)
    reach = float(np.abs(hours).max())
    line = np.linspace(-reach, reach, 600)
    step = 1.4 * float(1.0 - light.min())
    for index, name in enumerate(likelihood.filters):
        ours = np.array([points.filters[s] == name for s in points.series])
        shift, colour = -index * step, COLOURS[index % len(COLOURS)]
        draw_points(upper, hours[ours], flux[ours] + shift, error[ours], colour, name)
        draw_points(lower, hours[ours], (flux - light[0])[ours], error[ours], colour)
        _draw_means(
            upper, lower, hours[ours], flux[ours], light[0][ours], error[ours], shift, 24 * best[3]
        )
        band = likelihood.flux(draws, np.tile(line / 24.0, (len(draws), 1)), name)
        low, high = np.percentile(band, [16, 84], axis=0)
        upper.fill_between(line, low + shift, high + shift, color=MODEL, alpha=0.25, linewidth=0)
        curve = likelihood.flux(place, line[None, :] / 24.0, name)[0]
        upper.plot(line, curve + shift, color=MODEL, linewidth=1.4, zorder=6)
    lower.axhline(0.0, color=MODEL, linewidth=1.0, zorder=6)
    for axes in (upper, lower):
        tidy(axes)
    upper.set_ylabel("relative flux" + (", shifted" if len(likelihood.filters) > 1 else ""))
    lower.set_ylabel("residual")
    lower.set_xlabel("hours from mid-transit")
    lower.set_xlim(-reach, reach)
    upper.set_title(title, loc="left", fontsize=11)
    if len(likelihood.filters) > 1:
        upper.legend(fontsize=9, frameon=False, loc="lower right")
    return figure


def _draw_means(
    upper: Any, lower: Any, hours: Floats, flux: Floats, light: Floats, error: Floats,
    shift: float, duration: float,
) -> None:  # fmt: skip
    """Means of a twelfth of the duration, where the points are few enough to be drawn singly."""
    bins = int(np.clip(np.ptp(hours) / duration * _BIN_SHARE, 4, 80))
    if not 2 * bins < len(hours) <= 250:
        return
    style = {
        "fmt": "s", "color": "#111111", "markerfacecolor": "white", "markersize": 5.5,
        "elinewidth": 1.0, "zorder": 7,
    }  # fmt: skip
    middle, mean, sigma = binned_means(hours, flux, error, bins)
    upper.errorbar(middle, mean + shift, sigma, **style)
    middle, mean, sigma = binned_means(hours, flux - light, error, bins)
    lower.errorbar(middle, mean, sigma, **style)


def draw_observed(likelihood: Likelihood, best: Floats, clock: str) -> Figure:
    """The transits with the most points as they were observed, each with its baseline."""
    blocks, place = likelihood.blocks, best[None, :]
    light = likelihood.model(place)
    variance = likelihood.variance(place)
    values, _, _ = likelihood.baseline(light, variance)
    level, of_point = likelihood.level(values[0]), blocks.of_point
    count = np.bincount(of_point)
    chosen = np.sort(np.argsort(-count)[:_MOST_DRAWN])
    columns = min(len(chosen), 2)
    rows = int(np.ceil(len(chosen) / columns))
    figure = new_figure(8.0, 1.2 + 2.8 * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, block in zip(grid.ravel(), chosen, strict=False):
        ours = of_point == block
        time = blocks.points.time[ours]
        zero = np.floor(time.min())
        series = int(blocks.series[block])
        draw_points(
            axes, time - zero, blocks.points.flux[ours], np.sqrt(variance[0][ours]),
            COLOURS[series % len(COLOURS)],
        )  # fmt: skip
        order = np.argsort(time)
        axes.plot(
            time[order] - zero,
            (light[0] * level)[ours][order],
            color=MODEL,
            linewidth=1.4,
            zorder=6,
        )
        axes.plot(
            time[order] - zero, level[ours][order], color=MODEL, linewidth=0.9, linestyle="--",
            zorder=5,
        )  # fmt: skip
        tidy(axes)
        axes.set_xlabel(f"{clock} less {zero:.0f} (d)", fontsize=9)
        axes.set_title(blocks.points.names[series], loc="left", fontsize=10)
    for axes in grid.ravel()[len(chosen) :]:
        axes.set_visible(False)
    grid[0, 0].set_ylabel("relative flux")
    return figure
