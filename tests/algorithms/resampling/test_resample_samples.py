"""Stars of real cameras keep their light when their image is turned and shifted."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from firstlight.algorithms.background import estimate_background
from firstlight.algorithms.resampling.coordinate_map import sample_map
from firstlight.algorithms.resampling.resample import resample
from firstlight.algorithms.sources.aperture import aperture_fluxes
from firstlight.algorithms.sources.detect import find_sources

TURN, SHIFT = 0.003, (0.37, -0.41)


@pytest.mark.sample
@pytest.mark.parametrize(
    ("pattern", "number", "gain"),
    [
        ("hatp32_microobs/*.FITS", 0, 20.0),
        ("hatp32_microobs/*.FITS", 40, 20.0),
        ("properimage_eso085/*.fit", 0, 1.5),
    ],
)
def test_light_of_real_stars_is_kept(samples, pattern, number, gain):
    """Full widths of 2.4 and 2.7 pixels: hardly sampled, with hot pixels among the stars."""
    data = fits.getdata(sorted(samples.glob(pattern))[number]).astype(np.float32)
    sky = estimate_background(data)
    light = gain * (data - sky.level)
    noise = np.float32(np.median((gain * sky.rms) ** 2))
    variance = noise + np.maximum(light, np.float32(0))
    ny, nx = data.shape
    c, s = np.cos(TURN), np.sin(TURN)

    def positions(x, y):
        u, v = x - nx / 2, y - ny / 2
        return nx / 2 + c * u - s * v + SHIFT[0], ny / 2 + s * u + c * v + SHIFT[1]

    found = resample(light, variance, None, sample_map(positions, data.shape))
    stars = find_sources(light, variance).sources
    x, y = stars.x_win, stars.y_win
    u, v = x - SHIFT[0] - nx / 2, y - SHIFT[1] - ny / 2
    there = nx / 2 + c * u + s * v, ny / 2 - s * u + c * v
    before = aperture_fluxes(light, x, y, [6.0], variance=variance)
    after = aperture_fluxes(found.pixels, *there, [6.0], variance=found.variance)
    inner = (x > 30) & (x < nx - 30) & (y > 30) & (y < ny - 30)
    bright = inner & (before.flux[:, 0] > 30 * before.error[:, 0])
    assert bright.sum() > 50
    ratio = after.flux[bright, 0] / before.flux[bright, 0]
    assert np.median(ratio) == pytest.approx(1.0, abs=5e-4)
    assert np.median(np.abs(ratio - 1.0)) < 2e-3
    errors = after.error[bright, 0] / before.error[bright, 0]
    assert np.median(errors) == pytest.approx(1.0, abs=2e-3)
