"""The PSF learned from stars against the one they were made with."""

from __future__ import annotations

import numpy as np
import pytest
from injected_sky import make_sky, moffat_star

from firstlight.algorithms.background import estimate_background
from firstlight.algorithms.flags import Flag
from firstlight.algorithms.photometry.growth_curve import uncrowded
from firstlight.algorithms.psf.fit import fit_psf
from firstlight.algorithms.sources.detect import find_sources
from firstlight.algorithms.sources.sharpest_stars import point_sources
from firstlight.simulation.psf import add_stars, moffat_matrix, stamp_radius


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


@pytest.mark.parametrize("share", [1e-3, 1e-5])
def test_beyond_its_reach_no_pixel_holds_more(share):
    psf = learn(make_sky(1, fwhm=3.0, beta=3.0, snr=(60, 300), stars=80, spacing=42), fwhm=3.0)
    reach = psf.reach_of(share)
    stamp = psf.stamps(300.0, 300.0, 40)[0]
    away = np.hypot(*np.meshgrid(np.arange(-40, 41), np.arange(-40, 41)))
    assert stamp[away > 1.15 * reach].max() < share
    assert stamp[away < 0.85 * reach].min() > share
    assert psf.reach_of(0.9) == 0.0


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


def bent_image(seed, *, shape=(512, 1024), stars=230, beta=3.2):
    """Crowded stars whose width and ellipticity are quadratic over the field, with galaxies."""
    rng = np.random.default_rng(seed)
    ny, nx = shape
    count = stars + 30
    x, y = rng.uniform(0, nx - 1, count), rng.uniform(0, ny - 1, count)
    flux = 10 ** rng.uniform(3.3, 5.8, count)
    widths, bends = bent(x, y, shape)
    widths[stars:] *= rng.uniform(1.5, 3.0, 30)
    matrix = moffat_matrix(widths, *bends, beta)
    light = np.zeros(shape)
    add_stars(light, x, y, flux, matrix, beta, stamp_radius(flux, matrix, beta))
    data = rng.poisson(light + 2000.0) + rng.normal(0, 7, shape) - 2000.0
    return data.astype(np.float32), beta


def bent(x, y, shape):
    u, v = 2 * np.asarray(x) / shape[1] - 1, 2 * np.asarray(y) / shape[0] - 1
    e1, e2 = 0.02 * u - 0.03 * v**2, 0.03 * u * v
    width = 4.0 * (1 + 0.02 * v + 0.03 * (u**2 - 0.5))
    return width, (np.hypot(e1, e2), 0.5 * np.arctan2(e2, e1))


def of_found_stars(data):
    """The PSF as a pipeline learns it: nothing is known but the pixels."""
    sky = estimate_background(data)
    residual = data - sky.level
    found = find_sources(residual, np.square(sky.rms))
    sources = found.sources
    alone = uncrowded(sources.x_win, sources.y_win, sources.flux, 3.0 * found.fwhm, 0.01)
    chosen = np.flatnonzero(point_sources(sources.columns()) & alone & (sources.flux > 0))
    stars = sources.x_win[chosen], sources.y_win[chosen], sources.flux[chosen]
    flags = np.zeros(data.shape, np.uint16)
    return fit_psf(residual, np.square(sky.rms), flags, stars, found.fwhm)


def relative_error(psf, place, shape, beta):
    stamp = psf.at(*place, shape)
    width, bends = bent(*(np.array([p]) for p in place), shape)
    truth = np.zeros(shape)
    matrix = moffat_matrix(width, *bends, beta)
    add_stars(truth, *np.array(place)[:, None], np.ones(1), matrix, beta, np.array([60.0]))
    truth = truth[stamp.where] / truth[stamp.where].sum()
    return np.linalg.norm(stamp.psf / stamp.psf.sum() - truth) / np.linalg.norm(truth)


@pytest.mark.parametrize("seed", [21, 22, 23])
def test_error_over_a_field_whose_stars_bend(seed):
    data, beta = bent_image(seed)
    psf = of_found_stars(data)
    assert psf.bends.shape[1] == 6  # neither linear nor cubic
    places = [(128 + 256 * i + 0.3, 85 + 171 * j - 0.2) for i in range(4) for j in range(3)]
    errors = [relative_error(psf, place, data.shape, beta) for place in places]
    # PSFEx reaches 0.0088 on a frame with sixteen times as many stars.
    assert np.median(errors) < 0.006
    assert max(errors) < 0.025


def sparse_image(seed, *, shape=(1024, 1536), stars=100, beta=3.2):
    """A hundred stars, most of them faint, of the same shapes."""
    rng = np.random.default_rng(seed)
    ny, nx = shape
    x, y = rng.uniform(0, nx - 1, stars), rng.uniform(0, ny - 1, stars)
    flux = np.minimum(1500.0 * rng.uniform(0, 1, stars) ** -1.8, 8e5)
    widths, bends = bent(x, y, shape)
    matrix = moffat_matrix(widths, *bends, beta)
    light = np.zeros(shape)
    add_stars(light, x, y, flux, matrix, beta, stamp_radius(flux, matrix, beta))
    data = rng.poisson(light + 2000.0) + rng.normal(0, 7, shape) - 2000.0
    return data.astype(np.float32), beta


@pytest.mark.parametrize("seed", [72, 75, 78, 79, 83])
def test_a_few_bright_stars_tell_how_the_shape_bends(seed):
    data, beta = sparse_image(seed)
    psf = of_found_stars(data)
    # Were the scatter of the faint ones held for that of all, there would be no bends to see.
    assert psf.bends.shape[1] == 6
    places = [(192 + 384 * i + 0.3, 170 + 341 * j - 0.2) for i in range(4) for j in range(3)]
    errors = [relative_error(psf, place, data.shape, beta) for place in places]
    assert np.median(errors) < 0.006
    assert max(errors) < 0.012


def test_an_image_of_one_shape_is_not_bent():
    sky = make_sky(31, fwhm=3.0, beta=3.0, snr=(50, 300), stars=80, spacing=55)
    psf = learn(sky, fwhm=3.0)
    assert not psf.varies


def test_many_stamps_are_those_made_one_by_one():
    data, _ = bent_image(24)
    psf = of_found_stars(data)
    x, y = np.array([100.3, 500.5, 1000.9]), np.array([30.5, 200.49, 480.0])
    stamps = psf.stamps(x, y, 6)
    for k in range(3):
        one = psf.at(x[k], y[k], data.shape, 6)
        np.testing.assert_allclose(one.psf, stamps[k], rtol=1e-12)
    assert psf.stamps(x, y).sum(axis=(1, 2)) == pytest.approx(1.0, abs=2e-3)


def test_a_shape_that_is_no_moffat_is_learned_too():
    rng = np.random.default_rng(9)
    sky = make_sky(9, fwhm=4.0, snr=(1, 2), stars=4, shape=(600, 600))
    steps = np.arange(-14, 15)[:, None] + (np.arange(5) - 2) / 5.0

    def triangular(dx, dy):
        gx, gy = (steps.ravel() - dx)[None, :], (steps.ravel() - dy)[:, None]
        r2, turn = (gx**2 + gy**2) / 3.0, np.arctan2(gy, gx)
        shape = np.exp(-0.5 * r2) * (1 + 0.08 * r2**1.5 * np.exp(-0.3 * r2) * np.cos(3 * turn))
        return shape.reshape(29, 5, 29, 5).mean((1, 3)) / shape.mean() / 841

    x, y = (g.ravel() + rng.uniform(-5, 5, 144) for g in np.mgrid[30:570:12j, 30:570:12j])
    flux = 10 ** rng.uniform(4.3, 5.3, 144)
    data = sky.data.astype(np.float64) - 400.0
    for a, b, f in zip(x, y, flux, strict=True):
        i, j = round(a), round(b)
        data[j - 14 : j + 15, i - 14 : i + 15] += rng.poisson(f * triangular(a - i, b - j))
    flags, variance = np.zeros(data.shape, np.uint16), np.full(data.shape, 425, np.float32)
    order = np.argsort(-flux)
    stars = x[order], y[order], flux[order]
    psf = fit_psf(data.astype(np.float32), variance, flags, stars, 4.2)
    truth = triangular(0.3, -0.4)
    truth = truth / truth.sum()
    got = psf.at(300.3, 299.6, data.shape, 14).psf
    # The Moffat profile alone is off by a tenth.
    assert np.linalg.norm(got - truth) < 0.02 * np.linalg.norm(truth)


@pytest.mark.parametrize("seed", [51, 52, 53])
def test_galaxies_that_pass_for_stars_are_left_out(seed):
    """As many compact galaxies as stars, little wider, all told to be stars."""
    rng = np.random.default_rng(seed)
    x, y = (g.ravel() + rng.uniform(-4, 4, 144) for g in np.mgrid[40:760:12j, 40:760:12j])
    star = rng.random(144) < 0.5
    widths = np.where(star, 4.0, 4.0 * rng.uniform(1.12, 1.5, 144))
    flux = 10 ** rng.uniform(4.5, 5.5, 144)
    matrix = moffat_matrix(widths, np.zeros(144), np.zeros(144), 3.2)
    light = np.zeros((800, 800))
    add_stars(light, x, y, flux, matrix, 3.2, stamp_radius(flux, matrix, 3.2))
    data = (rng.poisson(light + 2000.0) - 2000.0).astype(np.float32)
    planes = data, np.full(data.shape, 2000, np.float32), np.zeros(data.shape, np.uint16)
    order = np.argsort(-flux)
    psf = fit_psf(*planes, (x[order], y[order], flux[order]), 4.3)
    assert 0.7 * star.sum() < psf.stars < 1.25 * star.sum()
    truth = moffat_star(0.2, -0.3, 4.0, 3.2, psf.radius)
    truth /= truth.sum()
    got = psf.at(400.2, 399.7, data.shape).psf
    # The mean of all would be off by 0.15.
    assert np.linalg.norm(got - truth) < 0.025 * np.linalg.norm(truth)


def sharp_stars(seed, fwhm=1.5, count=196, shift=(0.0, 0.0)):
    """Stars hardly wider than a pixel, at places that depend on where in the pixel they lie."""
    rng = np.random.default_rng(seed)
    steps = np.arange(20.0, 580.0, 560.0 / np.sqrt(count))
    x, y = (g.ravel() + rng.uniform(-6, 6, g.size) for g in np.meshgrid(steps, steps))
    flux = 10 ** rng.uniform(3.8, 5.2, x.size)
    wide, round_ = np.full(x.size, fwhm), np.zeros(x.size)
    matrix = moffat_matrix(wide, round_, round_, 3.2)
    light = np.zeros((600, 600))
    add_stars(light, x, y, flux, matrix, 3.2, stamp_radius(flux, matrix, 3.2))
    data = (rng.poisson(light + 400.0) - 400.0).astype(np.float32)
    order = np.argsort(-flux)
    x, y, flux = x[order], y[order], flux[order]
    # Windowed centroids of such stars are drawn to the middle of the pixel.
    given = (p - 0.02 * np.sin(2 * np.pi * p) + s for p, s in zip((x, y), shift, strict=True))
    planes = data, np.full(data.shape, 400, np.float32), np.zeros(data.shape, np.uint16)
    return planes, (*given, flux)


def sharp_errors(psf, fwhm=1.5, shift=(0.0, 0.0)):
    """Of stars on 25 parts of a pixel, whose places are off by the shift."""
    errors = []
    for dx, dy in np.mgrid[-0.4:0.4:5j, -0.4:0.4:5j].reshape(2, -1).T:
        got = psf.stamps(300 + dx, 300 + dy)[0]
        truth = moffat_star(dx - shift[0], dy - shift[1], fwhm, 3.2, psf.radius)
        errors.append(np.linalg.norm(got - truth / truth.sum()) / np.linalg.norm(truth))
    return np.array(errors)


@pytest.mark.parametrize("seed", [61, 62, 63])
def test_centroids_that_know_their_pixel_do_not_smear_sharp_stars(seed):
    planes, stars = sharp_stars(seed)
    errors = sharp_errors(fit_psf(*planes, stars, 1.7))
    # Learned from stars at those places it is off by five times as much.
    assert np.median(errors) < 0.006
    assert errors.max() < 0.01


def test_a_psf_is_where_the_centroids_of_its_stars_are():
    planes, stars = sharp_stars(64, shift=(0.08, -0.05))
    psf = fit_psf(*planes, stars, 1.7)
    shift = (0.08, -0.05)
    assert np.median(sharp_errors(psf, shift=shift)) < 0.006
    assert np.median(sharp_errors(psf)) > 0.05
