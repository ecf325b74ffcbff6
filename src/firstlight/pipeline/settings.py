"""Settings of the steps. Light to import: the command line reads them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "FindChangesSettings",
    "FindSourcesSettings",
    "MeasureChangesSettings",
    "PreprocessSettings",
    "RecipeSettings",
    "SolveAstrometrySettings",
    "SolvePhotometrySettings",
    "StepSettings",
    "SubtractSettings",
]


class StepSettings(BaseModel):
    """Parameters of a step. All are critical: a change makes new products downstream."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def critical(self) -> dict[str, Any]:
        """The parameters as JSON values."""
        return self.model_dump(mode="json")


class PreprocessSettings(StepSettings):
    """Raw counts to electrons."""

    overscan: bool = True
    """Subtract the level of the overscan, where the header tells where it is."""
    crosstalk: bool = True
    """Take off what amplifiers leave in each other, where the camera has coefficients."""
    bias: bool = True
    """Subtract the master bias."""
    linearity: bool = True
    """Make counts linear, where the camera has tables."""
    dark: bool = True
    """Subtract the master dark, scaled to the exposure time."""
    flat: bool = True
    """Divide by the master flat."""
    illumination: bool = True
    """Divide by the illumination correction (star flat), where there is one."""
    static_level: bool = True
    """Where there is no master dark: the level that the exposures themselves show."""
    fringe: bool = True
    """Subtract the master fringe of the filter, as strong as each image shows it."""
    bad_pixels: bool = True
    """Flag what the camera's map of bad pixels names."""
    bleed: bool = True
    """Flag the trails of charge that begin at saturated pixels."""
    trails: bool = True
    """Flag the trails of satellites and aircraft."""
    cosmic_rays: bool = True
    """Flag pixels hit by cosmic rays; not on colour cameras."""
    saturation_growth: int = Field(default=1, ge=0, le=20)
    """Neighbours of saturated pixels and of trails of charge that are flagged too, pixels."""


class FindSourcesSettings(StepSettings):
    """Background, detection and measurement of sources."""

    threshold: float = Field(default=4.0, gt=0)
    """Signal to noise of the matched filter."""
    max_sources: int = Field(default=20_000, gt=0)
    """Of more sources only the brightest are kept."""
    aperture_fwhm: tuple[float, ...] = (0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0)
    """Radii of the apertures in units of the seeing (FWHM)."""
    background_cell: int | None = Field(default=None, gt=7)
    """Size of a cell of the sky map, pixels; chosen by the image's size if not given."""


class SolveAstrometrySettings(StepSettings):
    """Plate solving."""

    hint_radius: float = Field(default=3.0, gt=0)
    """How far off the header's pointing may be, degrees."""
    scale_tolerance: float = Field(default=0.2, gt=0, lt=1)
    """How far off the nominal pixel scale may be, relative."""
    blind: bool = True
    """Search the whole sky when the header's pointing leads nowhere."""
    solve_field: bool = True
    """Ask astrometry.net's solve-field where it is installed and all else failed."""


class SolvePhotometrySettings(StepSettings):
    """Zero point."""

    match_radius_fwhm: float = Field(default=1.0, gt=0)
    """Largest distance between a source and its reference star, in FWHM."""
    min_stars: int = Field(default=5, ge=3)
    """Fewer usable reference stars than this give no zero point."""


class SubtractSettings(StepSettings):
    """New image minus reference."""

    method: Literal["zogy", "kernel_match"] = "zogy"
    """Kernels from the PSFs of both images, or fitted to the images."""


class FindChangesSettings(StepSettings):
    """Candidates in the difference."""

    threshold: float = Field(default=5.0, ge=3.0)
    """Of the score, in sigma."""


class MeasureChangesSettings(StepSettings):
    """What is measured on candidates, and which are kept."""

    model: str = "trees"
    """What tells real from bogus: the one that comes with firstlight, or the name of an entry
    point in the group ``firstlight.real_bogus``."""
    real_above: float = Field(default=0.4, ge=0.0, le=1.0)
    """Probability from which on a candidate is kept."""
    cuts: dict[str, tuple[float | None, float | None]] = Field(default_factory=dict)
    """Lowest and highest value of a measure, in place of the cut that comes with firstlight;
    an empty side, ``[null, null]``, switches it off."""


class RecipeSettings(BaseModel):
    """Settings of all steps."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    preprocess: PreprocessSettings = PreprocessSettings()
    find_sources: FindSourcesSettings = FindSourcesSettings()
    solve_astrometry: SolveAstrometrySettings = SolveAstrometrySettings()
    solve_photometry: SolvePhotometrySettings = SolvePhotometrySettings()
    subtract: SubtractSettings = SubtractSettings()
    find_changes: FindChangesSettings = FindChangesSettings()
    measure_changes: MeasureChangesSettings = MeasureChangesSettings()
