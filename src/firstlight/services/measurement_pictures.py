"""Diagnostic plots of the analysis of one image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from numpy.typing import NDArray

from firstlight.algorithms.pictures.display import zscale_limits
from firstlight.pipeline.image_analysis_sky import RING
from firstlight.pipeline.image_bench import Bench, Calibrators

__all__ = ["PICTURES", "draw_report"]

BLUE, ORANGE, GREY, INK = "#2563eb", "#ea580c", "#9ca3af", "#111827"
DPI = 110
MOST_CIRCLES = 1500
MOST_PIXELS = 900  # of a side of the field that is drawn
CUTOUT = 12.0  # FWHM, half the side
Draw = Callable[[Bench], Figure | None]


def draw_report(bench: Bench, folder: Path) -> list[Path]:
    """Draw to a folder what the steps that were done can show.

    Parameters
    ----------
    bench
        After its analysis, failed or not.
    folder
        Is made if it is not there; files of the same names are replaced.

    Returns
    -------
    The files written, in the order of `PICTURES`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, draw in PICTURES.items():
        figure = draw(bench)
        if figure is not None:
            path = folder / f"{name}.png"
            figure.savefig(path, dpi=DPI)
            written.append(path)
    return written


def _figure(title: str, width: float, height: float) -> tuple[Figure, Axes]:
    # Without pyplot: it keeps every figure, and is not made for threads.
    figure = Figure(figsize=(width, height), layout="constrained")
    axis = figure.subplots()
    axis.set_title(title, loc="left", fontsize=11, color=INK)
    return figure, axis


def _place_of_target(bench: Bench) -> tuple[float, float] | None:
    """Where the target is, or would be, in pixels."""
    if np.isfinite(bench.x):
        return bench.x, bench.y
    if bench.projection is None:
        return None
    x, y = (float(v) for v in bench.projection.sky_to_pixel(bench.ra, bench.dec))
    ny, nx = bench.shape
    return (x, y) if 0 <= x < nx and 0 <= y < ny else None


Extent = tuple[float, float, float, float]


def _image(axis: Axes, data: NDArray[np.float32], extent: Extent | None = None) -> None:
    low, high = zscale_limits(data)
    low *= 0.4  # the sky is subtracted: half of its noise is enough to see
    # Faint things bright, bright things not white: most of a frame is sky.
    stretched = np.arcsinh(np.clip((data - low) / (high - low), 0, None) * 3)
    axis.imshow(
        stretched, origin="lower", cmap="gray_r", vmin=0, vmax=float(np.arcsinh(6)),
        extent=extent, interpolation="nearest" if data.shape[0] < 200 else "antialiased",
    )  # fmt: skip


def _draw_field(bench: Bench) -> Figure | None:
    """The image with its sources, the stars that calibrate it, and the target."""
    if bench.detection is None or not bench.residual.size:
        return None
    ny, nx = bench.shape
    wide = 9.0
    figure, axis = _figure(
        f"{bench.raw.name}: {bench.detection.found} sources (blue), "
        "stars of the zero point (green), target (orange)", wide,
        float(np.clip(wide * ny / nx, 3.0, 14.0)) + 0.6,
    )  # fmt: skip
    shown, extent = _binned(bench.residual)
    _image(axis, shown, extent)
    found = bench.detection.sources
    size = 2.0 * bench.fwhm
    _circles(axis, found.x_win[:MOST_CIRCLES], found.y_win[:MOST_CIRCLES], (size, BLUE, 0.6))
    if bench.calibrators is not None and bench.calibrators.fits:
        used = bench.calibrators.fits[_method(bench)].used
        places = bench.calibrators.x[used], bench.calibrators.y[used]
        _circles(axis, *places, (1.5 * size, "#15803d", 1.0))
    place = _place_of_target(bench)
    if place is not None:
        _cross(axis, place, gap=3.0 * bench.fwhm, arm=max(nx, ny) / 25.0)
    axis.set(xlim=(-0.5, nx - 0.5), ylim=(-0.5, ny - 0.5), xlabel="x, pixels", ylabel="y, pixels")
    return figure


def _binned(data: NDArray[np.float32]) -> tuple[NDArray[np.float32], Extent]:
    """The image in as few pixels as the picture shows, and where they lie."""
    ny, nx = data.shape
    step = max(1, max(ny, nx) // MOST_PIXELS)
    rows, columns = ny // step * step, nx // step * step
    cut = data[:rows, :columns]
    binned = cut.reshape(rows // step, step, columns // step, step).mean((1, 3), np.float32)
    return binned, (-0.5, columns - 0.5, -0.5, rows - 0.5)


def _circles(
    axis: Axes,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    style: tuple[float, str, float],
) -> None:
    """Many circles as one thing to draw; `style` is radius (pixels), colour and line width."""
    radius, colour, width = style
    size = np.full(len(x), 2.0 * radius)
    axis.add_collection(
        EllipseCollection(
            size, size, np.zeros(len(x)), units="xy", offsets=np.column_stack([x, y]),
            offset_transform=axis.transData, facecolors="none", edgecolors=colour,
            linewidths=width, alpha=0.7,
        )
    )  # fmt: skip


def _cross(axis: Axes, place: tuple[float, float], *, gap: float, arm: float) -> None:
    """Four strokes that leave the target itself free."""
    x, y = place
    for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        axis.plot(
            [x + dx * gap, x + dx * (gap + arm)], [y + dy * gap, y + dy * (gap + arm)],
            color=ORANGE, lw=1.8, solid_capstyle="butt",
        )  # fmt: skip


def _method(bench: Bench) -> str:
    """The method of the result, or the first that was calibrated."""
    assert bench.calibrators is not None  # noqa: S101, asked for where there are some
    fits = bench.calibrators.fits
    return bench.method if bench.method in fits else next(iter(fits))


def _calibrated(bench: Bench) -> Calibrators | None:
    done = bench.calibrators is not None and bench.calibrators.fits and bench.stars is not None
    return bench.calibrators if done else None


def _draw_zero_point(bench: Bench) -> Figure | None:
    """The fitted zero point over the image, with what each star says on it in the same colours."""
    matched = _calibrated(bench)
    if matched is None:
        return None
    fit = matched.fits[_method(bench)]
    ny, nx = bench.shape
    wide = 7.5
    order = ("constant", "a plane", "a polynomial of second order")[fit.order]
    figure, axis = _figure(
        f"zero point, {_method(bench)}: {order}, {int(fit.used.sum())} stars", wide,
        float(np.clip((wide - 1.2) * ny / nx, 2.5, 11.0)) + 0.9,
    )  # fmt: skip
    x, y = np.meshgrid(np.linspace(0, nx - 1, 80), np.linspace(0, ny - 1, 80))
    surface = fit.zero(x, y)
    used = fit.used
    own = fit.zero(matched.x[used], matched.y[used]) + fit.residual[used]
    spread = max(2.0 * fit.rms, float(np.ptp(surface)) / 2, 0.005)
    scale = Normalize(float(np.median(surface)) - spread, float(np.median(surface)) + spread)
    axis.imshow(
        surface, origin="lower", extent=(-0.5, nx - 0.5, -0.5, ny - 0.5), norm=scale,
        cmap="viridis", aspect="equal",
    )  # fmt: skip
    points = axis.scatter(
        matched.x[used], matched.y[used], c=own, norm=scale, cmap="viridis", s=36,
        edgecolors="white", linewidths=0.8,
    )  # fmt: skip
    place = _place_of_target(bench)
    if place is not None:
        _cross(axis, place, gap=nx / 60.0, arm=nx / 30.0)
    figure.colorbar(points, ax=axis, label="magnitude of one electron", shrink=0.9)
    axis.set(xlim=(-0.5, nx - 0.5), ylim=(-0.5, ny - 0.5), xlabel="x, pixels", ylabel="y, pixels")
    return figure


def _draw_residuals(bench: Bench) -> Figure | None:
    """Catalogue less measured magnitude, against magnitude and colour."""
    matched = _calibrated(bench)
    if matched is None or bench.stars is None:
        return None
    method = _method(bench)
    fit, flux = matched.fits[method], matched.fluxes[method]
    with np.errstate(divide="ignore", invalid="ignore"):
        noise = 2.5 / np.log(10) * flux.error / flux.flux
    noise = np.hypot(noise, np.nan_to_num(bench.stars.mag_err[matched.star]))
    colours = None if bench.stars.colour is None else bench.stars.colour[matched.star]
    panels = [(bench.stars.mag[matched.star], f"{bench.stars.band}, catalogue")]
    if colours is not None:
        panels.append((colours, str(bench.stars.colour_name)))
    figure = Figure(figsize=(8.0, 3.1 * len(panels) + 0.4), layout="constrained")
    grid = figure.subplots(len(panels), 1, squeeze=False)
    for axis, (value, label) in zip(grid[:, 0], panels, strict=True):
        _residuals(axis, value, (fit.residual, noise), fit.used)
        axis.set_xlabel(label)
        axis.set_ylabel("catalogue − fitted, mag")
        limit = max(5.0 * fit.rms, 0.02)
        axis.set_ylim(-limit, limit)
    told = f"scatter {fit.rms:.3f} mag"
    if fit.colour_term is not None and fit.colour_term_err is not None:
        told += f", colour term {fit.colour_term:+.3f} ± {fit.colour_term_err:.3f}"
    grid[0, 0].set_title(f"{method}: {told}", loc="left", fontsize=11, color=INK)
    grid[0, 0].legend(frameon=False, fontsize=9, loc="upper left")
    return figure


def _residuals(
    axis: Axes,
    value: NDArray[np.float64],
    rest: tuple[NDArray[np.float64], NDArray[np.float64]],
    used: NDArray[np.bool_],
) -> None:
    residual, noise = rest
    axis.axhline(0.0, color=GREY, lw=1)
    axis.plot(value[~used], residual[~used], "x", color=GREY, ms=4, label="not used", zorder=1)
    axis.errorbar(
        value[used], residual[used], noise[used], fmt="o", ms=3.5, color=BLUE, ecolor=GREY,
        elinewidth=0.6, alpha=0.8, label="used",
    )  # fmt: skip
    if used.any():
        width = max(0.05 * float(np.nanmax(value[used]) - np.nanmin(value[used])), 0.05)
        axis.set_xlim(np.nanmin(value[used]) - width, np.nanmax(value[used]) + width)
    axis.grid(alpha=0.25)


def _draw_limit(bench: Bench) -> Figure | None:
    """Share of artificial stars found against magnitude, and the fitted curve."""
    found = bench.completeness
    if found is None or not np.isfinite(found.middle):
        return None
    figure, axis = _figure(f"{len(found.magnitude)} artificial stars", 8.0, 4.2)
    at, share, error = found.binned()
    axis.errorbar(at, share, error, fmt="o", color=BLUE, ecolor=GREY, ms=5, label="found")
    grid = np.linspace(found.magnitude.min(), found.magnitude.max(), 300)
    axis.plot(grid, found.share(grid), "-", color=INK, lw=1.2, label="fitted")
    if np.isfinite(found.limit):
        axis.axvline(found.limit, color=ORANGE, lw=1.4)
        axis.axhline(0.5, color=GREY, lw=0.8, ls="--")
        axis.annotate(
            f"half are found at {found.limit:.2f} ± {found.limit_err:.2f}",
            (found.limit, 0.5), xytext=(8, 10), textcoords="offset points", color=ORANGE,
        )  # fmt: skip
    if bench.result.magnitude is not None and grid[0] < bench.result.magnitude < grid[-1]:
        axis.axvline(bench.result.magnitude, color="#15803d", lw=1.2, ls=":", label="target")
    axis.set(
        xlabel=f"{bench.result.filter} ({bench.result.system})", ylabel="share found",
        ylim=(-0.04, 1.08),
    )  # fmt: skip
    axis.grid(alpha=0.25)
    axis.legend(frameon=False, loc="lower left")
    return figure


def _draw_cutout(bench: Bench) -> Figure | None:
    """The surroundings of the target, with the circle it is summed in and the ring of its sky."""
    place = _place_of_target(bench)
    if place is None or bench.detection is None:
        return None
    x, y = place
    half = int(np.clip(np.ceil(CUTOUT * bench.fwhm), 15, max(bench.shape)))
    ny, nx = bench.shape
    rows = slice(max(int(y) - half, 0), min(int(y) + half + 1, ny))
    columns = slice(max(int(x) - half, 0), min(int(x) + half + 1, nx))
    figure, axis = _figure(_headline(bench), 5.6, 5.8)
    piece = bench.residual[rows, columns]
    extent = (columns.start - 0.5, columns.stop - 0.5, rows.start - 0.5, rows.stop - 0.5)
    _image(axis, piece, extent)
    radius = bench.settings.aperture * bench.fwhm
    axis.add_patch(Circle((x, y), radius, fill=False, ec=ORANGE, lw=1.6))
    for ring in RING:
        axis.add_patch(Circle((x, y), ring * bench.fwhm, fill=False, ec=BLUE, lw=0.9, ls="--"))
    found = bench.detection.sources
    near = np.hypot(found.x_win - x, found.y_win - y) < 1.4 * half
    axis.plot(found.x_win[near], found.y_win[near], "+", color=BLUE, ms=7, mew=0.9)
    axis.set(xlim=extent[:2], ylim=extent[2:], xlabel="x, pixels", ylabel="y, pixels")
    return figure


def _headline(bench: Bench) -> str:
    result: Any = bench.result
    if result.magnitude is not None:
        told = f"{result.magnitude:.3f} ± {result.magnitude_err:.3f}"
        return f"{result.filter} = {told} ({result.system}, {result.method})"
    if result.limit_at_target is not None:
        return f"{result.filter} > {result.limit_at_target:.2f} ({result.system}, 5 sigma)"
    return "the target was not measured"


PICTURES: dict[str, Draw] = {
    "field": _draw_field,
    "zero_point": _draw_zero_point,
    "residuals": _draw_residuals,
    "limit": _draw_limit,
    "cutout": _draw_cutout,
}
"""File name (without suffix) and what draws it."""
