from __future__ import annotations

import numpy as np
import pytest

from firstlight.algorithms.pictures.colour_picture import colour_levels, shifted, white_balance
from firstlight.errors import InvalidInput

SKY = (140.0, 560.0, 200.0)
DIMMED = (0.4, 1.0, 0.6)  # what the filters leave of white light


def _field(tints, *, seed=3, shape=(120, 160)):
    """Red, green, blue of one star for each tint, on a noisy sky; positions are returned."""
    rng = np.random.default_rng(seed)
    planes = [rng.normal(sky, 8.0, shape) for sky in SKY]
    y, x = np.mgrid[: shape[0], : shape[1]]
    places = [(20 + 25 * (n // 5), 15 + 30 * (n % 5)) for n in range(len(tints))]
    for (row, column), tint in zip(places, tints, strict=True):
        star = 4000 * np.exp(-((x - column) ** 2 + (y - row) ** 2) / (2 * 1.5**2))
        for plane, colour, dimmed in zip(planes, tint, DIMMED, strict=True):
            np.add(plane, star * colour * dimmed, out=plane)
    return [plane.astype(np.float32) for plane in planes], places


WHITE = (1.0, 1.0, 1.0)


def test_stars_have_their_colours_and_the_sky_is_grey():
    tints = [(1.6, 1.0, 0.5), (0.5, 0.9, 1.7), *[WHITE] * 13]
    planes, places = _field(tints)
    levels = colour_levels(planes).astype(int)
    red, blue, white = (levels[places[n]] for n in (0, 1, 7))
    assert red[0] > red[1] > red[2]
    assert red[0] > red[2] + 80
    assert blue[2] > blue[0] + 80
    assert np.ptp(white) < 25
    assert white.min() > 180
    sky = np.median(levels, axis=(0, 1))
    assert np.ptp(sky) <= 1
    assert 10 < sky[0] < 60


def test_white_balance_undoes_the_filters():
    planes, _ = _field([WHITE] * 15)
    flat = [plane - np.float32(sky) for plane, sky in zip(planes, SKY, strict=True)]
    np.testing.assert_allclose(white_balance(flat), [1 / 0.4, 1.0, 1 / 0.6], rtol=0.03)


def test_without_stars_there_is_no_balance_but_a_picture():
    planes, _ = _field([])
    flat = [plane - np.float32(sky) for plane, sky in zip(planes, SKY, strict=True)]
    assert white_balance(flat) == (1.0, 1.0, 1.0)
    assert white_balance(flat, (2.0, 1.0, 1.5)) == (2.0, 1.0, 1.5)
    assert colour_levels(planes).max() < 128


def test_a_saturated_star_is_white():
    planes, places = _field([WHITE] * 15)
    row, column = places[7]
    full = 15_000.0
    for plane in planes:
        plane[row - 2 : row + 3, column - 2 : column + 3] = full
    core = colour_levels(planes, saturation=[full] * 3)[row, column].astype(int)
    assert np.ptp(core) < 30
    assert core.min() > 220
    assert np.ptp(colour_levels(planes)[row, column].astype(int)) > 60


def test_a_brighter_star_is_brighter_in_the_picture():
    planes, places = _field([(s, s, s) for s in np.linspace(0.02, 0.5, 15)])
    levels = colour_levels(planes)
    grey = [levels[place].mean() for place in places]
    assert np.all(np.diff(grey[:9]) > 0)
    assert min(grey[9:]) > 220


@pytest.mark.parametrize(("dx", "dy"), [(0.25, -0.25), (-0.5, 0.5), (1.0, 0.0), (0.0, 0.0)])
def test_shift_of_a_slope_is_exact(dx, dy):
    y, x = np.mgrid[:8, :9].astype(np.float32)
    moved = shifted(2 * x + 3 * y, dx, dy)
    expected = 2 * (x + dx) + 3 * (y + dy)
    np.testing.assert_allclose(moved[1:-1, 1:-1], expected[1:-1, 1:-1], rtol=1e-6)


def test_offsets_bring_the_colours_together():
    y, x = np.mgrid[:60, :60]
    origins = ((-0.25, 0.25), (0.0, 0.0), (0.25, -0.25))
    rng = np.random.default_rng(1)
    planes = [
        rng.normal(100, 2, x.shape)
        + 3000 * np.exp(-(((x + dx - 30) ** 2 + (y + dy - 30) ** 2) / (2 * 1.8**2)))
        for dx, dy in origins
    ]

    def fringe(levels):
        half = levels[26:35, 26:35].astype(int)
        return np.abs(half[..., 0] - half[..., 2]).mean()

    apart = colour_levels(planes)
    together = colour_levels(planes, origins=origins)
    assert fringe(together) < 0.35 * fringe(apart)


def test_holes_are_no_trouble():
    planes, places = _field([WHITE] * 15)
    planes[1][places[3]] = np.nan
    levels = colour_levels(planes)
    assert levels.shape == (120, 160, 3)
    empty = [np.full((30, 30), np.nan, np.float32)] * 3
    assert colour_levels(empty).max() == 0


@pytest.mark.parametrize(
    "planes",
    [[np.zeros((4, 4))] * 2, [np.zeros(4)] * 3, [np.zeros((4, 4)), *[np.zeros((4, 5))] * 2]],
)
def test_three_planes_of_one_shape_are_needed(planes):
    with pytest.raises(InvalidInput):
        colour_levels(planes)


def test_far_shifts_are_refused():
    with pytest.raises(InvalidInput):
        shifted(np.zeros((4, 4)), 1.5, 0)
