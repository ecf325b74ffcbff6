"""What a simulated night is made of: every number has a default, a unit and a range."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Annotated, Any, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)

from firstlight.errors import BadSettings

__all__ = ["CheckedSettings", "DetectorSettings", "NightSettings", "SkySettings", "StarSettings"]

Fraction = Annotated[float, Field(ge=0, le=0.5)]
NotNegative = Annotated[float, Field(ge=0)]


class CheckedSettings(BaseModel):
    """Frozen settings whose faults come out as `BadSettings`, each naming its key."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="wrap")
    @classmethod
    def _explain(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(data)
        except ValidationError as fault:
            raise _explained(cls, fault) from fault


def _known(cls: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name in cls.model_fields:
        yield prefix + name


def _explained(cls: type[BaseModel], fault: ValidationError) -> BadSettings:
    first = fault.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, list(_known(cls)), n=1)
        return BadSettings(
            "There is no such setting.",
            subject=cls.__name__,
            field=key,
            hint=f"did you mean {near[0]!r}?" if near else f"known: {', '.join(_known(cls))}",
        )
    return BadSettings(
        "A setting cannot be used.",
        subject=cls.__name__,
        field=key or None,
        found=repr(first["input"])[:60],
        expected=first["msg"],
    )


class DetectorSettings(CheckedSettings):
    """Two sections, A and B, side by side, read out with an overscan at the right.

    Attributes
    ----------
    rows, columns
        Light-sensitive pixels of each section.
    overscan
        Extra columns read after the data columns.
    gap
        Columns of dead space between the sections, in pixels.
    gain
        Electrons per ADU of A and B.
    read_noise
        Electrons of A and B. At least one electron: shot and read noise are drawn together
        (see `firstlight.simulation.readout`).
    efficiency
        Throughput of A and B relative to `SkySettings.zero_point`.
    bias_level, bias_structure, bias_drift
        ADU: pedestal, one-sigma fixed pattern, one-sigma slow change along the rows of each
        frame (seen alike by data and overscan).
    saturation
        ADU at which the converter clips; the full well holds 2 % more.
    bleed
        Whether charge above the full well runs along the column.
    dark_current
        Electrons per second of an ordinary pixel.
    hot_fraction, hot_current
        Share of hot pixels, and their median electrons per second.
    dead_fraction
        Share of pixels with 2 % of the response of the others.
    vignetting
        Light lost at the corners of the focal plane.
    dust, dust_depth
        Dust shadows a section, and the depth of the deepest.
    pixel_response
        One-sigma pixel-to-pixel response.
    cosmic_rays
        Hits per second and million pixels.
    """

    rows: int = Field(default=1024, ge=64, le=8192)
    columns: int = Field(default=1024, ge=64, le=8192)
    overscan: int = Field(default=32, ge=8, le=512)
    gap: int = Field(default=40, ge=0, le=2000)
    gain: tuple[Annotated[float, Field(gt=0, le=100)], Annotated[float, Field(gt=0, le=100)]] = (
        1.5,
        1.7,
    )
    read_noise: tuple[
        Annotated[float, Field(ge=1, le=200)], Annotated[float, Field(ge=1, le=200)]
    ] = (6.0, 6.5)
    efficiency: tuple[Annotated[float, Field(gt=0, le=2)], Annotated[float, Field(gt=0, le=2)]] = (
        1.0,
        0.95,
    )
    bias_level: float = Field(default=1000.0, ge=100, le=10000)
    bias_structure: float = Field(default=1.5, ge=0, le=50)
    bias_drift: float = Field(default=1.0, ge=0, le=50)
    saturation: int = Field(default=60000, ge=20000, le=65535)
    bleed: bool = True
    dark_current: float = Field(default=0.05, ge=0, le=100)
    hot_fraction: float = Field(default=5e-4, ge=0, le=0.05)
    hot_current: float = Field(default=20.0, gt=0, le=1000)
    dead_fraction: float = Field(default=2e-5, ge=0, le=0.05)
    vignetting: Fraction = 0.15
    dust: int = Field(default=6, ge=0, le=100)
    dust_depth: Fraction = 0.03
    pixel_response: float = Field(default=0.005, ge=0, le=0.05)
    cosmic_rays: float = Field(default=0.4, ge=0, le=1000)


class SkySettings(CheckedSettings):
    """Optics, air and sky.

    Attributes
    ----------
    pixel_scale
        Arcseconds per pixel at the optical axis.
    distortion, decentring
        Pixels by which a star is displaced, as far from the axis as the corners are: radial
        term, and Brown's decentring there along the rows.
    rotation, rotation_rate
        Degrees (position angle of the columns, north through east) and degrees per hour.
    pointing_error
        Arcminutes between where the telescope says it looks and where it does.
    drift, jitter
        Arcminutes per hour; arcseconds, one sigma a coordinate.
    fwhm
        Pixels: best and worst seeing of the night.
    moffat_beta
        Power of the Moffat profile.
    field_blur
        Growth of the FWHM from axis to corner, as a fraction; half of it is ellipticity.
    zero_point
        V_T (Vega) magnitude that yields one electron a second above the air at efficiency 1.
    extinction
        Magnitudes per airmass.
    clouds
        One-sigma magnitudes of a slowly varying grey absorption; 0 for a photometric night.
    scintillation
        Whether stars scintillate (Young's formula for a 15 cm aperture).
    dark_sky
        V magnitude per square arcsecond with neither Moon nor twilight.
    gradient
        Change of the sky level from the axis to the corner, as a fraction.
    """

    pixel_scale: float = Field(default=5.0, gt=0.05, le=60)
    distortion: float = Field(default=2.0, ge=-10, le=10)
    decentring: float = Field(default=0.3, ge=-2, le=2)
    rotation: float = Field(default=1.5, ge=-360, le=360)
    rotation_rate: float = Field(default=0.05, ge=-5, le=5)
    pointing_error: float = Field(default=4.0, ge=0, le=120)
    drift: float = Field(default=2.0, ge=0, le=60)
    jitter: float = Field(default=10.0, ge=0, le=600)
    fwhm: tuple[Annotated[float, Field(ge=1.5, le=20)], Annotated[float, Field(ge=1.5, le=20)]] = (
        2.4,
        3.4,
    )
    moffat_beta: float = Field(default=3.5, ge=2, le=10)
    field_blur: float = Field(default=0.1, ge=0, le=0.5)
    zero_point: float = Field(default=19.5, ge=10, le=30)
    extinction: float = Field(default=0.15, ge=0, le=2)
    clouds: float = Field(default=0.03, ge=0, le=2)
    scintillation: bool = False
    dark_sky: float = Field(default=20.8, ge=10, le=23)
    gradient: Fraction = 0.03

    @model_validator(mode="after")
    def _best_seeing_first(self) -> Self:
        if self.fwhm[0] > self.fwhm[1]:
            raise BadSettings(
                "The best seeing comes first.",
                subject=type(self).__name__,
                field="fwhm",
                found=self.fwhm,
                expected="(best, worst) in pixels",
            )
        return self


class StarSettings(CheckedSettings):
    """Who is in the sky.

    Attributes
    ----------
    faintest
        V_T magnitude to which invented stars continue the catalogue.
    slope
        Their numbers grow as ``10**(slope * magnitude)``.
    pulsators, rr_lyrae, eclipsing, flares
        Variables of each kind.
    transit
        Whether one star is transited by a planet during the night.
    transit_depth, transit_hours
        Loss of light at mid-transit, as a fraction; duration from first to last contact.
    """

    faintest: float = Field(default=16.0, ge=5, le=25)
    slope: float = Field(default=0.3, gt=0, le=0.6)
    pulsators: int = Field(default=4, ge=0, le=100)
    rr_lyrae: int = Field(default=3, ge=0, le=100)
    eclipsing: int = Field(default=3, ge=0, le=100)
    flares: int = Field(default=2, ge=0, le=100)
    transit: bool = True
    transit_depth: float = Field(default=0.02, gt=0, le=0.3)
    transit_hours: float = Field(default=2.0, gt=0, le=24)


class NightSettings(CheckedSettings):
    """One night of one field: the whole input of `simulate_night`, besides the catalogue.

    Attributes
    ----------
    seed
        Same seed, settings, catalogue and version: same bytes.
    ra, dec
        ICRS degrees at which the telescope believes to point.
    night
        Date of the evening, at the site. The start is chosen by itself: dark, and the field
        as high as it gets.
    start
        First exposure, with a time zone, where that choice is not wanted.
    latitude, longitude, elevation
        Site: degrees, degrees east, metres.
    n_exposures, exposure_time, cadence
        Science exposures; seconds; seconds from start to start.
    n_bias, n_dark, n_flat
        Calibration frames; `n_dark` at each of the two times `exposure_time` and four times it.
    with_faults
        Whether one exposure is lost to clouds and one file is cut short.
    detector, sky, stars
        The rest, by subject.
    """

    seed: int = Field(default=1, ge=0, lt=2**63)
    ra: float = Field(default=31.04, ge=0, lt=360)
    dec: float = Field(default=46.69, ge=-90, le=90)
    night: date = date(2024, 10, 23)
    start: AwareDatetime | None = None
    latitude: float = Field(default=31.68, ge=-90, le=90)
    longitude: float = Field(default=-110.88, ge=-180, le=360)
    elevation: float = Field(default=2340.0, ge=-500, le=9000)
    n_exposures: int = Field(default=40, ge=1, le=5000)
    exposure_time: float = Field(default=30.0, gt=0, le=7200)
    cadence: float = Field(default=360.0, gt=0, le=86400)
    n_bias: int = Field(default=5, ge=0, le=500)
    n_dark: int = Field(default=5, ge=0, le=500)
    n_flat: int = Field(default=5, ge=0, le=500)
    with_faults: bool = False
    detector: DetectorSettings = DetectorSettings()
    sky: SkySettings = SkySettings()
    stars: StarSettings = StarSettings()

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.cadence < self.exposure_time:
            raise BadSettings(
                "An exposure would start before the last one ends.",
                subject=type(self).__name__,
                field="cadence",
                found=self.cadence,
                expected=f"at least the exposure time, {self.exposure_time} s",
            )
        if not 1980 <= (self.start or self.night).year <= 2035:
            raise BadSettings(
                "The night is outside the years for which UTC is known.",
                subject=type(self).__name__,
                field="start" if self.start else "night",
                found=self.start or self.night,
                expected="1980 to 2035",
            )
        if self.with_faults and self.n_exposures < 3:
            raise BadSettings(
                "Faults need at least three exposures.",
                subject=type(self).__name__,
                field="n_exposures",
                found=self.n_exposures,
                expected="3 or more with with_faults",
            )
        return self

    @property
    def duration(self) -> float:
        """Days from the start of the first to the end of the last exposure."""
        return ((self.n_exposures - 1) * self.cadence + self.exposure_time) / 86400

    @property
    def start_utc(self) -> datetime | None:
        """`start` in UTC."""
        return None if self.start is None else self.start.astimezone(UTC)
