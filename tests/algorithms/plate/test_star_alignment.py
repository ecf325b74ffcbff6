"""One image's pixels on another's, from their stars."""

import numpy as np
import pytest

from firstlight.algorithms.plate.star_alignment import (
    Alignment,
    FrameStars,
    NotRegistered,
    align_stars,
)

SHAPE = (1000, 1200)


def warped(x, y, *, turn=0.05, shift=(12.0, -7.0), bend=3.0):
    """A turn, a shift, and a cubic distortion of so many pixels in the corner."""
    u, v = (x - 600.0) / 780.0, (y - 500.0) / 780.0
    r2 = u * u + v * v
    x, y = x + bend * u * r2, y + bend * v * r2
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    return c * x - s * y + shift[0], s * x + c * y + shift[1]


def pair(seed, count=500, noise=0.02, **how):
    """Stars of two frames, a fifth of either not in the other."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, SHAPE[1], count), rng.uniform(0, SHAPE[0], count)
    flux = 10 ** rng.uniform(3.5, 5, count)
    error = noise * np.sqrt(1e5 / flux) + 1e-3
    there = warped(x, y, **how)
    frames = []
    for places in ((x, y), there):
        seen = rng.random(count) < 0.8
        px, py = (p[seen] + rng.normal(size=seen.sum()) * error[seen] for p in places)
        frames.append(FrameStars(px, py, flux[seen], error[seen]))
    return frames


def worst(found, **how):
    """Root mean square distance from the truth over the frame, and the largest."""
    y, x = (g.ravel() for g in np.mgrid[0 : SHAPE[0] : 40, 0 : SHAPE[1] : 40].astype(float))
    off = np.hypot(
        *(a - b for a, b in zip(found.positions(x, y), warped(x, y, **how), strict=True))
    )
    return np.sqrt(np.mean(off**2)), off.max()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_bent_frame_lies_right_everywhere(seed):
    found = align_stars(*pair(seed), SHAPE)
    assert isinstance(found, Alignment)
    rms, most = worst(found)
    # 300 pairs of some hundredths of a pixel, 20 coefficients.
    assert rms < 0.03
    assert most < 0.1
    assert found.order >= 3
    assert len(found.first) > 200


@pytest.mark.parametrize("turn", [90.0, 180.0, 33.0])
def test_any_turn(turn):
    found = align_stars(*pair(4, turn=turn), SHAPE)
    assert worst(found, turn=turn)[0] < 0.03


def test_a_straight_frame_is_not_bent():
    found = align_stars(*pair(5, bend=0.0), SHAPE)
    assert found.order == 1
    assert worst(found, bend=0.0)[0] < 0.01


def test_few_stars():
    found = align_stars(*pair(6, count=20, bend=0.0), SHAPE)
    assert isinstance(found, Alignment)
    assert worst(found, bend=0.0)[0] < 0.1


def test_other_skies():
    assert isinstance(align_stars(pair(7)[0], pair(8)[1], SHAPE), NotRegistered)


def test_no_stars():
    nothing = FrameStars(*np.zeros((4, 0)))
    assert align_stars(nothing, pair(9)[1], SHAPE).code == "few_detections"
