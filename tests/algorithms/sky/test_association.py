import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firstlight.algorithms.sky.association import associate, unit_vectors


def night(seed, n_star=150, n_frame=12, found=0.85, noise=0.1):
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0, 500, (n_star, 2))
    frames, names = [], []
    for _ in range(n_frame):
        seen = rng.permutation(np.flatnonzero(rng.random(n_star) < found))
        frames.append(truth[seen] + noise * rng.standard_normal((len(seen), 2)))
        names.append(seen)
    return truth, frames, names


def test_every_source_goes_to_its_own_star():
    truth, frames, names = night(0, n_star=60)
    result = associate(frames, radius=1.0)
    apart = np.hypot(*(truth[:, None] - truth[None]).transpose(2, 0, 1))
    assert apart[~np.eye(60, dtype=bool)].min() > 1.0, "the sky of this test has no close pairs"
    assert len(result.positions) == 60
    for j, seen in enumerate(names):
        nearest = np.argmin(
            np.hypot(*(result.positions[:, None] - truth[None]).transpose(2, 0, 1)), axis=1
        )
        has = result.members[:, j] >= 0
        assert (seen[result.members[has, j]] == nearest[has]).all()
        assert set(result.missing(j)) == set(np.flatnonzero(~has))
    assert (result.detections == (result.members >= 0).sum(1)).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_each_source_has_one_star_and_order_does_not_matter(seed):
    _, frames, _ = night(seed, n_star=200, n_frame=6)
    result = associate(frames, radius=3.0)
    for j, frame in enumerate(frames):
        members = result.members[:, j]
        members = members[members >= 0]
        assert len(np.unique(members)) == len(members)
        assert members.max(initial=-1) < len(frame)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(frames))
    shuffles = [rng.permutation(len(f)) for f in frames]
    again = associate([frames[i][shuffles[i]] for i in order], radius=3.0)
    np.testing.assert_allclose(again.positions, result.positions, rtol=0, atol=1e-9)
    for new, old in enumerate(order):
        back = again.members[:, new]
        back = np.where(back >= 0, shuffles[old][back], -1)
        np.testing.assert_array_equal(back, result.members[:, old])


def test_sky_positions_across_the_meridian_and_at_the_pole():
    ra, dec = np.array([359.9999, 10.0, 190.0]), np.array([0.0, 89.99999, 89.99999])
    other = np.array([0.0001, 10.0, 190.0])
    frames = [unit_vectors(ra, dec), unit_vectors(other, dec)]
    result = associate(frames, radius=2 * np.sin(np.radians(1.0 / 3600) / 2))
    assert len(result.positions) == 3
    joined = associate(frames, radius=2 * np.sin(np.radians(0.1) / 2))
    assert (joined.members >= 0).all(axis=1).any()


def test_rarely_seen_stars_can_be_left_out():
    frames = [np.array([[0.0, 0.0], [9.0, 9.0]]), np.array([[0.1, 0.0]]), np.zeros((0, 2))]
    assert associate(frames, 1.0).members.tolist() == [[0, 0, -1], [1, -1, -1]]
    assert associate(frames, 1.0, fewest_detections=2).members.tolist() == [[0, 0, -1]]


@pytest.mark.parametrize("frames", [[], [np.zeros((0, 2))] * 3])
def test_nothing_to_match(frames):
    result = associate(frames, 1.0)
    assert result.members.shape == (0, len(frames))
