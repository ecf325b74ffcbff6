import numpy as np
import pytest

from firstlight.algorithms.light_curves.transit_shape import fit_trapezoid, limb_darkened, trapezoid
from firstlight.errors import InvalidInput


def test_a_disc_on_a_uniform_star_hides_its_own_area():
    flux = limb_darkened(np.array([0.0, 0.05, 0.5, 1.2]), 0.1)
    np.testing.assert_allclose(flux, [0.99, 0.99, 0.99, 1.0], atol=2e-5)


def test_half_a_disc_over_the_limb():
    # Two circles that overlap: the lens formula is exact for a uniform star.
    p, d = 0.15, 1.0
    a = np.arccos((d * d + p * p - 1) / (2 * d * p))
    b = np.arccos((d * d + 1 - p * p) / (2 * d))
    root = np.sqrt((-d + p + 1) * (d + p - 1) * (d - p + 1) * (d + p + 1))
    lens = (p * p * a + b - 0.5 * root) / np.pi
    assert limb_darkened(np.array([d]), p)[0] == pytest.approx(1 - lens, abs=2e-5)


def test_limb_darkening_deepens_the_middle_and_lightens_the_edge():
    at = np.array([0.0, 0.95])
    dark, plain = limb_darkened(at, 0.1, (0.4, 0.2)), limb_darkened(at, 0.1)
    assert dark[0] < plain[0]
    assert dark[1] > plain[1]
    # A small disc at the centre hides I(0) / mean intensity of its area.
    small = limb_darkened(np.array([0.0]), 0.01, (0.4, 0.2))[0]
    assert 1 - small == pytest.approx(1e-4 / (1 - 0.4 / 3 - 0.2 / 6), rel=1e-3)


def test_the_trapezoid_is_half_deep_at_its_duration():
    t = np.array([0.0, 0.05, 0.2])
    np.testing.assert_allclose(trapezoid(t, 0.0, 0.1, 0.02, 0.03), [0.97, 0.985, 1.0])


def test_a_fit_finds_the_truth_with_honest_errors():
    t = 2458107.55 + np.linspace(0.0, 0.3, 70)
    deep, middle = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        truth = trapezoid(t, 2458107.714, 0.115, 0.018, 0.025) * (1.0 + 0.02 * (t - t[0]))
        flux = truth + 0.004 * rng.standard_normal(70)
        flux[3] = np.nan
        fit = fit_trapezoid(t, flux, np.full(70, 0.004), (2458107.70, 0.1))
        deep.append((fit.depth - 0.025) / fit.depth_err)
        middle.append(fit.mid_time - 2458107.714)
        assert fit.scatter == pytest.approx(0.004, abs=0.0015)
    assert abs(np.mean(deep)) < 0.5
    assert abs(np.mean(middle)) < 5e-4
    assert np.std(middle) < 1.2e-3
    assert 0.6 < np.std(deep) < 1.6


def test_too_few_points_are_refused():
    t = np.linspace(0, 1, 5)
    with pytest.raises(InvalidInput):
        fit_trapezoid(t, np.ones(5), np.ones(5), (0.5, 0.2))
