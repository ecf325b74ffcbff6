"""The trainer of the real/bogus score."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from firstlight.algorithms.candidates.real_bogus import RealBogus

ROOT = Path(__file__).parents[3]


def _script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


trees = _script("boosted_trees")


def sample(count, seed):
    """Real inside a ring in two of four features; one feature is often not known."""
    random = np.random.default_rng(seed)
    table = random.normal(size=(count, 4))
    radius = np.hypot(table[:, 0], table[:, 1])
    real = (radius > 0.7) & (radius < 1.6)
    table[random.random(count) < 0.3, 2] = np.nan
    return table, real


@pytest.fixture(scope="module")
def model():
    forest = trees.grow(*sample(3000, 1), trees.Growth(trees=150, columns=1.0), 2)
    features = ("a", "b", "c", "d")
    parts = forest.feature, forest.threshold, forest.leaf, forest.start
    return RealBogus("t", "{}", features, *parts, np.zeros(1), np.ones(1))


def test_trees_learn_what_no_line_separates(model):
    table, real = sample(2000, 3)
    assert trees.area_under_curve(model.logits(table), real) > 0.97


def test_the_same_seed_grows_the_same_trees():
    grown = [trees.grow(*sample(500, 4), trees.Growth(trees=5), 5) for _ in range(2)]
    np.testing.assert_array_equal(grown[0].leaf, grown[1].leaf)
    np.testing.assert_array_equal(grown[0].threshold, grown[1].threshold)


def test_the_curve_turns_logits_into_shares(model):
    logits, real = model.logits(sample(4000, 6)[0]), sample(4000, 6)[1]
    knots, share = trees.calibration_curve(logits, real)
    assert (np.diff(knots) > 0).all()
    assert (np.diff(share) > 0).all()
    other = sample(4000, 7)
    told = np.interp(model.logits(other[0]), knots, share)
    for low in (0.0, 0.2, 0.4, 0.6, 0.8):
        inside = (told >= low) & (told < low + 0.2)
        if np.count_nonzero(inside) > 100:
            assert other[1][inside].mean() == pytest.approx(told[inside].mean(), abs=0.15)


def test_area_under_curve():
    real = np.array([True, True, False, False])
    assert trees.area_under_curve(np.array([3.0, 2.0, 1.0, 0.0]), real) == 1.0
    assert trees.area_under_curve(np.array([3.0, 1.0, 2.0, 0.0]), real) == 0.75
    assert trees.area_under_curve(np.zeros(4), real) == 0.5
