import numpy as np
import pytest

from firstlight.algorithms.detector.static_level import drift_is_enough, static_level
from firstlight.errors import InvalidInput


def test_the_pattern_stays_and_the_drifting_star_goes():
    rng = np.random.default_rng(0)
    pattern = rng.exponential(3.0, (70, 80)).astype(np.float32)
    y, x = np.mgrid[:70, :80]
    sky = rng.uniform(300, 400, 40)
    frames = pattern + sky[:, None, None] + rng.standard_normal((40, 70, 80))
    for k in range(40):
        frames[k] += 5000 * np.exp(-0.5 * ((x - 2 * k) ** 2 + (y - 35) ** 2) / 1.5**2)
    found = static_level(frames.astype(np.float32), sky[:, None, None])
    assert np.abs(found - pattern).mean() < 0.25
    assert np.abs(found - pattern)[33:38].max() < 2.0


def test_lost_pixels_are_zero_or_come_from_the_rest():
    frames = np.full((9, 3, 4), 2.0)
    frames[:, 0, 0] = np.nan
    frames[:8, 1, 1] = np.nan
    found = static_level(frames)
    assert found[0, 0] == 0
    assert found[1, 1] == 2
    assert found.dtype == np.float32


def test_too_few_frames_are_refused():
    with pytest.raises(InvalidInput):
        static_level(np.zeros((8, 2, 2)))


def test_a_field_that_stands_still_has_not_drifted_enough():
    steps = np.arange(60.0)
    assert drift_is_enough(np.stack([4 * steps, 0 * steps], axis=1), fwhm=2.0)
    assert not drift_is_enough(np.stack([0.1 * steps, 0 * steps], axis=1), fwhm=2.0)
