import numpy as np
import pytest
from injected_sky import make_sky

from firstlight.algorithms.background import estimate_background
from firstlight.algorithms.detector.noise import image_depth, limiting_magnitude, photon_transfer
from firstlight.algorithms.sources.detect import find_sources
from firstlight.errors import InvalidInput


def test_empty_circles_scatter_as_the_variance_says():
    sky = make_sky(1, shape=(900, 900), stars=100, snr=(10, 100))
    image = sky.data - estimate_background(sky.data).level
    found = find_sources(image, sky.variance)
    depth = image_depth(image, sky.variance, 4.0, occupied=found.footprints > 0, apertures=3000)
    assert depth.apertures > 1500
    # Pixels on the rim count in part, and so with less than their variance.
    assert depth.expected == pytest.approx(np.sqrt(np.pi * 16 * 425), rel=0.06)
    assert depth.measured == pytest.approx(depth.expected, rel=0.06)


def test_correlated_noise_shows():
    noise = np.random.default_rng(2).normal(0, 1, (600, 600))
    noise = sum(np.roll(noise, s, (0, 1)) for s in ((0, 0), (0, 1), (1, 0), (1, 1))) / 2
    depth = image_depth(noise.astype(np.float32), np.ones((600, 600), np.float32), 5.0)
    assert depth.measured > 1.6 * depth.expected


def test_a_full_image_has_no_depth():
    data = np.zeros((50, 50), np.float32)
    depth = image_depth(data, data + 1, 3.0, occupied=np.ones((50, 50), dtype=bool))
    assert np.isnan(depth.measured)
    assert depth.apertures == 0


def test_limiting_magnitude():
    assert limiting_magnitude(100.0, 25.0) == pytest.approx(25 - 2.5 * np.log10(500))
    assert limiting_magnitude(100.0, 25.0, held=0.5) < limiting_magnitude(100.0, 25.0)
    assert np.isnan(limiting_magnitude(float("nan"), 25.0))


@pytest.mark.parametrize(("gain", "read_noise"), [(0.5, 4.0), (1.6, 9.0), (4.0, 6.0)])
def test_photon_transfer_recovers_gain_and_read_noise(gain, read_noise):
    rng = np.random.default_rng(3)
    y, x = np.indices((512, 512))
    vignetting = 1 - 0.4 * ((x - 256) ** 2 + (y - 256) ** 2) / 256**2 / 2

    def frame(level):
        electrons = rng.poisson(level * gain * vignetting) + rng.normal(0, read_noise, x.shape)
        return np.rint(electrons / gain + 1000).clip(0, 65535).astype(np.uint16)

    flats, biases = (frame(20000), frame(17000)), (frame(0), frame(0))
    flats[0][100, 100] = 65535
    found = photon_transfer(flats, biases)
    assert found.gain == pytest.approx(gain, rel=0.02)
    assert abs(found.gain - gain) < 4 * found.gain_error
    assert found.read_noise == pytest.approx(np.hypot(read_noise, gain / np.sqrt(12)), rel=0.03)


def test_photon_transfer_needs_light():
    frames = tuple(np.random.default_rng(4).normal(1000, 3, (2, 64, 64)))
    with pytest.raises(InvalidInput):
        photon_transfer(frames, (frames[0] + 10, frames[1] + 10))
