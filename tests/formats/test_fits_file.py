"""Raw FITS: pixels as astropy reads them, headers that never fail, little memory."""

import gzip
import tracemalloc
import warnings
from io import BytesIO

import numpy as np
import pytest
from astropy.io import fits
from bad_inputs import fits_bytes, stars
from hypothesis import given, settings
from hypothesis import strategies as st

from firstlight.errors import FirstlightError
from firstlight.formats import fits_file, packed_stream
from firstlight.formats.file_errors import CorruptStream
from firstlight.formats.fits_cards import clean_header, plain_text, writable_cards
from firstlight.formats.fits_errors import NoSuchImage
from firstlight.formats.fits_file import FitsFile, inspect, read_header, read_image


@pytest.mark.sample
def test_every_sample_reads_as_astropy_reads_it(samples):
    patterns = ("hatp32_microobs/*00*.FITS", "panoptes/*.fits", "properimage_eso085/*.fit*",
                "sfft_decam/**/*.fits", "legacypipe/testcase3/images/**/*oi*.fits*")  # fmt: skip
    paths = sorted(path for pattern in patterns for path in samples.glob(pattern))
    assert len(paths) > 20
    for path in paths:
        report = inspect(path)
        with FitsFile(path) as ours, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # astropy's, about these files
            with fits.open(path, memmap=False) as theirs:
                for hdu in report.images:
                    pixels = ours.image(hdu.index)
                    expected = np.asarray(theirs[hdu.index].data, pixels.dtype)
                    np.testing.assert_array_equal(pixels, expected.reshape(pixels.shape))


@pytest.mark.sample
def test_the_odd_cards_of_microobservatory_read_without_a_warning(samples):
    # Warnings are errors in these tests.
    path = min((samples / "hatp32_microobs").glob("*.FITS"))
    header = read_header(path)
    assert header["EXPTIME"] == 60.0
    assert header["TELALT"] == 62.592
    assert "automatically" in str(header["COMMENT"])
    assert inspect(path, pixels=True).notes == ()


@pytest.mark.parametrize(
    ("dtype", "read_as"),
    [("u1", "u1"), ("i2", "i2"), ("u2", "u2"), ("i4", "i4"), ("u4", "u4"), ("i8", "i8"),
     ("f4", "f4"), ("f8", "f4"), ("i1", "i1")],
)  # fmt: skip
def test_types_and_extremes(tmp_path, dtype, read_as):
    path = tmp_path / "a.fits"
    kind = np.dtype(dtype)
    low, high = (0, 1000) if kind.kind == "f" else (np.iinfo(kind).min, np.iinfo(kind).max)
    pixels = np.array([[low, high, 1], [2, 3, 4]], dtype=kind)
    fits.PrimaryHDU(pixels).writeto(path)
    found = read_image(path)
    assert found.dtype == np.dtype(read_as)
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, pixels)


def test_blank_becomes_nan_and_scale_is_applied(tmp_path):
    path = tmp_path / "a.fits"
    hdu = fits.PrimaryHDU(np.array([[1, 2, -9], [4, 5, 6]], dtype=np.int16))
    content = BytesIO()
    hdu.header["BLANK"] = -9
    hdu.writeto(content)
    raw = content.getvalue().replace(
        b"EXTEND  =                    T", b"BSCALE  =                  0.5"
    )
    path.write_bytes(raw)
    np.testing.assert_array_equal(read_image(path), [[0.5, 1.0, np.nan], [2.0, 2.5, 3.0]])
    assert read_image(path).dtype == np.float32


def test_images_are_found_by_index_name_and_place(tmp_path):
    path = tmp_path / "a.fits"
    a, b = stars(1), stars(2)
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(a, name="A"), fits.ImageHDU(b, name="B")]
                 ).writeto(path)  # fmt: skip
    with FitsFile(path) as opened:
        np.testing.assert_array_equal(opened.image(), a)
        np.testing.assert_array_equal(opened.image("b"), b)
        np.testing.assert_array_equal(opened.image(2), b)
        with pytest.raises(NoSuchImage, match="'C'"):
            opened.image("C")
    assert read_header(path, "B")["EXTNAME"] == "B"
    assert read_header(path, None)["EXTNAME"] == "A"


def test_a_header_is_read_without_the_pixels(tmp_path):
    path = tmp_path / "a.fits.gz"
    cut = fits_bytes(np.random.default_rng(1).integers(0, 9999, (500, 500)).astype(np.int16))
    packed = gzip.compress(cut)
    path.write_bytes(packed[: len(packed) // 4])  # the pixels are damaged
    assert read_header(path)["EXPTIME"] == 30.0
    with pytest.raises(CorruptStream):
        inspect(path)


def test_one_plane_at_a_time_is_in_memory(tmp_path):
    path = tmp_path / "a.fits.gz"
    plane = np.random.default_rng(1).integers(0, 9999, (500, 1000)).astype(np.int16)
    several = BytesIO()
    fits.HDUList([fits.PrimaryHDU(), *(fits.ImageHDU(plane) for _ in range(12))]).writeto(several)
    path.write_bytes(gzip.compress(several.getvalue(), 1))
    tracemalloc.start()
    with FitsFile(path) as opened:
        for hdu in opened.images:
            opened.image(hdu.index)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * plane.nbytes


def test_a_file_that_unpacks_without_end_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.fits.gz"
    path.write_bytes(gzip.compress(fits_bytes() + b"\0" * 3_000_000))
    monkeypatch.setattr(packed_stream, "MAX_UNPACKED", 1_000_000)
    with pytest.raises(CorruptStream, match="1000000 bytes"):
        read_image(path)


@settings(max_examples=150, deadline=None)
@given(st.binary(min_size=0, max_size=6 * 80))
def test_no_card_can_make_a_header_fail(raw):
    cards = raw.ljust(-(-len(raw) // 80) * 80)
    header, _ = clean_header(cards)
    for card in header.cards:
        assert len(str(card)) % 80 == 0
        assert card.keyword is not None
    header.tostring()
    dict(header)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_damage_escapes_as_another_error(tmp_path_factory, data):
    content = bytearray(fits_bytes(stars()[15:25, 25:37]))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, 2880 - 1))
        content[at] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damage") / "a.fits"
    path.write_bytes(bytes(content[: data.draw(st.integers(1, len(content)))]))
    try:
        inspect(path, pixels=True)
    except FirstlightError as error:
        assert str(path) in str(error)  # noqa: PT017, accepting the file is right, too


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.text(min_size=1, max_size=50),
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=200),
                  st.lists(st.integers(), max_size=3)),
        max_size=6,
    )
)  # fmt: skip
def test_any_dictionary_can_be_written_as_cards(header):
    cards = writable_cards(header)
    written = fits.Header(cards).tostring(padding=True).encode("ascii")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again, notes = clean_header(written[: written.rindex(b"END")])
    assert notes == ()
    assert len(again.cards) >= len(cards) - sum(not str(card).strip() for card in cards)


def test_text_is_written_in_the_letters_of_fits():
    assert plain_text("Müller, Å, ☃\n") == "Muller, A, \\u2603 "
    header = fits.Header(writable_cards({"OBSERVER": "é" * 90, "x": float("nan")}))
    assert header["OBSERVER"] == "e" * 90
    assert header["X"] is None


def test_what_is_public_is_there():
    for name in fits_file.__all__:
        assert hasattr(fits_file, name)
