import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from firstlight.formats.small_picture import BadPicture, rewritten_png


def png(pixels, **options):
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", **options)
    return out.getvalue()


NOISE = np.random.default_rng(1).integers(0, 256, (40, 60, 4), dtype=np.uint8)


@pytest.mark.parametrize(
    ("pixels", "grey"),
    [
        (NOISE[..., 0], True),
        (NOISE[..., :3], False),
        (NOISE, False),
        (np.repeat(NOISE[..., :1], 3, axis=2), True),
    ],
)
def test_pixels_stay_as_they_are(pixels, grey):
    content, is_grey = rewritten_png(png(pixels))
    assert is_grey == grey
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(content))), pixels)
    assert rewritten_png(content) == (content, grey)


def test_nothing_else_is_kept():
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "<script>alert(1)</script>")
    exif = Image.Exif()
    exif[0x010E] = "where I live"
    content = png(NOISE[..., :3], pnginfo=info, exif=exif, icc_profile=b"profile " * 20)
    content, _ = rewritten_png(content + b"<html>behind it</html>")
    for secret in (b"script", b"live", b"profile", b"html", b"iCCP", b"eXIf", b"tEXt"):
        assert secret not in content


def test_other_kinds_of_pixels():
    sixteen = (np.arange(400, dtype=np.uint16) * 100).reshape(20, 20)
    content, is_grey = rewritten_png(png(sixteen))
    found = np.asarray(Image.open(io.BytesIO(content)))
    assert is_grey
    np.testing.assert_allclose(found, sixteen / 257, atol=1)
    palette = io.BytesIO()
    Image.fromarray(NOISE[..., :3]).quantize(8).save(palette, "PNG", transparency=0)
    assert not rewritten_png(palette.getvalue())[1]
    bits = io.BytesIO()
    Image.fromarray(NOISE[..., 0]).convert("1").save(bits, "PNG")
    assert rewritten_png(bits.getvalue())[1]


@pytest.mark.parametrize("shape", [(15, 40), (40, 15), (501, 40), (40, 501), (1, 1)])
def test_sides_have_bounds(shape):
    with pytest.raises(BadPicture):
        rewritten_png(png(np.zeros(shape, np.uint8)))


def test_a_huge_picture_is_refused_by_its_header():
    huge = bytearray(png(np.zeros((40, 40), np.uint8)))
    huge[16:24] = (10**5).to_bytes(4, "big") * 2
    with pytest.raises(BadPicture):
        rewritten_png(bytes(huge))


def test_other_formats_are_refused():
    out = io.BytesIO()
    Image.fromarray(NOISE[..., :3]).save(out, "JPEG")
    for content in (out.getvalue(), b"", b"<svg/>", b"\x89PNG\r\n\x1a\n"):
        with pytest.raises(BadPicture):
            rewritten_png(content)


@given(data=st.data())
def test_damage_is_refused_or_harmless(data):
    content = bytearray(png(NOISE[:20, :20, :3]))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    for damaged in (bytes(content), bytes(content[:cut])):
        try:
            found, _ = rewritten_png(damaged)
        except BadPicture:
            continue
        assert Image.open(io.BytesIO(found)).size >= (16, 16)
