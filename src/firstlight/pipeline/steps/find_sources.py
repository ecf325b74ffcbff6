"""find_sources: background, detection, positions, shapes, apertures."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.background import SkyMap
from firstlight.algorithms.photometry.growth_curve import (
    GrowthCurve,
    growth_curve,
    uncrowded,
    undisturbed,
)
from firstlight.algorithms.sources.aperture import ApertureFluxes, aperture_fluxes
from firstlight.algorithms.sources.detect import Detection, find_sources
from firstlight.formats.tables import TableData
from firstlight.models.base import finite_or_none
from firstlight.models.image import Image
from firstlight.models.sources import SourceList
from firstlight.pipeline.image_sky import map_sky
from firstlight.pipeline.settings import FindSourcesSettings
from firstlight.pipeline.step import Step, StepImpossible, Workpiece

__all__ = ["FindSources", "NoSources"]

UNITS = {
    "x": "pix",
    "y": "pix",
    "x_err": "pix",
    "y_err": "pix",
    "flux": "electron",
    "flux_err": "electron",
    "total_flux": "electron",
    "total_flux_err": "electron",
    "fwhm": "pix",
    "sky": "electron",
}
FALLBACK_FWHM = 3.0
CALIBRATION_RADIUS = 1.5  # FWHM: holds nearly all the light, and little sky
BRIGHT = 40.0  # signal to noise of stars whose surroundings are looked at
MOST_FROM_OTHERS = 0.003  # of a star's light, for one that tells the curve of growth


class NoSources(StepImpossible):
    """There is no source in this image."""

    code = "sources.none"


class FindSources(Step):
    """Subtract the sky, find sources by a matched filter, measure them in several apertures.

    Parameters
    ----------
    settings
        Thresholds and radii.
    """

    name = "find_sources"
    version = "3"
    makes = "sources"
    product_class = SourceList
    after = ("preprocess",)

    def __init__(self, settings: FindSourcesSettings) -> None:
        self.settings = settings

    def parameters(self) -> dict[str, Any]:
        """All settings."""
        return self.settings.critical()

    def run(self, piece: Workpiece) -> SourceList:
        """Make the source list of the piece's image.

        Raises
        ------
        NoSources
            Nothing is above the threshold.
        """
        image = piece.image
        assert image is not None  # noqa: S101, the recipe runs preprocess before
        sky, detection = self._detect(image)
        piece.sky = sky
        if detection.found == 0:
            raise NoSources(
                subject=piece.exposure.filename,
                field=f"section {piece.section_id}",
                found="nothing above the threshold",
                expected=f"sources above {self.settings.threshold} sigma",
            )
        width = detection.fwhm if np.isfinite(detection.fwhm) else FALLBACK_FWHM
        residual = image.data - sky.level
        fluxes = self._measure(image, residual, detection, width)
        growth = _growth(fluxes, detection, width, (residual, image.variance))
        made = SourceList(
            image_id=image.id,
            fwhm=finite_or_none(detection.fwhm),
            elongation=finite_or_none(detection.elongation),
            background=sky.median_level,
            noise=sky.median_rms,
            aperture_radii=[float(radius) for radius in fluxes.radii],
            aperture_corrections=[float(value) for value in -2.5 * np.log10(growth.factor)],
            limiting_flux=_limiting_flux(sky.median_rms, width),
            measures={
                "found": detection.found,
                "stars_of_fwhm": detection.stars,
                "noise_scale": detection.noise_scale,
                "background_cell": sky.mesh,
                "growth": _facts(growth),
            },
        )
        made.table = _table(detection, fluxes, growth, CALIBRATION_RADIUS * width)
        piece.notes["sources"] = made.n_sources
        return made

    def _detect(self, image: Image) -> tuple[SkyMap, Detection]:
        sky = map_sky(image.data, image.flags, cell=self.settings.background_cell)
        return sky, find_sources(
            image.data - sky.level,
            image.variance,
            image.flags,
            threshold=self.settings.threshold,
            limit=self.settings.max_sources,
        )

    def _measure(
        self, image: Image, residual: NDArray[np.float32], detection: Detection, width: float
    ) -> ApertureFluxes:
        return aperture_fluxes(
            residual,
            detection.sources.x_win,
            detection.sources.y_win,
            np.asarray(self.settings.aperture_fwhm) * width,
            variance=image.variance,
            flags=image.flags,
        )


def _table(
    detection: Detection, fluxes: ApertureFluxes, growth: GrowthCurve, radius: float
) -> TableData:
    """Columns of the source list; `total_flux` is the light in the whole PSF."""
    sources = detection.sources
    aperture = int(np.argmin(np.abs(fluxes.radii - radius)))
    factor, doubt = growth.at(sources.x_win, sources.y_win)
    total = fluxes.flux[:, aperture] * factor[:, aperture]
    noise = fluxes.error[:, aperture] * factor[:, aperture]
    columns: dict[str, NDArray[Any]] = {
        "x": sources.x_win,
        "y": sources.y_win,
        "x_err": sources.x_err,
        "y_err": sources.y_err,
        "flux": fluxes.flux,
        "flux_err": fluxes.error,
        "flux_flags": fluxes.flags,
        "total_flux": total,
        "total_flux_err": np.hypot(noise, total * doubt[:, aperture]),
        "peak": sources.peak,
        "snr": sources.snr,
        "fwhm": sources.fwhm,
        "elongation": sources.elongation,
        "theta": sources.theta,
        "sharpness": sources.sharpness,
        "flags": sources.flags,
        "blended": sources.blended,
    }
    units = {name: unit for name, unit in UNITS.items() if name in columns}
    return TableData(columns, units=units)


def _growth(
    fluxes: ApertureFluxes,
    detection: Detection,
    width: float,
    planes: tuple[NDArray[np.float32], NDArray[np.float32]],
) -> GrowthCurve:
    """Curve of growth of point sources with nothing else in the largest aperture."""
    sources = detection.sources
    x, y, largest = sources.x_win, sources.y_win, float(fluxes.radii[-1])
    alone = uncrowded(x, y, sources.flux, largest + width, MOST_FROM_OTHERS)
    alone &= np.abs(sources.sharpness - 1.0) < 0.5
    bright = np.flatnonzero(alone & (fluxes.flux[:, -1] > BRIGHT * fluxes.error[:, -1]))
    ring = (CALIBRATION_RADIUS * width, largest)
    alone[bright] = undisturbed(
        planes, x[bright], y[bright], sources.flux[bright], fluxes.sky[bright], ring
    )
    return growth_curve(fluxes, x, y, alone)


def _facts(growth: GrowthCurve) -> dict[str, float | int | None]:
    """What a person may want to know of the wings."""
    return {
        "stars": growth.stars,
        "core": finite_or_none(growth.core),
        "power": finite_or_none(growth.power),
        "beyond": growth.beyond,
        "beyond_err": growth.beyond_err,
    }


def _limiting_flux(noise: float, fwhm: float) -> float:
    """Five sigma in an aperture of one FWHM radius, electrons."""
    return float(5.0 * noise * np.sqrt(np.pi) * fwhm)
