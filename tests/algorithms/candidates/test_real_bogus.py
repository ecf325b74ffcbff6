"""The score of candidates: trees that are data."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from white_difference import (
    SIGMA,
    light_of,
    measured,
    on_a_net,
    subtracted,
    unit_error,
)

from firstlight.algorithms.candidates.real_bogus import (
    FEATURES,
    RealBogus,
    feature_table,
)
from firstlight.errors import InvalidInput
from firstlight.pipeline.real_bogus_model import default_real_bogus

# One tree of two levels: first feature, then the second on either side.
TREE = RealBogus(
    version="0",
    recipe="{}",
    features=FEATURES,
    feature=np.array([[0, 1, 1]], np.int16),
    threshold=np.array([[1.0, 5.0, 7.0]], np.float32),
    leaf=np.array([[-2.0, -1.0, 1.0, 2.0]], np.float32),
    start=0.5,
    knots=np.array([-1.0, 1.0]),
    probability=np.array([0.1, 0.9]),
)


def table(*rows):
    whole = np.zeros((len(rows), len(FEATURES)))
    whole[:, :2] = rows
    return whole


def test_trees_are_followed_to_their_leaves():
    rows = table((0.0, 0.0), (1.0, 5.1), (1.1, 7.0), (2.0, 8.0))
    assert TREE.logits(rows).tolist() == [-1.5, -0.5, 1.5, 2.5]


def test_what_is_not_known_goes_to_the_first_child():
    assert TREE.logits(table((np.nan, np.nan), (2.0, np.nan))).tolist() == [-1.5, 1.5]


def test_trees_add_up():
    two = replace(
        TREE,
        feature=np.repeat(TREE.feature, 2, axis=0),
        threshold=np.repeat(TREE.threshold, 2, axis=0),
        leaf=np.concatenate([TREE.leaf, 10 * TREE.leaf]),
    )
    rows = table((0.0, 0.0), (2.0, 8.0))
    np.testing.assert_allclose(two.logits(rows), 0.5 + 11 * np.array([-2.0, 2.0]))


def test_a_model_survives_being_kept(tmp_path):
    np.savez(tmp_path / "model.npz", **TREE.arrays())
    with np.load(tmp_path / "model.npz", allow_pickle=False) as file:
        back = RealBogus.from_arrays(dict(file))
    assert back.version == "0"
    rows = table((0.0, 0.0), (2.0, 8.0))
    np.testing.assert_array_equal(back.logits(rows), TREE.logits(rows))


def test_a_model_of_other_measures_is_refused():
    told = TREE.arrays() | {"features": np.array([*FEATURES[:-1], "colour"])}
    with pytest.raises(InvalidInput) as caught:
        RealBogus.from_arrays(told)
    assert "colour" in str(caught.value.found)
    assert FEATURES[-1] in str(caught.value.expected)


@given(
    arrays(
        np.float64,
        (3, len(FEATURES)),
        elements=st.floats(allow_nan=True, allow_infinity=True, width=32),
    )
)
def test_any_numbers_have_a_score(values):
    model = default_real_bogus()
    logits = model.logits(values)
    assert np.isfinite(logits).all()


def test_our_model_is_small_and_says_where_it_comes_from():
    model = default_real_bogus()
    assert (files("firstlight.pipeline") / "data" / "real_bogus.npz").stat().st_size < 300_000
    recipe = json.loads(model.recipe)
    assert recipe["figures"]["area under curve"] > 0.98
    # Seeds of tests and benchmarks are below those of the training.
    assert min(recipe["seeds"]) >= 7_000_000
    assert (np.diff(model.knots) > 0).all()
    assert (np.diff(model.probability) > 0).all()
    assert model.probability.min() > 0
    assert model.probability.max() < 1


def test_sources_score_high_and_rays_low():
    shape = (420, 420)
    sources = on_a_net(shape, 60, 12 * unit_error(), 1)
    light = light_of(sources, shape)
    random = np.random.default_rng(2)
    rays = random.integers(30, 390, (2, 25))
    for x, y in rays.T:
        light[y, x : x + 3] += 15 * SIGMA
    apart = np.array([np.hypot(rays[0] - s.x, rays[1] - s.y).min() for s in sources])
    alone = [s for s, away in zip(sources, apart, strict=True) if away > 25]
    assert len(alone) > 5
    x = np.array([*(s.x for s in alone), *(rays[0] + 1.0)])
    y = np.array([*(s.y for s in alone), *rays[1]])
    measures = measured(subtracted(light, 3), (x, y), np.full(len(x), 12.0))
    assert feature_table(measures).shape == (len(x), len(FEATURES))
    score = default_real_bogus().score(measures)
    assert score[: len(alone)].min() > 0.5
    assert np.quantile(score[len(alone) :], 0.9) < 0.3


def test_where_nothing_was_found_nothing_is_scored():
    shape, none = (64, 64), np.empty(0)
    measures = measured(subtracted(light_of([], shape), 3), (none, none), none)
    assert feature_table(measures).shape == (0, len(FEATURES))
    assert default_real_bogus().score(measures).shape == (0,)
