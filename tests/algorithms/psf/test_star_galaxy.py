"""Stars and galaxies told apart, with odds that hold."""

from __future__ import annotations

import numpy as np
import pytest
from crowded_field import FWHM, field_of, true_psf
from scipy.stats import rankdata

from firstlight.algorithms.psf.star_galaxy import Extents, separate_stars, source_extents


@pytest.fixture(scope="module")
def psf():
    return true_psf()


def mixed(seed, side=26, flux=(3.2, 5.5), share=0.25):
    """Stars and galaxies of 0.4 to 2 FWHM on a jittered grid; True for stars."""
    rng = np.random.default_rng(seed)
    cell, n = 30.0, side * side
    x, y = (g.ravel() * cell + 20 + rng.uniform(-4, 4, n) for g in np.mgrid[:side, :side])
    star = rng.random(n) > share
    sizes = np.clip(FWHM * np.exp(rng.normal(-0.1, 0.4, n)), 0.4 * FWHM, 2 * FWHM)
    shape = (int(side * cell + 20),) * 2
    light = 10 ** rng.uniform(*flux, n)
    field = field_of(rng, shape, x, y, light, np.where(star, FWHM, np.hypot(FWHM, sizes)))
    return field, star


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_stars_have_no_extent_with_honest_errors(psf, seed):
    field, star = mixed(seed)
    extents = source_extents(field.planes, psf, (field.x, field.y, field.flux), fwhm=FWHM)
    pull = (extents.extent / extents.error)[star]
    assert np.isfinite(pull).all()
    assert np.std(pull) == pytest.approx(1.0, abs=0.12)
    assert abs(np.mean(pull)) < 0.25
    clear = ~star & (extents.error < 0.1)
    assert clear.sum() > 20
    assert extents.extent[clear].min() > 0.15


@pytest.mark.parametrize("seed", [4, 5, 6])
def test_probabilities_mean_what_they_say(psf, seed):
    field, star = mixed(seed)
    extents = source_extents(field.planes, psf, (field.x, field.y, field.flux), fwhm=FWHM)
    told = separate_stars(extents)
    seen = np.isfinite(told.star)
    assert seen.mean() > 0.99
    odds, star = told.star[seen], star[seen]
    ranks = rankdata(odds)
    one, other = star.sum(), (~star).sum()
    area = (ranks[star].sum() - one * (one + 1) / 2) / one / other
    assert area > 0.9
    for low, high in ((0.0, 0.1), (0.1, 0.5), (0.5, 0.9), (0.9, 1.01)):
        chosen = (odds >= low) & (odds < high)
        expected, found = odds[chosen].sum(), star[chosen].sum()
        spread = np.sqrt((odds * (1 - odds))[chosen].sum())
        assert abs(found - expected) < 4 * spread + 0.03 * chosen.sum() + 2
    assert told.galaxies == pytest.approx(0.25, abs=0.07)
    assert told.sources > 500


def test_the_faintest_get_the_share_of_stars():
    rng = np.random.default_rng(7)
    sharp, wide = rng.normal(0, 0.02, 400), np.exp(rng.normal(0, 0.3, 100))
    unsure = rng.normal(0, 20.0, 50)
    extent = np.concatenate([sharp, wide, unsure])
    error = np.concatenate([np.full(500, 0.02), np.full(50, 20.0)])
    told = separate_stars(Extents(extent, error, np.full(550, 1e4)))
    assert told.star[:400].min() > 0.9
    assert told.star[400:500].max() < 0.5
    assert told.star[400:500].mean() < 0.05
    assert told.star[500:] == pytest.approx(0.8, abs=0.1)


def test_few_sources_fall_back_on_what_is_expected():
    extents = Extents(np.array([0.0, 1.5, np.nan]), np.full(3, 0.05), np.full(3, 1e4))
    told = separate_stars(extents)
    assert told.sources == 0
    assert told.star[0] > 0.9
    assert told.star[1] < 0.1
    assert np.isnan(told.star[2])
    unsure = Extents(np.zeros(1), np.full(1, 50.0), np.ones(1))
    assert separate_stars(unsure, galaxies=0.7).star[0] == pytest.approx(0.3, abs=0.05)
    nothing = separate_stars(Extents(np.empty(0), np.empty(0), np.empty(0)))
    assert nothing.star.size == 0


def test_neighbours_are_taken_off_by_the_model(psf):
    rng = np.random.default_rng(8)
    gx, gy = (g.ravel() for g in np.mgrid[40:360:8j, 40:360:8j])
    x, y = np.append(gx, gx + 1.6 * FWHM), np.append(gy, gy)
    field = field_of(rng, (400, 400), x, y, np.full(128, 5e4))
    model = np.zeros((400, 400), np.float32)
    psf.add_to(model, x, y, field.flux, np.full(128, psf.radius))
    sources = x, y, field.flux
    alone = source_extents(field.planes, psf, sources, fwhm=FWHM, model=model)
    disturbed = source_extents(field.planes, psf, sources, fwhm=FWHM)
    assert np.abs(alone.extent).max() < 0.2
    assert np.median(disturbed.extent) > 0.5


def test_no_pixels_no_extent(psf):
    field, _ = mixed(9, side=4)
    field.flags[:] = 1
    extents = source_extents(field.planes, psf, (field.x, field.y, field.flux), fwhm=FWHM)
    assert np.isnan(extents.extent).all()
