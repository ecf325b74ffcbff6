import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firstlight.algorithms.sky.sky_index import (
    CELLS,
    angular_separation,
    cone_ranges,
    healpix_index,
    inside_polygon,
    polygon_ranges,
    sky_position,
    unit_vectors,
)


def offset(ra, dec, distance, angle):
    """Positions at a distance and position angle (degrees) from a centre."""
    north = np.radians([ra, dec])
    d, t = np.radians(distance), np.radians(angle)
    lat = np.arcsin(
        np.clip(np.sin(north[1]) * np.cos(d) + np.cos(north[1]) * np.sin(d) * np.cos(t), -1, 1)
    )
    lon = north[0] + np.arctan2(
        np.sin(t) * np.sin(d) * np.cos(north[1]), np.cos(d) - np.sin(north[1]) * np.sin(lat)
    )
    return np.degrees(lon), np.degrees(lat)


def covered(ranges, index):
    return np.any([(index >= a) & (index < b) for a, b in ranges], axis=0)


@given(
    st.floats(0, 360, exclude_max=True),
    st.floats(-90, 90),
    st.floats(-6, 2).map(lambda e: 10.0**e),
    st.integers(1, 40),
)
@settings(max_examples=150, deadline=None)
def test_cone_ranges_cover_the_cone_and_are_bounded(ra, dec, radius, most):
    ranges = cone_ranges(ra, dec, radius, max_ranges=most)
    rng = np.random.default_rng(1)
    distance = radius * np.sqrt(np.append(rng.random(200), np.ones(20)))
    lon, lat = offset(ra, dec, distance, rng.random(220) * 360)
    assert np.all(covered(ranges, healpix_index(lon, lat)))
    assert 1 <= len(ranges) <= most
    flat = np.ravel(ranges)
    assert np.all(np.diff(flat) > 0)
    assert flat[0] >= 0
    assert flat[-1] <= CELLS


@pytest.mark.parametrize(("ra", "dec"), [(0, 0), (359.999, 20), (10, 89.9), (200, -90), (45, 41.8)])
def test_cone_ranges_are_tight(ra, dec):
    rng = np.random.default_rng(2)
    lon, lat = rng.random(400_000) * 360, np.degrees(np.arcsin(rng.random(400_000) * 2 - 1))
    index = healpix_index(lon, lat)
    inside = angular_separation(ra, dec, lon, lat) < 8.0
    taken = covered(cone_ranges(ra, dec, 8.0), index)
    assert np.all(taken[inside])
    assert taken.sum() < 2.0 * inside.sum()


def test_whole_sky_and_point():
    assert cone_ranges(10, 10, 180.0) == [(0, CELLS)]
    [(first, stop), *_] = cone_ranges(10, 10, 0.0, max_ranges=1)
    assert first <= int(healpix_index(10, 10)) < stop


def test_right_ascension_turns_are_one_place():
    assert healpix_index(-10.0, 5.0) == healpix_index(350.0, 5.0) == healpix_index(710.0, 5.0)
    assert healpix_index(360.0, -5.0) == healpix_index(0.0, -5.0)


def test_shapes_and_type():
    assert healpix_index(1.0, 2.0).shape == ()
    assert healpix_index(np.ones((2, 3)), 4.0).shape == (2, 3)
    assert healpix_index([], []).shape == (0,)
    assert healpix_index(1.0, 2.0).dtype == np.int64


def test_every_base_cell_is_where_the_paper_puts_it():
    ra = np.array([45, 135, 225, 315, 0, 90, 180, 270, 45, 135, 225, 315], float)
    dec = np.repeat([41.8103148957786, 0.0, -41.8103148957786], 4)
    assert np.array_equal(healpix_index(ra, dec) >> 58, np.arange(12))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_not_finite_is_refused(bad):
    with pytest.raises(ValueError, match="not finite"):
        healpix_index(bad, 0.0)
    with pytest.raises(ValueError, match="no cone"):
        cone_ranges(bad, 0.0, 1.0)


def test_beyond_a_pole_is_refused():
    with pytest.raises(ValueError, match="90"):
        healpix_index(0.0, 90.1)


def test_separation_from_tiny_to_antipode():
    assert angular_separation(10, 89.9999999, 190, 89.9999999) == pytest.approx(2e-7, rel=1e-6)
    assert angular_separation(359.9999, 0, 0.0001, 0) == pytest.approx(2e-4, rel=1e-9)
    assert angular_separation(10, 20, 190, -20) == pytest.approx(180.0)
    assert angular_separation(0, 90, 123, -90) == pytest.approx(180.0)


@given(st.floats(0, 360, exclude_max=True), st.floats(-89.999, 89.999))
def test_vectors_round_trip(ra, dec):
    back_ra, back_dec = sky_position(3.0 * unit_vectors(ra, dec))
    assert 0 <= back_ra < 360
    assert angular_separation(ra, dec, back_ra, back_dec) < 1e-12


@pytest.mark.parametrize("turn", [1, -1])
def test_polygon_over_the_meridian(turn):
    corner_ra = np.array([359.0, 1.0, 1.0, 359.0])[::turn]
    corner_dec = np.array([-1.0, -1.0, 1.0, 1.0])[::turn]
    ra = np.array([0.0, 359.5, 0.9, 1.1, 180.0])
    dec = np.array([0.0, 0.9, -0.9, 0.0, 0.0])
    inside = inside_polygon(ra, dec, corner_ra, corner_dec)
    assert inside.tolist() == [True, True, True, False, False]
    taken = covered(polygon_ranges(corner_ra, corner_dec), healpix_index(ra, dec))
    assert np.all(taken[inside])
    assert not taken[-1]
