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


def test_white_noise_is_left_as_it_is():
    told = subtracted(np.zeros(SHAPE), 1)
    assert sky_scatter(told) == pytest.approx(1.0, abs=0.04)
    assert with_sky_scatter(told, 0.98) is told


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
