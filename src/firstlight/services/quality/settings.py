"""Settings of quality reports. Light to import: the command line reads them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["QualitySettings"]


class QualitySettings(BaseModel):
    """From which number on an image is bad; an empty limit judges nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_seeing: float | None = Field(default=None, gt=0)
    """FWHM, arcseconds."""
    max_elongation: float | None = Field(default=1.6, gt=1)
    """Long over short axis of the stars."""
    min_sources: int | None = Field(default=10, ge=0)
    """Sources found."""
    max_noise_ratio: float | None = Field(default=1.5, gt=0)
    """Noise of the sky over that which photons and electronics explain."""
    max_saturated: float | None = Field(default=0.05, gt=0, le=1)
    """Share of the pixels that are saturated or bled."""
    max_astrometric_rms: float | None = Field(default=0.5, gt=0)
    """Of the stars about the solution, pixels."""
    max_score_width: float | None = Field(default=1.1, gt=0)
    """Of the difference's score where nothing changed; 1 where its errors are right."""
    cloud_magnitudes: float | None = Field(default=0.5, gt=0)
    """So far below the median zero point of its camera, section and filter an image is clouded,
    magnitudes for one second."""
    bright_sky: float | None = Field(default=4.0, gt=1)
    """Sky over the median of its camera, section and filter, per second."""
    history: int = Field(default=500, ge=10)
    """How many of the latest reports the medians are taken of."""
