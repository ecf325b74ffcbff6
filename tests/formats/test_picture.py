"""Pictures as images of the sky."""

import numpy as np
import pytest
from PIL import Image as PillowImage

from firstlight.errors import FirstlightError
from firstlight.formats import picture
from firstlight.formats.picture import BadPicture, PictureTooLarge, is_picture, read_picture

RAMP = np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000


@pytest.mark.sample
def test_the_wide_field_tiffs(samples):
    for path in sorted((samples / "tetra3_wide").glob("*.tiff")):
        image = read_picture(path)
        assert image.shape == (768, 1024)
        assert image.dtype == np.uint16
        noise = np.percentile(image, 84) - np.median(image)
        assert image.max() > np.median(image) + 20 * noise  # stars


@pytest.mark.parametrize("name", ["a.tiff", "a.png"])
def test_sixteen_bits_are_kept_and_the_bottom_row_comes_first(tmp_path, name):
    PillowImage.fromarray(RAMP).save(tmp_path / name)
    found = read_picture(tmp_path / name)
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, RAMP[::-1])


def test_colour_becomes_luminance(tmp_path):
    colours = np.zeros((2, 2, 3), np.uint8)
    colours[0, 0] = (255, 0, 0)
    colours[1, 1] = (255, 255, 255)
    PillowImage.fromarray(colours).save(tmp_path / "a.png")
    found = read_picture(tmp_path / "a.png")
    np.testing.assert_allclose(found, [[0, 255], [0.299 * 255, 0]], atol=0.01)


@pytest.mark.parametrize("mode", ["L", "LA", "1", "P", "RGBA", "CMYK", "F", "I"])
def test_every_mode_is_grey_in_the_end(tmp_path, mode):
    path = tmp_path / "a.tiff"
    PillowImage.fromarray((RAMP // 300).astype(np.uint8)).convert(mode).save(path)
    assert read_picture(path).shape == (3, 4)
    assert read_picture(path).dtype in (np.uint16, np.float32)


def test_jpeg(tmp_path):
    path = tmp_path / "a.jpg"
    PillowImage.fromarray(np.full((16, 16), 77, np.uint8)).save(path)
    assert is_picture(path)
    assert abs(float(read_picture(path).mean()) - 77) < 2


@pytest.mark.parametrize("content", [b"no picture", b"\x89PNG\r\n\x1a\n", b"II*\0" + b"\xff" * 64])
def test_what_is_no_picture_is_refused(tmp_path, content):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(BadPicture, match=r"a\.png"):
        read_picture(path)


def test_a_cut_picture_is_refused(tmp_path):
    path = tmp_path / "a.png"
    PillowImage.fromarray(np.random.default_rng(1).integers(0, 255, (50, 50), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(BadPicture):
        read_picture(path)


def test_an_absurd_size_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    PillowImage.fromarray(RAMP).save(path)
    monkeypatch.setattr(picture, "MAX_PIXELS", 11)
    with pytest.raises(PictureTooLarge, match="4 x 3"):
        read_picture(path)


def test_a_missing_picture(tmp_path):
    with pytest.raises(FirstlightError, match="no such file"):
        read_picture(tmp_path / "a.png")
