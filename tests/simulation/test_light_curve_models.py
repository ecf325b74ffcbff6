"""Models of variables against their definitions, the transit against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from firstlight.simulation.variability import (
    Eclipsing,
    Flare,
    Pulsator,
    RRLyrae,
    Transit,
    radius_ratio_for,
    transit_loss,
)


def lens(z, p):
    """Area that a disc of radius p at distance z shares with the unit disc, over pi."""
    a = p**2 * np.arccos((z**2 + p**2 - 1) / (2 * z * p))
    b = np.arccos((z**2 + 1 - p**2) / (2 * z))
    c = 0.5 * np.sqrt((-z + p + 1) * (z + p - 1) * (z - p + 1) * (z + p + 1))
    return (a + b - c) / np.pi


def test_uniform_star_against_the_lens():
    z = np.linspace(0.91, 1.099, 50)
    assert transit_loss(z, 0.1, (0, 0)) == pytest.approx(lens(z, 0.1), abs=1e-6)
    assert transit_loss(np.array([0.0, 0.3, 0.9]), 0.1, (0, 0)) == pytest.approx(0.01, abs=1e-7)
    assert transit_loss(np.array([1.1, 2.0]), 0.1, (0, 0)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("z", [0.0, 0.05, 0.4, 0.95, 1.05])
def test_limb_darkened_star_against_a_grid(z):
    a, b, p, n = 0.4, 0.25, 0.12, 2000
    x = np.linspace(-1, 1, n)
    r2 = x[None, :] ** 2 + x[:, None] ** 2
    mu = np.sqrt(np.clip(1 - r2, 0, None))
    light = np.where(r2 < 1, 1 - a * (1 - mu) - b * (1 - mu) ** 2, 0)
    hidden = (x[None, :] - z) ** 2 + x[:, None] ** 2 < p**2
    assert transit_loss(np.array([z]), p, (a, b))[0] == pytest.approx(
        (light * hidden).sum() / light.sum(), abs=1e-5
    )


def test_transit_depth_duration_and_symmetry():
    limb = (0.4, 0.25)
    ratio = radius_ratio_for(0.02, 0.3, limb)
    transit = Transit(
        star=0,
        depth=0.02,
        duration=0.08,
        epoch=60000.5,
        epoch_bjd=0,
        impact=0.3,
        limb_darkening=limb,
        radius_ratio=ratio,
    )
    away = np.array([0.0, 0.01, 0.0399, 0.0401, 0.2])
    after, before = transit.flux(60000.5 + away), transit.flux(60000.5 - away)
    assert after == pytest.approx(before, abs=1e-8)
    assert 1 - after[0] == pytest.approx(0.02, abs=1e-6)
    assert 0 < 1 - after[2] < 0.001
    assert after[3:] == pytest.approx(1, abs=1e-12)


def test_ranges():
    t = 60000 + np.linspace(0, 1, 20001)
    pulsator = -2.5 * np.log10(Pulsator(star=0, period=0.1, amplitude=0.3, epoch=60000).flux(t))
    assert np.ptp(pulsator) == pytest.approx(0.3, abs=1e-4)
    rr = -2.5 * np.log10(RRLyrae(star=0, period=0.5, amplitude=0.8, epoch=60000.2).flux(t))
    assert rr.max() == pytest.approx(0, abs=1e-4)
    assert rr.min() == pytest.approx(-0.8, abs=1e-4)
    assert t[np.argmin(rr)] % 0.5 == pytest.approx(0.2, abs=1e-3)
    assert np.abs(np.diff(rr)).max() < 0.01
    eclipsing = Eclipsing(star=0, period=0.4, depth=0.3, duration=0.06, epoch=60000.1).flux(t)
    assert eclipsing.min() == pytest.approx(0.7)
    assert eclipsing[np.abs(t - 60000.3) < 0.001] == pytest.approx(0.85)
    assert (eclipsing == 1).mean() == pytest.approx(1 - 2 * 0.06 / 0.4, abs=0.01)
    flare = Flare(star=0, peak=1.0, decay=0.02, epoch=60000.4).flux(t)
    assert flare.max() == pytest.approx(2.0, abs=1e-3)
    assert (flare[t < 60000.397] == 1).all()
    assert np.interp(60000.42, t, flare) == pytest.approx(1 + np.exp(-1), abs=1e-3)
