"""A pretend observatory: what it observes in a night, and the files that it sends."""

from __future__ import annotations

import bz2
import hashlib
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property, lru_cache
from typing import Any, Literal

import erfa
import numpy as np
from astropy.io import fits
from pydantic import Field as Setting

from firstlight.catalogs.base import ReferenceCatalog
from firstlight.catalogs.tycho2 import Tycho2
from firstlight.errors import BadSettings
from firstlight.formats.preview import encode_levels
from firstlight.simulation.pretend_header import (
    NO_STACK,
    UNIX_EPOCH_MJD,
    PretendExposure,
    header_of,
    header_text,
)
from firstlight.simulation.pretend_sky import (
    PEDESTAL,
    Field,
    all_sky_picture,
    bin_down,
    pack_levels,
)
from firstlight.simulation.settings import CheckedSettings

__all__ = ["FILE_KINDS", "PretendFile", "PretendSite", "SiteSettings"]

Kind = Literal["header", "large", "calibrated", "small", "picture"]
FILE_KINDS: tuple[Kind, ...] = ("header", "small", "picture", "large", "calibrated")
"""Header text, FITS of levels 10, JPG of level 10, FITS of levels 00 and 01: as a site sends."""

_LEVELS = {"header": "00", "large": "00", "calibrated": "01", "small": "10", "picture": "10"}
_TARGETS = (
    ("NGC 6940", 308.63, 28.28),
    ("M29", 305.98, 38.51),
    ("Albireo", 292.68, 27.96),
    ("M39", 322.96, 48.25),
    ("Sadr", 305.56, 40.26),
    ("IC 4665", 266.58, 5.72),
)
_FILTERS = ("w", "B", "V", "gp", "rp", "ip")
_EXPOSURE_TIMES = (10.0, 20.0, 30.0, 60.0)
_USERS = (("auth0|5f1e", "ada"), ("auth0|77ab", "tim"), ("google-oauth2|1093", "wmd_admin"))
_STACK = 5
_CADENCE = 45.0 / 86400
_EVENING_HOURS = 21  # local mean time of the first exposure
_SMALLER = 4

_TRUNCATED, _GARBAGE, _NO_HEADER, _BAD_NAME = "truncated", "garbage", "no header", "bad name"
_FAULTS: dict[Kind, tuple[str, ...]] = {
    "header": (_NO_HEADER, _BAD_NAME),
    "picture": (_GARBAGE, _BAD_NAME),
    "large": (_TRUNCATED,),
    "calibrated": (_TRUNCATED,),
    "small": (_TRUNCATED,),
}


class SiteSettings(CheckedSettings):
    """What a pretend site is, and what it observes.

    Attributes
    ----------
    site, camera
        As in the names of its files.
    night
        Local date of the evening.
    exposures, first_number
        Regular exposures, and the number in the name of the first.
    rows, columns, pixel_scale
        Of the large FITS files; arcseconds per pixel. Small ones have a quarter of the rows.
    kinds
        Which files each exposure consists of.
    compression
        ``fz`` (RICE) or ``bz2``, as sites did until 2022.
    experimental, focus
        Share of exposures of the types EP and EF; the others are EX.
    without_header
        Share of exposures whose header text is never sent.
    corrupt
        Share of files that are damaged or misnamed.
    info_images, all_sky
        How many of each are sent besides. Every second info image is a single JPG.
    """

    seed: int = Setting(default=1, ge=0)
    site: str = Setting(default="tst", pattern=r"^[a-z0-9]{3,6}$")
    camera: str = Setting(default="kb001ms", pattern=r"^[a-z0-9]{2,16}$")
    night: date = date(2024, 8, 3)
    latitude: float = Setting(default=34.34, ge=-90, le=90)
    longitude: float = Setting(default=-119.68, ge=-180, le=180)
    elevation: float = Setting(default=650.0, ge=-500, le=6000)
    exposures: int = Setting(default=20, ge=1, le=20_000)
    first_number: int = Setting(default=1, ge=0, le=99_000_000)
    rows: int = Setting(default=256, ge=64, le=8192)
    columns: int = Setting(default=384, ge=64, le=8192)
    pixel_scale: float = Setting(default=8.0, gt=0.05, le=60)
    kinds: tuple[Kind, ...] = FILE_KINDS
    compression: Literal["fz", "bz2"] = "fz"
    experimental: float = Setting(default=0.05, ge=0, le=1)
    focus: float = Setting(default=0.05, ge=0, le=1)
    without_header: float = Setting(default=0.0, ge=0, le=1)
    corrupt: float = Setting(default=0.0, ge=0, le=1)
    info_images: int = Setting(default=0, ge=0, le=1000)
    all_sky: int = Setting(default=0, ge=0, le=10_000)


@dataclass(frozen=True)
class PretendFile:
    """One file that the site sends.

    Attributes
    ----------
    name
        With its prefix: ``data/tst-kb001ms-20240803-00000001-EX00.txt``.
    exposure
        Its place in `PretendSite.exposures`.
    fault
        What is wrong with it; ``None`` for a good one.
    """

    name: str
    exposure: int
    kind: Kind
    fault: str | None = None


class PretendSite:
    """A night of a pretend site. The same settings give the same names and the same bytes.

    Parameters
    ----------
    settings
        What it is and observes.
    catalog
        Where the stars come from; Tycho-2 by default.

    Raises
    ------
    BadSettings
        When the settings contradict each other.
    """

    def __init__(self, settings: SiteSettings, catalog: ReferenceCatalog | None = None) -> None:
        if settings.experimental + settings.focus > 1:
            raise BadSettings(
                "the shares of data types add up to more than one",
                subject="SiteSettings",
                field="experimental, focus",
                found=settings.experimental + settings.focus,
                expected="at most 1",
            )
        self.settings = settings
        self._catalog = catalog or Tycho2()
        self._field = lru_cache(maxsize=len(_TARGETS))(self._new_field)

    @cached_property
    def exposures(self) -> Sequence[PretendExposure]:
        """Every exposure, regular ones first, then all-sky pictures, then info images."""
        return [*_regular(self.settings), *_all_sky(self.settings), *_info_images(self.settings)]

    @cached_property
    def files(self) -> Sequence[PretendFile]:
        """Every file in the order in which a site with nothing in its way sends them."""
        good = [
            _file(self.settings, exposure, place, kind)
            for place, exposure in enumerate(self.exposures)
            for kind in self._kinds(place, exposure)
        ]
        return _with_faults(good, self.settings)

    def content(self, file: PretendFile) -> bytes:
        """The bytes of a file; those of a corrupt one are damaged."""
        good = self._good_content(file)
        if file.fault == _TRUNCATED:
            return good[: len(good) * 6 // 10]
        if file.fault == _GARBAGE:
            return self._random(file.exposure, 9).bytes(len(good))
        if file.fault == _NO_HEADER:
            return b"the camera did not answer\n" * 40
        return good

    def truth(self) -> dict[str, Any]:
        """Everything that is known about the night, as JSON."""
        return {
            "settings": self.settings.model_dump(mode="json"),
            "exposures": [exposure.as_dict() for exposure in self.exposures],
            "files": [
                {**asdict(file), "sha256": hashlib.sha256(self.content(file)).hexdigest()}
                for file in self.files
            ],
        }

    def _kinds(self, place: int, exposure: PretendExposure) -> tuple[Kind, ...]:
        if exposure.collection == "allsky":
            return ("header", "picture")
        if exposure.collection == "info-images" and exposure.number % 2:
            return ("picture",)
        share = self.settings.without_header
        silent = math.floor((place + 1) * share) > math.floor(place * share)
        return tuple(k for k in self.settings.kinds if not (silent and k == "header"))

    def _good_content(self, file: PretendFile) -> bytes:
        exposure = self.exposures[file.exposure]
        if file.kind == "header":
            return header_text(self._header(exposure))
        if exposure.collection == "allsky":
            levels = all_sky_picture(self.settings.rows, self._random(file.exposure, 0))
            return encode_levels(levels, file_format="jpeg", quality=80)
        field = self._field(exposure.target, exposure.ra, exposure.dec)
        pixels = field.expose(exposure.exposure_time, self._random(file.exposure, 0))
        if file.kind == "picture":
            return encode_levels(pack_levels(pixels), file_format="jpeg", quality=80)
        header = self._header(exposure)
        if file.kind == "small":
            pixels = bin_down(pixels, _SMALLER)
            header["PIXSCALE"] = self.settings.pixel_scale * _SMALLER
            header["XBINING"] = header["YBINING"] = _SMALLER
        elif file.kind == "calibrated":
            pixels = np.maximum(pixels, PEDESTAL) - np.uint16(PEDESTAL)
            header["PEDESTAL"] = 0
            header["RLEVEL"] = (1, "Reduction level")
        return _packed(pixels, header, self.settings.compression)

    def _header(self, exposure: PretendExposure) -> fits.Header:
        s = self.settings
        place = (s.latitude, s.longitude, s.elevation)
        return header_of(exposure, (s.rows, s.columns), s.pixel_scale, place)

    def _new_field(self, _target: str, ra: float, dec: float) -> Field:
        s = self.settings
        return Field(self._catalog, ra, dec, scale=s.pixel_scale, shape=(s.rows, s.columns))

    def _random(self, *numbers: int) -> np.random.Generator:
        return np.random.default_rng([self.settings.seed, *numbers])


def _regular(settings: SiteSettings) -> Iterator[PretendExposure]:
    for i in range(settings.exposures):
        target = (i // _STACK) % len(_TARGETS)
        stacked = target % 2 == 0
        first = i - i % _STACK
        yield replace(
            _exposure(settings, "data", i, settings.first_number + i, target),
            data_type=_data_type(settings, i),
            filter=_FILTERS[(i // _STACK) % len(_FILTERS)],
            stack=f"{first + 1:02d}{settings.night:%d%m%y}" if stacked else NO_STACK,
            stack_number=i % _STACK if stacked else 0,
            stack_length=_STACK if stacked else 1,
        )


def _data_type(settings: SiteSettings, i: int) -> str:
    """Evenly spread, so that few exposures have their share too."""
    for name, share in (("EF", settings.focus), ("EP", settings.experimental)):
        shift = 0.0 if name == "EF" else 0.5
        if math.floor((i + 1) * share + shift) > math.floor(i * share + shift):
            return name
    return "EX"


def _all_sky(settings: SiteSettings) -> Iterator[PretendExposure]:
    for i in range(settings.all_sky):
        made = _exposure(settings, "allsky", i, settings.first_number + i, 0)
        yield replace(made, camera="sq001", target="zenith", filter="w", base_filename=(
            f"{settings.site}-sq001-{settings.night:%Y%m%d}-{made.number:08d}"
        ))  # fmt: skip


def _info_images(settings: SiteSettings) -> Iterator[PretendExposure]:
    for i in range(settings.info_images):
        number = 90_000_000 + settings.first_number % 1_000_000 + i
        made = _exposure(settings, "info-images", i, number, i % len(_TARGETS))
        yield replace(made, channel=1 + i % 3)


def _exposure(
    settings: SiteSettings, collection: str, i: int, number: int, target: int
) -> PretendExposure:
    evening = datetime.combine(settings.night, time(_EVENING_HOURS), UTC)
    start = evening - timedelta(hours=settings.longitude / 15)
    mjd = start.timestamp() / 86400 + UNIX_EPOCH_MJD + i * _CADENCE
    name, ra, dec = _TARGETS[target]
    altitude, azimuth = _horizontal(settings, mjd, ra, dec)
    user_id, username = _USERS[(i // (2 * _STACK)) % len(_USERS)]
    return PretendExposure(
        collection=collection,
        base_filename=f"{settings.site}-{settings.camera}-{settings.night:%Y%m%d}-{number:08d}",
        data_type="EX",
        site=settings.site,
        camera=settings.camera,
        night=settings.night,
        number=number,
        target=name,
        filter="w",
        ra=ra,
        dec=dec,
        altitude=altitude,
        azimuth=azimuth,
        airmass=1 / math.sin(math.radians(max(altitude, 3.0))),
        start_mjd=mjd,
        exposure_time=_EXPOSURE_TIMES[(i // _STACK) % len(_EXPOSURE_TIMES)],
        user_id=user_id,
        username=username,
    )


def _horizontal(settings: SiteSettings, mjd: float, ra: float, dec: float) -> tuple[float, float]:
    """Altitude and azimuth in degrees, good to a minute of arc: refraction is left out."""
    turned = erfa.gmst06(2400000.5, mjd, 2400000.5, mjd + 69.2 / 86400)
    hour_angle = turned + math.radians(settings.longitude - ra)
    azimuth, altitude = erfa.hd2ae(hour_angle, math.radians(dec), math.radians(settings.latitude))
    return math.degrees(altitude), math.degrees(azimuth) % 360


def _file(settings: SiteSettings, exposure: PretendExposure, place: int, kind: Kind) -> PretendFile:
    suffixes = {"header": "txt", "picture": "jpg"}
    suffix = suffixes.get(kind, f"fits.{settings.compression}")
    level = f"{exposure.data_type}{_LEVELS[kind]}"
    name = f"{exposure.collection}/{exposure.base_filename}-{level}.{suffix}"
    return PretendFile(name, place, kind)


def _with_faults(files: list[PretendFile], settings: SiteSettings) -> list[PretendFile]:
    """The stated share of them spoiled, at least one where a share is stated at all."""
    count = math.ceil(settings.corrupt * len(files))
    random = np.random.default_rng([settings.seed, 0, 77])
    spoiled = list(files)
    for place in random.choice(len(files), size=count, replace=False):
        file = files[place]
        choices = _FAULTS[file.kind]
        fault = choices[int(random.integers(len(choices)))]
        name = _misnamed(file.name, settings.night) if fault == _BAD_NAME else file.name
        spoiled[place] = replace(file, fault=fault, name=name)
    return spoiled


def _misnamed(name: str, night: date) -> str:
    """A day that no calendar has."""
    return name.replace(f"-{night:%Y%m%d}-", f"-{night:%Y}1340-")


def _packed(pixels: np.ndarray, header: fits.Header, compression: str) -> bytes:
    sink = io.BytesIO()
    if compression == "fz":
        hdus = [fits.PrimaryHDU(), fits.CompImageHDU(pixels, header, compression_type="RICE_1")]
        fits.HDUList(hdus).writeto(sink)
        return sink.getvalue()
    fits.PrimaryHDU(pixels, header).writeto(sink)
    return bz2.compress(sink.getvalue(), 1)
