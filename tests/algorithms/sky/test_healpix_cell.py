"""Cells of single positions against cdshealpix."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import Latitude, Longitude
from cdshealpix import nested
from hypothesis import given
from hypothesis import strategies as st

from firstlight.algorithms.sky.healpix_cell import healpix_cell
from firstlight.algorithms.sky.sky_index import angular_separation


def _by_library(ra, dec, order):
    lon, lat = Longitude(np.mod(ra, 360.0), u.deg), Latitude(dec, u.deg)
    return nested.lonlat_to_healpix(lon, lat, order, num_threads=1)


@pytest.mark.parametrize("order", [0, 1, 5, 12, 20])
def test_the_same_cells_as_the_library(order):
    random = np.random.default_rng(order)
    ra = random.uniform(-10, 370, 3000)
    dec = np.degrees(np.arcsin(random.uniform(-1, 1, 3000)))
    dec[:300] = np.sign(dec[:300]) * (90 - random.uniform(0, 1, 300) ** 4)
    mine = [healpix_cell(float(a), float(d), order) for a, d in zip(ra, dec, strict=True)]
    assert np.mean(np.array(mine) == _by_library(ra, dec, order)) > 0.999


@given(st.floats(0, 360), st.floats(-90, 90))
def test_the_finest_cell_is_where_the_position_is(ra, dec):
    """Also on rims and poles, where two libraries may choose different neighbours."""
    cell = np.array([healpix_cell(ra, dec, 29)], dtype=np.uint64)
    lon, lat = nested.healpix_to_lonlat(cell, 29, num_threads=1)
    apart = angular_separation(ra, dec, lon.to_value(u.deg), lat.to_value(u.deg))
    assert float(np.max(apart)) * 3.6e6 < 1.0  # milliarcseconds


@pytest.mark.parametrize("ra", [0.0, 45.0, 90.0, 180.0, 270.0, 360.0, -90.0])
@pytest.mark.parametrize("dec", [-90.0, -41.8103148957786, 0.0, 41.8103148957786, 90.0])
def test_corners_have_a_cell(ra, dec):
    assert 0 <= healpix_cell(ra, dec, 29) < 12 * 4**29
