"""Settings of the services. Light to import: the command line reads them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["CalibrationSettings", "ImageFileSettings", "LightCurveSettings", "ReduceSettings"]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CalibrationSettings(_Settings):
    """How master calibrations are made and chosen."""

    min_frames: int = Field(default=3, ge=1)
    """Fewer raw calibration frames than this make no master."""
    max_age_days: float = Field(default=30.0, gt=0)
    """A master farther in time than this is not used."""
    temperature_tolerance: float = Field(default=2.0, gt=0)
    """A master whose detector temperature differs by more is not used, kelvin."""
    static_level_from_sky: bool = True
    """Make a stand-in for the dark of the exposures themselves where there is no master dark."""
    min_sky_frames: int = Field(default=12, ge=9)
    """Fewer exposures than this cannot tell a hot pixel from a star."""


class LightCurveSettings(_Settings):
    """How light curves are made."""

    min_coverage: float = Field(default=0.8, gt=0, le=1)
    """Stars seen in a smaller fraction of the exposures get no light curve."""
    min_exposures: int = Field(default=5, ge=5)
    """Fewer reduced exposures than this give no light curves; the ensemble needs five."""
    match_radius_fwhm: float = Field(default=1.0, gt=0)
    """Sources nearer than this (in units of the seeing) are one star."""
    aperture_fwhm: tuple[float, ...] = (1.2, 1.5, 1.9, 2.35, 2.8)
    """Radii of the apertures in units of the median seeing of the observation."""
    object_radius_arcsec: float = Field(default=3.0, gt=0)
    """An Object nearer than this is the same star."""
    of_mosaics: bool = False
    """Also of each colour of a colour mosaic camera, beside the light curves from stamps."""


class ReduceSettings(_Settings):
    """How a reduction runs."""

    workers: int = Field(default=0, ge=0)
    """Worker processes; 0 means one a core."""
    timeout_s: float = Field(default=600.0, gt=0)
    """A section that takes longer, seconds, is given up; light curves have ten times that."""


class ImageFileSettings(_Settings):
    """How image products are written."""

    format: Literal["fits", "fits.fz"] = "fits"
    """Plain, or tile-compressed with RICE."""
    single_file: bool = True
    """All planes in one file, or a file a plane."""
