from __future__ import annotations

import numpy as np
import pytest
from astropy.visualization import ZScaleInterval
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from firstlight.algorithms.pictures.display import (
    arcsinh_limits,
    percentile_limits,
    to_levels,
    zscale_limits,
)
from firstlight.errors import InvalidInput


def sky(seed: int = 1, shape: tuple[int, int] = (400, 300)) -> np.ndarray:
    """Noise of 5 on a level of 100, and a few stars of 50 000."""
    rng = np.random.default_rng(seed)
    image = rng.normal(100.0, 5.0, shape).astype(np.float32)
    image[rng.integers(0, shape[0], 60), rng.integers(0, shape[1], 60)] += 50_000.0
    return image


def test_zscale_frames_the_sky_and_not_the_stars():
    low, high = zscale_limits(sky())
    assert 75.0 < low < 100.0
    assert 105.0 < high < 160.0


@pytest.mark.parametrize("seed", [2, 3, 4])
def test_zscale_agrees_with_an_independent_one(seed):
    low, high = zscale_limits(sky(seed))
    theirs = ZScaleInterval().get_limits(sky(seed))
    assert low == pytest.approx(theirs[0], abs=8.0)
    assert high == pytest.approx(theirs[1], abs=20.0)  # the sample may hold a star or not


def test_zscale_follows_the_units_of_the_image():
    low, high = zscale_limits(sky())
    assert zscale_limits(sky() * 1000.0 - 5.0) == pytest.approx(
        (low * 1000.0 - 5.0, high * 1000.0 - 5.0), rel=1e-4
    )


def test_pixels_without_a_value_do_not_matter():
    image = sky()
    image[::3] = np.nan
    image[1, 1] = np.inf
    low, high = zscale_limits(image)
    assert 75.0 < low < 100.0
    assert 105.0 < high < 160.0


@pytest.mark.parametrize("limits", [zscale_limits, percentile_limits])
def test_blank_and_constant_images_have_limits(limits):
    assert limits(np.full((50, 50), np.nan)) == (0.0, 1.0)
    assert limits(np.empty((0, 10))) == (0.0, 1.0)
    low, high = limits(np.full((50, 50), 7.0))
    assert low < 7.0 < high
    one = np.full((500, 500), np.nan)
    one[3, 3] = 9.0
    low, high = limits(one)
    assert low < 9.0 < high


def test_percentiles_are_those_of_the_finite_pixels():
    image = np.arange(10001, dtype=float).reshape(1, -1)
    assert percentile_limits(image, 10.0, 90.0) == pytest.approx((1000.0, 9000.0))


def test_arcsinh_limits_follow_the_noise_and_the_stars():
    image = sky()
    image[:2] += 20_000.0  # half a percent of the pixels
    low, high, softening = arcsinh_limits(image)
    assert low == pytest.approx(90.0, abs=0.5)
    assert high == pytest.approx(20_100.0, abs=100.0)
    assert softening * (high - low) == pytest.approx(15.0, rel=0.05)


def test_arcsinh_limits_of_odd_images_can_be_used():
    for image in (np.full((9, 9), np.nan), np.full((9, 9), 3.0), np.eye(9) * 1e9):
        low, high, softening = arcsinh_limits(image)
        assert low < high
        to_levels(image, low, high, stretch="arcsinh", softening=softening)


def test_linear_levels_are_exact():
    image = np.array([[-1.0, 0.0, 0.5], [1.0, 2.0, np.nan]])
    levels = to_levels(image, 0.0, 1.0)
    assert levels.dtype == np.uint8
    np.testing.assert_array_equal(levels, [[0, 0, 128], [255, 255, 0]])


def test_infinities_are_black_and_white():
    levels = to_levels(np.array([[np.inf, -np.inf]]), 0.0, 1.0)
    np.testing.assert_array_equal(levels, [[255, 0]])


def test_arcsinh_follows_its_formula():
    x = np.linspace(0.0, 1.0, 11)[None]
    expected = 255.0 * np.arcsinh(x / 0.05) / np.arcsinh(20.0)
    levels = to_levels(x, 0.0, 1.0, stretch="arcsinh", softening=0.05)
    np.testing.assert_allclose(levels, expected, atol=0.5001)


@settings(max_examples=150, deadline=None)
@given(
    hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1)),
    st.sampled_from(["linear", "arcsinh"]),
)
def test_brighter_is_never_darker(image, stretch):
    low, high = zscale_limits(image)
    levels = to_levels(image, low, high, stretch=stretch).ravel()
    order = np.argsort(np.nan_to_num(image.ravel(), nan=-np.inf))
    assert (np.diff(levels[order].astype(int)) >= 0).all()


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: to_levels(np.zeros((2, 2)), 1.0, 1.0), "limits"),
        (lambda: to_levels(np.zeros((2, 2)), 0.0, np.nan), "limits"),
        (lambda: to_levels(np.zeros((2, 2)), -1e38, 1e38), "limits"),
        (lambda: to_levels(np.zeros((2, 2)), 0.0, 1e-40), "limits"),
        (lambda: to_levels(np.zeros((2, 2)), 0.0, 1.0, stretch="log"), "stretch"),
        (
            lambda: to_levels(np.zeros((2, 2)), 0.0, 1.0, stretch="arcsinh", softening=0.0),
            "softening",
        ),
        (lambda: zscale_limits(np.zeros((2, 2)), contrast=0.0), "contrast"),
        (lambda: percentile_limits(np.zeros((2, 2)), 50.0, 50.0), "percentiles"),
    ],
)
def test_impossible_settings_are_named(call, field):
    with pytest.raises(InvalidInput) as caught:
        call()
    assert caught.value.field == field
