"""How much an event or a wave explains of a light curve."""

from __future__ import annotations

import numpy as np
import pytest

from firstlight.algorithms.light_curves.star_trends import event_gain

TIME = 58000.0 + np.arange(30) * 145.0 / 86400.0
ERROR = 0.006


@pytest.fixture
def flux() -> np.ndarray:
    """Constant stars: relative flux with noise alone, (n_star, n_frame)."""
    return 1.0 + ERROR * np.random.default_rng(5).standard_normal((40, len(TIME)))


def gain(flux: np.ndarray, error: float = ERROR) -> np.ndarray:
    return event_gain(flux, np.full_like(flux, error), TIME)


def test_a_wave_and_a_dip_gain_what_their_size_says(flux):
    phase = np.linspace(0, 1, len(TIME))
    shapes = [
        0.012 * np.sin(2 * np.pi * 1.5 * phase),
        np.where(np.abs(phase - 0.5) < 0.2, -0.016, 0),
    ]
    for shape in shapes:
        own = shape - shape.mean()
        most = np.sum((own / ERROR) ** 2)  # what the true shape gains where there is no noise
        found = gain(flux + shape)
        assert np.median(found) == pytest.approx(most, rel=0.35)
        assert np.median(found) > 2 * np.max(gain(flux))


def test_noise_that_is_larger_than_its_errors_is_no_event(flux):
    loud = 1 + 3 * (flux - 1)
    assert np.median(gain(loud)) == pytest.approx(np.median(gain(flux)), rel=0.4)
    assert np.median(gain(loud)) < 15


def test_a_flux_of_another_unit_is_the_same_event(flux):
    shape = np.where(np.arange(len(TIME)) > 20, 0.97, 1.0)
    one = gain(flux * shape)
    many = event_gain(5e4 * flux * shape, np.full_like(flux, 5e4 * ERROR), TIME)
    assert np.allclose(one, many, rtol=1e-6)


def test_missing_points_and_empty_stars(flux):
    flux[0] = np.nan
    flux[1, 2:] = np.nan
    flux[2, ::4] = np.nan
    flux[3, 5] = -0.1
    found = gain(flux)
    assert np.isfinite(found).all()
    assert found[0] == 0
    assert (found[1:] >= 0).all()
