"""The flux of a limb-darkened star behind a disc, against another integration of the same."""

from itertools import pairwise

import numpy as np
import pytest

from firstlight.analysis_kit.transit_model import (
    limb_darkened,
    scaled_axis,
    separation,
    transit_flux,
)

NODES, WEIGHTS = np.polynomial.legendre.leggauss(300)
ANGLE = 0.5 * np.pi * (NODES + 1.0)


def column_by_column(z: float, k: float, u1: float, u2: float) -> float:
    """The hidden light in columns across the line of the centres, each exact.

    The columns are integrated between the places where the disc's edge meets the star's.
    """
    low, high = max(z - k, -1.0), min(z + k, 1.0)
    if low >= high:
        return 1.0
    meet = (1.0 + z * z - k * k) / (2.0 * z) if z > 0 else np.inf
    ends = [low, meet, high] if low < meet < high else [low, high]
    hidden = 0.0
    for a, b in pairwise(ends):
        x = 0.5 * (a + b) - 0.5 * (b - a) * np.cos(ANGLE)
        width = 0.5 * (b - a) * 0.5 * np.pi * WEIGHTS * np.sin(ANGLE)
        height = np.sqrt(np.maximum(np.minimum(k * k - (x - z) ** 2, 1.0 - x * x), 0.0))
        square = np.maximum(1.0 - x * x, 1e-300)
        part = np.clip(height / np.sqrt(square), 0.0, 1.0)
        one = 2.0 * height
        mu = height * np.sqrt(np.maximum(square - height**2, 0.0)) + square * np.arcsin(part)
        mu2 = 2.0 * (square * height - height**3 / 3.0)
        hidden += np.sum(width * ((1 - u1 - u2) * one + (u1 + 2 * u2) * mu - u2 * mu2))
    return 1.0 - hidden / (np.pi * (1.0 - u1 / 3.0 - u2 / 6.0))


@pytest.mark.parametrize("k", [0.005, 0.05, 0.1, 0.2, 0.5])
@pytest.mark.parametrize("u", [(0.0, 0.0), (0.4, 0.28), (0.9, 0.05), (0.1, -0.1)])
def test_the_flux_is_that_of_an_independent_integration(k, u):
    near = np.array([0.0, k, 1 - k, 1 - k + 1e-5, 1 - k - 1e-4, 1 + k - 1e-4, abs(k - 0.01)])
    z = np.concatenate([np.linspace(0.0, 1.05 + k, 60), near])
    found = limb_darkened(z, np.array(k), *(np.array(each) for each in u))
    expected = [column_by_column(float(each), k, *u) for each in z]
    assert np.abs(found - expected).max() < 1e-6


def test_a_uniform_star_loses_the_area_of_the_disc():
    flux = limb_darkened(np.array([0.0, 0.5]), np.array(0.1), np.array(0.0), np.array(0.0))
    assert flux == pytest.approx(0.99, abs=1e-12)


def test_nothing_is_lost_outside_of_the_star():
    z = np.array([1.1001, 2.0, 50.0])
    assert (limb_darkened(z, np.array(0.1), np.array(0.4), np.array(0.2)) == 1.0).all()


@pytest.mark.parametrize("period", [None, 2.2])
def test_contacts_are_where_the_duration_says(period):
    k, b, duration = 0.1, 0.4, 0.13
    arrays = None if period is None else np.array(period)
    edge = separation(np.array(duration / 2), np.array(k), np.array(b), np.array(duration), arrays)
    middle = separation(np.array(0.0), np.array(k), np.array(b), np.array(duration), arrays)
    assert edge == pytest.approx(1 + k, abs=1e-9)
    assert middle == pytest.approx(b, abs=1e-9)


def test_the_axis_of_a_known_planet():
    # HAT-P-7b (Esteves et al. 2015, ApJ 804, 150): 4.15, of its impact parameter and duration.
    axis = scaled_axis(*(np.array(each) for each in (2.204735, 0.0776, 0.496, 0.1645)))
    assert axis == pytest.approx(4.15, abs=0.03)


def test_nothing_is_hidden_behind_the_star():
    half = np.array(1.1)
    far = separation(half, np.array(0.1), np.array(0.0), np.array(0.1), np.array(2.2))
    assert far > 1.1


@pytest.mark.parametrize(("k", "b"), [(0.1, 0.3), (0.12, 0.95), (0.05, 0.0)])
@pytest.mark.parametrize("exposure", [0.0, 0.01])
def test_the_table_agrees_with_the_model_at_each_point(k, b, exposure):
    away = np.linspace(-0.09, 0.09, 1001)
    shape = (np.array([k]), np.array([b]), np.array([0.13]))
    u = (np.array([0.4]), np.array([0.3]))
    moments = exposure * ((np.arange(100) + 0.5) / 100 - 0.5)
    exact = [
        limb_darkened(separation(away + m, k, b, 0.13, None), np.array(k), *u) for m in moments
    ]
    found = transit_flux(away[None, :], shape, u, exposure=exposure)[0]
    assert np.abs(found - np.mean(exact, axis=0)).max() < 1e-5
