"""Pictures: light curves, scatter against magnitude, images with their sources."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")  # no screen is needed, and none may be there

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from firstlight.errors import InvalidInput
from firstlight.formats.preview import Circle, encode_preview
from firstlight.models.image import Image
from firstlight.models.sources import SourceList
from firstlight.services.star_light_curve import StarLightCurve

__all__ = ["PictureService"]

FORMATS = (".png", ".pdf", ".svg", ".jpg", ".jpeg")
BLUE, ORANGE, GREY = "#2563eb", "#ea580c", "#9ca3af"
FLAGGED: dict[str, Any] = {"marker": "x", "linestyle": "none", "color": GREY, "label": "flagged"}


class PictureService:
    """Draws to files. Everything it draws is also to be had as numbers."""

    def light_curve(self, curve: StarLightCurve, path: Path) -> None:
        """Draw relative flux and calibrated magnitude of one star against time."""
        figure, axes = plt.subplots(2, 1, figsize=(8, 6.4), sharex=True, layout="constrained")
        points = curve.points
        time = np.array([point["bjd_tdb"] for point in points], float)
        good = np.array([point["flags"] == 0 for point in points], bool)
        start = np.floor(time.min()) if len(time) else 0.0
        for axis, name, label in (
            (axes[0], "rel_flux", "relative flux"),
            (axes[1], "mag", curve.magnitude_label),
        ):
            value = _column(points, name)
            error = _column(points, f"{name}_err")
            axis.errorbar(
                time[good] - start, value[good], error[good],
                fmt="o", color=BLUE, ecolor=GREY, markersize=3.5, elinewidth=0.8,
            )  # fmt: skip
            if not good.all():
                axis.plot(time[~good] - start, value[~good], **FLAGGED)
                axis.legend(frameon=False)
            axis.set_ylabel(label)
            axis.grid(alpha=0.25)
        axes[1].invert_yaxis()
        axes[1].set_xlabel(f"BJD (TDB) − {start:.0f}")
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
