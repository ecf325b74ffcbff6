"""A few images of one field with known truth: dithered, turned, of other depth and seeing."""

from __future__ import annotations

import uuid

import numpy as np
from in_memory import GivenCatalog, make_exposure, make_image

from firstlight.algorithms.sky.projection import Projection
from firstlight.pipeline.image_stack import SolvedImage
from firstlight.pipeline.settings import RecipeSettings
from firstlight.pipeline.standard import standard_recipe
from firstlight.pipeline.step import Workpiece
from firstlight.simulation.psf import add_stars, moffat_matrix, stamp_radius

SHAPE = (300, 320)
SCALE = 5.0
ZERO = 22.0  # of the first image
SKY, READ_NOISE, BETA = 300.0, 5.0, 3.0
FWHM = (3.0, 3.6, 3.3, 3.9)
SCALES = (1.0, 0.8, 1.25, 0.9)  # of the flux
DITHERS = ((0.0, 0.0), (5.3, -3.6), (-4.2, 6.1), (2.5, 4.4))


class Field:
    """Stars brighter than the noise, and nothing else; the same for each seed."""

    def __init__(self, seed=1):
        random = np.random.default_rng(seed)
        ny, nx = SHAPE
        # About a net, so that they are alone.
        gx, gy = np.meshgrid(np.linspace(-6, nx + 6, 10), np.linspace(-6, ny + 6, 9))
        if seed > 1:
            gx, gy = random.uniform(0, nx, gx.shape), random.uniform(0, ny, gy.shape)
        self.x = gx.ravel() + random.uniform(-5, 5, gx.size)
        self.y = gy.ravel() + random.uniform(-5, 5, gy.size)
        self.flux = 10 ** random.uniform(3.8, 5.2, gx.size)
        self.projection = projection(0)
        self.ra, self.dec = self.projection.pixel_to_sky(self.x, self.y)
        self.catalog = GivenCatalog(self.ra, self.dec, ZERO - 2.5 * np.log10(self.flux), 0.003)
        self.recipe = standard_recipe(
            RecipeSettings(), astrometry=self.catalog, photometry=self.catalog, quads=None
        )
        self.random = random

    def light(self, number, *, on=None):
        """Of the stars with the PSF of an image, on its own pixels or those of another."""
        here = number if on is None else on
        image = np.zeros(SHAPE)
        x, y = projection(here).sky_to_pixel(self.ra, self.dec)
        flux = self.flux * (SCALES[number] if on is None else SCALES[on])
        matrix = moffats(len(x), FWHM[number])
        add_stars(image, x, y, flux, matrix, BETA, stamp_radius(flux * 100, matrix, BETA))
        return image

    def image(self, number, more=None):
        """A calibrated image of a section, solved by the recipe; `more` is added to its light."""
        expected = self.light(number) + SKY
        if more is not None:
            expected = expected + more
        noise = READ_NOISE * self.random.standard_normal(SHAPE)
        data = self.random.poisson(expected) + noise
        ra, dec = projection(number).pixel_to_sky((SHAPE[1] - 1) / 2, (SHAPE[0] - 1) / 2)
        image = make_image(
            data, np.maximum(data, 1.0) + READ_NOISE**2, mjd=60000.0 + number / 100,
            pixel_scale=SCALE, ra=float(ra), dec=float(dec), filter="V", binning="1x1",
            gain=1.0, read_noise=READ_NOISE,
        )  # fmt: skip
        exposure = make_exposure(np.zeros((4, 4), np.uint16), target="field")
        piece = Workpiece(exposure, "A", image=image)
        for step in self.recipe.steps[1:]:
            product = step.run(piece)
            product.id = uuid.uuid4()
            setattr(piece, step.makes, product)
        return SolvedImage(exposure, image, piece.sources, piece.wcs, piece.zero_point)

    def mean_light(self, numbers):
        """What the weighted mean of the images shows without noise, on the first one's pixels."""
        told = weights(numbers)
        return sum(
            share * self.light(number, on=numbers[0])
            for share, number in zip(told, numbers, strict=True)
        )


def weights(numbers):
    told = np.array([SCALES[number] ** 2 for number in numbers])
    return told / told.sum()


def moffats(count, fwhm):
    return moffat_matrix(np.full(count, fwhm), np.full(count, 0.04), np.full(count, 0.5), BETA)


def projection(number):
    turn = np.radians(0.1 * number)
    cd = SCALE / 3600 * np.array([[-np.cos(turn), np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    dx, dy = DITHERS[number]
    return Projection((40.0, 30.0), ((SHAPE[1] - 1) / 2 + dx, (SHAPE[0] - 1) / 2 + dy), cd)
