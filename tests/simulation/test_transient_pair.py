"""A simulated pair holds what its truth says: light, noise, places, significance."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import label

from firstlight.algorithms.flags import Flag
from firstlight.algorithms.sky.sky_index import angular_separation
from firstlight.errors import BadSettings
from firstlight.simulation.transient_optics import PsfField, pair_projections
from firstlight.simulation.transient_pair import PairSettings, simulate_pair
from firstlight.simulation.transient_truth import flux_sigma


@pytest.fixture(scope="module")
def pair():
    return simulate_pair(
        PairSettings.of_size(384, 512, seed=11, transients=10, saturated=2, cosmic_rays=60)
    )


def test_same_seed_same_pixels_and_other_seed_others(pair):
    again = simulate_pair(pair.settings)
    assert np.array_equal(again.raw, pair.raw)
    assert np.array_equal(again.reference.pixels, pair.reference.pixels)
    other = simulate_pair(pair.settings.model_copy(update={"seed": 12}))
    assert not np.array_equal(other.raw, pair.raw)


def test_light_of_a_lone_star_is_its_flux():
    settings = PairSettings.of_size(
        192, 256, stars=0, galaxies=0, transients=1, hosted=0.0, saturated=0, cosmic_rays=0
    )
    pair = simulate_pair(settings)
    flux = pair.transients.flux[0]
    assert pair.new.light.sum(dtype=float) == pytest.approx(flux, rel=5e-4)
    rows, columns = np.indices(settings.shape)
    for grid, truth in ((columns, pair.transients.x[0]), (rows, pair.transients.y[0])):
        centre = (pair.new.light * grid).sum(dtype=float) / pair.new.light.sum(dtype=float)
        assert centre == pytest.approx(truth, abs=0.05)
    assert not pair.reference.light.any()


def test_light_of_a_galaxy_follows_its_profile():
    settings = PairSettings.of_size(
        256,
        256,
        seed=3,
        stars=0,
        galaxies=1,
        transients=0,
        saturated=0,
        galaxy_radius=(8.0, 8.0),
        galaxy_index=(1.0, 1.0),
    )
    pair = simulate_pair(settings)
    truth = pair.galaxies  # the first is in the image; those of the rim follow
    dx, dy = pair.sky.x - truth.x[0], pair.sky.y - truth.y[0]
    c, s = np.cos(truth.angle[0]), np.sin(truth.angle[0])
    r = np.hypot(c * dx + s * dy, (c * dy - s * dx) / truth.axis_ratio[0])
    assert pair.sky.flux[r < 34].sum() == pytest.approx(truth.flux[0], rel=1e-6)

    def exponential(radius):
        t = 1.6783 * radius / 8.0
        return 1 - (1 + t) * np.exp(-t)

    step = 0.4 * 3.3  # of the rings; compared at an edge between two of them
    edges = (np.array([1, 3, 6, 12]) + 0.5) * step
    within = [pair.sky.flux[r < edge].sum() for edge in edges] / truth.flux[0]
    outermost = exponential((25 - 0.5) * step)
    assert np.abs(within - exponential(edges) / outermost).max() < 1e-4


def test_noise_is_what_the_variance_says(pair):
    good = (pair.new.flags == 0) & (pair.charge == 0)
    pull = (pair.without_cosmic_rays - pair.new.light - pair.new.sky) / np.sqrt(pair.new.variance)
    # 190,000 pixels: the width is known to 0.2 %.
    assert pull[good].mean() == pytest.approx(0, abs=0.01)
    assert pull[good].std() == pytest.approx(1, abs=0.008)
    old = pair.reference
    pull = (old.pixels - old.light - old.sky) / np.sqrt(old.variance)
    assert pull[old.flags == 0].mean() == pytest.approx(0, abs=0.01)
    assert pull[old.flags == 0].std() == pytest.approx(1, abs=0.008)
    sky = (np.median(old.variance), np.median(pair.new.variance))
    assert sky[0] == pytest.approx((2000 + 49) / 4, rel=0.03)
    assert sky[1] == pytest.approx(2000 + 49 + 16 / 12, rel=0.05)


def test_raw_is_calibrated_to_the_new_image(pair):
    by_hand = (pair.raw - pair.bias.astype(float)) * pair.settings.gain / pair.flat
    assert np.allclose(by_hand, pair.new.pixels, rtol=1e-5, atol=0.02)
    assert pair.raw.dtype == np.uint16
    assert np.median(pair.flat) == pytest.approx(1, abs=1e-3)


def test_cosmic_rays_are_in_the_new_image_only(pair):
    hit = pair.charge > 5 * np.sqrt(pair.new.variance)
    _, hits = label(hit, np.ones((3, 3)))
    assert 40 <= hits <= 75
    excess = pair.new.pixels - pair.new.light - pair.new.sky
    assert np.median(excess[hit] / pair.charge[hit]) == pytest.approx(1, abs=0.02)
    bare = simulate_pair(pair.settings.model_copy(update={"cosmic_rays": 0}))
    assert np.array_equal(bare.reference.pixels, pair.reference.pixels)
    assert not bare.charge.any()
    # The same noise beneath, but for the converter's rounding.
    quiet = pair.new.flags == 0
    assert np.abs(bare.new.pixels - pair.without_cosmic_rays)[quiet].max() < 1.2 * 4.0


def test_places_agree_through_the_projections(pair):
    new, old = pair.new.projection, pair.reference.projection
    for table in (pair.stars, pair.galaxies, pair.transients):
        for projection, x, y in (
            (new, table.x, table.y),
            (old, table.x_reference, table.y_reference),
        ):
            back = projection.sky_to_pixel(table.ra, table.dec)
            assert np.abs(np.subtract(back, (x, y))).max() < 1e-6
    rows, columns = slice(10, 380, 37), slice(3, 500, 41)
    y, x = np.mgrid[rows, columns]
    exact = old.sky_to_pixel(*new.pixel_to_sky(x, y))
    assert np.abs(np.subtract(exact, pair.coordinates(rows, columns))).max() < 1e-7


@pytest.mark.parametrize("shape", [(2048, 4096), (512, 512)])
def test_geometry_is_that_of_the_settings(shape):
    settings = PairSettings(rows=shape[0], columns=shape[1])
    new, old = pair_projections(settings)
    ny, nx = shape
    corners = np.array([[0, nx - 1, 0, nx - 1], [0, 0, ny - 1, ny - 1]], float)
    straight = type(new)(new.crval, new.crpix, new.cd)
    moved = np.hypot(*np.subtract(straight.sky_to_pixel(*new.pixel_to_sky(*corners)), corners))
    assert moved.max() == pytest.approx(5.0, abs=0.01)
    middle = old.sky_to_pixel(*new.pixel_to_sky((nx - 1) / 2 + 2.4, (ny - 1) / 2 - 3.6))
    assert np.abs(np.subtract(middle, old.crpix)).max() < 1e-6
    turned = (old.rotation - new.rotation + 180) % 360 - 180
    assert abs(turned) == pytest.approx(0.05, abs=1e-6)


def test_header_is_off_by_eight_arcseconds(pair):
    assert pair.header.order == 1
    x, y = pair.new.projection.crpix
    true = pair.new.projection.pixel_to_sky(x, y)
    off = 3600 * angular_separation(*true, *pair.header.pixel_to_sky(x, y))
    assert off == pytest.approx(8.0, abs=1e-3)


def test_catalogue_has_the_brightest_stars_and_honest_errors():
    pair = simulate_pair(PairSettings.of_size(256, 512, stars=4000, transients=0, galaxies=0))
    stars, found = pair.stars, pair.catalog
    bright = stars.mag < 21.0
    assert len(found) == bright.sum() > 700
    east = (found.ra - stars.ra[bright]) * np.cos(np.radians(found.dec))
    pulls = 3600 * np.concatenate([east, found.dec - stars.dec[bright]])
    pulls /= np.tile(found.position_err, 2)
    assert pulls.std() == pytest.approx(1, abs=0.1)
    assert 0.5e-3 < found.position_err.max() <= 1e-3


@pytest.mark.parametrize("fwhm", [2.5, 4.0])
def test_psf_against_fine_sampling(fwhm):
    settings = PairSettings(rows=512, columns=512, fwhm=fwhm)
    psf, (x, y), fine, half = PsfField.draw(settings, 0), (130.37, 300.81), 25, 9
    stamp = psf.at(x, y, radius=half)
    xx, xy, yy = psf.matrices(np.array([x]), np.array([y]))[0]
    step = (np.arange(fine * (2 * half + 1)) + 0.5) / fine - 0.5 - half
    u, v = np.meshgrid(np.rint(x) + step - x, np.rint(y) + step - y)
    profile = (1 + xx * u**2 + 2 * xy * u * v + yy * v**2) ** -psf.beta
    profile *= (psf.beta - 1) / np.pi * np.sqrt(xx * yy - xy**2)
    expected = profile.reshape(2 * half + 1, fine, 2 * half + 1, fine).mean(axis=(1, 3))
    assert np.linalg.norm(stamp.psf - expected) < 1e-3 * np.linalg.norm(expected)
    assert stamp.rows == slice(301 - half, 301 + half + 1)
    assert psf.at(x, y, radius=60).psf.sum() == pytest.approx(1, abs=3e-4)


def test_psf_varies_as_much_as_it_should():
    psf = PsfField.draw(PairSettings(), 1)
    x, y = (g.ravel() for g in np.meshgrid(np.linspace(0, 4095, 60), np.linspace(0, 2047, 60)))
    widths = psf.widths(x, y) / 3.3
    assert 1.038 < widths.max() <= 1.0401
    assert 0.9599 <= widths.min() < 0.962
    matrix = psf.matrices(x, y)
    shape = np.array([[matrix[:, 0], matrix[:, 1]], [matrix[:, 1], matrix[:, 2]]])
    long, short = 1 / np.sqrt(np.linalg.eigvalsh(np.moveaxis(shape, -1, 0))).T
    assert 0.028 < (1 - short / long).max() <= 0.0301


def test_stars_in_the_image_have_its_psf(pair):
    star = pair.stars
    inside = (star.x > 40) & (star.x < 470) & (star.y > 40) & (star.y < 340) & ~star.saturated
    misfit = []
    for k in np.flatnonzero(inside)[:15]:
        stamp = pair.new.psf.at(star.x[k], star.y[k], radius=1)
        seen = pair.new.light[stamp.where]
        misfit.append(np.abs(seen / (star.flux[k] * stamp.psf) - 1).max())
    # Neighbours add their light to some.
    assert np.median(misfit) < 2e-3


def test_reference_on_the_new_grid_is_exact_where_the_grids_agree():
    alike = {"dither": (2.0, -3.0), "rotation": 0.0, "distortion": 0.0, "reference_distortion": 0.0}
    pair = simulate_pair(PairSettings.of_size(192, 256, seed=5, transients=0, **alike))
    moved = pair.reference_on_new()
    inner, source = np.s_[40:-40, 40:-40], np.s_[43:-37, 38:-42]
    # A whole number of pixels, but for the turn of the sky between two tangent points.
    assert np.abs(moved[inner] - pair.reference.light[source]).max() < 2e-3 * moved.max()
    part = pair.reference_on_new(slice(50, 120), slice(30, 200))
    assert np.allclose(part, moved[50:120, 30:200], rtol=1e-6, atol=1e-4)


def test_reference_on_the_new_grid_conserves_light():
    alone = {"stars": 0, "galaxies": 0, "transients": 0, "saturated": 1, "cosmic_rays": 0}
    settings = PairSettings.of_size(
        384, 384, seed=5, distortion=8.0, reference_distortion=0.0, **alone
    )
    pair = simulate_pair(settings)
    assert 80 < pair.stars.x[0] < 304
    assert 80 < pair.stars.y[0] < 304
    light = pair.reference_on_new().sum(dtype=float)
    assert light == pytest.approx(pair.reference.light.sum(dtype=float), rel=2e-5)
    assert light == pytest.approx(pair.stars.flux[0], rel=5e-4)


def test_saturated_stars_are_clipped_and_flagged(pair):
    bits = int(Flag.SATURATED)
    count = label(pair.new.flags & bits, np.ones((3, 3)))[1]
    assert 1 <= count <= 2
    held = pair.settings.saturation / pair.flat
    assert np.all(pair.new.pixels[pair.new.flags > 0] < 1.01 * held[pair.new.flags > 0])
    bright = pair.new.light + pair.new.sky
    assert np.all(pair.new.flags[bright * pair.flat > 1.01 * pair.settings.saturation] == bits)


def test_significance_is_that_of_a_matched_filter(pair):
    """Measure the transients on many exposures with a perfect template."""
    truth, random = pair.transients, np.random.default_rng(5)
    pulls, errors = [], []
    for k in range(len(truth)):
        stamp = pair.new.psf.at(truth.x[k], truth.y[k])
        own = truth.flux[k] * stamp.psf
        variance = pair.new.variance[stamp.where].astype(float)
        # Best weights and significance know nothing of the transient; the noise does.
        quiet = variance - own / pair.flat[stamp.where]
        weight = stamp.psf / quiet
        noise = random.standard_normal((500, *own.shape)) * np.sqrt(variance)
        flux = ((own + noise) * weight).sum((1, 2)) / (stamp.psf * weight).sum()
        best = 1 / np.sqrt((stamp.psf * weight).sum())
        pulls.append(truth.flux[k] / best / truth.snr_perfect[k])
        errors.append(np.std(flux) / best)
        assert flux.mean() == pytest.approx(truth.flux[k], abs=5 * best / np.sqrt(500) * 1.2)
    assert np.abs(np.array(pulls) - 1).max() < 0.05
    assert np.min(errors) > 0.9


def test_best_error_of_a_difference_by_experiment():
    """No scene model: with known PSFs, the proper difference's filter has this scatter."""
    settings, size = PairSettings(rows=128, columns=128), 64
    half = size // 2
    psfs = [PsfField.draw(settings, k).centred(64, 64, half)[:-1, :-1] for k in (0, 1)]
    spread = (2000.0, 900.0)
    expected = flux_sigma(psfs[0], psfs[1], *(np.full((size, size), v) for v in spread))
    random = np.random.default_rng(8)
    fn, fr = (np.fft.rfft2(np.fft.ifftshift(psf)) for psf in psfs)
    scene = np.fft.rfft2(random.uniform(0, 500, (size, size)))
    found = []
    for _ in range(400):
        new, old = (
            np.fft.rfft2(random.standard_normal((size, size)) * np.sqrt(v)) + f * scene
            for v, f in zip(spread, (fn, fr), strict=True)
        )
        noise = spread[0] * np.abs(fr) ** 2 + spread[1] * np.abs(fn) ** 2
        score = np.fft.irfft2((fr * new - fn * old) * np.conj(fn * fr) / noise, s=(size, size))
        gain = np.fft.irfft2(np.abs(fn * fr) ** 2 / noise, s=(size, size))[0, 0]
        found.append(score[0, 0] / gain)
    assert np.std(found) == pytest.approx(expected, rel=0.12)
    without = flux_sigma(psfs[0], psfs[1], np.full((size, size), spread[0]), None)
    assert without < expected
    assert without == pytest.approx(np.sqrt(spread[0] / (psfs[0] ** 2).sum()), rel=1e-6)


def test_transients_follow_the_settings():
    settings = PairSettings.of_size(512, 640, seed=2, transients=40, galaxies=60)
    truth = simulate_pair(settings).transients
    assert len(truth) == 40
    assert (truth.host >= 0).sum() == 20
    assert truth.snr.min() >= 5
    assert truth.snr.max() <= 50
    assert 10 < np.median(truth.snr) < 25
    assert np.all(truth.snr_perfect > truth.snr)
    apart = np.hypot(truth.x[:, None] - truth.x, truth.y[:, None] - truth.y)
    assert apart[np.triu_indices(40, 1)].min() >= 30


def test_too_many_transients_are_refused():
    with pytest.raises(BadSettings) as refused:
        simulate_pair(PairSettings.of_size(128, 128, transients=100, stars=0, galaxies=0))
    assert refused.value.field == "transients"


@pytest.mark.parametrize(
    "wrong", [{"transient_snr": (50, 5)}, {"saturation": 400_000.0}, {"star": 5}, {"rows": 10}]
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(BadSettings):
        PairSettings(**wrong)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", [1, 2])
def test_whole_pair_holds_what_it_should(seed):
    pair = simulate_pair(PairSettings(seed=seed))
    stars, sigma = pair.stars, np.sqrt(pair.new.variance)
    inside = (stars.x > -0.5) & (stars.x < 4095.5) & (stars.y > -0.5) & (stars.y < 2047.5)
    assert inside.sum() == 4012
    assert label(pair.new.flags > 0, np.ones((3, 3)))[1] in (11, 12)
    assert len(pair.transients) == 60
    assert (pair.transients.host >= 0).sum() == 30
    assert label(pair.charge > 2 * sigma, np.ones((3, 3)))[1] == pytest.approx(1500, abs=40)
    assert 850 < len(pair.catalog) < 1100
    x, y = np.random.default_rng(seed).integers(0, [[4096], [2048]], (2, 100))
    exact = pair.reference.projection.sky_to_pixel(*pair.new.projection.pixel_to_sky(x, y))
    drawn = pair.coordinates(slice(None), slice(None))
    assert max(np.abs(d[y, x] - e).max() for d, e in zip(drawn, exact, strict=True)) < 1e-7
