"""Fluxes, places and errors of crowded stars against the truth."""

from __future__ import annotations

import numpy as np
import pytest
from crowded_field import FWHM, field_of, round_stars, true_psf

from firstlight.algorithms.flags import Flag
from firstlight.algorithms.photometry.frame_photometry import (
    frame_photometry,
    hidden_sources,
    light_in_circles,
)
from firstlight.algorithms.sources.aperture import aperture_fluxes


@pytest.fixture(scope="module")
def psf():
    return true_psf()


@pytest.fixture(scope="module")
def stamp_share(psf):
    """Fluxes count the light in the PSF's stamp; those of the simulation all of it."""
    light = np.zeros((401, 401))
    round_stars(light, np.array([200.0]), np.array([200.0]), np.ones(1), FWHM)
    middle = slice(200 - psf.radius, 201 + psf.radius)
    return light[middle, middle].sum()


def scattered(seed, count=500, shape=(500, 600)):
    """Stars at places drawn without regard to each other: a third have one within 2.5 FWHM."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(10, shape[1] - 10, count), rng.uniform(10, shape[0] - 10, count)
    apart = np.hypot(np.subtract.outer(x, x), np.subtract.outer(y, y)) + 99 * np.eye(count)
    kept = apart.min(axis=1) > 0.9 * FWHM
    flux = 10 ** rng.uniform(3.5, 5.5, count)
    field = field_of(rng, shape, x[kept], y[kept], flux[kept])
    return rng, field, apart[kept][:, kept].min(axis=1)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_crowded_stars_are_measured_without_bias_and_with_honest_errors(psf, stamp_share, seed):
    rng, field, apart = scattered(seed)
    found = field.x + rng.normal(0, 0.15, len(apart)), field.y + rng.normal(0, 0.15, len(apart))
    fit = frame_photometry(field.planes, psf, found, fwhm=FWHM)
    truth = field.flux * stamp_share
    pull = (fit.flux - truth) / fit.flux_err
    bright = truth > 20 * fit.flux_err
    close = apart < 2.5 * FWHM
    for chosen in (bright & close, bright & ~close):
        assert chosen.sum() > 60
        assert np.std(pull[chosen]) == pytest.approx(1.0, abs=0.3)
        assert abs(np.median(pull[chosen])) < 0.4
        places = np.append(
            (fit.x - field.x)[chosen] / fit.x_err[chosen],
            (fit.y - field.y)[chosen] / fit.y_err[chosen],
        )
        assert np.std(places) == pytest.approx(1.0, abs=0.3)
    assert np.median(fit.flux[bright] / truth[bright]) == pytest.approx(1.0, abs=0.01)
    assert np.median(fit.chi) == pytest.approx(1.0, abs=0.1)
    # Circles hold the neighbours' light; that is what this is for.
    circle = aperture_fluxes(field.data, field.x, field.y, 1.5 * FWHM, variance=field.variance)
    share = light_in_circles(psf, [200.0], [200.0], [1.5 * FWHM])[0, 0]
    plain = (circle.flux[:, 0] / share - truth) / circle.error[:, 0]
    crowded = bright & close
    assert np.std(pull[crowded]) < 0.2 * np.std(plain[crowded])


def test_what_is_left_is_noise(psf):
    _, field, _ = scattered(4)
    fit = frame_photometry(field.planes, psf, (field.x, field.y), fwhm=FWHM)
    left = (field.data - fit.sky - fit.model) / np.sqrt(field.variance + np.maximum(fit.model, 0))
    assert left.std() == pytest.approx(1.0, abs=0.03)
    assert np.percentile(np.abs(left), 99.9) < 3.8


def test_a_pair_costs_certainty_but_no_truth(psf, stamp_share):
    apart, ratios, errors = [0.7, 1.0, 1.5, 3.0], [], []
    for separation in apart:
        rng = np.random.default_rng(5)
        gx, gy = (g.ravel() for g in np.mgrid[30:370:10j, 30:370:10j])
        x = np.append(gx, gx + separation * FWHM)
        y = np.append(gy, gy)
        x, y = x + rng.uniform(-0.5, 0.5, 200), y + rng.uniform(-0.5, 0.5, 200)
        field = field_of(rng, (400, 400), x, y, np.repeat([6e4, 3e4], 100))
        fit = frame_photometry(field.planes, psf, (x, y), fwhm=FWHM, fit_sky=False)
        ratios.append(fit.flux / field.flux / stamp_share)
        errors.append(np.median(fit.flux_err[:100] / fit.flux[:100]))
        pull = (ratios[-1] - 1.0) * fit.flux / fit.flux_err
        assert abs(np.mean(pull)) < 0.4
        assert np.std(pull) == pytest.approx(1.0, abs=0.25)
        assert (fit.crowding[:100] > fit.crowding[:100].min() - 1e-9).all()
        assert np.median(fit.crowding[100:]) > np.median(fit.crowding[:100])
    assert (np.diff(errors) < 0).all()


def test_places_that_are_told_are_kept(psf, stamp_share):
    _, field, _ = scattered(6, count=80)
    fit = frame_photometry(field.planes, psf, (field.x, field.y), fwhm=FWHM, fit_places=False)
    np.testing.assert_array_equal(fit.x, field.x)
    assert np.isnan(fit.x_err).all()
    pull = (fit.flux - field.flux * stamp_share) / fit.flux_err
    assert np.std(pull) == pytest.approx(1.0, abs=0.3)


def test_bad_pixels_and_borders_are_told_and_harm_nobody(psf, stamp_share):
    rng = np.random.default_rng(7)
    x, y = np.array([60.3, 120.2, 180.0, 1.0, 60.0]), np.array([60.1, 60.4, 60.0, 120.0, 140.0])
    field = field_of(rng, (200, 240), x, y, np.full(5, 1e5))
    field.data[60, 61] += 1e5
    field.flags[60, 61] = Flag.COSMIC_RAY
    field.data[50:72, 170:192] = np.nan
    field.flags[50:72, 170:192] = Flag.NO_DATA
    fit = frame_photometry(field.planes, psf, (x, y), fwhm=FWHM, fit_sky=False)
    pull = (fit.flux - 1e5 * stamp_share) / fit.flux_err
    assert np.abs(pull[[0, 1, 3, 4]]).max() < 4
    assert np.isnan(fit.flux[2])
    assert fit.share[2] == 0
    assert fit.flags[0] == Flag.COSMIC_RAY
    assert fit.flags[3] & Flag.EDGE
    assert fit.flags[4] == 0
    assert fit.share[3] < fit.share[0] < fit.share[1]
    assert np.isfinite(fit.model).all()


def test_galaxies_do_not_pass_for_points(psf):
    rng = np.random.default_rng(8)
    x, y = (g.ravel() for g in np.mgrid[40:360:6j, 40:360:6j])
    widths = np.where(np.arange(36) % 2, FWHM, 2.0 * FWHM)
    field = field_of(rng, (400, 400), x, y, np.full(36, 1e5), widths)
    fit = frame_photometry(field.planes, psf, (x, y), fwhm=FWHM)
    assert fit.chi[1::2].max() < 2.0
    assert fit.chi[::2].min() > 3.0


def test_no_sources_and_the_same_again(psf):
    _, field, _ = scattered(9, count=40)
    none = frame_photometry(field.planes, psf, ([], []), fwhm=FWHM)
    assert len(none.flux) == 0
    assert not none.model.any()
    first, second = (
        frame_photometry(field.planes, psf, (field.x, field.y), fwhm=FWHM) for _ in range(2)
    )
    np.testing.assert_array_equal(first.flux, second.flux)


def test_light_in_circles_is_that_of_the_stars(psf, stamp_share):
    x, y, radii = np.array([200.3, 100.0]), np.array([199.6, 50.5]), [3.0, 6.0, 12.0]
    light = np.zeros((400, 400))
    round_stars(light, x, y, np.full(2, 1e4), FWHM)
    exact = aperture_fluxes(light.astype(np.float32), x, y, radii).flux / 1e4 / stamp_share
    got = light_in_circles(psf, x, y, radii)
    assert got.shape == (2, 3)
    np.testing.assert_allclose(got, exact, atol=0.003)


def pairs_found_as_one(seed, separation=0.8 * FWHM, fainter=0.3):
    rng = np.random.default_rng(seed)
    gx, gy = (g.ravel() + rng.uniform(-3, 3, 49) for g in np.mgrid[40:460:7j, 40:460:7j])
    turn = rng.uniform(0, 2 * np.pi, 49)
    x = np.append(gx, gx + separation * np.cos(turn))
    y = np.append(gy, gy + separation * np.sin(turn))
    field = field_of(rng, (500, 500), x, y, np.repeat([1e5, fainter * 1e5], 49))
    # What a detection says of an unresolved pair: one place, between both.
    share = fainter / (1 + fainter)
    return field, (gx + share * (x[49:] - gx), gy + share * (y[49:] - gy))


def test_the_fainter_of_a_close_pair_is_found_below_the_brighter(psf, stamp_share):
    field, one = pairs_found_as_one(10)
    alone = frame_photometry(field.planes, psf, one, fwhm=FWHM)
    x, y = hidden_sources(field.planes, alone, fwhm=FWHM)
    apart = np.hypot(np.subtract.outer(x, field.x[49:]), np.subtract.outer(y, field.y[49:]))
    assert (apart.min(axis=0) < 0.6 * FWHM).mean() > 0.9
    assert (apart.min(axis=1) < FWHM).all()
    both = frame_photometry(
        field.planes, psf, (np.append(one[0], x), np.append(one[1], y)), fwhm=FWHM
    )
    truth = field.flux[:49] * stamp_share
    assert np.median(alone.flux / truth) > 1.15
    assert np.median(both.flux[:49] / truth) == pytest.approx(1.0, abs=0.03)
    again = frame_photometry(field.planes, psf, (both.x, both.y), fwhm=FWHM)
    assert np.median(again.chi[:49]) < 1.15 < np.median(both.chi[:49]) < np.median(alone.chi)


def test_nothing_hides_where_nothing_is(psf):
    found = 0
    for seed in range(11, 14):
        _, field, _ = scattered(seed, count=250)
        fit = frame_photometry(field.planes, psf, (field.x, field.y), fwhm=FWHM)
        found += len(hidden_sources(field.planes, fit, fwhm=FWHM)[0])
        nobody = np.zeros(len(fit.x), dtype=bool)
        assert len(hidden_sources(field.planes, fit, fwhm=FWHM, among=nobody)[0]) <= found
    assert found <= 4


def test_nothing_hides_at_a_saturated_core(psf):
    rng = np.random.default_rng(14)
    field = field_of(rng, (200, 200), np.array([100.2]), np.array([99.7]), np.array([1e7]))
    full = field.data > 1.5e5
    field.data[full] = 1.5e5
    field.flags[full] = Flag.SATURATED
    fit = frame_photometry(field.planes, psf, (field.x, field.y), fwhm=FWHM)
    x, y = hidden_sources(field.planes, fit, fwhm=FWHM)
    assert (np.hypot(x - 100, y - 100) > 2 * FWHM).all()
