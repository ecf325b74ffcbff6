"""What an operator can set about photometry. Light to import."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["FilterSettings", "PhotometrySettings"]


class FilterSettings(BaseModel):
    """A filter of one's own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    wavelength: float = Field(gt=0, allow_inf_nan=False)
    """Effective wavelength, Angstrom."""
    vega: float | None = Field(default=None, allow_inf_nan=False)
    """AB minus Vega magnitude of any source; without it only AB magnitudes are taken."""
    colour: str | None = Field(default=None, pattern=r"^#[0-9a-fA-F]{6}$")
    """In which its points are drawn, as ``#1f77b4``; otherwise made of the wavelength."""


class PhotometrySettings(BaseModel):
    """What photometry may be sent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    filters: dict[str, FilterSettings] = Field(default_factory=dict)
    """Filters of one's own by name, beside those that are built in; one may replace another."""
    max_rows: int = Field(default=10_000, ge=1, le=100_000)
    """Rows of one request."""
