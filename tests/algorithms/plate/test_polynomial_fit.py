"""The order of a distortion is what the stars bear out, up to the corners of the frame."""

import numpy as np
import pytest
from star_fields import SHAPE, optics

from firstlight.algorithms.plate.astrometry import polish_projection, refine_projection
from firstlight.algorithms.plate.polynomial_fit import Places, choose_order, fit_polynomial

CRPIX = (SHAPE[1] - 1) / 2, (SHAPE[0] - 1) / 2


def a_plane(x, y, cubic):
    """Pixels of an ideal plane; `cubic` pixels of radial distortion in the corners."""
    u, v = x - CRPIX[0], y - CRPIX[1]
    stretch = 1 + cubic * (u**2 + v**2) / np.hypot(*CRPIX) ** 3
    return np.column_stack([u * stretch, v * stretch])


def scattered(rng, count, noise, cubic=0.0, width=1.0):
    """Places over the left `width` of the frame, and the plane they were measured to show."""
    x, y = rng.random(count) * (SHAPE[1] - 1) * width, rng.random(count) * (SHAPE[0] - 1)
    return Places.around(x, y, CRPIX), a_plane(x, y, cubic) + rng.normal(0, noise, (count, 2))


def grid_error(places, fit, order, cubic):
    grid = places.grid(SHAPE)
    x, y = grid.u * grid.size + CRPIX[0], grid.v * grid.size + CRPIX[1]
    return np.hypot(*(grid.design(order) @ fit.coefficients - a_plane(x, y, cubic)).T)


def chosen(places, plane, errors=None, orders=(1, 2, 3, 4, 5)):
    return orders[choose_order(places, plane, orders, errors, places.grid(SHAPE))]


def test_a_wrong_star_in_the_corner_does_not_take_the_fit_along():
    for seed in range(6):
        rng = np.random.default_rng(seed)
        places, plane = scattered(rng, 80, 0.02, cubic=2.0)
        corner = np.argmax(np.hypot(places.u, places.v))
        clean = grid_error(places, fit_polynomial(places, plane, 3), 3, 2.0)
        plane[corner] += 1.5
        fit = fit_polynomial(places, plane, 3)
        assert grid_error(places, fit, 3, 2.0).max() < clean.max() + 0.15
        assert fit.weight[corner] < 0.1 * np.median(fit.weight)


def test_left_out_is_what_a_fit_without_the_star_says():
    rng = np.random.default_rng(1)
    places, plane = scattered(rng, 40, 0.1)
    fit = fit_polynomial(places, plane, 2)
    others, design = np.arange(40) != 7, places.design(2)
    least = np.linalg.lstsq(
        (design * fit.weight[:, np.newaxis])[others],
        (plane * fit.weight[:, np.newaxis])[others],
        rcond=None,
    )[0]
    assert fit.left_out[7] == pytest.approx(np.hypot(*(plane[7] - design[7] @ least)))
    assert fit.studentised[7] < fit.left_out[7]


def test_places_on_a_line_are_fitted_by_the_smallest_coefficients():
    rng = np.random.default_rng(7)
    x = rng.random(50) * SHAPE[1]
    places = Places.around(x, 0.5 * x, CRPIX)
    plane = np.column_stack([3.0 * places.u, places.v]) + rng.normal(0, 0.01, (50, 2))
    fit = fit_polynomial(places, plane, 2)
    column = fit.weight[:, np.newaxis]
    least = np.linalg.lstsq(places.design(2) * column, plane * column, rcond=None)[0]
    np.testing.assert_allclose(fit.coefficients, least, rtol=1e-6, atol=1e-9)


def test_the_scatter_beyond_known_errors_is_found():
    rng = np.random.default_rng(8)
    places, plane = scattered(rng, 2000, 0.0)
    errors = 10 ** rng.uniform(-2, 0, 2000)
    plane += np.hypot(errors, 0.03)[:, np.newaxis] * rng.standard_normal(plane.shape)
    fit = fit_polynomial(places, plane, 1, errors)
    # A Cauchy weight of a star at zero distance is one over its error with what was added.
    least = 1.0 / fit.weight[errors < 0.012].max()
    assert least == pytest.approx(0.03, rel=0.25)


def test_the_variance_of_a_fit_is_that_of_many_fits():
    rng = np.random.default_rng(2)
    places, plane = scattered(rng, 60, 0.0)
    grid = places.grid(SHAPE).design(3)
    fits = [fit_polynomial(places, plane + rng.normal(0, 0.1, plane.shape), 3) for _ in range(60)]
    true = np.mean(np.var([grid @ fit.coefficients for fit in fits], axis=0))
    assert np.median([fit.variance(grid).mean() for fit in fits]) == pytest.approx(true, rel=0.4)


@pytest.mark.parametrize(("count", "noise"), [(70, 0.1), (300, 0.1), (300, 0.02)])
def test_no_order_beyond_the_truth(count, noise):
    orders = [chosen(*scattered(np.random.default_rng(s), count, noise, 2.0)) for s in range(6)]
    assert set(orders) == {3}


def test_the_highest_order_where_thousands_of_stars_ask_for_it():
    rng = np.random.default_rng(3)
    places, plane = scattered(rng, 3000, 0.05, 5.0)
    plane[:, 0] += 3.0 * places.u**4 * places.v
    assert chosen(places, plane) == 5


def test_no_high_order_where_part_of_the_frame_has_no_stars():
    """What the left shows beyond doubt says nothing of the far right."""
    rng = np.random.default_rng(4)
    places, plane = scattered(rng, 2000, 0.02, 5.0, width=0.5)
    plane[:, 0] += 3.0 * places.u**4 * places.v
    assert chosen(places, plane, orders=(1, 2, 3, 5)) <= 3
    whole, plane = scattered(rng, 2000, 0.02, 5.0)
    plane[:, 0] += 3.0 * whole.u**4 * whole.v
    assert chosen(whole, plane, orders=(1, 2, 3, 5)) == 5


def sparse_section(seed):
    """Seventy stars of a section, and five that its borders cut and so moved by a pixel or two."""
    rng = np.random.default_rng(seed)
    truth = optics(rng, (150.0, 2.0), 0.07, distortion=0.003)
    x, y = rng.random(75) * (SHAPE[1] - 1), rng.random(75) * (SHAPE[0] - 1)
    x[:3], y[3:5] = 1.0, SHAPE[0] - 2.0
    ra, dec = truth.pixel_to_sky(x, y)
    errors = 10 ** rng.uniform(-2.5, -1.1, 75)
    x, y = (each + errors * rng.standard_normal(75) for each in (x, y))
    x[:3] += rng.uniform(0.5, 2.0, 3)
    y[3:5] -= rng.uniform(0.5, 2.0, 2)
    return truth, (x, y), (ra, dec), errors


def test_stars_cut_by_the_border_ask_for_no_order_of_their_own():
    orders, worst = [], []
    for seed in range(8):
        truth, places, stars, errors = sparse_section(seed)
        start = refine_projection(places, stars, SHAPE, truth, radius=3.0, max_order=5)
        fit = polish_projection(places, errors, stars, SHAPE, start.projection)
        x, y = np.meshgrid(np.linspace(0, SHAPE[1] - 1, 9), np.linspace(0, SHAPE[0] - 1, 9))
        sky = truth.pixel_to_sky(x, y)
        for each in (start.projection, fit.projection):
            px, py = each.sky_to_pixel(*sky)
            worst.append(np.hypot(px - x, py - y).max())
            orders.append(each.order)
    assert set(orders) <= {2, 3}
    assert max(worst) < 0.5
    assert np.median(worst) < 0.15
