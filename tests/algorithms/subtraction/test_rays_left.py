"""Rays that only the difference shows: what is taken out, and what stays."""

from __future__ import annotations

import numpy as np
import pytest
from pair_scenes import Scene, even, moffat, one_psf

from firstlight.algorithms.flags import Flag
from firstlight.algorithms.resampling.image_pair import PsfGrid
from firstlight.algorithms.subtraction import rays_left
from firstlight.algorithms.subtraction.ray_tracks import TRACKS
from firstlight.algorithms.subtraction.rays_left import Maps
from firstlight.algorithms.subtraction.residual_noise import ResidualNoise
from firstlight.algorithms.subtraction.zogy import zogy

SHAPE = (160, 200)
PSF = moffat(4.0, 12)
RAY = np.uint16(Flag.COSMIC_RAY)


def clear_rays(maps: Maps, psfs: PsfGrid) -> int:
    """Where what is flagged is what the new image lacks."""
    return rays_left.clear_rays(maps, psfs, ((maps.flags & RAY) != 0).astype(np.uint8))


def correlated(plane, stamp):
    spectrum = np.fft.rfft2(np.roll(np.pad(stamp, ((0, 135), (0, 175))), (-12, -12), (0, 1)))
    return np.fft.irfft2(np.fft.rfft2(plane) * np.conj(spectrum), SHAPE)


def scene(seed: int, sources=(), pixels=(), flags=()):
    """White noise of unit variance with sources (x, y, S/N) and pixels (x, y, sigma)."""
    rng = np.random.default_rng(seed)
    light = rng.standard_normal(SHAPE)
    unit = np.sqrt((PSF**2).sum())
    for x, y, snr in sources:
        i, j = round(x), round(y)
        stamp = moffat(4.0, 12, (x - i, y - j))
        light[j - 12 : j + 13, i - 12 : i + 13] += snr / unit * stamp
    for x, y, sigma in pixels:
        light[y, x] += sigma
    bits = np.zeros(SHAPE, np.uint16)
    seen = np.ones(SHAPE)
    for x, y in flags:
        bits[y, x] = RAY | np.uint16(Flag.INTERPOLATED)
        light[y, x], seen[y, x] = 0.0, 0.0
    match, power = (correlated(plane, stamp) for plane, stamp in ((light, PSF), (seen, PSF**2)))
    planes = (light, np.ones(SHAPE), bits, match / power, power**-0.5, match * power**-0.5)
    types = (np.float32, np.float32, np.uint16, np.float32, np.float32, np.float32)
    return Maps(*(plane.astype(kind) for plane, kind in zip(planes, types, strict=True)))


TRACK = tuple((60 + k, 50 + k // 2, 5.5) for k in range(7))


def test_a_faint_track_is_no_peak_any_more():
    maps = scene(1, pixels=TRACK)
    assert maps.score[45:60, 55:72].max() > 5.0
    assert clear_rays(maps, one_psf(PSF)) >= 5
    assert maps.score[45:60, 55:72].max() < 4.0
    seen = [(maps.flags[y, x] & RAY) != 0 for x, y, _ in TRACK]
    assert np.mean(seen) > 0.7


def test_a_track_of_the_reference_likewise():
    maps = scene(1, pixels=tuple((x, y, -2 * sigma) for x, y, sigma in TRACK))
    assert maps.score[45:60, 55:72].min() < -8.0
    clear_rays(maps, one_psf(PSF))
    assert maps.score[45:60, 55:72].min() > -4.0


@pytest.mark.parametrize("snr", [6.0, 20.0, 300.0])
def test_sources_stay_as_they_are(snr):
    places = [(30.3 + 35 * k, 40.4 + 35 * n, snr) for k in range(5) for n in range(3)]
    for seed in range(4):
        maps = scene(10 + seed, sources=places)
        before = maps.score.copy()
        clear_rays(maps, one_psf(PSF))
        heights = np.array([maps.score[round(y), round(x)] for x, y, _ in places])
        assert (heights > 0.8 * snr - 3.0).all()
        # Chance pixels are taken out here and there, of one source in a hundred.
        assert np.count_nonzero(np.abs(maps.score - before) > 0.5) < 400


def test_a_source_that_was_hit_keeps_its_flux():
    track = tuple((68 + k, 61, 25.0) for k in range(9))
    pulls = []
    for seed in range(12):
        maps = scene(30 + seed, sources=[(72.2, 60.3, 25.0)], pixels=track)
        truth = 25.0 / np.sqrt((PSF**2).sum())
        assert maps.flux[60, 72] > 1.4 * truth
        clear_rays(maps, one_psf(PSF))
        pulls.append((maps.flux[60, 72] - truth) / maps.error[60, 72])
        assert maps.error[60, 72] > 1.1 / np.sqrt((PSF**2).sum())
    assert abs(np.mean(pulls)) < 1.2  # half a pixel off costs two per cent
    assert np.std(pulls) < 1.6


def test_charge_beside_a_track_that_is_known():
    rows = [(80 + k, 90) for k in range(10)]
    spilled = [(x, y + step, 2.6) for x, y in rows for step in (-1, 1)]
    maps = scene(5, pixels=spilled, flags=rows)
    assert maps.score[85:96, 78:92].max() > 5.0
    clear_rays(maps, one_psf(PSF))
    assert maps.score[85:96, 78:92].max() < 5.0


def test_what_is_taken_out_beside_a_hole_leaves_nothing():
    rows = [(80 + k, 90 + step) for k in range(10) for step in (0, 1, 2)]
    charge = [(80 + k, 89, 12.0) for k in range(10)]
    maps, clean = (
        scene(5, pixels=charge, flags=rows),
        scene(5, flags=[*rows, *(c[:2] for c in charge)]),
    )
    assert maps.score[86:93, 78:92].max() > 10.0
    clear_rays(maps, one_psf(PSF))
    hit = np.array([(maps.flags[y, x] & RAY) != 0 for x, y, _ in charge])
    assert hit.all()
    near = np.isfinite(maps.error)
    off = np.abs(maps.score - clean.score)[near]
    assert off.max() < 0.2


def tracks_found(sigma):
    """Score left at tracks, each pixel of which is far from certain; before and after."""
    heights = []
    for seed in range(4):
        places = [(30 + 40 * k, 30 + 40 * n) for k in range(4) for n in range(3)]
        pixels = [(x + k, y + j, sigma) for x, y in places for k in range(9) for j in (0, 1)]
        maps = scene(60 + seed, pixels=pixels)
        before = maps.score.copy()
        clear_rays(maps, one_psf(PSF))
        for x, y in places:
            near = np.s_[y - 3 : y + 5, x : x + 9]
            heights.append((before[near].max(), maps.score[near].max()))
    return np.array(heights)


def test_a_track_of_faint_pixels_is_told_from_a_source():
    before, after = tracks_found(2.2).T
    assert np.mean(before > 5.0) > 0.6
    assert np.mean(after > 5.0) < 0.15


@pytest.mark.parametrize("snr", [5.5, 7.0])
def test_hardly_a_faint_source_is_taken_for_a_track(snr):
    places = [(20.0 + 27.3 * k, 20.0 + 29.6 * n, snr) for k in range(6) for n in range(5)]
    lost = []
    for seed in range(8):
        maps = scene(80 + seed, sources=places)
        before = maps.score.copy()
        clear_rays(maps, one_psf(PSF))
        lost += [
            maps.score[round(y), round(x)] < before[round(y), round(x)] - 1 for x, y, _ in places
        ]
    assert np.mean(lost) < 0.025


def test_tracks_have_unit_power():
    assert np.square(TRACKS.weight).sum(axis=1) == pytest.approx(1.0)
    assert (TRACKS.sizes >= 4).all()
    assert TRACKS.most == TRACKS.sizes.max()


def test_nothing_in_noise():
    maps = scene(7)
    before = maps.score.copy()
    assert clear_rays(maps, one_psf(PSF)) <= 3
    assert np.count_nonzero(maps.score != before) < 2000


def test_two_sources_beside_each_other_are_no_ray():
    maps = scene(9, sources=[(80.0, 80.0, 40.0), (89.4, 82.0, 14.0)])
    clear_rays(maps, one_psf(PSF))
    assert maps.score[80, 80] > 35.0
    assert maps.score[82, 89] > 10.0


def struck_pair(tracks):
    """A reference of worse seeing, sources of a S/N from 6 on, and faint tracks between them."""
    sources = tuple((30.3 + 32 * k, 40.4 + 80 * n, 3100.0) for k in range(9) for n in range(3))
    scene = Scene(21, stars=12, widths=(3.0, 4.8), new_stars=sources, brightest=3e4)
    rng = np.random.default_rng(5)
    for k in range(8 if tracks else 0):
        x, y, slope = 35 + 32 * k, 80 + 80 * (k % 2), rng.uniform(-1, 1)
        for step in range(7):
            scene.new.pixels[y + round(slope * step), x + step] += 3.6 * np.sqrt(2049.0)
    score = zogy(
        scene.new, scene.reference, ratio=even(scene.shape), residual=ResidualNoise(0.0, 0.0)
    ).score
    return score, sources


def test_rays_that_a_reference_of_worse_seeing_smears_out_are_no_sources():
    (clean, sources), (struck, _) = struck_pair(tracks=False), struck_pair(tracks=True)
    tracks = np.zeros(clean.shape, np.bool_)
    for k in range(8):
        y, x = 80 + 80 * (k % 2), 35 + 32 * k
        tracks[y - 8 : y + 9, x - 3 : x + 10] = True
    assert (struck[tracks] > 5.0).sum() <= (clean[tracks] > 5.0).sum()
    heights = [
        [
            score[round(y) - 1 : round(y) + 2, round(x) - 1 : round(x) + 2].max()
            for x, y, _ in sources
        ]
        for score in (clean, struck)
    ]
    assert min(heights[0]) > 4.5
    np.testing.assert_allclose(heights[1], heights[0], rtol=0.05)


def test_sources_among_pixels_that_are_known_to_be_hit_stay():
    """Beside hits pixels are free for little; that must not be so for all those of a source."""
    places = [(30.3 + 35 * k, 40.4 + 35 * n) for k in range(5) for n in range(3)]
    lost = 0
    for seed in range(6):
        flags = [
            (round(x) + i, round(y) + j)
            for x, y in places
            for j in range(-6, 7)
            for i in (-1, 2, 5)
        ]
        maps = scene(60 + seed, sources=[(x, y, 20.0) for x, y in places], flags=flags)
        clear_rays(maps, one_psf(PSF))
        at = np.array([maps.error[round(y), round(x)] for x, y in places])
        lost += np.count_nonzero(~np.isfinite(at))
    assert lost <= 1  # of 90
