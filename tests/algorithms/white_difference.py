"""Differences with white noise and known sources, as a perfect subtraction would leave them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from injected_sky import moffat_star
from scipy.signal import fftconvolve

from firstlight.algorithms.candidates.measures import measure_candidates
from firstlight.algorithms.candidates.stamps import cut_candidates, difference_psfs
from firstlight.algorithms.resampling.image_pair import PsfGrid
from firstlight.algorithms.subtraction.flux_ratio import FluxRatio
from firstlight.algorithms.subtraction.residual_noise import ResidualNoise
from firstlight.algorithms.subtraction.subtract import Subtraction

FWHM = 4.0
POWER = 3.5
SIGMA = 10.0
RADIUS = 14


@dataclass(frozen=True)
class Source:
    """Place and electrons."""

    x: float
    y: float
    flux: float


def psf(dx=0.0, dy=0.0, fwhm=FWHM, radius=RADIUS):
    """A source of one electron, off the middle of the stamp."""
    return moffat_star(dx, dy, fwhm, POWER, radius)


def unit_error(fwhm=FWHM):
    """Of a flux, electrons."""
    return SIGMA / np.sqrt((psf(fwhm=fwhm) ** 2).sum())


def light_of(sources, shape, fwhm=FWHM):
    """Sources without noise; those beyond the border are cut."""
    margin = RADIUS + 1
    light = np.zeros((shape[0] + 2 * margin, shape[1] + 2 * margin))
    for source in sources:
        i, j = round(source.x), round(source.y)
        stamp = source.flux * psf(source.x - i, source.y - j, fwhm)
        light[j + 1 : j + 2 * margin, i + 1 : i + 2 * margin] += stamp
    return light[margin:-margin, margin:-margin]


def subtracted(light, seed, fwhm=FWHM, flags=None):
    """The subtraction that has some light (difference) beside noise; seed None: no noise."""
    shape = light.shape
    noise = 0.0 if seed is None else np.random.default_rng(seed).normal(0, SIGMA, shape)
    difference = (light + noise).astype(np.float32)
    stamp = psf(fwhm=fwhm)
    power = (stamp**2).sum()
    flux = (fftconvolve(difference, stamp[::-1, ::-1], mode="same") / power).astype(np.float32)
    error = np.full(shape, SIGMA / np.sqrt(power), np.float32)
    return Subtraction(
        difference=difference,
        variance=np.full(shape, SIGMA**2, np.float32),
        flags=np.zeros(shape, np.uint16) if flags is None else flags,
        score=flux / error,
        flux=flux,
        flux_error=error,
        psfs=PsfGrid(
            stamp[None, None].astype(np.float32),
            np.array([(shape[1] - 1) / 2]),
            np.array([(shape[0] - 1) / 2]),
        ),
        ratio=FluxRatio((1.0,), 0.0, shape, 1),
        residual=ResidualNoise(0.0, 0.0),
    )


def on_a_net(shape, step, flux, seed, apart=0.5):
    """Sources at random places within a pixel of the crossings of a net."""
    random = np.random.default_rng(seed)
    y, x = (
        each.ravel()
        for each in np.mgrid[step : shape[0] - step : step, step : shape[1] - step : step]
    )
    off = random.uniform(-apart, apart, (2, x.size))
    return [Source(i, j, flux) for i, j in zip(x + off[0], y + off[1], strict=True)]


def measured(told, places, score, *, images=None, known=None, radius=20):
    """Measures of places (x, y) of a subtraction; the images are the difference and nothing."""
    empty = np.zeros_like(told.difference)
    new, reference = images or (told.difference, empty)
    x, y = (np.asarray(place, float) for place in places)
    stamps = cut_candidates(new, reference, told, (x, y), radius)
    psfs = difference_psfs(told.psfs, x, y)
    return measure_candidates(stamps, psfs, (x, y), np.asarray(score, float), FWHM, known)
