"""The supernova fit as a service: what is asked, what comes back, and what fails."""

from __future__ import annotations

import json
import sys
from functools import cache

import numpy as np
import pytest
from astropy.table import Table, vstack
from supernova_world import brightness, light_curve

from firstlight.analysis_kit import AnalysisFailed, Inputs, Progress, Redshift
from firstlight.analysis_kit.supernova import SERVICE, fit, redshift_prior
from firstlight.analysis_kit.supernova_bandpasses import passband
from firstlight.analysis_kit.supernova_templates import FOLDER_VARIABLE

TRUTH = {"z": 0.05, "t0": 59000.0, "x0": brightness(17.5), "x1": 0.5, "c": 0.1}


@pytest.fixture(autouse=True)
def _nothing_on_this_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("SNCOSMO_DATA_DIR", str(tmp_path))
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    monkeypatch.delenv("SFD_DIR", raising=False)
    passband.cache_clear()
    yield
    passband.cache_clear()


def run(table=None, redshift=0.05, extinction=None, **parameters):
    """A run on a type Ia supernova, or on another table."""
    table = light_curve(TRUTH) if table is None else table
    known = None if redshift is None else Redshift(redshift)
    inputs = Inputs(
        photometry=table,
        redshift=known,
        parameters=parameters,
        object_name="SN2026x",
        extinction=extinction,
    )
    return fit(inputs, Progress())


@cache
def typical():
    """A run on the type Ia supernova with its own template."""
    return run(source="fl-sn1a", fix_z=True)


def pulls(result, truth=TRUTH):
    """How many errors each free parameter is off."""
    found = result.results["parameters"]
    return {
        name: (found[name]["value"] - value) / found[name]["error"]
        for name, value in truth.items()
        if "error" in found[name]
    }


def test_a_run_gives_all_that_the_page_shows():
    result = typical()
    assert result.message.startswith("Good results with chi^2/dof=")
    assert all(abs(pull) < 3.0 for pull in pulls(result).values())
    assert set(pulls(result)) == {"t0", "x0", "x1", "c"}
    document = json.loads(json.dumps(result.as_document(), allow_nan=False))
    analysis = document["analysis"]
    assert document["status"] == "success"
    assert analysis["model_name"] == "fl-sn1a"
    assert set(analysis["model_lightcurve"]) == {"ztfg", "ztfr", "sdssi"}
    assert set(analysis["posterior_samples"]) == {"t0", "x0", "x1", "c"}
    assert len(analysis["posterior_samples"]["t0"]) == 10_000
    annotated = analysis["annotations"][0]["data"]
    assert annotated["best_model"] == "fl-sn1a"
    assert "redshift" not in annotated, "it was known before"
    assert "sn_type" not in annotated, "no other was tried"
    assert result.plots[0].data.startswith(b"\x89PNG")
    told = analysis["results"]["data"]
    assert told["source"] == told["source_used"] == "fl-sn1a"
    assert told["t_max_B"]["value"] == pytest.approx(59000.0, abs=1.5)
    assert told["m_B"]["value"] == pytest.approx(17.5, abs=0.1)
    assert told["bands"]["ztfg"]["measurements"] == 20
    assert "SFD_DIR" in told["milky_way_ebv"]["how"]


def test_the_model_goes_through_the_measurements():
    table, result = light_curve(TRUTH), typical()
    for name, curve in result.model_light_curves.items():
        mjd, median, low, high = curve.T
        rows = (table["filter"] == name) & (table["mjd"] > mjd[0]) & (table["mjd"] < mjd[-1])
        expected = np.interp(table["mjd"][rows], mjd, median)
        offset = (table["flux"][rows] - expected) / table["fluxerr"][rows]
        assert np.std(offset) == pytest.approx(1.0, abs=0.5)
        assert np.all(low <= median)
        assert np.all(median <= high)


def test_the_draws_have_the_errors_that_are_told():
    result = typical()
    for name in ("t0", "x1", "c"):
        told = result.results["parameters"][name]
        draws = result.posterior[name]
        assert np.mean(draws) == pytest.approx(told["value"], abs=0.1 * told["error"])
        assert np.std(draws) == pytest.approx(told["error"], rel=0.05)


@pytest.mark.parametrize("sampler", ["none", pytest.param("nest", marks=pytest.mark.slow)])
def test_the_same_seed_gives_the_same_and_another_one_another(sampler):
    table = light_curve(TRUTH, points=8)
    runs = [
        run(table, source="fl-sn1a", fix_z=True, seed=seed, sampler=sampler) for seed in (7, 7, 8)
    ]
    draws = [np.asarray(each.posterior["t0"]) for each in runs]
    assert np.array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0][:100], draws[2][:100])
    assert runs[0].results == runs[1].results


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["mcmc", "nest"])
def test_samplers_agree_with_the_covariance_where_it_is_good(sampler):
    table = light_curve(TRUTH, points=12)
    result = run(table, source="fl-sn1a", fix_z=True, sampler=sampler)
    for name in ("t0", "x1", "c"):
        told = result.results["parameters"][name]
        draws = result.posterior[name]
        assert np.median(draws) == pytest.approx(told["value"], abs=0.35 * told["error"])
        assert np.std(draws) == pytest.approx(told["error"], rel=0.25)
    evidence = result.results["log_evidence"]
    assert (evidence is None) == (sampler == "mcmc")
    assert (sampler == "mcmc") or np.isfinite(evidence)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("fl-sn1a", "Ia"),
        ("fl-sn2p", "IIP"),
        pytest.param("fl-sn1bc", "Ib/c", marks=pytest.mark.slow),
        pytest.param("fl-sn2n", "IIn", marks=pytest.mark.slow),
    ],
)
def test_the_kind_is_told(name, kind):
    truth = TRUTH | {"z": 0.03, "c": 0.2}
    result = run(light_curve(truth, name=name, points=15, seed=4), 0.03, source="auto", fix_z=True)
    rows = result.results["comparison"]
    assert result.annotations[0]["data"]["sn_type"] == kind
    assert rows[0]["type"] == kind
    assert rows[1]["delta_bic"] > 10.0
    assert [row["delta_bic"] for row in rows] == sorted(row["delta_bic"] for row in rows)
    assert len({row["ndof"] + 4 for row in rows}) == 1, "all on the same measurements"
    assert len(result.plots) == 2


def test_templates_are_compared_by_name_and_each_once():
    result = run(source="nugent-sn1a", compare_with="hsiao, nugent-sn2n", fix_z=True)
    assert {row["model"] for row in result.results["comparison"]} == {"fl-sn1a", "fl-sn2n"}


def test_a_stand_in_is_told_in_the_message_and_the_results():
    result = run(light_curve(TRUTH, name="fl-sn2p"), fix_z=True)
    assert "nugent-sn2p is not on this machine" in result.message
    assert "fl-sn2p" in result.message
    told = result.results
    assert (told["source"], told["source_used"]) == ("nugent-sn2p", "fl-sn2p")
    assert told["template"]["stand_in"] is True


def test_a_redshift_that_is_not_known_is_found_and_annotated():
    truth = TRUTH | {"z": 0.25, "x0": brightness(20.0)}
    noise = dict.fromkeys(("ztfg", "ztfr", "sdssi", "sdssz"), 0.4)
    table = light_curve(truth, noise=noise, points=25)
    result = run(table, None, source="fl-sn1a")
    assert abs(pulls(result, truth)["z"]) < 3.0
    assert result.results["parameters"]["z"]["error"] < 0.08
    data = result.annotations[0]["data"]
    assert data["redshift"] == result.results["parameters"]["z"]["value"]


def test_the_redshift_of_the_object_is_a_prior():
    table = light_curve(TRUTH, points=8)
    known = Inputs(
        photometry=table, redshift=Redshift(0.05, 0.01), parameters={"source": "fl-sn1a"}
    )
    result = fit(known, Progress())
    assert 0.005 < result.results["parameters"]["z"]["error"] <= 0.0101
    assert "0.05 ± 0.01" in result.results["redshift"]["how"]
    assert "redshift" not in result.annotations[0]["data"]


@pytest.mark.parametrize(
    ("known", "chosen", "expected"),
    [
        (Redshift(0.1), {"fix_z": True}, (0.1, 0.1, 0.1, None)),
        (Redshift(0.1), {"fix_z": True, "redshift": 0.2}, (0.2, 0.2, 0.2, None)),
        (None, {}, (0.01, 1.0, None, None)),
        (None, {"z_min": 0.1, "z_max": 0.3}, (0.1, 0.3, None, None)),
        (Redshift(0.1, 0.01), {}, (0.04, 0.16, 0.1, 0.01)),
        (Redshift(0.1, 0.01), {"z_max": 0.11}, (0.04, 0.11, 0.1, 0.01)),
        (Redshift(0.1, 0.01), {"z_min": 0.2, "z_max": 0.3}, (0.2, 0.3, None, None)),
    ],
)
def test_what_is_known_of_the_redshift(known, chosen, expected):
    prior = redshift_prior(known, chosen)
    assert (prior.low, prior.high, prior.value, prior.error) == pytest.approx(expected)


def test_fixing_a_redshift_that_is_not_there_fails_in_upstreams_words():
    with pytest.raises(AnalysisFailed) as failed:
        run(redshift=None, fix_z=True)
    assert failed.value.message == "No redshift provided but `fix_z` requested."
    assert failed.value.hint


def test_an_empty_range_of_redshift_fails():
    with pytest.raises(AnalysisFailed, match="not below the highest"):
        run(redshift=None, z_min=0.5, z_max=0.2)


def test_dust_of_the_milky_way_is_taken_off():
    table = light_curve(TRUTH | {"mwebv": 0.3}, points=25)
    with_it = run(table, source="fl-sn1a", fix_z=True, mw_ebv=0.3)
    without = run(table, source="fl-sn1a", fix_z=True)
    assert abs(pulls(with_it)["c"]) < 3.0
    assert without.results["parameters"]["c"]["value"] > 0.3
    assert with_it.results["milky_way_ebv"]["value"] == 0.3
    corrected = run(table, source="fl-sn1a", fix_z=True, mw_ebv=0.3, extinction={"ebv": 0.3})
    assert corrected.results["milky_way_ebv"]["value"] == 0.0
    asked = run(table, source="fl-sn1a", fix_z=True, mw_ebv=0.3, correct_extinction="True")
    assert asked.results["milky_way_ebv"]["value"] == 0.0, "SkyPortal says no more than that"


@pytest.mark.slow
def test_a_limit_before_the_rise_says_when_it_began():
    """Detections after maximum alone leave t0 loose; one deep limit in between holds it."""
    late = light_curve(TRUTH, noise={"ztfr": 25.0}, days=(4.0, 30.0), points=9, seed=2)
    limit = Table({"mjd": [58992.0], "flux": [np.nan], "fluxerr": [8.0], "filter": ["ztfr"]})
    loose = run(late, source="fl-sn1a", fix_z=True, sampler="nest")
    held = run(vstack([limit, late]), source="fl-sn1a", fix_z=True, sampler="nest")
    earlier = [np.mean(np.asarray(each.posterior["t0"]) < 58997.0) for each in (loose, held)]
    assert earlier[1] < 0.5 * earlier[0]
    assert held.results["limits"] == 1
    assert held.results["ndof"] == loose.results["ndof"], "a limit is no measurement"


def test_errors_that_are_too_small_are_widened_and_told():
    table = light_curve(TRUTH, points=60)
    random = np.random.default_rng(6)
    table["flux"] *= 1.0 + 0.15 * random.normal(size=len(table))
    result = run(table, source="fl-sn1a", fix_z=True)
    assert result.results["extra_scatter"] == pytest.approx(0.15, abs=0.04)
    assert "errors widened" in result.message
    assert all(abs(pull) < 3.0 for pull in pulls(result).values())


def test_honest_errors_are_left_alone():
    assert typical().results["extra_scatter"] == 0.0


def test_a_wild_point_is_left_out_and_told():
    table = light_curve(TRUTH)
    before = int(np.argmin(np.abs(table["mjd"] - 58965.0)))
    table["flux"][before] = 2000.0
    result = run(table, source="fl-sn1a", fix_z=True)
    assert result.results["left_out"] == {"far off the model": 1}
    assert all(abs(pull) < 3.0 for pull in pulls(result).values())


def test_measurements_after_the_template_ends_are_left_out_and_told():
    table = light_curve(TRUTH, days=(-20.0, 300.0), points=60)
    result = run(table, source="fl-sn1a", fix_z=True)
    assert result.results["left_out"]["after the end of the template fl-sn1a"] > 50
    assert all(abs(pull) < 3.5 for pull in pulls(result).values())


def test_bands_that_are_unknown_or_out_of_reach_are_left_out_and_told():
    table = light_curve(TRUTH)
    strange = table[:5].copy()
    strange["filter"] = ["f218w"] * 4 + ["mine!"]
    result = run(vstack([table, strange]), 0.6, source="fl-sn1a", fix_z=True)
    left_out = result.results["left_out"]
    assert left_out["filter mine! is unknown"] == 1
    assert left_out["outside the wavelengths of fl-sn1a"] == 4


def test_one_band_tells_no_colour():
    table = light_curve(TRUTH, noise={"ztfr": 10.0})
    parameters = run(table, source="fl-sn1a", fix_z=True).results["parameters"]
    assert parameters["c"] == {"value": 0.0, "fixed": True}
    assert abs(parameters["t0"]["value"] - TRUTH["t0"]) < 3.0 * parameters["t0"]["error"]


def test_what_the_measurements_cannot_tell_has_the_error_of_its_range():
    """Two bands on the tail alone: neither the width nor the maximum is known from them."""
    table = light_curve(TRUTH, days=(62.0, 72.0), points=8, noise={"ztfg": 3.0, "ztfr": 3.0})
    parameters = run(table, source="fl-sn1a", fix_z=True).results["parameters"]
    assert 1.0 < parameters["x1"]["error"] <= 8.0 / np.sqrt(12.0) + 1e-9


def test_no_band_within_reach_fails():
    table = light_curve(TRUTH)
    table["filter"] = ["f218w"] * len(table)
    with pytest.raises(AnalysisFailed, match=r"no usable band.*f218w"):
        run(table, 0.9, source="fl-sn1a", fix_z=True)


@pytest.mark.parametrize("points", [1, 3])
def test_too_few_points_fail_with_the_number_that_is_needed(points):
    table = light_curve(TRUTH, noise={"ztfr": 5.0}, points=20)
    bright = np.argsort(table["flux"])[-points:]
    with pytest.raises(AnalysisFailed, match="too few points") as failed:
        run(table[np.sort(bright)], source="fl-sn1a", fix_z=True)
    assert "4 measurements" in failed.value.hint


def test_noise_alone_is_no_supernova():
    table = light_curve(TRUTH | {"x0": brightness(40.0)})
    with pytest.raises(AnalysisFailed, match="too few points: 60 measurements, 0"):
        run(table, source="fl-sn1a", fix_z=True)


def test_unknown_parameters_fail():
    with pytest.raises(AnalysisFailed, match="flavour"):
        run(flavour="strange")


def test_without_sncosmo_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sncosmo", None)
    with pytest.raises(AnalysisFailed, match="needs sncosmo") as failed:
        run()
    assert "firstlight[analysis]" in failed.value.hint


def test_progress_only_goes_forward():
    told = []
    table = light_curve(TRUTH)
    fit(
        Inputs(photometry=table, redshift=Redshift(0.05), parameters={"source": "auto"}),
        Progress(lambda fraction, message: told.append((fraction, message))),
    )
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    assert any("fl-sn2p" in message for _, message in told)


def test_the_seeds_parameters_are_understood():
    assert SERVICE.read_parameters({"source": "nugent-sn2p"})["fix_z"] is False
    assert SERVICE.read_parameters({"fix_z": "True"})["fix_z"] is True
    assert SERVICE.read_parameters({})["source"] == "nugent-sn2p"
