"""From two images to scored candidates, on simulated pairs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pair_scenes import aligned
from scipy.ndimage import label
from scipy.spatial import cKDTree

from firstlight.algorithms.candidates.cuts import apply_cuts
from firstlight.algorithms.candidates.find import find_candidates
from firstlight.algorithms.candidates.measures import (
    KnownStars,
    measure_candidates,
    saturated_pixels,
)
from firstlight.algorithms.candidates.real_bogus import REAL_ABOVE
from firstlight.algorithms.candidates.stamps import cut_candidates, difference_psfs
from firstlight.algorithms.flags import Flag
from firstlight.algorithms.subtraction.zogy import zogy
from firstlight.pipeline.real_bogus_model import default_real_bogus
from firstlight.simulation.transient_pair import PairSettings

EDGE = 20


def forget_rays(pair, new, share, seed):
    """The new image with the flags of a share of its cosmic rays taken away."""
    names, count = label(pair.charge > 0, np.ones((3, 3)))
    missed = np.random.default_rng(seed).random(count + 1) < share
    missed[0] = False
    hidden = np.where(missed[names], np.uint16(Flag.COSMIC_RAY), np.uint16(0))
    return replace(new, flags=new.flags & ~hidden), missed[names]


def search(settings, missed_rays):
    """Truth, candidates, measures, score and what is kept; where rays were not flagged."""
    pair, new, reference = aligned(settings, rays=True)
    new, missed = forget_rays(pair, new, missed_rays, settings.seed)
    told = zogy(new, reference)
    fwhm = settings.fwhm
    found = find_candidates(told, fwhm)
    places = found.x, found.y
    stamps = cut_candidates(new.pixels, reference.pixels, told, places, 20)
    psfs = difference_psfs(told.psfs, *places)
    stars = pair.stars
    known = KnownStars(stars.x, stars.y, stars.flux, *saturated_pixels(told.flags))
    measures = measure_candidates(stamps, psfs, places, found.score, fwhm, known)
    score = default_real_bogus().score(measures)
    kept = apply_cuts(measures).kept & (score > REAL_ABOVE)
    return pair, found, measures, kept, missed


def matched(pair, found):
    """The candidate of each transient, or -1, and all of them that are one's own."""
    if not len(found):
        return np.full(len(pair.transients), -1)
    places = np.column_stack([found.x, found.y])
    truth = np.column_stack([pair.transients.x, pair.transients.y])
    away, nearest = cKDTree(places).query(truth)
    good = (away < pair.settings.fwhm) & (found.score[nearest] > 0)
    return np.where(good, nearest, -1)


def false_ones(pair, found, match):
    """Candidates inside the edges that are no transient."""
    ny, nx = pair.settings.shape
    inside = (found.x > EDGE) & (found.x < nx - EDGE) & (found.y > EDGE) & (found.y < ny - EDGE)
    inside[match[match >= 0]] = False
    return inside


def settings_of(seed, side=512, **changes):
    told = {"transients": 12, "transient_snr": (8.0, 50.0)} | changes
    return PairSettings.of_size(side, side, seed=seed, **told)


def test_transients_are_kept_and_rays_are_not():
    pair, found, measures, kept, missed = search(settings_of(31, saturated=1), 0.5)
    match = matched(pair, found)
    assert np.count_nonzero(match >= 0) == 12
    assert np.count_nonzero(kept[match]) >= 11
    false = false_ones(pair, found, match)
    at_rays = false & missed[np.rint(found.y).astype(int), np.rint(found.x).astype(int)]
    # Half of the rays were not told to the subtraction: it sees nearly all of them itself.
    assert np.count_nonzero(at_rays) <= 4
    assert np.count_nonzero(at_rays & kept) == 0
    assert np.count_nonzero(false & kept) <= 2
    pulls = (found.flux[match] - pair.transients.flux) / found.flux_error[match]
    assert np.abs(pulls).max() < 5
    assert np.abs(measures.flux[match] / pair.transients.flux - 1).max() < 0.5


@pytest.mark.slow
@pytest.mark.parametrize("seed", [41, 42, 43])
@pytest.mark.parametrize("fwhm", [(2.5, 3.0), (5.0, 3.8)])
def test_other_seeing(seed, fwhm):
    settings = settings_of(seed, fwhm=fwhm[0], reference_fwhm=fwhm[1], stars=250)
    pair, found, _, kept, _ = search(settings, 0.2)
    match = matched(pair, found)
    assert np.count_nonzero(match >= 0) >= 11
    assert np.count_nonzero(kept[match[match >= 0]]) >= 10
    assert np.count_nonzero(false_ones(pair, found, match) & kept) <= 2


@pytest.mark.nightly
def test_fluxes_and_positions_of_many_transients():
    pulls, off = [], []
    for seed in range(51, 61):
        pair, found, measures, kept, _ = search(settings_of(seed, 640), 0.0)
        match = matched(pair, found)
        seen = (match >= 0) & kept[match]
        index, truth = match[seen], pair.transients
        pulls.append((found.flux[index] - truth.flux[seen]) / found.flux_error[index])
        for place, true, spread in (
            (measures.x, truth.x, measures.xx),
            (measures.y, truth.y, measures.yy),
        ):
            off.append((place[index] - true[seen]) / np.sqrt(spread[index]))
    assert len(np.concatenate(pulls)) > 105
    assert np.std(np.concatenate(pulls)) == pytest.approx(1, abs=0.12)
    assert abs(np.mean(np.concatenate(pulls))) < 0.3
    assert np.std(np.concatenate(off)) == pytest.approx(1, abs=0.15)
