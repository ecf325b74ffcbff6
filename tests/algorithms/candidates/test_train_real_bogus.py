"""The sample that the real/bogus score is trained on."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from firstlight.algorithms.candidates.real_bogus import FEATURES

TOOLS = Path(__file__).parents[3] / "tools"
SEED = 6_000_001  # none of the training's


@pytest.fixture(scope="module")
def trainer():
    sys.path.append(str(TOOLS))
    try:
        spec = importlib.util.spec_from_file_location("trainer", TOOLS / "train_real_bogus.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules["trainer"] = module
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(TOOLS))
    return module


@pytest.mark.slow
def test_a_pair_has_what_came_what_went_and_what_is_false(trainer):
    told = trainer.examples(SEED)
    count = len(told["real"])
    for name in ("plain", "alert"):
        assert told[name].shape == (count, len(FEATURES))
    assert (np.abs(told["score"]) >= trainer.THRESHOLD).all()
    assert np.count_nonzero(told["real"] & (told["score"] > 0)) >= 6
    assert np.count_nonzero(told["real"] & (told["score"] < 0)) >= 3
    assert 1 <= np.count_nonzero(~told["real"]) <= trainer.MOST_FALSE
    again = trainer.examples(SEED)
    np.testing.assert_array_equal(again["plain"], told["plain"])


def test_a_spoiled_flux_is_neither_real_nor_false(trainer):
    pair = trainer.simulate_pair(
        trainer.PairSettings.of_size(256, 256, seed=SEED, transients=2, transient_snr=(30.0, 40.0))
    )
    truth = pair.transients
    faded = trainer.Injected(*(np.array([value]) for value in (60.0, 60.0, -900.0, 20.0)))
    found = trainer.Candidates(
        x=np.array([truth.x[0], truth.x[1], 60.0, 200.0]),
        y=np.array([truth.y[0], truth.y[1], 60.0, 200.0]),
        score=np.array([30.0, 60.0, -20.0, 5.0]),
        flux=np.array([truth.flux[0], 2 * truth.flux[1], -900.0, 100.0]),
        flux_error=np.ones(4),
        flags=np.zeros(4, np.uint16),
        opposite=np.zeros(4),
        peaks=np.ones(4, int),
    )
    real, known = trainer.judge(pair, faded, found)
    assert real.tolist() == [True, False, True, False]
    assert known.tolist() == [True, False, True, True]
