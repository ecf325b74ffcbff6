"""Holes are filled so that nothing is found in them, and fluxes beside them stay right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from pair_scenes import Scene, even

from firstlight.algorithms.flags import Flag
from firstlight.algorithms.resampling.image_pair import AlignedImage
from firstlight.algorithms.subtraction.inpaint import fill_alike
from firstlight.algorithms.subtraction.residual_noise import ResidualNoise
from firstlight.algorithms.subtraction.subtract import Subtraction
from firstlight.algorithms.subtraction.tile_kernels import tile_kernels
from firstlight.algorithms.subtraction.zogy import zogy, zogy_matching

NOTHING = ResidualNoise(0.0, 0.0)
Plane = NDArray[np.float32]


def subtracted(scene: Scene, new: AlignedImage, reference: AlignedImage) -> Subtraction:
    return zogy(new, reference, tiles=(1, 1), ratio=even(scene.shape), residual=NOTHING)


def spoiled(
    image: AlignedImage, lost: NDArray[np.bool_], value: float, flag: Flag = Flag.COSMIC_RAY
) -> AlignedImage:
    return replace(
        image,
        pixels=np.where(lost, np.float32(value), image.pixels),
        flags=image.flags | np.where(lost, np.uint16(flag), np.uint16(0)),
    )


@pytest.mark.parametrize("image", [1, 2])
def test_a_hole_on_a_star_gets_what_the_other_image_has(image: int) -> None:
    scene = Scene(1, (96, 96), stars=0, noise=False)
    star = (
        scene.light(np.array([[48.3, 47.8, 5e4]]), 4.0),
        scene.light(np.array([[48.3, 47.8, 5e4]]), 3.3),
    )
    pixels = star[0].astype(np.float32), star[1].astype(np.float32)
    hidden = np.zeros((96, 96), np.uint8)
    hidden[46:49, 47:51] = image
    truth = pixels[image - 1].copy()
    pixels[image - 1][hidden > 0] = 0.0
    matching = zogy_matching(scene.new, scene.reference, even(scene.shape), (1, 1))
    kernels = tile_kernels(matching, (0, 0), (2049.0, 512.0))
    holes = np.argwhere(hidden)
    for _ in range(4):
        fill_alike(pixels, hidden, holes, kernels.static, np.zeros(len(holes), np.float32))
    off = np.abs(pixels[image - 1] - truth)
    assert off.max() < 0.03 * truth.max()
    assert (off[hidden == 0] == 0).all()


def test_what_is_far_from_anything_known_is_left_alone() -> None:
    scene = Scene(2, (96, 96), stars=0, noise=False)
    pixels = np.full((96, 96), 7.0, np.float32), np.full((96, 96), 7.0, np.float32)
    hidden = np.zeros((96, 96), np.uint8)
    hidden[20:70, 20:70] = 2
    pixels[1][35:55, 35:55] = 9.0
    matching = zogy_matching(scene.new, scene.reference, even(scene.shape), (1, 1))
    kernels = tile_kernels(matching, (0, 0), (2049.0, 512.0))
    holes = np.argwhere(hidden)
    fill_alike(pixels, hidden, holes, kernels.static, np.zeros(len(holes), np.float32))
    assert pixels[1][45, 45] == 9.0
    assert pixels[1][22, 45] == pytest.approx(7.0, abs=0.5)
    assert (pixels[0] == 7.0).all()


def test_a_wide_hole_of_the_sharper_image_is_filled_without_growing() -> None:
    scene = Scene(10, (128, 128), stars=0, widths=(7.0, 3.3), noise=False)
    star = np.array([[57.3, 16.8, 2e7]])
    pixels = (
        scene.light(star, 7.0).astype(np.float32),
        scene.light(star, 3.3).astype(np.float32),
    )
    hidden = np.zeros((128, 128), np.uint8)
    hidden[:34, 40:74] = 2
    holes = np.argwhere(hidden)
    brightest = pixels[1].max()
    pixels[1][hidden > 0] = pixels[0][hidden > 0]
    matching = zogy_matching(scene.new, scene.reference, even(scene.shape), (1, 1))
    kernels = tile_kernels(matching, (0, 0), (4049.0, 1012.0))
    fill_alike(pixels, hidden, holes, kernels.static, np.zeros(len(holes), np.float32))
    assert np.abs(pixels[1]).max() < 3.0 * brightest


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_detection_is_made_of_holes(seed: int) -> None:
    """Single pixels, tracks, dead columns and rows, in either image or both, NaN among them."""
    scene = Scene(seed, (256, 256), stars=40)
    rng = np.random.default_rng(seed)
    lost = [rng.random(scene.shape) < 0.02 for _ in range(2)]
    for number in range(30):
        x, y = rng.integers(0, 240, 2)
        lost[number % 2][y, x : x + rng.integers(2, 16)] = True
    lost[0][:, 100:102] = True
    lost[1][150] = True
    both = (slice(200, 212), slice(30, 50))
    lost[0][both] = lost[1][both] = True
    new = spoiled(scene.new, lost[0], 4e4)
    reference = spoiled(scene.reference, lost[1], float("nan"))
    told = subtracted(scene, new, reference)
    assert np.isfinite(told.score).all()
    # 65,000 scores of which some 2,000 are independent of each other.
    assert np.abs(told.score).max() < 4.8
    assert told.score.std() < 1.03
    seen = lost[0] | lost[1]
    assert (told.flags[seen] & np.uint16(Flag.INTERPOLATED) > 0).all()


@pytest.mark.parametrize("seed", [4, 5])
def test_a_transient_half_in_a_hole_keeps_its_flux(seed: int) -> None:
    places = [
        (40.0 + 45 * i + 0.3 * j, 40.0 + 45 * j - 0.2 * i, 4e4) for i in range(5) for j in range(5)
    ]
    scene = Scene(seed, (256, 256), stars=30, brightest=5e3, new_stars=tuple(places))
    lost = np.zeros(scene.shape, np.bool_)
    for n, (x, y, _) in enumerate(places):
        i, j = round(x), round(y)
        if n % 3 == 0:
            lost[j, i - 1 : i + 3] = True
        elif n % 3 == 1:
            lost[j - 6 : j + 7, i + 1] = True
        else:
            lost[j + 1 : j + 3, i : i + 2] = True
    images = [(spoiled(scene.new, lost, 1e5), scene.reference)]
    images.append((scene.new, spoiled(scene.reference, lost, 1e5)))
    x, y, truth = np.array(places).T
    whole = subtracted(scene, scene.new, scene.reference)
    for new, reference in images:
        told = subtracted(scene, new, reference)
        flux, error = told.flux_at(x, y)
        assert np.mean(flux / truth) == pytest.approx(1.0, abs=0.045)
        assert np.std((flux - truth) / error) < 2.0
        assert (error > whole.flux_at(x, y)[1]).all()


def test_where_nothing_is_known_nothing_is_claimed() -> None:
    scene = Scene(6, (128, 160), stars=20)
    lost = np.zeros(scene.shape, np.bool_)
    lost[:, 100:] = True
    told = subtracted(scene, scene.new, spoiled(scene.reference, lost, np.nan, Flag.NO_DATA))
    assert (told.score[:, 112:] == 0).all()
    assert np.isinf(told.flux_error[:, 112:]).all()
    assert (told.flux[:, 112:] == 0).all()
    # Among the stars is one 2.6 pixels beyond the border of what the reference has.
    assert np.abs(told.score[20:-20, 20:]).max() < 4.8
    flux, error = told.flux_at(np.array([140.2, 50.0]), np.array([60.0, 60.0]))
    assert flux[0] == 0
    assert np.isinf(error[0])
    assert np.isfinite(error[1])


def test_images_without_anything_known_are_no_error() -> None:
    scene = Scene(7, (64, 64), stars=3)
    lost = np.ones(scene.shape, np.bool_)
    told = zogy(spoiled(scene.new, lost, np.nan), scene.reference)
    assert (told.score == 0).all()
    assert told.ratio.stars == 0


@pytest.mark.parametrize("seed", [8, 9])
def test_saturated_stars_leave_no_rings(seed: int) -> None:
    scene = Scene(seed, (192, 192), stars=20)
    rng = np.random.default_rng(seed)
    light = np.array([[60.3, 70.1, 8e6], [130.6, 120.4, 4e6]])
    images = []
    for image, width in ((scene.new, 4.0), (scene.reference, 3.3)):
        star = scene.light(light, width)
        seen = image.pixels + star + np.sqrt(star) * rng.standard_normal(star.shape)
        lost = seen > 1.5e5
        lost[1:-1, 1:-1] |= lost[:-2, 1:-1] | lost[2:, 1:-1] | lost[1:-1, :-2] | lost[1:-1, 2:]
        pixels = np.where(seen > 1.5e5, 1.5e5, seen).astype(np.float32)
        images.append(
            replace(
                image,
                pixels=pixels,
                variance=image.variance + np.minimum(star, 1.5e5).astype(np.float32),
                flags=np.where(lost, np.uint16(Flag.SATURATED), np.uint16(0)),
            )
        )
    told = zogy(images[0], images[1], tiles=(1, 1), ratio=even(scene.shape))
    assert np.abs(told.score).max() < 5.0


@pytest.mark.parametrize("shift", [(0, 60), (60, 0), (-60, -60)])
def test_holes_across_a_border_are_filled_as_others_are(shift: tuple[int, int]) -> None:
    """Planes go round, as in a transform."""
    scene = Scene(7, (120, 121), stars=0)
    matching = zogy_matching(scene.new, scene.reference, even(scene.shape), (1, 1))
    kernels = tile_kernels(matching, (0, 0), (2049.0, 512.0))
    hidden = np.zeros(scene.shape, np.uint8)
    hidden[56:64, 58:61], hidden[60, 50:75], hidden[54:59, 66] = 1, 2, 3
    star = np.array([[59.2, 59.8, 5e4]])
    planes = (
        scene.new.pixels + scene.light(star, 4.0).astype(np.float32),
        scene.reference.pixels + scene.light(star, 3.3).astype(np.float32),
    )
    filled = []
    for move in ((0, 0), shift):
        there = np.roll(hidden, move, (0, 1))
        pixels = tuple(np.where(there, np.float32(0), np.roll(p, move, (0, 1))) for p in planes)
        holes = np.argwhere(hidden)
        holes = (holes + move) % scene.shape  # asked for in the same order
        trust = np.full(len(holes), 1e-3, np.float32)
        fill_alike((pixels[0], pixels[1]), there, holes, kernels.static, trust)
        filled.append([np.roll(each, (-move[0], -move[1]), (0, 1)) for each in pixels])
    assert np.ptp(filled[0][0][hidden == 1]) > 50.0
    for whole, moved in zip(*filled, strict=True):
        np.testing.assert_allclose(moved, whole, rtol=1e-4, atol=0.1)


@pytest.mark.parametrize("corner", [(0, 0), (30, 25), (47, 70)])
def test_what_is_beyond_reach_does_not_depend_on_the_border(corner: tuple[int, int]) -> None:
    """Of a hidden square all that is farther than the kernels reach from its rim stays."""
    scene = Scene(3, (97, 120), stars=0, noise=False)
    top, left = corner
    hidden = np.zeros(scene.shape, np.uint8)
    hidden[top : top + 50, left : left + 50] = 2
    pixels = np.full(scene.shape, 7.0, np.float32), np.full(scene.shape, 7.0, np.float32)
    pixels[1][hidden > 0] = 9.0
    matching = zogy_matching(scene.new, scene.reference, even(scene.shape), (1, 1))
    kernels = tile_kernels(matching, (0, 0), (2049.0, 512.0)).static
    holes = np.argwhere(hidden)
    fill_alike(pixels, hidden, holes, kernels, np.zeros(len(holes), np.float32))
    reach = kernels.nn.shape[0] // 2
    # A square's side that lies on the border has no rim.
    sides = [(first, first + 50, size) for first, size in zip(corner, scene.shape, strict=True)]
    rows, columns = (
        slice(first + reach if first else 0, last - reach if last < size else size)
        for first, last, size in sides
    )
    kept = np.zeros(scene.shape, np.bool_)
    kept[rows, columns] = True
    np.testing.assert_array_equal((pixels[1] == 9.0) & (hidden > 0), kept)
