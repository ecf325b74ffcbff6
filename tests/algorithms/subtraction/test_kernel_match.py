"""The kernel that makes one image like the other, against the one that was used."""

from __future__ import annotations

import numpy as np
import pytest
from pair_scenes import Scene
from scipy.signal import fftconvolve

from firstlight.algorithms.resampling.image_pair import hidden_pixels
from firstlight.algorithms.subtraction.kernel_match import TooFewSources, fit_kernel, kernel_match


@pytest.mark.parametrize("widths", [(4.0, 3.2), (3.2, 4.0), (3.5, 3.5)])
def test_the_kernel_makes_one_image_like_the_other(widths: tuple[float, float]) -> None:
    scene = Scene(51, (384, 384), stars=80, widths=widths, ratio=1.6, brightest=4e5)
    hidden = hidden_pixels(scene.new, scene.reference)
    fit = fit_kernel(scene.new, scene.reference, hidden)
    assert fit.of_reference == (widths[1] <= widths[0])
    assert fit.ratio() == pytest.approx(1.6, rel=0.01)
    star = np.array([[192.0, 192.0, 1e5]])
    new, reference = scene.light(star, widths[0]), scene.light(star, widths[1]) / 1.6
    sharp, target = (reference, new) if fit.of_reference else (new, reference)
    made = fftconvolve(sharp, fit.at(192.0, 192.0), mode="same")
    # Noise of the image that is convolved makes the kernel a little too broad: the more so, the
    # less broad it should be.
    assert np.abs(made - target).max() < 0.05 * target.max()


def test_a_kernel_that_changes_is_followed() -> None:
    scene = Scene(52, (384, 768), stars=220, widths=(3.4, 3.4))
    sharper = Scene(52, (384, 768), stars=220, widths=(4.2, 3.4))
    x = np.linspace(0, 1, 768, dtype=np.float32)
    pixels = scene.new.pixels * (1 - x) + sharper.new.pixels * x
    new = type(scene.new)(pixels, scene.new.variance, scene.new.flags, sharper.new.psfs)
    fit = fit_kernel(new, scene.reference, hidden_pixels(new, scene.reference))
    left, right = fit.at(60.0, 192.0), fit.at(700.0, 192.0)
    middle = left.shape[0] // 2
    assert left[middle, middle] > 1.5 * right[middle, middle]
    assert left.sum() == pytest.approx(right.sum(), rel=0.03)


@pytest.mark.parametrize("widths", [(4.0, 3.2), (1.3, 1.6), (1.4, 1.4)])
def test_the_error_of_a_scale_holds_what_a_kernel_cannot_follow(
    widths: tuple[float, float],
) -> None:
    scene = Scene(54, (384, 384), stars=120, widths=widths, ratio=1.6, brightest=4e5)
    ratio = kernel_match(scene.new, scene.reference).ratio
    # Which part of a pixel a sharp star is in is known to no kernel: some are off by 1.6 per cent.
    assert ratio.at(192.0, 192.0) == pytest.approx(1.6, abs=2.5 * ratio.error)
    assert ratio.error < 0.02 * 1.6


def test_a_sky_without_stars_is_an_error_that_names_a_way_out() -> None:
    scene = Scene(53, (128, 128), stars=0)
    with pytest.raises(TooFewSources) as caught:
        kernel_match(scene.new, scene.reference)
    assert caught.value.code == "subtract.too_few_sources"
    assert "zogy" in str(caught.value)
