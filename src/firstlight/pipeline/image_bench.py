"""One image on the bench: everything that the steps of its analysis have made so far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from astropy.io.fits import Header
from numpy.typing import NDArray

from firstlight.algorithms.background import SkyMap
from firstlight.algorithms.photometry.completeness import Completeness
from firstlight.algorithms.photometry.field_calibration import FieldCalibration
from firstlight.algorithms.photometry.forced import ForcedFluxes
from firstlight.algorithms.plate.quads import QuadTable
from firstlight.algorithms.psf.fit import PsfModel
from firstlight.algorithms.sky.projection import Projection
from firstlight.algorithms.sources.detect import Detection
from firstlight.catalogs.base import ReferenceCatalog, ReferenceStars
from firstlight.instruments.base import Instrument
from firstlight.pipeline.detector_frame import DetectorFrame
from firstlight.pipeline.image_analysis_result import ImageAnalysisResult
from firstlight.pipeline.image_analysis_settings import ImageAnalysisSettings

__all__ = ["Bench", "Calibrators", "RawImage"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class RawImage:
    """One image as it was read from a file.

    Attributes
    ----------
    name
        What errors call it.
    pixels
        ADU, ``(ny, nx)``.
    header
        Cards of its HDU, and those of the primary header that it does not have itself.
    camera, section_id
        What knows its header, and which part of that camera it is.
    in_colour
        Whether it is one colour of a mosaic, of whose stars every second pixel is left.
    section, sections
        Its name within its file, and how many there are; empty where it is the only one.
    """

    name: str
    pixels: NDArray[Any]
    header: Header
    camera: Instrument
    section_id: str
    in_colour: bool = False
    section: str = ""
    sections: int = 1


@dataclass(frozen=True)
class Calibrators:
    """Reference stars with their sources, one to one.

    Attributes
    ----------
    source, star
        Rows of the source list and of the catalogue, ``(n,)``.
    x, y
        Pixels, ``(n,)``.
    excluded
        Saturated, blended or otherwise no use, ``(n,)``.
    fluxes, fits
        By method.
    """

    source: NDArray[np.intp]
    star: NDArray[np.intp]
    x: Floats
    y: Floats
    excluded: Bools
    fluxes: dict[str, ForcedFluxes]
    fits: dict[str, FieldCalibration]


@dataclass
class Bench:
    """The image, what is wanted of it, and what is known so far.

    Attributes
    ----------
    data
        Electrons, with the sky, ``(ny, nx)``.
    flags
        Flags plane.
    residual
        Electrons without the sky.
    sky_variance
        Of the sky, with the excess that empty circles show, electrons squared; infinite where
        there is no value.
    offset
        Column and row of the file at which the image begins (behind an overscan).
    is_mosaic
        Whether it is the luminance of a colour mosaic.
    noise_scale
        Noise in empty circles over that of independent pixels.
    how
        Where the projection comes from.
    star_x, star_y
        Catalogue stars, pixels, ``(n_star,)``; NaN behind the camera.
    x, y
        Of the target, pixels, where it is measured.
    """

    raw: RawImage
    settings: ImageAnalysisSettings
    ra: float
    dec: float
    catalog: ReferenceCatalog
    quads: Callable[[], QuadTable] | None
    result: ImageAnalysisResult
    frame: DetectorFrame | None = None
    data: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    flags: NDArray[np.uint16] = field(default_factory=lambda: np.zeros((0, 0), np.uint16))
    residual: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    sky_variance: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    offset: tuple[int, int] | None = (0, 0)
    is_mosaic: bool = False
    noise_scale: float = 1.0
    sky: SkyMap | None = None
    detection: Detection | None = None
    psf: PsfModel | None = None
    projection: Projection | None = None
    how: str = ""
    stars: ReferenceStars | None = None
    star_x: Floats = field(default_factory=lambda: np.zeros(0))
    star_y: Floats = field(default_factory=lambda: np.zeros(0))
    calibrators: Calibrators | None = None
    x: float = float("nan")
    y: float = float("nan")
    method: str = "aperture"
    completeness: Completeness | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """``(ny, nx)`` without overscan."""
        return self.data.shape[0], self.data.shape[1]

    @property
    def fwhm(self) -> float:
        """Of the stars, pixels; that of the filter where no star is clear enough to tell."""
        assert self.detection is not None  # noqa: S101, asked for after the step `sources`
        width = self.detection.fwhm
        return float(width if np.isfinite(width) else self.detection.filter_fwhm)

    @property
    def planes(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint16]]:
        """Residual, variance of the sky, flags."""
        return self.residual, self.sky_variance, self.flags

    def note(self, sentence: str) -> None:
        """Tell a person something, once."""
        if sentence not in self.result.notes:
            self.result.notes.append(sentence)
