"""The curve of growth against profiles whose light is known."""

from __future__ import annotations

import numpy as np
import pytest

from firstlight.algorithms.photometry.growth_curve import growth_curve, uncrowded, undisturbed
from firstlight.algorithms.sources.aperture import aperture_fluxes

RADII = 2.8 * np.array([0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0])
NOISE = 15.0
SIDE = 760


def draw(image, x, y, flux, width, beta):
    """Add one Moffat star, summed over a fine grid in each pixel, out to fifty pixels."""
    core = width / (2 * np.sqrt(2 ** (1 / beta) - 1))
    j0, i0 = int(y) - 50, int(x) - 50
    fine = (np.arange(101 * 3) - 1) / 3
    r2 = (fine[:, None] + j0 - y) ** 2 + (fine[None, :] + i0 - x) ** 2
    light = (beta - 1) / (np.pi * core**2) * (1 + r2 / core**2) ** -beta / 9
    pixels = light.reshape(101, 3, 101, 3).sum(axis=(1, 3))
    image[j0 : j0 + 101, i0 : i0 + 101] += flux * pixels


def field(beta, *, blur=0.0, seed=1, noise=NOISE):
    """Forty-nine stars; those in the corner are wider by `blur`."""
    random = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(np.arange(7) * 105 + 65.0, np.arange(7) * 105 + 65.0))
    x, y = grid.reshape(2, -1) + random.uniform(-0.5, 0.5, (2, 49))
    flux = 10 ** random.uniform(4.5, 5.5, 49)
    image = np.zeros((SIDE, SIDE))
    for star in zip(x, y, flux, strict=True):
        width = 2.6 * (1 + blur * np.hypot(star[0], star[1]) ** 2 / (2 * SIDE**2))
        draw(image, *star, width, beta)
    variance = image + NOISE**2
    data = image + noise / NOISE * np.sqrt(variance) * random.standard_normal(image.shape)
    found = aperture_fluxes(
        data.astype(np.float32), x, y, RADII, variance=variance.astype(np.float32)
    )
    return found, x, y, flux


@pytest.mark.parametrize(("beta", "tolerance"), [(2.5, 0.004), (3.5, 0.002), (4.765, 0.002)])
def test_all_the_light_is_found_from_any_circle(beta, tolerance):
    found, x, y, flux = field(beta)
    growth = growth_curve(found, x, y)
    factor, _ = growth.at(x, y)
    total = np.average(found.flux * factor / flux[:, None], axis=0, weights=flux)
    np.testing.assert_allclose(total, 1.0, atol=tolerance)
    core = 1.3 / np.sqrt(2 ** (1 / beta) - 1)
    beyond = (1 + (RADII[-1] / core) ** 2) ** (1 - beta)
    assert abs(growth.beyond - beyond) < 2 * growth.beyond_err + 0.0007


def test_corrections_follow_stars_that_grow_over_the_image():
    found, x, y, flux = field(3.5, blur=0.25, noise=0.01)
    growth = growth_curve(found, x, y)
    assert len(growth.terms) == 6
    factor, _ = growth.at(x, y)
    spread = np.std(found.flux[:, 3] * factor[:, 3] / flux)
    assert spread < 0.2 * np.std(found.flux[:, 3] / flux)
    assert spread < 0.002


def test_one_curve_serves_where_stars_do_not_change():
    found, x, y, _ = field(3.5)
    assert len(growth_curve(found, x, y).terms) == 1


def test_errors_are_honest():
    pulls = []
    for seed in range(4):
        found, x, y, flux = field(3.5, blur=0.2, seed=seed)
        factor, doubt = growth_curve(found, x, y).at(x, y)
        noise = np.hypot(found.error[:, 3] / found.flux[:, 3], doubt[:, 3])
        pulls.append((found.flux[:, 3] * factor[:, 3] / flux - 1) / noise)
    assert np.std(np.concatenate(pulls)) == pytest.approx(1.0, abs=0.15)


def test_a_few_stars_with_neighbours_do_not_matter():
    found, x, y, flux = field(3.5)
    quiet = growth_curve(found, x, y)
    disturbed = found.flux.copy()
    disturbed[:8, -2:] += 0.05 * flux[:8, None]
    spoiled = growth_curve(
        type(found)(
            found.radii, disturbed, found.error, found.flags, found.masked, found.sky,
            found.sky_error,
        ),
        x,
        y,
    )  # fmt: skip
    np.testing.assert_allclose(spoiled.factor, quiet.factor, rtol=0.002)


def test_without_stars_nothing_is_corrected():
    found = aperture_fluxes(np.zeros((30, 30), dtype=np.float32), 15, 15, [1, 2], variance=1.0)
    growth = growth_curve(found, np.array([15.0]), np.array([15.0]))
    factor, doubt = growth.at(np.array([3.0, 20.0]), np.array([3.0, 20.0]))
    assert growth.stars == 0
    assert (factor == 1).all()
    assert (doubt == 0).all()
    np.testing.assert_array_equal(growth.factor, [1, 1])


def test_one_star_is_enough_for_a_curve():
    found, x, y, _ = field(3.5)
    only = np.arange(len(x)) == 5
    growth = growth_curve(found, x, y, only)
    assert growth.stars == 1
    assert np.isfinite(growth.factor).all()


def test_companions_that_are_no_peaks_are_noticed():
    random = np.random.default_rng(4)
    x, y = np.stack(np.meshgrid(np.arange(6) * 60.0 + 60, np.arange(6) * 60.0 + 60)).reshape(2, -1)
    x, y = x + random.uniform(-0.5, 0.5, 36), y + random.uniform(-0.5, 0.5, 36)
    flux = np.full(36, 8e4)
    image = np.zeros((440, 440))
    for star in zip(x, y, flux, strict=True):
        draw(image, *star, 2.6, 3.5)
    for n in range(12):
        turn = random.uniform(0, 2 * np.pi)
        draw(image, x[n] + 5.5 * np.cos(turn), y[n] + 5.5 * np.sin(turn), 3000.0, 2.6, 3.5)
    variance = image + NOISE**2
    image += 50.0 + np.sqrt(variance) * random.standard_normal(image.shape)
    quiet = undisturbed((image, variance), x, y, flux, np.full(36, 50.0), (4.2, 8.4))
    assert not quiet[:12].any()
    assert quiet[12:].sum() >= 21


def test_stars_at_the_edge_cannot_be_vouched_for():
    flat = np.ones((50, 50))
    x = y = np.array([3.0, 25.0, np.nan])
    quiet = undisturbed((flat, flat), x, y, np.full(3, 100.0), np.ones(3), (2.0, 6.0))
    np.testing.assert_array_equal(quiet, [False, True, False])


def test_uncrowded_counts_the_light_of_all_neighbours():
    x = np.array([10.0, 14.0, 10.0, 50.0, np.nan])
    y = np.array([10.0, 10.0, 13.0, 50.0, 10.0])
    flux = np.array([1000.0, 6.0, 6.0, 1.0, 1000.0])
    np.testing.assert_array_equal(
        uncrowded(x, y, flux, 5.0, 0.01), [False, False, False, True, False]
    )
    np.testing.assert_array_equal(
        uncrowded(x, y, flux, 5.0, 0.02), [True, False, False, True, False]
    )
