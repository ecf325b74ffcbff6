"""Trails of known course are found and masked; skies without one have none."""

import numpy as np
import pytest
from injected_sky import make_sky

from firstlight.algorithms.detector.trails import find_trails
from firstlight.errors import InvalidInput

SHAPE = (600, 600)


def with_trail(data, angle, distance, peak, sigma=1.8):
    y, x = np.indices(data.shape)
    off = np.abs(x * np.cos(angle) + y * np.sin(angle) - distance)
    return data + peak * np.exp(-(off**2) / (2 * sigma**2)), off


@pytest.fixture(scope="module")
def skies():
    return [make_sky(seed, stars=300, fwhm=4.0, snr=(5, 1000), sky=400.0) for seed in (41, 42, 43)]


def test_fields_of_stars_have_no_trails(skies):
    for sky in skies:
        mask, found = find_trails(sky.data - 400.0, sky.variance)
        assert not found
        assert not mask.any()


@pytest.mark.parametrize("sigmas", [1.0, 5.0, 200.0])
@pytest.mark.parametrize(
    ("angle", "distance"), [(0.0, 250.3), (0.7, 400.0), (np.pi / 2, 310.0), (2.3, -40.0)]
)
def test_faint_and_bright_trails_are_masked_whole(skies, angle, distance, sigmas):
    sky = skies[0]
    data, off = with_trail(sky.data - 400.0, angle, distance, sigmas * np.sqrt(425.0))
    mask, found = find_trails(data, sky.variance)
    assert len(found) == 1
    assert mask[off < 2.5].mean() > 0.98
    assert not mask[off > 14].any()
    inside = (off < 0.5).sum()
    assert mask.sum() < 25 * inside


def test_two_trails_and_hidden_pixels(skies):
    sky = skies[1]
    data, first = with_trail(sky.data - 400.0, 0.4, 350.0, 100.0)
    data, second = with_trail(data, 1.9, 200.0, 60.0)
    hidden = np.zeros(SHAPE, dtype=np.bool_)
    hidden[100:140] = True
    data[hidden] = np.nan
    mask, found = find_trails(data, sky.variance, hidden)
    assert len(found) == 2
    assert mask[first < 2.5].mean() > 0.95
    assert mask[second < 2.5].mean() > 0.95


def test_a_row_of_bright_stars_is_no_trail():
    sky = make_sky(44, stars=20)
    data = sky.data - 400.0
    for x in (60, 170, 290, 420, 540):
        data[300 - 6 : 300 + 7, x - 6 : x + 7] += 3e4
    assert not find_trails(data, sky.variance)[1]


def test_small_and_ill_fitting_images():
    mask, found = find_trails(np.zeros((50, 50)), np.ones((50, 50)))
    assert not found
    assert mask.shape == (50, 50)
    with pytest.raises(InvalidInput, match="hidden"):
        find_trails(np.zeros((50, 50)), np.ones((50, 50)), np.zeros((5, 5), dtype=np.bool_))


def test_a_step_between_amplifiers_is_no_trail():
    rng = np.random.default_rng(9)
    x = np.arange(512)
    # What is left of a step when the map of the sky, which smears it, was taken off.
    step = 0.6 * np.sign(x - 255.5) * np.exp(-np.abs(x - 255.5) / 50)
    data = rng.normal(size=(1024, 512)) + step
    variance = np.ones_like(data)
    found = find_trails(data, variance)[1]
    assert found  # taken for a trail where nothing is known of amplifiers
    mask, trails = find_trails(data, variance, seams=[(0.0, 255.5)])
    assert not trails
    assert not mask.any()
    turned = find_trails(data.T, variance.T, seams=[(np.pi / 2, 255.5)])[1]
    assert not turned
    y, x = np.indices(data.shape)
    across = np.abs(0.5 * x - y + 300) < 2.0
    data[across] += 2.0
    (trail,) = find_trails(data, variance, seams=[(0.0, 255.5)])[1]
    assert trail.significance > 12
