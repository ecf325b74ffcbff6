from __future__ import annotations

import string
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstlight.errors import InvalidInput
from firstlight.formats.panoptes_path import (
    PanoptesId,
    PanoptesPath,
    id_from_header,
    parse_id,
    parse_path,
)

times = st.datetimes(datetime(2010, 1, 1), datetime(2099, 12, 31)).map(  # noqa: DTZ001 # a stamp has no zone
    lambda when: when.strftime("%Y%m%dT%H%M%S")
)
units = st.integers(0, 999).map(lambda number: f"PAN{number:03d}")
cameras = st.text("0123456789abcdef", min_size=6, max_size=6)
ids = st.builds(PanoptesId, units, cameras, times)
fields = st.text(
    st.characters(codec="ascii", exclude_characters="/\\", exclude_categories=["Cc"]),
    min_size=1,
    max_size=12,
)
extensions = st.sampled_from(["", ".fits", ".fits.fz", ".cr2", ".jpg", "_r.fits", "-bg.fits.fz"])
canonical = st.builds(PanoptesPath, ids, times, extensions)
legacy = st.builds(PanoptesPath, ids, times, extensions, fields)
prefixes = st.sampled_from(["", "bucket/", "gs://raw/images/", "PAN999/a/", "/var/data/"])


def test_a_path_of_the_network():
    path = parse_path("PAN001/14d3bd/20180216T110623/20180216T113000.fits.fz")
    assert path is not None
    assert (path.unit, path.camera, path.field) == ("PAN001", "14d3bd", None)
    assert path.sequence_id == "PAN001_14d3bd_20180216T110623"
    assert path.image_id == "PAN001_14d3bd_20180216T113000"
    assert path.extension == ".fits.fz"
    assert path.canonical(".jpg") == "PAN001/14d3bd/20180216T110623/20180216T113000.jpg"
    assert path.sequence.when == datetime(2018, 2, 16, 11, 6, 23, tzinfo=UTC)


def test_the_field_of_a_legacy_path_is_left_out_of_the_canonical_one():
    path = parse_path("b/PAN001/Hd189733/14d3bd/20180216T110623/20180216T113000.cr2")
    assert path is not None
    assert path.field == "Hd189733"
    assert path.canonical() == "PAN001/14d3bd/20180216T110623/20180216T113000.cr2"


@given(prefixes, canonical)
def test_a_canonical_path_is_read_back(prefix, path):
    assert parse_path(prefix + str(path)) == path
    assert path.canonical() == str(path)


@given(prefixes, legacy)
def test_a_legacy_path_is_read_back(prefix, path):
    if parse_id(f"{path.field}_{path.camera}_{path.sequence.time}") is not None:
        return  # a field that is called like a unit is the unit
    assert parse_path(prefix + str(path)) == path
    found = parse_path(path.canonical())
    assert found is not None
    assert (found.sequence_id, found.image_id) == (path.sequence_id, path.image_id)


@given(ids)
def test_an_id_is_read_back(one):
    assert parse_id(str(one)) == one
    assert parse_id(f" {one} ") == one


@given(st.text(string.printable, max_size=80))
def test_any_text_is_a_path_that_reads_back_or_none(text):
    path = parse_path(text)
    if path is not None:
        assert text.replace("\\", "/").endswith(str(path))
    one = parse_id(text)
    assert one is None or str(one) == text.strip()


@pytest.mark.parametrize(
    "path",
    [
        "",
        "PAN001/14d3bd/20180216T110623",
        "PAN001/14d3bd/20180216T110623/pointing00.cr2",
        "PAN001/14d3bd/20181316T110623/20180216T113000.fits",
        "PAN001/14d3bd/20180216T110623/20180230T113000.fits",
        "PAN001/14d3bd/20180216T116023/20180216T113000.fits",
        "PAN01/14d3bd/20180216T110623/20180216T113000.fits",
        "PAN001/14d3b/20180216T110623/20180216T113000.fits",
        "PAN001//14d3bd/20180216T110623/20180216T113000.fits",
        "14d3bd/20180216T110623/20180216T113000.fits",
        "PAN001/14d3bd/20180216T110623/20180216T113000fits",
        "PAN001/14d3bd/20180216T110623/20180216T113000.fits\n",
        "PAN٠٠١/14d3bd/20180216T110623/20180216T113000.fits",
    ],
)
def test_what_is_no_such_path(path):
    assert parse_path(path) is None


def test_ids_from_a_header():
    known = {"SEQID": "PAN001_14d3bd_20180216T110623", "IMAGEID": "PAN001_14d3bd_20180216T113000"}
    sequence, image = id_from_header(known)
    assert (str(sequence), str(image)) == tuple(known.values())
    whole = {**known, "FILENAME": "PAN002/ee04d1/20190101T000000/20190101T000100.fits"}
    assert list(map(str, id_from_header(whole))) == [
        "PAN002_ee04d1_20190101T000000",
        "PAN002_ee04d1_20190101T000100",
    ]
    assert id_from_header({"SEQID": "", "FILENAME": "a.cr2"}) == (None, None)


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: PanoptesId("PAN1", "14d3bd", "20180216T110623"), "unit"),
        (lambda: PanoptesId("PAN001", "14d3b_", "20180216T110623"), "camera"),
        (lambda: PanoptesId("PAN001", "14d3bd", "20180216"), "time"),
        (
            lambda: PanoptesPath(PanoptesId("PAN001", "14d3bd", "20180216T110623"), "x"),
            "file name",
        ),
        (
            lambda: PanoptesPath(
                PanoptesId("PAN001", "14d3bd", "20180216T110623"), "20180216T110623", ".fits", "a/b"
            ),
            "field",
        ),
    ],
)
def test_what_cannot_be_made(make, field):
    with pytest.raises(InvalidInput) as caught:
        make()
    assert caught.value.field == field
