"""A simulated night taken through the real recipe, with no database, beside its truth."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from firstlight.catalogs.tycho2 import Tycho2
from firstlight.models.data_root import configure_data_roots
from firstlight.models.exposure import Exposure
from firstlight.models.image import Image
from firstlight.pipeline.make_master import make_master
from firstlight.pipeline.reduced_frame import ReducedFrame
from firstlight.pipeline.settings import RecipeSettings
from firstlight.pipeline.solve_light_curves import SolvedLightCurves, solve_light_curves
from firstlight.pipeline.standard import standard_recipe
from firstlight.pipeline.star_field import StarField, measure_star_field
from firstlight.pipeline.step import Calibrations, Workpiece
from firstlight.services.settings import LightCurveSettings
from firstlight.simulation import NightSettings, Truth, simulate_night

SECTIONS = ("A", "B")
BEFORE = {"bias": (), "dark": ("bias",), "flat": ("bias", "dark")}
ALONE = 12.0  # pixels
MOST_FROM_OTHERS = 0.003


@dataclass(frozen=True)
class Reduced:
    """All products of a night; `pieces` by exposure number and section."""

    truth: Truth
    pieces: dict[tuple[int, str], Workpiece]
    fields: dict[str, StarField]
    curves: dict[str, SolvedLightCurves]


class ErringCatalog(Tycho2):
    """Tycho-2 with the errors that it says it has, drawn anew with each question.

    The simulated stars are as bright as the catalogue says, which no real star is.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._random = np.random.default_rng(seed)

    def cone(self, ra, dec, radius, *, epoch=2000.0, faintest=None):
        stars = super().cone(ra, dec, radius, epoch=epoch, faintest=faintest)
        error = np.nan_to_num(stars.mag_err)
        return replace(stars, mag=stars.mag + error * self._random.standard_normal(len(error)))


def make_masters(exposures: list[Exposure], section: str) -> dict[str, Image]:
    """Master bias, dark and flat of a section, by role."""
    masters: dict[str, Image] = {}
    for role, before in BEFORE.items():
        raw = [exposure for exposure in exposures if exposure.kind == role]
        masters[role] = make_master(role, section, raw, {each: masters[each] for each in before})
        masters[role].id = uuid.uuid5(uuid.NAMESPACE_OID, f"{role} {section}")
    return masters


def reduce_night(settings: NightSettings, folder: Path) -> Reduced:
    """Simulate a night and reduce all of it."""
    truth = simulate_night(settings, folder)
    configure_data_roots(folder)
    exposures = sorted((Exposure(path.name) for path in folder.glob("*.fits")), key=_time)
    science = [exposure for exposure in exposures if exposure.kind == "science"]
    catalog = Tycho2()
    recipe = standard_recipe(RecipeSettings(), astrometry=catalog, photometry=catalog, quads=None)
    pieces, fields, curves = {}, {}, {}
    for section in SECTIONS:
        calibrations = Calibrations(make_masters(exposures, section))
        for number, exposure in enumerate(science):
            piece = Workpiece(exposure, section, calibrations)
            failed = [each.error for each in recipe.run(piece, {}) if each.product is None]
            assert not failed, failed
            pieces[number, section] = piece
            exposure.data.clear_cache()
        fields[section] = star_field([pieces[n, section] for n in range(len(science))])
        curves[section] = solve_light_curves(fields[section])
    return Reduced(truth, pieces, fields, curves)


def star_field(pieces: list[Workpiece]) -> StarField:
    """Measure the stars of one section in all of its frames."""
    wanted = LightCurveSettings()
    frames = [ReducedFrame(p.exposure, p.image, p.sources, p.wcs, p.zero_point) for p in pieces]
    return measure_star_field(
        frames,
        match_radius_fwhm=wanted.match_radius_fwhm,
        min_coverage=wanted.min_coverage,
        min_exposures=wanted.min_exposures,
        aperture_fwhm=wanted.aperture_fwhm,
    )


def isolated_stars(night: Reduced, number: int, section: str) -> dict[str, np.ndarray]:
    """Measured and true values of unflagged stars with nobody near, as columns."""
    truth, table = night.truth, night.pieces[number, section].sources.table
    x, y = truth.positions(number, section)
    light = truth.electrons(number, section)
    there = np.flatnonzero(truth.inside(number, section, margin=-5))
    tree = cKDTree(np.column_stack([x, y])[there])
    places = np.column_stack([table["x"], table["y"]])
    apart, nearest = tree.query(places)
    star = there[nearest]
    around = np.array([light[there[near]].sum() for near in tree.query_ball_point(places, ALONE)])
    alone = around - light[star] < MOST_FROM_OTHERS * light[star]
    unflagged = (np.asarray(table["flags"]) == 0) & (np.asarray(table["flux_flags"])[:, 3] == 0)
    kept = alone & (apart < 1.5) & unflagged & np.isfinite(table["total_flux"])
    found = {name: np.asarray(table[name])[kept] for name in ("x", "y", "x_err", "y_err")}
    flux, error = (np.asarray(table[name])[kept] for name in ("total_flux", "total_flux_err"))
    star = star[kept]
    found |= {"flux": flux, "flux_err": error, "snr": flux / error}
    return found | {"true_x": x[star], "true_y": y[star], "true_flux": light[star]}


def named_stars(night: Reduced, section: str) -> np.ndarray:
    """Number in the truth of each star of a field: the brightest within eight arcseconds."""
    stars, place = night.truth.stars, night.fields[section].place
    shrink = np.cos(np.radians(night.truth.settings.dec))
    tree = cKDTree(np.column_stack([stars.ra * shrink, stars.dec]))
    near = tree.query_ball_point(place * (shrink, 1.0), 8.0 / 3600.0)
    return np.array([min(each, key=lambda i: stars.magnitude[i], default=-1) for each in near])


def _time(exposure: Exposure) -> float:
    return exposure.mjd or 0.0
