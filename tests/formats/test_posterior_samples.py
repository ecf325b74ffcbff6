"""Samples are checked, thinned evenly, and packed without loss."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstlight.formats.posterior_samples import Samples, pack, samples_of, thin, unpack
from firstlight.formats.result_errors import ResultMalformed, ResultTooLarge


def test_draws_that_are_not_finite_are_left_out_everywhere():
    sent = {"a": [1, 2.5, None, 4.0], "b": [10, float("inf"), 30, 40]}
    samples, lost = samples_of(sent, "posterior", most=100)
    assert samples.columns() == {"a": [1.0, 4.0], "b": [10.0, 40.0]}
    assert (lost, samples.sent, samples.draws) == (2, 4, 2)


def test_many_samples_are_thinned_evenly():
    sent = {"a": np.arange(10_000.0), "b": -np.arange(10_000.0)}
    samples, _ = samples_of(sent, "posterior", most=2000)
    assert samples.values.shape == (2, 1000)
    assert samples.sent == 10_000
    steps = np.diff(samples.values[0])
    assert (samples.values[0, 0], samples.values[0, -1]) == (0, 9999)
    assert set(steps) <= {10.0, 11.0}
    assert np.array_equal(samples.values[0], -samples.values[1])


@given(st.integers(1, 50), st.integers(1, 60))
def test_thinning_keeps_order_and_repeats_nothing(draws, most):
    samples = Samples(("a",), np.arange(float(draws))[None], draws)
    kept = thin(samples, most).values[0]
    assert len(kept) == min(draws, most)
    assert (np.diff(kept) > 0).all()


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"a": []},
        {"a": [1, 2], "b": [1]},
        {"a": ["1", "2"]},
        {"a": [[1], [2]]},
        {"a": "12"},
        {"a": {"b": 1}},
        {"a": None},
        {"a": [None, None]},
        {"a": [10**400]},
        {"a\x00": [1], "a": [2]},
    ],
)
def test_other_forms_are_malformed(sent):
    with pytest.raises(ResultMalformed):
        samples_of(sent, "posterior", most=100)


def test_too_many_parameters():
    with pytest.raises(ResultTooLarge):
        samples_of({str(each): [1.0] for each in range(201)}, "posterior", most=100)


def test_packed_samples_come_back(tmp_path):
    rng = np.random.default_rng(5)
    models = {
        "salt3 / ü": Samples(("t0", "x[0]"), rng.normal(size=(2, 1000)), 5000),
        "../odd": Samples(("t0",), rng.normal(size=(1, 10)), 10),
    }
    packed = pack(models)
    (tmp_path / "kept.npz").write_bytes(packed)
    for found in (unpack(packed), unpack(tmp_path / "kept.npz")):
        assert list(found) == list(models)
        for name, samples in models.items():
            assert found[name].names == samples.names
            assert found[name].sent == samples.sent
            assert np.array_equal(found[name].values, samples.values)


def test_what_is_packed_is_a_file_for_numpy(tmp_path):
    path = tmp_path / "kept.npz"
    path.write_bytes(pack({"m": Samples(("a",), np.ones((1, 3)), 3)}))
    with np.load(path, allow_pickle=False) as file:
        assert file["samples_0"].tolist() == [[1, 1, 1]]
