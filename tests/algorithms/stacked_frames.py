"""Frames of the same stars, of different seeing, depth and transparency."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from injected_sky import moffat_star

from firstlight.algorithms.resampling.image_pair import AlignedImage, PsfGrid, tile_centres

RADIUS = 14


@dataclass(frozen=True)
class Star:
    """Whole pixels and fluxes."""

    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray


def moffat(fwhm, radius=RADIUS):
    stamp = moffat_star(0.0, 0.0, fwhm, 3.5, radius)
    return (stamp / stamp.sum()).astype(np.float32)


def stars_on_a_net(shape, step, seed, faintest=300.0, brightest=3e4):
    rng = np.random.default_rng(seed)
    y, x = (
        g.ravel() for g in np.mgrid[step : shape[0] - step : step, step : shape[1] - step : step]
    )
    y, x = y + rng.integers(-2, 3, y.size), x + rng.integers(-2, 3, x.size)
    return Star(x, y, np.exp(rng.uniform(np.log(faintest), np.log(brightest), x.size)))


def frame(stars, shape, fwhm, sigma, scale, rng, tiles=(2, 2)):
    """One frame: sky noise `sigma`, photons of the stars, a PSF that is the same everywhere."""
    light = np.zeros(shape)
    stamp = moffat(fwhm)
    for x, y, flux in zip(stars.x, stars.y, stars.flux, strict=True):
        rows = slice(max(y - RADIUS, 0), y + RADIUS + 1)
        columns = slice(max(x - RADIUS, 0), x + RADIUS + 1)
        part = stamp[rows.start - y + RADIUS :, columns.start - x + RADIUS :]
        place = light[rows, columns]
        place += scale * flux * part[: place.shape[0], : place.shape[1]]
    variance = sigma**2 + light
    pixels = light + np.sqrt(variance) * rng.normal(size=shape)
    x, y = tile_centres(shape, tiles)
    stamps = np.broadcast_to(stamp, (len(y), len(x), *stamp.shape)).copy()
    flags = np.zeros(shape, np.uint16)
    psfs = PsfGrid(stamps, x, y)
    return AlignedImage(pixels.astype(np.float32), variance.astype(np.float32), flags, psfs)


# Full width of the PSF, noise of the sky, scale of fluxes.
KINDS = ((3.0, 20.0, 1.0), (5.0, 12.0, 0.8), (4.0, 30.0, 1.3), (3.5, 15.0, 0.6))


def frames_of(stars, shape, seed, count=4, kinds=KINDS):
    rng = np.random.default_rng(seed + 100)
    kinds = [kinds[k % len(kinds)] for k in range(count)]
    frames = [frame(stars, shape, *kind, rng) for kind in kinds]
    return frames, [kind[2] for kind in kinds]


def measured(image, stars, radius=9):
    """Fluxes and errors from the PSF, each pixel weighing the same."""
    flux, error = [], []
    for x, y in zip(stars.x, stars.y, strict=True):
        whole = image.psfs.at(float(x), float(y))
        middle = whole.shape[0] // 2
        cut = slice(middle - radius, middle + radius + 1)
        psf = whole[cut, cut]
        box = np.s_[y - radius : y + radius + 1, x - radius : x + radius + 1]
        norm = (psf**2).sum()
        flux.append((psf * image.pixels[box]).sum() / norm)
        error.append(np.sqrt((psf**2 * image.variance[box]).sum()) / norm)
    return np.array(flux), np.array(error)
