"""Footprints on maps: places, areas, the edge of the map, the field around one of them."""

import uuid

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstlight.algorithms.sky.projection import Projection
from firstlight.services.finding.sky_map import (
    FIELD,
    HEIGHT,
    WIDTH,
    Footprint,
    all_sky,
    field_map,
    mollweide,
)


def footprint(ra, dec, size=1.0):
    cards = {
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRPIX1": 50.5, "CRPIX2": 50.5,
        "CRVAL1": ra, "CRVAL2": dec, "CD1_1": -size / 100, "CD1_2": 0.0, "CD2_1": 0.0,
        "CD2_2": size / 100,
    }  # fmt: skip
    corners = zip(*Projection.from_header(cards).footprint((100, 100)), strict=True)
    return Footprint(uuid.uuid4(), "one", "", ra, dec, tuple(corners))


def at(ra, dec):
    x, y = mollweide(np.array([ra], float), np.array([dec], float))
    return float(x[0]), float(y[0])


def test_known_places():
    assert at(180, 0) == pytest.approx((WIDTH / 2, HEIGHT / 2))
    assert at(0, 90) == pytest.approx((WIDTH / 2, 0))
    assert at(123, -90) == pytest.approx((WIDTH / 2, HEIGHT))
    assert at(0, 0)[0] == pytest.approx(WIDTH), "0h at the right"
    assert at(270, 0)[0] < at(90, 0)[0], "east is to the left"


@given(st.floats(0, 359.99), st.floats(-90, 90))
def test_every_place_is_within_the_ellipse(ra, dec):
    x, y = at(ra, dec)
    assert ((x - WIDTH / 2) / (WIDTH / 2)) ** 2 + ((y - HEIGHT / 2) / (HEIGHT / 2)) ** 2 <= 1 + 1e-9


def test_equal_areas():
    # Half of the sky lies within 30 degrees of the equator.
    share = (at(180, -30)[1] - at(180, 30)[1]) / HEIGHT
    angle = np.arcsin(share)
    assert (2 * angle + np.sin(2 * angle)) / np.pi == pytest.approx(0.5, abs=1e-9)


def test_marks_that_coincide_are_one_and_counted():
    here = [footprint(100, 20, 0.1) for _ in range(3)]
    drawn = all_sky([*here, footprint(250, -40, 0.1)])
    assert sorted(shape.count for shape in drawn.shapes) == [1, 3]
    assert all(shape.outlines == () for shape in drawn.shapes), "smaller than their marks"


def test_large_ones_have_outlines_unless_the_edge_tears_them():
    inside, torn = all_sky([footprint(180, 10, 20), footprint(0.5, 10, 20)]).shapes
    assert len(inside.outlines) == 1
    assert torn.outlines == ()
    (outline,) = inside.outlines
    assert min(x for x, _ in outline) < inside.x < max(x for x, _ in outline)


def test_the_field_is_north_up_and_shows_what_is_near():
    first, north, far = footprint(10, 40), footprint(10, 40.5), footprint(200, -30)
    drawn = field_map([first, north, far])
    assert [shape.footprint for shape in drawn.shapes] == [first, north]
    assert drawn.centre == (10, 40)
    assert (drawn.shapes[0].x, drawn.shapes[0].y) == pytest.approx((FIELD / 2, FIELD / 2))
    assert drawn.shapes[1].y < FIELD / 2
    corners = np.array([shape.outlines[0] for shape in drawn.shapes])
    assert corners.min() >= 0
    assert corners.max() <= FIELD
    side = np.ptp(corners[0, :, 0]) * 2 * drawn.radius / FIELD
    assert side == pytest.approx(1.0, rel=0.01), "degrees"


@pytest.mark.parametrize("ra", [0.1, 359.9])
def test_a_field_at_the_beginning_of_right_ascension(ra):
    drawn = field_map([footprint(ra, 0), footprint((ra + 0.4) % 360, 0)])
    assert len(drawn.shapes) == 2
    assert np.isfinite([shape.x for shape in drawn.shapes]).all()


def test_without_a_solution_there_is_no_field():
    assert field_map([Footprint(uuid.uuid4(), "one", "", 10.0, 20.0)]) is None
    assert field_map([]) is None
    assert len(all_sky([Footprint(uuid.uuid4(), "one", "", 10.0, 20.0)]).shapes) == 1
