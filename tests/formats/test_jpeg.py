"""JPEG pictures: checked to the end, and made small."""

import io

import numpy as np
import pytest
from PIL import Image

from firstlight.formats.jpeg import check_jpeg, shrink_jpeg
from firstlight.formats.picture import BadPicture, PictureTooLarge


def _jpeg(width=400, height=300, mode="L"):
    ramp = np.add.outer(np.arange(height), np.arange(width)) % 256
    sink = io.BytesIO()
    Image.fromarray(ramp.astype(np.uint8)).convert(mode).save(sink, "JPEG", quality=90)
    return sink.getvalue()


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [(400, 300, (170, 128)), (1024, 1024, (128, 128)), (50, 40, (50, 40)), (3, 900, (1, 128))],
)
def test_a_small_picture_has_the_height_and_the_shape(mode, width, height, expected):
    small = shrink_jpeg(_jpeg(width, height, mode), 128)
    with Image.open(io.BytesIO(small)) as picture:
        assert (picture.size, picture.format, picture.mode) == (expected, "JPEG", mode)


def test_it_shows_the_same_as_the_large_one():
    content = _jpeg(512, 512)
    with Image.open(io.BytesIO(content)) as whole:
        expected = np.asarray(whole.resize((128, 128), Image.Resampling.BOX), float)
    with Image.open(io.BytesIO(shrink_jpeg(content, 128))) as small:
        assert np.median(np.abs(np.asarray(small, float) - expected)) < 4


def test_the_same_picture_gives_the_same_bytes():
    assert shrink_jpeg(_jpeg(), 128) == shrink_jpeg(_jpeg(), 128)


def test_every_cut_is_noticed():
    content = _jpeg()
    assert check_jpeg(content) == (400, 300)
    for share in (0.01, 0.3, 0.7, 0.98):
        with pytest.raises(BadPicture):
            check_jpeg(content[: int(len(content) * share)])


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff", b"GIF89a" + b"\0" * 99, b"\0" * 999])
def test_what_is_no_jpeg_is_refused(content):
    with pytest.raises(BadPicture):
        check_jpeg(content)


def test_a_picture_that_declares_too_much_is_refused():
    content = bytearray(_jpeg())
    at = content.index(b"\xff\xc0") + 5  # height and width in the frame header
    content[at : at + 4] = b"\xff\xdc\xff\xdc"
    with pytest.raises(PictureTooLarge):
        check_jpeg(bytes(content))
