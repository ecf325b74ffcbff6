"""Plate solving as a step: hinted, by another program, and the reasons when it is not done."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from in_memory import GivenCatalog, make_exposure, make_image, make_sources

from firstlight.algorithms.flags import Flag
from firstlight.algorithms.plate.plate_solve import Prior
from firstlight.algorithms.plate.quads import build_quad_table
from firstlight.algorithms.sky.projection import Projection
from firstlight.formats.solve_field import SolveField
from firstlight.pipeline.settings import RecipeSettings, SolveAstrometrySettings
from firstlight.pipeline.standard import standard_recipe
from firstlight.pipeline.step import Workpiece
from firstlight.pipeline.steps.solve_astrometry import NotSolvedError, SolveAstrometry

SCALE = 5.0
TRUTH = Projection((40.0, 30.0), (255.5, 255.5), SCALE / 3600 * np.array([[-1.0, 0.02], [0.02, 1]]))
ELSEWHERE = Projection((80.0, -10.0), (255.5, 255.5), TRUTH.cd)


@pytest.fixture(scope="module")
def sky():
    random = np.random.default_rng(2)
    ra, dec = 40 + random.uniform(-1, 1, 300), 30 + random.uniform(-1, 1, 300)
    return GivenCatalog(ra, dec, random.uniform(6, 12, 300))


def piece(sky, *, ra=40.05, dec=30.02, scale=SCALE, side=512):
    """What the other steps would make of a frame at TRUTH whose header says `ra` and `dec`."""
    random = np.random.default_rng(3)
    x, y = TRUTH.sky_to_pixel(sky.ra, sky.dec)
    seen = (x > 0) & (x < 511) & (y > 0) & (y < 511)
    flux = 10 ** (0.4 * (20 - sky.mag[seen]))
    x, y = (each[seen] + 0.05 * random.standard_normal(seen.sum()) for each in (x, y))
    made = Workpiece(make_exposure(np.zeros((4, 4), np.uint16)), "A")
    made.image = make_image(np.zeros((side, side)), pixel_scale=scale, ra=ra, dec=dec)
    made.sources = make_sources(x, y, flux, flux / 100)
    return made


class Proposing:
    """Another program that always has an answer."""

    installed = True

    def __init__(self, answer):
        self.answer, self.asked = answer, []

    def solve(self, x, y, flux, shape, prior=None):
        self.asked.append(prior)
        return self.answer


def step(sky, other=None, **settings):
    wanted = SolveAstrometrySettings(**settings)
    return SolveAstrometry(wanted, catalog=sky, quads=None, other=other)


def test_a_good_pointing_is_enough(sky):
    other = Proposing(TRUTH)
    made = step(sky, other).run(piece(sky))
    assert made.method == "hinted"
    assert made.rms_pixels < 0.15
    assert (made.ra, made.dec) == pytest.approx((40.0, 30.0), abs=0.001)
    assert other.asked == []


def uneven(sky):
    """A piece whose sources err by very different amounts, and know it."""
    made = piece(sky)
    random, table = np.random.default_rng(5), made.sources.table
    x, y = TRUTH.sky_to_pixel(sky.ra, sky.dec)
    seen = (x > 0) & (x < 511) & (y > 0) & (y < 511)
    errors = 10 ** random.uniform(-2.5, -0.5, seen.sum())
    for name, true in (("x", x[seen]), ("y", y[seen])):
        table[name][:] = true + errors * random.standard_normal(seen.sum())
        table[f"{name}_err"][:] = errors
    return made


def worst_place(made):
    x, y = np.meshgrid(np.linspace(0, 511, 5), np.linspace(0, 511, 5))
    px, py = made.projection.sky_to_pixel(*TRUTH.pixel_to_sky(x, y))
    return np.hypot(px - x, py - y).max()


def test_each_star_counts_by_its_error(sky):
    known, alike, cut = uneven(sky), uneven(sky), uneven(sky)
    for name in ("x_err", "y_err"):
        alike.sources.table[name][:] = np.median(known.sources.table[name])
    table = cut.sources.table
    clipped = np.argsort(table["x_err"])[:10]
    table["x"][clipped] += 0.4
    table["flags"][clipped] |= np.uint16(Flag.SATURATED)
    made = step(sky).run(known)
    assert known.notes["polished_by"] > 30
    assert 0.05 < made.rms_pixels < 0.3
    assert worst_place(made) < 0.02
    assert worst_place(made) < 0.7 * worst_place(step(sky).run(alike))
    without = step(sky).run(cut)
    assert cut.notes["polished_by"] <= known.notes["polished_by"] - 10
    assert worst_place(without) < 0.03


def test_with_few_clean_stars_the_first_answer_stays(sky):
    few = piece(sky)
    few.sources.table["flags"][15:] |= np.uint16(Flag.EDGE)
    made = step(sky).run(few)
    assert few.notes["polished_by"] == 0
    assert made.n_matched > 15


def test_another_program_is_asked_when_all_else_failed(sky):
    other = Proposing(TRUTH)
    lost = piece(sky, ra=None, dec=None)
    made = step(sky, other).run(lost)
    assert made.method == "solve-field"
    assert made.n_matched > 10
    assert lost.notes["how"] == "solve-field"
    assert isinstance(other.asked[0], Prior)


def test_what_the_catalogue_does_not_confirm_is_not_accepted(sky):
    with pytest.raises(NotSolvedError, match="not confirmed by the catalogue"):
        step(sky, Proposing(ELSEWHERE)).run(piece(sky, ra=None, dec=None))


def test_no_answer_from_the_other_program_is_told(sky):
    with pytest.raises(NotSolvedError, match="found nothing either"):
        step(sky, Proposing(None)).run(piece(sky, ra=None, dec=None))


def test_it_is_not_asked_where_it_is_missing_or_switched_off(sky):
    missing, unwanted = Proposing(TRUTH), Proposing(TRUTH)
    missing.installed = False
    for solver in (step(sky, missing), step(sky, unwanted, solve_field=False), step(sky)):
        with pytest.raises(NotSolvedError):
            solver.run(piece(sky, ra=None, dec=None))
    assert missing.asked == unwanted.asked == []


def test_a_real_program_is_run_and_its_answer_verified(sky, tmp_path):
    program = tmp_path / "solve-field"
    cards = json.dumps(TRUTH.to_header())
    program.write_text(
        f"#!{sys.executable}\n"
        "import json, sys\nfrom astropy.io import fits\n"
        f"header = fits.Header(json.loads({cards!r}))\n"
        "fits.PrimaryHDU(header=header).writeto(sys.argv[sys.argv.index('--wcs') + 1])\n"
    )
    program.chmod(0o755)
    made = step(sky, SolveField(str(program), timeout=30.0)).run(piece(sky, ra=None, dec=None))
    assert made.method == "solve-field"


def test_the_standard_recipe_knows_the_other_program(sky):
    recipe = standard_recipe(RecipeSettings(), astrometry=sky, photometry=sky, quads=None)
    solver = next(each for each in recipe.steps if each.name == "solve_astrometry")
    assert isinstance(solver._other, SolveField)


def test_a_blind_search_in_vain_is_told_of(sky):
    random = np.random.default_rng(5)
    ra, dec = 200 + random.uniform(-5, 5, 300), random.uniform(-5, 5, 300)
    index = build_quad_table(ra, dec, random.uniform(5, 9, 300), area=100.0)
    solver = SolveAstrometry(SolveAstrometrySettings(), catalog=sky, quads=lambda: index)
    with pytest.raises(NotSolvedError, match="proposals is supported") as told:
        solver.run(piece(sky, ra=None, dec=None, scale=20.0))
    assert "no index" not in str(told.value)


def test_a_field_too_small_for_the_catalogue_is_said_so_at_once(sky):
    def index():
        pytest.fail("a blind search would be in vain")

    solver = SolveAstrometry(SolveAstrometrySettings(), catalog=sky, quads=index)
    with pytest.raises(NotSolvedError) as told:
        solver.run(piece(sky, ra=None, dec=None, scale=0.745))
    assert "no pointing" in str(told.value)
    assert "0.13 degrees" in str(told.value)
    assert "given" in str(told.value)


def test_a_catalogue_with_too_few_stars_at_the_pointing_is_said_so(sky):
    few = GivenCatalog(sky.ra[:30], sky.dec[:30], sky.mag[:30])
    with pytest.raises(NotSolvedError, match="catalogue stars in the field"):
        step(few).run(piece(sky))
