"""Settings of the analysis of one image. Light to import: the command line reads them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["ImageAnalysisSettings"]


class ImageAnalysisSettings(BaseModel):
    """How one image is measured; what is not given is found out from the image."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    instrument: str | None = None
    """Name of a registered instrument; told by header and file name if not given."""
    section: str | None = None
    """Part of a file of several images: its name, or what its camera calls it; the one that holds
    the target if not given."""
    filter: str | None = None
    """What the image was taken through; the header's if not given."""
    gain: float | None = Field(default=None, gt=0)
    """Electrons per ADU; the header's or the instrument's if not given."""
    saturation: float | None = Field(default=None, gt=0)
    """ADU from which a pixel is saturated; the header's or the instrument's if not given."""
    mjd: float | None = None
    """Middle of the exposure, UTC; the header's if not given."""
    scale: tuple[float, float] | None = None
    """Lowest and highest pixel scale, arcseconds per pixel, for an image that says nothing."""
    catalog: str | None = None
    """Reference catalogue; the deepest that needs no network if not given."""
    trust_wcs: bool | None = None
    """True: take the header's WCS as it is. False: solve without it. Otherwise it is refined
    where the catalogue confirms it."""
    cosmic_rays: bool = True
    """Flag pixels hit by cosmic rays; never on colour cameras."""
    threshold: float = Field(default=5.0, ge=2.5)
    """Signal to noise of what is found, of stars and of artificial stars."""
    aperture: float = Field(default=1.0, gt=0.2, le=10)
    """Radius of the circle, in FWHM."""
    method: Literal["auto", "aperture", "psf"] = "auto"
    """Which measurement is the result; by default the one with the smaller error."""
    recentre: bool = True
    """Measure a bright target where it is found, within half a FWHM of its position."""
    colour: float | None = None
    """Colour index of the target in the catalogue's colour; the catalogue's own if not given."""
    colour_err: float = Field(default=0.0, ge=0)
    """Its one-sigma error."""
    colour_term: bool = True
    """Fit one where the catalogue has colours."""
    spatial_order: Literal[0, 1, 2] | None = None
    """Of the zero point's polynomial over the image; what the stars justify if not given."""
    min_calibrators: int = Field(default=5, ge=3)
    """Fewer reference stars than this give no zero point."""
    detection: float = Field(default=3.0, ge=1)
    """Signal to noise below which there is no magnitude, only a limit."""
    artificial_stars: int = Field(default=1200, ge=100)
    """How many at least are put into the image to measure its limit."""
    seed: int = 0
    """Of the artificial stars."""
