"""What an operator can set about colour cameras. Light to import."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["ColourPictureSettings", "StampLightCurveSettings"]


class ColourPictureSettings(BaseModel):
    """Pictures of exposures whose colours are sections, and movies of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    channel_fits: bool = True
    """A FITS image for each colour, with its place on the sky where that is known."""
    largest_side: int = Field(default=2048, ge=16, le=16384)
    """Of the colour picture, pixels."""
    quality: int = Field(default=90, ge=1, le=95)
    """Of the colour picture, as JPEG counts it."""
    timelapse: bool = True
    """A movie of the pictures of each observation, where ffmpeg is to be had."""
    timelapse_fps: float = Field(default=10.0, gt=0, le=120)
    """Pictures a second."""
    timelapse_side: int = Field(default=1280, ge=16, le=4096)
    """Of the movie, pixels."""
    timelapse_frames: int = Field(default=2, ge=1)
    """Fewer pictures than this make no movie."""

    def of_pictures(self) -> dict[str, Any]:
        """Those that change a picture."""
        return self.model_dump(include={"channel_fits", "largest_side", "quality"})

    def of_timelapse(self) -> dict[str, Any]:
        """Those that change a movie."""
        return self.model_dump(include={"timelapse_fps", "timelapse_side"})


class StampLightCurveSettings(BaseModel):
    """How stamps are cut and light curves are made of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    match_radius_arcsec: float = Field(default=25.0, gt=0)
    """A source nearer than this to a star of the catalogue is that star."""
    edge_pixels: float = Field(default=10.0, ge=0)
    """Sources nearer than this to an edge of the mosaic are not matched."""
    min_coverage: float = Field(default=0.8, gt=0, le=1)
    """Stars found in a smaller fraction of the exposures get no stamps."""
    faintest: float | None = 13.0
    """Stars of the catalogue fainter than this are left out; none where not set."""
    min_exposures: int = Field(default=10, ge=5)
    """Fewer solved exposures than this give no light curves."""
    most_references: int = Field(default=150, ge=10)
    """Stars that one star is compared with."""
    fewest_references: int = Field(default=10, ge=3)
    """A star with fewer gets no light curve."""
    aperture_cutoff: float = Field(default=0.05, ge=0, lt=1)
    """Share of a colour's information that may lie outside the aperture."""
    object_radius_arcsec: float = Field(default=6.0, gt=0)
    """An Object nearer than this is the same star."""
