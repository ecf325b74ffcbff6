"""The transit fit on injected transits."""

from dataclasses import replace

import numpy as np
import pytest
from simulated_curves import inputs_of, transit

from firstlight.analysis_kit import AnalysisFailed, Inputs, Progress
from firstlight.analysis_kit.transit import SERVICE, fit

emcee = pytest.importorskip("emcee", reason="of the extra firstlight[analysis]")


def pulls(seeds, **made):
    found = []
    for seed in seeds:
        inputs, truth = transit(seed, **made)
        told = fit(inputs, Progress()).results
        found.append([(told[n] - v) / told[f"{n}_error"] for n, v in truth.items()])
    return np.array(found)


@pytest.fixture(scope="module")
def fitted():
    inputs, truth = transit(4, steps=600)
    return fit(inputs, Progress()), truth


def test_an_injected_transit_is_found_without_a_guess(fitted):
    results, truth = fitted
    for name, value in truth.items():
        told, error = results.results[name], results.results[f"{name}_error"]
        assert abs(told - value) < 4 * error
    assert results.results["rp_rs_error"] < 0.01
    assert results.results["transits_used"] == 1
    assert "rp/rs" in results.message


def test_everything_of_a_run_is_there(fitted):
    results, _ = fitted
    sent = results.as_document()["analysis"]
    assert {"results", "plots", "posterior_samples", "model_lightcurve"} <= set(sent)
    assert [each["title"] for each in sent["plots"]] == ["Transit", "As observed"]
    curve = np.array(sent["model_lightcurve"]["r"])
    assert (curve[:, 2] <= curve[:, 3]).all()
    # µJy: the star is at 10,000, and loses some 2 %.
    assert 9700 < curve[:, 1].min() < 9900 < curve[:, 1].max() < 10200
    assert abs(results.results["correlations"]["rp_rs"]["area_ratio"]) > 0.99


def test_a_run_repeats_itself(fitted):
    again = fit(transit(4, steps=600)[0], Progress())
    assert np.array_equal(fitted[0].posterior["depth"], again.posterior["depth"])


def test_two_transits_tell_the_period():
    inputs, _ = transit(2, nights=2, points=100, period=3.0004, steps=400)
    told = fit(inputs, Progress()).results
    assert told["transits_used"] == 2
    assert abs(told["period"] - 3.0) < 4 * told["period_error"]
    assert told["period_error"] < 0.002
    assert told["a_rs"] > 3


def test_red_noise_raises_the_errors():
    red, _ = transit(5, red=0.003, steps=300)
    calm = fit(replace(red, parameters={**red.parameters, "red_noise": False}), Progress())
    told = fit(red, Progress()).results
    assert told["red_noise_factor"] > 1.2
    assert told["t0_error"] > 1.15 * calm.results["t0_error"]
    assert calm.results["red_noise_factor"] == 1.0


def test_a_night_without_a_transit_has_none():
    rng = np.random.default_rng(7)
    mjd = 60000.1 + np.sort(rng.uniform(0, 0.3, 140))
    flat = inputs_of(mjd, 1e4 * (1 + 0.002 * rng.normal(size=140)), np.full(140, 20.0))
    with pytest.raises(AnalysisFailed, match="no transit in the data"):
        fit(flat, Progress())


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"u1": 0.4}, "go together"),
        ({"u1": 0.9, "u2": 0.4}, "no star has"),
        ({"longitude": 20.0}, "go together"),
        ({"longitude": 20.0, "latitude": -30.0}, "place of the object"),
        ({"epoch": 61234.5}, "no transit in the data within"),
        ({"minimum_snr": 1e6}, "no filter has"),
        ({"colour": 1}, "unknown parameter"),
    ],
)
def test_what_cannot_be_is_told(parameters, words):
    inputs, _ = transit(1)
    with pytest.raises(AnalysisFailed, match=words):
        fit(replace(inputs, parameters=parameters), Progress())


def test_upper_limits_alone_are_no_light_curve():
    nothing = np.full(20, np.nan)
    limits = inputs_of(60000 + np.arange(20.0), nothing, nothing)
    with pytest.raises(AnalysisFailed, match="upper limits"):
        fit(limits, Progress())
    with pytest.raises(AnalysisFailed, match="no photometry"):
        fit(Inputs(), Progress())


def test_the_declaration_is_readable():
    assert SERVICE.read_parameters({})["limb_darkening"] == "prior"


@pytest.mark.nightly
def test_errors_are_right():
    found = pulls(range(100, 110), steps=700)
    assert np.abs(found.mean(axis=0)).max() < 1.1
    assert 0.6 < np.sqrt(np.mean(found[:, :3] ** 2)) < 1.4


@pytest.mark.nightly
def test_errors_are_right_over_many_seeds():
    # Three times as many steps give the same: 1.17, 1.18 and 0.77, each to a tenth.
    found = pulls(range(200, 260), steps=1000)
    time, depth, duration = np.std(found[:, :3], axis=0)
    assert 0.8 < time < 1.2
    assert 0.8 < depth < 1.2
    # One geometry of all that the prior allows: the errors of its duration are wider.
    assert 0.6 < duration < 1.2
    assert np.abs(found.mean(axis=0)).max() < 0.5
