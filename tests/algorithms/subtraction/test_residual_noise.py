"""What wrong positions and wrong PSFs leave at stars is counted as noise, and nothing else is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pair_scenes import Scene, even, moffat, one_psf

from firstlight.algorithms.subtraction.residual_noise import ResidualNoise
from firstlight.algorithms.subtraction.subtract import Subtraction
from firstlight.algorithms.subtraction.zogy import zogy


def worst_at_stars(scene: Scene, told: Subtraction, brightest: float) -> np.ndarray:
    found = []
    for x, y, flux in scene.stars:
        if flux > brightest and 25 < x < scene.shape[1] - 25 and 25 < y < scene.shape[0] - 25:
            j, i = round(y), round(x)
            found.append(float(np.abs(told.score[j - 4 : j + 5, i - 4 : i + 5]).max()))
    return np.array(found)


def test_a_perfect_pair_has_hardly_any() -> None:
    scene = Scene(41, (384, 384), stars=60, brightest=6e5)
    told = zogy(scene.new, scene.reference, tiles=(1, 1), ratio=even(scene.shape))
    assert told.residual.position < 0.006
    assert told.residual.relative < 0.003


@pytest.mark.parametrize("fault", ["position", "psf"])
def test_faults_at_bright_stars_do_not_become_detections(fault: str) -> None:
    scene = Scene(42, (512, 512), stars=120, brightest=6e5)
    reference = scene.reference
    if fault == "position":
        # Each star is off on its own: an error of astrometry that no shift could mend.
        rng = np.random.default_rng(1)
        light = scene.light(scene.stars, 3.3)
        moved = scene.stars + np.concatenate(
            [rng.normal(0, 0.06, (len(scene.stars), 2)), np.zeros((len(scene.stars), 1))], axis=1
        )
        change = scene.light(moved, 3.3) - light
        reference = replace(reference, pixels=reference.pixels + change.astype(np.float32))
    else:
        reference = replace(reference, psfs=one_psf(moffat(3.45, 14)))
    without = zogy(
        scene.new,
        reference,
        tiles=(1, 1),
        ratio=even(scene.shape),
        residual=ResidualNoise(0.0, 0.0),
    )
    told = zogy(scene.new, reference, tiles=(1, 1), ratio=even(scene.shape))
    assert np.mean(worst_at_stars(scene, without, 3e4) > 5) > 0.15
    assert np.mean(worst_at_stars(scene, told, 3e4) > 5) <= 0.03
    if fault == "position":
        assert told.residual.position == pytest.approx(0.06, rel=0.4)
    # Where there is no star nothing changes.
    free = scene.away(told.score)
    assert told.score[free].std() == pytest.approx(without.score[free].std(), rel=0.01)


def test_too_few_stars_leave_a_cautious_guess() -> None:
    scene = Scene(43, (128, 128), stars=3)
    told = zogy(scene.new, scene.reference, ratio=even(scene.shape))
    assert told.residual == ResidualNoise(0.0, 0.005)


def test_a_handful_of_stars_tells_how_well_positions_agree() -> None:
    # One of them, the brightest, has moved by far more than the others' places are uncertain.
    scene = Scene(44, (200, 200), stars=0)
    stars = np.array(
        [[60.2, 60.7, 6e5], [140.4, 61.1, 9e4], [61.3, 140.2, 7e4],
         [139.8, 139.6, 5e4], [100.1, 101.4, 4e4]]
    )  # fmt: skip
    moved = stars.copy()
    moved[:, 0] += [0.5, 0.06, -0.08, 0.05, -0.07]
    moved[:, 1] += [0.3, -0.07, 0.06, 0.08, -0.05]
    light, there = scene.light(stars, 4.0), scene.light(moved, 3.3)
    new = replace(scene.new, pixels=scene.new.pixels + light.astype(np.float32))
    reference = replace(scene.reference, pixels=scene.reference.pixels + there.astype(np.float32))
    told = zogy(new, reference, ratio=even(scene.shape))
    assert told.residual.position == pytest.approx(0.075, rel=0.5)
    assert told.residual.relative == 0.005
    for x, y, _ in stars[1:]:
        j, i = round(y), round(x)
        assert np.abs(told.score[j - 4 : j + 5, i - 4 : i + 5]).max() < 5.0
