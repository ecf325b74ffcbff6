import numpy as np
import pytest

from firstlight.algorithms.light_curves.variability import find_variables, light_curve_statistics


def field(rng, n=500, frames=70, red=0.0):
    mag = rng.uniform(10, 15, n)
    sigma = 0.004 * 10 ** (0.2 * (mag - 11)) * np.exp(0.05 * rng.standard_normal(n))
    flux = 1 + sigma[:, None] * rng.standard_normal((n, frames))
    drift = np.cumsum(rng.standard_normal((n, frames)), axis=1) / np.sqrt(frames)
    flux += red * sigma[:, None] * drift
    error = np.repeat(0.004 * 10 ** (0.2 * (mag - 11)), frames).reshape(n, frames)
    return mag, sigma, flux, error


def test_statistics_of_white_noise():
    _, sigma, flux, error = field(np.random.default_rng(0))
    s = light_curve_statistics(flux, error)
    assert np.median(s.reduced_chi2) == pytest.approx(1.0, abs=0.03)
    assert np.median(s.von_neumann) == pytest.approx(2.0, abs=0.05)
    assert abs(np.median(s.stetson_j)) < 0.05
    assert np.median(s.rms / sigma) == pytest.approx(1.0, abs=0.03)
    assert np.median(s.scatter / sigma) == pytest.approx(1.0, abs=0.05)
    assert np.median(s.peak_to_peak / sigma) == pytest.approx(3.29, abs=0.15)


def test_known_numbers():
    flux = np.array([[1.0, 2.0, 3.0, np.nan], [1.0, np.nan, np.nan, np.nan]])
    s = light_curve_statistics(flux, np.ones((2, 4)))
    assert s.points.tolist() == [3, 1]
    assert (s.mean[0], s.rms[0], s.reduced_chi2[0], s.von_neumann[0]) == (2.0, 1.0, 1.0, 1.0)
    assert np.isnan([s.mean[1], s.rms[1], s.stetson_j[1]]).all()


@pytest.mark.parametrize("red", [0.0, 0.7])
def test_false_alarms_are_as_rare_as_promised(red):
    alarms = []
    for seed in range(12):
        mag, _, flux, error = field(np.random.default_rng(seed), red=red)
        found = find_variables(light_curve_statistics(flux, error), mag, expected_false_alarms=0.5)
        alarms.append(found.is_candidate.sum())
    assert np.mean(alarms) < 2.0


@pytest.mark.parametrize("shape", ["wave", "eclipse"])
def test_variables_of_three_times_their_scatter_are_found(shape):
    rng = np.random.default_rng(4)
    mag, sigma, flux, error = field(rng)
    t = np.linspace(0, 1, flux.shape[1])
    stars = rng.choice(len(mag), 30, replace=False)
    for i in stars:
        if shape == "wave":
            signal = np.sin(2 * np.pi * (rng.uniform(0.8, 5) * t + rng.random()))
        else:
            signal = -1.0 * (np.abs(t - rng.uniform(0.2, 0.8)) < 0.14)
        flux[i] += 3 * sigma[i] * signal
    found = find_variables(light_curve_statistics(flux, error), mag)
    assert found.is_candidate[stars].all()


def test_a_short_dip_is_found_through_its_event():
    rng = np.random.default_rng(4)
    mag, _, flux, error = field(rng)
    gain = rng.chisquare(4, len(mag)) + 5
    gain[7] = 80.0
    found = find_variables(light_curve_statistics(flux, error), mag, event_gain=gain)
    assert found.is_candidate[7]


def test_the_best_of_many_templates_is_judged_as_such():
    alarms = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        mag, _, flux, error = field(rng)
        gain = np.square(rng.standard_normal((len(mag), 200))).max(axis=1)
        found = find_variables(light_curve_statistics(flux, error), mag, event_gain=gain)
        alarms.append(found.is_candidate.sum())
        # Noise is spread like noise, in the sigma of a single normal deviate.
        quiet = np.sort(found.excess[:, 2])
        assert -0.3 < quiet[250] < 0.3
        assert 0.7 < (quiet[420] - quiet[80]) / 2 < 1.3
    assert np.mean(alarms) < 1.5


def test_one_bad_point_does_not_make_a_variable():
    rng = np.random.default_rng(3)
    mag, sigma, flux, error = field(rng)
    flux[11, 30] += 40 * sigma[11]
    flux[12, 30:36] += 6 * sigma[12]
    found = find_variables(light_curve_statistics(flux, error), mag)
    assert not found.is_candidate[11]
    assert found.is_candidate[12]


def test_small_or_empty_fields_have_no_candidates():
    s = light_curve_statistics(np.ones((3, 4)), np.ones((3, 4)))
    found = find_variables(s, np.zeros(3))
    assert not found.is_candidate.any()
    assert (found.false_alarm == 1).all()
