"""The quality report of one section, from the products of its recipe."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from firstlight.algorithms.flags import UNUSABLE, Flag
from firstlight.models.image import Image
from firstlight.models.quality import Badness, QualityReport
from firstlight.pipeline.step import Workpiece
from firstlight.services.object_matching import site_audience
from firstlight.services.quality.settings import QualitySettings

__all__ = ["PixelFacts", "QualityReporter", "pixel_facts"]

_EVERY = 7  # rows: enough pixels tell the noise and the share of bad ones
_FULL = np.uint16(Flag.SATURATED | Flag.BLEED)


@dataclass(frozen=True)
class PixelFacts:
    """What the pixels of an image tell of its quality.

    Attributes
    ----------
    expected_noise
        One sigma of a pixel of the sky, by photons and electronics, electrons; None without
        any usable pixel.
    saturated, unusable
        Shares of all pixels.
    """

    expected_noise: float | None
    saturated: float
    unusable: float


def pixel_facts(image: Image) -> PixelFacts:
    """Measure every seventh row."""
    flags, weight = image.flags[::_EVERY], image.weight[::_EVERY]
    usable = ((flags & np.uint16(UNUSABLE)) == 0) & (weight > 0)
    # The sky is where the least photons are: sources make the median pixel noisier, hardly.
    noise = float(1.0 / np.sqrt(np.median(weight[usable]))) if usable.any() else None
    return PixelFacts(noise, float(((flags & _FULL) != 0).mean()), float(1.0 - usable.mean()))


class QualityReporter:
    """Writes the report of a section in the transaction that saves its products.

    Parameters
    ----------
    settings
        From which number on an image is bad.
    """

    def __init__(self, settings: QualitySettings) -> None:
        self._settings = settings

    def __call__(self, session: Session, piece: Workpiece, facts: PixelFacts | None) -> None:
        """Write or renew the report; the caller commits.

        Parameters
        ----------
        facts
            Of pixels that are in memory; None where the image was found, whose facts stay.
        """
        if piece.image is None:
            return
        row = session.get(QualityReport, piece.image.id)
        if row is None:
            row = QualityReport(
                image_id=piece.image.id,
                exposure_id=piece.exposure.id,
                audience_id=site_audience(session, piece.exposure.site),
                mjd=piece.image.mjd,
                details={},
            )
            session.add(row)
        details = dict(row.details)
        if facts is not None:
            details |= {
                "expected_noise": facts.expected_noise,
                "saturated": facts.saturated,
                "unusable": facts.unusable,
            }
        details |= _of_products(piece)
        for name, value in _numbers(piece, details).items():
            setattr(row, name, value)
        row.details = details
        row.badness = int(self._badness(row, piece))

    def _badness(self, row: QualityReport, piece: Workpiece) -> Badness:
        told, bad = self._settings, Badness(0)
        details = row.details
        above = (
            (Badness.SEEING, row.seeing, told.max_seeing),
            (Badness.TRACKING, details.get("elongation"), told.max_elongation),
            (Badness.NOISE, row.noise_ratio, told.max_noise_ratio),
            (Badness.SATURATION, details.get("saturated"), told.max_saturated),
            (Badness.ASTROMETRY, details.get("rms_pixels"), told.max_astrometric_rms),
            (Badness.SUBTRACTION, row.score_width, told.max_score_width),
        )
        for bit, value, limit in above:
            if value is not None and limit is not None and value > limit:
                bad |= bit
        few = told.min_sources is not None and (row.n_sources or 0) < told.min_sources
        for bit, is_so in (
            (Badness.FEW_STARS, few),
            (Badness.ASTROMETRY, piece.wcs is None),
            (Badness.PHOTOMETRY, piece.zero_point is None),
            (Badness.SUBTRACTION, piece.reference is not None and piece.difference is None),
        ):
            if is_so:
                bad |= bit
        return bad


def _of_products(piece: Workpiece) -> dict[str, Any]:
    """What has no column: of the products there are, or None."""
    sources, wcs, zero = piece.sources, piece.wcs, piece.zero_point
    reference: uuid.UUID | None = piece.reference.reference.id if piece.reference else None
    return {
        "fwhm": sources.fwhm if sources else None,
        "elongation": sources.elongation if sources else None,
        "noise": sources.noise if sources else None,
        "rms_pixels": wcs.rms_pixels if wcs else None,
        "matched": wcs.n_matched if wcs else None,
        "zero_point_err": zero.zero_point_err if zero else None,
        "scatter": zero.scatter if zero else None,
        "reference": str(reference) if reference else None,
    }


def _numbers(piece: Workpiece, details: dict[str, Any]) -> dict[str, Any]:
    sources, wcs, zero = piece.sources, piece.wcs, piece.zero_point
    expected = details.get("expected_noise")
    fwhm = sources.fwhm if sources else None
    told = (piece.difference.calibration if piece.difference else {}).get("subtract", {})
    return {
        "seeing": fwhm * wcs.pixel_scale if wcs and fwhm else None,
        "limiting_magnitude": zero.limiting_magnitude if zero else None,
        "sky": sources.background if sources else None,
        "noise_ratio": sources.noise / expected if sources and expected else None,
        "astrometric_rms": wcs.rms_arcsec if wcs else None,
        "zero_point": zero.zero_point if zero else None,
        "score_width": told.get("score_width"),
        "n_sources": sources.n_sources if sources else None,
        "n_candidates": piece.measurements.n_candidates if piece.measurements else None,
        "n_kept": piece.measurements.n_kept if piece.measurements else None,
    }
