from __future__ import annotations

import numpy as np
import pytest
from scipy.special import erf

from firstlight.algorithms.light_curves.similar_stamps import (
    StampStack,
    combination,
    similarity,
    windows,
)
from firstlight.algorithms.light_curves.stamps import cut_stamps

SIDE = 14
DRIFT = np.linspace(0, 5, 12)


def star(shape: tuple[int, int], x: float, y: float, sigma: float = 0.9) -> np.ndarray:
    """Light of a Gaussian in each pixel."""
    rows, columns = np.arange(shape[0]) - y, np.arange(shape[1]) - x
    edge = sigma * np.sqrt(2)
    across = [(erf((d + 0.5) / edge) - erf((d - 0.5) / edge)) / 2 for d in (rows, columns)]
    return across[0][:, None] * across[1][None, :]


def stack_of(phases: list[tuple[float, float]], brightness: list[float]) -> StampStack:
    """Stars that drift together, seen through a coarse colour mosaic."""
    filters = np.tile([[0.5, 0.2], [1.0, 0.5]], (30, 30))
    pixels = np.zeros((len(phases), len(DRIFT), SIDE, SIDE), np.float32)
    row, column = np.zeros(pixels.shape[:2]), np.zeros(pixels.shape[:2])
    for s, (px, py) in enumerate(phases):
        for f, moved in enumerate(DRIFT):
            x, y = 24 + px + moved, 26 + py + 0.6 * moved
            image = brightness[s] * star(filters.shape, x, y) * filters
            cut = cut_stamps(image, np.array([x]), np.array([y]), SIDE)
            pixels[s, f] = cut.pixels[0]
            row[s, f], column[s, f] = y - cut.ymin[0], x - cut.xmin[0]
    return StampStack.prepare(pixels, row, column, np.ones(pixels.shape[:2], dtype=bool))


def test_the_most_alike_is_at_the_same_place_of_the_superpixel_whatever_its_brightness():
    phases = [(0.3, 0.4), (0.3, 0.4), (0.5, 0.4), (1.2, 0.4), (0.3, 1.3)]
    score = similarity(stack_of(phases, [1e4, 3e2, 1e4, 1e4, 1e4]), 0, np.arange(1, 5))
    assert score[0] == pytest.approx(0, abs=1e-6)
    assert score[0] < score[1] < min(score[2:])


def test_stars_on_both_sides_of_a_superpixels_border_are_alike():
    # The border is at a half: the stamps of these two have corners that differ by a superpixel,
    # in frames that differ, as they drift across it one after the other.
    stack = stack_of([(1.45, 0.1), (1.55, 0.1), (1.35, 0.1)], [1e4, 1e4, 1e4])
    across, within = similarity(stack, 0, np.array([1, 2]))
    assert across == pytest.approx(within, rel=0.2)


def test_windows_put_each_star_where_the_target_is():
    stack = stack_of([(1.45, 0.1), (1.55, 0.1), (0.1, 1.4)], [1e4, 1e4, 1e4])
    cut = windows(stack, 0, np.array([0, 1, 2]))
    inner = slice(2, SIDE - 2)
    assert np.array_equal(cut[0], stack.pixels[0][:, inner, inner])
    rows, columns = np.mgrid[: stack.width, : stack.width]
    light = cut.sum(axis=(2, 3))
    for axis in (rows, columns):
        place = (cut * axis).sum(axis=(2, 3)) / light
        # The mosaic pulls centroids about by some tenths; a wrong superpixel is two pixels off.
        assert np.abs(place[1] - place[0]).max() < 0.5
        assert np.abs(place[2] - place[0]).max() < 1.7


def test_unusable_frames_do_not_count_in_the_score():
    stack = stack_of([(0.3, 0.4), (0.35, 0.4)], [1e4, 1e4])
    before = similarity(stack, 0, np.array([1]))[0]
    stack.pixels[1, 4] = 1e7
    stack.usable[1, 4] = False
    assert similarity(stack, 0, np.array([1]))[0] == pytest.approx(before, rel=0.5)
    stack.usable[1] = False
    assert similarity(stack, 0, np.array([1]))[0] == np.inf


def test_a_stamp_without_light_is_unusable():
    pixels = np.ones((1, 3, SIDE, SIDE), np.float32)
    pixels[0, 1] = -1
    place = np.full((1, 3), 6.5)
    stack = StampStack.prepare(pixels, place, place, np.ones((1, 3), dtype=bool))
    assert stack.usable.tolist() == [[True, False, True]]


def references(n: int, n_frame: int, n_pixel: int) -> np.ndarray:
    values = np.random.default_rng(3).uniform(0.5, 1.5, (n, n_frame, n_pixel))
    return (values / values.sum(axis=2, keepdims=True)).astype(np.float32)


def test_coefficients_of_a_true_mixture_are_found():
    given = references(6, 12, 40)
    true = np.array([0.5, 0.3, 0.0, 0.4, -0.2, 0.0])
    target = np.einsum("k,kfp->fp", true, given)
    found = combination(target, given, np.ones((6, 12), bool), np.full(6, 1e-12))
    assert found == pytest.approx(np.tile(true, (12, 1)), abs=1e-3)


def test_noise_spreads_the_coefficients_over_the_quiet_references():
    given = np.repeat(references(1, 12, 40), 4, axis=0)
    noise = np.array([1e-4, 1e-4, 2e-4, 4e-4])
    found = combination(given[0], given, np.ones((4, 12), bool), noise)
    expected = (1 / noise) / (1 / noise).sum()
    assert found == pytest.approx(np.tile(expected, (12, 1)), abs=1e-6)


def test_a_reference_missing_in_a_frame_is_replaced_there():
    given = references(5, 12, 40)
    seen = np.ones((5, 12), bool)
    seen[1, 7] = False
    given[1, 7] = 1e3  # whatever was there
    found = combination(given[0], given, seen, np.full(5, 1e-9))
    assert found.sum(axis=1) == pytest.approx(np.ones(12))
    assert found[7, 1] == 0
    assert found[:, 0] == pytest.approx(np.ones(12), abs=1e-2)


def test_a_frame_without_references_has_no_coefficients():
    seen = np.ones((3, 12), bool)
    seen[:, 2] = False
    found = combination(references(1, 12, 40)[0], references(3, 12, 40), seen, np.full(3, 1e-9))
    assert np.isnan(found[2]).all()
    assert np.isfinite(np.delete(found, 2, axis=0)).all()
