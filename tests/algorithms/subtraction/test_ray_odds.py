"""Rays and sources of a new image: which peaks of a difference are which."""

from __future__ import annotations

import numpy as np
import pytest
from pair_scenes import even, moffat, one_psf

from firstlight.algorithms.flags import Flag
from firstlight.algorithms.resampling.image_pair import AlignedImage
from firstlight.algorithms.subtraction.ray_odds import forget_rays, likely_rays
from firstlight.algorithms.subtraction.rays_left import Maps

SHAPE = (200, 240)
RAY = np.uint16(Flag.COSMIC_RAY)
SIGMA = 45.0
PLACES = [(20 + 25 * k, 20 + 25 * n) for k in range(9) for n in range(7)]


def planes(seed: int, width: float, reference_width: float):
    """Noise: new image and reference, to be filled, and flags with hits near 2 % of the image."""
    rng = np.random.default_rng(seed)
    images = [rng.normal(0.0, spread, SHAPE) for spread in (SIGMA, SIGMA / 2)]
    flags = np.zeros(SHAPE, np.uint16)
    flags[8, 8::64] = RAY | np.uint16(Flag.INTERPOLATED)
    return images, flags, (moffat(width, 14), moffat(reference_width, 14))


def pair(images, psfs):
    new, reference = (
        AlignedImage(
            plane.astype(np.float32),
            np.full(SHAPE, spread**2, np.float32),
            np.zeros(SHAPE, np.uint16),
            one_psf(psf),
        )
        for plane, spread, psf in zip(images, (SIGMA, SIGMA / 2), psfs, strict=True)
    )
    return new, reference


def put(plane, x, y, width, flux):
    """A source of some flux; the nearest pixel is that of its place."""
    i, j = round(x), round(y)
    plane[j - 14 : j + 15, i - 14 : i + 15] += flux * moffat(width, 14, (x - i, y - j))


def track(plane, x, y, charge, rng, length=3.0):
    """A straight one whose charge diffuses by a third of a pixel."""
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    angle = rng.uniform(0.0, np.pi)
    for along in np.linspace(-length / 2, length / 2, 16):
        off = (columns - x - along * np.cos(angle)) ** 2 + (rows - y - along * np.sin(angle)) ** 2
        light = np.exp(-0.5 * off / 0.17)
        plane += charge / 16 * light / light.sum()


def judged(images, flags, psfs, places, score=0.0):
    rows, columns = (np.array([round(place[k]) for place in places]) for k in (1, 0))
    scores = np.full(len(places), score, np.float32)
    return likely_rays(pair(images, psfs), even(SHAPE), flags, (rows, columns), scores)


def unit(psf):
    """Flux of a source with a signal-to-noise ratio of one."""
    return SIGMA / np.sqrt((psf**2).sum())


@pytest.mark.parametrize(("width", "reference"), [(2.2, 2.0), (3.0, 2.6), (3.0, 5.0), (4.0, 3.3)])
def test_sources_are_sources_wherever_in_a_pixel_they_are(width, reference):
    images, flags, psfs = planes(1, width, reference)
    rng = np.random.default_rng(2)
    places = [(x + rng.uniform(-0.5, 0.5), y + rng.uniform(-0.5, 0.5)) for x, y in PLACES]
    for number, (x, y) in enumerate(places):
        put(images[0], x, y, width, (12.0 if number % 2 else 40.0) * unit(psfs[0]))
    ray, _ = judged(images, flags, psfs, places)
    assert ray.sum() <= 1


@pytest.mark.parametrize(("width", "reference"), [(2.2, 2.0), (3.0, 2.6), (3.0, 5.0), (4.0, 3.3)])
def test_faint_tracks_are_rays(width, reference):
    images, flags, psfs = planes(3, width, reference)
    rng = np.random.default_rng(4)
    places = [(x + rng.uniform(-0.4, 0.4), y + rng.uniform(-0.4, 0.4)) for x, y in PLACES]
    for x, y in places:
        track(images[0], x, y, 24.0 * SIGMA, rng)
    ray, lit = judged(images, flags, psfs, places)
    assert ray.mean() > 0.9
    assert (lit[ray].sum(axis=(1, 2)) >= 3).all()
    assert (lit[ray].sum(axis=(1, 2)) <= 30).all()


@pytest.mark.parametrize(("width", "reference"), [(2.2, 2.0), (3.0, 5.0), (4.0, 3.3)])
def test_what_is_new_on_static_light_is_no_ray(width, reference):
    images, flags, psfs = planes(5, width, reference)
    rng = np.random.default_rng(6)
    places = [(x + rng.uniform(-0.5, 0.5), y + rng.uniform(-0.5, 0.5)) for x, y in PLACES]
    for x, y in places:
        for plane, own in zip(images, (width, reference), strict=True):
            put(plane, x + 1.0, y, own, 60.0 * unit(psfs[0]))
        put(images[0], x, y, width, 15.0 * unit(psfs[0]))
    assert judged(images, flags, psfs, places)[0].sum() <= 1


def test_what_a_difference_is_sure_of_is_no_ray_on_static_light():
    """A track on a bright star would be one had the difference a source of that S/N there."""
    images, flags, psfs = planes(14, 3.0, 2.6)
    rng = np.random.default_rng(15)
    for x, y in PLACES:
        for plane, own in zip(images, (3.0, 2.6), strict=True):
            put(plane, x + 2.0, y, own, 40.0 * unit(psfs[0]))
        track(images[0], x, y, 24.0 * SIGMA, rng)
    told = [judged(images, flags, psfs, PLACES, score)[0].mean() for score in (5.0, 30.0)]
    assert told[0] > 0.8
    assert told[1] == 0.0


def test_a_star_at_the_rim_of_what_is_looked_at_changes_nothing():
    images, flags, psfs = planes(7, 2.2, 2.0)
    for x, y in PLACES:
        put(images[0], x, y, 2.2, 10.0 * unit(psfs[0]))
        for plane, width in zip(images, (2.2, 2.0), strict=True):
            put(plane, x + 5.3, y + 4.6, width, 40.0 * unit(psfs[0]))
    assert judged(images, flags, psfs, PLACES)[0].sum() <= 1


def test_charge_around_a_hit_that_is_known_is_a_ray():
    """Round a masked pixel what has spilled looks like a source with its middle missing."""
    images, flags, psfs = planes(8, 3.0, 3.6)
    for x, y in PLACES:
        flags[y, x] = RAY | np.uint16(Flag.INTERPOLATED)
        for j, i in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            images[0][y + j, x + i] += 4.0 * SIGMA
    assert judged(images, flags, psfs, PLACES)[0].mean() > 0.9
    images, flags, psfs = planes(8, 3.0, 3.6)
    for x, y in PLACES:
        flags[y, x] = RAY | np.uint16(Flag.INTERPOLATED)
        put(images[0], x, y, 3.0, 16.0 * unit(psfs[0]))
    assert judged(images, flags, psfs, PLACES)[0].mean() < 0.1


def test_the_fewer_hits_there_are_the_more_a_ray_has_to_show():
    images, flags, psfs = planes(9, 2.2, 2.0)
    rng = np.random.default_rng(10)
    for x, y in PLACES:
        track(images[0], x, y, 12.0 * SIGMA, rng, length=2.5)
    many = np.where(np.indices(SHAPE).sum(axis=0) % 20 == 0, RAY, np.uint16(0))
    for x, y in PLACES:
        many[y - 5 : y + 6, x - 5 : x + 6] = 0
    told = [judged(images, each, psfs, PLACES)[0].sum() for each in (many, flags, 0 * flags)]
    assert told[0] > told[1] > told[2]


def test_what_is_forgotten_is_flagged_and_has_no_flux():
    images, flags, psfs = planes(11, 3.0, 3.0)
    track(images[0], 60, 60, 30.0 * SIGMA, np.random.default_rng(12))
    put(images[0], 120, 120, 3.0, 12.0 * unit(psfs[0]))
    score = np.zeros(SHAPE, np.float32)
    score[60, 60], score[120, 120], score[160, 160] = 9.0, 12.0, -9.0
    maps = Maps(
        score.copy(), np.ones(SHAPE, np.float32), flags, score.copy(),
        np.ones(SHAPE, np.float32), score,
    )  # fmt: skip
    assert forget_rays(maps, pair(images, psfs), even(SHAPE)) == 1
    assert maps.score[60, 60] == 0.0
    assert maps.flux[60, 60] == 0.0
    assert np.isinf(maps.error[58:63, 60]).all()
    assert np.isfinite(maps.error[60, 66:]).all()
    assert maps.flags[60, 60] & RAY
    assert maps.score[120, 120] == 12.0
    assert maps.score[160, 160] == -9.0


def test_where_nothing_is_a_peak_nothing_is_done():
    images, flags, psfs = planes(13, 3.0, 3.0)
    nothing = np.zeros(SHAPE, np.float32)
    maps = Maps(nothing, nothing + 1, flags, nothing, nothing + 1, nothing)
    assert forget_rays(maps, pair(images, psfs), even(SHAPE)) == 0
