"""Proper subtraction: against its formulas written out, and on pairs whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from firstlight.algorithms.flux_ratio import FluxRatio
from firstlight.algorithms.image_pair import AlignedImage, PsfGrid
from firstlight.algorithms.residual_noise import ResidualNoise
from firstlight.algorithms.tile_kernels import fast_length
from firstlight.algorithms.zogy import zogy

Floats = NDArray[np.float64]

NOTHING = ResidualNoise(0.0, 0.0)


def moffat(fwhm: float, radius: int, place: tuple[float, float] = (0.0, 0.0)) -> Floats:
    """A round Moffat of power 3.5 integrated over pixels, on a stamp around the origin."""
    core = fwhm / 2 / np.sqrt(2 ** (1 / 3.5) - 1)
    fine = (np.arange(-5 * radius - 2, 5 * radius + 3)) / 5
    dx, dy = np.meshgrid(fine - place[0], fine - place[1])
    light = 2.5 / np.pi / core**2 * (1 + (dx**2 + dy**2) / core**2) ** -3.5 / 25
    side = 2 * radius + 1
    return np.asarray(light.reshape(side, 5, side, 5).sum(axis=(1, 3)))


def one_psf(stamp: Floats) -> PsfGrid:
    return PsfGrid(stamp[None, None].astype(np.float32), np.zeros(1), np.zeros(1))


def even(shape: tuple[int, int], ratio: float = 1.0) -> FluxRatio:
    return FluxRatio((ratio,), 0.0, shape, 100)


class Scene:
    """Two images of the same stars with exact variances, and new sources in one of them."""

    def __init__(
        self,
        seed: int,
        shape: tuple[int, int] = (256, 320),
        *,
        stars: int = 40,
        ratio: float = 1.0,
        new_stars: tuple[tuple[float, float, float], ...] = (),
        widths: tuple[float, float] = (4.0, 3.3),
        brightest: float = 1e5,
        noise: bool = True,
    ) -> None:
        rng = np.random.default_rng(seed)
        self.shape = shape
        ny, nx = shape
        self.stars = np.stack(
            [
                rng.uniform(-5, nx + 5, stars),
                rng.uniform(-5, ny + 5, stars),
                np.exp(rng.uniform(np.log(1e3), np.log(brightest), stars)),
            ],
            axis=1,
        )
        light = [self._light(self.stars, width) for width in widths]
        light[0] += self._light(np.array(new_stars).reshape(-1, 3), widths[0])
        light[1] /= ratio
        variance = [light[0] + 2049.0, light[1] / 4 + 512.0]
        if noise:
            light = [
                each + np.sqrt(spread) * rng.standard_normal(shape)
                for each, spread in zip(light, variance, strict=True)
            ]
        self.new, self.reference = (
            AlignedImage(
                each.astype(np.float32),
                spread.astype(np.float32),
                np.zeros(shape, np.uint16),
                one_psf(moffat(width, 14)),
            )
            for each, spread, width in zip(light, variance, widths, strict=True)
        )

    def _light(self, sources: Floats, width: float) -> Floats:
        margin = 40
        image = np.zeros((self.shape[0] + 2 * margin, self.shape[1] + 2 * margin))
        for x, y, flux in sources:
            i, j = int(np.rint(x)), int(np.rint(y))
            stamp = moffat(width, 24, (x - i, y - j))
            image[j + margin - 24 : j + margin + 25, i + margin - 24 : i + margin + 25] += (
                flux * stamp
            )
        return image[margin:-margin, margin:-margin]

    def away(self, score: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Pixels that no star is near to."""
        y, x = np.ogrid[: self.shape[0], : self.shape[1]]
        free = np.ones(score.shape, np.bool_)
        for i, j, flux in self.stars:
            free &= np.hypot(x - i, y - j) > 4.0 * np.log10(flux) - 4.0
        return free


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
    # The PSFs have a millionth of their power at the finest waves, which single precision knows
    # to a percent; the score does not see these.
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
