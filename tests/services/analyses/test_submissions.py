"""What services send is taken apart into products, or refused by the name of the part."""

import base64
import io
import json

import h5py
import joblib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from firstlight.analysis_kit import Plot, Results
from firstlight.errors import FirstlightError
from firstlight.formats.posterior_samples import unpack
from firstlight.formats.strict_json import StrictJson
from firstlight.services.analyses.analysis_settings import AnalysisSettings
from firstlight.services.analyses.result_reader import BodyReader, ReaderLimits
from firstlight.services.analyses.submissions import (
    ResultMalformed,
    ResultRefused,
    ResultTooLarge,
    ResultUnreadable,
    SubmissionReader,
)


def b64(data):
    return base64.b64encode(data).decode()


def png():
    written = io.BytesIO()
    Image.new("RGB", (3, 2)).save(written, "png")
    return written.getvalue()


def joblib_bytes(value, **options):
    written = io.BytesIO()
    joblib.dump(value, written, **options)
    return written.getvalue()


def netcdf(draws=50):
    written = io.BytesIO()
    with h5py.File(written, "w") as file:
        group = file.create_group("posterior")
        for name, size in (("chain", 2), ("draw", draws)):
            group[name] = np.arange(size)
            group[name].make_scale(name)
        group["mu"] = np.arange(2.0 * draws).reshape(2, draws)
    return written.getvalue()


@pytest.fixture
def send(tmp_path):
    """Read a body; give what was told, and its products as bytes."""

    def sent(analysis=None, *, settings=None, body=None, needs_status=True, spaces=0, **more):
        path = tmp_path / "body.json"
        if body is None:
            told = {"status": "success", "message": "well", **more}
            body = json.dumps(told if analysis is None else {**told, "analysis": analysis})
        path.write_bytes((body if isinstance(body, bytes) else body.encode()) + b" " * spaces)
        with SubmissionReader(settings).read(path, needs_status=needs_status) as found:
            products = {
                (str(each.kind), each.number, each.name): (
                    each.data if isinstance(each.data, bytes) else each.data.read_bytes()
                )
                for each in found.products
            }
        if found.folder is not None:
            assert not found.folder.exists()
        return found, products

    return sent


@pytest.fixture(params=["small", "large"])
def spaces(request):
    """What makes a body so long that it is read in a process of its own; or nothing."""
    return 0 if request.param == "small" else 300_000


def test_json_results(send, spaces):
    results = {"format": "json", "data": {"chisq": 1.5, "names": ["a", None]}}
    found, products = send({"results": results}, spaces=spaces)
    assert (found.status, found.message, found.succeeded) == ("success", "well", True)
    assert json.loads(products["results", 0, ""]) == {"chisq": 1.5, "names": ["a", None]}
    assert found.facts["has_results"]
    assert found.facts["results_format"] == "json"
    assert found.facts["notes"] == []
    assert found.others == {}
    assert (found.folder is None) == (not spaces)


@pytest.mark.parametrize(
    "results",
    [
        {"format": "json", "data": json.dumps({"a": 1})},
        {"format": "json", "data": b64(b'{"a": 1}')},
        {"type": "JSON", "data": {"a": 1}},
        {"data": {"a": 1}},
        {"a": 1},
        json.dumps({"a": 1}),
    ],
)
def test_the_ways_to_send_json(send, results):
    found, products = send({"results": results})
    assert json.loads(products["results", 0, ""]) == {"a": 1}
    assert found.facts["results_format"] == "json"


@pytest.mark.parametrize("compress", [0, 3])
@pytest.mark.parametrize("bare", [False, True])
def test_joblib_results_are_kept_as_sent_and_as_json(send, compress, bare):
    data = joblib_bytes({"x": np.arange(3), "bad": float("nan")}, compress=compress)
    sent = b64(data) if bare else {"format": "joblib", "data": b64(data)}
    found, products = send({"results": sent})
    assert products["results_as_sent", 0, ""] == data
    assert json.loads(products["results", 0, ""]) == {"x": [0, 1, 2], "bad": None}
    assert found.facts["results_format"] == "joblib"
    assert "1 numbers were not finite" in found.facts["notes"][0]
    assert joblib.load(io.BytesIO(products["results_as_sent", 0, ""]))["x"].tolist() == [0, 1, 2]


def test_plots_are_what_their_bytes_are(send, spaces):
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"/>'
    plots = [
        {"format": "exe", "data": b64(png()), "title": "first\x00"},
        {"type": "png", "data": "data:image/png;base64," + b64(svg)},
        {"data": base64.encodebytes(b"%PDF-1.5 " + b"x" * 100).decode()},
    ]
    found, products = send({"plots": plots}, spaces=spaces)
    assert [each["format"] for each in found.facts["plots"]] == ["png", "svg", "pdf"]
    assert [each["title"] for each in found.facts["plots"]] == ["first", "", ""]
    assert found.facts["num_plots"] == 3
    assert products["plot", 0, ""] == png()
    assert products["plot", 1, ""] == svg


@pytest.mark.parametrize("bare", [False, True])
def test_inference_data(send, bare):
    data = netcdf()
    sent = b64(data) if bare else {"format": "netcdf4", "data": b64(data)}
    found, products = send({"inference_data": sent})
    assert products["inference_data", 0, ""] == data
    samples = unpack(products["posterior", 0, ""])
    assert samples["posterior"].columns() == {"mu": list(map(float, range(100)))}
    assert found.facts["has_inference_data"]
    assert found.facts["has_corner"]
    assert found.facts["parameters"] == {"posterior": ["mu"]}
    assert found.facts["draws"] == {"posterior": 100}


def test_posteriors_of_models(send, spaces):
    sent = {"b": {"t0": [1, 2, 3], "x1": [4, 5, None]}, "a": {"t0": [1.5, 2.5]}}
    found, products = send({"posteriors": sent}, spaces=spaces)
    assert found.facts["models"] == ["b", "a"]
    assert found.facts["parameters"] == {"b": ["t0", "x1"], "a": ["t0"]}
    assert found.facts["draws"] == {"b": 2, "a": 2}
    assert found.facts["drawn_of"] == {"b": 3, "a": 2}
    drawn = json.loads(products["posterior", 0, "drawn"])
    assert drawn["models"]["b"] == {"t0": [1, 2], "x1": [4, 5]}
    assert drawn["draws"] == {"b": 2, "a": 2}
    assert "1 draws" in found.facts["notes"][0]


def test_the_one_model_has_the_name_that_is_told(send):
    sent = {
        "posterior_samples": {"t0": [1, 2, 3]},
        "model_lightcurve": {"ztfg": [[59000, 1, 0.5, 1.5]]},
        "model_name": "salt3",
        "n_detections": 7.0,
    }
    found, products = send(sent)
    assert found.facts["models"] == found.facts["light_curve_models"] == ["salt3"]
    assert found.facts["n_detections"] == 7
    assert found.facts["filters"] == ["ztfg"]
    assert json.loads(products["light_curves", 0, ""]) == {
        "models": {"salt3": {"ztfg": [[59000, 1, 0.5, 1.5]]}}
    }


def test_what_the_kit_sends(send):
    pytest.importorskip("numpy")
    made = Results(
        message="chi2/dof = 1",
        results={"chisq": 1.0, "nan": float("nan")},
        plots=[Plot(png(), title="light curve")],
        posterior={"salt3": {"t0": np.arange(100.0)}, "nugent": {"t0": np.arange(50.0)}},
        model_light_curves={"salt3": {"g": np.ones((3, 4))}},
        annotations=[{"data": {"z": 0.1}, "origin": "sn"}],
        model_name="salt3",
        n_detections=12,
    ).as_document()
    found, products = send(body=json.dumps(made))
    assert len(products) == 5
    assert found.annotations == [{"data": {"z": 0.1}, "origin": "sn"}]
    assert found.facts["models"] == ["salt3", "nugent"]
    assert found.facts["plots"][0]["title"] == "light curve"


def test_a_service_of_today_sends_all_at_once(send):
    analysis = {
        "inference_data": {"format": "netcdf4", "data": b64(netcdf())},
        "plots": [{"format": "png", "data": b64(png())}],
        "results": {"format": "joblib", "data": b64(joblib_bytes({"a": 1}))},
    }
    found, products = send(analysis)
    assert {kind for kind, _, _ in products} == {
        "inference_data", "plot", "results", "results_as_sent", "posterior",
    }  # fmt: skip
    assert found.facts["has_corner"]


@pytest.mark.parametrize("analysis", [None, {}, {"plots": None, "results": {}, "posteriors": {}}])
def test_an_analysis_may_be_empty(send, analysis):
    found, products = send(analysis)
    assert products == {}
    assert not found.facts["has_results"]
    assert found.facts["num_plots"] == 0


def test_a_failure_is_told(send):
    found, _ = send(status="failure", message="did not converge\x00\ud800")
    assert not found.succeeded
    assert found.message == "did not converge\ufffd"


def test_uploads_need_no_status_and_keep_other_keys(send):
    body = {"analysis": {"results": {"data": {"a": 1}}}, "show_plots": True, "group_ids": [1, 2]}
    found, _ = send(body=json.dumps(body), needs_status=False)
    assert found.others == {"show_plots": True, "group_ids": [1, 2]}
    assert found.status == ""
    with pytest.raises(ResultMalformed) as told:
        send(body=json.dumps(body))
    assert told.value.field == "status"


def test_numbers_that_are_not_finite_are_null_and_told(send, spaces):
    found, products = send(
        {"results": {"format": "json", "data": {"a": float("inf"), "b": [float("nan")]}}},
        spaces=spaces,
    )
    assert json.loads(products["results", 0, ""]) == {"a": None, "b": [None]}
    assert "2 NaN or Infinity" in found.facts["notes"][0]


def test_many_samples_are_thinned_and_it_is_told(send):
    limits = AnalysisSettings(max_samples=1000, drawn_samples=100)
    found, products = send(
        {"posterior_samples": {"a": list(range(5000)), "b": list(range(5000))}}, settings=limits
    )
    assert found.facts["draws"] == {"model": 500}
    assert found.facts["drawn_of"] == {"model": 5000}
    drawn = json.loads(products["posterior", 0, "drawn"])
    assert len(drawn["models"]["model"]["a"]) == 100
    assert drawn["draws"] == {"model": 100}


@pytest.mark.parametrize(
    ("analysis", "field"),
    [
        ("text", "analysis"),
        ([], "analysis"),
        ({"plots": {}}, "analysis.plots"),
        ({"plots": ["x"]}, "analysis.plots[0]"),
        ({"plots": [{}]}, "analysis.plots[0].data"),
        ({"plots": [{"data": 5}]}, "analysis.plots[0].data"),
        ({"plots": [{"data": "!!!!"}]}, "analysis.plots[0].data"),
        ({"plots": [{"data": "QQ"}]}, "analysis.plots[0].data"),
        ({"plots": [{"data": ""}]}, "analysis.plots[0].data"),
        ({"plots": [{"data": b64(b"nothing")}]}, "analysis.plots[0].data"),
        ({"results": {"format": "yaml", "data": "a"}}, "analysis.results.format"),
        ({"results": {"format": 5, "data": "a"}}, "analysis.results.format"),
        ({"results": [1]}, "analysis.results.format"),
        ({"results": {"format": "joblib", "data": "%%%"}}, "analysis.results.data"),
        ({"results": {"format": "joblib", "data": b64(b"no")}}, "analysis.results.data"),
        ({"results": {"format": "joblib", "data": {}}}, "analysis.results.data"),
        ({"inference_data": {"data": b64(b"no")}}, "analysis.inference_data"),
        ({"inference_data": [1]}, "analysis.inference_data.data"),
        ({"posterior_samples": []}, "analysis.posterior_samples"),
        ({"posteriors": {"m": [1]}}, "analysis.posteriors"),
        ({"posterior_samples": {"a": [1], "b": [1, 2]}}, "analysis.posterior of model"),
        ({"posterior_samples": {"a": ["x"]}}, "analysis.posterior of model.a"),
        ({"model_lightcurve": {"g": [[1, 2]]}}, "analysis.model_lightcurve of model.g[0]"),
        ({"model_lightcurves": {"m": []}}, "analysis.model_lightcurves"),
        ({"model_name": 5}, "analysis.model_name"),
        ({"n_detections": -1}, "analysis.n_detections"),
        ({"n_detections": "7"}, "analysis.n_detections"),
        ({"n_detections": True}, "analysis.n_detections"),
        ({"annotations": "x"}, "analysis.annotations"),
        ({"annotations": [{"origin": "x"}]}, "analysis.annotations[0]"),
        ({"annotations": [{"data": {}, "origin": 5}]}, "analysis.annotations[0]"),
        ({"annotations": [{"data": {}}] * 101}, "analysis.annotations"),
    ],
)
def test_a_part_of_another_form_is_named(send, analysis, field):
    with pytest.raises(ResultMalformed) as told:
        send(analysis)
    assert told.value.field == field
    assert told.value.code == "analysis.result_malformed"


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "null",
        '"text"',
        "{",
        '{"status": "success", "status": "failure"}',
        '{"status": 5}',
        '{"status": "success", "message": {}}',
        b'{"status": "\xff"}',
        json.dumps({"status": "x" * 100}),
    ],
)
def test_other_bodies_are_malformed(send, body):
    with pytest.raises(ResultMalformed):
        send(body=body)


def test_dangerous_parts_are_refused(send):
    class Call:
        def __reduce__(self):
            return eval, ("1",)

    for analysis in (
        {"results": {"format": "joblib", "data": b64(joblib_bytes(Call()))}},
        {"plots": [{"format": "png", "data": b64(b"<html><script>")}]},
    ):
        with pytest.raises(ResultRefused):
            send(analysis)


@pytest.mark.parametrize(
    ("analysis", "limits"),
    [
        ({"plots": [{"data": b64(png())}] * 3}, {"max_plots": 2}),
        ({"plots": [{"data": b64(png() + b"x" * 2000)}]}, {"max_plot_bytes": 1024}),
        ({"results": {"data": {"a": "x" * 2000}}}, {"max_result_bytes": 1024}),
        ({"annotations": [{"data": {"a": "x" * 300_000}}]}, {}),
        (
            {"results": {"format": "joblib", "data": b64(joblib_bytes("x" * 9999, compress=3))}},
            {"max_unpacked_bytes": 1024},
        ),
    ],
)
def test_too_much_is_too_large(send, analysis, limits):
    with pytest.raises(ResultTooLarge):
        send(analysis, settings=AnalysisSettings(**limits))


def test_reading_that_takes_too_long_is_ended(send, tmp_path):
    limits = AnalysisSettings(reader_timeout_s=0.001)
    with pytest.raises(ResultUnreadable):
        send({"results": b64(joblib_bytes([1]))}, settings=limits)


def test_a_reader_that_dies_leaves_an_error_and_nothing_else(send, tmp_path, monkeypatch):
    import firstlight.services.analyses.submissions as module  # noqa: PLC0415, to be changed

    monkeypatch.setattr(module, "_CHILD", "no.such.module")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    with pytest.raises(ResultUnreadable):
        send({"results": b64(joblib_bytes([1]))})
    assert not list(tmp_path.glob("firstlight-*"))


def test_what_is_not_known_is_told(send):
    found, _ = send({"extra": {"a": 1}, "results": {"data": {"a": 1}}})
    assert found.facts["notes"] == ["not kept, since not known: extra"]


KEYS = st.sampled_from(
    ["results", "plots", "posterior_samples", "posteriors", "model_lightcurve", "annotations",
     "model_lightcurves", "model_name", "n_detections", "format", "data", "origin", "a"]
)  # fmt: skip
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["json", b64(b"{}"), b64(png()), "x", "\x00", "\ud800", "[1]"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=15,
)


LIMITS = ReaderLimits(
    max_result_bytes=1_000_000, max_unpacked_bytes=1_000_000, max_plot_bytes=100_000,
    max_plots=3, max_samples=1000, drawn_samples=100,
)  # fmt: skip


@settings(max_examples=300)
@given(analysis=st.dictionaries(KEYS, JSON, max_size=5))
def test_any_analysis_is_read_or_refused(analysis):
    products = []
    reading = StrictJson()
    body = reading.read(json.dumps({"status": "success", "analysis": analysis}), "body")
    try:
        told = BodyReader(LIMITS, lambda *product: products.append(product)).read(
            body, reading.not_finite, needs_status=True
        )
    except FirstlightError as fault:
        assert fault.code.startswith("analysis.result_")  # noqa: PT017, a value is right as well
        json.dumps(fault.as_dict()).encode()
    else:
        text = json.dumps(told.as_dict(), allow_nan=False)
        assert "\\u0000" not in text
        assert "\\ud800" not in text
        for kind, _, _, _, data in products:
            if kind in ("results", "light_curves"):
                json.loads(data)
