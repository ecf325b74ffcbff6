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
