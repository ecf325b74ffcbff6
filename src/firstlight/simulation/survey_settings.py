"""What a simulated survey is made of: every number has a default, a unit and a range."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from typing import Annotated, Any, Self

import numpy as np
from pydantic import Field, model_validator

from firstlight.errors import BadSettings
from firstlight.instruments.simulated_mosaic import SECTION_COUNTS, mosaic_name
from firstlight.simulation.settings import (
    CheckedSettings,
    DetectorSettings,
    NightSettings,
    SkySettings,
)
from firstlight.simulation.streams import Purpose, stream
from firstlight.simulation.transient_settings import PairSettings

__all__ = ["BANDS", "Band", "SurveySettings"]

SignalToNoise = Annotated[float, Field(ge=3, le=1000)]
Width = Annotated[float, Field(ge=1.5, le=20)]

LAYOUTS = {1: (1, 1), 2: (1, 2), 4: (2, 2), 6: (2, 3), 8: (2, 4), 12: (3, 4), 16: (4, 4)}
TYPICAL_AIRMASS = 1.2
_SLACK = 12  # pixels for what rotation and distortion add to dithers
_FEWEST_IN_REFERENCE = 3  # images of a place, as `firstlight reference build` has it


@dataclass(frozen=True)
class Band:
    """One filter.

    Attributes
    ----------
    zero_point
        AB magnitude that yields one electron a second above the air.
    extinction
        Magnitudes per airmass.
    dark_sky
        AB magnitude per square arcsecond.
    slope
        Magnitude in this filter = r + slope * (g - r), for all that shines.
    """

    zero_point: float
    extinction: float
    dark_sky: float
    slope: float


BANDS = {
    "g": Band(26.8, 0.20, 22.0, 1.0),
    "r": Band(26.9, 0.12, 20.9, 0.0),
    "i": Band(26.5, 0.08, 19.9, -0.4),
    "z": Band(26.1, 0.06, 19.0, -0.6),
}


class SurveySettings(CheckedSettings):
    """A few nights of one field with a mosaic camera: the whole input of `simulate_survey`.

    Attributes
    ----------
    seed
        Same seed, settings and version: same bytes.
    nights, first_night, nights_apart
        How many; date of the first evening at the site; days from one to the next.
    reference_nights
        So many at the beginning know no transients.
    visits, filters
        Exposures of a night in each filter; letters of `BANDS`.
    sections, rows, columns
        CCDs of the camera, and light-sensitive pixels of each.
    overscan, gap
        Columns of overscan of each amplifier; pixels between CCDs.
    gain, read_noise, saturation
        Electrons per ADU and electrons of a typical amplifier (each has its own, a few per cent
        off), and ADU at which converters clip.
    stars, galaxies
        A million pixels; magnitudes and shapes are those of `PairSettings`.
    transients, hosted, transient_snr
        How many; the share on galaxies, as far as these last; signal-to-noise ratio of the
        light-curve peak in a typical exposure, log-uniform.
    variables, moving
        Variable stars, as far as bright ones last; asteroids, each passing in one of the nights.
    trail_chance
        That a satellite crosses an exposure.
    cosmic_rays
        Hits a million pixels and exposure.
    ra, dec
        ICRS degrees of the field.
    latitude, longitude, elevation
        Site: degrees, degrees east, metres.
    exposure_time, cadence
        Seconds; seconds from start to start.
    n_bias, n_flat
        Frames a night; flats in each filter.
    pixel_scale
        Arcseconds a pixel on the axis.
    fwhm
        Best and worst seeing, pixels of the Moffat profile.
    psf_variation, ellipticity
        Over the field; see `PairSettings`.
    distortion
        Pixels by which the corners of the focal plane are displaced.
    dither, pointing_error
        Largest offset of a visit in each coordinate, in pixels, which the header tells; and
        arcseconds by which the header's pointing is off.
    rotation, rotation_error
        Position angle of the columns, degrees; and how much it changes from night to night.
    catalog_limit
        Faintest r magnitude in the reference catalogue.
    """

    seed: int = Field(default=1, ge=0, lt=2**63)
    nights: int = Field(default=4, ge=1, le=60)
    first_night: date = date(2026, 1, 15)
    nights_apart: int = Field(default=3, ge=1, le=60)
    reference_nights: int = Field(default=1, ge=0, le=60)
    visits: int = Field(default=3, ge=1, le=200)
    filters: str = Field(default="r", pattern="^[griz]{1,4}$")
    sections: int = 4
    rows: int = Field(default=512, ge=128, le=4096)
    columns: int = Field(default=768, ge=128, le=4096)
    overscan: int = Field(default=24, ge=8, le=256)
    gap: int = Field(default=24, ge=0, le=500)
    gain: float = Field(default=4.15, gt=0.1, le=50)
    read_noise: float = Field(default=6.5, ge=2, le=100)
    saturation: int = Field(default=45_000, ge=20_000, le=65_535)
    stars: float = Field(default=700.0, ge=0, le=20_000)
    galaxies: float = Field(default=40.0, ge=0, le=2000)
    transients: int = Field(default=12, ge=0, le=2000)
    hosted: float = Field(default=0.5, ge=0, le=1)
    transient_snr: tuple[SignalToNoise, SignalToNoise] = (10.0, 80.0)
    variables: int = Field(default=6, ge=0, le=200)
    moving: int = Field(default=4, ge=0, le=200)
    trail_chance: float = Field(default=0.15, ge=0, le=1)
    cosmic_rays: float = Field(default=180.0, ge=0, le=5000)
    ra: float = Field(default=150.1, ge=0, lt=360)
    dec: float = Field(default=2.2, ge=-85, le=85)
    latitude: float = Field(default=-30.17, ge=-90, le=90)
    longitude: float = Field(default=-70.81, ge=-180, le=360)
    elevation: float = Field(default=2207.0, ge=-500, le=9000)
    exposure_time: float = Field(default=60.0, gt=0, le=3600)
    cadence: float = Field(default=900.0, gt=0, le=86400)
    n_bias: int = Field(default=3, ge=0, le=100)
    n_flat: int = Field(default=3, ge=0, le=100)
    pixel_scale: float = Field(default=0.25, ge=0.05, le=10)
    fwhm: tuple[Width, Width] = (3.0, 4.4)
    psf_variation: float = Field(default=0.04, ge=0, le=0.5)
    ellipticity: float = Field(default=0.03, ge=0, le=0.5)
    distortion: float = Field(default=2.0, ge=0, le=10)
    dither: float = Field(default=16.0, ge=0, le=200)
    pointing_error: float = Field(default=5.0, ge=0, le=60)
    rotation: float = Field(default=0.4, ge=-180, le=180)
    rotation_error: float = Field(default=0.05, ge=0, le=1)
    catalog_limit: float = Field(default=21.5, ge=5, le=30)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        self._refuse("sections", self.sections, self.sections in SECTION_COUNTS, SECTION_COUNTS)
        self._refuse("columns", self.columns, self.columns % 4 == 0, "a multiple of four")
        once = len(set(self.filters)) == len(self.filters)
        self._refuse("filters", self.filters, once, "each filter once")
        self._refuse("grid", self.grid, max(self.grid) <= 8192, "at most 8192 pixels on a side")
        early = self.transients == 0 or self.nights > self.reference_nights
        self._refuse("nights", self.nights, early, "more than reference_nights, with transients")
        self._refuse("fwhm", self.fwhm, self.fwhm[0] <= self.fwhm[1], "(best, worst)")
        low, high = self.transient_snr
        self._refuse("transient_snr", (low, high), low <= high, "(lowest, highest)")
        return self

    def _refuse(self, field: str, found: object, good: bool, expected: object) -> None:
        if not good:
            raise BadSettings(
                "A survey cannot be made of this.",
                subject=type(self).__name__,
                field=field,
                found=found,
                expected=expected,
            )

    @property
    def layout(self) -> tuple[int, int]:
        """CCDs up and across."""
        return LAYOUTS.get(self.sections, (1, 1))

    @property
    def plane(self) -> tuple[int, int]:
        """Pixels of the focal plane with its gaps, ``(ny, nx)``."""
        up, across = self.layout
        return (
            up * self.rows + (up - 1) * self.gap,
            across * self.columns + (across - 1) * self.gap,
        )

    @property
    def pad(self) -> int:
        """Pixels by which the sky goes on around the focal plane, so that no dither leaves it."""
        return int(np.ceil(self.dither + self.pointing_error / self.pixel_scale)) + _SLACK

    @property
    def grid(self) -> tuple[int, int]:
        """Pixels of the focal plane and what is around it, ``(ny, nx)``."""
        ny, nx = self.plane
        return ny + 2 * self.pad, nx + 2 * self.pad

    @property
    def references_until(self) -> date | None:
        """Last of the nights without transients; None where these have too few images."""
        if self.reference_nights * self.visits < _FEWEST_IN_REFERENCE:
            return None
        return self.first_night + timedelta(days=(self.reference_nights - 1) * self.nights_apart)

    @property
    def instrument(self) -> str:
        """Name of the camera."""
        return mosaic_name(self.sections)

    def seed_of(self, purpose: Purpose, *numbers: int) -> int:
        """A seed for a part that has settings of its own."""
        return int(stream(self.seed, purpose, 1000, *numbers).integers(2**62))

    @cached_property
    def sky(self) -> PairSettings:
        """Everything that shines, in r, as a typical exposure sees it on the whole grid."""
        ny, nx = self.grid
        area = ny * nx / 1e6
        band = BANDS["r"]
        zero_point = band.zero_point + 2.5 * np.log10(self.exposure_time)
        level = 10 ** (0.4 * (zero_point - band.dark_sky)) * self.pixel_scale**2
        return PairSettings.of_size(
            ny,
            nx,
            seed=self.seed,
            stars=round(self.stars * area),
            galaxies=round(self.galaxies * area),
            transients=self.transients,
            hosted=self.hosted,
            cosmic_rays=0,
            saturation=(self.saturation - 2000) * self.gain,
            gain=self.gain,
            read_noise=self.read_noise,
            sky=min(level, 1e5),
            fwhm=sum(self.fwhm) / 2,
            reference_fwhm=sum(self.fwhm) / 2,
            psf_variation=self.psf_variation,
            ellipticity=self.ellipticity,
            pixel_scale=self.pixel_scale,
            ra=self.ra,
            dec=self.dec,
            zero_point=zero_point - band.extinction * TYPICAL_AIRMASS,
            catalog_limit=self.catalog_limit,
        )

    def night(self, number: int, name: str) -> NightSettings:
        """Air, sky and pointing of one night in one filter."""
        band = BANDS[name]
        ny, nx = self.plane
        off = stream(self.seed, Purpose.POINTING, 1001, number).uniform(-1, 1)
        sky = SkySettings(
            pixel_scale=self.pixel_scale,
            distortion=self.distortion,
            decentring=0.1 * min(self.distortion, 10.0),
            rotation=self.rotation + self.rotation_error * float(off),
            rotation_rate=0.0,
            pointing_error=0.7 * self.pointing_error / 60,
            drift=0.0,
            jitter=0.1 * self.pointing_error,
            fwhm=self.fwhm,
            zero_point=band.zero_point,
            extinction=band.extinction,
            dark_sky=band.dark_sky,
        )
        return self._settings(
            seed=self.seed_of(Purpose.AIR, number),
            night=self.first_night + timedelta(days=number * self.nights_apart),
            n_exposures=self.visits * len(self.filters),
            sky=sky,
            detector=DetectorSettings(rows=ny, columns=nx // 2, gap=0),
        )

    def ccd(self, number: int) -> NightSettings:
        """A CCD as the detector of a night: its sections are the two amplifiers."""
        random = stream(self.seed, Purpose.BIAS_PATTERN, 1001, number)
        gain = self.gain * random.uniform(0.94, 1.06, 2)
        noise = self.read_noise * random.uniform(0.9, 1.1, 2)
        return self._settings(
            seed=self.seed_of(Purpose.FLAT_PATTERN, number),
            detector=DetectorSettings(
                rows=self.rows,
                columns=self.columns // 2,
                overscan=self.overscan,
                gap=0,
                gain=tuple(gain.round(3)),
                read_noise=tuple(noise.round(2)),
                efficiency=(1.0, 1.0),
                bias_level=float(random.uniform(900, 1300).__round__()),
                saturation=self.saturation,
                dark_current=0.0,
                hot_fraction=0.0,
                dead_fraction=5e-6,
                vignetting=0.0,
                dust=2,
                cosmic_rays=0.0,
            ),
        )

    def _settings(self, **given: Any) -> NightSettings:
        same = ("ra", "dec", "latitude", "longitude", "elevation", "exposure_time", "cadence")
        return NightSettings(**{name: getattr(self, name) for name in same}, **given)
