"""What can measure an image: firstlight's own pipeline, or another program for comparison."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from firstlight.algorithms.plate.quads import QuadTable
from firstlight.catalogs.base import ReferenceCatalog
from firstlight.pipeline.image_analysis import OnStep, analyse_image
from firstlight.pipeline.image_analysis_result import ImageAnalysisResult
from firstlight.pipeline.image_analysis_settings import ImageAnalysisSettings
from firstlight.services.image_analysis.image_analysis_shapes import plots_of
from firstlight.services.image_measurement import open_image
from firstlight.services.measurement_pictures import draw_report

__all__ = ["FirstlightMeasurer", "Measured", "Measurer"]


@dataclass(frozen=True)
class Measured:
    """What an engine has found.

    Attributes
    ----------
    draw
        Writes the pictures to a folder, and returns their files.
    plots
        Their numbers, as JSON values; None where there are none.
    """

    result: ImageAnalysisResult
    draw: Callable[[Path], list[Path]]
    plots: dict[str, Any] | None = None


class Measurer(Protocol):
    """Measures the brightness at a place in one file."""

    def measure(
        self,
        path: Path,
        place: tuple[float, float],
        settings: ImageAnalysisSettings,
        *,
        catalog: ReferenceCatalog,
        max_pixels: int,
        on_step: OnStep,
    ) -> Measured:
        """Measure; what ends a step is in the result.

        Raises
        ------
        FirstlightError
            The file cannot be read, before the first step.
        """
        ...


class FirstlightMeasurer:
    """The pipeline of this house.

    Parameters
    ----------
    quads
        Gives the index of the whole sky when a blind search needs it.
    """

    def __init__(self, quads: Callable[[], QuadTable] | None) -> None:
        self._quads = quads

    def measure(
        self,
        path: Path,
        place: tuple[float, float],
        settings: ImageAnalysisSettings,
        *,
        catalog: ReferenceCatalog,
        max_pixels: int,
        on_step: OnStep,
    ) -> Measured:
        """See `Measurer`."""
        raw, search = open_image(path, place, settings, max_pixels=max_pixels)
        bench = analyse_image(
            raw, place, catalog=catalog, settings=settings, quads=self._quads,
            on_step=on_step, search=search,
        )  # fmt: skip
        return Measured(bench.result, lambda folder: draw_report(bench, folder), plots_of(bench))
