"""Pictures of what changed between two images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from firstlight.algorithms.candidates.stamps import DIFFERENCE, NEW, REFERENCE
from firstlight.pipeline.comparison import Comparison

__all__ = ["draw_candidates"]

MOST_DRAWN = 24
CHANGES_A_ROW = 2
DPI = 110
CORE = 3  # pixels around a candidate that set the greys
INK = "#111827"
_PANELS = ((NEW, "new"), (REFERENCE, "reference"), (DIFFERENCE, "difference"))


def draw_candidates(found: Comparison, numbers: Sequence[int], folder: Path) -> list[Path]:
    """Draw changes: new image, reference and difference.

    Parameters
    ----------
    numbers
        Of the candidates to be drawn; of many the first.

    Returns
    -------
    list of Path
        The file ``changes.png``; empty where there is nothing to draw.
    """
    numbers = numbers[:MOST_DRAWN]
    if not numbers:
        return []
    rows = -(-len(numbers) // CHANGES_A_ROW)
    # Without pyplot: it keeps every figure, and is not made for threads.
    figure = Figure(figsize=(4.0 * CHANGES_A_ROW, 1.55 * rows + 0.2), layout="constrained")
    grid = figure.subplots(rows, len(_PANELS) * CHANGES_A_ROW, squeeze=False)
    for axis in grid.flat:
        axis.set_axis_off()
    for place, number in enumerate(numbers):
        row, column = divmod(place, CHANGES_A_ROW)
        first = column * len(_PANELS)
        _draw(found, number, place + 1, list(grid[row, first : first + len(_PANELS)]))
    path = folder / "changes.png"
    figure.savefig(path, dpi=DPI)
    return [path]


def _draw(found: Comparison, number: int, rank: int, axes: list[Axes]) -> None:
    stamps = found.stamps
    x, y = float(found.measures.x[number]), float(found.measures.y[number])
    noise = float(np.sqrt(np.nanmedian(stamps.variance[number])))
    core = slice(stamps.radius - CORE, stamps.radius + CORE + 1)
    light = float(np.nanmax(np.abs(stamps.pixels[number, DIFFERENCE][core, core])))
    for axis, (plane, _) in zip(axes, _PANELS, strict=True):
        pixels = stamps.pixels[number, plane]
        middle = 0.0 if plane == DIFFERENCE else float(np.nanmedian(pixels))
        reach = max(5.0 * noise, light)
        if plane == REFERENCE:
            reach /= found.subtraction.ratio.at(x, y)
        axis.imshow(
            pixels, origin="lower", cmap="gray", interpolation="nearest",
            vmin=middle - reach, vmax=middle + reach,
        )  # fmt: skip
    told = f"{rank}   x {x:.1f}  y {y:.1f}   {found.candidates.score[number]:+.1f} sigma"
    axes[0].set_title(told, fontsize=8, pad=3, loc="left", color=INK)
    for axis, (_, title) in zip(axes, _PANELS, strict=True):
        axis.text(
            0.03, 0.04, title, transform=axis.transAxes, fontsize=6.5, color="white",
            bbox={"facecolor": "black", "alpha": 0.5, "pad": 1.5, "edgecolor": "none"},
        )  # fmt: skip
