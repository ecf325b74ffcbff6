"""An observation with a consumer camera: colour mosaic, undersampled stars, and drift.

The camera is a cut-out of the sensor of a PANOPTES unit: Bayer mosaic, about ten arcseconds a
pixel, bias 2048, gain 1.5. The mount lets the field drift by several pixels, so that every star
changes its place among the red, green and blue pixels while it is watched.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from scipy.spatial import cKDTree

from firstlight.algorithms.detector.colour_mosaic import colour_of_pixels
from firstlight.algorithms.sky.projection import Projection
from firstlight.catalogs.base import ReferenceCatalog
from firstlight.errors import BadSettings, ConflictError
from firstlight.formats.tables import save_table
from firstlight.simulation.psf import add_stars, moffat_matrix, stamp_radius
from firstlight.simulation.sky import UNIX_EPOCH_MJD
from firstlight.simulation.streams import Purpose, stream
from firstlight.simulation.truth import FOLDER
from firstlight.simulation.variability import Pulsator, Transit, radius_ratio_for

__all__ = ["BANDS", "PATTERN", "ColourNightSettings", "ColourTruth", "simulate_colour_night"]

Floats = NDArray[np.float64]

BANDS = ("R", "G", "B")
PATTERN = "GBRG"  # the sensor's RGGB, in rows that FITS counts from the bottom
ZERO_POINT = {"R": 0.9, "G": 1.0, "B": 0.75}  # light in each filter, relative to green
COLOUR_SLOPE = {"R": 0.5, "G": 0.0, "B": -0.7}  # magnitudes per magnitude of B - V
EXTINCTION = {"R": 0.10, "G": 0.15, "B": 0.25}
SKY_LIGHT = {"R": 0.7, "G": 1.0, "B": 0.8}
BLUR = {"R": 1.03, "G": 1.0, "B": 1.08}  # a camera lens is not achromatic
SENSOR_CORNER = 3131.0  # pixels from the axis to the corner of the whole 5208 x 3476 sensor
IMPACT, LIMB_DARKENING = 0.3, (0.4, 0.25)
_FACTS = "colour_truth.json"
CENTRAL = 0.2  # of a star's light, at most in one pixel
WELL_EXPOSED = 0.8  # of saturation: how bright a star with a signal may be


class ColourNightSettings(BaseModel):
    """One observation with a colour camera.

    Attributes
    ----------
    seed
        Same seed, settings and catalogue: same bytes.
    unit, camera, field
        As in the paths and headers of the PANOPTES network.
    start
        Of the first exposure.
    ra, dec
        ICRS degrees of the middle of the cut-out.
    rows, columns
        Pixels, both even.
    axis
        Where the optical axis is, (x, y) pixels from the middle of the cut-out.
    pixel_scale
        Arcseconds.
    n_exposures, exposure_time, cadence
        Count, seconds, seconds from start to start.
    drift, drift_angle, wobble, rotation
        Pixels from the first to the last exposure; degrees from +x to +y; amplitude in pixels of
        the periodic error; degrees that the field turns meanwhile.
    fwhm, moffat_beta, field_blur
        Pixels, best and worst on the axis; power of the profile; growth of the width to the
        corner of the whole sensor, as a fraction, half of it as ellipticity.
    zero_point
        Magnitude that yields one electron per second, were all pixels green.
    faintest, stars_per_square_degree
        Magnitude limit, and the density at it.
    sky, sky_gradient
        Electrons per green pixel and exposure; relative change to the edge of the cut-out.
    transparency, haze_gradient
        One-sigma magnitudes of slow changes; the same across half the cut-out.
    vignetting
        Light lost at the corner of the whole sensor.
    pixel_response
        One-sigma sensitivity from pixel to pixel, as a fraction.
    bias, gain, read_noise, saturation
        ADU; electrons per ADU; electrons; ADU above bias at which the converter clips.
    pulsation, transit_depth
        Peak-to-peak amplitude and depth, as fractions of the flux.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    seed: int = Field(default=1, ge=0)
    unit: str = Field(default="PAN001", pattern=r"^PAN\d{3}$")
    camera: str = Field(default="14d3bd", pattern="^[a-g0-9]{6}$")
    field: str = "Wasp 12"
    start: AwareDatetime = datetime(2018, 2, 16, 11, 6, 23, tzinfo=UTC)
    ra: float = Field(default=303.211, ge=0, lt=360)
    dec: float = Field(default=46.02, ge=-89, le=89)
    rows: int = Field(default=700, ge=64, le=8000, multiple_of=2)
    columns: int = Field(default=700, ge=64, le=8000, multiple_of=2)
    axis: tuple[float, float] = (-500.0, 300.0)
    pixel_scale: float = Field(default=10.3, gt=0.5, le=60)
    n_exposures: int = Field(default=30, ge=1, le=2000)
    exposure_time: float = Field(default=120.0, gt=0)
    cadence: float = Field(default=145.0, gt=0)
    drift: float = Field(default=10.0, ge=0, le=200)
    drift_angle: float = 35.0
    wobble: float = Field(default=0.4, ge=0, le=20)
    rotation: float = Field(default=0.02, ge=-5, le=5)
    fwhm: tuple[float, float] = (2.0, 2.3)
    moffat_beta: float = Field(default=3.5, ge=2, le=10)
    field_blur: float = Field(default=0.3, ge=0, le=1)
    zero_point: float = Field(default=16.3, ge=5, le=30)
    faintest: float = Field(default=13.5, ge=5, le=20)
    stars_per_square_degree: float = Field(default=450.0, gt=0, le=20000)
    sky: float = Field(default=240.0, ge=0)
    sky_gradient: float = Field(default=0.1, ge=0, le=1)
    transparency: float = Field(default=0.03, ge=0, le=1)
    haze_gradient: float = Field(default=0.002, ge=0, le=0.2)
    vignetting: float = Field(default=0.4, ge=0, le=0.9)
    pixel_response: float = Field(default=0.0, ge=0, le=0.05)
    bias: float = Field(default=2048.0, ge=100)
    gain: float = Field(default=1.5, gt=0)
    read_noise: float = Field(default=10.5, ge=0)
    saturation: float = Field(default=11530.0, gt=0)
    pulsation: Annotated[float, Field(ge=0, lt=0.5)] = 0.02
    transit_depth: Annotated[float, Field(gt=0, lt=0.3)] = 0.01

    @property
    def sequence_id(self) -> str:
        """Name of the observation, for example ``PAN001_14d3bd_20180216T110623``."""
        return f"{self.unit}_{self.camera}_{self.start.astimezone(UTC):%Y%m%dT%H%M%S}"

    def time(self, frame: int) -> datetime:
        """Start of an exposure, UTC, in whole seconds as in the names of the network."""
        begun = self.start.astimezone(UTC) + timedelta(seconds=frame * self.cadence)
        return begun.replace(microsecond=0)

    def path(self, frame: int) -> str:
        """Where the network keeps an exposure, for example ``PAN001/14d3bd/<seq>/<img>.fits``."""
        first, now = self.time(0), self.time(frame)
        folder = f"{self.unit}/{self.camera}/{first:%Y%m%dT%H%M%S}"
        return f"{folder}/{now:%Y%m%dT%H%M%S}.fits"


@dataclass(frozen=True, eq=False)
class _Air:
    """What the frames were taken through, each ``(n_frame, ...)``."""

    shift: Floats  # (n_frame, 2), pixels
    turn: Floats  # radians
    fwhm: Floats
    grey: Floats  # magnitudes lost
    haze: Floats  # (n_frame, 2), magnitudes per half cut-out
    airmass: Floats


@dataclass(frozen=True, eq=False)
class ColourTruth:
    """One observation, completely known. Pixels are 0-based, electrons above the bias.

    Attributes
    ----------
    settings
        What it was made from.
    ra, dec, magnitude, colour
        ICRS degrees, green magnitude at rest and B - V of every star, ``(n_star,)``.
    pulsator, transit
        Who varies, and how; their `star` is the index of the star.
    """

    settings: ColourNightSettings
    ra: Floats
    dec: Floats
    magnitude: Floats
    colour: Floats
    pulsator: Pulsator
    transit: Transit

    @classmethod
    def draw(
        cls, settings: ColourNightSettings, catalog: ReferenceCatalog | None = None
    ) -> ColourTruth:
        """Decide the whole observation; bright stars from `catalog`, or all invented.

        Raises
        ------
        BadSettings
            When fewer than two stars are fit to carry the signals.
        """
        stars = _stars(settings, catalog)
        still = Pulsator(star=0, period=1.0, amplitude=0.0, epoch=0.0)
        none = _transit(settings, 0, 0.0, 1.0).model_copy(update={"epoch": -1e9})
        quiet = cls(settings, *stars, still, none)
        chosen = quiet.undisturbed()
        if len(chosen) < 2:
            raise BadSettings(
                "Too few stars are alone, unsaturated and bright enough to carry a signal.",
                subject="ColourNightSettings",
                field="stars_per_square_degree",
                found=f"{len(chosen)} such stars",
                expected="2",
            )
        first, second = stream(settings.seed, Purpose.VARIABLES).permutation(chosen[:6])[:2]
        middle, length = float(quiet.mjd.mean()), float(np.ptp(quiet.mjd)) or 0.01
        ptp = float(2.5 * np.log10((1 + settings.pulsation / 2) / (1 - settings.pulsation / 2)))
        pulsator = Pulsator(star=int(first), period=0.7 * length, amplitude=ptp, epoch=middle)
        transit = _transit(settings, int(second), middle, 0.5 * length)
        return cls(settings, *stars, pulsator, transit)

    # ---------------------------------------------------------------- stars

    @property
    def mjd(self) -> Floats:
        """UTC at mid-exposure, ``(n_frame,)``."""
        starts = [self.settings.time(i).timestamp() for i in range(self.settings.n_exposures)]
        half = self.settings.exposure_time / 2
        return (np.array(starts) + half) / 86400 + UNIX_EPOCH_MJD

    def projection(self, frame: int) -> Projection:
        """Pixels of one exposure to the sky and back."""
        of = self.settings
        middle = np.array([(of.columns - 1) / 2, (of.rows - 1) / 2]) + self.air.shift[frame]
        c, s = np.cos(self.air.turn[frame]), np.sin(self.air.turn[frame])
        cd = of.pixel_scale / 3600 * np.array([[-c, s], [s, c]])
        return Projection((of.ra, of.dec), (float(middle[0]), float(middle[1])), cd)

    def positions(self, frame: int) -> tuple[Floats, Floats]:
        """Pixels (x, y) of every star, ``(n_star,)`` each."""
        return self.projection(frame).sky_to_pixel(self.ra, self.dec)

    def relative_flux(self, star: int) -> Floats:
        """Flux of a star relative to its own at rest, ``(n_frame,)``."""
        flux = np.ones(self.settings.n_exposures)
        for one in (self.pulsator, self.transit):
            if one.star == star:
                flux = flux * one.flux(self.mjd)
        return flux

    def electrons(self, frame: int, band: str) -> Floats:
        """What every star would yield in the exposure, were all pixels of one band."""
        of = self.settings
        x, y = self.positions(frame)
        magnitude = self.magnitude - COLOUR_SLOPE[band] * (self.colour - 0.6)
        magnitude = magnitude + EXTINCTION[band] * self.air.airmass[frame] + self.air.grey[frame]
        u, v = 2 * x / of.columns - 1, 2 * y / of.rows - 1
        magnitude = magnitude + self.air.haze[frame, 0] * u + self.air.haze[frame, 1] * v
        flux = ZERO_POINT[band] * of.exposure_time * 10 ** (0.4 * (of.zero_point - magnitude))
        for one in (self.pulsator, self.transit):
            flux[one.star] *= one.flux(self.mjd[frame : frame + 1])[0]
        distance = np.hypot(*self._off_axis(x, y)) / SENSOR_CORNER
        return np.asarray(flux * (1 - of.vignetting * distance**2))

    def undisturbed(self) -> NDArray[np.int64]:
        """Stars fit to carry a signal, brightest first.

        Twenty pixels and the whole drift from the edges, at most 80 % of saturation, two thousand
        electrons above the sky at the peak, and within five widths no neighbour that is brighter
        than a fortieth of them.
        """
        of = self.settings
        middle = of.n_exposures // 2
        x, y = self.positions(middle)
        margin = 20 + of.drift + of.wobble
        inside = (x > margin) & (x < of.columns - margin) & (y > margin) & (y < of.rows - margin)
        above = CENTRAL * np.max([self.electrons(middle, band) for band in BANDS], axis=0)
        room = (above + of.sky < WELL_EXPOSED * of.saturation * of.gain) & (above > 2000)
        places = np.column_stack([x, y])
        near = cKDTree(places).query_ball_point(places, 5 * of.fwhm[1])
        limit = self.magnitude + 4
        alone = [(self.magnitude[n] < limit[i]).sum() == 1 for i, n in enumerate(near)]
        chosen = np.flatnonzero(inside & room & np.array(alone))
        return chosen[np.argsort(self.magnitude[chosen], kind="stable")]

    # ---------------------------------------------------------------- images

    def sky(self, frame: int) -> Floats:
        """Electrons of the sky, ``(ny, nx)``."""
        of = self.settings
        v, u = np.mgrid[-1 : 1 : of.rows * 1j, -1 : 1 : of.columns * 1j]
        turn = np.radians(70 + 3 * frame)
        slope = 1 + of.sky_gradient * (np.cos(turn) * u + np.sin(turn) * v)
        level = np.select([self.bands == b for b in BANDS], [SKY_LIGHT[b] for b in BANDS])
        return np.asarray(of.sky * slope * level * (1 + 0.1 * (self.air.airmass[frame] - 1)))

    def expected(self, frame: int) -> Floats:
        """Electrons before noise, sky and stars, ``(ny, nx)``."""
        return (self.sky(frame) + self._light(frame, None)) * self.response

    def star_light(self, frame: int, star: int, corner: tuple[int, int], side: int) -> Floats:
        """Electrons of one star alone in a stamp with the given (ymin, xmin), ``(side, side)``."""
        return self._light(frame, star, corner, (side, side))

    def raw(self, frame: int) -> NDArray[np.uint16]:
        """ADU as delivered, ``(ny, nx)``."""
        of = self.settings
        random = stream(of.seed, Purpose.NOISE, frame)
        charge = random.poisson(self.expected(frame)) + of.read_noise * random.standard_normal(
            (of.rows, of.columns)
        )
        level = np.clip(np.round(charge / of.gain + of.bias), 0, of.bias + of.saturation)
        return level.astype(np.uint16)

    @cached_property
    def bands(self) -> NDArray[np.str_]:
        """Letter of each pixel, ``(ny, nx)``."""
        return colour_of_pixels((self.settings.rows, self.settings.columns), PATTERN)

    @cached_property
    def response(self) -> Floats:
        """Sensitivity of each pixel, mean 1, ``(ny, nx)``."""
        of = self.settings
        random = stream(of.seed, Purpose.FLAT_PATTERN)
        return 1 + of.pixel_response * random.standard_normal((of.rows, of.columns))

    @cached_property
    def air(self) -> _Air:
        """Drift, seeing and transparency of all frames."""
        return _air(self.settings)

    def _off_axis(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        of = self.settings
        return x - (of.columns - 1) / 2 - of.axis[0], y - (of.rows - 1) / 2 - of.axis[1]

    def _light(
        self,
        frame: int,
        star: int | None,
        corner: tuple[int, int] = (0, 0),
        shape: tuple[int, int] | None = None,
    ) -> Floats:
        of = self.settings
        shape = shape or (of.rows, of.columns)
        x, y = self.positions(frame)
        near = (x > -30) & (x < of.columns + 30) & (y > -30) & (y < of.rows + 30)
        rows = np.flatnonzero(near) if star is None else np.array([star])
        x, y = x[rows], y[rows]
        du, dv = self._off_axis(x, y)
        blur = of.field_blur * (np.hypot(du, dv) / SENSOR_CORNER) ** 2
        letters = colour_of_pixels((shape[0] + 1, shape[1] + 1), PATTERN)
        letters = letters[corner[0] % 2 :, corner[1] % 2 :][: shape[0], : shape[1]]
        total = np.zeros(shape)
        for band in BANDS:
            width = self.air.fwhm[frame] * BLUR[band] * (1 + blur)
            matrix = moffat_matrix(width, blur / 2, np.arctan2(dv, du), of.moffat_beta)
            flux = self.electrons(frame, band)[rows]
            plane = np.zeros(shape)
            reach = stamp_radius(flux, matrix, of.moffat_beta)
            add_stars(plane, x - corner[1], y - corner[0], flux, matrix, of.moffat_beta, reach)
            total += np.where(letters == band, plane, 0.0)
        return total

    # ---------------------------------------------------------------- on disk

    def header(self, frame: int) -> fits.Header:
        """Cards as the units of the network write them."""
        of = self.settings
        sequence, now = of.sequence_id, of.time(frame)
        image = f"{of.unit}_{of.camera}_{now:%Y%m%dT%H%M%S}"
        cards: dict[str, tuple[Any, str]] = {
            "FILTER": ("RGGB", "colour mosaic"),
            "ISO": (100, "sensitivity"),
            "EXPTIME": (of.exposure_time, "[s]"),
            "DATE-OBS": (f"{now:%Y-%m-%dT%H:%M:%S}", "[UTC] start of exposure"),
            "CAMTEMP": ("11 C", "Celsius"),
            "COLORTMP": (5386, "colour temperature"),
            "CAMSN": ("012070048413", "serial number"),
            "IMAGEID": (image, "this exposure"),
            "SEQID": (sequence, "this observation"),
            "FIELD": (of.field, "target"),
            "RA-MNT": (of.ra, "Degrees"),
            "DEC-MNT": (of.dec, "Degrees"),
            "HA-MNT": (1.0, "Degrees"),
            "EQUINOX": (2000.0, ""),
            "AIRMASS": (round(float(self.air.airmass[frame]), 4), "Sec(z)"),
            "LAT-OBS": (19.54, "Degrees"),
            "LONG-OBS": (-155.58, "Degrees"),
            "ELEV-OBS": (3400.0, "Meters"),
            "MOONSEP": (75.98, "Degrees"),
            "MOONFRAC": (0.1, ""),
            "CREATOR": ("POCSv0.6.0", "simulated"),
            "INSTRUME": (of.camera, "Camera ID"),
            "OBSERVER": (of.unit, "PANOPTES Unit ID"),
            "ORIGIN": ("Project PANOPTES", "simulated"),
        }
        return fits.Header([(key, value, comment) for key, (value, comment) in cards.items()])

    def save(self, folder: Path) -> None:
        """Write ``truth/colour_truth.json`` and ``truth/colour_stars.parquet`` in `folder`."""
        under = folder / FOLDER
        under.mkdir(parents=True, exist_ok=True)
        columns = {name: getattr(self, name) for name in ("ra", "dec", "magnitude", "colour")}
        save_table(
            under / "colour_stars.parquet",
            columns,
            units={"ra": "deg", "dec": "deg", "magnitude": "mag", "colour": "mag"},
        )
        facts = {
            "settings": self.settings.model_dump(mode="json"),
            "pulsator": self._told(self.pulsator),
            "transit": self._told(self.transit),
            "shift": self.air.shift.tolist(),
            "fwhm": self.air.fwhm.tolist(),
        }
        text = json.dumps(facts, indent=1, allow_nan=False)
        (under / _FACTS).write_text(text + "\n", encoding="utf-8")

    def place(self, signal: Pulsator | Transit) -> tuple[float, float]:
        """ICRS degrees of the star that bears a signal."""
        return float(self.ra[signal.star]), float(self.dec[signal.star])

    def _told(self, signal: Pulsator | Transit) -> dict[str, Any]:
        """With the place, and what fraction of the flux is there in each exposure."""
        ra, dec = self.place(signal)
        flux = [round(value, 8) for value in self.relative_flux(signal.star).tolist()]
        return {**signal.model_dump(mode="json"), "ra": ra, "dec": dec, "relative_flux": flux}


def simulate_colour_night(
    settings: ColourNightSettings,
    folder: Path,
    *,
    catalog: ReferenceCatalog | None = None,
    progress: Callable[[int], None] = lambda done: None,  # noqa: ARG005, nobody watches
) -> ColourTruth:
    """Write an observation's raw mosaics under their PANOPTES paths in `folder`, and its truth.

    Parameters
    ----------
    catalog
        Where stars come from as far as it goes; all are invented without one.
    progress
        Told how many exposures are written.

    Raises
    ------
    ConflictError
        The folder holds a simulated night with other settings.
    """
    truth = ColourTruth.draw(settings, catalog)
    _refuse_other_night(folder, settings)
    truth.save(folder)
    for frame in range(settings.n_exposures):
        path = folder / settings.path(frame)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Whoever watches the folder sees whole files only.
        partial = path.with_suffix(".partial")
        fits.PrimaryHDU(truth.raw(frame), truth.header(frame)).writeto(partial, overwrite=True)
        partial.replace(path)
        progress(frame + 1)
    return truth


def _refuse_other_night(folder: Path, settings: ColourNightSettings) -> None:
    try:
        facts = json.loads((folder / FOLDER / _FACTS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        if not (folder / FOLDER / "truth.json").exists():
            return
        facts = {}
    if facts.get("settings") != settings.model_dump(mode="json"):
        raise ConflictError(
            "The folder holds another simulated night.",
            subject=folder,
            hint="choose an empty folder",
        )


def _stars(
    settings: ColourNightSettings, catalog: ReferenceCatalog | None
) -> tuple[Floats, Floats, Floats, Floats]:
    """Right ascension, declination, magnitude and colour, brightest catalogue stars first."""
    of = settings
    radius = of.pixel_scale / 3600 * (np.hypot(of.rows, of.columns) / 2 + of.drift + 40)
    random = stream(of.seed, Purpose.FAINT_STARS)
    area = np.pi * radius**2
    number = random.poisson(of.stars_per_square_degree * area)
    # Counts grow as 10 ** (0.35 m) towards the plane of the Galaxy.
    magnitude = of.faintest + np.log10(random.uniform(size=number)) / 0.35
    distance, angle = radius * np.sqrt(random.uniform(size=number)), random.uniform(size=number)
    east, north = (
        distance * f(2 * np.pi * angle) / of.pixel_scale * 3600 for f in (np.sin, np.cos)
    )
    cd = of.pixel_scale / 3600 * np.eye(2)
    ra, dec = Projection((of.ra, of.dec), (0.0, 0.0), cd).pixel_to_sky(east, north)
    if catalog is not None:
        epoch = 2000 + (of.start.timestamp() / 86400 + UNIX_EPOCH_MJD - 51544.5) / 365.25
        found = catalog.cone(of.ra, of.dec, float(radius), epoch=epoch)
        limit = float(np.percentile(found.mag, 80)) if len(found) else -np.inf
        faint = magnitude > limit
        ra = np.concatenate([found.ra, ra[faint]])
        dec = np.concatenate([found.dec, dec[faint]])
        magnitude = np.concatenate([found.mag, magnitude[faint]])
    colour = np.clip(random.normal(0.7, 0.35, len(ra)), -0.2, 1.8)
    return ra, dec, np.asarray(magnitude, float), colour


def _air(settings: ColourNightSettings) -> _Air:
    of, n = settings, settings.n_exposures
    random = stream(of.seed, Purpose.AIR)
    along = np.linspace(-0.5, 0.5, n) if n > 1 else np.zeros(1)
    angle = np.radians(of.drift_angle)
    direction = np.array([np.cos(angle), np.sin(angle)])
    worm = of.wobble * np.sin(2 * np.pi * along * n * of.cadence / 480.0)
    shift = of.drift * along[:, None] * direction + worm[:, None] * np.array([1.0, 0.0])
    if of.drift or of.wobble:
        shift = shift + random.normal(0, 0.05, (n, 2))
    low, high = of.fwhm
    seeing = np.clip(0.5 + 0.25 * _walk(random, n), 0, 1)
    return _Air(
        shift=shift,
        turn=np.radians(of.rotation) * along,
        fwhm=low + (high - low) * seeing,
        grey=of.transparency * _walk(random, n),
        haze=of.haze_gradient * np.column_stack([_walk(random, n), _walk(random, n)]),
        airmass=1.2 + 0.25 * (along + 0.5),
    )


def _walk(random: np.random.Generator, n: int) -> Floats:
    """A random walk of about unit variance that forgets in eight frames."""
    steps = random.standard_normal(n)
    memory = np.exp(-1 / 8)
    for i in range(1, n):
        steps[i] = memory * steps[i - 1] + np.sqrt(1 - memory**2) * steps[i]
    return steps


def _transit(settings: ColourNightSettings, star: int, middle: float, length: float) -> Transit:
    depth = settings.transit_depth
    return Transit(
        star=star,
        depth=depth,
        duration=length,
        epoch=middle,
        epoch_bjd=middle + 2400000.5,
        impact=IMPACT,
        limb_darkening=LIMB_DARKENING,
        radius_ratio=radius_ratio_for(depth, IMPACT, LIMB_DARKENING),
    )
