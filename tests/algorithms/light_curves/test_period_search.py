"""Injected periods are found, noise is known as such."""

import numpy as np
import pytest

from firstlight.algorithms.light_curves.period_search import find_periods


def observed(seed, n=400, span=60.0):
    """Times at night, in three filters."""
    rng = np.random.default_rng(seed)
    time = 60000 + np.floor(rng.random(n) * span) + rng.random(n) / 3
    return rng, np.sort(time), rng.integers(0, 3, n)


@pytest.mark.parametrize("period", [0.0813, 0.3417, 0.77, 2.6, 11.3])
def test_a_sine_in_three_filters(period):
    rng, time, band = observed(1)
    level = np.array([100.0, 300.0, 20.0])[band]
    error = 0.03 * level
    flux = level * (1 + 0.06 * np.sin(2 * np.pi * (time - 60000.1) / period))
    best = find_periods(time, flux + rng.normal(size=400) * error, error, band, "sine")[0]
    assert best.period == pytest.approx(period, rel=0.1 * period / 60)
    assert best.false_alarm < 1e-6
    assert best.depth == pytest.approx(0.12, rel=0.2)
    top = 60000.1 + period / 4
    assert (best.epoch - top + period / 2) % period - period / 2 == pytest.approx(
        0, abs=0.1 * period
    )


def test_the_mean_of_each_filter_is_its_own():
    """A filter used on other nights alone does not make a period."""
    rng, time, _ = observed(2)
    band = (np.floor(time) % 2).astype(int)
    level = np.array([100.0, 500.0])[band]
    flux = level * (1 + 0.01 * rng.normal(size=400))
    assert find_periods(time, flux, 0.01 * level, band, "sine")[0].false_alarm > 0.01


def test_noise_alone_rarely_has_a_period():
    alarms = 0
    for seed in range(40):
        rng, time, band = observed(100 + seed, n=120)
        flux = 100 + rng.normal(size=120)
        alarms += find_periods(time, flux, np.ones(120), band, "sine")[0].false_alarm < 0.01
    assert alarms <= 2


def test_a_transit():
    rng = np.random.default_rng(3)
    time = np.sort(60000 + rng.random(3000) * 30)
    period, first, duration = 2.345, 60000.7, 0.12
    phase = (time - first + period / 2) % period - period / 2
    flux = np.where(np.abs(phase) < duration / 2, 0.985, 1.0) + rng.normal(0, 0.004, 3000)
    best = find_periods(time, flux, np.full(3000, 0.004), np.zeros(3000), "box")[0]
    assert best.period == pytest.approx(period, abs=0.004)
    assert best.depth == pytest.approx(0.015, rel=0.25)
    assert (best.epoch - first + period / 2) % period - period / 2 == pytest.approx(0, abs=0.05)
    assert best.signal > 15


def test_what_cannot_be_searched():
    assert find_periods([], [], [], [], "sine") == []
    few = np.arange(7.0)
    assert find_periods(few, few, few + 1, few * 0, "sine") == []
    assert find_periods([5.0] * 20, np.arange(20.0), np.ones(20), np.zeros(20), "box") == []
    holes = np.full(50, np.nan)
    assert find_periods(np.arange(50.0), holes, np.ones(50), np.zeros(50), "sine") == []
    assert find_periods(np.arange(50.0), np.ones(50), np.zeros(50), np.zeros(50), "sine") == []
    assert find_periods(np.arange(50.0), np.ones(50), np.ones(50), np.zeros(50), "sine") == []


def test_the_work_is_bounded():
    """Ten years of seconds' cadence would be a hundred million frequencies."""
    rng = np.random.default_rng(4)
    time = np.sort(np.r_[50000 + np.arange(500) / 86400, 60000 + rng.random(500)])
    found = find_periods(time, rng.normal(1, 0.1, 1000), np.full(1000, 0.1), np.zeros(1000), "sine")
    assert 1 <= len(found) <= 5
