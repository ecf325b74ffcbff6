"""Drawn stars have the flux, the place and the width that they were given."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firstlight.simulation.psf import add_stars, moffat_matrix, stamp_radius


def draw(x, y, flux, fwhm, *, ellipticity=0.0, angle=0.0, beta=3.5, size=101, radius=None):
    matrix = moffat_matrix(np.array([fwhm]), np.array([ellipticity]), np.array([angle]), beta)
    image = np.zeros((size, size))
    flux = np.array([flux])
    reach = stamp_radius(flux, matrix, beta) if radius is None else np.array([radius])
    add_stars(image, np.array([x]), np.array([y]), flux, matrix, beta, reach)
    return image, matrix[0]


@settings(max_examples=40, deadline=None)
@given(
    x=st.floats(49, 51),
    y=st.floats(49, 51),
    fwhm=st.floats(1.5, 5),
    ellipticity=st.floats(0, 0.2),
    angle=st.floats(0, 3.2),
    flux=st.floats(1e4, 1e6),
)
def test_flux_and_place(x, y, fwhm, ellipticity, angle, flux):
    image, _ = draw(x, y, flux, fwhm, ellipticity=ellipticity, angle=angle)
    assert image.sum() == pytest.approx(flux, rel=1e-3)
    j, i = np.mgrid[:101, :101]
    near = np.hypot(i - 50, j - 50) < 40
    assert (image * near * i).sum() / (image * near).sum() == pytest.approx(x, abs=0.005)
    assert (image * near * j).sum() / (image * near).sum() == pytest.approx(y, abs=0.005)


@pytest.mark.parametrize("fwhm", [1.5, 2.4, 3.4])
@pytest.mark.parametrize("beta", [2.5, 3.5])
def test_pixels_against_brute_force(fwhm, beta):
    n, size, x, y = 31, 31, 15.3, 14.8
    image, (xx, xy, yy) = draw(
        x, y, 1.0, fwhm, ellipticity=0.1, angle=0.7, beta=beta, size=size, radius=40.0
    )
    fine = (np.arange(size * n) + 0.5) / n - 0.5
    u, v = np.meshgrid(fine - x, fine - y)
    profile = (1 + xx * u**2 + 2 * xy * u * v + yy * v**2) ** -beta
    profile *= (beta - 1) / np.pi * np.sqrt(xx * yy - xy**2)
    expected = profile.reshape(size, n, size, n).mean(axis=(1, 3))
    assert np.abs(image - expected).max() < 2e-4 * expected.max()
    assert np.abs(image - expected).sum() < 1e-3


def test_full_width_at_half_maximum():
    core = moffat_matrix(np.array([3.0]), np.zeros(1), np.zeros(1), 3.5)[0]
    assert (1 + core[0] * 1.5**2) ** -3.5 == pytest.approx(0.5)
    long = moffat_matrix(np.array([3.0]), np.array([0.2]), np.zeros(1), 3.5)[0]
    assert np.sqrt(long[2] / long[0]) == pytest.approx(1 / 0.8)


def test_star_beyond_the_edge_reaches_in():
    image, _ = draw(-3.0, 50.0, 1e5, 3.0)
    assert image[50, 0] > 10
    assert image[50, 60] == 0
