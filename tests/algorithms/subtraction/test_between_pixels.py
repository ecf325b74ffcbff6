"""Sources between the pixels of a difference, of stars too sharp for pixels to tell them."""

import numpy as np
import pytest
from scipy.signal import fftconvolve
from test_response import LIGHT, SHAPE, SKY, images, model, places, subtracted

from firstlight.algorithms.flags import Flag
from firstlight.algorithms.subtraction.between_pixels import (
    drawn_between,
    points_between,
    undersampled,
)

MIDDLE = (320.0, 240.0)
RADIUS = 8
RAY = np.uint16(Flag.COSMIC_RAY)


@pytest.mark.parametrize(("fwhm", "sharp"), [(1.5, True), (2.2, True), (3.3, False), (4.0, False)])
def test_only_sharp_stars_are_undersampled(fwhm, sharp):
    assert undersampled(model(fwhm, 0.0), MIDDLE, RADIUS) is sharp


@pytest.mark.parametrize("part", [(0.0, 0.0), (0.3, -0.2), (0.49, 0.49), (-0.49, 0.1)])
def test_points_tell_a_sharp_star_at_any_part_of_a_pixel(part):
    psf, kernel = model(1.5, 0.0), np.random.default_rng(2).normal(0, 0.2, (5, 5))
    kernel[2, 2] += 1.0
    points = points_between(psf, MIDDLE, kernel.astype(np.float32), RADIUS)
    assert points.shape == (4 * RADIUS + 1, 4 * RADIUS + 1)
    star = psf.stamps(MIDDLE[0] + part[0], MIDDLE[1] + part[1], RADIUS)[0]
    there = fftconvolve(star, kernel, mode="same")
    drawn = drawn_between(points, part[1], part[0])
    assert np.linalg.norm(drawn - there) < 0.01 * np.linalg.norm(there)


def test_every_second_point_is_a_pixel():
    kernel = np.zeros((3, 3), np.float32)
    kernel[1, 1] = 1.0
    points = points_between(model(1.7, 0.0), MIDDLE, kernel, RADIUS)
    np.testing.assert_allclose(
        points[::2, ::2], model(1.7, 0.0).stamps(*MIDDLE, RADIUS)[0], atol=1e-7
    )


@pytest.mark.parametrize("part", [(0.5, 0.0), (0.0, 0.5), (0.5, 0.5), (0.25, 0.4)])
def test_sharp_stars_at_edges_and_corners_of_pixels_are_no_rays(part):
    rng = np.random.default_rng(6)
    x, y = (np.rint(place) + step for place, step in zip(places(), part, strict=True))
    told = subtracted(*images(model(1.5, 0.0), (x, y), rng))
    assert told.between is not None
    assert np.count_nonzero(told.flags & RAY) < 3
    assert np.isfinite(told.flux_at(x, y)[1]).all()


def test_hits_as_bright_as_those_stars_are_rays():
    nowhere = np.zeros(0), np.zeros(0)
    new, reference = images(model(1.5, 0.0), nowhere, np.random.default_rng(7))
    rows, columns = np.mgrid[40 : SHAPE[0] - 40 : 30, 40 : SHAPE[1] - 40 : 30].reshape(2, -1)
    for share in (0.5, 0.05):
        new.pixels[rows, columns] += share * LIGHT
        new.pixels[rows + 1, columns] += 0.5 * share * LIGHT
        told = subtracted(new, reference)
        assert ((told.flags[rows, columns] & RAY) != 0).mean() > 0.97
        assert np.abs(told.score[rows, columns]).max() < LIGHT / np.sqrt(SKY)


def test_wide_stars_need_no_points_between_the_pixels():
    assert subtracted(*images(model(4.0, 0.0), places())).between is None
