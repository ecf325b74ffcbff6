"""The PSF learned from stars against the one they were made with."""

from __future__ import annotations

import numpy as np
import pytest
from injected_sky import make_sky, moffat_star

from firstlight.algorithms.flags import Flag
from firstlight.algorithms.psf import fit_psf


def learn(sky, *, fwhm, best=60, flags=None, level=400.0, noise=425.0):
    order = np.argsort(-sky.flux)[:best]
    data = (sky.data - level).astype(np.float32)
    variance = np.full(data.shape, noise, np.float32)
    flags = np.zeros(data.shape, np.uint16) if flags is None else flags
    stars = sky.x[order], sky.y[order], sky.flux[order]
    return fit_psf(data, variance, flags, stars, fwhm)


@pytest.mark.parametrize("fwhm", [1.6, 3.0, 5.5])
def test_shape_is_that_of_the_stars(fwhm):
    sky = make_sky(1, fwhm=fwhm, beta=3.0, snr=(60, 300), stars=80, spacing=int(18 + 8 * fwhm))
    psf = learn(sky, fwhm=fwhm)
    for dx, dy in ((0.0, 0.0), (0.3, -0.4), (0.5, 0.5)):
        stamp = psf.at(300 + dx, 300 + dy, (600, 600))
        truth = moffat_star(dx, dy, fwhm, 3.0, psf.radius)
        i, j = round(300 + dx), round(300 + dy)
        truth = moffat_star(300 + dx - i, 300 + dy - j, fwhm, 3.0, psf.radius)
        truth /= truth.sum()
        # A thirtieth of the peak where single pixels hold a third of all light.
        assert np.abs(stamp.psf - truth).max() < 0.035 * truth.max()
        assert stamp.psf.sum() == pytest.approx(1.0, abs=0.01)


def test_it_changes_over_the_image():
    rng = np.random.default_rng(2)
    ny, nx = 500, 800
    data = rng.normal(0, 10, (ny, nx))
    x, y = (
        g.ravel().astype(float) for g in np.meshgrid(np.arange(40, 780, 80), np.arange(40, 480, 60))
    )
    x, y = x + rng.uniform(-0.5, 0.5, x.size), y + rng.uniform(-0.5, 0.5, y.size)
    for a, b in zip(x, y, strict=True):
        i, j = round(a), round(b)
        width = 2.8 + 0.5 * a / nx
        data[j - 12 : j + 13, i - 12 : i + 13] += 3e4 * moffat_star(a - i, b - j, width, 3.0, 12)
    planes = (
        data.astype(np.float32),
        np.full((ny, nx), 100, np.float32),
        np.zeros((ny, nx), np.uint16),
    )
    psf = fit_psf(*planes, (x, y, np.full(x.size, 3e4)), 3.1)
    assert psf.varies
    for place, width in ((80, 2.85), (720, 3.25)):
        stamp = psf.at(place, 250, (ny, nx)).psf
        truth = moffat_star(0, 0, width, 3.0, psf.radius)
        assert stamp.max() == pytest.approx((truth / truth.sum()).max(), rel=0.04)


def test_unusable_pixels_and_wrong_stars_do_not_spoil_it():
    sky = make_sky(3, fwhm=3.0, beta=3.0, snr=(100, 300), stars=40, spacing=60)
    flags = np.zeros(sky.data.shape, np.uint16)
    spoiled = sky.data.copy()
    i, j = round(sky.x[0]) + 2, round(sky.y[0])
    flags[j, i] = Flag.COSMIC_RAY
    spoiled[j, i] += 1e5
    # One "star" is a block of light.
    b, a = round(sky.y[1]), round(sky.x[1])
    spoiled[b - 6 : b + 7, a - 6 : a + 7] += 2000.0
    clean = learn(sky, fwhm=3.0)
    sky.data[:] = spoiled
    dirty = learn(sky, fwhm=3.0, flags=flags)
    first, second = (p.at(300, 300, (600, 600)).psf for p in (clean, dirty))
    assert np.abs(first - second).max() < 0.02 * first.max()


def test_none_of_too_few_stars():
    sky = make_sky(4, fwhm=3.0, snr=(100, 300), stars=40)
    assert learn(sky, fwhm=3.0, best=2) is None
    assert learn(sky, fwhm=3.0, best=3) is not None


def test_stamps_end_at_the_image():
    sky = make_sky(5, fwhm=3.0, snr=(100, 300), stars=40, spacing=60)
    psf = learn(sky, fwhm=3.0)
    assert psf.at(-100, 300, (600, 600)) is None
    corner = psf.at(0.2, 599.4, (600, 600))
    assert corner.where == (slice(599 - psf.radius, 600), slice(0, psf.radius + 1))
    assert 0.2 < corner.psf.sum() < 0.45
