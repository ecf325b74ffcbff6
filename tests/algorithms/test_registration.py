import numpy as np
import pytest

from firstlight.algorithms.registration import NotRegistered, Registration, register


def frames(seed, *, turn=0.2, scale=1.01, count=80, noise=0.05, mirrored=False):
    """Two lists of partly the same stars, and the map from the first to the second."""
    rng = np.random.default_rng(seed)
    x, y = rng.random(count) * 1000, rng.random(count) * 700
    flux = rng.pareto(1.0, count) + 1
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    if mirrored:
        matrix[:, 0] *= -1
    matrix = np.column_stack([matrix, [60.0, -35.0]])
    to = matrix @ np.array([x, y, np.ones(count)])
    one, two = rng.random(count) > 0.2, rng.random(count) > 0.2
    extra = rng.random((2, 15)) * 700
    first = [np.append(x[one], extra[0]), np.append(y[one], extra[1])]
    second = [to[0][two], to[1][two]]
    first, second = ([p + rng.normal(0, noise, len(p)) for p in f] for f in (first, second))
    first.append(np.append(flux[one], rng.pareto(1.0, 15) + 1) * rng.normal(1, 0.05, len(first[0])))
    second.append(flux[two])
    return first, second, matrix


@pytest.mark.parametrize("turn", [0.0, 0.2, 3.1])
@pytest.mark.parametrize("mirrored", [True, False])
def test_the_map_is_found(turn, mirrored):
    for seed in range(5):
        first, second, truth = frames(seed, turn=turn, mirrored=mirrored)
        answer = register(*first, *second, mirrored=mirrored)
        assert isinstance(answer, Registration), answer
        corners = np.array([[0, 1000, 0, 1000], [0, 0, 700, 700], [1, 1, 1, 1]])
        assert np.max(np.abs(answer.matrix @ corners - truth @ corners)) < 0.15
        assert answer.rms < 0.15
        one, two = answer.matched.T
        at = answer.matrix @ np.array([first[0][one], first[1][one], np.ones(len(one))])
        assert np.max(np.hypot(at[0] - second[0][two], at[1] - second[1][two])) < 1.0
        assert len(one) > 30


def test_not_finite_detections_keep_their_numbers():
    first, second, _ = frames(1)
    answer = register(*first, *second)
    padded = [np.append([np.nan, 3.0], first[0]), np.append([1.0, 3.0], first[1])]
    shifted = register(*padded, np.append([5.0, np.nan], first[2]), *second)
    assert np.array_equal(shifted.matched, answer.matched + np.array([2, 0]))


def test_other_stars_are_not_registered():
    for seed in range(10):
        first, _, _ = frames(seed)
        _, second, _ = frames(seed + 100)
        answer = register(*first, *second)
        assert isinstance(answer, NotRegistered)
        assert answer.code == "no_match"


def test_a_mirror_image_is_not_taken_for_the_frame():
    first, second, _ = frames(3, mirrored=True)
    assert isinstance(register(*first, *second), NotRegistered)


def test_too_few_stars():
    first, second, _ = frames(4)
    few = [p[:3] for p in first]
    assert register(*few, *second).reason == "only 3 stars in the first frame"
    assert register(*first, *few).reason == "only 3 stars in the second frame"
