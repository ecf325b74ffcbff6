"""What is true about a simulated survey, as Parquet tables for tests to measure against.

Conventions: pixels are 0-based with centres at integers, those of a section without its
overscan; ICRS degrees; MJD (UTC) at mid-exposure; AB magnitudes; a *calibrated* electron is
``(raw - bias) * gain / flat`` with each amplifier's own gain and a flat of median 1 in each
section; a source of magnitude m yields ``10 ** (0.4 * (zero_point - m))`` of them.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.photometry.magnitudes import AB_ZERO_POINT_UJY
from firstlight.formats.tables import save_table
from firstlight.simulation.survey_camera import Ccd
from firstlight.simulation.survey_exposure import Delivered, Scene
from firstlight.simulation.survey_nights import Visit
from firstlight.simulation.survey_settings import BANDS, SurveySettings
from firstlight.simulation.survey_sky import GALAXY_COLOUR, SurveySky
from firstlight.simulation.transient_truth import flux_sigma
from firstlight.simulation.variability import Variable

__all__ = ["FOLDER", "SurveyTruth"]

Floats = NDArray[np.float64]
Row = dict[str, Any]

FOLDER = "truth"
UNITS = {
    "ra": "deg", "dec": "deg", "header_ra": "deg", "header_dec": "deg", "rotation": "deg",
    "x": "pix", "y": "pix", "fwhm": "pix", "radius": "arcsec", "angle": "rad",
    "sky": "electron", "electrons": "electron", "electrons_err": "electron",
    "flux": "uJy", "flux_err": "uJy", "exposure_time": "s", "light": "electron/pix",
    "rise": "d", "mjd": "d", "start_mjd": "d", "peak_mjd": "d",
    "east": "arcsec/h", "north": "arcsec/h",
}  # fmt: skip


@dataclass
class _Reference:
    """What the exposures before the first transient know of the places of all transients."""

    psf: Floats
    weight: Floats
    information: Floats


@dataclass
class SurveyTruth:
    """Collects the truth while the exposures are made.

    Attributes
    ----------
    tables
        Rows by table.
    """

    settings: SurveySettings
    sky: SurveySky
    camera: Sequence[Ccd]
    tables: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    _references: dict[str, _Reference] = field(default_factory=dict)

    def add(self, visit: Visit, scene: Scene, delivered: Sequence[Delivered]) -> None:
        """Take down one exposure; those of the reference nights come first."""
        self._add_exposure(visit, scene)
        for part in delivered:
            self._add_section(visit, scene, part)
        self._add_moving(visit, scene)
        self._add_variables(visit)
        if scene.trail is not None:
            self._add_trail(visit, scene)
        self._add_transients(visit, scene, delivered)

    def save(self, folder: Path) -> list[Path]:
        """Write ``truth/*.parquet`` and ``truth/survey.json``, and say which."""
        self._add_constant()
        under = folder / FOLDER
        paths = []
        for name, rows in sorted(self.tables.items()):
            columns = {key: np.array([row[key] for row in rows]) for key in rows[0]}
            units = {key: unit for key, unit in UNITS.items() if key in columns}
            save_table(under / f"{name}.parquet", columns, units=units)
            paths.append(under / f"{name}.parquet")
        return paths

    # ---------------------------------------------------------------- exposure by exposure

    def _add_exposure(self, visit: Visit, scene: Scene) -> None:
        now = visit.conditions
        self.tables["exposures"].append(
            {
                "exposure": visit.number,
                "name": visit.name,
                "night": visit.night,
                "filter": visit.band,
                "mjd": now.mid_mjd,
                "exposure_time": self.settings.exposure_time,
                "ra": now.pointing.ra,
                "dec": now.pointing.dec,
                "rotation": now.pointing.rotation,
                "header_ra": visit.told[0],
                "header_dec": visit.told[1],
                "airmass": now.airmass,
                "absorption": now.absorption,
                "fwhm": now.fwhm,
                "sky": now.sky,
                "zero_point": visit.zero_point,
                "trail": scene.trail is not None,
                "reference": visit.night < self.settings.reference_nights,
            }
        )

    def _add_section(self, visit: Visit, scene: Scene, part: Delivered) -> None:
        ccd, (ny, nx) = part.ccd, part.ccd.shape
        projection = ccd.projection(visit.projection)
        ra, dec = projection.pixel_to_sky((nx - 1) / 2, (ny - 1) / 2)
        x, y = (np.array([c + (n - 1) / 2]) for c, n in zip(ccd.corner, (nx, ny), strict=True))
        left, right = ccd.amplifiers
        self.tables["sections"].append(
            {
                "exposure": visit.number,
                "section": ccd.section,
                "ra": float(ra),
                "dec": float(dec),
                "fwhm": float(scene.psf.widths(x, y)[0]),
                "sky": float(np.median(scene.sky[ccd.window])),
                "zero_point": visit.zero_point,
                "gain_a": left.gain,
                "gain_b": right.gain,
                "read_noise_a": left.read_noise,
                "read_noise_b": right.read_noise,
                "cosmic_rays": part.cosmic_rays,
                "cosmic_ray_pixels": part.cosmic_ray_pixels,
                "saturated_pixels": part.saturated_pixels,
                "wcs": json.dumps(projection.to_header()),
            }
        )

    def _add_moving(self, visit: Visit, scene: Scene) -> None:
        ra, dec = self.sky.moving.at(visit.conditions.mid_mjd)
        for k in range(len(ra)):
            section, x, y = self._place(scene.moving_x[k], scene.moving_y[k])
            if section:
                self.tables["moving_positions"].append(
                    {
                        "moving": k,
                        "exposure": visit.number,
                        "mjd": visit.conditions.mid_mjd,
                        "ra": float(ra[k]),
                        "dec": float(dec[k]),
                        "section": section,
                        "x": x,
                        "y": y,
                        "electrons": float(scene.moving_electrons[k]),
                    }
                )

    def _add_variables(self, visit: Visit) -> None:
        stars, mjd = self.sky.fixed.stars, visit.conditions.mid_mjd
        mag = self.sky.star_magnitudes(visit.band, mjd)
        for variable in self.sky.variables:
            place = stars.ra[variable.star], stars.dec[variable.star]
            at = visit.projection.sky_to_pixel(*place)
            section, x, y = self._place(float(at[0]), float(at[1]))
            self.tables["variable_curves"].append(
                {
                    "star": variable.star,
                    "exposure": visit.number,
                    "mjd": mjd,
                    "filter": visit.band,
                    "section": section,
                    "x": x,
                    "y": y,
                    "mag": float(mag[variable.star]),
                }
            )

    def _add_trail(self, visit: Visit, scene: Scene) -> None:
        trail = scene.trail
        assert trail is not None  # noqa: S101, the caller looked
        ra, dec = visit.projection.pixel_to_sky(trail.x[[0, -1]], trail.y[[0, -1]])
        x, y = trail.x, trail.y
        crossed = [ccd.section for ccd in self.camera if self._inside(ccd, x, y).any()]
        self.tables["trails"].append(
            {
                "exposure": visit.number,
                "ra_start": float(ra[0]),
                "dec_start": float(dec[0]),
                "ra_end": float(ra[1]),
                "dec_end": float(dec[1]),
                "light": trail.light,
                "sections": " ".join(crossed),
            }
        )

    def _add_transients(self, visit: Visit, scene: Scene, delivered: Sequence[Delivered]) -> None:
        half = int(np.ceil(3 * self.settings.fwhm[1]))
        by_section = {part.ccd.section: part for part in delivered}
        to_ujy = 10 ** (-0.4 * (visit.zero_point - AB_ZERO_POINT_UJY))
        for k in range(len(self.sky.transients)):
            section, x, y = self._place(scene.x[k], scene.y[k])
            sigma = np.nan
            if section:
                part = by_section[section]
                variance = _cut(part.variance, x, y, half)
                shape = scene.psf.centred(scene.x[k], scene.y[k], half)
                sigma = self._sigma(visit, k, shape, variance)
            flux = float(scene.electrons[k])
            self.tables["transient_curves"].append(
                {
                    "transient": k,
                    "exposure": visit.number,
                    "mjd": visit.conditions.mid_mjd,
                    "filter": visit.band,
                    "section": section,
                    "x": x,
                    "y": y,
                    "electrons": flux,
                    "electrons_err": sigma,
                    "flux": flux * to_ujy,
                    "flux_err": sigma * to_ujy,
                    "snr": flux / sigma,
                }
            )

    def _sigma(self, visit: Visit, k: int, psf: Floats, variance: Floats) -> float:
        """Error against the reference; where there is none yet, that of the image alone."""
        scale = 10 ** (0.4 * (self.settings.sky.zero_point - visit.zero_point))
        known = self._references.get(visit.band)
        if visit.night < self.settings.reference_nights:
            if known is None:
                shape = (len(self.sky.transients), *psf.shape)
                known = _Reference(np.zeros(shape), np.zeros(shape[0]), np.zeros(shape))
                self._references[visit.band] = known
            information = 1 / (variance * scale**2)
            known.information[k] += information
            known.weight[k] += information.mean()
            known.psf[k] += information.mean() * psf
            return flux_sigma(psf, psf, variance, None)
        if known is None or known.weight[k] == 0:
            return flux_sigma(psf, psf, variance, None)
        reference = 1 / (known.information[k] * scale**2)
        return flux_sigma(psf, known.psf[k] / known.weight[k], variance, reference)

    def _place(self, x: float, y: float) -> tuple[str, float, float]:
        """Section and its pixels; an empty name and NaN in a gap and outside."""
        for ccd in self.camera:
            if self._inside(ccd, np.array([x]), np.array([y]))[0]:
                return ccd.section, float(x) - ccd.corner[0], float(y) - ccd.corner[1]
        return "", np.nan, np.nan

    @staticmethod
    def _inside(ccd: Ccd, x: Floats, y: Floats) -> NDArray[np.bool_]:
        ny, nx = ccd.shape
        u, v = x - ccd.corner[0], y - ccd.corner[1]
        return (u > -0.5) & (u < nx - 0.5) & (v > -0.5) & (v < ny - 0.5)

    # ---------------------------------------------------------------- what does not change

    def _add_constant(self) -> None:
        self._add_stars()
        galaxies, scale = self.sky.fixed.galaxies, self.settings.pixel_scale
        bands = BANDS.items()
        self.tables["galaxies"] = [
            {
                "galaxy": k,
                "ra": float(galaxies.ra[k]),
                "dec": float(galaxies.dec[k]),
                **{f"mag_{n}": float(galaxies.mag[k] + b.slope * GALAXY_COLOUR) for n, b in bands},
                "radius": float(galaxies.radius[k] * scale),
                "index": float(galaxies.index[k]),
                "axis_ratio": float(galaxies.axis_ratio[k]),
                "angle": float(galaxies.angle[k]),
            }
            for k in range(len(galaxies))
        ]
        self._add_transient_list()
        moving = self.sky.moving
        self.tables["moving"] = [
            {
                "moving": k,
                "ra": float(moving.ra[k]),
                "dec": float(moving.dec[k]),
                "mjd": float(moving.mjd[k]),
                "east": float(moving.east[k]),
                "north": float(moving.north[k]),
                "mag": float(moving.mag[k]),
            }
            for k in range(len(moving.ra))
        ]
        for name in [name for name, rows in self.tables.items() if not rows]:
            del self.tables[name]

    def _add_stars(self) -> None:
        stars = self.sky.fixed.stars
        varies: dict[int, Variable] = {v.star: v for v in self.sky.variables}
        mags = {band: self.sky.star_magnitudes(band) for band in BANDS}
        self.tables["stars"] = [
            {
                "star": k,
                "ra": float(stars.ra[k]),
                "dec": float(stars.dec[k]),
                **{f"mag_{band}": float(mags[band][k]) for band in BANDS},
                "saturated": bool(stars.saturated[k]),
                "variable": varies[k].kind if k in varies else "",
                "model": varies[k].model_dump_json() if k in varies else "",
            }
            for k in range(len(stars))
        ]

    def _add_transient_list(self) -> None:
        new = self.sky.transients
        best = np.zeros(len(new))
        for row in self.tables["transient_curves"]:
            best[row["transient"]] = np.fmax(best[row["transient"]], row["snr"])
        self.tables["transients"] = [
            {
                "transient": k,
                "ra": float(new.ra[k]),
                "dec": float(new.dec[k]),
                "host": int(new.host[k]),
                "mag": float(new.mag[k]),
                "start_mjd": float(new.start[k]),
                "peak_mjd": float(new.start[k] + new.rise[k]),
                "best_snr": float(best[k]),
            }
            for k in range(len(new))
        ]


def _cut(plane: NDArray[np.float32], x: float, y: float, half: int) -> Floats:
    """Pixels around a place, as if the edge pixels went on outside."""
    rows = np.clip(np.arange(-half, half + 1) + round(y), 0, plane.shape[0] - 1)
    columns = np.clip(np.arange(-half, half + 1) + round(x), 0, plane.shape[1] - 1)
    return plane[np.ix_(rows, columns)].astype(np.float64)
