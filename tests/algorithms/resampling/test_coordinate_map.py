from __future__ import annotations

import numpy as np
import pytest

from firstlight.algorithms.resampling.coordinate_map import coordinate_map, sample_map
from firstlight.algorithms.sky.projection import Projection
from firstlight.errors import InvalidInput

SCALE = 0.25 / 3600


def distorted(centre, middle, turn=0.0, strength=5.0, size=1200.0):
    """A projection with a cubic distortion of `strength` pixels at `size` pixels."""
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    a = np.zeros((4, 4))
    a[3, 0] = a[1, 2] = strength / size**3
    a[2, 0] = 0.3 * strength / size**2
    return Projection(centre, middle, SCALE * np.array([[-c, s], [s, c]]), a, a.T.copy())


def test_map_agrees_with_both_projections_everywhere():
    source = distorted((150.0, 2.0), (500.0, 380.0))
    target = distorted((150.001, 1.999), (512.0, 390.0), turn=0.05, strength=3.0)
    net = coordinate_map(target, source, (700, 900))
    rng = np.random.default_rng(1)
    x, y = rng.uniform(-0.5, 899.5, 3000), rng.uniform(-0.5, 699.5, 3000)
    expected = source.sky_to_pixel(*target.pixel_to_sky(x, y))
    assert np.abs(np.array(net.at(x, y)) - expected).max() < 2e-4


def test_rough_functions_get_a_finer_net():
    def wavy(x, y):
        return x + 0.5 * np.sin(x / 40), y + 0.5 * np.cos(x / 50)

    net = sample_map(wavy, (300, 300))
    assert net.step < 64
    x = np.random.default_rng(2).uniform(0, 299, (2, 500))
    assert np.abs(np.array(net.at(*x)) - wavy(*x)).max() < 3e-4


def test_functions_that_jump_are_refused():
    with pytest.raises(InvalidInput):
        sample_map(lambda x, y: (x + (x > 100), y), (200, 200))


def test_area_is_the_jacobian():
    net = sample_map(lambda x, y: (1.5 * x + 0.2 * y, -0.3 * x + 0.9 * y), (64, 80))
    np.testing.assert_allclose(net.area, 1.5 * 0.9 + 0.2 * 0.3, rtol=1e-10)
    np.testing.assert_allclose(net.jacobian(), [[1.5, 0.2], [-0.3, 0.9]], atol=1e-10)


def test_places_that_the_source_cannot_show_are_nan():
    source = Projection((0.0, 0.0), (0.0, 0.0), np.array([[-1.0, 0.0], [0.0, 1.0]]))
    target = Projection((180.0, 0.0), (0.0, 0.0), np.array([[-1.0, 0.0], [0.0, 1.0]]))
    net = coordinate_map(target, source, (20, 20))
    assert np.isnan(net.at([3.0], [3.0])[0]).all()
