"""What references are asked for. Light to import: the command line makes it."""

from __future__ import annotations

from datetime import date
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from firstlight.errors import InvalidInput

__all__ = ["Method", "ReferenceWish"]

Method = Literal["weighted", "clipped", "proper"]
MOST_IMAGES = 62  # as many as `proper_coadd` takes


class ReferenceWish(BaseModel):
    """Which references to build; what is not said is not asked for.

    Attributes
    ----------
    field
        Target of the exposures, or the name that `reference list` shows.
    first_night, last_night
        Local dates of evenings, both included.
    min_images, max_images
        Fewer give no reference; of more the best are taken.
    max_seeing
        FWHM, arcseconds.
    min_depth
        Magnitude that each image must reach, five sigma, point source.
    method
        Mean of all pixels; without outliers; proper coaddition without outliers.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    field: str | None = None
    filter: str | None = None
    instrument: str | None = None
    section: str | None = None
    first_night: date | None = None
    last_night: date | None = None
    min_images: int = Field(default=3, ge=1, le=MOST_IMAGES)
    max_images: int = Field(default=30, ge=1, le=MOST_IMAGES)
    max_seeing: float | None = Field(default=None, gt=0)
    min_depth: float | None = None
    method: Method = "clipped"

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.min_images > self.max_images:
            raise InvalidInput(
                "more images are wanted at least than at most", field="min_images",
                found=self.min_images, expected=f"at most max_images, {self.max_images}",
            )  # fmt: skip
        if self.first_night and self.last_night and self.first_night > self.last_night:
            raise InvalidInput(
                "the last night is before the first one", field="last_night",
                found=self.last_night, expected=f"{self.first_night} or later",
            )  # fmt: skip
        return self

    @classmethod
    def of(cls, **wanted: Any) -> ReferenceWish:
        """From what somebody typed.

        Raises
        ------
        InvalidInput
            Names what is wrong.
        """
        try:
            return cls(**wanted)
        except ValidationError as fault:
            first = fault.errors()[0]
            name = ".".join(str(part) for part in first["loc"]) or None
            raise InvalidInput(str(first["msg"]), field=name, found=first.get("input")) from fault
