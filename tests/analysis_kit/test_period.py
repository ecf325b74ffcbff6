"""The period finder on injected stars."""

from dataclasses import replace

import numpy as np
import pytest
from simulated_curves import inputs_of, variable

from firstlight.analysis_kit import AnalysisFailed, Inputs, Progress
from firstlight.analysis_kit.period import SERVICE, fit
from firstlight.analysis_kit.period_findings import Search, find_boxes, find_sines, relation
from firstlight.analysis_kit.period_noise import red_noise_factor
from firstlight.analysis_kit.period_points import BARYCENTRIC, Clock, points_of, running_median
from firstlight.analysis_kit.period_sines import sine_periodogram

pytest.importorskip("emcee", reason="of the extra firstlight[analysis]")


def sines_of(inputs):
    return find_sines(points_of(inputs, fewest=8), Search())


def boxes_of(inputs):
    return find_boxes(points_of(inputs, fewest=8), Search())


def pulls(kind, bands, seeds):
    """Pulls of the period where it was found, and the share found."""
    found = []
    for seed in seeds:
        inputs, period = variable(kind, seed, bands)
        best = sines_of(inputs)
        draws = best.samples(best.draws(seed, lambda _: None))["period"]
        if abs(best.period / period - 1) < 0.002:
            found.append((best.period - period) / np.std(draws))
    return np.array(found), len(found) / len(seeds)


@pytest.fixture(scope="module")
def sine():
    inputs, period = variable("sine", 2, bands=2)
    return fit(inputs, Progress()), period


def test_a_sine_in_two_filters(sine):
    results, period = sine
    told = results.results
    assert told["detected"]
    assert told["method"] == "lomb_scargle"
    assert abs(told["period"] - period) < 4 * told["period_error"]
    assert told["amplitude_g"] == pytest.approx(0.2, abs=0.03)
    assert told["amplitude_r"] == pytest.approx(0.16, abs=0.04)
    # The highest flux is at 60000.3 and a whole number of periods.
    turns = (told["epoch"] - 60000.3) / told["period"]
    assert abs(turns - np.round(turns)) * told["period"] < 5 * told["epoch_error"]


def test_everything_of_a_run_is_there(sine):
    results, _ = sine
    sent = results.as_document()["analysis"]
    assert [each["title"] for each in sent["plots"]] == ["Periodogram", "Folded light curve"]
    assert set(sent["model_lightcurve"]) == {"g", "r"}
    curve = np.array(sent["model_lightcurve"]["r"])
    assert len(curve) <= 3000
    # The mean flux of the second filter is 2000 µJy.
    assert 1750 < curve[:, 1].min() < 1900
    assert 2100 < curve[:, 1].max() < 2250
    assert sent["annotations"][0]["data"]["period"] == results.results["period"]


def test_eclipses_are_found_by_themselves():
    inputs, period = variable("eclipses", 1, points=1200, error=0.01)
    told = fit(inputs, Progress()).results
    assert told["method"] == "bls"
    assert abs(told["period"] - period) < 4 * told["period_error"]
    assert told["depth"] == pytest.approx(0.03, abs=4 * told["depth_error"])
    assert told["odd_even_sigma"] < 4


def test_a_star_with_two_unlike_minima_has_twice_the_period():
    rng = np.random.default_rng(3)
    mjd = 60000 + rng.uniform(0, 40, 300)
    phase = mjd / 0.8
    flux = 1 + 0.1 * np.cos(4 * np.pi * phase) + 0.03 * np.cos(2 * np.pi * phase)
    found = sines_of(
        inputs_of(mjd, 1000 * (flux + 0.01 * rng.normal(size=300)), np.full(300, 10.0))
    )
    assert found.period == pytest.approx(0.8, rel=1e-3)
    assert {"harmonic: 1/2 of the period"} <= {each["relation"] for each in found.candidates()}


def test_a_constant_star_has_no_period():
    inputs, _ = variable("constant", 11)
    results = fit(inputs, Progress())
    assert not results.results["detected"]
    assert "no period stands out" in results.message
    assert not results.annotations
    assert len(results.plots) == 1


def test_false_alarms_are_as_rare_as_they_are_said_to_be():
    chances = np.array([sines_of(variable("constant", s, 1, 60)[0]).false_alarm for s in range(30)])
    # A bound: fewer than one in ten below 0.1, and not none at all below one half.
    assert (chances < 0.1).sum() <= 7
    assert (chances < 0.5).sum() >= 2


@pytest.mark.slow
def test_false_alarms_of_boxes():
    inputs = [variable("constant", s, 1, 200)[0] for s in range(6)]
    chances = np.array([boxes_of(each).false_alarm for each in inputs])
    assert (chances < 0.01).sum() == 0


def test_outliers_do_not_rule():
    inputs, period = variable("rr lyrae", 4)
    table = inputs.photometry.copy()
    table["flux"][::29] *= 30.0
    assert sines_of(replace(inputs, photometry=table)).period == pytest.approx(period, rel=1e-3)


def test_one_deep_point_is_no_eclipse():
    rng = np.random.default_rng(5)
    mjd = 60000 + np.concatenate([n + np.linspace(0.1, 0.4, 40) for n in range(30)])
    flux = 1000 * (1 + 0.01 * rng.normal(size=len(mjd)))
    flux[501] = 300.0
    assert boxes_of(inputs_of(mjd, flux, np.full(len(mjd), 10.0))).false_alarm > 1e-3


def test_a_posterior_repeats_itself():
    found = sines_of(variable("sine", 6)[0])
    one, two = (found.samples(found.draws(3, lambda _: None))["period"] for _ in range(2))
    assert np.array_equal(one, two)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"minimum_period": 3, "maximum_period": 2}, "not below"),
        ({"minimum_period": 5000}, "less than minimum_period"),
        ({"minimum_snr": 1e5}, "no filter has"),
        ({"method": "guess"}, "choices"),
    ],
)
def test_what_cannot_be_is_told(parameters, words):
    inputs, _ = variable("sine", 1)
    with pytest.raises(AnalysisFailed, match=words):
        fit(replace(inputs, parameters=parameters), Progress())


def test_too_little_is_told():
    with pytest.raises(AnalysisFailed, match="no photometry"):
        fit(Inputs(), Progress())
    nothing = np.full(20, np.nan)
    with pytest.raises(AnalysisFailed, match="upper limits"):
        fit(inputs_of(60000 + np.arange(20.0), nothing, nothing), Progress())
    still = inputs_of(np.full(20, 60000.0), np.ones(20), np.full(20, 0.1))
    with pytest.raises(AnalysisFailed, match="different times"):
        fit(still, Progress())


def test_fluxes_of_the_ensemble_come_first():
    inputs, _ = variable("sine", 1)
    table = inputs.photometry.copy()
    table["rel_flux"] = np.asarray(table["flux"]) / 1000.0
    table["rel_fluxerr"] = np.asarray(table["fluxerr"]) / 1000.0
    # The zero point of each frame: far worse than the points against each other.
    table["flux"] *= 1 + 0.2 * np.random.default_rng(1).normal(size=len(table))
    table["fluxerr"] = 0.2 * np.asarray(table["flux"])
    plain = points_of(inputs, fewest=8)
    found = points_of(replace(inputs, photometry=table), fewest=8)
    assert np.allclose(found.flux, plain.flux)
    assert np.allclose(found.error, plain.error)
    assert found.scale == pytest.approx(plain.scale, rel=0.1)
    table["rel_flux"][5:] = np.nan
    frames = points_of(replace(inputs, photometry=table), fewest=8)
    assert len(frames) == len(table)


def test_relations():
    assert relation(1.0, 2.0, 100.0) == "harmonic: 1/2 of the period"
    assert relation(4.0, 2.0, 100.0) == "harmonic: 2/1 of the period"
    assert relation(1 / (1 / 2.3 + 1.00274), 2.3, 100.0) == "alias: 1 a day"
    assert relation(1.37, 2.0, 100.0) == "other"


def test_many_points_are_searched_within_bounds():
    mjd = 60000 + np.arange(50_000) * 58.85 / 86400
    flux = 1000 * (1 + 0.01 * np.sin(2 * np.pi * mjd / 1.7))
    noisy = flux + np.random.default_rng(1).normal(size=50_000)
    points = points_of(inputs_of(mjd, noisy, np.ones(50_000)), fewest=8)
    found = sine_periodogram(points, None, None, 1)
    assert len(found.frequency) < 1_000_001
    # The nearest of the frequencies that were tried; five of them to a line.
    assert 1 / found.frequency[found.peaks[0]] == pytest.approx(1.7, abs=1.7**2 / 34 / 5)


def test_white_noise_is_not_red():
    rng = np.random.default_rng(1)
    time = np.arange(2000.0)
    widths = np.array([5.0, 10.0, 50.0])
    assert red_noise_factor(time, rng.normal(size=2000), widths) < 1.1
    slow = np.convolve(rng.normal(size=2019), np.ones(20) / np.sqrt(20), "valid")
    # Means of ten are as wide as single points: the root of ten, less what twenty average out.
    assert 2.3 < red_noise_factor(time, slow, np.array([10.0])) < 3.2


def test_a_running_median_spares_what_is_short():
    time = np.arange(0, 10, 0.01)
    flux = 1 + 0.1 * time
    flux[500:510] -= 0.5
    assert np.abs(running_median(time, flux, 1.5) - (1 + 0.1 * time))[100:900].max() < 0.02


def test_times_at_the_barycentre():
    # HAT-P-32 on 2017-12-20: 4.35 minutes later at the barycentre, and 69.2 s of TDB.
    mjd = np.array([58107.06543190972])
    found = Clock(31.0427, 46.6879).times(mjd)
    assert (found - (2458107.5698575443 - 2400000.5)) * 86400 == pytest.approx(0.0, abs=0.05)
    assert Clock(1.0, 2.0).name == BARYCENTRIC
    assert Clock().times(mjd) == mjd


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "bands"), [("sine", 1), ("rr lyrae", 3)])
def test_periods_are_recovered_with_their_errors(kind, bands):
    found, share = pulls(kind, bands, range(12))
    assert share >= 0.9
    assert 0.5 < np.sqrt(np.mean(found**2)) < 1.6


@pytest.mark.nightly
@pytest.mark.parametrize(("kind", "bands"), [("sine", 1), ("sine", 3), ("rr lyrae", 2)])
def test_periods_are_recovered_with_their_errors_over_many_seeds(kind, bands):
    found, share = pulls(kind, bands, range(100, 220))
    assert share >= 0.95
    assert 0.8 < np.std(found) < 1.2
    assert abs(np.mean(found)) < 0.3


def test_the_declaration_is_readable():
    assert SERVICE.read_parameters({})["method"] == "auto"
