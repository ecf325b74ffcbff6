"""Proper subtraction: against its formulas written out, and on pairs whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from pair_scenes import Scene, even, lone_star

from firstlight.algorithms.resampling.image_pair import AlignedImage
from firstlight.algorithms.subtraction.residual_noise import ResidualNoise
from firstlight.algorithms.subtraction.tile_kernels import fast_length
from firstlight.algorithms.subtraction.zogy import zogy

Floats = NDArray[np.float64]

NOTHING = ResidualNoise(0.0, 0.0)
SPECK = 1e-5
"""Share of a source's light that zogy adds to the middle pixel of both PSFs."""


def formulas(new: AlignedImage, reference: AlignedImage, ratio: float) -> dict[str, Floats]:
    """Equations 12 to 15 and 25 to 29 of the paper, in complex double precision."""
    # As many pixels beyond the border as zogy takes, so that both go round at the same place.
    around = [fast_length(side + 2 * (14 + 4)) - side for side in new.shape]
    pad = [(each // 2, each - each // 2) for each in around]
    planes = [
        np.pad(plane.astype(np.float64), pad, mode="symmetric")
        for plane in (new.pixels, reference.pixels, new.variance, reference.variance)
    ]
    shape = planes[0].shape

    def transform(stamp: NDArray[np.float32]) -> NDArray[np.complex128]:
        image = np.zeros(shape)
        side = stamp.shape[0]
        image[:side, :side] = stamp
        image[side // 2, side // 2] += SPECK
        return np.fft.fft2(np.roll(image, (-(side // 2), -(side // 2)), axis=(0, 1)))

    p_n, p_r = (transform(image.psfs.stamps[0, 0]) for image in (new, reference))
    f_n, f_r = 1.0, 1.0 / ratio
    v_n, v_r = (float(np.median(plane)) for plane in planes[2:])
    n, r = np.fft.fft2(planes[0]), np.fft.fft2(planes[1])
    below = v_r * f_n**2 * abs(p_n) ** 2 + v_n * f_r**2 * abs(p_r) ** 2
    f_d = f_r * f_n / np.sqrt(v_n * f_r**2 + v_r * f_n**2)
    d = (f_r * p_r * n - f_n * p_n * r) / np.sqrt(below)
    p_d = f_r * f_n * p_r * p_n / f_d / np.sqrt(below)
    s = f_d * d * np.conj(p_d)
    k_r = f_r * f_n**2 * np.conj(p_r) * abs(p_n) ** 2 / below
    k_n = f_n * f_r**2 * np.conj(p_n) * abs(p_r) ** 2 / below
    spread = sum(
        np.fft.fft2(plane) * np.fft.fft2(np.fft.ifft2(kernel).real ** 2)
        for plane, kernel in ((planes[2], k_n), (planes[3], k_r))
    )
    f_s = float(np.mean(f_n**2 * abs(p_n) ** 2 * f_r**2 * abs(p_r) ** 2 / below))
    cut = tuple(slice(before, -after) for before, after in pad)
    back = {name: np.fft.ifft2(each).real[cut] for name, each in (("d", d), ("s", s))}
    variance = np.fft.ifft2(spread).real[cut]
    return {
        "difference": back["d"] / f_d,
        "flux": back["s"] / f_s,
        "flux_error": np.sqrt(variance) / f_s,
        "score": back["s"] / np.sqrt(variance),
        "psf": np.fft.ifft2(p_d).real,
    }


@pytest.mark.parametrize("ratio", [1.0, 2.5])
@pytest.mark.parametrize("widths", [(4.0, 3.3), (3.0, 4.5)])
def test_it_is_the_formulas_of_the_paper(ratio: float, widths: tuple[float, float]) -> None:
    scene = Scene(3, (120, 150), ratio=ratio, stars=12, widths=widths)
    # The noise level is a median of every seventh pixel: of an even variance it is the same.
    new, reference = (
        replace(image, variance=np.full_like(image.variance, level))
        for image, level in ((scene.new, 2049.0), (scene.reference, 512.0))
    )
    told = zogy(new, reference, tiles=(1, 1), ratio=even(scene.shape, ratio), residual=NOTHING)
    expected = formulas(new, reference, ratio)
    # Near the border fluxes are divided by the share of a mirrored source.
    inner = np.s_[20:-20, 20:-20]
    # What the PSFs have at the finest waves single precision hardly knows; the score does not see
    # these.
    sigma = np.sqrt(float(np.median(told.variance)))
    assert np.abs(told.difference - expected["difference"])[inner].max() < 0.01 * sigma
    for name in ("flux", "flux_error"):
        off = np.abs(getattr(told, name) - expected[name])[inner].max()
        assert off < 0.003 * float(np.median(told.flux_error)), name
    assert np.abs(told.score - expected["score"])[inner].max() < 0.003
    psf = told.psfs.stamps[0, 0]
    whole = np.roll(expected["psf"], (14, 14), axis=(0, 1))[:29, :29]
    assert np.abs(psf - whole).max() < 1e-4


def test_the_variance_follows_every_star() -> None:
    scene = Scene(4, (120, 150), stars=12)
    told = zogy(scene.new, scene.reference, tiles=(1, 1), ratio=even(scene.shape), residual=NOTHING)
    expected = formulas(scene.new, scene.reference, 1.0)
    inner = np.s_[20:-20, 20:-20]
    assert told.flux_error[inner] == pytest.approx(expected["flux_error"][inner], rel=0.003)
    assert float(told.flux_error[inner].max()) > 1.1 * float(np.median(told.flux_error))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_score_has_unit_width_everywhere_in_the_sky(seed: int) -> None:
    scene = Scene(seed, (512, 512), stars=30)
    told = zogy(scene.new, scene.reference, tiles=(2, 2), ratio=even(scene.shape))
    free = scene.away(told.score)
    assert free.mean() > 0.5
    # 512 x 512 scores are some 8,000 independent ones: 0.8 % of the width.
    assert told.score[free].std() == pytest.approx(1.0, abs=0.03)
    assert abs(told.score[free].mean()) < 0.05
    white = (told.difference / np.sqrt(told.variance))[free]
    assert white.std() == pytest.approx(1.0, abs=0.01)
    border = np.ones(scene.shape, np.bool_)
    border[4:-4, 4:-4] = False
    assert told.score[border & free].std() == pytest.approx(1.0, abs=0.12)


def test_fluxes_at_the_border_are_right_and_less_certain() -> None:
    places = ((0.0, 60.0, 3e4), (1.3, 90.0, 3e4), (40.0, 2.0, 3e4), (4.0, 30.0, 3e4))
    scene = Scene(6, (120, 150), stars=0, new_stars=places, noise=False)
    told = zogy(scene.new, scene.reference, tiles=(1, 1), ratio=even(scene.shape), residual=NOTHING)
    x, y, truth = np.array(places).T
    flux, error = told.flux_at(x, y)
    assert flux == pytest.approx(truth, rel=0.04)
    middle = float(told.flux_error[60, 75])
    corner = float(told.flux_error[0, 0])
    assert 1.15 * middle < float(told.flux_error[100, 0]) < 1.4 * middle < corner
    assert (error > middle).all()


def test_no_seam_shows_between_tiles() -> None:
    scene = Scene(5, (256, 256), stars=30, brightest=3e4)
    whole, tiled = (
        zogy(scene.new, scene.reference, tiles=tiles, ratio=even(scene.shape), residual=NOTHING)
        for tiles in ((1, 1), (3, 2))
    )
    assert np.abs(whole.score - tiled.score).max() < 0.05
    assert np.abs(whole.difference - tiled.difference).max() < 2.0


@pytest.mark.parametrize("column", range(276, 305, 4))
def test_a_star_at_the_border_of_a_tiles_surroundings_does_not_ring(column: int) -> None:
    """PSFs are known to some millionths of their peaks, and wide stars have no fine waves."""
    shape = (192, 512)
    rng = np.random.default_rng(9)
    place = (column + 0.3, 90.2)
    pair = [
        lone_star(place, shape, rng, width=width, level=level, tiles=(1, 1))
        for width, level in ((7.0, 2049.0), (6.0, 512.0))
    ]
    told = zogy(*pair, tiles=(1, 2), ratio=even(shape), residual=NOTHING)
    sigma = np.sqrt(float(np.median(told.variance)))
    assert np.abs(told.difference[:, :240]).max() < 1.0 * sigma
    assert np.abs(told.score[:, :240]).max() < 1.0
