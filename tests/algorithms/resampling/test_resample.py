"""Numbers against scenes that are known at every place, not on pixels only."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erf

from firstlight.algorithms.flags import UNUSABLE, Flag
from firstlight.algorithms.resampling.coordinate_map import coordinate_map, sample_map
from firstlight.algorithms.resampling.resample import REACH, resample, resample_psf
from firstlight.algorithms.sky.projection import Projection
from firstlight.errors import InvalidInput
from firstlight.simulation.transient_pair import PairSettings, simulate_pair

MIDDLE = 48.0


def turned(shift=(0.37, 0.45), angle=0.02, scale=1.0, middle=MIDDLE):
    """Positions turned about the middle of a frame, shifted, and changed in scale."""
    c, s = scale * np.cos(angle), scale * np.sin(angle)

    def positions(x, y):
        u, v = x - middle, y - middle
        return middle + c * u - s * v + shift[0], middle + s * u + c * v + shift[1]

    return positions


def star(x, y, centre, fwhm, beta=3.5):
    """Moffat star of total one, seen by the pixels of the source, at any place."""
    alpha = fwhm / 2 / np.sqrt(2 ** (1 / beta) - 1)
    total = 0.0
    for dx in (np.arange(4) - 1.5) / 4:
        for dy in (np.arange(4) - 1.5) / 4:
            r2 = (x + dx - centre[0]) ** 2 + (y + dy - centre[1]) ** 2
            total = total + (1 + r2 / alpha**2) ** -beta
    return total * (beta - 1) / np.pi / alpha**2 / 16


def gaussian(x, y, centre, sigma):
    """The same of a Gaussian star, exactly integrated over the source's pixels."""

    def share(d):
        root = sigma * np.sqrt(2)
        return 0.5 * (erf((d + 0.5) / root) - erf((d - 0.5) / root))

    return share(x - centre[0]) * share(y - centre[1])


def grid(shape):
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float64)
    return x, y


def plain(image, net, **more):
    """Resample an image of variance one."""
    image = np.asarray(image, np.float32)
    return resample(image, np.ones_like(image), None, net, **more)


@pytest.mark.parametrize(
    ("fwhm", "share"), [(2.5, 0.014), (3.3, 0.0026), (4.0, 0.0006), (6.0, 0.00005)]
)
def test_stars_keep_their_shape(fwhm, share):
    shape = (96, 96)
    positions = turned()
    net = sample_map(positions, shape)
    x, y = grid(shape)
    source = 1e5 * star(x, y, (47.7, 48.2), fwhm)
    expected = 1e5 * star(*positions(x, y), (47.7, 48.2), fwhm)
    found = plain(source, net).pixels
    inner = np.s_[10:-10, 10:-10]
    assert np.abs(found - expected)[inner].max() < share * expected.max()


@pytest.mark.parametrize("turn", [0, 1, 2, 3])
@pytest.mark.parametrize("mirror", [False, True])
def test_any_orientation(turn, mirror):
    """Frames may be turned by quarters and mirrored; the star must be where the map says."""
    shape, size = (70, 90), (80, 60)
    quarter = np.linalg.matrix_power(np.array([[0, -1], [1, 0]]), turn)
    matrix = quarter @ (np.diag([-1, 1]) if mirror else np.eye(2))
    slight = np.array([[np.cos(0.01), -np.sin(0.01)], [np.sin(0.01), np.cos(0.01)]])
    matrix = slight @ matrix

    def positions(x, y):
        u, v = x - 30.0, y - 40.0
        return (
            44.3 + matrix[0, 0] * u + matrix[0, 1] * v,
            34.6 + matrix[1, 0] * u + matrix[1, 1] * v,
        )

    x, y = grid(shape)
    source = gaussian(x, y, (40.0, 30.0), 2.0) + 0.7 * gaussian(x, y, (52.0, 41.0), 2.5)
    flags = np.zeros(shape, np.uint16)
    flags[30, 40] = int(Flag.NONLINEAR)
    variance = (1 + 1e-3 * x + 2e-3 * y).astype(np.float32)
    found = resample(source.astype(np.float32), variance, flags, sample_map(positions, size))
    xs, ys = positions(*grid(size))
    expected = gaussian(xs, ys, (40.0, 30.0), 2.0) + 0.7 * gaussian(xs, ys, (52.0, 41.0), 2.5)
    seen = (found.flags & int(Flag.NO_DATA | Flag.EDGE)) == 0
    np.testing.assert_allclose(found.pixels[seen], expected[seen], atol=2e-5)
    np.testing.assert_allclose(found.variance[seen], (1 + 1e-3 * xs + 2e-3 * ys)[seen], rtol=1e-4)
    marked = (found.flags & int(Flag.NONLINEAR)) != 0
    np.testing.assert_array_equal(marked, np.maximum(abs(xs - 40), abs(ys - 30)) < REACH)


@settings(deadline=None, max_examples=25)
@given(st.floats(-20, 20), st.floats(-20, 20), st.floats(-3.2, 3.2), st.floats(0.7, 1.4))
def test_a_whole_pixel_asked_for_is_given_back(dx, dy, angle, scale):
    """The spline passes through the pixels, whatever the map does between them."""
    rng = np.random.default_rng(4)
    image = rng.normal(size=(64, 64)).astype(np.float32)
    positions = turned((round(dx), round(dy)), angle, scale, middle=32.0)
    net = sample_map(positions, (65, 65))
    place = positions(32.0, 32.0)
    found = plain(image, net)
    i, j = round(place[0]), round(place[1])
    np.testing.assert_allclose(found.pixels[32, 32], image[j, i] * scale**2, atol=2e-4)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_flux_is_kept(seed):
    """Light of isolated stars over random places, turn, scale and distortion: to 1e-4."""
    rng = np.random.default_rng(seed)
    shape = (400, 400)
    bend = rng.uniform(-2e-7, 2e-7, 2)

    def positions(x, y):
        xs, ys = turned(rng_shift, rng_turn, rng_scale, middle=200.0)(x, y)
        u, v = x - 200.0, y - 200.0
        return xs + bend[0] * u * (u * u + v * v), ys + bend[1] * v * (u * u + v * v)

    rng_shift, rng_turn = rng.uniform(-1, 1, 2), rng.uniform(-0.01, 0.01)
    rng_scale = rng.uniform(0.97, 1.03)
    x, y = grid(shape)
    places = np.stack(np.meshgrid(np.arange(30, 371, 34), np.arange(30, 371, 34)), -1)
    places = places.reshape(-1, 2) + rng.uniform(-0.5, 0.5, (121, 2))
    source = np.zeros(shape)
    for place in places:
        i, j = np.rint(place).astype(int)
        box = np.s_[j - 15 : j + 16, i - 15 : i + 16]
        source[box] += gaussian(x[box], y[box], place, 1.45)
    found = plain(source, sample_map(positions, shape)).pixels
    xs, ys = positions(x, y)
    for place in places:
        near = (np.abs(xs - place[0]) < 17) & (np.abs(ys - place[1]) < 17)
        assert found[near].sum() == pytest.approx(1.0, abs=1e-4)


def masked_scenes():
    """Name, full width of stars, their flux, hidden pixels and what is read in them."""
    x, y = grid((96, 96))
    far = np.hypot(x - 51, y - 48) < 1.6
    line = (np.abs(y - 50) < 1) & (np.abs(x - 50) < 9)
    for fwhm in (2.5, 3.3, 4.0, 6.0):
        for peak in (1.2, 10.0, 100.0):
            yield f"core {fwhm} {peak}", fwhm, 4e5 * peak * fwhm**2, None, 0.0
        yield f"hit {fwhm}", fwhm, 1e5, far, 5e3
        yield f"trail {fwhm}", fwhm, 1e5, line, 1e4
        yield f"missing column {fwhm}", fwhm, 1e5, np.abs(x - 49) < 1, np.nan
        yield f"missing half {fwhm}", fwhm, 1e5, x < 46, np.nan


@pytest.mark.parametrize("noisy", [False, True])
def test_nothing_rings_at_hidden_pixels(noisy):
    """Unmarked pixels are as if nothing had been hidden, to 0.3 sigma."""
    rng = np.random.default_rng(5)
    x, y = grid((96, 96))
    net = sample_map(turned(), (96, 96))
    for name, fwhm, flux, hidden, value in masked_scenes():
        light = flux * star(x, y, (48.3, 47.8), fwhm)
        variance = (light + 2049.0).astype(np.float32)
        if noisy:
            light = light + rng.normal(size=light.shape) * np.sqrt(variance)
        closed = light > 2e5 if hidden is None else hidden
        flags = np.where(closed, np.uint16(int(Flag.SATURATED)), np.uint16(0))
        bad = np.where(closed, np.minimum(light, 2e5) + value, light).astype(np.float32)
        found = resample(bad, variance, flags, net)
        exact = resample(light.astype(np.float32), variance, None, net)
        off = np.abs(found.pixels - exact.pixels) / np.sqrt(found.variance)
        clean = (found.flags & int(UNUSABLE)) == 0
        assert off[clean].max() < 0.3, name
        assert np.isfinite(found.pixels).all(), name
        assert (~clean).sum() < closed.sum() + 14 * np.sqrt(closed.sum()) + 1500, name


def test_marks_stay_near_faint_hits():
    """On empty sky a hit costs the pixels within the reach, and no more."""
    flags = np.zeros((60, 60), np.uint16)
    flags[30, 20:24] = int(Flag.COSMIC_RAY)
    image = np.random.default_rng(6).normal(size=(60, 60)).astype(np.float32)
    image[30, 20:24] = 1e5
    positions = turned(angle=0.0)
    found = resample(image, np.ones_like(image), flags, sample_map(positions, (60, 60)))
    xs, ys = positions(*grid((60, 60)))
    near = np.maximum(np.maximum(20 - xs, xs - 23), np.abs(ys - 30)) < REACH
    expected = int(Flag.COSMIC_RAY | Flag.INTERPOLATED)
    np.testing.assert_array_equal(found.flags & expected, np.where(near, expected, 0))
    assert np.abs(found.pixels).max() < 6


def test_outside_the_source_there_is_nothing():
    image = np.full((40, 50), 7.0, np.float32)
    net = sample_map(lambda x, y: (x - 10.3, y - 5.2), (60, 80))
    found = plain(image, net)
    xs, ys = net.at(*grid((60, 80)))
    inside = (xs >= -0.5) & (xs <= 49.5) & (ys >= -0.5) & (ys <= 39.5)
    lost = (found.flags & int(Flag.NO_DATA)) != 0
    np.testing.assert_array_equal(lost, ~inside)
    assert (found.pixels[lost] == 0).all()
    assert np.isinf(found.variance[lost]).all()
    assert np.isfinite(found.variance[inside]).all()
    edge = inside & ((xs < 1) | (xs > 48) | (ys < 1) | (ys > 38))
    np.testing.assert_array_equal((found.flags & int(Flag.EDGE)) != 0, edge)
    np.testing.assert_allclose(found.pixels[inside], 7.0, rtol=1e-5)


def test_pixels_without_a_variance_have_none_after():
    variance = np.ones((40, 40), np.float32)
    variance[20, 20], variance[10, 10], variance[30, 12] = np.inf, 0.0, np.nan
    image = np.ones((40, 40), np.float32)
    net = sample_map(lambda x, y: (x + 0.5, y + 0.25), (40, 40))
    found = resample(image, variance, None, net)
    for j, i in ((20, 20), (10, 10), (30, 12)):
        assert np.isinf(found.variance[j - 1 : j + 1, i - 1 : i + 1]).all()
        assert found.flags[j, i] & int(Flag.NO_DATA)
    assert np.isinf(found.variance[:-1, :-1]).sum() == 12


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("scale", [0.8, 1.0, 1.25])
def test_variance_gives_fluxes_their_errors(seed, scale):
    """Noise of a weighted sum over a star, at all phases, is what the variance plane says."""
    rng = np.random.default_rng(seed)
    shape = (600, 600)
    image = (3.0 * rng.normal(size=shape)).astype(np.float32)
    size = int(600 / scale)
    positions = turned((0.0, 0.0), 0.013, scale, middle=299.5)
    net = sample_map(
        lambda x, y: positions(x + 299.5 - size / 2, y + 299.5 - size / 2), (size,) * 2
    )
    found = resample(image, np.full(shape, 9.0, np.float32), None, net)
    x, y = grid((23, 23))
    weight = gaussian(x, y, (11.0, 11.0), 2.0 / scale)
    boxes = np.lib.stride_tricks.sliding_window_view(found.pixels, (23, 23))[40:-40:16, 40:-40:16]
    noise = np.lib.stride_tricks.sliding_window_view(found.variance, (23, 23))[40:-40:16, 40:-40:16]
    pulls = np.einsum("abij,ij->ab", boxes, weight)
    pulls /= np.sqrt(np.einsum("abij,ij->ab", noise, weight**2))
    assert pulls.std() == pytest.approx(1.0, abs=4 / np.sqrt(2 * pulls.size))


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_simulated_references_are_carried_with_little_error(seed):
    """All that is bright to 0.3 sigma of the reference, everything to 0.018."""
    pair = simulate_pair(PairSettings.of_size(256, 512, seed=seed, saturated=0))
    reference = pair.reference
    net = coordinate_map(pair.new.projection, reference.projection, reference.pixels.shape)
    found = resample(reference.light, reference.variance, reference.flags, net)
    exact = pair.reference_on_new()
    clean = (found.flags & int(UNUSABLE | Flag.EDGE)) == 0
    off = (found.pixels - exact) / np.sqrt(found.variance)
    bright = clean & (exact > 5 * np.sqrt(np.median(reference.variance)))
    assert np.sqrt(np.mean(off[bright] ** 2)) < 0.3
    assert np.sqrt(np.mean(off[clean] ** 2)) < 0.018


def test_psf_goes_with_its_stars():
    positions = turned((0.3, -0.2), 0.4, 1.1)
    net = sample_map(positions, (96, 96))
    x, y = grid((96, 96))
    centre = positions(40.0, 52.0)
    stamp = gaussian(x, y, centre, 1.8)[30:75, 10:60]
    found = resample_psf(stamp, (10, 30), net, (40, 52), 9)
    xs, ys = positions(*(p + q for p, q in zip(grid((19, 19)), (31, 43), strict=True)))
    np.testing.assert_allclose(found, 1.1**2 * gaussian(xs, ys, centre, 1.8), atol=2e-5)
    assert found.sum() == pytest.approx(1.0, abs=1e-3)


def test_tiny_images():
    net = sample_map(lambda x, y: (x + 0.25, y), (3, 3))
    for shape in ((1, 1), (1, 7), (2, 2), (5, 1)):
        found = plain(np.full(shape, 2.0), net)
        seen = (found.flags & int(Flag.NO_DATA)) == 0
        np.testing.assert_allclose(found.pixels[seen], 2.0, rtol=1e-5)


def test_planes_must_fit():
    net = sample_map(lambda x, y: (x, y), (8, 8))
    image = np.ones((8, 8), np.float32)
    with pytest.raises(InvalidInput):
        resample(image, np.ones((8, 9), np.float32), None, net)
    with pytest.raises(InvalidInput):
        resample(image, image, np.zeros((7, 8), np.uint16), net)


def test_images_of_other_skies_do_not_meet():
    scale = np.array([[-1e-4, 0.0], [0.0, 1e-4]])
    source = Projection((10.0, 0.0), (30.0, 30.0), scale)
    target = Projection((200.0, 20.0), (30.0, 30.0), scale)
    found = plain(np.ones((60, 60)), coordinate_map(target, source, (50, 40)))
    assert (found.flags == int(Flag.NO_DATA)).all()
    assert (found.pixels == 0).all()
    assert np.isinf(found.variance).all()
