"""Queries as text, cursors, patterns of names, and exposures in the words of others."""

import fnmatch
import json
import re
import uuid
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstlight.errors import InvalidInput
from firstlight.models import Exposure
from firstlight.services.finding.exposure_forms import (
    EXPORT_COLUMNS,
    ExposureRow,
    FileRow,
    export_row,
    exposure_row,
    photonranch_row,
)
from firstlight.services.finding.search_query import (
    ExposureQuery,
    decode_cursor,
    encode_cursor,
    name_pattern,
    query_from_parameters,
)


def test_every_parameter_is_read():
    query = query_from_parameters(
        {
            "site": ["sro, mrc", "eco"],
            "filter": ["V"],
            "exp_time_min": ["1"],
            "exp_time_max": ["2.5"],
            "start": ["2026-01-31"],
            "end": ["2026-01-31T12:00:00 02:00"],  # what a plus in a URL becomes
            "night": ["2026-01-31"],
            "name": ["sro-*"],
            "cards": ["OBJECT=M 31", "NOTE=a=b"],
            "cone": ["1,-2, 3"],
            "observation": [str(uuid.UUID(int=1))],
            "final_only": ["true"],
            "modified_since": ["2026-01-31T00:00:00Z"],
            "has": ["jpg_medium"],
            "user_id": [""],
        }
    )
    assert query == ExposureQuery(
        site=("sro", "mrc", "eco"),
        filter=("V",),
        exp_time_min=1.0,
        exp_time_max=2.5,
        start=datetime(2026, 1, 31, tzinfo=UTC),
        end=datetime(2026, 1, 31, 10, tzinfo=UTC),
        night=date(2026, 1, 31),
        name="sro-*",
        cards=(("OBJECT", "M 31"), ("NOTE", "a=b")),
        cone=(1.0, -2.0, 3.0),
        observation=uuid.UUID(int=1),
        final_only=True,
        modified_since=datetime(2026, 1, 31, tzinfo=UTC),
        has="jpg_medium",
    )
    corners = query_from_parameters({"polygon": ["0,0,1,0,1,1"]}).polygon
    assert corners == ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0))


def test_the_names_of_photon_ranch_are_read():
    query = query_from_parameters(
        {
            "username": ["a"],
            "exposure_time_min": ["1"],
            "exposure_time_max": ["2"],
            "start_date": ["2026-01-30 01:02:03"],
            "end_date": ["2026-01-31"],
            "filename": ["%0001%"],
        }
    )
    assert query.name == "%0001%"
    assert query.start == datetime(2026, 1, 30, 1, 2, 3, tzinfo=UTC)
    assert (query.exp_time_min, query.exp_time_max) == (1.0, 2.0)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("exp_time_min", "long"),
        ("exp_time_max", "nan"),
        ("start", "yesterday"),
        ("night", "2026-02-30"),
        ("cone", "1,2"),
        ("cone", "1,91,1"),
        ("cone", "1,2,-1"),
        ("cone", "nan,2,1"),
        ("polygon", "0,0,1,1"),
        ("polygon", "0,0,1,1,2"),
        ("polygon", "0,0,120,0,240,0"),
        ("cards", "OBJECT"),
        ("cards", "=x"),
        ("observation", "7"),
        ("final_only", "maybe"),
        ("has", "everything"),
    ],
)
def test_what_makes_no_sense_is_named(name, text):
    with pytest.raises(InvalidInput) as caught:
        query_from_parameters({name: [text]})
    assert caught.value.field == name


@pytest.mark.parametrize("text", ["a\0", "\ud800"])
@pytest.mark.parametrize("name", ["site", "name", "target", "sequence", "smart_stack", "cards"])
def test_what_no_database_holds_is_refused(name, text):
    with pytest.raises(InvalidInput) as caught:
        query_from_parameters({name: [f"x={text}"]})
    assert caught.value.field == name


def test_an_unknown_parameter_names_the_nearest():
    with pytest.raises(InvalidInput, match="did you mean filter"):
        query_from_parameters({"filtre": ["V"]})


def test_a_cone_and_a_polygon_are_one_too_many():
    with pytest.raises(InvalidInput):
        query_from_parameters({"cone": ["1,2,3"], "polygon": ["0,0,1,0,1,1"]})


def test_times_need_a_zone():
    with pytest.raises(InvalidInput):
        ExposureQuery(start=datetime(2026, 1, 1))  # noqa: DTZ001, that is the point


@given(st.floats(-1e6, 1e6), st.uuids())
def test_cursors_come_back_exactly(mjd, key):
    cursor = encode_cursor((mjd, key))
    assert decode_cursor(cursor) == (mjd, key)
    assert re.fullmatch(r"[A-Za-z0-9_-]+", cursor)


_LETTERS = st.text(st.sampled_from("ab-_%*?[]\\"), max_size=7)


@given(_LETTERS.filter(bool), _LETTERS)
def test_both_forms_of_a_pattern_mean_the_same(pattern, name):
    found = name_pattern(pattern)
    by_like = re.fullmatch(_like_as_expression(found.like), name) is not None
    by_glob = fnmatch.fnmatchcase(name, found.glob)
    assert by_like == by_glob
    if by_like:
        assert name.startswith(found.prefix)
    if not set(pattern) & set("*?%"):
        assert by_like == name.startswith(pattern)
    elif not set(pattern) & set("*?"):
        assert by_like == (re.fullmatch(_like_as_expression(pattern, escape=""), name) is not None)


def _like_as_expression(like, escape="\\"):
    out, letters = "", iter(like)
    for letter in letters:
        if letter == escape:
            out += re.escape(next(letters))
        else:
            out += {"%": ".*", "_": "."}.get(letter, re.escape(letter))
    return f"(?s:{out})"


def _row(**columns):
    given = dict.fromkeys(column.name for column in Exposure.__table__.columns)
    given |= {"id": uuid.UUID(int=5 << 75), "image_number": 5, "sort_mjd": 60_000.25, "label": "x"}
    given |= {"collection": "data", "created_at": datetime(2026, 1, 1, tzinfo=UTC)}
    given |= {"modified_at": datetime(2026, 1, 1, tzinfo=UTC)}
    files = tuple(
        FileRow(uuid.uuid4(), f"x-EX{level}", role, level, f"data/x-EX{level}", 3, "0" * 64)
        for role, level in (("fits_large", "01"), ("thumbnail", "11"))
    )
    cards = [["ORIGNAME", "raw.fits", ""], ["SITEID", "sro", ""], ["INSTRUME", "kb", ""]]
    cards += [["DAY-OBS", "20230225", ""], ["SITEID", "second", ""]]
    return ExposureRow(given | columns, files, cards)


def test_the_columns_of_photon_ranch():
    row = photonranch_row(
        _row(ra=15.0, dec=-3.0, mjd=60_000.26, filter="V", exp_time=9.0, smart_stack=None)
    )
    # The columns of the seed's Images table.
    assert set(row) >= {
        "image_id", "base_filename", "site", "capture_date", "sort_date", "right_ascension",
        "declination", "altitude", "azimuth", "header", "filter_used", "airmass",
        "exposure_time", "user_id", "username", "fits_01_exists", "fits_10_exists",
        "jpg_medium_exists", "jpg_small_exists", "data_type",
    }  # fmt: skip
    assert row["image_id"] == 5
    assert row["right_ascension"] == 1.0  # hours
    assert row["capture_date"] == row["sort_date"] == 1677304800000
    assert (row["fits_01_exists"], row["fits_10_exists"]) == (True, False)
    assert (row["jpg_medium_exists"], row["jpg_small_exists"]) == (False, True)
    assert row["header"]["SITEID"] == "sro"
    assert row["fits_path"] == "sro/kb/20230225/raw"
    assert row["fits_filename"] == "raw.fits"
    assert row["SMARTSTK"] == "no"
    json.dumps(row)


def test_our_own_form_is_json():
    row = exposure_row(_row(mjd=60_000.26, night=date(2023, 2, 24)))
    assert json.loads(json.dumps(row)) == row
    assert row["start"] == "2023-02-25T06:00:00.000Z"
    assert row["night"] == "2023-02-24"
    assert [file["role"] for file in row["files"]] == ["fits_large", "thumbnail"]
    assert exposure_row(_row())["start"] is None


def test_exports_have_all_their_columns():
    values = export_row(_row(mjd=60_000.26))
    told = dict(zip((column.name for column in EXPORT_COLUMNS), values, strict=True))
    assert told["start"] - datetime(2023, 2, 25, 6, tzinfo=UTC) == timedelta(0)
    assert told["files"] == "x-EX01 x-EX11"
