"""What comes through the optics cannot excite the filters; what did not, does."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstlight.algorithms.detector.cosmic_ray_shapes import REACH, SIDE, point_sources, ray_shapes

FWHM = 3.0
numbers = st.floats(-3.0, 3.0)
star = st.tuples(numbers, numbers, st.floats(0.0, 1e4), st.floats(1.0, 2.0), st.floats(2.2, 20.0))


@given(stars=st.lists(star, max_size=6), sky=st.floats(0.0, 1e4))
def test_no_sum_of_stars_on_any_sky_leaks_more_than_is_said(stars, sky):
    shapes = ray_shapes(FWHM)
    light = np.full(SIDE * SIDE, sky)
    for y, x, peak, wider, power in stars:
        drawn = point_sources(FWHM * wider, power, np.array([[y, x]]))[0]
        light += peak * drawn / drawn.max()
    assert (shapes.filters @ light <= shapes.leak * light.max() + 1e-3 * (1 + sky)).all()


@pytest.mark.parametrize("fwhm", [1.3, 2.0, 2.5, 4.0, 8.0])
def test_a_hit_of_its_own_pattern_gives_its_charge(fwhm):
    shapes = ray_shapes(fwhm)
    np.testing.assert_allclose((shapes.filters * shapes.hit).sum(axis=1), 1, atol=2e-5)
    np.testing.assert_allclose(
        shapes.gain, np.sqrt((shapes.filters.astype(float) ** 2).sum(axis=1)), rtol=1e-5
    )
    assert shapes.single.sum() == 1
    assert len(np.unique(shapes.hit, axis=0)) == len(shapes.hit)


def test_predictors_reproduce_a_star_and_a_level():
    shapes = ray_shapes(4.0)
    middle = (SIDE * SIDE) // 2
    for weights in (shapes.on_sky, shapes.on_stars):
        assert weights[middle] == 0
        assert weights.sum() == pytest.approx(1, abs=1e-5)
    drawn = point_sources(4.0, 3.0, np.array([[0.3, -0.4]]))[0]
    assert shapes.on_stars @ drawn == pytest.approx(drawn[middle], rel=0.03)


def test_sharper_stars_are_kept_as_safe_as_the_sharpest_possible():
    assert ray_shapes(0.1) is ray_shapes(1.2)
    assert REACH == SIDE // 2
