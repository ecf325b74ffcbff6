"""The tutorial of authors goes as told, and its example works."""

import json
from contextlib import ExitStack

import numpy as np
import pytest

import test_docs
from firstlight.analysis_kit import Progress
from firstlight.analysis_kit.loading import load
from firstlight.analysis_kit.running import answer
from firstlight.analysis_kit.trial import TrialObject, request
from test_docs import ADDRESS, BLOCK, DOCS, ROOT, _comes_true, _free_address, _run, _running, _typed

PAGE = DOCS / "tutorials" / "write-an-analysis-service.md"
SERVICE = "127.0.0.1:6801"
EXAMPLE = ROOT / "examples" / "analysis_service.py"


def _blocks():
    return BLOCK.findall(PAGE.read_text("utf-8"))


def _files(folder):
    """Write the files that the page shows; each begins with its name."""
    for language, text in _blocks():
        first, _, rest = text.partition("\n")
        if language in {"python", "csv"} and first.startswith("# "):
            (folder / first[2:]).write_text(rest)


def _trial(folder, **parameters):
    return request(TrialObject("SN", photometry=folder / "lc.csv", parameters=parameters))


@pytest.mark.slow
def test_the_tutorial_goes_as_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(test_docs, "PATIENCE_S", 240)  # a busy machine is slow to begin
    portal, service = _free_address(), _free_address()
    ports = {"FIRSTLIGHT_WEB__PORT": portal.rpartition(":")[2], "COLUMNS": "200"}
    _files(tmp_path)
    with ExitStack() as beside:
        for number, (language, block) in enumerate(_blocks()):
            text = block.replace(ADDRESS, portal).replace(SERVICE, service)
            if language == "toml":
                with (tmp_path / "dome" / "firstlight.toml").open("a") as settings:
                    settings.write(f"\n{text}")
            if language == "python" and not text.startswith("# "):
                exec(compile(text, str(PAGE), "exec"), {})  # noqa: S102, our own page is the code under test
            for command, told in _typed(text) if language == "console" else ():
                typed = command.replace("serve peak.py", f"serve peak.py --port {service[10:]}")
                if typed.endswith("&"):
                    log = tmp_path / f"beside-{number}.log"
                    beside.enter_context(_running(typed, log, tmp_path, **ports))
                    shown = _comes_true(told, log.read_text)
                else:
                    shown = _comes_true(told, lambda line=typed: _run(line, tmp_path, **ports))
                assert shown is None, "\n".join([f"$ {command}", *(shown or ())])


def test_the_first_function_finds_the_brightest_point(tmp_path):
    _files(tmp_path)
    found = answer(load(f"{tmp_path / 'brightest.py'}:fit"), _trial(tmp_path), Progress())
    assert found["analysis"]["results"]["data"] == {"mjd": 60020.1, "mag": 16.793, "points": 16}


@pytest.mark.parametrize("which", ["peak.py", EXAMPLE])
def test_the_fits_find_the_maximum(tmp_path, which):
    _files(tmp_path)
    rng = np.random.default_rng(7)
    times = np.arange(60010.0, 60030.0, 1.5)
    rows = ["mjd,filter,mag,magerr"]
    for each in times:
        mag = 15.0 + 0.01 * (each - 60019.0) ** 2 + rng.normal(0, 0.02)
        rows.append(f"{each},sdssr,{mag},0.02")
    (tmp_path / "lc.csv").write_text("\n".join(rows))
    document = answer(load(str(tmp_path / which)), _trial(tmp_path), Progress())
    assert document["status"] == "success", document["message"]
    analysis = json.loads(json.dumps(document, allow_nan=False))["analysis"]
    draws = analysis["posterior_samples"]
    times, mags = (
        np.array(next(v for k, v in draws.items() if k.startswith(n))) for n in ("mjd", "mag")
    )
    assert abs(times.mean() - 60019.0) < 4 * times.std()
    assert abs(mags.mean() - 15.0) < 4 * mags.std()
    curve = np.array(analysis["model_lightcurve"]["sdssr"])
    assert (curve[:, 2] <= curve[:, 1]).all()
    assert (curve[:, 1] <= curve[:, 3]).all()
    assert curve[:, 1].max() == pytest.approx(10 ** (-0.4 * (15.0 - 23.9)), rel=0.02)
    assert len(analysis["plots"]) == 1


def test_the_example_says_what_it_cannot_do(tmp_path):
    _files(tmp_path)
    lines = (tmp_path / "lc.csv").read_text().splitlines()
    (tmp_path / "lc.csv").write_text("\n".join(lines[:4]))
    found = answer(load(str(EXAMPLE)), _trial(tmp_path), Progress())
    assert found["status"] == "failure"
    assert "no filter has four points" in found["message"]
