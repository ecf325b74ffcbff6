"""Two aligned images of one place whose truth is known, for the tests of subtraction."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from firstlight.algorithms.flags import Flag
from firstlight.algorithms.resampling.image_pair import AlignedImage, PsfGrid, tile_centres
from firstlight.algorithms.subtraction.flux_ratio import FluxRatio
from firstlight.simulation.transient_pair import PairSettings, TransientPair, simulate_pair

Floats = NDArray[np.float64]


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
        light = [self.light(self.stars, width) for width in widths]
        light[0] += self.light(np.array(new_stars).reshape(-1, 3), widths[0])
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

    def light(self, sources: Floats, width: float) -> Floats:
        """What sources (x, y, flux) ``(n, 3)`` leave with a PSF of that FWHM."""
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


def lone_star(
    place: tuple[float, float],
    shape: tuple[int, int],
    rng: np.random.Generator,
    *,
    width: float,
    level: float,
    tiles: tuple[int, int],
) -> AlignedImage:
    """A star of five million electrons without noise; its PSF is known to millionths of its peak.

    `level` is the variance of the sky, and `tiles` are rows and columns of the PSF's net.
    """
    stamp = moffat(width, 20)
    stamps = stamp + 3e-6 * stamp.max() * rng.standard_normal((*tiles, *stamp.shape))
    light = Scene(0, shape, stars=0).light(np.array([(*place, 5e6)]), width)
    return AlignedImage(
        light.astype(np.float32),
        np.full(shape, level, np.float32),
        np.zeros(shape, np.uint16),
        PsfGrid(stamps.astype(np.float32), *tile_centres(shape, tiles)),
    )


def aligned(
    settings: PairSettings, *, rays: bool = False, radius: int = 20
) -> tuple[TransientPair, AlignedImage, AlignedImage]:
    """A simulated pair whose reference lies on the new image's pixels without any error.

    Its noise is independent from pixel to pixel. Cosmic rays are in the new image, flagged, if
    they are asked for.
    """
    pair = simulate_pair(settings)
    rng = np.random.default_rng(settings.seed + 1000)
    count = settings.reference_exposures
    light = pair.reference_on_new().astype(np.float64) + settings.reference_sky
    pixels = rng.poisson(light * count) / count - settings.reference_sky
    pixels += rng.standard_normal(light.shape) * settings.read_noise / np.sqrt(count)
    lost = binary_dilation(light >= settings.saturation, iterations=2)
    reference = AlignedImage(
        pixels.astype(np.float32),
        ((light + settings.read_noise**2) / count).astype(np.float32),
        np.where(lost, np.uint16(Flag.SATURATED), np.uint16(0)),
        _exact(pair, radius, of_reference=True),
    )
    lost = binary_dilation(pair.new.flags > 0, iterations=2)
    flags = np.where(lost, np.uint16(Flag.SATURATED), np.uint16(0))
    seen = pair.new.subtracted
    if rays:
        flags |= np.where(pair.charge > 30.0, np.uint16(Flag.COSMIC_RAY), np.uint16(0))
    else:
        seen = seen - pair.charge
    new = AlignedImage(seen, pair.new.variance, flags, _exact(pair, radius, of_reference=False))
    return pair, new, reference


def _exact(pair: TransientPair, radius: int, *, of_reference: bool) -> PsfGrid:
    """The true PSF on a net of 256 pixels; the images are turned so little that it stays."""
    shape = pair.settings.shape
    x, y = tile_centres(shape, (max(1, shape[0] // 256), max(1, shape[1] // 256)))
    across, along = (grid.ravel() for grid in np.meshgrid(x, y))
    psf = pair.new.psf
    if of_reference:
        sky = pair.new.projection.pixel_to_sky(across, along)
        across, along = pair.reference.projection.sky_to_pixel(*sky)
        psf = pair.reference.psf
    stamps = np.stack(
        [psf.centred(float(i), float(j), radius) for i, j in zip(across, along, strict=True)]
    )
    side = 2 * radius + 1
    return PsfGrid(stamps.astype(np.float32).reshape(len(y), len(x), side, side), x, y)
