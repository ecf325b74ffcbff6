"""What two maps of the sky disagree by is not taken for light that changed."""

from __future__ import annotations

import numpy as np
import pytest
from white_difference import Source, light_of, subtracted

from firstlight.algorithms.flags import Flag
from firstlight.algorithms.subtraction.difference_sky import take_sky_away
from firstlight.algorithms.subtraction.empty_sky import empty_sky

SHAPE = (300, 420)
SOURCES = [Source(60.3, 80.6, 4e3), Source(200.0, 150.0, 8e4), Source(350.2, 250.9, 3e3)]


def test_a_slope_is_taken_away_and_sources_stay():
    level = 3.0 + 0.01 * np.arange(SHAPE[1])[None, :] + np.zeros((SHAPE[0], 1))
    flat = subtracted(light_of(SOURCES, SHAPE), 5)
    told = subtracted(light_of(SOURCES, SHAPE) + level, 5)
    inner = np.s_[20:-20, 20:-20]
    assert np.median(told.score[inner]) > 1.0
    take_sky_away(told)
    assert abs(np.median(told.score[inner])) < 0.1
    assert abs(np.median(told.difference[inner])) < 0.5
    for source in SOURCES:
        x, y = np.array([source.x]), np.array([source.y])
        before, error = flat.flux_at(x, y)
        assert told.flux_at(x, y)[0] == pytest.approx(before, abs=0.4 * error[0])


def test_without_a_level_nothing_changes_and_holes_stay_holes():
    told = subtracted(light_of(SOURCES, SHAPE), 6)
    told.flags[:30] = int(Flag.NO_DATA)
    told.score[:30], told.flux[:30], told.flux_error[:30] = 0.0, 0.0, np.inf
    before = told.score.copy()
    take_sky_away(told)
    assert not told.score[:30].any()
    assert not told.flux[:30].any()
    assert np.abs(told.score - before).max() < 0.3


def test_an_image_without_any_sky_is_left_alone():
    told = subtracted(np.zeros((60, 60)), 7)
    told.flags[:] = int(Flag.SATURATED)
    before = told.flux.copy()
    take_sky_away(told)
    np.testing.assert_array_equal(told.flux, before)


def test_the_level_of_a_cell_is_the_median_of_its_empty_sky():
    told = subtracted(light_of([Source(60.3, 80.6, 4e3)], (131, 107)), 9)
    told.flux[:] = np.random.default_rng(3).normal(20.0, 300.0, told.flux.shape)
    before, score = told.flux.copy(), told.score.copy()
    quiet = empty_sky(told, 3, 1.1)
    take_sky_away(told)
    level = np.median(before[::3, ::3][quiet])
    np.testing.assert_allclose((before - told.flux)[score != 0], level, rtol=1e-3)
