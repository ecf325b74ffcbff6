from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stacked_frames import Star, frame, frames_of, measured, moffat, stars_on_a_net

from firstlight.algorithms.coaddition.coadd import (
    choose_frames,
    clipped_mean,
    find_outliers,
    frame_weights,
    weighted_mean,
)
from firstlight.algorithms.flags import UNUSABLE, Flag
from firstlight.algorithms.resampling.image_pair import AlignedImage, PsfGrid, tile_centres
from firstlight.errors import InvalidInput


def constant_frame(value, sigma, shape=(40, 50), seed=0):
    rng = np.random.default_rng(seed)
    x, y = tile_centres(shape, (1, 1))
    psfs = PsfGrid(moffat(3.5, 8)[None, None], x, y)
    pixels = (value + sigma * rng.normal(size=shape)).astype(np.float32)
    variance = np.full(shape, sigma**2, np.float32)
    return AlignedImage(pixels, variance, np.zeros(shape, np.uint16), psfs)


def test_mean_weighs_by_depth():
    frames = [constant_frame(10.0, 1.0, seed=1), constant_frame(20.0, 2.0, seed=2)]
    found = weighted_mean(frames, [1.0, 2.0])
    np.testing.assert_allclose(frame_weights(frames, [1.0, 2.0]), [1.0, 1.0])
    expected = (frames[0].pixels + frames[1].pixels / 2) / 2
    np.testing.assert_allclose(found.pixels, expected, rtol=1e-5)
    np.testing.assert_allclose(found.variance, 0.5, rtol=1e-5)
    assert (found.used == 2).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_mean_of_usable_pixels_only(seed, count):
    rng = np.random.default_rng(seed)
    frames = [constant_frame(5.0, 1.0 + k, (9, 11), seed + k) for k in range(count)]
    for each in frames:
        holes = rng.random(each.shape) < 0.4
        each.flags[holes] = rng.choice([1, 2, 8, 32], holes.sum())
        each.pixels[rng.random(each.shape) < 0.1] = np.nan
        each.variance[rng.random(each.shape) < 0.1] = np.inf
    found = weighted_mean(frames)
    weights = frame_weights(frames)
    good = np.stack([(f.flags & int(UNUSABLE)) == 0 for f in frames])
    good &= np.stack([np.isfinite(f.pixels) & np.isfinite(f.variance) for f in frames])
    np.testing.assert_array_equal(found.used, good.sum(axis=0))
    some = found.used > 0
    share = np.where(good, weights[:, None, None], 0.0)
    share = share[:, some] / share[:, some].sum(axis=0)
    light = np.nan_to_num(np.stack([f.pixels for f in frames]))[:, some]
    noise = np.where(good, np.stack([f.variance for f in frames]), 0.0)[:, some]
    np.testing.assert_allclose(found.pixels[some], (share * light).sum(axis=0), rtol=1e-4)
    np.testing.assert_allclose(found.variance[some], (share**2 * noise).sum(axis=0), rtol=1e-4)
    assert ((found.flags[~some] & int(UNUSABLE)) != 0).all()
    assert ((found.flags[some] & int(UNUSABLE & ~Flag.SATURATED)) == 0).all()
    assert np.isfinite(found.pixels).all()


def test_saturated_in_one_is_marked_and_missing_in_all_is_nothing():
    frames = [constant_frame(5.0, 1.0, seed=k) for k in range(3)]
    frames[0].flags[5, 5] = int(Flag.SATURATED)
    for each in frames:
        each.flags[7, 7] = int(Flag.BAD)
        each.variance[8, 8] = np.inf
    found = weighted_mean(frames)
    assert found.flags[5, 5] == int(Flag.SATURATED)
    assert found.used[5, 5] == 2
    assert found.flags[7, 7] == int(Flag.BAD)
    assert found.used[7, 7] == 0
    assert found.flags[8, 8] & int(Flag.NO_DATA)
    assert np.isinf(found.variance[8, 8])
    assert found.pixels[8, 8] == 0


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_mean_gives_fluxes_and_their_errors(seed):
    stars = stars_on_a_net((400, 400), 20, seed)
    frames, scales = frames_of(stars, (400, 400), seed)
    found = weighted_mean(frames, scales)
    flux, error = measured(found.image, stars)
    pulls = (flux - stars.flux) / error
    assert abs(pulls.mean()) < 4 / np.sqrt(len(pulls))
    assert pulls.std() == pytest.approx(1.0, abs=4 / np.sqrt(2 * len(pulls)))


def hit_frames(count, seed, shape=(200, 200), values=None):
    """Frames of bright stars; the second holds hits and a trail."""
    stars = stars_on_a_net(shape, 25, seed, brightest=3e5)
    frames, scales = frames_of(stars, shape, seed, count=count)
    clean = frames[1].pixels.copy()
    rng = np.random.default_rng(seed)
    charge = np.zeros(shape)
    places = rng.integers(5, shape[0] - 5, (40, 2))
    for j, i in places:
        charge[j, i] = values or rng.uniform(3000, 20000)
        charge[j, i + 1] = 0.4 * charge[j, i]
    x = np.arange(shape[1])
    for width, level in ((0, 1.0), (1, 0.6), (2, 0.15)):
        for sign in (-1, 1):
            rows = np.clip(60 + x // 3 + sign * width, 0, shape[0] - 1)
            charge[rows, x] = np.maximum(charge[rows, x], 600 * level)
    frames[1].pixels[:] += charge.astype(np.float32)
    # A careless noise model takes the charge for light.
    frames[1].variance[:] += charge.astype(np.float32)
    return frames, scales, charge, clean, stars


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_clipped_mean_is_free_of_what_one_frame_shows(count, seed):
    frames, scales, charge, clean, stars = hit_frames(count, seed)
    found = clipped_mean(frames, scales)
    frames[1].pixels[:] = clean
    expected = weighted_mean(frames, scales)
    light = stars_light(stars, charge.shape)
    dark = light < 100
    off = (found.pixels - expected.pixels) / np.sqrt(expected.variance)
    assert np.abs(off[(charge > 500) & dark]).max() < 4.5
    assert np.abs(off[(charge > 0) & dark]).mean() < 1.5


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("count", [2, 3, 8])
def test_stars_and_noise_are_not_clipped(count, seed):
    """Seeing from 3 to 5 pixels: neither a star's core nor its wings are outliers."""
    stars = stars_on_a_net((300, 300), 25, seed, brightest=1e6)
    frames, scales = frames_of(stars, (300, 300), seed, count=count)
    outliers = find_outliers(frames, scales)
    assert outliers.mean() < 3e-5
    flux, error = measured(clipped_mean(frames, scales).image, stars)
    bright = stars.flux > 1e4
    ratio = (flux / stars.flux)[bright]
    assert np.abs(ratio.mean() - 1) < 4 * np.mean((error / stars.flux)[bright]) + 1e-3


def test_a_frame_alone_has_no_outliers():
    assert not find_outliers([constant_frame(0.0, 1.0)]).any()


def stars_light(stars: Star, shape):
    return frame(stars, shape, 4.0, 1e-3, 1.0, np.random.default_rng(0)).pixels


def test_choice_prefers_sharp_and_deep():
    chosen = choose_frames([3.0, 6.0, 3.0], [10.0, 10.0, 20.0], enough=1.0)
    assert chosen.frames[0] == 0
    assert chosen.share == pytest.approx(1.0)
    assert set(chosen.frames) == {0, 1, 2}
    # One fwhm twice as wide costs as much as twice the noise.
    told = [1.0, 0.25, 0.25]
    area = 4 * np.pi * (3.0 / 2.3548) ** 2
    assert chosen.flux_error == pytest.approx(10 * np.sqrt(area / sum(told)), rel=1e-3)


def test_choice_leaves_out_what_adds_nothing():
    fwhm, noise, scales = [3.0] * 10, [10.0] * 10, [1.0] * 8 + [0.05] * 2
    chosen = choose_frames(fwhm, noise, scales)
    assert set(chosen.frames) == set(range(8))
    assert choose_frames(fwhm, noise, scales, at_most=3).frames.size == 3
    assert set(choose_frames([3, 4, 5], [1, 1, 1], widest=4.5).frames) == {0, 1}


def test_wrong_numbers_are_refused():
    frames = [constant_frame(1.0, 1.0), constant_frame(1.0, 1.0, shape=(40, 51))]
    with pytest.raises(InvalidInput):
        weighted_mean(frames)
    with pytest.raises(InvalidInput):
        weighted_mean(frames[:1], [0.0])
    with pytest.raises(InvalidInput):
        weighted_mean([])
    with pytest.raises(InvalidInput):
        choose_frames([3.0], [1.0], widest=2.0)
    with pytest.raises(InvalidInput):
        choose_frames([3.0, np.nan], [1.0, 1.0])
