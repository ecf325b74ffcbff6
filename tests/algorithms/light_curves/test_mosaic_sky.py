from __future__ import annotations

import numpy as np
import pytest

from firstlight.algorithms.detector.colour_mosaic import colour_of_pixels
from firstlight.algorithms.light_curves.mosaic_sky import BANDS, mosaic_sky

LEVELS = {"R": 150.0, "G": 240.0, "B": 90.0}


def sloping_sky(pattern: str, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    letters = colour_of_pixels((301, 401), pattern)
    slope = 1 + 0.1 * np.linspace(-1, 1, 401)[None, :] + 0.05 * np.linspace(-1, 1, 301)[:, None]
    level = slope * np.select([letters == b for b in BANDS], [LEVELS[b] for b in BANDS])
    return level + np.random.default_rng(seed).normal(0, 12, level.shape), slope


@pytest.mark.parametrize("pattern", ["RGGB", "GBRG", "BGGR", "GRBG"])
def test_each_colour_has_its_own_level_and_slope(pattern):
    data, slope = sloping_sky(pattern)
    x, y = np.array([30.0, 200.0, 370.0]), np.array([20.0, 150.0, 280.0])
    found = mosaic_sky(data, pattern).at(x, y)
    for k, band in enumerate(BANDS):
        expected = LEVELS[band] * slope[y.astype(int), x.astype(int)]
        assert np.abs(found[:, k] - expected).max() < 3.0  # the noise of a cell is 0.6


def test_masked_pixels_do_not_count():
    data, _ = sloping_sky("GBRG")
    mask = np.zeros(data.shape, dtype=bool)
    mask[100:180, 150:260] = True
    hidden = np.where(mask, 5000.0, data)
    clean, masked = (
        mosaic_sky(d, "GBRG", m).at(np.array([200.0]), np.array([140.0]))
        for d, m in ((data, None), (hidden, mask))
    )
    assert np.abs(clean - masked).max() < 4.0


def test_places_outside_take_the_nearest_level():
    sky = mosaic_sky(sloping_sky("GBRG")[0], "GBRG")
    outside = sky.at(np.array([-50.0, 1e4]), np.array([0.0, 1e4]))
    assert np.array_equal(outside, sky.at(np.array([0.0, 399.0]), np.array([0.0, 299.0])))
