from __future__ import annotations

import numpy as np
import pytest
from injected_sky import gaussian_star
from stacked_frames import Star, measured

from firstlight.algorithms.coaddition.coadd import find_outliers, weighted_mean
from firstlight.algorithms.coaddition.proper_coadd import proper_coadd
from firstlight.algorithms.flags import Flag
from firstlight.algorithms.psf.fit import Stamp
from firstlight.algorithms.resampling.align import align
from firstlight.algorithms.resampling.coordinate_map import coordinate_map, sample_map
from firstlight.simulation.transient_pair import PairSettings, simulate_pair

SHAPE = (360, 400)


class Gaussian:
    """A PSF that is wider to the right."""

    def __init__(self, sigma):
        self.sigma = sigma

    def at(self, x, y, shape, radius=None):
        half = 9 if radius is None else radius
        i, j = round(x), round(y)
        sigma = self.sigma * (1 + 1e-4 * x)
        psf = gaussian_star(x - i, y - j, sigma, sigma, half)
        rows = slice(max(j - half, 0), min(j + half + 1, shape[0]))
        columns = slice(max(i - half, 0), min(i + half + 1, shape[1]))
        part = psf[rows.start - j + half : rows.stop - j + half]
        return Stamp(rows, columns, part[:, columns.start - i + half : columns.stop - i + half])


@pytest.mark.parametrize("seed", [21, 22])
def test_psf_of_a_simulated_reference(seed):
    pair = simulate_pair(PairSettings.of_size(256, 512, seed=seed, saturated=0))
    reference, shape = pair.reference, pair.reference.pixels.shape
    net = coordinate_map(pair.new.projection, reference.projection, shape)
    planes = (reference.subtracted, reference.variance, reference.flags)
    found = align(planes, reference.psf, net, radius=12, tiles=(2, 4))
    for j, row in enumerate(np.rint(found.psfs.y).astype(int)):
        for i, column in enumerate(np.rint(found.psfs.x).astype(int)):
            stamp = found.psfs.stamps[j, i]
            xs, ys = net.at(column, row)
            exact = reference.psf.at(float(xs), float(ys), shape, 20)
            assert stamp.sum() == pytest.approx(exact.psf.sum(), abs=0.02)
            # A nearly whole shift between the grids leaves the peak as it is seen.
            middle = (np.mgrid[-12:13, -12:13] * stamp).sum(axis=(1, 2)) / stamp.sum()
            assert np.abs(middle).max() < 0.02


def test_stamps_beyond_the_image_are_whole():
    image = np.zeros((80, 90), np.float32)
    net = sample_map(lambda x, y: (x - 60.3, y + 70.2), SHAPE)
    found = align((image, image + 1, None), Gaussian(1.6), net, radius=10, tiles=(3, 3))
    sums = found.psfs.stamps.sum(axis=(2, 3))
    np.testing.assert_allclose(sums, 1.0, atol=2e-4)
    assert (found.psfs.stamps.argmax(axis=3).max(axis=2) == 10).all()


def test_steady_stamps_tell_nothing_of_parts_of_pixels():
    """Two shifts by parts of a pixel, and a stretch, so that every tile has another part."""
    image = np.zeros(SHAPE, np.float32)
    sharp = [
        align(
            (image, image + 1, None),
            Gaussian(0.8),
            sample_map(lambda x, y, s=shift: (1.001 * x + s, 1.001 * y - s), SHAPE),
            radius=8,
            tiles=(3, 3),
        )
        for shift in (0.1, 0.45)
    ]
    own, steady = (
        np.abs(one - other).max() / one.max()
        for one, other in (
            [found.psfs.stamps for found in sharp],
            [found.steady.stamps for found in sharp],
        )
    )
    assert own > 0.02
    # What is left is how the width changes over half a pixel.
    assert steady < 2e-4
    assert np.ptp(sharp[0].steady.stamps.max(axis=(2, 3))) > 0.01 * sharp[0].steady.stamps.max()


def dithered(stars, seed):
    """Frames of the same stars, turned and shifted, one with a hit and one with an edge inside."""
    rng = np.random.default_rng(seed)
    kinds = ((1.4, 10.0, 1.0), (1.9, 8.0, 1.1), (1.6, 12.0, 0.7))
    frames, scales = [], []
    for sigma, noise, scale in kinds:
        turn, shift = rng.uniform(-0.01, 0.01), rng.uniform(-6, 6, 2)
        c, s = np.cos(turn), np.sin(turn)

        def positions(x, y, c=c, s=s, shift=shift):
            u, v = x - 200.0, y - 180.0
            return 200 + c * u - s * v + shift[0], 180 + s * u + c * v + shift[1]

        psf, light = Gaussian(sigma), np.zeros(SHAPE)
        for x, y, flux in zip(stars.x, stars.y, stars.flux, strict=True):
            there = positions(float(x), float(y))
            stamp = psf.at(*there, SHAPE)
            light[stamp.where] += scale * flux * stamp.psf
        variance = light + noise**2
        pixels = (light + np.sqrt(variance) * rng.normal(size=SHAPE)).astype(np.float32)
        flags = np.zeros(SHAPE, np.uint16)
        frames.append((pixels, variance.astype(np.float32), flags, psf, positions))
        scales.append(scale)
    return frames, scales


def brought_together(frames):
    return [
        align((pixels, variance, flags), psf, sample_map(there, SHAPE), radius=10, tiles=(2, 2))
        for pixels, variance, flags, psf, there in frames
    ]


def stars_of(seed):
    rng = np.random.default_rng(seed)
    y, x = (g.ravel() for g in np.mgrid[40:320:20, 40:360:20])
    return rng, Star(x, y, np.exp(rng.uniform(np.log(300), np.log(20000), x.size)))


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("make", [weighted_mean, proper_coadd])
def test_coadd_of_resampled_frames_gives_true_fluxes(make, seed):
    rng, stars = stars_of(seed)
    frames, scales = dithered(stars, seed)
    if make is proper_coadd:
        hits = rng.integers(5, 350, (2, 150))
        frames[0][0][*hits] = 5e4
        frames[0][2][*hits] = int(Flag.COSMIC_RAY)
    aligned = brought_together(frames)
    found = make(aligned, scales)
    assert find_outliers(aligned, scales).mean() < 1e-4
    flux, error = measured(found.image, stars, radius=8)
    pulls = (flux - stars.flux) / error
    assert abs(pulls.mean()) < 4 / np.sqrt(pulls.size)
    assert pulls.std() == pytest.approx(1.0, abs=4 / np.sqrt(2 * pulls.size))


@pytest.mark.parametrize("seed", [1, 4])
def test_hits_on_every_star_of_the_sharpest_frame(seed):
    """What the sharpest frame lacks is put right by what the others show, with their PSFs."""
    rng, stars = stars_of(seed)
    frames, scales = dithered(stars, seed)
    pixels, _, flags, _, there = frames[0]
    for x, y in zip(stars.x, stars.y, strict=True):
        i, j = np.rint(np.array(there(float(x), float(y))) + rng.uniform(-2, 2, 2)).astype(int)
        pixels[j, i - 1 : i + 2] += 5e3
        flags[j, i - 1 : i + 2] = int(Flag.COSMIC_RAY)
    aligned, bright = brought_together(frames), stars.flux > 5000
    ratios = [
        (measured(make(aligned, scales).image, stars, radius=8)[0] / stars.flux)[bright]
        for make in (proper_coadd, weighted_mean)
    ]
    assert np.abs(ratios[0].mean() - 1) < 0.015
    assert ratios[1].mean() < 0.95  # why the mean cannot be had so
