"""What is true about a simulated night, for tests to measure against.

Nothing large is stored: images of the truth are made again from the seed. Conventions:

- A *calibrated* pixel, to which `Truth.expected_electrons` is the truth, is
  ``((raw - bias) * gain - dark) / flat`` with the flat's median 1 in each section.
- A star of V_T magnitude m yields ``10 ** (0.4 * (zero_point - m))`` calibrated electrons in
  the whole exposure, within infinity; `Truth.zero_point` holds extinction, clouds, exposure
  time and the section's efficiency, at the middle of the section. Extinction is that of each
  star's own airmass, so a star's exact electrons are in `Truth.electrons`.
- Magnitudes are V_T in the Vega system, as the catalogue has them; there is no colour term.
  `firstlight.algorithms.photometry.magnitudes.ab_offset` leads from there to AB and microjansky.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from scipy.spatial import cKDTree

from firstlight.algorithms.flags import DTYPE, Flag
from firstlight.algorithms.sky.projection import Projection
from firstlight.catalogs.base import ReferenceCatalog
from firstlight.errors import BadFile, FirstlightError, MissingError
from firstlight.formats.tables import read_table, save_table
from firstlight.simulation.conditions import Conditions, airmass_at, make_conditions
from firstlight.simulation.detector import Detector, Frame, FrameKind
from firstlight.simulation.optics import SECTIONS, Optics
from firstlight.simulation.psf import add_stars, moffat_matrix, stamp_radius
from firstlight.simulation.settings import NightSettings
from firstlight.simulation.stars import Stars, draw_variables, gather_stars
from firstlight.simulation.streams import Purpose, stream
from firstlight.simulation.variability import Transit, Variable

__all__ = ["FOLDER", "VERSION", "Truth"]

Floats = NDArray[np.float64]
Plane = NDArray[np.float32]

VERSION = 1
"""Rises with every change that gives the same seed another night."""

FOLDER = "truth"

CONVENTIONS = {
    "pixels": "0-based, centres at integers, x along columns",
    "times": "MJD (UTC); epoch_bjd is BJD (TDB)",
    "positions": "ICRS degrees at the epoch of the night",
    "magnitudes": "V_T (Vega) above the air; electrons = 10 ** (0.4 * (zero_point - magnitude))",
    "zero_points": "by exposure and section, in the whole exposure, at the middle of the section",
    "electrons": "after bias, gain, dark and division by a flat of median 1 in each section",
}
VARIABLES: TypeAdapter[tuple[Variable, ...]] = TypeAdapter(tuple[Variable, ...])
APERTURE_DIAMETER_CM = 15.0


@dataclass(frozen=True, eq=False)
class Truth:
    """One night, completely known.

    Attributes
    ----------
    settings
        What it was made from.
    catalog
        Name and release of the reference catalogue.
    exposures
        Science exposures in order; their index is the `exposure` of every method.
    stars
        All stars; their index is `Variable.star`.
    variables
        Those that vary, the transit first where there is one.
    """

    settings: NightSettings
    catalog: str
    exposures: tuple[Conditions, ...]
    stars: Stars
    variables: tuple[Variable, ...]

    @classmethod
    def draw(cls, settings: NightSettings, catalog: ReferenceCatalog) -> Truth:
        """Decide the whole night.

        Raises
        ------
        BadSettings
            When the field is not up in the dark, or too few stars suit as variables.
        """
        exposures = make_conditions(settings)
        stars = gather_stars(settings, exposures, catalog)
        quiet = cls(settings, f"{catalog.name} {catalog.release}", exposures, stars, ())
        variables = draw_variables(settings, exposures, stars, quiet.undisturbed())
        return cls(settings, quiet.catalog, exposures, stars, variables)

    # ---------------------------------------------------------------- camera and sky

    @cached_property
    def optics(self) -> Optics:
        """The geometry of the camera."""
        return Optics.from_settings(self.settings)

    @cached_property
    def detectors(self) -> Mapping[str, Detector]:
        """Each section's maps: flat, dark current, bias pattern; and its electronics."""
        return {name: Detector.from_settings(self.settings, name) for name in SECTIONS}

    def projection(self, exposure: int, section: str) -> Projection:
        """Pixels of one image to sky and back; `to_header` gives the exact TAN-SIP cards."""
        return self.optics.projection(section, self.exposures[exposure].pointing)

    def positions(self, exposure: int, section: str) -> tuple[Floats, Floats]:
        """0-based pixels (x, y) of every star, NaN where not in front, shape ``(n,)`` each."""
        return self.projection(exposure, section).sky_to_pixel(self.stars.ra, self.stars.dec)

    def inside(self, exposure: int, section: str, margin: float = 0.0) -> NDArray[np.bool_]:
        """Which stars lie on the section, `margin` pixels from its edges, shape ``(n,)``."""
        x, y = self.positions(exposure, section)
        rows, columns = self.optics.rows, self.optics.columns
        return (
            (x >= margin - 0.5)
            & (x < columns - 0.5 - margin)
            & (y >= margin - 0.5)
            & (y < rows - 0.5 - margin)
        )

    # ---------------------------------------------------------------- brightness

    def zero_point(self, exposure: int, section: str) -> float:
        """V_T (Vega) magnitude of one calibrated electron in the exposure, at mid-section."""
        middle = (self.optics.columns - 1) / 2, (self.optics.rows - 1) / 2
        ra, dec = self.projection(exposure, section).pixel_to_sky(*middle)
        return float(self._zero_point(exposure, section, ra, dec))

    def magnitudes(self, exposure: int) -> Floats:
        """V_T of every star above the air at mid-exposure, variables as they are then."""
        magnitude = self.stars.magnitude.copy()
        when = np.array([self.exposures[exposure].mid_mjd])
        for variable in self.variables:
            magnitude[variable.star] -= 2.5 * np.log10(variable.flux(when)[0])
        return magnitude

    def electrons(self, exposure: int, section: str) -> Floats:
        """Calibrated electrons of every star, as if all fell on `section`, shape ``(n,)``."""
        at = self._zero_point(exposure, section, self.stars.ra, self.stars.dec)
        flux = 10 ** (0.4 * (at - self.magnitudes(exposure)))
        if self.settings.sky.scintillation:
            flux *= self._scintillation(exposure)
        return np.asarray(flux)

    def light_curve(self, star: int) -> tuple[Floats, Floats]:
        """MJD (UTC, mid-exposure) and V_T above the air of one star, without noise."""
        mjd = np.array([e.mid_mjd for e in self.exposures])
        magnitude = np.full(len(mjd), self.stars.magnitude[star])
        for variable in self.variables:
            if variable.star == star:
                magnitude -= 2.5 * np.log10(variable.flux(mjd))
        return mjd, magnitude

    def relative_error(self, exposure: int, section: str) -> Floats:
        """What a good aperture could measure: one-sigma error over flux, shape ``(n,)``.

        The CCD equation for a radius of one FWHM on the axis, as if a star were alone.
        """
        now, detector = self.exposures[exposure], self.detectors[section]
        beta = self.settings.sky.moffat_beta
        core = 1 / (2 * np.sqrt(2 ** (1 / beta) - 1))
        flux = self.electrons(exposure, section) * (1 - (1 + core**-2) ** (1 - beta))
        background = now.sky * detector.efficiency + detector.read_noise**2
        background += self.settings.detector.dark_current * self.settings.exposure_time
        return np.asarray(np.sqrt(flux + np.pi * now.fwhm**2 * background) / flux)

    def _zero_point(
        self, exposure: int, section: str, ra: Floats | float, dec: Floats | float
    ) -> Floats:
        now, sky = self.exposures[exposure], self.settings.sky
        efficiency = self.settings.detector.efficiency[SECTIONS.index(section)]
        gathered = 2.5 * np.log10(self.settings.exposure_time * efficiency)
        air = airmass_at(self.settings, now.mid_mjd, ra, dec)
        return np.asarray(sky.zero_point + gathered - sky.extinction * air - now.absorption)

    def _scintillation(self, exposure: int) -> Floats:
        """Young (1967, AJ 72, 747) for a 15 cm aperture, independent from star to star."""
        now, settings = self.exposures[exposure], self.settings
        sigma = 0.09 * APERTURE_DIAMETER_CM ** (-2 / 3) * now.airmass**1.75
        sigma *= np.exp(-settings.elevation / 8000) / np.sqrt(2 * settings.exposure_time)
        random = stream(settings.seed, Purpose.SCINTILLATION, exposure)
        return np.asarray(np.maximum(1 + sigma * random.standard_normal(len(self.stars)), 0.1))

    # ---------------------------------------------------------------- images

    def expected_sky(self, exposure: int, section: str) -> Floats:
        """Calibrated electrons of the sky alone, shape ``(ny, nx)``."""
        now, (x0, y0) = self.exposures[exposure], self.optics.axis(section)
        u = (np.arange(self.optics.columns) - x0) / self.optics.corner
        v = (np.arange(self.optics.rows) - y0) / self.optics.corner
        slope = 1 + now.gradient[0] * u[None, :] + now.gradient[1] * v[:, None]
        return np.asarray(now.sky * self.detectors[section].efficiency * slope)

    def expected_stars(self, exposure: int, section: str) -> Floats:
        """Calibrated electrons of the stars alone, shape ``(ny, nx)``."""
        image = np.zeros((self.optics.rows, self.optics.columns))
        self._add_stars(image, exposure, section)
        return image

    def expected_electrons(self, exposure: int, section: str) -> Floats:
        """Calibrated electrons without noise, sky and stars, shape ``(ny, nx)``."""
        image = self.expected_sky(exposure, section)
        self._add_stars(image, exposure, section)
        return image

    def expected_charge(self, exposure: int, section: str) -> Plane:
        """Electrons in the pixels before noise, shape ``(ny, nx)``.

        With flat, dark current and cosmic rays, after full wells have bled.
        """
        return self.detectors[section].held(self._collected(exposure, section))

    def cosmic_rays(self, exposure: int, section: str) -> Plane:
        """Electrons from cosmic rays, shape ``(ny, nx)``."""
        frame = Frame(FrameKind.SCIENCE, exposure)
        return self.detectors[section].cosmic_rays(frame, self.settings.exposure_time)

    def flags(self, exposure: int, section: str, hot: float = 1.0) -> NDArray[np.uint16]:
        """What is wrong with each pixel, in the bits of `firstlight.algorithms.flags.Flag`.

        ``SATURATED`` where the converter is expected to clip, ``BLEED`` where charge came from
        a full neighbour, ``COSMIC_RAY`` wherever one left charge, ``BAD`` for dead pixels and
        those of at least `hot` electrons a second. Shape ``(ny, nx)``.
        """
        detector = self.detectors[section]
        collected = self._collected(exposure, section)
        held = detector.held(collected)
        level = detector.bias(Frame(FrameKind.SCIENCE, exposure))[:, None] + detector.bias_pattern
        flags = np.zeros(held.shape, DTYPE)
        flags[held / detector.gain + level >= detector.saturation] |= DTYPE(Flag.SATURATED)
        flags[held > collected] |= DTYPE(Flag.BLEED)
        flags[self.cosmic_rays(exposure, section) > 0] |= DTYPE(Flag.COSMIC_RAY)
        flags[detector.hot_pixels(hot) | detector.dead_pixels()] |= DTYPE(Flag.BAD)
        return flags

    def raw(self, exposure: int, section: str) -> NDArray[np.uint16]:
        """ADU as delivered, shape ``(ny, nx + overscan)``."""
        charge = self.expected_charge(exposure, section)
        return self.detectors[section].read_out(charge, Frame(FrameKind.SCIENCE, exposure))

    def _collected(self, exposure: int, section: str) -> Plane:
        detector, time = self.detectors[section], self.settings.exposure_time
        charge = self.expected_electrons(exposure, section) * detector.flat + detector.dark * time
        return np.asarray(charge + self.cosmic_rays(exposure, section), np.float32)

    def psf_matrix(self, exposure: int, section: str, x: Floats, y: Floats) -> Floats:
        """Moffat matrix (xx, xy, yy) at pixels of `section`, shape ``(n, 3)``.

        Away from the axis stars grow by ``field_blur * (r / corner)**2`` and are drawn out
        along the radius by half of that. See `firstlight.simulation.psf.moffat_matrix`.
        """
        x0, y0 = self.optics.axis(section)
        blur = self.settings.sky.field_blur * np.hypot(x - x0, y - y0) ** 2 / self.optics.corner**2
        fwhm = self.exposures[exposure].fwhm * (1 + blur)
        ellipticity = np.minimum(blur / 2, 0.5)
        return moffat_matrix(
            fwhm, ellipticity, np.arctan2(y - y0, x - x0), self.settings.sky.moffat_beta
        )

    def _add_stars(self, image: Floats, exposure: int, section: str) -> None:
        beta = self.settings.sky.moffat_beta
        x, y = self.positions(exposure, section)
        reach = 0.2 * max(image.shape) + 100
        near = (np.abs(x - image.shape[1] / 2) < image.shape[1] / 2 + reach) & (
            np.abs(y - image.shape[0] / 2) < image.shape[0] / 2 + reach
        )
        x, y, flux = x[near], y[near], self.electrons(exposure, section)[near]
        matrix = self.psf_matrix(exposure, section, x, y)
        add_stars(image, x, y, flux, matrix, beta, stamp_radius(flux, matrix, beta))

    # ---------------------------------------------------------------- who can be measured

    def undisturbed(self) -> NDArray[np.int64]:
        """Stars fit to be variables: brightest unsaturated first.

        On the same section all night 12 pixels from its edges, never above 60 % of the full
        well even when twice as bright, measurable to 1.5 % in the typical exposure, and no
        neighbour within six FWHM that is brighter than 2 % of them.
        """
        good = [i for i, e in enumerate(self.exposures) if not e.fault] or [0]
        typical = good[len(good) // 2]
        chosen = np.zeros(len(self.stars), bool)
        for section in SECTIONS:
            on = np.all([self.inside(i, section, margin=12) for i in good], axis=0)
            precise = self.relative_error(typical, section) < 0.015
            brightest = np.max([self._peak(i, section) for i in good], axis=0)
            room = 0.6 * self.detectors[section].full_well
            chosen |= on & precise & (2 * brightest < room)
        x, y = self.positions(typical, SECTIONS[0])
        radius = 6 * max(e.fwhm for e in self.exposures)
        alone = self._alone(np.flatnonzero(chosen), np.column_stack([x, y]), radius)
        return alone[np.argsort(self.stars.magnitude[alone], kind="stable")]

    def _peak(self, exposure: int, section: str) -> Floats:
        """Electrons in the central pixel of each star and the sky below, at most."""
        now, beta = self.exposures[exposure], self.settings.sky.moffat_beta
        core = now.fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))
        central = min((beta - 1) / (np.pi * core**2), 1.0)
        sky = now.sky * (1 + self.settings.sky.gradient)
        return np.asarray(central * self.electrons(exposure, section) + sky)

    def _alone(
        self, candidates: NDArray[np.int64], places: Floats, radius: float
    ) -> NDArray[np.int64]:
        seen = np.flatnonzero(np.isfinite(places).all(axis=1))
        near = cKDTree(places[seen]).query_ball_point(places[candidates], radius)
        magnitude = self.stars.magnitude
        kept = [
            star
            for star, others in zip(candidates, near, strict=True)
            if (magnitude[seen[others]] < magnitude[star] + 4.25).sum() <= 1
        ]
        return np.array(kept, dtype=np.int64)

    # ---------------------------------------------------------------- on disk

    @property
    def transit(self) -> Transit | None:
        """The transit, where there is one."""
        return next((v for v in self.variables if isinstance(v, Transit)), None)

    def photometry(self) -> dict[str, NDArray[Any]]:
        """Every star on every exposure that it falls on, as columns of equal length.

        ``exposure``, ``star``, ``section``, ``x``, ``y`` (0-based pixels), ``electrons``
        (calibrated), ``magnitude`` (V_T above the air).
        """
        parts: list[dict[str, NDArray[Any]]] = []
        for exposure in range(len(self.exposures)):
            magnitude = self.magnitudes(exposure)
            for section in SECTIONS:
                x, y = self.positions(exposure, section)
                star = np.flatnonzero(self.inside(exposure, section))
                parts.append(
                    {
                        "exposure": np.full(len(star), exposure, np.int32),
                        "star": star.astype(np.int32),
                        "section": np.full(len(star), section),
                        "x": x[star],
                        "y": y[star],
                        "electrons": self.electrons(exposure, section)[star],
                        "magnitude": magnitude[star],
                    }
                )
        return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}

    def save(self, folder: Path) -> None:
        """Write ``truth/truth.json``, ``stars.parquet`` and ``photometry.parquet`` in `folder`."""
        under = folder / FOLDER
        under.mkdir(parents=True, exist_ok=True)
        save_table(
            under / "stars.parquet",
            {
                "ra": self.stars.ra,
                "dec": self.stars.dec,
                "magnitude": self.stars.magnitude,
                "from_catalog": self.stars.from_catalog,
            },
            units={"ra": "deg", "dec": "deg", "magnitude": "mag"},
            metadata={"catalog": self.catalog, "band": "VT", "system": "Vega"},
        )
        save_table(
            under / "photometry.parquet",
            self.photometry(),
            units={"x": "pix", "y": "pix", "electrons": "electron", "magnitude": "mag"},
        )
        text = json.dumps(self._facts(), indent=1, allow_nan=False)
        (under / "truth.json").write_text(text + "\n", encoding="utf-8")

    def _facts(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "conventions": CONVENTIONS,
            "settings": self.settings.model_dump(mode="json"),
            "catalog": self.catalog,
            "exposures": [e.as_dict() for e in self.exposures],
            "zero_points": [
                {s: self.zero_point(i, s) for s in SECTIONS} for i in range(len(self.exposures))
            ],
            "variables": VARIABLES.dump_python(self.variables, mode="json"),
        }

    @classmethod
    def load(cls, folder: Path) -> Truth:
        """The truth that `save` left in `folder`.

        Raises
        ------
        MissingError
            When there is none.
        BadFile
            When it is damaged, or of another version, whose images cannot be made again.
        """
        path = folder / FOLDER / "truth.json"
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as fault:
            raise MissingError(
                "There is no truth of a simulated night.",
                subject=folder,
                hint="make one with simulate_night",
            ) from fault
        except ValueError as fault:
            raise BadFile("The file is not JSON.", subject=path, found=fault) from fault
        found = facts.get("version") if isinstance(facts, dict) else None
        if found != VERSION:
            raise BadFile(
                "The night was simulated by another version.",
                subject=path,
                field="version",
                found=found,
                expected=VERSION,
                hint="simulate it again with the same settings",
            )
        stars = read_table(folder / FOLDER / "stars.parquet")
        try:
            return cls(
                settings=NightSettings.model_validate(facts["settings"]),
                catalog=facts["catalog"],
                exposures=tuple(Conditions.from_dict(e) for e in facts["exposures"]),
                stars=Stars(stars["ra"], stars["dec"], stars["magnitude"], stars["from_catalog"]),
                variables=VARIABLES.validate_python(facts["variables"]),
            )
        except (KeyError, TypeError, ValidationError, FirstlightError) as fault:
            raise BadFile("The truth is damaged.", subject=path, found=fault) from fault
