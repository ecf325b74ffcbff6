"""The ratio of light of two images, from stars of which some vary."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pair_scenes import Scene

from firstlight.algorithms.resampling.image_pair import hidden_pixels
from firstlight.algorithms.subtraction.flux_ratio import measure_ratio


@pytest.mark.parametrize("truth", [0.3, 1.0, 2.7])
def test_the_ratio_is_found_through_different_seeing(truth: float) -> None:
    scene = Scene(11, (384, 384), stars=60, ratio=truth)
    told = measure_ratio(scene.new, scene.reference, hidden_pixels(scene.new, scene.reference))
    assert told.stars >= 15
    assert told.at(192, 192) == pytest.approx(truth, rel=0.004)
    assert abs(told.terms[0] / truth - 1) < 4 * told.error / truth


def test_a_slope_over_the_image_is_found_and_changed_stars_do_not_count() -> None:
    scene = Scene(12, (512, 512), stars=260)
    x = np.arange(512, dtype=np.float32)
    slope = (1.0 + 0.05 * ((2 * x + 1) / 512 - 1)).astype(np.float32)
    pixels = scene.new.pixels * slope
    for i, j, flux in scene.stars[::8]:
        if 20 < i < 490 and 20 < j < 490:
            pixels += flux * scene.light(np.array([[i, j, 1.0]]), 4.0).astype(np.float32)
    new = replace(scene.new, pixels=pixels)
    told = measure_ratio(new, scene.reference, hidden_pixels(new, scene.reference))
    assert told.stars >= 60
    assert told.terms == pytest.approx((1.0, 0.05, 0.0), abs=0.008)


def test_a_sky_without_stars_says_so() -> None:
    scene = Scene(13, (128, 128), stars=0)
    told = measure_ratio(scene.new, scene.reference, hidden_pixels(scene.new, scene.reference))
    assert (told.terms, told.error, told.stars) == ((1.0,), float("inf"), 0)
