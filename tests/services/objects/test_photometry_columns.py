"""Columns as they are sent: broadcasting, missing values, text files."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firstlight.errors import FirstlightError
from firstlight.services.objects.bandpasses import Bandpasses
from firstlight.services.objects.photometry_columns import BadColumns, BadValue, Columns
from firstlight.services.objects.photometry_csv import columns_of_csv, in_parts
from firstlight.services.objects.photometry_table import photometry_columns, read_table

KNOWN = {"a": False, "b": False, "name": False, "altdata": False}
BANDS = Bandpasses()
NUMBERS = st.one_of(st.none(), st.floats(-1e6, 1e6), st.integers(-1000, 1000))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda each: (
        st.lists(each, max_size=4) | st.dictionaries(st.text(max_size=8), each, max_size=4)
    ),
    max_leaves=12,
)


@given(st.lists(NUMBERS, min_size=1, max_size=20), NUMBERS)
def test_a_value_alone_stands_for_all_rows(column, alone):
    columns = Columns({"a": column, "b": alone}, KNOWN, 100)
    assert len(columns) == len(column)
    found = columns.numbers("a").tolist()
    assert [None if math.isnan(each) else each for each in found] == column
    spread = columns.numbers("b")
    assert spread.shape == (len(column),)
    expected = math.nan if alone is None else alone
    assert spread.tolist() == pytest.approx([expected] * len(column), nan_ok=True, rel=0, abs=0)


@given(st.integers(1, 20), st.integers(1, 20))
def test_two_lengths_do_not_go_together(one, other):
    sent = {"a": [1.0] * one, "b": [2.0] * other}
    if one == other or 1 in (one, other):
        assert len(Columns(sent, KNOWN, 100)) == max(one, other)
    else:
        with pytest.raises(BadColumns, match="lengths"):
            Columns(sent, KNOWN, 100)


@given(st.integers(1, 5), st.data())
def test_altdata_of_every_form(rows, data):
    values = data.draw(st.lists(st.floats(0, 1), min_size=rows, max_size=rows))
    base = {"a": [1.0] * rows}
    as_columns = Columns({**base, "altdata": {"x": values, "k": "v"}}, KNOWN, 10).altdata()
    as_rows = Columns(
        {**base, "altdata": [{"x": v, "k": "v"} for v in values]}, KNOWN, 10
    ).altdata()
    assert as_columns == as_rows
    assert [row["x"] for row in as_rows] == values
    assert Columns({**base, "altdata": {"k": "v"}}, KNOWN, 10).altdata() == [{"k": "v"}] * rows
    assert Columns({**base, "altdata": {"k": None}}, KNOWN, 10).altdata() == [None] * rows
    assert Columns(base, KNOWN, 10).altdata() == [None] * rows


@settings(max_examples=150)
@given(
    st.dictionaries(
        st.sampled_from(
            ["obj_id", "mjd", "instrument_id", "filter", "mag", "magerr", "limiting_mag", "flux",
             "fluxerr", "zp", "magsys", "altdata", "ra", "dec", "origin", "extinction_corrected"]
        ),
        JSON,
    )
)  # fmt: skip
def test_whatever_is_sent_is_read_or_refused_by_name(sent):
    whole = {
        "obj_id": "x",
        "mjd": 6e4,
        "instrument_id": 1,
        "filter": "ztfg",
        "fluxerr": 1.0,
        "zp": 25.0,
    }
    fault = None
    try:
        table = read_table(photometry_columns(whole | sent, 100), BANDS, {1: []})
    except FirstlightError as refused:
        fault = refused
    if fault is not None:
        assert fault.code.startswith("photometry.")
        assert fault.field
        return
    rows = table.rows()
    assert len(rows) == len(table)
    json.dumps(rows, allow_nan=False)  # so every database can hold it
    assert all(row["flux_err_ujy"] > 0 for row in rows)


@given(
    st.lists(st.tuples(st.floats(5, 28), st.floats(0.001, 1)), min_size=1, max_size=8),
    st.sampled_from(["ab", "vega", "bd17", "st"]),
    st.sampled_from(["ztfg", "bessellb", "sdssz", "2massks"]),
)
def test_magnitudes_and_fluxes_are_the_same_photometry(points, system, band):
    """Sent as magnitudes, or as fluxes with a zero point in the same system."""
    common = {"obj_id": "x", "instrument_id": 1, "filter": band, "magsys": system}
    mags, errors = (list(each) for each in zip(*points, strict=True))
    common["mjd"] = [6e4 + n for n in range(len(mags))]
    as_mags = {**common, "mag": mags, "magerr": errors, "limiting_mag": 25.0}
    flux = [10 ** (-0.4 * (mag - 25.0)) for mag in mags]
    flux_err = [f * e * math.log(10) / 2.5 for f, e in zip(flux, errors, strict=True)]
    as_fluxes = {**common, "flux": flux, "fluxerr": flux_err, "zp": 25.0}
    one, other = (
        read_table(photometry_columns(each, 100), BANDS, {1: []}) for each in (as_mags, as_fluxes)
    )
    assert one.flux == pytest.approx(other.flux, rel=1e-9)
    assert one.flux_err == pytest.approx(other.flux_err, rel=1e-9)


CSV = """\
# made at the telescope
mjd, filter, mag, magerr, limiting_mag, altdata.seeing, origin
60000.5, ztfg, 18.5, 0.1, , 1.2, run 7
60001.5, ztfr, nan, , 20.5, , --
"""


class TestCsv:
    def test_columns(self):
        assert columns_of_csv(CSV, {"obj_id": "FL1", "group_ids": None}) == {
            "obj_id": "FL1",
            "mjd": [60000.5, 60001.5],
            "filter": ["ztfg", "ztfr"],
            "mag": [18.5, None],
            "magerr": [0.1, None],
            "limiting_mag": [None, 20.5],
            "origin": ["run 7", None],
            "altdata": {"seeing": [1.2, None]},
        }

    @pytest.mark.parametrize(
        ("text", "error"),
        [
            ("", BadColumns),
            ("mjd,mag\n", BadColumns),
            ("mjd,mjd\n1,2\n", BadColumns),
            ("mjd,mag\n1,2,3\n", BadColumns),
            ("mjd,mag\n1,bright\n", BadValue),
        ],
    )
    def test_what_is_no_table(self, text, error):
        with pytest.raises(error):
            columns_of_csv(text, {})

    def test_parts(self):
        columns = columns_of_csv(CSV, {"group_ids": [1, 2]})
        parts = list(in_parts(columns, 1))
        assert [part["mjd"] for part in parts] == [[60000.5], [60001.5]]
        assert [part["altdata"] for part in parts] == [{"seeing": [1.2]}, {"seeing": [None]}]
        assert all(part["group_ids"] == [1, 2] for part in parts)
