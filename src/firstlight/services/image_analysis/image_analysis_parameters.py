"""What a user may choose for the analysis of an image, checked before anything is started."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from firstlight.errors import InvalidInput
from firstlight.instruments.header_values import to_datetime, to_mjd
from firstlight.pipeline.image_analysis_settings import ImageAnalysisSettings
from firstlight.pipeline.sky_place import checked_place

__all__ = ["ENGINES", "ImageAnalysisParameters"]

ENGINES = ("firstlight", "stdpipe")
_NOT_OF_THE_MEASUREMENT = {"obstime", "ra", "dec", "engine"}
_FIRST_MJD, _LAST_MJD = 15_000.0, 100_000.0  # 1899 to 2132


class ImageAnalysisParameters(BaseModel):
    """Choices of the form. What is not given, or empty, is found out from the image."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    instrument: str | None = Field(default=None, description="Name of a registered instrument.")
    section: str | None = Field(
        default=None,
        max_length=64,
        description="Part of a file of several images, by name or number; by default the one "
        "that holds the target.",
    )
    filter: str | None = Field(default=None, max_length=64, description="Of the image.")
    obstime: float | str | None = Field(
        default=None, description="Middle of the exposure: ISO date and time (UTC), or MJD."
    )
    gain: float | None = Field(default=None, gt=0, le=1e6, description="Electrons per ADU.")
    saturation: float | None = Field(default=None, gt=0, description="ADU.")
    aperture: float = Field(default=1.0, gt=0.2, le=10, description="Radius, in FWHM.")
    catalog: str | None = Field(default=None, description="Reference catalogue.")
    trust_wcs: bool | None = Field(
        default=None,
        description="true: as it is; false: solved without it; otherwise it is refined.",
    )
    threshold: float = Field(default=5.0, ge=2.5, le=1000, description="S/N of what is found.")
    detection: float = Field(default=3.0, ge=1, le=1000, description="S/N of a magnitude.")
    method: Literal["auto", "aperture", "psf"] = "auto"
    cosmic_rays: bool = True
    recentre: bool = True
    colour: float | None = Field(default=None, ge=-10, le=10, description="Of the target.")
    colour_err: float = Field(default=0.0, ge=0, le=10)
    colour_term: bool = True
    spatial_order: Literal[0, 1, 2] | None = None
    scale: tuple[float, float] | None = Field(
        default=None, description="Lowest and highest pixel scale, arcseconds."
    )
    artificial_stars: int = Field(default=1200, ge=100, le=5000)
    ra: float | None = Field(default=None, description="Of the target, if not the object's place.")
    dec: float | None = None
    engine: Literal["firstlight", "stdpipe"] = "firstlight"

    @model_validator(mode="before")
    @classmethod
    def _empty_is_not_given(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        kept = {name: value for name, value in values.items() if value not in (None, "")}
        if isinstance(kept.get("scale"), str):
            kept["scale"] = kept["scale"].replace(",", " ").split()
        if isinstance(kept.get("section"), int) and not isinstance(kept["section"], bool):
            kept["section"] = str(kept["section"])
        order = kept.get("spatial_order")
        if isinstance(order, str) and order.isdecimal():
            kept["spatial_order"] = int(order)
        return kept

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        if (self.ra is None) != (self.dec is None):
            raise ValueError("ra and dec go together")
        if self.scale is not None and not 0 < self.scale[0] < self.scale[1]:
            raise ValueError("scale is a low and a high number of arcseconds per pixel")
        for name, value in self:
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{name} is not a number")
        return self

    @classmethod
    def checked(cls, values: Mapping[str, Any]) -> ImageAnalysisParameters:
        """Read what somebody has chosen.

        Raises
        ------
        InvalidInput
            Names the first parameter that cannot be used.
        """
        try:
            found = cls.model_validate(dict(values))
        except ValidationError as fault:
            first = fault.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            raise InvalidInput(
                str(first["msg"]),
                subject="parameters",
                field=name or None,
                found=repr(first.get("input"))[:200],
                hint=None if name in cls.model_fields else "known: " + ", ".join(cls.model_fields),
            ) from fault
        found.mjd()
        if found.ra is not None and found.dec is not None:
            checked_place(found.ra, found.dec)
        return found

    def chosen(self) -> dict[str, Any]:
        """What differs from what is taken anyway, as JSON values."""
        return self.model_dump(mode="json", exclude_defaults=True)

    def mjd(self) -> float | None:
        """Middle of the exposure, UTC.

        Raises
        ------
        InvalidInput
            It is no time.
        """
        if self.obstime is None:
            return None
        try:
            mjd = to_mjd(to_datetime(self.obstime))
        except (ValueError, OverflowError) as fault:
            raise _not_a_time(self.obstime) from fault
        if not _FIRST_MJD < mjd < _LAST_MJD:
            raise _not_a_time(self.obstime)
        return mjd

    def settings(self) -> ImageAnalysisSettings:
        """What the measurement is told."""
        given = self.model_dump(exclude=_NOT_OF_THE_MEASUREMENT)
        return ImageAnalysisSettings(**given, mjd=self.mjd())


def _not_a_time(found: object) -> InvalidInput:
    return InvalidInput(
        "This is no time of an exposure.",
        subject="parameters",
        field="obstime",
        found=str(found)[:80],
        expected="2024-03-01T04:05:06 (UTC), or a modified Julian date",
    )
