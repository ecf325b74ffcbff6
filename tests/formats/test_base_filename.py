from __future__ import annotations

import pickle
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstlight.errors import UserError
from firstlight.formats.base_filename import (
    BadBaseFilename,
    Collection,
    FileName,
    Role,
    looks_like_base_filename,
    parse_name,
)

_GOOD = "sro-kb001ms-20220629-00010442-EX10.jpg"
_WORD = "abcxyzABCXYZ0189_"
_EXTENSIONS = ["txt", "jpg", "fits", "fits.bz2", "fits.fz"]

names = st.builds(
    FileName,
    collection=st.sampled_from(Collection),
    site=st.text(_WORD, min_size=3, max_size=6),
    instrument=st.text(_WORD, min_size=1, max_size=20),
    day=st.dates(),
    number=st.text("0123456789", min_size=8, max_size=8),
    data_type=st.text("aezAEFPXZ", min_size=1, max_size=12),
    reduction_level=st.text("0123456789", min_size=2, max_size=2),
    extension=st.sampled_from(_EXTENSIONS),
)


@given(names)
def test_a_name_comes_back_from_its_key(name: FileName) -> None:
    assert parse_name(str(name)) == name
    assert str(parse_name(str(name))) == str(name)
    assert looks_like_base_filename(str(name))
    assert str(name) == f"{name.collection}/{name.filename}"
    assert name.filename.startswith(name.base_filename + "-" + name.data_type)
    assert pickle.loads(pickle.dumps(name)) == name  # noqa: S301 - our own bytes


def test_every_field() -> None:
    name = parse_name("data/" + _GOOD)
    assert name == FileName(
        Collection.DATA, "sro", "kb001ms", date(2022, 6, 29), "00010442", "EX", "10", "jpg"
    )
    assert name.base_filename == "sro-kb001ms-20220629-00010442"
    assert parse_name(_GOOD) == name


@pytest.mark.parametrize(
    ("tail", "role"),
    [
        ("EX01.txt", Role.HEADER_TEXT),
        ("EX00.txt", Role.HEADER_TEXT),
        ("EX77.txt", Role.HEADER_TEXT),
        ("EX00.fits.fz", Role.FITS_LARGE),
        ("e00.fits.bz2", Role.FITS_LARGE),
        ("EX01.fits", Role.FITS_LARGE),
        ("EX10.fits.bz2", Role.FITS_SMALL),
        ("EX13.fits.fz", Role.FITS_SMALL),
        ("EX91.fits.fz", Role.OTHER),
        ("EX11.fits.fz", Role.OTHER),
        ("EX10.jpg", Role.JPG_MEDIUM),
        ("EX13.jpg", Role.JPG_MEDIUM),
        ("EX11.jpg", Role.THUMBNAIL),
        ("EX00.jpg", Role.OTHER),
        ("experimental10.jpg", Role.JPG_MEDIUM),
    ],
)
def test_roles(tail: str, role: Role) -> None:
    assert parse_name(f"wmd02-ea03-20190621-00000007-{tail}").role is role


@pytest.mark.parametrize(
    ("key", "field"),
    [
        ("sro-kb001ms-20220629-00010442-EX10junk.jpg", "reduction_level"),
        ("sro-kb001ms-20220629-00010442-EX010.jpg", "reduction_level"),
        ("sro-kb001ms-20220629-00010442-EX1.jpg", "reduction_level"),
        ("sro-kb001ms-20220629-00010442-EX.jpg", "reduction_level"),
        ("sro-kb001ms-20220629-00010442-10.jpg", "data_type"),
        ("sro-kb001ms-20220629-00010442-EX١٠.jpg", "reduction_level"),
        ("sro-kb001ms-20220629-00010442-ÉX10.jpg", "data_type"),
        ("sro-kb001ms-20220629-00010442", "parts"),
        ("sro-kb001ms-20220629-EX10.jpg", "parts"),
        ("sro-kb-001ms-20220629-00010442-EX10.jpg", "parts"),
        ("bad_filename", "parts"),
        ("", "parts"),
        ("data/", "parts"),
        ("sro-kb001ms-20220629-00010442-EX10.JPG", "extension"),
        ("sro-kb001ms-20220629-00010442-EX10.jpg\n", "extension"),
        ("sro-kb001ms-20220629-00010442-EX10.jpg\0", "extension"),
        ("sro-kb001ms-20220629-00010442-EX10.png", "extension"),
        ("sro-kb001ms-20220629-00010442-EX10.fits.gz", "extension"),
        ("sro-kb001ms-20220629-00010442-EX10", "extension"),
        ("sro-kb001ms-20220629-00010442-EX10.", "extension"),
        ("sr-kb001ms-20220629-00010442-EX10.jpg", "site"),
        ("srosrosro-kb001ms-20220629-00010442-EX10.jpg", "site"),
        ("s o-kb001ms-20220629-00010442-EX10.jpg", "site"),
        ("..o-kb001ms-20220629-00010442-EX10.jpg", "site"),
        ("sro--20220629-00010442-EX10.jpg", "instrument"),
        ("sro-..-20220629-00010442-EX10.jpg", "instrument"),
        ("sro-kb001ms-20221345-00010442-EX10.jpg", "day"),
        ("sro-kb001ms-20230229-00010442-EX10.jpg", "day"),
        ("sro-kb001ms-00000101-00010442-EX10.jpg", "day"),
        ("sro-kb001ms-2022629-00010442-EX10.jpg", "day"),
        ("sro-kb001ms-²0220629-00010442-EX10.jpg", "day"),
        ("sro-kb001ms-20220629-10442-EX10.jpg", "number"),
        ("sro-kb001ms-20220629-0001044٢-EX10.jpg", "number"),
        ("/" + _GOOD, "collection"),
        ("../" + _GOOD, "collection"),
        ("data/../" + _GOOD, "collection"),
        ("data//" + _GOOD, "collection"),
        ("Data/" + _GOOD, "collection"),
        ("downloads/" + _GOOD, "collection"),
        (f"sro-{'k' * 300}-20220629-00010442-EX10.jpg", "length"),
    ],
)
def test_what_is_wrong_is_named(key: str, field: str) -> None:
    with pytest.raises(BadBaseFilename) as caught:
        parse_name(key)
    error = caught.value
    assert (error.code, error.field) == ("base_filename.bad", field)
    assert error.expected
    assert isinstance(error, UserError)
    assert str(error).isascii()
    assert "\n" not in str(error)


def test_a_collection_with_a_nothing_before_its_slash_is_no_collection() -> None:
    with pytest.raises(BadBaseFilename, match="found: "):
        parse_name("/" + _GOOD)


pieces = st.lists(
    st.one_of(
        st.text(max_size=12),
        st.sampled_from(
            ["-", ".", "/", "..", "data", "sro", "kb001ms", "20220629", "00010442", "EX10", "jpg"]
        ),
    ),
    max_size=14,
).map("".join)


@given(st.one_of(st.text(), pieces))
def test_nothing_else_is_ever_raised(key: str) -> None:
    looks = looks_like_base_filename(key)
    try:
        name = parse_name(key)
    except BadBaseFilename:
        return
    assert looks
    assert str(name) in (key, f"data/{key}")


@given(names, st.data())
def test_no_character_of_a_name_can_become_one_that_is_not_its_own(
    name: FileName, data: st.DataObject
) -> None:
    """What parses after a change is another name, and gives back exactly what was given."""
    key = str(name)
    at = data.draw(st.integers(0, len(key) - 1))
    changed = key[:at] + data.draw(st.characters()) + key[at + 1 :]
    try:
        other = parse_name(changed)
    except BadBaseFilename:
        return
    assert str(other) == changed
    assert (other == name) == (changed == key)


@pytest.mark.parametrize(
    "key",
    [
        "sro-kb001ms-20220629-00010442",
        "sro-kb001ms-20220629-00010442-EX10junk.jpg",
        "data/sro-kb001ms-20221345-00010442-EX10.jpg",
        "info-images/sro-kb001ms-20220629-10442-EX10.jpg",
        "test/observatory-kb001ms-20220629-00010442-EX10.jpg",
        "sro-kb001ms-20220629-00010442-EX10.png",
        "../../sro-kb001ms-20220629-00010442-EX10.jpg",
    ],
)
def test_a_broken_name_is_still_seen_as_one(key: str) -> None:
    assert looks_like_base_filename(key)
    with pytest.raises(BadBaseFilename):
        parse_name(key)


@pytest.mark.parametrize(
    "key",
    [
        "ogg0m404-kb82-20190221-0123-e91.fits.fz",
        "data/lsc1m005-fl15-20161014-0123-e00.fits.fz",
        "PAN001/14d3bd/20180216T110623/20180216T111320.fits.fz",
        "PAN012_358d0f_20180822T035809_20180822T040202.cr2",
        "hat-p-32-0001.fits",
        "a-b-c-d-e.fits",
        "c4d_220629_010442_ori.fits.fz",
        "sro",
        "",
    ],
)
def test_names_of_other_archives_are_left_alone(key: str) -> None:
    assert not looks_like_base_filename(key)
