"""Polygons on the sphere, against a projection in which they are flat."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Flat

from firstlight.algorithms.sky.sky_index import angular_separation, inside_polygon
from firstlight.algorithms.sky.sky_polygon import bounding_cone, inside_any_polygon
from firstlight.errors import InvalidInput

# An arrow head: the notch at its foot is outside.
ARROW = np.array([(0.0, 4.0), (3.0, -3.0), (0.0, 0.0), (-3.0, -3.0)])


def _on_sky(flat, ra, dec):
    """Positions whose gnomonic projection about (ra, dec) is `flat`, degrees.

    Great circles are straight lines in that projection.
    """
    x, y = np.radians(flat[..., 0]), np.radians(flat[..., 1])
    lon, lat = np.radians(ra), np.radians(dec)
    down = np.cos(lat) - y * np.sin(lat)
    out_ra = np.degrees(lon + np.arctan2(x, down))
    out_dec = np.degrees(np.arctan2(np.sin(lat) + y * np.cos(lat), np.hypot(x, down)))
    return np.mod(out_ra, 360.0), out_dec


@pytest.mark.parametrize("scale", [0.001, 1.0, 8.0])
@pytest.mark.parametrize(
    "centre", [(180.0, 0.0), (0.0, 0.0), (359.999, 45.0), (77.0, 89.5), (12.0, -90.0)]
)
def test_a_polygon_that_is_not_convex_anywhere_on_the_sky(centre, scale):
    points = np.random.default_rng(1).uniform(-5, 5, (4000, 2))
    expected = Flat(ARROW).contains_points(points)
    for corners in (ARROW, ARROW[::-1]):
        found = inside_any_polygon(
            *_on_sky(points * scale, *centre), *_on_sky(corners * scale, *centre)
        )
        assert np.array_equal(found, expected)
    assert 300 < expected.sum() < 1500


@settings(max_examples=60, deadline=None)
@given(
    st.floats(0, 359.99),
    st.floats(-90, 90),
    st.lists(st.floats(0.2, 4.0), min_size=3, max_size=9),
)
def test_stars_of_any_number_of_corners(ra, dec, radii):
    angles = np.linspace(0, 2 * np.pi, len(radii), endpoint=False)
    corners = np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)
    points = np.random.default_rng(2).uniform(-4, 4, (300, 2))
    found = inside_any_polygon(*_on_sky(points, ra, dec), *_on_sky(corners, ra, dec))
    assert np.array_equal(found, Flat(corners).contains_points(points))


def test_it_agrees_with_the_test_for_convex_polygons():
    rng = np.random.default_rng(3)
    ra, dec = rng.uniform(0, 360, 5000), np.degrees(np.arcsin(rng.uniform(-1, 1, 5000)))
    corners = ([350.0, 20.0, 15.0, 345.0], [-20.0, -25.0, 30.0, 25.0])
    assert np.array_equal(inside_any_polygon(ra, dec, *corners), inside_polygon(ra, dec, *corners))


def test_the_cone_around_a_polygon_holds_its_corners():
    corners = _on_sky(ARROW, 0.0, 89.0)
    ra, dec, radius = bounding_cone(*corners)
    assert angular_separation(ra, dec, *corners).max() <= radius + 1e-9
    assert radius < 6


def test_what_is_opposite_is_outside():
    assert not inside_any_polygon([180.0], [0.0], *_on_sky(ARROW, 0.0, 0.0)).any()


@pytest.mark.parametrize(
    "corners", [([0, 120, 240], [0, 0, 0]), ([0, 1], [0, 1]), ([0, np.nan, 2], [0, 0, 1])]
)
def test_what_is_no_polygon_is_refused(corners):
    with pytest.raises(InvalidInput):
        bounding_cone(*corners)
