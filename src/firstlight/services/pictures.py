"""Pictures: light curves, scatter against magnitude, images with their sources."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")  # no screen is needed, and none may be there

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from firstlight.errors import InvalidInput
from firstlight.formats.preview import Circle, encode_preview
from firstlight.models.image import Image
from firstlight.models.sources import SourceList
from firstlight.services.star_light_curve import StarLightCurve

__all__ = ["PictureService"]

FORMATS = (".png", ".pdf", ".svg", ".jpg", ".jpeg")
BLUE, ORANGE, GREY = "#2563eb", "#ea580c", "#9ca3af"
COLOURS = {"R": "#dc2626", "G": "#15803d", "B": BLUE, "RGB": "#111827"}
FLAGGED: dict[str, Any] = {"marker": "x", "linestyle": "none", "color": GREY, "label": "flagged"}


class PictureService:
    """Draws to files. Everything it draws is also to be had as numbers."""

    def light_curve(self, curve: StarLightCurve, path: Path) -> None:
        """Draw one star against time: relative flux in each filter, and magnitudes if it has any.

        Panels of relative flux share their scale, so that the scatter of colours compares.
        """
        points = curve.points
        panels: list[tuple[str, str, str | None]] = [
            ("rel_flux", _flux_label(curve, name), name) for name in reversed(curve.filters)
        ]
        if any(point["mag"] is not None for point in points):
            panels.append(("mag", curve.magnitude_label, None))
        height = max(3.2 * len(panels) if len(panels) < 3 else 2.2 * len(panels), 3.2)
        figure, grid = plt.subplots(
            len(panels), 1, figsize=(8, height), sharex=True, squeeze=False, layout="constrained"
        )
        axes = grid[:, 0]
        start = np.floor(min((point["bjd_tdb"] for point in points), default=0.0))
        for axis, (name, label, of) in zip(axes, panels, strict=True):
            chosen = [p for p in points if of is None or (p["filter"] or "") == of]
            _draw_points(axis, chosen, name, start, COLOURS.get(of or "", BLUE))
            axis.set_ylabel(label)
            if name == "mag":
                axis.invert_yaxis()
            elif axis is not axes[0]:
                axis.sharey(axes[0])
        axes[-1].set_xlabel(f"BJD (TDB) − {start:.0f}")
        axes[0].set_title(curve.title)
        _save(figure, path)

    def scatter(self, rows: Sequence[dict[str, Any]], path: Path) -> None:
        """Draw the scatter of every light curve against its magnitude."""
        figure, axis = plt.subplots(figsize=(8, 5), layout="constrained")
        mag, scatter = _column(rows, "mag"), _column(rows, "scatter")
        expected = _column(rows, "expected_scatter")
        candidate = np.array([row["is_candidate"] for row in rows], bool)
        axis.plot(mag[~candidate], scatter[~candidate], ".", color=BLUE, label="stars")
        axis.plot(mag[candidate], scatter[candidate], "o", color=ORANGE, label="candidates")
        order = np.argsort(mag)
        axis.plot(mag[order], expected[order], "-", color=GREY, lw=1, label="expected of noise")
        axis.set_yscale("log")
        axis.set_xlabel("magnitude")
        axis.set_ylabel("scatter of relative flux")
        axis.grid(alpha=0.25, which="both")
        axis.legend(frameon=False)
        _save(figure, path)

    def image(self, image: Image, sources: SourceList | None, path: Path) -> None:
        """Draw an image, arcsinh stretch, north wherever it is, with circles on its sources."""
        if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
            raise InvalidInput("images are drawn as PNG or JPEG", subject=path)
        circles: list[Circle] = []
        if sources is not None:
            table = sources.table
            radius = 2.0 * (sources.fwhm or 3.0)
            circles = [Circle(x, y, radius) for x, y in zip(table["x"], table["y"], strict=True)]
        path.write_bytes(encode_preview(image.data, circles=circles))


def _flux_label(curve: StarLightCurve, name: str) -> str:
    """With filter and scatter, where there are several filters."""
    rms = curve.scatter[name]["rms"]
    if len(curve.filters) == 1 or rms is None:
        return "relative flux"
    return f"{name or 'no filter'}, relative\nrms {100 * rms:.2f} %"


def _draw_points(
    axis: Axes, points: Sequence[dict[str, Any]], name: str, start: float, colour: str
) -> None:
    """Points with their errors; flagged ones as crosses."""
    time = _column(points, "bjd_tdb") - start
    good = np.array([point["flags"] == 0 for point in points], bool)
    value, error = _column(points, name), _column(points, f"{name}_err")
    axis.errorbar(
        time[good], value[good], error[good],
        fmt="o", color=colour, ecolor=GREY, markersize=3.5, elinewidth=0.8,
    )  # fmt: skip
    if not good.all():
        axis.plot(time[~good], value[~good], **FLAGGED)
        axis.legend(frameon=False)
    axis.grid(alpha=0.25)


def _column(rows: Sequence[dict[str, Any]], name: str) -> np.ndarray:
    return np.array([np.nan if row[name] is None else row[name] for row in rows], float)


def _save(figure: Figure, path: Path) -> None:
    if path.suffix.lower() not in FORMATS:
        raise InvalidInput(
            "plots are drawn to other kinds of files",
            subject=path,
            found=path.suffix or "no suffix",
            expected=", ".join(FORMATS),
        )
    try:
        figure.savefig(path, dpi=130)
    finally:
        plt.close(figure)
