from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from pair_scenes import lone_star
from stacked_frames import Star, frame, frames_of, measured, stars_on_a_net

from firstlight.algorithms.coaddition.coadd import find_outliers, weighted_mean
from firstlight.algorithms.coaddition.proper_coadd import proper_coadd
from firstlight.algorithms.flags import Flag
from firstlight.errors import InvalidInput
from firstlight.pipeline.image_stack import in_files

SHAPE = (420, 460)


def faint(seed):
    """Stars whose own photons do not count."""
    return stars_on_a_net(SHAPE, 24, seed, faintest=400.0, brightest=1500.0)


def bound(frames, scales):
    """Smallest possible flux error of a faint star: every frame matched with its own PSF."""
    told = 0.0
    for each, scale in zip(frames, scales, strict=True):
        psf = each.psfs.stamps[0, 0].astype(float)
        told += scale**2 * (psf**2).sum() / np.median(each.variance)
    return told**-0.5


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_fluxes_and_errors_are_true(seed):
    stars = faint(seed)
    frames, scales = frames_of(stars, SHAPE, seed)
    flux, error = measured(proper_coadd(frames, scales).image, stars, radius=12)
    pulls = (flux - stars.flux) / error
    assert abs(pulls.mean()) < 4 / np.sqrt(pulls.size)
    assert pulls.std() == pytest.approx(1.0, abs=4 / np.sqrt(2 * pulls.size))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_information_on_faint_stars_is_lost(seed):
    """As deep as can be, and deeper than the weighted mean: in stated errors and in scatter."""
    stars = stars_on_a_net(SHAPE, 24, seed, faintest=1.0, brightest=2.0)
    kinds = ((2.6, 30.0, 1.0), (7.0, 12.0, 1.0), (4.0, 20.0, 0.8))
    frames, scales = frames_of(stars, SHAPE, seed, count=3, kinds=kinds)
    flux, error = measured(proper_coadd(frames, scales).image, stars, radius=13)
    mean_flux, mean_error = measured(weighted_mean(frames, scales).image, stars, radius=13)
    assert np.median(error) == pytest.approx(bound(frames, scales), rel=0.01)
    gain = np.median(mean_error) / np.median(error)
    assert gain > 1.1
    found = np.std(mean_flux - stars.flux) / np.std(flux - stars.flux)
    assert found == pytest.approx(gain, rel=0.12)


def test_noise_is_white_and_as_stated():
    none = Star(np.array([], int), np.array([], int), np.array([]))
    frames, scales = frames_of(none, SHAPE, 5)
    found = proper_coadd(frames, scales)
    unit = found.pixels / np.sqrt(found.variance)
    assert unit.std() == pytest.approx(1.0, abs=0.01)
    for axis in (0, 1):
        for step in (1, 2, 3):
            shifted = np.roll(unit, step, axis)[8:-8, 8:-8]
            assert abs(np.mean(shifted * unit[8:-8, 8:-8])) < 0.012


@pytest.mark.parametrize("seed", [1, 2])
def test_bright_stars_have_the_stated_psf(seed):
    stars = stars_on_a_net(SHAPE, 60, seed, faintest=1e6, brightest=2e6)
    rng = np.random.default_rng(seed)
    frames = [frame(stars, SHAPE, fwhm, 1.0, 1.0, rng) for fwhm in (3.0, 4.0, 5.0)]
    found = proper_coadd(frames)
    for x, y, flux in zip(stars.x, stars.y, stars.flux, strict=True):
        box = found.pixels[y - 10 : y + 11, x - 10 : x + 11]
        psf = found.psfs.at(float(x), float(y))
        psf = psf[psf.shape[0] // 2 - 10 :, psf.shape[0] // 2 - 10 :][:21, :21]
        noise = np.sqrt(found.variance[y - 10 : y + 11, x - 10 : x + 11])
        assert (np.abs(box - flux * psf) < 5 * noise + 1e-3 * flux * psf.max()).all()


def test_psf_is_sharper_than_that_of_the_mean():
    frames, scales = frames_of(faint(1), SHAPE, 1)
    peaks = [
        coadd(frames, scales).psfs.stamps.max(axis=(2, 3)).min()
        for coadd in (proper_coadd, weighted_mean)
    ]
    assert peaks[0] > 1.05 * peaks[1]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_frames_may_have_gaps_and_hits(seed):
    """Edges, dead parts and hits: fluxes unbiased, errors grow where frames are missing."""
    stars = faint(seed)
    frames, scales = frames_of(stars, SHAPE, seed)
    frames[0].pixels[:, :150] = np.nan
    frames[3].flags[200:260] = int(Flag.NO_DATA)
    frames[3].pixels[200:260] = 0
    rng = np.random.default_rng(seed)
    rows, columns = rng.integers(0, SHAPE[0], 1500), rng.integers(0, SHAPE[1], 1500)
    frames[1].pixels[rows, columns] += 5e4
    outliers = find_outliers(frames, scales)
    assert outliers[1][rows, columns].mean() > 0.97
    found = proper_coadd(frames, scales, outliers=outliers)
    flux, error = measured(found.image, stars)
    middle = np.abs(stars.x - 150) > 12
    pulls = ((flux - stars.flux) / error)[middle]
    assert abs(pulls.mean()) < 4 / np.sqrt(pulls.size)
    assert pulls.std() == pytest.approx(1.0, abs=0.25)
    left, right = stars.x < 135, stars.x > 165
    assert np.median(error[left]) > 1.1 * np.median(error[right])
    assert (found.used[:, :100] <= 3).all()


def test_no_seam_between_tiles():
    """With the same PSF in all tiles the net must not show."""
    stars = faint(4)
    rng = np.random.default_rng(4)
    fine = [frame(stars, SHAPE, f, 10.0, 1.0, rng, tiles=(3, 4)) for f in (3.0, 4.5)]
    coarse = [
        replace(f, psfs=frame(stars, SHAPE, w, 10.0, 1.0, rng, tiles=(1, 1)).psfs)
        for f, w in zip(fine, (3.0, 4.5), strict=True)
    ]
    off = proper_coadd(fine).pixels - proper_coadd(coarse).pixels
    assert np.abs(off).max() < 0.02 * 10.0


def test_nobody_knows():
    frames, scales = frames_of(faint(1), SHAPE, 1)
    for each in frames:
        each.variance[100:140, 100:140] = np.inf
    found = proper_coadd(frames, scales)
    hole = np.s_[100:140, 100:140]
    assert (found.pixels[hole] == 0).all()
    assert np.isinf(found.variance[hole]).all()
    assert (found.flags[hole] & int(Flag.NO_DATA)).all()
    around = found.pixels[80:160, 80:160] / np.sqrt(found.variance[80:160, 80:160])
    assert np.isfinite(around).all()


@pytest.mark.parametrize("make", [weighted_mean, proper_coadd])
def test_an_empty_frame_changes_nothing(make):
    frames, scales = frames_of(faint(3), SHAPE, 3)
    expected = make(frames, scales)
    empty = replace(frames[1], pixels=np.full(SHAPE, np.nan, np.float32))
    found = make([*frames, empty], [*scales, 1.0])
    np.testing.assert_allclose(found.pixels, expected.pixels, atol=1e-3)
    np.testing.assert_array_equal(found.variance, expected.variance)
    np.testing.assert_allclose(found.psfs.stamps, expected.psfs.stamps, atol=1e-7)
    with pytest.raises(InvalidInput):
        make([empty])


def test_one_frame_is_whitened_only():
    frames, scales = frames_of(faint(2), SHAPE, 2, count=1)
    found = proper_coadd(frames, scales)
    np.testing.assert_allclose(
        found.pixels[20:-20, 20:-20], frames[0].pixels[20:-20, 20:-20], atol=0.02
    )


def test_many_frames_need_hardly_more_memory_than_few(tmp_path):
    """They lie in files: a plane of each would be 1.4 MB."""
    shape, peaks = (600, 600), []
    stars = stars_on_a_net(shape, 24, 7)
    dice = np.random.default_rng(7)
    files = [
        in_files(frame(stars, shape, 3.0 + n % 3, 10.0, 1.0, dice, tiles=(6, 6)), tmp_path, n)
        for n in range(12)
    ]
    proper_coadd(files[:2])
    for count in (3, 12):
        tracemalloc.start()
        proper_coadd(files[:count])
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (peaks[1] - peaks[0]) / 9 < 0.5 * 600 * 600 * 4


def test_too_many_frames():
    frames, _ = frames_of(faint(2), (40, 40), 2, count=1)
    with pytest.raises(InvalidInput):
        proper_coadd(frames * 63)


@pytest.mark.parametrize("column", [294, 302, 310, 318])
def test_a_star_at_the_border_of_a_tiles_surroundings_does_not_ring(column):
    """PSFs are known to some millionths of their peaks, and wide stars have no fine waves."""
    shape = (192, 512)
    rng = np.random.default_rng(9)
    place = (column + 0.3, 90.2)
    frames = [
        lone_star(place, shape, rng, width=width, level=level, tiles=(1, 2))
        for width, level in ((7.0, 2000.0), (6.5, 1500.0), (6.0, 1800.0))
    ]
    made = proper_coadd(frames).image
    free = made.pixels[:, :240]
    finest = free[:, 1:-1] - (free[:, :-2] + 2.0 * free[:, 1:-1] + free[:, 2:]) / 4.0
    assert np.abs(finest).max() < 0.5 * np.sqrt(np.median(made.variance))
