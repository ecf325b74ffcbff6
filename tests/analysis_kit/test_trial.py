"""Trying a function on files: what it is given, and what is written of its answer."""

import base64
import json
import math

import pytest
from typer.testing import CliRunner

from firstlight.analysis_kit import AnalysisFailed, Inputs, Plot, Results, ServiceDeclaration
from firstlight.analysis_kit.trial import (
    TrialObject,
    read_parameters,
    read_photometry,
    request,
    write_answer,
)
from firstlight.cli.main import app

SERVICE = """
import numpy as np
from firstlight.analysis_kit import AnalysisFailed, Inputs, Results, ServiceDeclaration

SERVICE = ServiceDeclaration("count", parameters={"least": {"type": "integer", "default": 2}})


def fit(inputs):
    if len(inputs.photometry) < inputs.parameters["least"]:
        raise AnalysisFailed("too few points", hint="observe more")
    z = inputs.redshift.value if inputs.redshift else None
    return Results("counted", {"points": len(inputs.photometry), "z": z, "ra": inputs.ra,
                               "spectra": len(inputs.spectra), "name": inputs.object_name})
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "count.py").write_text(SERVICE)
    write(tmp_path, "mjd,filter,mag,magerr\n2,g,18,0.1\n1,r,19,0.2\n")
    return tmp_path


def write(folder, text, name="lc.csv"):
    (folder / name).write_text(text)
    return folder / name


def typed(*words):
    return CliRunner().invoke(app, ["analysis", *words])


def test_fluxes_are_made_from_magnitudes_and_back(folder):
    table = Inputs.from_request(request(TrialObject(photometry=folder / "lc.csv"))).photometry
    assert table["mjd"].tolist() == [1.0, 2.0]
    assert table["flux"].tolist() == pytest.approx([10**1.96, 10**2.36])
    assert (table["fluxerr"] / table["flux"]).tolist() == pytest.approx(
        [0.2 / 1.0857, 0.1 / 1.0857], rel=1e-4
    )
    path = write(folder, "MJD, Band, Flux, Flux_err\n1, g, 100.0, 5.0\n2, g, -3.0, 5.0\n3,g,,5\n")
    columns = read_photometry(path)
    assert columns["mag"][0] == pytest.approx(18.9)
    assert columns["magerr"][0] == pytest.approx(0.0543, abs=1e-4)
    assert columns["mag"][1:] == [None, None]
    assert columns["flux"][2] is None


def test_fluxes_of_another_zero_point_are_scaled(folder):
    path = write(
        folder, "mjd,filter,flux,fluxerr,zp,magsys\n1,g,1.0,0.1,23.9,AB\n2,g,1.0,0.1,26.4,ab\n"
    )
    columns = read_photometry(path)
    assert columns["flux"] == pytest.approx([1.0, 0.1])
    assert columns["fluxerr"] == pytest.approx([0.1, 0.01])


def test_what_a_portal_exports_can_be_tried(folder):
    text = (
        "# a comment\nid,mjd,bjd_tdb,filter,instrument,origin,flux,flux_err,mag,mag_err,"
        "limiting_mag,magsys,rel_flux,rel_flux_err,airmass,flags\n"
        "1,60000.5,2460001.0,sdssg,Cam,x,100.0,5.0,18.9,0.05,20.0,ab,1.01,0.002,1.2,0\n"
        "2,60001.5,2460002.0,sdssg,Cam,x,,5.0,,,20.0,ab,,,1.3,0\n"
    )
    table = Inputs.from_request(request(TrialObject(photometry=write(folder, text)))).photometry
    assert table["rel_flux"][0] == 1.01
    assert table["bjd_tdb"].tolist() == [2460001.0, 2460002.0]
    assert table["instrument_name"].tolist() == ["Cam", "Cam"]
    assert math.isnan(table["flux"][1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a line of names and a line a point"),
        ("mjd,filter,mag\n", "a line of names and a line a point"),
        ("mjd,mag\n1,2\n", "columns mjd, filter and flux"),
        ("mjd,filter\n1,g\n", "columns mjd, filter and flux"),
        ("mjd,filter,mag,magsys\n1,g,18,vega\n", "magnitudes of system vega"),
    ],
)
def test_a_file_that_is_no_photometry_is_refused(folder, text, message):
    with pytest.raises(AnalysisFailed) as caught:
        read_photometry(write(folder, text))
    assert message in str(caught.value)


def test_a_file_that_is_no_text_is_refused(folder):
    picture = folder / "picture.jpg"
    picture.write_bytes(b"\xff\xd8\xff\xe0 no text")
    with pytest.raises(AnalysisFailed, match="this is no text"):
        read_photometry(picture)
    with pytest.raises(AnalysisFailed, match="this is no text"):
        request(TrialObject(spectra=[picture]))


def test_spectra_are_columns_of_numbers(folder):
    path = write(
        folder, "# wave flux\nwave flux err\n4000 1e-17 1e-18\n5000,2e-17,1e-18\n", "a.txt"
    )
    other = write(folder, "4000 1\n5000 2\n", "b.txt")
    first, second = Inputs.from_request(request(TrialObject(spectra=[path, other]))).spectra
    assert first["wavelength"].tolist() == [4000.0, 5000.0]
    assert first["error"].tolist() == [1e-18, 1e-18]
    assert first.meta["origin"] == "a.txt"
    assert all(math.isnan(each) for each in second["error"])
    with pytest.raises(AnalysisFailed, match="columns of wavelength and flux"):
        request(TrialObject(spectra=[write(folder, "nothing\n", "c.txt")]))


def test_parameters_are_read_from_the_command_line(folder):
    service = ServiceDeclaration(
        "x", parameters={"n": {"type": "integer"}, "table": {"type": "file"}, "kind": ["a", "b"]}
    )
    table = write(folder, "a,b\n", "table.csv")
    given = ["n=3", f"table={table}", "kind=b", "free=[1, 2]", "text=a=b"]
    found = read_parameters(service, given)
    assert (found["n"], found["kind"], found["free"], found["text"]) == ("3", "b", [1, 2], "a=b")
    head, _, data = found["table"].partition(";base64,")
    assert head == "data:text/csv;name=table.csv"
    assert base64.b64decode(data) == b"a,b\n"
    with pytest.raises(AnalysisFailed, match="name=value is expected"):
        read_parameters(service, ["n"])


def test_what_an_earlier_trial_wrote_is_replaced(tmp_path):
    full = Results(
        results={"a": 1}, plots=[Plot(b"x"), Plot(b"<svg/>", "svg+xml")], inference_data=b"n"
    )
    names = [path.name for path in write_answer(full.as_document(), tmp_path / "out")]
    assert names == ["plot-0.png", "plot-1.svg", "results.json", "inference-data.nc", "answer.json"]
    (tmp_path / "out" / "mine.txt").write_text("stays")
    write_answer(AnalysisFailed("no").as_document(), tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"answer.json", "mine.txt"}


def test_a_function_is_tried(folder):
    spectrum = write(folder, "4000 1\n", "a.txt")
    done = typed(
        "try", "count.py", "--photometry", "lc.csv", "--redshift", "0.01", "--position", "10", "-5",
        "--spectrum", str(spectrum), "--to", "out",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "success: counted" in done.output
    found = json.loads((folder / "out" / "results.json").read_text())
    assert found == {"points": 2, "z": 0.01, "ra": 10.0, "spectra": 1, "name": "trial"}


def test_without_photometry_there_is_nothing_to_try(folder):
    done = typed("try", "count.py")
    assert done.exit_code == 1
    assert "failure: there is no photometry in the request" in done.output


def test_a_failure_is_told_by_the_exit_code(folder):
    done = typed("try", "count.py:fit", "--photometry", "lc.csv", "--param", "least=3")
    assert done.exit_code == 1
    assert "failure: too few points (hint: observe more)" in done.output


@pytest.mark.parametrize("whole", [True, False])
def test_a_request_of_a_portal_is_tried_again(folder, whole):
    body = request(TrialObject("SN 1", photometry=folder / "lc.csv"))
    write(folder, json.dumps(body if whole else body["inputs"]), "request.json")
    done = typed("try", "count.py", "--request", "request.json")
    assert done.exit_code == 0, done.output
    assert "points = 2" in done.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["try", "nosuch.py", "--photometry", "lc.csv"], "there is no file"),
        (["try", "nosuch.module", "--photometry", "lc.csv"], "there is no module nosuch.module"),
        (["try", "count.py:guess", "--photometry", "lc.csv"], "has no function guess; it has fit"),
        (["try", "count.py", "--photometry", "count.py"], "columns mjd, filter"),
        (["try", "count.py", "--photometry", "lc.csv", "--param", "x"], "name=value"),
        (["try", "count.py", "--request", "lc.csv"], "this is no JSON"),
        (["serve", "nosuch.py", "--port", "0"], "there is no file"),
        (["serve", "count.py", "--host", "192.0.2.1"], "192.0.2.1:6801"),
        (["describe", "..."], "is the name of no module"),
    ],
)
def test_what_cannot_be_tried_says_why(folder, words, message):
    done = typed(*words)
    assert done.exit_code == 2, done.output
    assert message in " ".join(done.output.split())
    assert "Traceback" not in done.output


def test_a_file_with_an_error_of_its_own_is_shown_with_it(folder):
    write(folder, "def fit(inputs)\n    pass\n", "wrong.py")
    done = typed("try", "wrong.py", "--photometry", "lc.csv")
    assert done.exit_code == 2
    assert "def fit(inputs)" in done.output
    assert "SyntaxError: expected ':'" in done.output
    assert "fault of firstlight" not in done.output


def test_a_service_is_described_as_it_is_registered(folder):
    told = json.loads(typed("describe", "count.py", "--url", "http://a:1/").stdout)
    assert (told["name"], told["url"], told["input_format"]) == ("count", "http://a:1/", "json")
    assert told["optional_analysis_parameters"]["least"]["default"] == 2
