"""Fluxes at given places: those that the subtraction itself tells there."""

import numpy as np
import pytest
from pair_scenes import Scene

from firstlight.algorithms.subtraction.forced import forced_fluxes
from firstlight.algorithms.subtraction.kernel_match import kernel_match
from firstlight.algorithms.subtraction.zogy import zogy


@pytest.mark.parametrize("method", [zogy, kernel_match])
def test_flux_is_score_times_error_and_agrees_with_the_subtraction(method):
    scene = Scene(9, (160, 180), stars=60, new_stars=((80.3, 61.7, 4e3),))
    found = method(scene.new, scene.reference)
    known = np.isfinite(found.flux_error)
    assert known.mean() > 0.9
    product = found.score[known].astype(float) * found.flux_error[known]
    assert np.abs(product - found.flux[known]).max() <= 1e-5 * np.abs(found.flux[known]).max()
    dice = np.random.default_rng(2)
    x, y = np.r_[80.3, dice.uniform(-3, 183, 300)], np.r_[61.7, dice.uniform(-3, 163, 300)]
    got = forced_fluxes(found.score, found.flux_error, found.flags, x, y)
    flux, error = found.flux_at(x, y)
    told = np.isfinite(error)
    assert (np.isfinite(got.flux) == told).all()
    np.testing.assert_allclose(got.error[told], error[told], rtol=1e-6)
    np.testing.assert_allclose(got.flux[told], flux[told], rtol=1e-5, atol=1e-3)
    assert got.flux[0] == pytest.approx(4e3, abs=4 * got.error[0])


def planes(shape=(30, 40), flux=50.0, error=5.0):
    return np.full(shape, flux / error), np.full(shape, error), np.zeros(shape, np.uint16)


def test_outside_and_where_nothing_is_known_there_is_no_flux():
    score, error, flags = planes()
    score[10, 12], error[10, 12], flags[10, 12] = 0.0, np.inf, 32
    x, y = np.array([-1.0, 12.2, 14.0, 39.4, 20.0]), np.array([5.0, 9.9, 10.0, 3.0, 29.6])
    got = forced_fluxes(score, error, flags, x, y)
    assert np.isfinite(got.flux).tolist() == [False, False, True, True, False]
    assert got.flux[2] == pytest.approx(50.0), "beside it the nearest pixel tells"
    assert got.flags[1] == 32
    assert got.flags[2] == 0


def test_flags_of_the_pixels_around_are_told():
    score, error, flags = planes()
    flags[4, 5], flags[6, 5] = 1, 4
    got = forced_fluxes(score, error, flags, np.array([5.0, 20.0]), np.array([5.0, 20.0]))
    assert got.flags.tolist() == [5, 0]


def test_nowhere_is_nothing():
    got = forced_fluxes(*planes(), np.zeros(0), np.zeros(0))
    assert len(got.flux) == len(got.error) == len(got.flags) == 0
