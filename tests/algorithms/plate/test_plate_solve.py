import numpy as np
import pytest
from star_fields import SHAPE, TYCHO2, a_place, optics, star_field, stars_near

from firstlight.algorithms.plate.plate_solve import (
    NotSolved,
    PlateSolution,
    Prior,
    SolveOptions,
    plate_solve,
    stars_from_arrays,
    verify_projection,
)
from firstlight.algorithms.plate.quads import build_quad_table
from firstlight.algorithms.sky.projection import Projection

PLACES = [(0.0, 0.0), (359.995, -30.0), (10.0, 90.0), (200.0, -89.9), (266.0, -29.0), (192.0, 27.0)]


@pytest.fixture(scope="module")
def bright_sky():
    """Index of the whole sky to magnitude 9.5: enough for fields of three degrees and more."""
    ra, dec, mag = TYCHO2.everything()
    bright = mag < 9.5
    return build_quad_table(ra[bright], dec[bright], mag[bright], area=41253, triples=(4, 4, 10))


def hint(truth, rng, *, off=0.3, radius=1.0, slack=0.1):
    """A pointing that is a little wrong."""
    scale = truth.pixel_scale
    dec = float(np.clip(truth.crval[1] + rng.uniform(-off, off), -90, 90))
    ra = truth.crval[0] + rng.uniform(-off, off) / max(np.cos(np.radians(dec)), 0.05)
    return Prior(ra, dec, radius, scale * (1 - slack), scale * (1 + slack))


def assert_right(field, answer, within=1.5):
    assert isinstance(answer, PlateSolution), answer
    assert field.error(answer.projection) < within
    x, y = answer.projection.sky_to_pixel(answer.star_ra, answer.star_dec)
    off = np.hypot(x - field.x[answer.detected], y - field.y[answer.detected])
    assert np.sqrt(np.mean(off**2)) == pytest.approx(answer.rms, rel=0.01)
    assert answer.rms < 1.0
    assert answer.n_matched == len(answer.star_mag) == len(set(answer.detected.tolist()))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("width", [1.5, 5.0, 15.0])
@pytest.mark.parametrize("mirrored", [True, False])
def test_hinted(place, width, mirrored):
    rng = np.random.default_rng(int(width * 10))
    field = star_field(rng, optics(rng, place, width, mirrored=mirrored))
    answer = plate_solve(*field.stars, stars_near, prior=hint(field.truth, rng))
    assert_right(field, answer)
    assert answer.how == "hinted"
    assert answer.projection.parity == (-1 if mirrored else 1)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("width", [4.0, 15.0])
def test_blind_without_any_knowledge(place, width, bright_sky):
    rng = np.random.default_rng(int(width))
    field = star_field(rng, optics(rng, place, width, mirrored=bool(width > 5)))
    answer = plate_solve(*field.stars, stars_near, index=bright_sky)
    assert_right(field, answer)
    assert answer.how == "blind"


def test_blind_all_over_the_sky(bright_sky):
    solved = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        truth = optics(rng, a_place(rng), 10 ** rng.uniform(0.55, 1.18), mirrored=bool(seed % 2))
        field = star_field(rng, truth, missing=0.3, false=0.5)
        answer = plate_solve(*field.stars, stars_near, index=bright_sky)
        if isinstance(answer, PlateSolution):
            assert_right(field, answer)
            solved += 1
    assert solved >= 39


def test_narrow_fields_are_solved_or_refused_never_wrong():
    solved = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        field = star_field(rng, optics(rng, a_place(rng), 0.6), missing=0.1, false=0.2)
        answer = plate_solve(*field.stars, stars_near, prior=hint(field.truth, rng))
        if isinstance(answer, PlateSolution):
            assert_right(field, answer, within=3.0)
            solved += 1
        else:
            assert answer.code in ("few_detections", "catalogue_too_shallow", "no_match")
    assert solved >= 16


@pytest.mark.parametrize(("missing", "false"), [(0.0, 0.0), (0.5, 0.5), (0.2, 2.0)])
def test_missing_and_false_stars(missing, false):
    for seed in range(8):
        rng = np.random.default_rng(seed)
        truth = optics(rng, a_place(rng), 2.5)
        field = star_field(rng, truth, missing=missing, false=false)
        assert_right(field, plate_solve(*field.stars, stars_near, prior=hint(truth, rng)))


@pytest.mark.parametrize("reach", [0.1, 3.0])
def test_a_catalogue_of_one_field_alone(reach):
    """Its stars end a third of a frame beyond the frame, deep within the cone that is asked for."""
    solved = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        truth = Projection((150.0, 2.2), (1535.5, 1023.5), np.diag([-0.25, 0.25]) / 3600)
        x = rng.uniform(-1000, 4000, 2000)
        y = rng.uniform(-700, 2700, 2000)
        mag = 15.0 + 6.0 * rng.uniform(size=2000) ** 0.4
        catalogue = stars_from_arrays(*truth.pixel_to_sky(x, y), mag + rng.normal(0, 0.05, 2000))
        seen = (x > 0) & (x < 3071) & (y > 0) & (y < 2047) & (rng.uniform(size=2000) > 0.1)
        detected = np.column_stack([x, y])[seen] + rng.normal(0, 0.05, (seen.sum(), 2))
        answer = plate_solve(
            *detected.T,
            10 ** (-0.4 * mag[seen]),
            (2048, 3072),
            catalogue,
            prior=Prior(150.001, 2.2005, reach, 0.2, 0.3),
        )
        if isinstance(answer, PlateSolution):
            middle = answer.projection.sky_to_pixel(150.0, 2.2)
            np.testing.assert_allclose(middle, (1535.5, 1023.5), atol=0.1)
            solved += 1
    assert solved == 20


def test_a_bright_nebula_in_one_corner():
    rng = np.random.default_rng(5)
    field = star_field(rng, optics(rng, (84.0, -5.0), 4.0))
    knots = rng.random((2, 200)) * 250
    x, y = np.append(field.x, knots[0]), np.append(field.y, knots[1])
    flux = np.append(field.flux, np.full(200, field.flux.max() * 10) * rng.random(200))
    answer = plate_solve(x, y, flux, SHAPE, stars_near, prior=hint(field.truth, rng))
    assert isinstance(answer, PlateSolution)
    assert field.error(answer.projection) < 1.5


@pytest.mark.parametrize("distortion", [0.01, -0.03])
def test_distortion_is_found_where_stars_allow(distortion):
    rng = np.random.default_rng(6)
    truth = optics(rng, (300.0, 40.0), 6.0, distortion=distortion)
    field = star_field(rng, truth)
    answer = plate_solve(*field.stars, stars_near, prior=hint(truth, rng))
    assert_right(field, answer)
    assert answer.projection.order >= 3
    assert "AP_ORDER" in answer.projection.to_header()


def test_unknown_scale_with_a_pointing():
    rng = np.random.default_rng(7)
    for width in (1.0, 4.0, 12.0):
        field = star_field(rng, optics(rng, (120.0, 10.0), width))
        answer = plate_solve(*field.stars, stars_near, prior=Prior(120.3, 10.2, 1.0))
        assert_right(field, answer)


def test_a_wrong_pointing_is_mended_by_the_index(bright_sky):
    rng = np.random.default_rng(8)
    field = star_field(rng, optics(rng, (120.0, 10.0), 6.0))
    wrong = Prior(200.0, -40.0, 1.0)
    refused = plate_solve(*field.stars, stars_near, prior=wrong)
    assert isinstance(refused, NotSolved)
    answer = plate_solve(*field.stars, stars_near, prior=wrong, index=bright_sky)
    assert_right(field, answer)
    assert answer.how == "blind"


def false_fields(kind, rng):
    ny, nx = SHAPE
    count = int(rng.integers(5, 300))
    x, y = rng.random(count) * nx, rng.random(count) * ny
    if kind == "clusters":
        which = rng.integers(0, 12, count)
        x, y = x[:12][which % len(x[:12])], y[:12][which % len(y[:12])]
        x, y = x + rng.normal(0, 30, count), y + rng.normal(0, 30, count)
    elif kind == "columns":
        x = rng.choice(x[:6], count)
    elif kind == "grid":
        x, y = (g.ravel() for g in np.meshgrid(np.arange(20.0, nx, 80), np.arange(20.0, ny, 80)))
    elif kind == "trail":
        t = np.linspace(0, 1, 40)
        x = np.append(x[:20], 100 + 800 * t)
        y = np.append(y[:20], 50 + 600 * t + rng.normal(0, 0.5, 40))
    elif kind == "scrambled":
        field = star_field(rng, optics(rng, a_place(rng), 4.0))
        x, y = field.x, rng.permutation(field.y)
    return x, y, rng.pareto(1.0, len(x)) + 1


@pytest.mark.parametrize("kind", ["random", "clusters", "columns", "grid", "trail", "scrambled"])
def test_what_is_no_sky_is_never_solved(kind, bright_sky):
    for seed in range(4):
        rng = np.random.default_rng(seed)
        x, y, flux = false_fields(kind, rng)
        answer = plate_solve(x, y, flux, SHAPE, stars_near, index=bright_sky)
        assert isinstance(answer, NotSolved)
        assert answer.best_log_odds < 8, "too near the threshold of 16"
        scale = 10 ** rng.uniform(0.4, 1.6)
        prior = Prior(*a_place(rng), 1.5, 0.9 * scale, 1.1 * scale)
        answer = plate_solve(x, y, flux, SHAPE, stars_near, prior=prior)
        assert isinstance(answer, NotSolved)
        assert answer.best_log_odds < 8


def test_a_wrong_scale_is_refused():
    for seed in range(8):
        rng = np.random.default_rng(seed)
        field = star_field(rng, optics(rng, a_place(rng), 3.0))
        scale = field.truth.pixel_scale
        prior = Prior(*field.truth.crval, 1.0, 1.3 * scale, 1.6 * scale)
        assert isinstance(plate_solve(*field.stars, stars_near, prior=prior), NotSolved)


def test_reasons(bright_sky):
    rng = np.random.default_rng(9)
    few = plate_solve([1, 200, 300], [4, 5, 600], [1, 1, 1], SHAPE, stars_near, index=bright_sky)
    assert (few.code, few.reason[:15]) == ("few_detections", "only 3 separate")
    field = star_field(rng, optics(rng, (120.0, 10.0), 4.0))
    assert plate_solve(*field.stars, stars_near).code == "no_index"
    narrow = Prior(75.4, -63.3, 0.5, 0.7, 0.8)
    x, y, flux = false_fields("random", rng)
    shallow = plate_solve(x, y, flux, SHAPE, stars_near, prior=narrow)
    assert shallow.code == "catalogue_too_shallow"
    assert "catalogue stars in the field, about" in shallow.reason
    empty = plate_solve(x, y, flux, SHAPE, stars_from_arrays([], [], []), prior=narrow)
    assert empty.code == "catalogue_too_shallow"


def test_detections_that_are_not_finite_are_left_out():
    rng = np.random.default_rng(10)
    field = star_field(rng, optics(rng, (120.0, 10.0), 4.0))
    x = np.append([np.nan, 5.0, np.inf], field.x)
    y = np.append([1.0, 5.0, 2.0], field.y)
    flux = np.append([1e9, np.nan, 1e9], field.flux)
    prior = hint(field.truth, rng)
    answer = plate_solve(x, y, flux, SHAPE, stars_near, prior=prior)
    plain = plate_solve(*field.stars, stars_near, prior=prior)
    assert np.array_equal(answer.detected, plain.detected + 3)


def test_a_threshold_out_of_reach_refuses():
    rng = np.random.default_rng(11)
    field = star_field(rng, optics(rng, (120.0, 10.0), 1.0))
    strict = SolveOptions(min_log_odds=1e6)
    answer = plate_solve(*field.stars, stars_near, prior=hint(field.truth, rng), options=strict)
    assert isinstance(answer, NotSolved)
    assert 16 < answer.best_log_odds < 1e6


def test_a_projection_from_elsewhere_is_verified():
    rng = np.random.default_rng(12)
    field = star_field(rng, optics(rng, (120.0, 10.0), 4.0))
    truth = field.truth
    near = Projection((120.005, 10.003), truth.crpix, truth.cd)
    answer = verify_projection(*field.stars, stars_near, projection=near)
    assert_right(field, answer)
    assert answer.how == "given"
    for wrong in (
        Projection((121.0, 10.0), truth.crpix, truth.cd),
        Projection(truth.crval, truth.crpix, -truth.cd),
        Projection(truth.crval, truth.crpix, truth.cd * 1.2),
    ):
        refused = verify_projection(*field.stars, stars_near, projection=wrong)
        assert isinstance(refused, NotSolved)
