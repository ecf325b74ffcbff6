"""Widths of stars over an image, and what they are measured for: sparing the sharpest of them."""

import numpy as np
import pytest
from injected_sky import make_sky

from firstlight.algorithms.detector.calibrate import Detector, Masters, calibrate
from firstlight.algorithms.detector.cosmic_rays import find_cosmic_rays
from firstlight.algorithms.detector.star_widths import star_widths
from firstlight.algorithms.flags import Flag
from firstlight.algorithms.sources.detect import star_width
from firstlight.simulation.transient_pair import PairSettings, simulate_pair

SKY = 400.0


def planes(scene):
    left = (scene.data - SKY).astype(np.float32)
    return left, scene.variance.astype(np.float32), np.zeros(left.shape, np.uint16)


def average(told):
    found = star_width(*told)
    return found.fwhm / np.sqrt(found.elongation)


def test_where_all_stars_are_alike_there_is_one_width():
    told = planes(make_sky(3, stars=500, fwhm=2.5, snr=(30, 500), sky=SKY))
    widths = star_widths(*told)
    assert widths.shape == (1, 1)
    assert widths[0, 0] == pytest.approx(average(told))


def test_few_stars_tell_one_width_and_none_tell_nothing():
    told = planes(make_sky(4, stars=16, fwhm=2.5, snr=(50, 500), sky=SKY))
    assert star_widths(*told).shape == (1, 1)
    rng = np.random.default_rng(5)
    empty = rng.normal(0.0, 20.0, (300, 300)).astype(np.float32)
    spread = np.full(empty.shape, 400.0, np.float32)
    assert not np.isfinite(star_widths(empty, spread, np.zeros(empty.shape, np.uint16))).any()


def test_a_part_without_pixels_is_no_obstacle():
    left, variance, flags = planes(make_sky(6, stars=500, fwhm=2.5, snr=(30, 500), sky=SKY))
    flags[:260, :260] = Flag.NO_DATA
    widths = star_widths(left, variance, flags)
    assert np.isfinite(widths).all()


@pytest.fixture(scope="module")
def tilted():
    """Stars of 1.5 to 2.9 pixels."""
    pair = simulate_pair(
        PairSettings.of_size(
            1024, 1024, seed=91, fwhm=2.2, psf_variation=0.3, stars=2000, cosmic_rays=150
        )
    )
    image = calibrate(pair.raw, Detector(4.0, 7.1), Masters(bias=pair.bias, flat=pair.flat))
    return pair, image


def test_widths_follow_the_stars_where_they_are_sharper(tilted):
    pair, image = tilted
    told = image.data - np.float32(pair.new.sky), image.variance, pair.new.flags
    widths, typical = star_widths(*told), average(told)
    middles = (np.arange(6) + 0.5) * 1024 / 6
    sharp = np.array(
        [[pair.new.psf.centred(x, y, 12).max() ** -0.5 for x in middles] for y in middles]
    )
    true = sharp / sharp[2:4, 2:4].mean()
    assert true.min() < 0.85
    assert widths.max() <= typical
    off = np.log(widths / typical) - np.minimum(np.log(true), 0.0)
    assert np.abs(off).max() < 0.13
    assert len(np.unique(widths)) <= 6


def test_cores_of_the_sharpest_stars_are_spared_and_rays_are_found(tilted):
    pair, image = tilted
    left = image.data - np.float32(pair.new.sky)
    widths = star_widths(left, image.variance, pair.new.flags)
    harmed = []
    for fwhm in (widths, average((left, image.variance, pair.new.flags))):
        found = find_cosmic_rays(image.data, image.variance, pair.new.flags, fwhm=fwhm).mask
        sigma = np.sqrt(pair.new.variance)
        x, y = np.rint(pair.stars.x).astype(int), np.rint(pair.stars.y).astype(int)
        inside = (pair.stars.flux > 3000) & (x >= 0) & (y >= 0) & (x < 1024) & (y < 1024)
        x, y = x[inside], y[inside]
        harmed.append(np.count_nonzero(found[y, x] & (pair.charge[y, x] < sigma[y, x])))
        assert found[(pair.charge > 5 * sigma) & (pair.new.flags == 0)].mean() > 0.8
    assert harmed[0] <= 1
    assert harmed[1] >= 8


def test_one_width_for_all_tiles_is_one_width():
    scene = make_sky(8, stars=100, fwhm=2.5, sky=SKY)
    scene.data[100:500:40, 50:550:30] += 600
    alone = find_cosmic_rays(scene.data, scene.variance, fwhm=2.5).mask
    tiled = find_cosmic_rays(scene.data, scene.variance, fwhm=np.full((6, 6), 2.5)).mask
    assert alone.sum() > 100
    np.testing.assert_array_equal(alone, tiled)


@pytest.mark.parametrize(("stars", "rays"), [(60, 200), (300, 1200)])
def test_rays_that_outnumber_the_stars_are_not_taken_for_them(stars, rays):
    pair = simulate_pair(
        PairSettings.of_size(1024, 1024, seed=93, stars=stars, cosmic_rays=rays, transients=0)
    )
    image = calibrate(pair.raw, Detector(4.0, 7.1), Masters(bias=pair.bias, flat=pair.flat))
    told = image.data - np.float32(pair.new.sky), image.variance, pair.new.flags
    without = told[0] - pair.charge, *told[1:]
    assert star_width(*told).fwhm == pytest.approx(star_width(*without).fwhm, rel=0.03)
    found = find_cosmic_rays(image.data, image.variance, pair.new.flags, fwhm=star_widths(*told))
    struck = (pair.charge > 5 * np.sqrt(pair.new.variance)) & (pair.new.flags == 0)
    assert found.mask[struck].mean() > 0.93
