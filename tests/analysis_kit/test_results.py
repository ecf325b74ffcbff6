"""What a service sends back: plain JSON, without a number that is none."""

import base64
import json
from datetime import UTC, datetime

import matplotlib.pyplot as plt
import numpy as np
import pytest
from astropy import units as u
from astropy.table import Table
from astropy.time import Time
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from firstlight.analysis_kit import AnalysisFailed, Plot, Progress, Results, ServiceDeclaration
from firstlight.analysis_kit.plain_values import plain


def sent(**facts):
    """What is on the wire."""
    document = Results(**facts).as_document()
    return json.loads(json.dumps(document, allow_nan=False))["analysis"]


def test_an_empty_result_is_a_success():
    assert Results("done").as_document() == {"status": "success", "message": "done", "analysis": {}}


def test_values_of_scientific_python_become_plain():
    found = sent(
        results={
            "float32": np.float32(1.5),
            "int": np.int64(3),
            "truth": np.bool_(True),
            "none": None,
            "nan": np.nan,
            "inf": np.array([1.0, np.inf]),
            "masked": np.ma.masked_array([1.0, 2.0], mask=[False, True]),
            "quantity": 3.0 * u.km / u.s,
            "array": np.arange(4).reshape(2, 2),
            "table": Table({"a": [1, 2], "b": ["x", "y"]}),
            "time": Time("2026-01-01T00:00:00"),
            "datetime": datetime(2026, 1, 1, tzinfo=UTC),
            "nested": {1: (np.float64("nan"), {"a"})},
        }
    )["results"]
    assert found["format"] == "json"
    assert found["data"] == {
        "float32": 1.5,
        "int": 3,
        "truth": True,
        "none": None,
        "nan": None,
        "inf": [1.0, None],
        "masked": [1.0, None],
        "quantity": {"value": 3.0, "unit": "km / s"},
        "array": [[0, 1], [2, 3]],
        "table": {"a": [1, 2], "b": ["x", "y"]},
        "time": "2026-01-01T00:00:00.000",
        "datetime": "2026-01-01T00:00:00+00:00",
        "nested": {"1": [None, ["a"]]},
    }


@given(
    st.recursive(
        st.floats() | st.integers() | st.text() | st.none() | st.booleans(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_whatever_is_plain_can_be_sent(value):
    json.dumps(plain(value, "value"), allow_nan=False)


def test_what_cannot_be_sent_says_where_it_stands():
    with pytest.raises(TypeError, match=r"results\.fit\.steps\[1\]: a object cannot be sent"):
        Results(results={"fit": {"steps": [1, object()]}}).as_document()


def test_plots_are_files_or_figures():
    figure = Figure()
    figure.subplots().plot([1, 2])
    plots = sent(plots=[Plot(b"<svg/>", "svg", "by hand"), figure, Plot.of(figure, title="mine")])[
        "plots"
    ]
    assert plots[0] == {
        "format": "svg",
        "data": base64.b64encode(b"<svg/>").decode(),
        "title": "by hand",
    }
    assert base64.b64decode(plots[1]["data"]).startswith(b"\x89PNG")
    assert plots[2]["title"] == "mine"
    with pytest.raises(TypeError, match="plots: list is neither"):
        Results(plots=[[1]]).as_document()
    plt.close("all")


def test_a_posterior_has_one_model_or_several():
    draws = {"z": np.array([0.1, np.nan, 0.3]), "t0": [1, 2, 3]}
    assert sent(posterior=draws)["posterior_samples"] == {"z": [0.1, 0.3], "t0": [1.0, 3.0]}
    assert sent(posterior={"salt3": draws})["posteriors"] == {
        "salt3": {"z": [0.1, 0.3], "t0": [1.0, 3.0]}
    }


@pytest.mark.parametrize(
    ("draws", "message"),
    [
        ({"a": [1, 2], "b": [1]}, "different numbers of samples"),
        ({"a": [np.nan], "b": [1]}, "no draw is finite"),
    ],
)
def test_a_posterior_that_is_none_is_refused(draws, message):
    with pytest.raises(ValueError, match=message):
        Results(posterior=draws).as_document()


def test_model_light_curves_are_by_filter():
    curve = np.array([[1.0, 2.0, 1.5, 2.5], [2.0, np.nan, 1.0, 1.0]])
    assert sent(model_light_curves={"g": curve})["model_lightcurve"] == {"g": [[1, 2, 1.5, 2.5]]}
    both = sent(model_light_curves={"salt3": {"g": curve}}, model_name="salt3", n_detections=7)
    assert both["model_lightcurves"]["salt3"]["g"] == [[1, 2, 1.5, 2.5]]
    assert (both["model_name"], both["n_detections"]) == ("salt3", 7)
    with pytest.raises(ValueError, match=r"model light curve of g: shape \(2, 3\) is not \(n, 4\)"):
        Results(model_light_curves={"g": curve[:, :3]}).as_document()


def test_inference_data_and_annotations_are_sent():
    found = sent(inference_data=b"\x89HDF", annotations=[{"data": {"p": np.float64(2.5)}}])
    assert found["inference_data"] == {"format": "netcdf4", "data": "iUhERg=="}
    assert found["annotations"] == [{"data": {"p": 2.5}}]
    with pytest.raises(TypeError, match="annotations: each is"):
        Results(annotations=[{"p": 2}]).as_document()


def test_a_failure_tells_what_to_do():
    failed = AnalysisFailed("too few points", hint="observe more")
    assert failed.as_document() == {
        "status": "failure",
        "message": "too few points (hint: observe more)",
        "analysis": {},
    }


def test_progress_stays_within_its_bounds():
    heard = []
    progress = Progress(lambda *told: heard.append(told))
    for fraction in (0.2, -1, 7, float("nan"), np.float32(0.5)):
        progress(fraction, "x" * 1000)
    assert [fraction for fraction, _ in heard] == [0.2, 0.0, 1.0, 1.0, 0.5]
    assert {len(message) for _, message in heard} == {500}
    Progress()(0.5)


PARAMETERS = {
    "source": ["nugent-sn2p", "salt3"],
    "fix_z": ["True", "False"],
    "z_max": {"type": "number", "minimum": 0.0, "maximum": 1.0, "default": 0.2},
    "n": {"type": "integer"},
    "night": {"type": "date"},
    "who": {"type": "string", "required": "True"},
    "table": {"type": "file"},
    "power": {"type": "choice", "choices": [1, 2]},
}


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, {}),
        ({"source": "salt3"}, {"source": "salt3"}),
        ({"fix_z": "True"}, {"fix_z": True}),
        ({"fix_z": True}, {"fix_z": True}),
        ({"z_max": "0.5"}, {"z_max": 0.5}),
        ({"z_max": ""}, {"z_max": 0.2}),
        ({"n": 3.0}, {"n": 3}),
        ({"night": "2026-01-01"}, {"night": "2026-01-01"}),
        ({"night": 60000.5}, {"night": 60000.5}),
        ({"power": "2"}, {"power": 2}),
        ({"table": "data:text/csv;name=a.csv;base64,AA=="}, None),
        ({"correct_extinction": True}, {"correct_extinction": True}),
    ],
)
def test_parameters_get_their_types_and_defaults(given, found):
    service = ServiceDeclaration("x", parameters=PARAMETERS)
    usual = {"source": "nugent-sn2p", "fix_z": False, "z_max": 0.2, "who": "me"}
    assert service.read_parameters({"who": "me", **given}) == usual | (
        given if found is None else found
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"shape": 1}, "unknown parameter shape (hint: there are: source"),
        ({"who": None}, "parameter who is required"),
        ({"source": "salt2"}, "'salt2' is not among its choices"),
        ({"z_max": 2}, "parameter z_max: 2.0 is more than 1.0"),
        ({"z_max": -1}, "parameter z_max: -1.0 is less than 0.0"),
        ({"z_max": "far"}, "parameter z_max: 'far' is no number"),
        ({"z_max": float("nan")}, "is no number"),
        ({"z_max": True}, "is no number"),
        ({"n": 2.5}, "parameter n: '2.5' is no integer"),
        ({"fix_z": "maybe"}, "is no boolean"),
        ({"night": "tomorrow"}, "is no date"),
        ({"who": 3}, "is no string"),
        ({"power": 3}, "not among its choices"),
    ],
)
def test_parameters_that_cannot_be_are_refused(given, message):
    service = ServiceDeclaration("x", parameters=PARAMETERS)
    with pytest.raises(AnalysisFailed) as caught:
        service.read_parameters({"who": "me", **given})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": " "},
        {"analysis_type": "guessing"},
        {"input_data_types": ("photometry", "pictures")},
        {"input_format": "xml"},
        {"timeout": 0},
        {"timeout": float("nan")},
        {"parameters": {"a": []}},
        {"parameters": {"a": 3}},
        {"parameters": {"a": {"type": "colour"}}},
        {"parameters": {"a": {"type": "choice"}}},
    ],
)
def test_a_declaration_that_cannot_be_registered_is_refused(wrong):
    with pytest.raises((ValueError, TypeError)):
        ServiceDeclaration(**{"name": "x", **wrong})


def test_a_declaration_is_registered_as_it_is():
    told = ServiceDeclaration("rrl", version="1.0", parameters=PARAMETERS).as_document("http://a/")
    assert (told["name"], told["display_name"], told["url"]) == ("rrl", "rrl", "http://a/")
    assert told["input_data_types"] == ["photometry"]
    assert json.loads(json.dumps(told))["optional_analysis_parameters"] == PARAMETERS
