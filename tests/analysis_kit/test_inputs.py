"""Reading what a portal sends, whoever sent it and in whichever form."""

import contextlib
import json
import math
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstlight.analysis_kit import AnalysisFailed, Inputs
from firstlight.analysis_kit.columns import literal
from firstlight.services.analyses.analysis_inputs_forms import as_columns, as_csv
from firstlight.services.analyses.analysis_inputs_table import InputTable

UPSTREAM = (
    "mjd,flux,fluxerr,mag,magerr,filter,magsys,limiting_mag,zp,instrument_name,predicted_mag\n"
    "59001.5,12.5,0.5,21.1,0.04,ztfr,ab,22.0,23.9,ZTF,\n"
    "59000.5,,0.7,,,ztfg,ab,21.0,23.9,ZTF,\n"
)
FLOATS = st.floats(allow_nan=False, allow_infinity=False, width=64)
MAYBE = st.none() | FLOATS
TEXT = st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), max_size=20)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | FLOATS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def read(**inputs):
    return Inputs.from_request({"inputs": inputs})


def test_photometry_of_skyportal_is_a_table_by_time():
    table = read(photometry=UPSTREAM).photometry
    assert table["mjd"].tolist() == [59000.5, 59001.5]
    assert table["filter"].tolist() == ["ztfg", "ztfr"]
    assert np.isnan(table["flux"][0])
    assert table["limiting_mag"].tolist() == [21.0, 22.0]
    assert str(table["flux"].unit) == "uJy"
    assert set(table["zp"]) == {23.9}


def test_photometry_with_few_columns_is_enough():
    columns = {"mjd": [1], "flux": [2.0], "fluxerr": [0.1], "filter": ["g"]}
    table = read(photometry={"columns": columns}).photometry
    assert table["zp"].tolist() == [23.9]
    assert np.isnan(table["mag"]).all()
    assert "rel_flux" not in table.colnames


@pytest.mark.parametrize("empty", [UPSTREAM.splitlines()[0] + "\n", {"columns": {}}, ""])
def test_photometry_without_a_point_is_an_empty_table(empty):
    if empty in ({"columns": {}}, ""):
        with pytest.raises(AnalysisFailed, match="photometry: there is no column mjd"):
            read(photometry=empty)
        return
    assert len(read(photometry=empty).photometry) == 0


def test_nothing_is_read_of_what_was_not_sent():
    inputs = read()
    assert inputs.photometry is None
    assert inputs.redshift is None
    assert (inputs.spectra, inputs.comments, inputs.parameters) == ([], [], {})
    assert inputs.object_name == ""


@pytest.mark.parametrize(
    ("sent", "value", "error"),
    [
        ("redshift,redshift_error,redshift_origin\n0.02,0.001,SDSS\n", 0.02, 0.001),
        ("redshift,redshift_error,redshift_origin\n0.02,,\n", 0.02, None),
        ({"columns": {"redshift": [0.02]}}, 0.02, None),
    ],
)
def test_a_redshift_is_read(sent, value, error):
    redshift = read(redshift=sent).redshift
    assert (redshift.value, redshift.error) == (value, error)


def test_what_is_told_of_the_object_stands_in_for_what_was_not_sent():
    inputs = Inputs.from_request(
        {"inputs": {}, "object": {"id": "SN 1", "ra": 10.0, "dec": None, "redshift": 0.5}}
    )
    assert (inputs.object_name, inputs.ra, inputs.dec) == ("SN 1", 10.0, None)
    assert inputs.redshift.value == 0.5
    known = {"inputs": {"redshift": {"columns": {"redshift": [0.4]}}}, "object": {"redshift": 0.5}}
    assert Inputs.from_request(known).redshift.value == 0.4


def test_it_is_told_whether_the_photometry_is_without_dust():
    assert read().extinction is None
    body = {"inputs": {}, "extinction": {"ebv": 0.05}, "object": "unheard of"}
    assert Inputs.from_request(body).extinction == {"ebv": 0.05}


def test_the_parameters_are_those_of_the_inputs():
    body = {
        "analysis_parameters": {"a": 1, "b": 1},
        "inputs": {"analysis_parameters": {"a": 2}},
    }
    assert Inputs.from_request(body).parameters == {"a": 2, "b": 1}


def test_spectra_of_skyportal_are_tables():
    frame = pd.DataFrame(
        {
            "observed_at": ["2026-01-01 00:00:00"],
            "wavelengths": [[4000.0, 5000.0]],
            "fluxes": [[1e-17, float("nan")]],
            "errors": [None],
            "units": [None],
            "altdata": [{"a": "it's", "b": [1, None, float("nan")]}],
        }
    )
    (table,) = read(spectra=frame.to_csv(index=False)).spectra
    assert table["wavelength"].tolist() == [4000.0, 5000.0]
    np.testing.assert_array_equal(table["flux"], [1e-17, np.nan])
    assert table.meta["altdata"]["a"] == "it's"
    assert table.meta["altdata"]["b"][:2] == [1, None]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"photometry": "mjd,flux\n1,2\n"}, "photometry: there is no column fluxerr"),
        ({"photometry": 'mjd,flux\n1,"2\n'}, "photometry: this is no CSV"),
        ({"photometry": "mjd,flux\n1,2,3\n"}, "row 2 has 3 values and the header 2"),
        ({"photometry": UPSTREAM.replace("12.5", "bright")}, "column flux has something"),
        ({"photometry": 3}, "photometry: neither CSV nor columns"),
        ({"photometry": {"columns": {"mjd": 3}}}, "photometry: neither CSV nor columns"),
        ({"photometry": {"columns": {"mjd": [1], "flux": []}}}, "its columns differ in length"),
        ({"spectra": "wavelengths,fluxes\n[1],[1]\n[1],__import__('os')\n"}, "holds no value"),
        ({"spectra": 'wavelengths,fluxes\n"[1, 2]",[1]\n'}, "spectrum 0 differ in length"),
        ({"spectra": "fluxes\n[1]\n"}, "spectra: there is no column wavelengths"),
        ({"spectra": {"columns": {"wavelengths": [["a"]], "fluxes": [[1]]}}}, "no number"),
        ({"spectra": {"columns": {"wavelengths": [3], "fluxes": [[1]]}}}, "no number"),
    ],
)
def test_what_cannot_be_read_says_where(inputs, message):
    with pytest.raises(AnalysisFailed) as caught:
        read(**inputs)
    assert message in str(caught.value)


@pytest.mark.parametrize("body", [{}, {"inputs": None}, {"inputs": "x"}])
def test_a_request_without_inputs_is_refused(body):
    with pytest.raises(AnalysisFailed, match="no inputs"):
        Inputs.from_request(body)


@pytest.mark.parametrize("cell", ["", " ", "nan", "None", "NULL", None])
def test_a_cell_with_nothing_is_nothing(cell):
    assert literal(cell) is None


@pytest.mark.parametrize("cell", ["f()", "a", "[x for x in y]", "(" * 9999, "1 +", "{**a}"])
def test_a_cell_is_never_executed(cell):
    with pytest.raises(AnalysisFailed, match="a cell holds no value"):
        literal(cell)


@given(st.dictionaries(TEXT, PLAIN))
def test_a_cell_is_read_as_python_wrote_it(value):
    assert literal(str(value)) == value


@given(st.lists(st.floats()))
def test_arrays_are_read_with_what_is_no_number(values):
    np.testing.assert_array_equal(literal(str(values)), values)


@given(TEXT)
def test_a_text_as_a_cell_is_read_or_refused_but_never_breaks(text):
    with contextlib.suppress(AnalysisFailed):
        literal(text)


@given(
    st.lists(
        st.tuples(
            st.floats(0, 1e5), MAYBE, MAYBE, MAYBE, MAYBE, TEXT, MAYBE, st.none() | TEXT, MAYBE
        ),
        max_size=5,
    )
)
def test_photometry_is_read_as_it_was_packed_in_both_forms(rows):
    names = (
        "mjd", "flux", "fluxerr", "mag", "magerr", "filter", "limiting_mag", "instrument_name",
        "predicted_mag",
    )  # fmt: skip
    columns = {name: [row[index] for row in rows] for index, name in enumerate(names)}
    columns |= {"magsys": ["ab"] * len(rows), "zp": [23.9] * len(rows)}
    table = InputTable(list(range(len(rows))), columns, b"")
    order = np.argsort(columns["mjd"], kind="stable")
    for sent in (as_csv(table), json.loads(json.dumps(as_columns(table), allow_nan=False))):
        found = read(photometry=sent).photometry
        for name, values in columns.items():
            wanted = [values[index] for index in order]
            if name in {"filter", "instrument_name", "magsys"}:
                assert found[name].tolist() == [each or "" for each in wanted]
            else:
                numbers = [math.nan if each is None else each for each in wanted]
                np.testing.assert_array_equal(found[name], numbers)


@given(st.lists(st.tuples(PLAIN.filter(lambda each: isinstance(each, dict)), TEXT), max_size=4))
def test_notes_are_read_as_they_were_packed_in_both_forms(rows):
    columns = {"data": [row[0] for row in rows], "origin": [row[1] for row in rows]}
    table = InputTable(list(range(len(rows))), columns, b"")
    for sent in (as_csv(table), json.loads(json.dumps(as_columns(table)))):
        found = read(annotations=sent).annotations
        assert [each["data"] for each in found] == columns["data"]
        assert [each["origin"] for each in found] == columns["origin"]


@given(
    st.lists(st.tuples(FLOATS, st.floats(), st.floats()), min_size=1, max_size=5),
    st.booleans(),
)
def test_spectra_are_read_as_they_were_packed_in_both_forms(points, has_errors):
    waves, fluxes, errors = (list(each) for each in zip(*points, strict=True))
    columns = {
        "wavelengths": [waves],
        "fluxes": [fluxes],
        "errors": [errors if has_errors else None],
        "altdata": [None],
    }
    table = InputTable([1], columns, b"")
    finite = [each if math.isfinite(each) else math.nan for each in fluxes]
    for sent, wanted in (
        (as_csv(table), fluxes),
        (json.loads(json.dumps(as_columns(table), allow_nan=False)), finite),
    ):
        (found,) = read(spectra=sent).spectra
        np.testing.assert_array_equal(found["wavelength"], waves)
        np.testing.assert_array_equal(found["flux"], wanted)
        assert np.isnan(found["error"]).all() or has_errors


def test_the_kit_needs_neither_the_house_nor_heavy_libraries():
    code = (
        "import sys, firstlight.analysis_kit, firstlight.analysis_kit.running\n"
        "names = {each for each in sys.modules if each.startswith('firstlight')}\n"
        "others = {n for n in names if not n.startswith('firstlight.analysis_kit')}\n"
        "heavy = {'numpy', 'astropy', 'matplotlib', 'sqlalchemy', 'pydantic'} & set(sys.modules)\n"
        "print(sorted(others), sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['firstlight'] []"
