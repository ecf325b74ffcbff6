"""Stars whose PSF changes within a tile are gone from the difference all the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from pair_scenes import even, moffat

from firstlight.algorithms.resampling.image_pair import AlignedImage, Matching, PsfGrid
from firstlight.algorithms.subtraction.bent_light import BentLight
from firstlight.algorithms.subtraction.residual_noise import ResidualNoise
from firstlight.algorithms.subtraction.subtract import Subtraction
from firstlight.algorithms.subtraction.zogy import zogy

SIDE, TILES, RADIUS = 480, 3, 14
PLACES = np.array([(x, y) for x in (70, 150, 240, 345, 410) for y in (85, 240, 310, 395)], float)
FLUX = 2e5
NEW_SOURCE = 200, 150, 3e3


def widths(x: float, y: float) -> tuple[float, float]:
    """FWHM of both images: they change in opposite ways, by a few per cent over the image."""
    u, v = (x - 240) / 240, (y - 240) / 240
    return 4.0 * (1 + 0.05 * u + 0.02 * v * v), 3.3 * (1 - 0.04 * v + 0.02 * u * v)


def pair() -> tuple[AlignedImage, AlignedImage]:
    """Stars without noise, and one new source."""
    light = np.zeros((2, SIDE, SIDE))
    for x, y in PLACES:
        i, j = int(x), int(y)
        for image, width in zip(light, widths(x, y), strict=True):
            stamp = moffat(width, 40)
            image[j - 40 : j + 41, i - 40 : i + 41] += FLUX * stamp
    x, y, flux = NEW_SOURCE
    light[0, y - 40 : y + 41, x - 40 : x + 41] += flux * moffat(widths(x, y)[0], 40)
    nodes = (np.arange(TILES) + 0.5) * SIDE / TILES - 0.5
    grids = []
    for number in (0, 1):
        stamps = [[moffat(widths(i, j)[number], RADIUS) for i in nodes] for j in nodes]
        grids.append(PsfGrid(np.array(stamps, np.float32), nodes, nodes))
    new, reference = (
        AlignedImage(
            each.astype(np.float32),
            np.full((SIDE, SIDE), 2049.0, np.float32),
            np.zeros((SIDE, SIDE), np.uint16),
            grid,
        )
        for each, grid in zip(light, grids, strict=True)
    )
    return new, reference


def subtracted(new: AlignedImage, reference: AlignedImage) -> Subtraction:
    nothing = ResidualNoise(0.0, 0.0)
    return zogy(new, reference, ratio=even((SIDE, SIDE)), residual=nothing)


def left_at_stars(told: Subtraction) -> NDArray[np.float64]:
    """Largest share of each star's light that is left within three pixels."""
    x, y = PLACES.astype(int).T
    steps = np.arange(-3, 4)
    around = told.flux[y[:, None, None] + steps[:, None], x[:, None, None] + steps]
    return np.asarray(np.abs(around).max(axis=(1, 2)) / FLUX, np.float64)


@pytest.fixture
def rigid(monkeypatch: pytest.MonkeyPatch) -> Subtraction:
    """The difference with kernels that are constant within tiles."""
    with monkeypatch.context() as patch:
        patch.setattr(BentLight, "follow", lambda *_: None)
        return subtracted(*pair())


def test_a_tenth_of_what_stars_left_is_left(rigid: Subtraction) -> None:
    before, after = left_at_stars(rigid), left_at_stars(subtracted(*pair()))
    assert before.max() > 0.01
    assert after.max() < 0.1 * before.max()
    assert np.median(after) < 0.25 * np.median(before)


def test_new_sources_are_not_touched(rigid: Subtraction) -> None:
    told = subtracted(*pair())
    x, y, _ = NEW_SOURCE
    near = np.s_[y - 8 : y + 9, x - 8 : x + 9]
    np.testing.assert_allclose(told.flux[near], rigid.flux[near], atol=0.5)
    np.testing.assert_allclose(told.flux_error[near], rigid.flux_error[near], rtol=1e-4)


def test_kernels_that_are_the_same_everywhere_change_nothing() -> None:
    new, reference = pair()
    one = replace(new.psfs, stamps=np.repeat(new.psfs.stamps[:1, :1], TILES, 0).repeat(TILES, 1))
    light = reference.pixels[:160, :160].copy()
    known, pixels = np.ones(light.shape, np.bool_), (np.arange(160), np.arange(160))
    BentLight.of(Matching(one, one, one)).follow(light, known, (0, 0), pixels, 2049.0)
    np.testing.assert_allclose(light, reference.pixels[:160, :160], atol=1e-2)


@pytest.mark.parametrize("count", [1, 2])
def test_a_net_of_few_tiles_bends_as_far_as_it_tells(count: int) -> None:
    new, reference = pair()
    few = [
        PsfGrid(each.psfs.stamps[:count, :count], each.psfs.x[:count], each.psfs.y[:count])
        for each in (new, reference)
    ]
    light = reference.pixels[:160, :160].copy()
    known, pixels = np.ones(light.shape, np.bool_), (np.arange(160), np.arange(160))
    BentLight.of(Matching(few[1], few[0], few[0])).follow(light, known, (0, 0), pixels, 2049.0)
    change = np.abs(light - reference.pixels[:160, :160]).max()
    assert (change > 10.0) == (count == 2)


@pytest.mark.parametrize(("width", "bends"), [(1.8, False), (2.6, False), (3.4, True)])
def test_a_sharp_reference_is_left_as_it_is(width: float, bends: bool) -> None:
    new, reference = pair()
    nodes = new.psfs.x
    stamps = [[moffat(width + 0.0005 * i, RADIUS) for i in nodes] for _ in nodes]
    sharp = PsfGrid(np.array(stamps, np.float32), nodes, nodes)
    light = reference.pixels[:160, :160].copy()
    known, pixels = np.ones(light.shape, np.bool_), (np.arange(160), np.arange(160))
    BentLight.of(Matching(sharp, new.psfs, new.psfs)).follow(light, known, (0, 0), pixels, 2049.0)
    assert (np.abs(light - reference.pixels[:160, :160]).max() > 10.0) == bends


def test_a_sharp_reference_follows_where_steady_kernels_are_known() -> None:
    new, reference = pair()
    nodes = new.psfs.x
    rng = np.random.default_rng(3)
    stamps = [
        [[moffat(2.2 + 0.0005 * i, RADIUS, part) for i in nodes] for _ in nodes]
        for part in ((0.0, 0.0), rng.uniform(-0.5, 0.5, 2))
    ]
    steady, sharp = (PsfGrid(np.array(each, np.float32), nodes, nodes) for each in stamps)
    known, pixels = np.ones((160, 160), np.bool_), (np.arange(160), np.arange(160))
    bent = []
    for kernel in (steady, sharp):
        light = reference.pixels[:160, :160].copy()
        matching = Matching(kernel, new.psfs, new.psfs, steady)
        BentLight.of(matching).follow(light, known, (0, 0), pixels, 2049.0)
        bent.append(light)
    assert np.abs(bent[0] - reference.pixels[:160, :160]).max() > 10.0
    np.testing.assert_array_equal(*bent)


def test_what_is_followed_has_no_edge() -> None:
    """Light of a single pixel shows what all of a star's pixels are spread by."""
    new, reference = pair()
    light = np.zeros((160, 160), np.float32)
    light[140, 20] = 1e7
    known, pixels = np.ones(light.shape, np.bool_), (np.arange(160), np.arange(160))
    bent = BentLight.of(Matching(reference.psfs, new.psfs, new.psfs))
    bent.follow(light, known, (0, 0), pixels, 2049.0)
    rows, columns = np.nonzero(light)
    reach = int(max(np.abs(rows - 140).max(), np.abs(columns - 20).max()))
    line = np.abs(light[140, 20 : 21 + reach])
    assert line[reach] < 0.1 * line[reach - 3]


def test_pixels_without_a_value_of_their_own_are_not_followed() -> None:
    new, reference = pair()
    light = reference.pixels[:160, :160].copy()
    light[80:90, 65:75] = 1e9
    known = np.ones(light.shape, np.bool_)
    known[80:90, 65:75] = False
    before, pixels = light.copy(), (np.arange(160), np.arange(160))
    bent = BentLight.of(Matching(reference.psfs, new.psfs, new.psfs))
    bent.follow(light, known, (0, 0), pixels, 2049.0)
    assert np.abs(light - before).max() < FLUX * 0.01
