"""Frames of Tycho-2 stars with known places: noise, missing and false stars, distortion."""

from dataclasses import dataclass

import numpy as np

from firstlight.algorithms.sky.projection import Projection
from firstlight.catalogs.tycho2 import Tycho2

SHAPE = (800, 1000)
TYCHO2 = Tycho2()


@dataclass
class StarField:
    truth: Projection
    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray

    @property
    def stars(self):
        return self.x, self.y, self.flux, SHAPE

    def error(self, projection):
        """Largest distance over the frame between true and found places, pixels."""
        ny, nx = SHAPE
        x, y = (g.ravel() for g in np.meshgrid(np.linspace(0, nx, 9), np.linspace(0, ny, 9)))
        found = projection.sky_to_pixel(*self.truth.pixel_to_sky(x, y))
        return np.nan_to_num(np.hypot(found[0] - x, found[1] - y), nan=np.inf).max()


def stars_near(ra, dec, radius):
    stars = TYCHO2.cone(ra, dec, radius)
    return stars.ra, stars.dec, stars.mag


def a_place(rng):
    return rng.random() * 360, float(np.degrees(np.arcsin(rng.random() * 2 - 1)))


def optics(rng, place, width, *, distortion=0.0, mirrored=False):
    """A projection of a frame `width` degrees wide at a random turn."""
    ny, nx = SHAPE
    turn = rng.random() * 2 * np.pi
    cd = np.array([[-np.cos(turn), np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * width / nx
    if mirrored:
        cd[:, 0] *= -1
    crpix = (nx - 1) / 2, (ny - 1) / 2
    if not distortion:
        return Projection(place, crpix, cd)
    a, b = np.zeros((4, 4)), np.zeros((4, 4))
    a[3, 0] = a[1, 2] = b[0, 3] = b[2, 1] = distortion / (np.hypot(nx, ny) / 2) ** 2
    return Projection(place, crpix, cd, a, b)


def star_field(rng, truth, *, noise=0.3, missing=0.15, false=0.3, colour=0.3, most=400):
    """The brightest stars of a frame.

    `missing` is the fraction of stars not detected, `false` that of detections added at random
    places, `colour` the scatter between catalogue and detected magnitudes.
    """
    ny, nx = SHAPE
    width = truth.pixel_scale * nx / 3600
    stars = TYCHO2.cone(*truth.crval, 0.75 * width)
    x, y = truth.sky_to_pixel(stars.ra, stars.dec)
    with np.errstate(invalid="ignore"):
        seen = (x > 0) & (x < nx) & (y > 0) & (y < ny) & (rng.random(len(x)) > missing)
    mag = stars.mag[seen] + rng.normal(0, colour, seen.sum())
    more = int(false * seen.sum())
    x = np.append(x[seen], rng.random(more) * nx)
    y = np.append(y[seen], rng.random(more) * ny)
    if more:
        mag = np.append(mag, rng.choice(mag, more))
    bright = np.argsort(mag)[:most]
    x, y = (p[bright] + rng.normal(0, noise, len(bright)) for p in (x, y))
    return StarField(truth, x, y, 10 ** (-0.4 * mag[bright]))
