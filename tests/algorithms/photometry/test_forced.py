"""Forced photometry on injected truth: unbiased, with honest errors, at any brightness."""

from __future__ import annotations

import numpy as np
import pytest
from injected_sky import make_sky, moffat_star

from firstlight.algorithms.flags import Flag
from firstlight.algorithms.photometry.forced import LocalSky, forced_aperture, forced_psf, local_sky
from firstlight.algorithms.psf.fit import fit_psf

FWHM, LEVEL = 3.0, 400.0


def a_sky(seed, *, offset=0.0, snr=(3, 300)):
    sky = make_sky(seed, fwhm=FWHM, beta=3.0, snr=snr, shape=(900, 700), spacing=45)
    data = (sky.data - LEVEL + offset).astype(np.float32)
    return sky, data, np.full(data.shape, LEVEL + 25.0, np.float32), np.zeros(data.shape, np.uint16)


def learned(sky, data, variance, flags):
    order = np.argsort(-sky.flux)[:60]
    stars = sky.x[order], sky.y[order], sky.flux[order]
    return fit_psf(data, variance, flags, stars, FWHM)


def inside(sky, margin=25):
    return (sky.x > margin) & (sky.x < 674) & (sky.y > margin) & (sky.y < 874)


def nothing(count):
    return LocalSky(np.zeros(count), np.zeros(count))


def test_psf_fluxes_are_unbiased_with_honest_errors():
    pulls, ratios = [], []
    for seed in range(3):
        sky, data, variance, flags = a_sky(seed)
        psf = learned(sky, data, variance, flags)
        chosen = inside(sky)
        places = sky.x[chosen], sky.y[chosen]
        found = forced_psf(
            (data, variance, flags), psf, places, fwhm=FWHM, sky=nothing(chosen.sum())
        )
        # The stamp holds a share of the light to infinity, the same for all stars.
        bright = sky.snr[chosen] > 100
        share = np.median(found.flux[bright] / sky.flux[chosen][bright])
        ratios.append(share)
        pulls.append((found.flux - share * sky.flux[chosen]) / found.error)
    pull = np.concatenate(pulls)
    assert len(pull) > 600
    assert abs(pull.mean()) < 0.15
    assert pull.std() == pytest.approx(1.0, abs=0.12)
    assert min(ratios) > 0.93


def test_aperture_fluxes_have_honest_errors_with_a_local_sky():
    sky, data, variance, flags = a_sky(7, offset=12.0)
    chosen = inside(sky)
    places = sky.x[chosen], sky.y[chosen]
    footprints = np.zeros(data.shape, np.int32)
    around = local_sky(data, flags, footprints, places, (12.0, 21.0))
    assert np.median(around.level) == pytest.approx(12.0, abs=0.3)
    found = forced_aperture(data, variance, flags, places, radius=FWHM, sky=around)
    bright = sky.snr[chosen] > 100
    share = np.median(found.flux[bright] / sky.flux[chosen][bright])
    pull = (found.flux - share * sky.flux[chosen]) / found.error
    assert abs(pull.mean()) < 0.2
    assert pull.std() == pytest.approx(1.0, abs=0.15)
    assert (found.faint_error <= found.error).all()


def test_empty_places_give_zero():
    sky, data, variance, flags = a_sky(11, snr=(200, 300))
    psf = learned(sky, data, variance, flags)
    rng = np.random.default_rng(0)
    x, y = rng.uniform(30, 670, 600), rng.uniform(30, 870, 600)
    empty = np.array([np.hypot(sky.x - a, sky.y - b).min() > 20 for a, b in zip(x, y, strict=True)])
    places = x[empty], y[empty]
    found = forced_psf((data, variance, flags), psf, places, fwhm=FWHM, sky=nothing(empty.sum()))
    pull = found.flux / found.error
    assert abs(pull.mean()) < 0.25  # the wings of bright stars reach everywhere
    assert pull.std() == pytest.approx(1.0, abs=0.15)
    np.testing.assert_allclose(found.faint_error, found.error, rtol=0.1)


def test_a_neighbour_is_fitted_along():
    sky, data, variance, flags = a_sky(13, snr=(150, 300))
    psf = learned(sky, data, variance, flags)
    x, y = 350.3, 450.7
    while np.hypot(sky.x - x, sky.y - y).min() < 20:
        x += 7.0
    for dx, flux in ((0.0, 5e3), (4.0, 2e4)):
        i, j = round(x + dx), round(y)
        stamp = moffat_star(x + dx - i, y - j, FWHM, 3.0, 15)
        data[j - 15 : j + 16, i - 15 : i + 16] += (flux * stamp).astype(np.float32)
    place = np.array([x]), np.array([y])
    planes = data, variance, flags
    alone = forced_psf(planes, psf, place, fwhm=FWHM, sky=nothing(1))
    both = np.array([x, x + 4.0]), np.array([y, y])
    along = forced_psf(planes, psf, place, fwhm=FWHM, sky=nothing(1), neighbours=both)
    assert alone.flux[0] > 8e3
    assert along.flux[0] == pytest.approx(5e3 * 0.96, abs=4 * along.error[0])


def test_flags_and_places_without_a_number():
    sky, data, variance, flags = a_sky(17, snr=(150, 300))
    psf = learned(sky, data, variance, flags)
    star = int(np.flatnonzero(inside(sky))[0])
    i, j = round(sky.x[star]), round(sky.y[star])
    flags[j, i + 1] = Flag.BAD
    flags[300:340, 300:340] = Flag.NO_DATA
    places = np.array([sky.x[star], 320.0, -5.0, np.nan]), np.array([sky.y[star], 320.0, 10.0, 3.0])
    clean = forced_psf(
        (data, variance, np.zeros_like(flags)), psf, places, fwhm=FWHM, sky=nothing(4)
    )
    found = forced_psf((data, variance, flags), psf, places, fwhm=FWHM, sky=nothing(4))
    assert found.flags[0] == Flag.BAD
    assert found.flux[0] == pytest.approx(clean.flux[0], abs=4 * found.error[0])
    assert found.flags[1] & Flag.NO_DATA
    assert np.isnan(found.flux[1:]).all()
    assert np.isnan(found.error[1:]).all()
