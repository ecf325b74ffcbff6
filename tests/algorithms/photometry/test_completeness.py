"""The limit from artificial stars against stars that the limit has not seen."""

from __future__ import annotations

import numpy as np
import pytest
from injected_sky import make_sky, moffat_star

from firstlight.algorithms.photometry.completeness import (
    fit_completeness,
    inject,
    measure_completeness,
)
from firstlight.algorithms.psf.fit import fit_psf
from firstlight.algorithms.sources.detect import find_sources

FWHM = 3.0


def curve(magnitude, limit, width, plateau=1.0):
    from scipy.stats import norm  # noqa: PLC0415, slow to import

    return plateau * norm.sf((magnitude - limit) / width)


@pytest.mark.parametrize("plateau", [1.0, 0.8])
def test_the_curve_is_fitted(plateau):
    rng = np.random.default_rng(1)
    magnitude = rng.uniform(18, 21, 4000)
    found = rng.random(4000) < curve(magnitude, 19.6, 0.25, plateau)
    fit = fit_completeness(magnitude, found)
    grid = np.linspace(18, 21, 30001)
    truth = grid[np.argmin(np.abs(curve(grid, 19.6, 0.25, plateau) - 0.5))]
    assert abs(fit.limit - truth) < 4 * fit.limit_err
    assert fit.limit_err < 0.03
    assert fit.plateau == pytest.approx(plateau, abs=0.05)
    at, share, error = fit.binned()
    assert (np.abs(share - fit.share(at)) < 5 * error + 0.03).all()


def test_no_limit_where_half_is_never_found():
    rng = np.random.default_rng(2)
    magnitude = rng.uniform(18, 21, 1000)
    fit = fit_completeness(magnitude, rng.random(1000) < curve(magnitude, 20, 0.2, 0.3))
    assert np.isnan(fit.limit)
    none = fit_completeness(magnitude, np.zeros(1000, bool))
    assert np.isnan(none.limit)


def planes(seed):
    sky = make_sky(seed, fwhm=FWHM, beta=3.0, snr=(60, 300), shape=(500, 400), spacing=70)
    data = (sky.data - 400).astype(np.float32)
    variance = np.full(data.shape, 425, np.float32)
    flags = np.zeros(data.shape, np.uint16)
    return sky, data, variance, flags


def find(data):
    seen = find_sources(
        data, np.full(data.shape, 425, np.float32), threshold=5.0, fwhm=FWHM
    ).sources
    return seen.x_win, seen.y_win


def test_half_of_other_stars_are_found_at_the_limit():
    sky, data, variance, flags = planes(3)
    psf = fit_psf(data, variance, flags, (sky.x, sky.y, sky.flux), FWHM)
    hidden = np.zeros(data.shape, bool)
    found = measure_completeness(
        (data, hidden), psf, find, zero=lambda x, _: np.full(len(x), 25.0),
        fwhm=FWHM, guess=18.7, stars=1500,
    )  # fmt: skip
    assert found.limit_err < 0.05
    flux = 10 ** (-0.4 * (found.limit - 25.0))
    # Stars of the true profile, whose stamp holds as much of the light as the PSF's.
    held = moffat_star(0, 0, FWHM, 3.0, psf.radius).sum()
    rng = np.random.default_rng(4)
    seen = []
    for _ in range(12):
        image = data.copy()
        x, y = (g.ravel() for g in np.meshgrid(np.arange(25, 380, 30.0), np.arange(25, 480, 30.0)))
        x, y = x + rng.uniform(-6, 6, x.size), y + rng.uniform(-6, 6, y.size)
        for a, b in zip(x, y, strict=True):
            i, j = round(a), round(b)
            stamp = flux / held * moffat_star(a - i, b - j, FWHM, 3.0, 9, steps=3)
            image[j - 9 : j + 10, i - 9 : i + 10] += rng.poisson(stamp)
        places = np.stack(find(image))
        near = [np.hypot(*(places - p[:, None])).min() for p in np.stack([x, y], 1)]
        free = [np.hypot(sky.x - a, sky.y - b).min() > 8 for a, b in zip(x, y, strict=True)]
        seen.append(np.mean((np.array(near) < 2.2) & np.array(free)))
    assert np.mean(seen) == pytest.approx(0.5, abs=0.06)


def test_injected_light_is_all_there_and_repeats():
    sky, data, variance, flags = planes(5)
    psf = fit_psf(data, variance, flags, (sky.x, sky.y, sky.flux), FWHM)
    stars = np.array([200.0]), np.array([250.0]), np.array([1e6])
    first = inject(data, psf, stars, np.random.default_rng(1))
    again = inject(data, psf, stars, np.random.default_rng(1))
    assert (first - data).sum() == pytest.approx(1e6, rel=0.02)
    np.testing.assert_array_equal(first, again)
    assert ((first - data) >= 0).all()
