"""Magnitudes, fluxes and limits are one another's inverse, in every system."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstlight.algorithms.photometry.photometric_systems import (
    error_at_limit,
    flux_of_magnitude,
    limiting_magnitude,
    magnitude_of_flux,
    rescaled_flux,
    st_offset,
)

MAGNITUDES = st.floats(-30, 45)
ERRORS = st.floats(1e-4, 5)
OFFSETS = st.floats(-3, 12)


@given(MAGNITUDES, ERRORS, OFFSETS)
def test_a_magnitude_comes_back(mag, error, offset):
    flux, flux_err = flux_of_magnitude(mag, error, offset)
    again, again_err = magnitude_of_flux(flux, flux_err, offset)
    assert again == pytest.approx(mag, abs=1e-9)
    assert again_err == pytest.approx(error, rel=1e-9)


@given(MAGNITUDES, ERRORS, OFFSETS, OFFSETS)
def test_between_two_systems_only_the_offsets_differ(mag, error, one, other):
    flux, flux_err = flux_of_magnitude(mag, error, one)
    found, found_err = magnitude_of_flux(flux, flux_err, other)
    assert found == pytest.approx(mag + one - other, abs=1e-9)
    assert found_err == pytest.approx(error, rel=1e-9)


@given(MAGNITUDES, st.floats(1, 10), OFFSETS)
def test_a_limit_comes_back(limit, sigma, offset):
    error = error_at_limit(limit, sigma, offset)
    assert limiting_magnitude(error, sigma, offset) == pytest.approx(limit, abs=1e-9)


@given(st.floats(-1e4, 1e6), st.floats(10, 35), OFFSETS)
def test_a_flux_of_any_zero_point(flux, zero_point, offset):
    found = rescaled_flux(flux, zero_point, offset)
    assert np.sign(found) == np.sign(flux)
    if flux > 1e-3:
        told = zero_point - 2.5 * np.log10(flux)
        assert magnitude_of_flux(found, 1.0, offset)[0] == pytest.approx(told, abs=1e-6)


def test_known_numbers():
    flux, error = flux_of_magnitude([23.9, 8.9], [0.1, 0.1], 0.0)
    assert flux == pytest.approx([1.0, 1e6])
    assert error == pytest.approx([0.0921034, 92103.4])
    mag, mag_err = magnitude_of_flux([1.0, 0.0, -1.0], 0.1, 0.0)
    assert mag[0] == pytest.approx(23.9)
    assert np.isnan(mag[1:]).all()
    assert np.isnan(mag_err[1:]).all()


def test_st_and_ab_agree_at_their_wavelength():
    assert st_offset(5475.0) == 0.0
    # The zero point in f_lambda falls with the square of the wavelength.
    assert st_offset(54750.0) == pytest.approx(-5.0)
