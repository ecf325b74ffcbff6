"""16-bit TIFF pictures."""

import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image as Picture

from firstlight.errors import InvalidInput
from firstlight.formats.tiff import encode_tiff


def _read(content):
    with Picture.open(io.BytesIO(content)) as picture:
        assert picture.format == "TIFF"
        levels = np.asarray(picture)
        facts = json.loads(picture.tag_v2[270])
    assert levels.dtype == np.uint16
    return levels[::-1], facts


@pytest.mark.parametrize("kind", ["u2", "i2", "u1", "i4"])
def test_linear_keeps_raw_counts(kind):
    image = np.arange(120, dtype=kind).reshape(8, 15)
    levels, facts = _read(encode_tiff(image, stretch="linear"))
    assert np.array_equal(levels, image)
    assert facts == {"stretch": "linear", "low": 0.0, "high": 65535.0}


def test_the_picture_is_the_right_way_up():
    image = np.zeros((600, 700), np.uint16)
    image[0, 3] = 60000  # the bottom row of FITS
    with Picture.open(io.BytesIO(encode_tiff(image, stretch="linear"))) as picture:
        assert np.asarray(picture)[-1, 3] == 60000


@pytest.mark.parametrize("stretch", ["linear", "arcsinh"])
def test_values_come_back_from_levels(stretch):
    rng = np.random.default_rng(1)
    image = rng.normal(1000, 10, (700, 300)).astype(np.float32)
    image[5, 5] = 2e5
    image[9, 9], image[8, 8], image[7, 7] = np.nan, np.inf, -np.inf
    levels, facts = _read(encode_tiff(image, stretch=stretch))
    part = levels / 65535
    if stretch == "arcsinh":
        ends = np.arcsinh(
            (np.array([facts["low"], facts["high"]]) - facts["zero"]) / facts["softening"]
        )
        back = np.sinh(ends[0] + part * (ends[1] - ends[0])) * facts["softening"] + facts["zero"]
        tolerance = 0.02 * 10 + 1e-3 * np.abs(back - 1000)
    else:
        back = facts["low"] + part * (facts["high"] - facts["low"])
        tolerance = (facts["high"] - facts["low"]) / 65535
    good = np.isfinite(image)
    assert np.all(np.abs(back - image)[good] <= np.broadcast_to(tolerance, image.shape)[good])
    assert (levels[9, 9], levels[8, 8], levels[7, 7]) == (0, 65535, 0)


def test_arcsinh_spends_its_levels_on_the_noise():
    rng = np.random.default_rng(2)
    image = rng.normal(1000, 10, (300, 300)).astype(np.float32)
    image[::50, ::50] = 6e4
    linear, _ = _read(encode_tiff(image, stretch="linear"))
    arcsinh, _ = _read(encode_tiff(image, stretch="arcsinh"))
    assert len(np.unique(arcsinh)) > 20 * len(np.unique(linear))


def test_wide_images_are_written_whole():
    image = np.zeros((3, 70_000), np.uint16)
    image[1, 69_999] = 7
    levels, _ = _read(encode_tiff(image, stretch="linear"))
    assert levels.shape == (3, 70_000)
    assert levels[1, 69_999] == 7


@pytest.mark.parametrize("stretch", ["linear", "arcsinh"])
@pytest.mark.parametrize("value", [np.nan, 0.0, -3.5, 3e38, np.inf])
def test_an_image_of_one_value_is_black(stretch, value):
    levels, _ = _read(encode_tiff(np.full((4, 5), value, np.float32), stretch=stretch))
    assert len(np.unique(levels)) == 1


@pytest.mark.parametrize("stretch", ["linear", "arcsinh"])
def test_values_whose_sum_overflows_are_drawn(stretch):
    image = np.full((5, 7), 9e307)
    image[0, 0], image[1, 1] = np.inf, -9e307
    levels, _ = _read(encode_tiff(image, stretch=stretch))
    assert levels[1, 1] == 0
    assert levels[2, 2] == levels[0, 0] == 65535


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(st.sampled_from(["f4", "f8", "i2", "i4", "u2", ">f4", ">i2"]), (5, 7)),
    st.sampled_from(["linear", "arcsinh"]),
)
def test_brighter_pixels_never_have_lower_levels(image, stretch):
    levels, _ = _read(encode_tiff(image, stretch=stretch))
    good = np.isfinite(image)
    order = np.argsort(image[good], kind="stable")
    assert np.all(np.diff(levels[good][order].astype(int)) >= 0)


@pytest.mark.parametrize("image", [np.zeros((2, 3, 4)), np.zeros(5), np.zeros((0, 4))])
def test_cubes_and_empty_images_are_refused(image):
    with pytest.raises(InvalidInput):
        encode_tiff(image)


def test_an_unknown_stretch_is_refused():
    with pytest.raises(InvalidInput, match="arcsinh"):
        encode_tiff(np.zeros((2, 2)), stretch="log")
