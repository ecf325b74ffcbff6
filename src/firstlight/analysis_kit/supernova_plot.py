"""Pictures of a supernova fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from firstlight.analysis_kit.supernova_fitting import Fit

__all__ = ["comparison_figure", "light_curve_figure"]

_ZERO_POINT = 23.9
_LIMIT_SIGMAS = 3.0
_APART = 1.3  # mag between the maxima of two bands as they are drawn
_INK, _PALE = "#22272e", "#8b949e"
# From the violet to the deep red, each dark enough on white.
_COLOURS = (
    (3000.0, "#6a3fa0"),
    (3700.0, "#7b4bb7"),
    (4400.0, "#2c6fbb"),
    (4850.0, "#1b8a8f"),
    (5500.0, "#3f9142"),
    (6300.0, "#d1781b"),
    (7500.0, "#c23b3b"),
    (8500.0, "#962d4e"),
    (12000.0, "#6b3a2e"),
    (22000.0, "#463a35"),
)


def light_curve_figure(fit: Fit, curves: Mapping[str, np.ndarray], title: str) -> Figure:
    """The measurements in magnitudes with the model drawn through them, and what is left.

    Bands are moved apart, as the labels say. Limits, and measurements below three sigma, are
    arrows at three sigma above what was measured.
    """
    figure = Figure(figsize=(9.6, 6.6), dpi=120, facecolor="white")
    upper, lower = figure.subplots(
        2,
        1,
        sharex=True,
        gridspec_kw={"height_ratios": (3.2, 1.0), "hspace": 0.06, "right": 0.78, "top": 0.89},
    )
    moves = _moves([curves[band.name] for band in fit.data.bands])
    model_flux = fit.likelihood.flux(fit.values)
    depths = []
    for index, band in enumerate(fit.data.bands):
        colour = _colour(band.mean_wave)
        _draw_curve(upper, curves[band.name], moves[index], colour)
        depths += _draw_points(upper, fit, index, moves[index], colour)
        _draw_residuals(lower, fit, index, model_flux, colour)
    _dress(upper, lower, fit, depths)
    _name_bands(upper, fit, moves)
    figure.text(0.125, 0.985, title, fontsize=14, color=_INK, fontweight="bold", va="top")
    figure.text(0.78, 0.98, _subtitle(fit), fontsize=9.5, color=_PALE, ha="right", va="top")
    beside = 0.86 - 0.035 * len(fit.data.bands)
    figure.text(
        0.802, beside, _parameters(fit), fontsize=9.5, color=_INK, va="top", linespacing=1.6
    )
    return figure


def comparison_figure(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """How much less probable each template is than the best, best on top."""
    figure = Figure(figsize=(8.2, 1.2 + 0.5 * len(rows)), dpi=120, facecolor="white")
    axes = figure.subplots()
    places = np.arange(len(rows))[::-1]
    worse = np.array([float(row["delta_bic"]) for row in rows])
    colours = ["#2c6fbb" if each == 0.0 else "#c9d1d9" for each in worse]
    axes.barh(places, np.maximum(worse, 0.01 * max(worse.max(), 1.0)), color=colours, height=0.55)
    room = 0.012 * max(worse.max(), 1.0)
    for place, row, each in zip(places, rows, worse, strict=True):
        scatter = f", scatter {row['extra_scatter']:.2f}" if row["extra_scatter"] else ""
        told = f"χ²/dof {_short(row['chisq'])}/{row['ndof']}{scatter}"
        told = f"best: {told}" if each == 0.0 else f"+{_short(each)}   {told}"
        axes.text(max(each, room) + room, place, told, va="center", fontsize=9, color=_INK)
    names = [f"{row['model']} (SN {row['type']})" for row in rows]
    axes.set_yticks(places, names, fontsize=10, color=_INK)
    axes.set_xlabel("Bayesian information criterion above the best", color=_INK)
    axes.set_xlim(0.0, 1.9 * max(worse.max(), 1.0))
    axes.set_title(
        "Which kind of supernova?", loc="left", fontsize=12, fontweight="bold", color=_INK
    )
    _plain(axes)
    axes.tick_params(axis="y", length=0)
    return figure


def _moves(curves: Sequence[np.ndarray]) -> np.ndarray:
    """Magnitudes by which each band is moved so that the maxima stand apart; halves, one not."""
    if len(curves) <= 2:
        return np.zeros(len(curves))
    peaks = np.array([float(_magnitude(curve[:, 1]).min()) for curve in curves])
    wanted = _APART * np.arange(len(curves)) - peaks
    moves = np.round(2.0 * (wanted - wanted[(len(curves) - 1) // 2])) / 2.0
    return np.asarray(moves)


def _colour(wave: float) -> tuple[float, float, float]:
    known = np.array([each for each, _ in _COLOURS])
    parts = np.array([to_rgb(name) for _, name in _COLOURS])
    return tuple(float(np.interp(wave, known, parts[:, part])) for part in range(3))  # type: ignore[return-value]  # three of them


def _magnitude(flux: np.ndarray) -> np.ndarray:
    return np.asarray(_ZERO_POINT - 2.5 * np.log10(np.maximum(flux, 1e-30)))


def _draw_curve(axes: Any, curve: np.ndarray, move: float, colour: Any) -> None:
    mjd, median, low, high = curve.T
    seen = median > 1e-4 * median.max()
    axes.fill_between(
        mjd[seen], _magnitude(low[seen]) + move, _magnitude(high[seen]) + move,
        color=colour, alpha=0.22, linewidth=0,
    )  # fmt: skip
    axes.plot(mjd[seen], _magnitude(median[seen]) + move, color=colour, linewidth=1.6)


def _draw_points(axes: Any, fit: Fit, index: int, move: float, colour: Any) -> list[float]:
    """Draws them, and returns the magnitudes at which they stand."""
    data = fit.data
    rows = data.band == index
    seen = rows & data.is_detection
    magnitude = _magnitude(data.flux[seen]) + move
    error = 1.0857 * data.error[seen] / data.flux[seen]
    axes.errorbar(
        data.mjd[seen], magnitude, error, fmt="o", color=colour, markersize=4.2,
        markeredgecolor="white", markeredgewidth=0.5, elinewidth=0.9, zorder=3,
    )  # fmt: skip
    unseen = rows & ~data.is_detection
    limit = np.where(
        data.is_limit, data.flux, np.maximum(data.flux, 0.0) + _LIMIT_SIGMAS * data.error
    )
    faint = _magnitude(limit[unseen]) + move
    axes.plot(data.mjd[unseen], faint, "v", color=colour, markersize=4.5, alpha=0.35, linewidth=0)
    return [*magnitude.tolist(), *faint.tolist()]


def _draw_residuals(axes: Any, fit: Fit, index: int, model: np.ndarray, colour: Any) -> None:
    data = fit.data
    rows = (data.band == index) & ~data.is_limit
    error = np.hypot(data.error, fit.likelihood.scatter * model)
    offset = (data.flux - model)[rows] / error[rows]
    axes.plot(
        data.mjd[rows], offset, "o", color=colour, markersize=3.8,
        markeredgecolor="white", markeredgewidth=0.4,
    )  # fmt: skip


def _dress(upper: Any, lower: Any, fit: Fit, depths: Sequence[float]) -> None:
    data = fit.data
    span = max(data.mjd.max() - data.mjd.min(), 10.0)
    upper.set_xlim(data.mjd.min() - 0.04 * span, data.mjd.max() + 0.12 * span)
    bright, faint = min(depths), max(depths)
    room = 0.06 * max(faint - bright, 1.0)
    upper.set_ylim(faint + room, bright - 2.0 * room)
    upper.set_ylabel("AB magnitude", color=_INK)
    lower.set_xlabel("MJD  (above: days since t0 in the rest frame)", color=_INK)
    lower.set_ylabel("residual / σ", color=_INK)
    lower.axhspan(-1.0, 1.0, color="#d0d7de", alpha=0.35, linewidth=0)
    lower.axhline(0.0, color=_PALE, linewidth=0.8)
    reach = max(3.5, 1.15 * float(np.abs(lower.get_ylim()).max()))
    lower.set_ylim(-min(reach, 8.0), min(reach, 8.0))
    lower.ticklabel_format(useOffset=False, style="plain")
    lower.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    for axes in (upper, lower):
        _plain(axes)
    phase = upper.secondary_xaxis(
        "top",
        functions=(
            lambda mjd: (mjd - fit.value("t0")) / (1.0 + fit.value("z")),
            lambda days: days * (1.0 + fit.value("z")) + fit.value("t0"),
        ),
    )
    phase.tick_params(labelsize=8, colors=_PALE, length=3)
    phase.spines["top"].set_visible(False)


def _plain(axes: Any) -> None:
    axes.grid(visible=True, color="#eaeef2", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9, colors=_INK, length=3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color("#d0d7de")


def _name_bands(axes: Any, fit: Fit, moves: np.ndarray) -> None:
    """A legend beside the plot, in the order in which the bands stand in it."""
    for index, band in enumerate(fit.data.bands):
        axes.plot(
            [], [], "o", color=_colour(band.mean_wave), label=f"{band.name}{_moved(moves[index])}"
        )
    axes.legend(
        loc="upper left", bbox_to_anchor=(1.01, 1.02), fontsize=9.5, frameon=False,
        labelcolor=_INK, handletextpad=0.1,
    )  # fmt: skip


def _moved(by: float) -> str:
    return "" if by == 0.0 else f" {'+' if by > 0 else '−'} {abs(by):g}"


def _short(number: float) -> str:
    return f"{number:.0f}" if number >= 100.0 else f"{number:.1f}"


def _subtitle(fit: Fit) -> str:
    chi2 = f"χ²/dof = {_short(fit.chi2)}/{fit.ndof}"
    scatter = fit.likelihood.scatter
    return f"{chi2}, extra scatter {100.0 * scatter:.1f} %" if scatter else chi2


def _parameters(fit: Fit) -> str:
    """The free parameters, each to two digits of its error."""
    lines = []
    for name, value, error in zip(fit.names, fit.values, fit.errors, strict=True):
        if not np.isfinite(error) or error <= 0.0:
            lines.append(f"{name} = {value:.4g}")
        elif name in ("x0", "amplitude"):
            power = int(np.floor(np.log10(max(abs(value), 1e-300))))
            digits = max(0, power - int(np.floor(np.log10(error))) + 1)
            scaled, off = value / 10.0**power, error / 10.0**power
            told = f"({scaled:.{digits}f} ± {off:.{digits}f})"
            lines.append(f"{name} = {told}" + (f" × 10$^{{{power}}}$" if power else ""))
        else:
            digits = max(0, 1 - int(np.floor(np.log10(error))))
            lines.append(f"{name} = {value:.{digits}f} ± {error:.{digits}f}")
    if "z" not in fit.names:
        lines.append(f"z = {fit.value('z'):.5g} (fixed)")
    return "\n".join(lines)
