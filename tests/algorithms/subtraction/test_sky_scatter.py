"""Noise that neighbouring pixels share is counted once it is seen in the difference."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import shift
from white_difference import Source, light_of, subtracted

from firstlight.algorithms.flags import Flag
from firstlight.algorithms.subtraction.sky_scatter import sky_scatter, with_sky_scatter

SHAPE = (400, 400)


def resampled(told):
    """Its noise as half a pixel's shift with a cubic spline leaves it, pixels as wide as before."""
    moved = shift(told.difference.astype(np.float64), (0.5, 0.5), order=3, mode="mirror")
    factor = told.difference.std() / moved.std()
    return replace(told, score=(told.score * factor).astype(np.float32))


def scatter_of(told):
    """Robust width of the score, near and far from one alike."""
    return float(np.median(np.abs(told.score)) / 0.67449)


def test_white_noise_is_left_as_it_is():
    told = subtracted(np.zeros(SHAPE), 1)
    assert sky_scatter(told) == pytest.approx(1.0, abs=0.04)
    assert with_sky_scatter(told, 1.0) is told


def test_what_is_smaller_by_chance_is_left_as_it_is():
    told = subtracted(np.zeros(SHAPE), 5)
    narrow = 0.98 / scatter_of(told)
    assert sky_scatter(replace(told, score=(narrow * told.score).astype(np.float32))) == 1.0


def test_errors_that_hold_the_light_of_faint_sources_become_smaller():
    told = subtracted(np.zeros((1500, 1500)), 6)
    crowded = replace(
        told,
        flux_error=(told.flux_error / 0.97).astype(np.float32),
        score=(0.97 * told.score).astype(np.float32),
    )
    scatter = sky_scatter(crowded)
    assert scatter == pytest.approx(0.97, abs=0.005)
    mended = with_sky_scatter(crowded, scatter)
    assert scatter_of(mended) == pytest.approx(1.0, abs=1e-3)
    np.testing.assert_allclose(mended.flux_error, scatter * crowded.flux_error, rtol=1e-5)
    assert mended.scatter == pytest.approx(scatter)


def test_images_that_have_noise_in_common_are_not_believed():
    told = subtracted(np.zeros(SHAPE), 7)
    alike = replace(told, score=(0.1 * told.score).astype(np.float32))
    mended = with_sky_scatter(alike, sky_scatter(alike))
    np.testing.assert_allclose(mended.flux_error, 0.95 * told.flux_error, rtol=1e-5)


def test_no_error_becomes_smaller_than_the_whole_of_it_would():
    told = subtracted(np.zeros(SHAPE), 8)
    error = told.flux_error.copy()
    error[100:110, 100:110] *= 0.1
    mended = with_sky_scatter(replace(told, flux_error=error), 0.96)
    np.testing.assert_allclose(mended.flux_error, 0.96 * error, rtol=1e-5)


def test_shared_noise_makes_errors_larger():
    told = resampled(subtracted(np.zeros(SHAPE), 2))
    scatter = sky_scatter(told)
    assert scatter > 1.1
    mended = with_sky_scatter(told, scatter)
    assert sky_scatter(mended) == pytest.approx(1.0, abs=1e-3)
    np.testing.assert_allclose(mended.flux_error, scatter * told.flux_error, rtol=1e-5)


def test_the_noise_of_photons_is_not_enlarged_and_holes_stay_holes():
    told = subtracted(light_of([Source(200, 200, 9e4)], SHAPE), 3)
    error = told.flux_error.copy()
    error[190:211, 190:211] *= 10.0
    error[:20], score = np.inf, np.where(np.isfinite(error), told.flux / error, 0.0)
    score[:20] = 0.0
    flags = told.flags.copy()
    flags[30:40] = int(Flag.SATURATED)
    told = replace(told, flux_error=error, score=score.astype(np.float32), flags=flags)
    assert sky_scatter(told) == pytest.approx(1.0, abs=0.04)
    mended = with_sky_scatter(told, 1.2)
    assert mended.flux_error[200, 200] < 1.003 * error[200, 200]
    assert mended.flux_error[300, 300] == pytest.approx(1.2 * error[300, 300], rel=1e-5)
    assert np.isinf(mended.flux_error[:20]).all()
    assert not mended.score[:20].any()


def test_hardly_any_sky_tells_nothing():
    told = subtracted(np.zeros((40, 40)), 4)
    assert sky_scatter(replace(told, score=3.0 * told.score)) == 1.0
