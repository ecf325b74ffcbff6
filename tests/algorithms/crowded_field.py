"""Fields of stars and galaxies with known truth, and their exact PSF as the code's own model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from firstlight.algorithms.psf.fit import PsfModel, fit_psf
from firstlight.simulation.psf import add_stars, moffat_matrix, stamp_radius

SKY, READ_NOISE, BETA, FWHM = 2000.0, 7.0, 3.5, 4.0


@dataclass(frozen=True)
class Field:
    data: np.ndarray  # sky-subtracted electrons
    variance: np.ndarray  # of the sky alone
    flags: np.ndarray
    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray

    @property
    def planes(self):
        return self.data, self.variance, self.flags


def round_stars(light, x, y, flux, fwhm):
    widths = np.broadcast_to(np.asarray(fwhm, float), x.shape)
    matrix = moffat_matrix(widths, np.zeros(x.shape), np.zeros(x.shape), BETA)
    add_stars(light, x, y, flux, matrix, BETA, stamp_radius(flux, matrix, BETA))


def field_of(rng, shape, x, y, flux, fwhm=FWHM):
    light = np.zeros(shape)
    round_stars(light, x, y, flux, fwhm)
    noise = rng.normal(0, READ_NOISE, shape)
    data = (rng.poisson(light + SKY) + noise - SKY).astype(np.float32)
    variance = np.full(shape, SKY + READ_NOISE**2, np.float32)
    return Field(data, variance, np.zeros(shape, np.uint16), x, y, flux)


def true_psf(shape=(400, 400)) -> PsfModel:
    """Learned from bright stars without neighbours: exact to a thousandth."""
    rng = np.random.default_rng(0)
    x, y = (g.ravel() + rng.uniform(-0.5, 0.5, 64) for g in np.mgrid[30:370:8j, 30:370:8j])
    stars = field_of(rng, (400, 400), x, y, np.full(64, 1e6))
    psf = fit_psf(*stars.planes, (x, y, stars.flux), FWHM)
    assert psf is not None
    assert not psf.varies
    return psf
