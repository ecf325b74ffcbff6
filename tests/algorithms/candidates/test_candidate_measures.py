"""Measures of candidates against what was put there."""

from __future__ import annotations

import numpy as np
import pytest
from white_difference import (
    FWHM,
    SIGMA,
    Source,
    light_of,
    measured,
    on_a_net,
    subtracted,
    unit_error,
)

from firstlight.algorithms.candidates.measures import KnownStars, saturated_pixels
from firstlight.algorithms.flags import Flag

SHAPE = (120, 120)
PLACE = ([60.0], [60.0])


def columns(sources):
    return np.array([s.x for s in sources]), np.array([s.y for s in sources])


@pytest.fixture(scope="module")
def many():
    """289 sources of a signal-to-noise ratio of 15, measured half a pixel off."""
    sources = on_a_net((810, 810), 45, 15 * unit_error(), 1)
    told = subtracted(light_of(sources, (810, 810)), 2)
    x, y = columns(sources)
    off = np.random.default_rng(3).normal(0, 0.12, (2, len(x)))
    measures = measured(told, (x + off[0], y + off[1]), np.full(len(x), 15.0))
    return measures, x, y


def test_pulls_of_fluxes_have_a_width_of_one(many):
    measures, x, _ = many
    for flux, error in (
        (measures.flux, measures.flux_error),
        (measures.aperture, measures.aperture_error),
    ):
        pulls = (flux - 15 * unit_error()) / error
        assert np.std(pulls) == pytest.approx(1, abs=0.13)
        assert abs(pulls.mean()) < 4 / np.sqrt(len(x))


def test_positions_have_the_errors_that_they_say(many):
    measures, x, y = many
    along, across = measures.x - x, measures.y - y
    assert np.std(along / np.sqrt(measures.xx)) == pytest.approx(1, abs=0.13)
    assert np.std(across / np.sqrt(measures.yy)) == pytest.approx(1, abs=0.13)
    assert np.corrcoef(along, across)[0, 1] == pytest.approx(0, abs=0.2)


def test_point_sources_look_like_point_sources(many):
    measures, _, _ = many
    assert np.median(measures.chi2) == pytest.approx(1, abs=0.05)
    assert abs(np.mean(measures.misfit)) < 0.25
    assert np.std(measures.misfit) == pytest.approx(1, abs=0.2)
    assert np.median(measures.width) == pytest.approx(1, abs=0.03)
    assert np.median(measures.elongation) < 1.2
    assert np.std(measures.spill) == pytest.approx(1, abs=0.2)
    assert measures.narrow.max() < 0.9
    assert measures.dipole.max() < 5
    assert measures.extended.max() < 5
    assert measures.streak.max() < 5
    assert np.abs(measures.agreement).max() < 5
    assert (measures.bad == 0).all()
    assert measures.negative.max() < 0.3


def one(light, seed=4, score=20.0, **more):
    return measured(subtracted(light, seed, flags=more.pop("flags", None)), PLACE, [score], **more)


def test_a_ray_is_narrow():
    light = np.zeros(SHAPE)
    light[60, 59:62] = 12 * SIGMA
    measures = one(light)
    assert measures.narrow[0] > 1.2
    assert measures.misfit[0] > 7
    assert measures.width[0] < 0.8


def test_a_galaxy_is_wide():
    measures = one(light_of([Source(60.0, 60.0, 9000.0)], SHAPE, fwhm=9.0))
    assert measures.width[0] > 1.15
    assert measures.spill[0] > 3
    assert measures.extended[0] > 5


def test_a_dipole_has_two_signs():
    flux = 40 * unit_error()
    light = light_of([Source(58.5, 60.0, flux), Source(61.5, 60.0, -flux)], SHAPE)
    measures = measured(subtracted(light, 5), ([57.0], [60.0]), [15.0])
    assert measures.dipole[0] > 8
    assert 0.4 < measures.balance[0] < 2
    assert measures.negative[0] > 0.2


def test_a_trail_is_a_streak():
    light = light_of([Source(60 + 2 * t, 60 + t, 1200.0) for t in np.arange(-9, 9.5, 0.5)], SHAPE)
    measures = one(light)
    assert measures.streak[0] > 8
    assert measures.elongation[0] > 1.2


@pytest.mark.parametrize("bit", [Flag.COSMIC_RAY, Flag.BAD, Flag.SATURATED])
def test_unusable_pixels_are_left_out(bit):
    flux = 40 * unit_error()
    light = light_of([Source(60.0, 60.0, flux)], SHAPE)
    flags = np.zeros(SHAPE, np.uint16)
    flags[59:61, 61], light[59:61, 61] = bit, 1e5
    measures = one(light, flags=flags)
    assert abs(measures.flux[0] - flux) < 4 * measures.flux_error[0]
    assert abs(measures.aperture[0] - flux) < 4 * measures.aperture_error[0]
    assert 0.1 < measures.bad[0] < 0.4
    assert (measures.struck[0] > 0) == (bit is Flag.COSMIC_RAY)


def test_filled_pixels_are_counted_and_used():
    flags = np.zeros(SHAPE, np.uint16)
    flags[60, 60] = Flag.INTERPOLATED
    measures = one(light_of([Source(60.0, 60.0, 5000.0)], SHAPE), flags=flags)
    assert measures.filled[0] == pytest.approx(1 / 80, abs=0.01)
    assert measures.bad[0] == 0


def test_what_is_hidden_has_no_flux_and_no_finite_error():
    flags = np.full(SHAPE, Flag.NO_DATA, np.uint16)
    measures = one(np.zeros(SHAPE), flags=flags)
    assert measures.flux[0] == 0
    assert np.isinf(measures.flux_error[0])
    assert np.isinf(measures.xx[0])
    assert measures.bad[0] == pytest.approx(1)
    named = measures.columns()
    errors = ("flux_error", "aperture_error", "xx", "yy", "xy")
    far = ("star_distance", "full_distance", "full_widths")
    for name in set(named) - {*errors, *far}:
        assert np.isfinite(named[name]).all(), name


def test_a_source_that_faded_is_one_that_rose_with_the_images_swapped():
    light = light_of([Source(60.2, 59.9, 5000.0)], SHAPE)
    rose, fell = subtracted(light, 6), subtracted(light, 6)
    fell.difference[:] *= -1
    new, reference = light.astype(np.float32) + 300, np.full(SHAPE, 300, np.float32)
    up = measured(rose, PLACE, [12.0], images=(new, reference))
    down = measured(fell, PLACE, [-12.0], images=(reference, new))
    for name, column in up.columns().items():
        sign = -1 if name in ("flux", "aperture") else 1
        np.testing.assert_allclose(sign * down.columns()[name], column, err_msg=name)


def test_change_is_measured_against_the_reference():
    light = light_of([Source(60.0, 60.0, 4000.0)], SHAPE)
    star = light_of([Source(60.0, 60.0, 40000.0)], SHAPE).astype(np.float32)
    measures = one(light, images=(star + light.astype(np.float32), star))
    assert measures.change[0] == pytest.approx(0.1, abs=0.03)
    assert measures.new_light[0] / measures.reference_light[0] == pytest.approx(1.1, abs=0.01)
    rings = measures.profiles[0]
    assert rings.shape == (3, 4)
    assert rings[1, 0] == pytest.approx(10 * rings[2, 0], rel=0.3)
    assert (np.diff(rings[1]) < 0).all()


def test_the_nearest_star_and_the_nearest_full_pixel():
    flags = np.zeros(SHAPE, np.uint16)
    flags[90, 60], flags[64, 63] = Flag.SATURATED, Flag.BLEED
    full_x, full_y = saturated_pixels(flags)
    known = KnownStars(
        np.array([61.0, 70.0]), np.array([60.0, 60.0]), np.array([5.0, 900.0]), full_x, full_y
    )
    measures = one(np.zeros(SHAPE), known=known)
    assert measures.star_distance[0] == pytest.approx(1)
    assert measures.star_flux[0] == 5
    assert measures.full_distance[0] == pytest.approx(5)
    assert measures.full_widths[0] == pytest.approx(5 / FWHM)
    alone = one(np.zeros(SHAPE))
    assert np.isinf(alone.star_distance[0])
    assert np.isinf(alone.full_distance[0])


def test_a_place_is_not_moved_by_more_than_a_width():
    flux = 60 * unit_error()
    told = subtracted(light_of([Source(60.0, 60.0, flux)], SHAPE), 7)
    x = np.array([60.4, *np.arange(64.0, 90.0)])
    measures = measured(told, (x, np.full(len(x), 60.0)), np.full(len(x), 5.0))
    assert measures.x[0] == pytest.approx(60.0, abs=0.15)
    moved = np.hypot(measures.x - x, measures.y - 60.0)
    assert moved.max() <= FWHM
    # In noise alone the most probable place is anywhere.
    assert np.count_nonzero(moved == 0) > 3


def test_a_source_at_the_border_is_measured_on_what_is_there():
    flux = 40 * unit_error()
    told = subtracted(light_of([Source(0.3, 60.0, flux)], SHAPE), 7)
    measures = measured(told, ([0.3], [60.0]), [30.0])
    assert abs(measures.flux[0] - flux) < 4 * measures.flux_error[0]
    assert measures.flux_error[0] > 1.1 * unit_error()
    assert measures.bad[0] > 0.2


def test_no_candidates_have_no_measures():
    told = subtracted(np.zeros(SHAPE), 8)
    measures = measured(told, ([], []), [])
    assert len(measures) == 0
    assert measures.profiles.shape == (0, 3, 4)


def test_fits_do_not_depend_on_how_many_are_measured_at_once():
    sources = on_a_net(SHAPE, 40, 5000.0, 9)
    told = subtracted(light_of(sources, SHAPE), 10)
    x, y = columns(sources)
    score = np.full(len(x), 10.0)
    together, last = measured(told, (x, y), score), measured(told, (x[-1:], y[-1:]), score[-1:])
    for name, column in together.select(np.array([len(x) - 1])).columns().items():
        np.testing.assert_allclose(column, last.columns()[name], rtol=1e-4, atol=1e-4, err_msg=name)
