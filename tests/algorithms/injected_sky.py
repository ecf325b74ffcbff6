"""Skies with known truth for the tests of the pixel algorithms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import erf

SIGMA = 1 / (2 * np.sqrt(2 * np.log(2)))


@dataclass(frozen=True)
class Sky:
    data: np.ndarray  # electrons, with the sky
    truth: np.ndarray  # its expectation
    variance: np.ndarray  # exact
    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray
    snr: np.ndarray  # of the optimally weighted flux


def gaussian_star(dx, dy, sigma_x, sigma_y, half):
    """Integrated over pixels, total one."""
    g = np.arange(-half, half + 1)

    def cells(u, s):
        return 0.5 * (erf((g + 0.5 - u) / s / np.sqrt(2)) - erf((g - 0.5 - u) / s / np.sqrt(2)))

    return cells(dy, sigma_y)[:, None] * cells(dx, sigma_x)[None, :]


def moffat_star(dx, dy, fwhm, beta, half, steps=5):
    """Integrated over pixels, total one to infinity."""
    alpha = fwhm / 2 / np.sqrt(2 ** (1 / beta) - 1)
    fine = (np.arange(steps) + 0.5) / steps - 0.5
    g = (np.arange(-half, half + 1)[:, None] + fine).ravel()
    profile = (1 + ((g - dx)[None, :] ** 2 + (g - dy)[:, None] ** 2) / alpha**2) ** -beta
    profile *= (beta - 1) / np.pi / alpha**2
    size = 2 * half + 1
    return profile.reshape(size, steps, size, steps).mean((1, 3))


def flux_for_snr(snr, fwhm, sky_variance):
    """Flux of a Gaussian star whose optimal signal-to-noise ratio is `snr`."""
    area = 4 * np.pi * (fwhm * SIGMA) ** 2
    return (snr**2 + np.sqrt(snr**4 + 4 * snr**2 * area * sky_variance)) / 2


def make_sky(
    seed,
    *,
    shape=(600, 600),
    stars=100,
    fwhm=3.0,
    beta=None,
    elongation=1.0,
    snr=(3, 300),
    sky=400.0,
    read_noise=5.0,
    spacing=None,
):
    """Stars on a jittered grid, so that they do not overlap, over a flat sky."""
    rng = np.random.default_rng(seed)
    ny, nx = shape
    half = int(np.ceil(max(8, 5 * fwhm * elongation)))
    spacing = spacing or int(np.sqrt(ny * nx / stars))
    centres = np.array(
        [
            (x, y)
            for y in np.arange(spacing / 2, ny, spacing)
            for x in np.arange(spacing / 2, nx, spacing)
        ]
    )
    centres = centres + rng.uniform(-0.25 * spacing, 0.25 * spacing, centres.shape)
    ratios = 10 ** rng.uniform(*np.log10(snr), len(centres))
    fluxes = flux_for_snr(ratios, fwhm, sky + read_noise**2)
    pad = half + spacing
    padded = np.zeros((ny + 2 * pad, nx + 2 * pad))
    for (x, y), flux in zip(centres, fluxes, strict=True):
        i, j = int(np.rint(x)), int(np.rint(y))
        if beta is None:
            width = fwhm * SIGMA
            stamp = gaussian_star(x - i, y - j, width * elongation, width, half)
        else:
            stamp = moffat_star(x - i, y - j, fwhm, beta, half)
        j, i = j + pad, i + pad
        at = np.s_[j - half : j + half + 1, i - half : i + half + 1]
        padded[at] += flux * stamp
    truth = padded[pad : pad + ny, pad : pad + nx] + sky
    data = rng.poisson(truth) + rng.normal(0, read_noise, shape)
    return Sky(
        data.astype(np.float32),
        truth,
        (truth + read_noise**2).astype(np.float32),
        centres[:, 0],
        centres[:, 1],
        fluxes,
        ratios,
    )


def nearest(x, y, to_x, to_y):
    """Index of and distance to the nearest of the first positions for each of the second."""
    distance = np.hypot(np.subtract.outer(to_x, x), np.subtract.outer(to_y, y))
    index = np.argmin(distance, axis=1)
    return index, distance[np.arange(len(to_x)), index]
