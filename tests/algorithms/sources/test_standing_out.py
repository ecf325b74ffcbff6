"""What stands out of the sky, pixel by pixel."""

import numpy as np
from scipy.ndimage import binary_dilation

from firstlight.algorithms.flags import Flag
from firstlight.algorithms.sources.standing_out import (
    noise_of_sky,
    noise_with_light,
    standing_out,
)

LOST, BAD = int(Flag.NO_DATA), int(Flag.BAD | Flag.NO_DATA)


def scene(shape=(40, 57)):
    rng = np.random.default_rng(3)
    rms = rng.uniform(2.0, 4.0, shape).astype(np.float32)
    residual = (rms * rng.standard_normal(shape)).astype(np.float32)
    residual[rng.random(shape) < 0.05] += np.float32(40.0)
    residual[[0, -1, 0, 20], [0, -1, 30, 30]] = 100.0, 100.0, 100.0, np.nan
    flags = np.where(rng.random(shape) < 0.03, np.uint16(Flag.BAD), np.uint16(0))
    flags[5, 5:9] |= np.uint16(Flag.NO_DATA)
    return residual, rms, flags


def test_what_stands_out_has_the_noise_of_its_photons():
    residual, rms, flags = scene()
    told = noise_with_light(residual, rms, flags, sigma=3.0, lost=LOST)
    expected = rms**2 + np.where(residual > 3 * rms, residual, 0)
    expected[5, 5:9] = np.inf
    np.testing.assert_array_equal(told, expected)
    assert told.dtype == np.float32
    assert (told[np.isfinite(told)] > rms[np.isfinite(told)] ** 2).sum() > 100


def test_the_noise_of_the_sky_alone():
    _, rms, flags = scene()
    told = noise_of_sky(rms, flags, lost=LOST)
    expected = rms**2
    expected[5, 5:9] = np.inf
    np.testing.assert_array_equal(told, expected)


def test_around_what_stands_out_nothing_is_told_of_the_sky():
    residual, rms, flags = scene()
    level = np.linspace(100, 200, residual.size, dtype=np.float32).reshape(residual.shape)
    data = residual + level
    told = standing_out((data, level, rms), flags, sigma=3.0, unusable=BAD)
    bright = data - level > np.float32(3.0) * rms
    expected = binary_dilation(bright, np.ones((3, 3), bool)) | ((flags & BAD) != 0)
    np.testing.assert_array_equal(told, expected)
    assert 0.3 < told.mean() < 0.7


def test_an_image_of_one_row():
    data, rms = np.zeros((1, 5), np.float32), np.ones((1, 5), np.float32)
    data[0, 3] = 9.0
    flags = np.zeros((1, 5), np.uint16)
    told = standing_out((data, np.zeros_like(data), rms), flags, sigma=3.0, unusable=BAD)
    np.testing.assert_array_equal(told, [[False, False, True, True, True]])
