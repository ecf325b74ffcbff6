"""A pattern is as strong as it was put in, among stars and on a sky that slopes."""

import numpy as np
import pytest

from firstlight.algorithms.detector.fringe import FringeFit, fit_fringe, remove_fringe
from firstlight.errors import InvalidInput

SHAPE = (512, 384)


def pattern():
    y, x = np.indices(SHAPE)
    rings = np.sin(np.hypot(x - 100, y - 700) / 9.0) + 0.4 * np.sin(x / 13.0 + y / 21.0)
    return rings.astype(np.float32)


def sky_with(strength, seed, stars=150):
    random = np.random.default_rng(seed)
    y, x = np.indices(SHAPE)
    level = 3000 + 0.3 * x - 0.1 * y
    light = level + strength * pattern()
    for i, j, flux in zip(
        random.integers(0, SHAPE[1], stars), random.integers(0, SHAPE[0], stars),
        10 ** random.uniform(3, 5, stars), strict=True,
    ):  # fmt: skip
        near = np.s_[max(j - 12, 0) : j + 13, max(i - 12, 0) : i + 13]
        light[near] += flux / 25 * np.exp(-((x - i) ** 2 + (y - j) ** 2) / 8.0)[near]
    return random.poisson(light).astype(np.float32), level


def test_strength_is_found_without_bias_and_with_its_error():
    pulls = []
    for seed in range(12):
        data, _ = sky_with(40.0, seed, stars=0)
        fit = fit_fringe(data, np.zeros(SHAPE, bool), pattern())
        pulls.append((fit.scale - 40.0) / fit.error)
    assert abs(np.mean(pulls)) < 1.0
    assert 0.5 < np.std(pulls) < 1.6
    crowded, _ = sky_with(40.0, 1)
    fit = fit_fringe(crowded, np.zeros(SHAPE, bool), pattern())
    assert fit.scale == pytest.approx(40.0, abs=1.5)
    assert fit.is_seen


def test_what_is_left_is_sky_and_the_variance_has_grown_by_the_errors():
    data, level = sky_with(40.0, 3, stars=0)
    variance = np.full(SHAPE, 3000, np.float32)
    shape = pattern()
    shape[5, 5] = np.nan
    before = data[5, 5]
    fit = FringeFit(40.0, 2.0, 100)
    remove_fringe(data, variance, shape, fit, np.full(SHAPE, 1e-4, np.float32))
    left = data - level
    left[5, 5] = 0.0
    assert np.std(left) == pytest.approx(np.sqrt(3000), rel=0.02)
    assert data[5, 5] == before
    np.testing.assert_allclose(variance[100], 3000 + 4.0 * shape[100] ** 2 + 1600 * 1e-4, rtol=1e-5)


def test_a_sky_without_the_pattern_shows_none():
    seen = [fit_fringe(sky_with(0.0, seed, stars=0)[0], np.zeros(SHAPE, bool), pattern()).is_seen
            for seed in range(6)]  # fmt: skip
    assert sum(seen) <= 1


def test_too_little_sky_tells_nothing_and_planes_must_fit():
    data, _ = sky_with(40.0, 4, stars=0)
    fit = fit_fringe(data, np.ones(SHAPE, bool), pattern())
    assert (fit.error, fit.is_seen) == (float("inf"), False)
    flat = np.ones(SHAPE, np.float32)
    assert not fit_fringe(data, np.zeros(SHAPE, bool), flat).is_seen
    with pytest.raises(InvalidInput):
        fit_fringe(data, np.zeros((3, 3), bool), pattern())
