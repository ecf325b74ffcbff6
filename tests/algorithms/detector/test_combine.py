import numpy as np
import pytest

from firstlight.algorithms.detector.combine import (
    FrameNoise,
    combine,
    master_bias,
    master_dark,
    master_flat,
    rows_of,
)
from firstlight.errors import InvalidInput

SHAPE = (80, 100)
READ_NOISE, GAIN = 5.0, 2.0


def bias_frames(rng, count, level=1000.0):
    pattern = np.random.default_rng(0).normal(level, 3, SHAPE)
    frames = rng.normal(pattern, READ_NOISE, (count, *SHAPE)).astype(np.float32)
    return pattern, frames


@pytest.mark.parametrize("noise", [None, FrameNoise(READ_NOISE, GAIN)])
@pytest.mark.parametrize("count", [3, 4, 5, 8, 10, 30, 100])
def test_mean_variance_and_rejection(count, noise):
    rng = np.random.default_rng(count)
    pattern, frames = bias_frames(rng, count)
    hit = rng.random(frames.shape) < 0.002
    frames[hit] += 500
    stack = master_bias(rows_of(list(frames)), SHAPE, noise=noise)
    pull = (stack.data - pattern) / np.sqrt(stack.variance)
    assert abs(pull.mean()) < 0.1
    assert pull.std() == pytest.approx(1.0, abs=0.12 if noise is None else 0.08)
    one = hit.sum(axis=0) == 1
    assert abs(stack.data - pattern)[one].max() < 5 * READ_NOISE
    assert (stack.used[one] <= count - 1).all()
    assert stack.used[~hit.any(axis=0)].mean() > count * 0.985


def test_blocks_give_the_same_as_one_piece():
    _, frames = bias_frames(np.random.default_rng(1), 7)
    calls = []

    def read(rows):
        calls.append(rows)
        return frames[:, rows]

    noise = FrameNoise(READ_NOISE, GAIN)
    whole = combine(read, SHAPE, noise=noise)
    few = len(calls)
    pieces = combine(read, SHAPE, noise=noise, megabytes=0.05)
    assert len(calls) - few > 10
    np.testing.assert_array_equal(whole.data, pieces.data)
    np.testing.assert_array_equal(whole.variance, pieces.variance)


def test_dark_is_a_rate_and_long_exposures_weigh_more():
    rng = np.random.default_rng(2)
    rate = rng.uniform(0.5, 3.0, SHAPE)
    times = np.array([10.0, 100.0, 300.0, 300.0])
    frames = [rng.poisson(rate * t) / GAIN + rng.normal(0, READ_NOISE, SHAPE) + 1000 for t in times]
    dark = master_dark(
        rows_of(frames), SHAPE, times, gain=GAIN, bias=1000.0, noise=FrameNoise(READ_NOISE, GAIN)
    )
    pull = (dark.data - rate) / np.sqrt(dark.variance)
    assert pull.std() == pytest.approx(1.0, abs=0.1)
    assert (dark.data - rate).mean() == pytest.approx(0, abs=0.005)
    # Two frames of 300 s alone would give about this error.
    assert np.median(dark.variance) < 1.1 * (np.median(rate) * 600 + 2 * 100) / 600**2


def test_flat_has_median_one_whatever_the_levels():
    rng = np.random.default_rng(3)
    y, x = np.indices(SHAPE)
    response = 1 - 0.3 * ((x - 50) ** 2 + (y - 40) ** 2) / 64**2
    response *= rng.normal(1, 0.01, SHAPE)
    response /= np.median(response)
    frames = []
    for level in (5000, 12000, 20000, 8000, 15000):
        frame = rng.poisson(response * level * GAIN) / GAIN + 1000
        frame[tuple(rng.integers(5, 75, 2))] += 30000  # a star or a cosmic ray
        frames.append(frame)
    flat = master_flat(rows_of(frames), SHAPE, bias=1000.0, noise=FrameNoise(READ_NOISE, GAIN))
    assert np.median(flat.data) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(flat.data, response, rtol=0.025)
    pull = (flat.data - response) / np.sqrt(flat.variance)
    assert pull.std() == pytest.approx(1, abs=0.15)


def test_missing_values_are_left_out():
    _, frames = bias_frames(np.random.default_rng(4), 5)
    frames[0, 3, 4] = np.nan
    frames[:, 5, 6] = np.nan
    stack = master_bias(rows_of(list(frames)), SHAPE)
    assert stack.used[3, 4] == 4
    assert np.isfinite(stack.data[3, 4])
    assert stack.used[5, 6] == 0
    assert np.isnan(stack.data[5, 6])
    assert np.isinf(stack.variance[5, 6])


def test_what_cannot_be_combined_is_refused():
    _, frames = bias_frames(np.random.default_rng(5), 3)
    read = rows_of(list(frames))
    with pytest.raises(InvalidInput):
        combine(read, (80, 101))
    with pytest.raises(InvalidInput, match="scales"):
        combine(read, SHAPE, scales=np.array([1.0, 0.0, 1.0]))
    with pytest.raises(InvalidInput, match="exposure_times"):
        master_dark(read, SHAPE, [0.0, 1.0, 1.0], gain=1.0)
    with pytest.raises(InvalidInput, match="level"):
        master_flat(read, SHAPE, bias=5000.0)
