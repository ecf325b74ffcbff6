import numpy as np
import pytest
from star_fields import SHAPE, StarField, optics

from firstlight.algorithms.plate.astrometry import (
    fit_projection,
    match_stars,
    polish_projection,
    refine_projection,
)
from firstlight.algorithms.sky.projection import Projection


def pairs(rng, truth, count, noise):
    ny, nx = SHAPE
    x, y = rng.random(count) * nx, rng.random(count) * ny
    ra, dec = truth.pixel_to_sky(x, y)
    return (
        StarField(truth, x + rng.normal(0, noise, count), y + rng.normal(0, noise, count), x),
        ra,
        dec,
    )


def nudged(truth, pixels):
    """The truth without its distortion, moved."""
    crpix = truth.crpix[0] + pixels, truth.crpix[1] - pixels
    moved = Projection(truth.crval, crpix, truth.cd)
    ra, dec = moved.pixel_to_sky(*truth.crpix)
    return Projection((float(ra), float(dec)), truth.crpix, truth.cd * 1.001)


@pytest.mark.parametrize("place", [(0.001, 0.0), (77.0, 89.99), (180.0, -45.0)])
@pytest.mark.parametrize("order", [1, 3])
def test_a_fit_without_noise_is_exact(place, order):
    rng = np.random.default_rng(1)
    truth = optics(rng, place, 3.0, distortion=0.01 if order == 3 else 0.0)
    field, ra, dec = pairs(rng, truth, 60, 0.0)
    found = fit_projection(field.x, field.y, ra, dec, nudged(truth, 20.0), order)
    assert field.error(found) < 1e-6
    assert found.crpix == truth.crpix
    assert found.order == order


def test_wrong_pairs_do_not_pull():
    rng = np.random.default_rng(2)
    truth = optics(rng, (10.0, 20.0), 1.0)
    field, ra, dec = pairs(rng, truth, 60, 0.1)
    field.x[:9] += rng.uniform(3, 10, 9)
    plain = fit_projection(field.x[9:], field.y[9:], ra[9:], dec[9:], truth, 1)
    robust = fit_projection(field.x, field.y, ra, dec, truth, 1)
    assert field.error(robust) < field.error(plain) + 0.1


def test_matches_are_mutual_and_within_reach():
    x, y = np.array([10.0, 11.0, 50.0]), np.array([10.0, 10.0, 50.0])
    px, py = np.array([10.2, np.nan, 80.0, 10.4]), np.array([10.0, 5.0, 80.0, 10.0])
    detected, predicted = match_stars(x, y, px, py, 2.0)
    assert detected.tolist() == [0]
    assert predicted.tolist() == [0]
    none = match_stars(x, y, np.full(2, np.nan), np.full(2, np.nan), 2.0)
    assert len(none[0]) == len(none[1]) == 0


@pytest.mark.parametrize("distortion", [0.0, 0.004, -0.02])
@pytest.mark.parametrize("count", [30, 200])
def test_the_order_is_what_the_stars_support(distortion, count):
    orders, errors = [], []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        truth = optics(rng, (50.0, -30.0), 4.0, distortion=distortion)
        field, ra, dec = pairs(rng, truth, count, 0.15)
        fit = refine_projection(
            (field.x, field.y), (ra, dec), SHAPE, nudged(truth, 1.0), radius=20.0, max_order=5
        )
        orders.append(fit.projection.order)
        errors.append(field.error(fit.projection))
        assert fit.noise == pytest.approx(0.15, rel=0.5)
    if distortion == 0.0:
        assert orders.count(1) >= 5
        assert np.median(errors) < 0.25
    else:
        assert set(orders) <= {3, 4, 5}
        assert np.median(errors) < (1.0 if count == 30 else 0.3)


def test_few_stars_never_get_a_distortion():
    rng = np.random.default_rng(3)
    truth = optics(rng, (50.0, -30.0), 4.0, distortion=0.004)
    field, ra, dec = pairs(rng, truth, 12, 0.2)
    fit = refine_projection(
        (field.x, field.y), (ra, dec), SHAPE, nudged(truth, 0.0), radius=20.0, max_order=5
    )
    assert fit.projection.order == 1
    assert fit.parameters == 6


def test_nothing_to_match_is_none():
    rng = np.random.default_rng(4)
    truth = optics(rng, (50.0, -30.0), 4.0)
    field, ra, dec = pairs(rng, truth, 20, 0.0)
    far = Projection((200.0, 10.0), truth.crpix, truth.cd)
    assert refine_projection((field.x, field.y), (ra, dec), SHAPE, far, radius=5.0) is None


def uneven_field(seed, count=400, distortion=0.004):
    """Detections whose errors span a factor of fifty, a tenth of them blended and so misplaced."""
    rng = np.random.default_rng(seed)
    truth = optics(rng, (50.0, -30.0), 1.0, distortion=distortion)
    field, ra, dec = pairs(rng, truth, count, 0.0)
    errors = 10 ** rng.uniform(-2.5, -0.8, count)
    field.x[:] += rng.normal(0, 1, count) * errors
    field.y[:] += rng.normal(0, 1, count) * errors
    field.x[::10] += rng.normal(0, 0.5, len(field.x[::10]))
    return truth, field, ra, dec, errors


@pytest.mark.parametrize("seed", [5, 6, 7])
def test_polishing_uses_the_errors_to_the_full(seed):
    truth, field, ra, dec, errors = uneven_field(seed)
    places = field.x, field.y
    start = refine_projection(places, (ra, dec), SHAPE, truth, radius=3.0, max_order=5)
    fit = polish_projection(places, errors, (ra, dec), SHAPE, start.projection)
    x, y = truth.sky_to_pixel(ra, dec)

    def off(projection):
        found = projection.sky_to_pixel(ra, dec)
        return float(np.sqrt(np.mean((found[0] - x) ** 2 + (found[1] - y) ** 2)))

    # Ten coefficients an axis, from the sum of all weights: what no fit can be better than.
    least = np.sqrt(2 * 10 / np.sum(1 / errors**2))
    assert off(fit.projection) < 2.0 * least
    assert off(fit.projection) < off(start.projection)
    assert fit.projection.order == 3
    assert np.all(field.x[fit.detected] >= 0)
    np.testing.assert_allclose(
        fit.residual_x,
        field.x[fit.detected]
        - fit.projection.sky_to_pixel(ra[fit.reference], dec[fit.reference])[0],
    )


def test_polishing_adds_no_distortion_that_is_not_there():
    for seed in range(4):
        truth, field, ra, dec, errors = uneven_field(seed, count=120, distortion=0.0)
        fit = polish_projection((field.x, field.y), errors, (ra, dec), SHAPE, truth)
        assert fit.projection.order == 1


def test_polishing_leaves_out_what_has_no_error_and_gives_up_on_nothing():
    truth, field, ra, dec, errors = uneven_field(8)
    errors[:5] = np.nan
    fit = polish_projection((field.x, field.y), errors, (ra, dec), SHAPE, truth)
    assert fit.detected.min() >= 5
    places = field.x[10:14], field.y[10:14]
    assert polish_projection(places, errors[10:14], (ra, dec), SHAPE, truth) is None
