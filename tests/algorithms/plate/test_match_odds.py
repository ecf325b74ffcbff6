import numpy as np
import pytest

from firstlight.algorithms.plate.match_odds import isolated, local_density, log_odds, stars_needed


def test_each_good_pair_adds_and_each_missing_star_takes():
    density = np.full(20, 1e-4)
    odds = []
    for found in (5, 8, 12, 20):
        distance = np.where(np.arange(20) < found, 0.4, np.nan)
        odds.append(log_odds(distance, density, 0.5, parameters=4, trials=1))
    assert np.all(np.diff(odds) > 5)
    half = log_odds(np.full(10, 0.4), density[:10], 0.5, parameters=4, trials=1)
    assert half > log_odds(
        np.where(np.arange(20) < 10, 0.4, np.nan), density, 0.5, parameters=4, trials=1
    )


def test_trials_parameters_distance_and_crowding_take():
    distance, density = np.full(12, 0.4), np.full(12, 1e-4)
    best = log_odds(distance, density, 0.5, parameters=4, trials=1)
    tried = log_odds(distance, density, 0.5, parameters=4, trials=1000)
    assert best - tried == pytest.approx(np.log(1000))
    assert log_odds(distance, density, 0.5, parameters=6, trials=1) < best
    assert log_odds(3 * distance, density, 0.5, parameters=4, trials=1) < best
    assert log_odds(distance, 30 * density, 0.5, parameters=4, trials=1) < best


def test_what_was_fitted_to_is_no_evidence():
    assert log_odds(np.zeros(4), np.full(4, 1e-4), 0.5, parameters=4, trials=1) == -np.inf
    assert log_odds(np.zeros(10), np.full(10, 1e-4), 0.5, parameters=20, trials=1) == -np.inf
    assert log_odds(np.empty(0), np.empty(0), 0.5, parameters=4, trials=1) == -np.inf


def test_chance_matches_have_bad_odds():
    rng = np.random.default_rng(1)
    worst = []
    for _ in range(300):
        x, y = rng.random((2, 200)) * 1000
        px, py = rng.random((2, 60)) * 1000
        distance = np.hypot(x[:, None] - px, y[:, None] - py).min(axis=0)
        distance[distance > 4] = np.nan
        density = local_density(x, y, px, py, 1e6)
        worst.append(log_odds(distance, density, 1.0, parameters=4, trials=1))
    assert max(worst) < 0


def test_density_is_the_mean_or_the_crowd():
    rng = np.random.default_rng(2)
    x = np.append(rng.random(300) * 1000, 500 + rng.normal(0, 5, 100))
    y = np.append(rng.random(300) * 1000, 500 + rng.normal(0, 5, 100))
    sparse, crowd = local_density(x, y, np.array([100.0, 500.0]), np.array([100.0, 500.0]), 1e6)
    assert 4e-4 <= sparse < 3e-3
    assert crowd > 0.1


def test_isolated_keeps_the_first_of_each_crowd():
    x = np.array([10.0, 11.0, 50.0, 50.5, 90.0])
    assert isolated(x, np.zeros(5), 2.0).tolist() == [True, False, True, False, True]
    assert isolated(x[:0], x[:0], 2.0).tolist() == []


def test_more_stars_are_needed_where_detections_crowd():
    needed = [stars_needed(n, 8e5, 0.5, 16.0) for n in (10, 100, 10_000)]
    assert needed == sorted(needed)
    assert 6 <= needed[0] <= 9
    assert needed[-1] > needed[0]
