"""What an operator can set about reference catalogues. Light to import."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import platformdirs
from pydantic import BaseModel, ConfigDict, Field

from firstlight.catalogs.layout import StarLayout

__all__ = ["BUILT_IN", "CatalogSettings", "LocalCatalogSettings", "OnlineSettings", "TapTable"]


class LocalCatalogSettings(BaseModel):
    """One catalogue on disk.

    A HATS catalogue names its own position columns; those of `layout` are used for plain files.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path = Field(description="a Parquet file, a folder of them, or a HATS catalogue")
    layout: StarLayout
    limit: float | None = Field(
        default=None, description="magnitude to which it is complete; decides which is deepest"
    )


class TapTable(BaseModel):
    """A table of stars behind a TAP service."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    service: str = Field(description="a key of `services`, or a URL")
    table: str = Field(description="as the service names it, without quotes")
    layout: StarLayout
    limit: float = Field(description="magnitude to which it reaches")
    where: str = Field(default="", description="an ADQL condition that good stars meet")


class OnlineSettings(BaseModel):
    """How to reach catalogue services, and what to keep."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    offline: bool = Field(default=False, description="never use the network, only the cache")
    cache_dir: Path = Field(
        default_factory=lambda: Path(platformdirs.user_cache_dir("firstlight")) / "catalogs"
    )
    """Where answers are kept; the cache folder of this user if not given."""
    cache_bytes: int = Field(
        default=2 * 2**30, ge=0, description="size of the cache, bytes; the oldest answers go first"
    )
    services: Mapping[str, str] = Field(
        default={"vizier": "https://tapvizier.cds.unistra.fr/TAPVizieR/tap"},
        description="base URLs of TAP services",
    )
    tables: Mapping[str, TapTable] = Field(default={}, description="more catalogues, by name")
    attempts: int = Field(default=4, ge=1)
    """How often one question is asked before it has failed."""
    backoff_s: float = Field(default=1.0, ge=0.0, description="wait, doubled each time, seconds")
    time_limit_s: float = Field(default=120.0, gt=0.0, description="for all attempts, seconds")
    max_stars: int = Field(default=50_000, ge=1, description="of one answer; the brightest stay")


BUILT_IN: dict[str, TapTable] = {
    "gaia_dr3": TapTable(
        service="vizier",
        table="I/355/gaiadr3",
        layout=StarLayout(
            ra="RA_ICRS", dec="DE_ICRS", ra_err="e_RA_ICRS", dec_err="e_DE_ICRS",
            pmra="pmRA", pmdec="pmDE", pmra_err="e_pmRA", pmdec_err="e_pmDE",
            mag="Gmag", mag_err="e_Gmag", colour="BP-RP", colour_name="BP-RP",
            reference_epoch=2016.0, position_err=0.001, band="G", system="Vega",
        ),
        limit=21.0,
    ),
    # Tonry et al. 2018 (ApJ 867, 105): Gaia DR2 positions, Pan-STARRS1 bands.
    "refcat2": TapTable(
        service="vizier",
        table="J/ApJ/867/105/refcat2",
        layout=StarLayout(
            ra="RA_ICRS", dec="DE_ICRS",
            pmra="pmRA", pmdec="pmDE", pmra_err="e_pmRA", pmdec_err="e_pmDE",
            mag="rmag", mag_err="e_rmag", colour=("gmag", "rmag"), colour_name="g-r",
            reference_epoch=2015.5, position_err=0.002, band="r", system="AB",
        ),
        limit=19.0,
    ),
    # Chambers et al. 2016 (arXiv:1612.05560), first data release; mean epoch of the 3pi survey.
    "ps1": TapTable(
        service="vizier",
        table="II/349/ps1",
        layout=StarLayout(
            ra="RAJ2000", dec="DEJ2000", ra_err="e_RAJ2000", dec_err="e_DEJ2000",
            error_unit="arcsec", position_err=0.02,
            mag="rmag", mag_err="e_rmag", colour=("gmag", "rmag"), colour_name="g-r",
            reference_epoch=2012.0, band="r", system="AB",
        ),
        limit=22.0,
    ),
}  # fmt: skip


class CatalogSettings(BaseModel):
    """Which reference catalogues there are, and which one is used for what."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    photometry: str | None = Field(default=None, description="a name; the deepest by default")
    astrometry: str | None = Field(default=None, description="a name; the deepest by default")
    local: Mapping[str, LocalCatalogSettings] = Field(
        default={}, description="catalogues on disk, by name; they come before others of that name"
    )
    online: OnlineSettings = Field(default_factory=OnlineSettings)
