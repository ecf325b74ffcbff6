import numpy as np
import pytest
from injected_sky import make_sky

from firstlight.algorithms.detector.colour_mosaic import (
    colour_of_pixels,
    green_interpolated,
    luminance,
)
from firstlight.algorithms.sources.aperture import aperture_fluxes
from firstlight.errors import InvalidInput


def mosaic_of(sky, weights, pattern="RGGB", seed=0):
    """A scene in which every source has the same colour, and the sky another one."""
    colours = colour_of_pixels(sky.truth.shape, pattern)
    stars, level = np.zeros_like(sky.truth), np.zeros_like(sky.truth)
    for letter, (star, ground) in weights.items():
        stars[colours == letter], level[colours == letter] = star, ground
    truth = (sky.truth - 400) * stars + level
    return np.random.default_rng(seed).poisson(truth).astype(np.float32), truth


def test_patterns_name_their_pixels():
    assert colour_of_pixels((2, 3), "rggb").tolist() == [["R", "G", "R"], ["G", "B", "G"]]
    assert colour_of_pixels((2, 2), "GBRG").tolist() == [["G", "B"], ["R", "G"]]
    with pytest.raises(InvalidInput, match="RGGB"):
        colour_of_pixels((2, 2), "RGB")


@pytest.mark.parametrize("pattern", ["RGGB", "BGGR", "GRBG", "GBRG"])
def test_flat_colours_leave_no_checkerboard(pattern):
    colours = colour_of_pixels((20, 30), pattern)
    mosaic = np.select([colours == "R", colours == "G"], [100.0, 200.0], 400.0)
    light = luminance(mosaic, mosaic)
    np.testing.assert_allclose(light.data, 0.25 * 100 + 0.5 * 200 + 0.25 * 400, rtol=1e-5)
    green = green_interpolated(mosaic, mosaic, pattern)
    np.testing.assert_allclose(green.data, 200, rtol=1e-5)


def test_star_fluxes_do_not_depend_on_where_they_fall():
    weights = {"R": (2.0, 300.0), "G": (1.0, 500.0), "B": (0.3, 200.0)}
    sky = make_sky(1, stars=150, fwhm=2.5, snr=(300, 600))
    _, truth = mosaic_of(sky, weights)
    inside = (sky.x > 20) & (sky.x < 580) & (sky.y > 20) & (sky.y < 580)
    x, y, flux = sky.x[inside], sky.y[inside], sky.flux[inside]
    light = luminance(truth - 375, truth)
    base = luminance(np.select(
        [colour_of_pixels(truth.shape, "RGGB") == c for c in "RGB"],
        [weights[c][1] for c in "RGB"],
    ) - 375.0, truth).data  # fmt: skip
    ratio = aperture_fluxes(light.data - base, x, y, 7.0).flux[:, 0] / flux
    mean = 0.25 * 2.0 + 0.5 * 1.0 + 0.25 * 0.3
    assert ratio.mean() == pytest.approx(mean, rel=0.002)
    assert ratio.std() < 0.01 * mean
    green = green_interpolated(truth, truth, "RGGB")
    ratio = aperture_fluxes(green.data - 500, x, y, 7.0).flux[:, 0] / flux
    assert ratio.mean() == pytest.approx(1.0, rel=0.002)
    assert ratio.std() < 0.01


def test_variance_and_its_correlation_are_stated_honestly():
    rng = np.random.default_rng(2)
    noise = rng.normal(0, 10, (600, 600))
    variance = np.full(noise.shape, 100.0)
    for image in (luminance(noise, variance), green_interpolated(noise, variance, "RGGB")):
        pull = image.data / np.sqrt(image.variance)
        assert pull[5:-5, 5:-5].std() == pytest.approx(1.0, abs=0.01)
        blocks = image.data.reshape(20, 30, 20, 30).sum((1, 3))
        expected = image.variance.reshape(20, 30, 20, 30).sum((1, 3)) * image.correlation
        assert (blocks / np.sqrt(expected)).std() == pytest.approx(1.0, abs=0.12)


@pytest.mark.sample
def test_real_colour_frame_has_no_checkerboard_left(samples):
    from astropy.io import fits  # noqa: PLC0415 # only this test reads files

    raw = np.asarray(fits.getdata(samples / "panoptes" / "unsolved.fits"), dtype=np.float32) - 2048
    light = luminance(raw, np.maximum(raw, 1))

    def parity_spread(image):
        medians = [np.median(image[j::2, i::2]) for j in (0, 1) for i in (0, 1)]
        return max(medians) - min(medians)

    assert parity_spread(light.data) < 0.05 * parity_spread(raw)
