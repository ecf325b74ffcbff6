import numpy as np
import pytest

from firstlight.algorithms.plate import registration
from firstlight.algorithms.plate.plate_solve import NotSolved
from firstlight.algorithms.plate.registration import NotRegistered, Registration, register


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


def distorted(seed, shift, turn=0.0, count=2500):
    """A crowded frame through optics that bend the edges by two pixels, near its limit."""
    rng = np.random.default_rng(1)
    x, y = rng.uniform(-200, 1200, (2, count))
    flux = rng.pareto(0.75, count) + 1
    own = np.random.default_rng(seed + 10)
    c, s = np.cos(turn), np.sin(turn)
    x, y = c * (x - 500) - s * (y - 500) + shift[0], s * (x - 500) + c * (y - 500) + shift[1]
    bend = 2.0 * (np.hypot(x, y) / 700) ** 2
    x, y = x * (1 + bend / 500) + 500, y * (1 + bend / 500) + 500
    inside = (x > 0) & (x < 1000) & (y > 0) & (y < 1000)
    # Faint stars come and go, and saturated ones are told apart badly.
    measured = np.minimum(flux * own.normal(1, 0.05, count), 300) * own.normal(1, 0.02, count)
    seen = inside & (measured > 1.15 * own.normal(1, 0.1, count))
    return x[seen] + own.normal(0, 0.1, seen.sum()), y[seen], measured[seen]


@pytest.mark.parametrize("turn", [0.0, 0.004, np.pi])
def test_a_crowded_field_that_drifts_is_followed(turn):
    reference = distorted(0, (0.0, 0.0))
    for k in range(1, 25):
        answer = register(*distorted(k, (2.5 * k, -4.0 * k), turn=turn), *reference)
        assert isinstance(answer, Registration), (k, answer)
        assert len(answer.matched) > 500
        assert answer.rms < 1.0


def test_the_swapped_frames_serve_where_one_way_fails(monkeypatch):
    first, second, truth = frames(6, turn=1.0)
    ways = []
    real = registration.plate_solve

    def one_way(*args, **kwargs):
        ways.append(len(args[0]))
        return real(*args, **kwargs) if len(ways) == 2 else NotSolved("no luck", "no_match")

    monkeypatch.setattr(registration, "plate_solve", one_way)
    answer = register(*first, *second)
    assert ways == [len(first[0]), len(second[0])]
    assert isinstance(answer, Registration)
    np.testing.assert_allclose(answer.matrix, truth, atol=0.2)
    one, two = answer.matched.T
    at = answer.matrix @ np.array([first[0][one], first[1][one], np.ones(len(one))])
    assert np.max(np.hypot(at[0] - second[0][two], at[1] - second[1][two])) < 1.0


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


@pytest.mark.parametrize("share", [0.5, 0.2])
def test_a_shallow_frame_is_found_by_its_shift_on_a_deep_one(share, monkeypatch):
    never = NotSolved("not by quads", "no_match")
    monkeypatch.setattr(registration, "plate_solve", lambda *_, **__: never)
    deep, whole = distorted(0, (0.0, 0.0)), distorted(1, (3.0, -4.0), turn=0.001)
    brightest = np.argsort(-whole[2])[: int(share * len(whole[2]))]
    shallow = [column[brightest] for column in whole]
    false = np.random.default_rng(2).random(len(brightest)) < 0.2
    shallow[0][false] = 1000.0 - shallow[0][false]
    answer = register(*shallow, *deep)
    assert isinstance(answer, Registration), answer
    assert len(answer.matched) > 0.7 * np.count_nonzero(~false)
