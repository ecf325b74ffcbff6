from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image as Picture

from firstlight.errors import InvalidInput
from firstlight.formats.preview import Circle, encode_levels, encode_preview


def decode(payload: bytes) -> np.ndarray:
    """Shape (rows from the top, columns[, 3])."""
    return np.asarray(Picture.open(io.BytesIO(payload)))


def test_the_first_row_is_at_the_bottom():
    levels = np.zeros((20, 30), np.uint8)
    levels[0, 5] = 255
    shown = decode(encode_levels(levels))
    assert shown.shape == (20, 30)
    assert np.argwhere(shown == 255).tolist() == [[19, 5]]


def test_png_is_exact_and_jpeg_is_close():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_array_equal(decode(encode_levels(levels))[::-1], levels)
    jpeg = encode_levels(np.full((64, 64), 90, np.uint8), file_format="jpeg")
    assert jpeg[:3] == b"\xff\xd8\xff"
    np.testing.assert_allclose(decode(jpeg), 90, atol=2)


def test_large_images_shrink_and_small_ones_do_not_grow():
    levels = np.zeros((400, 1000), np.uint8)
    levels[:200] = 200
    shown = decode(encode_levels(levels, largest_side=100))
    assert shown.shape == (40, 100)
    assert (shown[:20] == 0).all()
    assert (shown[20:] == 200).all()
    assert decode(encode_levels(levels, largest_side=None)).shape == (400, 1000)
    assert decode(encode_levels(levels, largest_side=2000)).shape == (400, 1000)
    assert decode(encode_levels(np.zeros((2000, 1), np.uint8), largest_side=10)).shape == (10, 1)


@pytest.mark.parametrize("largest_side", [None, 150])
def test_circles_lie_around_their_sources(largest_side):
    levels = np.zeros((300, 300), np.uint8)
    payload = encode_levels(
        levels,
        largest_side=largest_side,
        circles=[Circle(200.0, 50.0, 20.0, "#ff0000"), Circle(np.nan, 5.0, 3.0)],
    )
    shown = decode(payload)
    scale = 1.0 if largest_side is None else 0.5
    y, x = np.nonzero(shown[:, :, 0] == 255)
    assert (shown[:, :, 1] == 0).all()
    up = shown.shape[0] - 1 - y
    centre = ((200.5) * scale - 0.5, (50.5) * scale - 0.5)
    distance = np.hypot(x - centre[0], up - centre[1])
    np.testing.assert_allclose(distance, 20.0 * scale, atol=1.5)


def test_colour_levels_keep_their_colours():
    levels = np.zeros((4, 5, 3), np.uint8)
    levels[0, 0] = (255, 128, 1)
    shown = decode(encode_levels(levels))
    assert shown[3, 0].tolist() == [255, 128, 1]


def test_a_preview_shows_faint_and_bright():
    rng = np.random.default_rng(5)
    image = rng.normal(100.0, 5.0, (200, 200)).astype(np.float32)
    image[150, 20] = 10_000.0
    image[:, 100] = np.nan
    shown = decode(encode_preview(image))
    assert shown[200 - 1 - 150, 20] == 255
    assert (shown[:, 100] == 0).all()
    sky = shown[:, 120:].astype(float)
    assert sky.std() > 10.0
    assert 20.0 < np.median(sky) < 110.0
    assert encode_preview(image) == encode_preview(image)


def test_the_limits_can_be_given():
    image = np.array([[0.0, 1.0], [2.0, 3.0]])
    shown = decode(encode_preview(image, limits=(0.0, 3.0), stretch="linear"))
    np.testing.assert_array_equal(shown[::-1], [[0, 85], [170, 255]])


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: encode_levels(np.zeros((4, 4))), "levels"),
        (lambda: encode_levels(np.zeros((4, 4, 2), np.uint8)), "levels"),
        (lambda: encode_levels(np.zeros((0, 4), np.uint8)), "levels"),
        (lambda: encode_levels(np.zeros((4, 4), np.uint8), file_format="gif"), "file_format"),
        (lambda: encode_preview(np.zeros((4, 4, 3))), "image"),
    ],
)
def test_what_cannot_be_drawn_is_named(call, field):
    with pytest.raises(InvalidInput) as caught:
        call()
    assert caught.value.field == field
