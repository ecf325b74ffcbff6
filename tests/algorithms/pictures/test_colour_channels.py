from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstlight.algorithms.detector.colour_mosaic import colour_of_pixels
from firstlight.algorithms.pictures.colour_channels import (
    CHANNELS,
    channel_image,
    channel_origin,
    flipped_rows,
)
from firstlight.errors import InvalidInput

patterns = st.sampled_from(["RGGB", "BGGR", "GRBG", "GBRG"])
sides = st.integers(2, 9)
LEVELS = {"R": 10, "G": 20, "B": 40}


def _mosaic(shape, pattern):
    letters = colour_of_pixels(shape, pattern)
    return np.vectorize(LEVELS.__getitem__)(letters).astype(np.uint16)


@given(patterns, sides, sides)
def test_each_channel_has_its_colour_only(pattern, ny, nx):
    mosaic = _mosaic((ny, nx), pattern)
    for channel in CHANNELS:
        image = channel_image(mosaic, pattern, channel)
        assert image.shape == (ny // 2, nx // 2)
        assert (image == LEVELS[channel]).all()


@given(patterns, sides, sides)
def test_a_sloping_scene_is_as_high_in_a_channel_as_at_its_place_in_the_mosaic(pattern, ny, nx):
    y, x = np.mgrid[:ny, :nx]
    mosaic = (3.0 * x + 7.0 * y).astype(np.float32)
    for channel in CHANNELS:
        image = channel_image(mosaic, pattern, channel)
        x0, y0 = channel_origin(pattern, channel)
        j, i = np.indices(image.shape)
        np.testing.assert_allclose(image, 3.0 * (x0 + 2 * i) + 7.0 * (y0 + 2 * j))


@given(patterns, sides, sides)
def test_rows_in_reverse_order(pattern, ny, nx):
    letters = colour_of_pixels((ny, nx), pattern)
    assert (letters[::-1] == colour_of_pixels((ny, nx), flipped_rows(pattern, ny))).all()


def test_a_saturated_green_is_not_hidden_by_its_partner():
    mosaic = np.full((2, 4), 100, np.uint16)
    mosaic[0, 0] = 14_000
    kept = channel_image(mosaic, "GBRG", "G", saturation=13_000)
    assert kept.tolist() == [[14_000.0, 100.0]]
    assert channel_image(mosaic, "GBRG", "G").tolist() == [[7_050.0, 100.0]]


def test_integers_stay_integers_where_nothing_is_averaged():
    assert channel_image(np.zeros((4, 4), np.uint16), "RGGB", "B").dtype == np.uint16


@pytest.mark.parametrize("pattern", ["RGB", "RRGB", "GGRB", "GRGB", "rggb"])
def test_no_pattern(pattern):
    with pytest.raises(InvalidInput, match="field: pattern"):
        channel_origin(pattern, "G")


def test_no_channel():
    with pytest.raises(InvalidInput, match="field: channel"):
        channel_image(np.zeros((2, 2)), "RGGB", "Y")
