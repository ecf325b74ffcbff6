"""Settings of transients. Light to import: the command line reads them."""

from __future__ import annotations

import string

from pydantic import BaseModel, ConfigDict, Field, field_validator

__all__ = [
    "AssociationSettings",
    "ForcedPhotometrySettings",
    "KnownCatalogSettings",
    "TransientSettings",
]

NAME_FIELDS = frozenset({"prefix", "yyyy", "yy", "letters", "hex", "j"})
# One of these must be in a name, or all objects of a year would have the same.
TELLING_FIELDS = frozenset({"letters", "hex", "j"})


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AssociationSettings(_Settings):
    """How measurements become objects."""

    radius_arcsec: float = Field(default=1.5, gt=0)
    """Measurements of several images nearer than this are of one object."""
    radius_pixels: float = Field(default=1.0, ge=0)
    """The same in pixels of the image, for cameras whose pixels are large."""
    sigmas: float = Field(default=6.0, ge=0)
    """Where so many times the error of the distance is more than the radius, that counts."""
    largest_arcsec: float = Field(default=5.0, gt=0)
    """Measurements farther apart than this, and than twice the radius, are never of one object."""
    error_floor_arcsec: float = Field(default=0.05, gt=0)
    """Error of the coordinates themselves, added to that of each measurement."""
    prefix: str = Field(default="FL", max_length=32)
    """Beginning of the names of new objects."""
    name: str = Field(default="{prefix}{yy}{letters}", max_length=64)
    """Names of new objects. ``{prefix}``; ``{yyyy}`` or ``{yy}``, the year it was first seen;
    ``{letters}`` or ``{hex}``, which tell it from others; ``{j}``, its coordinates as
    ``J020410.28+464116.2``."""
    letters: int = Field(default=7, ge=4, le=20)
    """How many ``{letters}`` or ``{hex}`` digits there are."""
    moving_objects: bool = False
    """Whether known things that move become objects, too."""

    @field_validator("name")
    @classmethod
    def _is_a_format(cls, value: str) -> str:
        fields = {field for _, field, _, _ in string.Formatter().parse(value) if field is not None}
        if fields - NAME_FIELDS or not fields & TELLING_FIELDS:
            raise ValueError(
                f"fields are {', '.join(sorted(NAME_FIELDS))}, "
                f"one of them {', '.join(sorted(TELLING_FIELDS))}"
            )
        return value


class KnownCatalogSettings(_Settings):
    """One file of things that are known to vary or to move.

    Of things that move there are several rows, one for each time; their places in between are
    taken along the great circle.
    """

    path: str
    """Parquet, CSV or VOTable; relative to the workspace."""
    radius_arcsec: float = Field(default=3.0, gt=0)
    """A measurement nearer than this is of the thing."""
    ra: str = "ra"
    """Column of right ascension, ICRS degrees."""
    dec: str = "dec"
    """Column of declination, ICRS degrees."""
    name: str = "name"
    """Column of names."""
    kind: str | None = "kind"
    """Column of what it is; may be missing in the file."""
    mjd: str = "mjd"
    """Column of times (MJD, UTC). A file that has it is of things that move."""
    rate: str = "rate"
    """Column of the speed on the sky, arcseconds an hour: where only one row is near in time, the
    thing may be as far from it as it goes in the time between."""
    longest_gap_days: float = Field(default=1.5, gt=0)
    """Rows of one thing farther apart than this are not joined."""


class ForcedPhotometrySettings(_Settings):
    """Forced photometry of objects in all differences that cover them."""

    detection_sigma: float = Field(default=3.0, gt=0)
    """Below this a point has no magnitude."""
    limit_sigma: float = Field(default=5.0, gt=0)
    """Limiting magnitudes are at so many errors."""
    moved_arcsec: float = Field(default=0.1, ge=0)
    """An object whose place is refined by more is measured again."""
    reference_radius_arcsec: float = Field(default=1.0, ge=0)
    """A source of the reference as near as this tells the object's flux there."""
    images_per_job: int = Field(default=32, ge=1, le=1000)
    """Sections that are measured by one job."""
    objects_per_job: int = Field(default=500, ge=1, le=5000)
    """New objects that are measured in older images by one job."""

    def critical(self) -> dict[str, float]:
        """What points depend on."""
        return self.model_dump(
            include={"detection_sigma", "limit_sigma", "reference_radius_arcsec"}
        )


class TransientSettings(_Settings):
    """What changed in the sky."""

    objects: AssociationSettings = AssociationSettings()
    forced: ForcedPhotometrySettings = ForcedPhotometrySettings()
    known: tuple[KnownCatalogSettings, ...] = ()
    """Catalogues of things that vary or move; the first that has one there names it."""
