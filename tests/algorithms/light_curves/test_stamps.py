from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstlight.algorithms.detector.colour_mosaic import colour_of_pixels
from firstlight.algorithms.light_curves.stamps import (
    MARGIN,
    cut_stamps,
    same_colour_filled,
    stamp_corners,
    stamp_side,
)
from firstlight.errors import InvalidInput

SIDES = st.integers(0, 5).map(lambda k: 6 + 4 * k)


def test_the_corner_that_the_network_states():
    ymin, xmin = stamp_corners(7, 5, 6)
    assert (ymin, ymin + 6, xmin, xmin + 6) == (2, 8, 4, 10)


@given(x=st.floats(-50, 6000), y=st.floats(-50, 6000), side=SIDES)
def test_the_superpixel_of_the_star_is_in_the_middle(x, y, side):
    for place, corner in zip((y, x), stamp_corners(x, y, side), strict=True):
        assert corner % 2 == 0
        pixel = np.floor(place + 0.5)
        assert corner + (side - 2) // 2 <= pixel < corner + (side - 2) // 2 + 2
        assert abs(place - (corner + (side - 1) / 2)) <= 1


@given(side=st.integers(-3, 40).filter(lambda n: n not in range(6, 44, 4)))
def test_a_side_without_a_middle_superpixel_is_refused(side):
    with pytest.raises(InvalidInput, match="side"):
        stamp_corners(10.0, 10.0, side)


@given(fwhm=st.floats(0.5, 8), wander=st.floats(0, 10))
def test_a_stamp_holds_the_star_wherever_it_wanders(fwhm, wander):
    side = stamp_side(fwhm, wander)
    assert side >= 6
    assert (side - 2) % 4 == 0
    # From the farthest place in the middle superpixel there is room for the star and the shift.
    assert side / 2 - 1 - MARGIN - wander >= 1.7 * fwhm or side == 6
    assert side == 6 or side - 4 < 2 * (1.7 * fwhm + wander + 1 + MARGIN)


def test_wide_drift_makes_larger_stamps_of_fixed_pixels_and_no_others():
    assert stamp_side(2.2) == 14
    assert stamp_side(2.2, wander=18) == 50
    with pytest.raises(InvalidInput, match="follow"):
        stamp_side(2.2, wander=40)


@pytest.mark.parametrize("wrong", [(0.0, 0.0), (np.nan, 0.0), (2.0, -1.0), (2.0, np.inf)])
def test_widths_that_are_none_are_refused(wrong):
    with pytest.raises(InvalidInput, match="fwhm"):
        stamp_side(*wrong)


def test_stamps_hold_the_pixels_and_their_colours_at_the_same_elements():
    data = np.arange(40 * 50, dtype=np.float32).reshape(40, 50)
    letters = colour_of_pixels((40, 50), "GBRG")
    x, y = np.array([20.3, 27.9, 33.0]), np.array([11.2, 24.6, 17.5])
    stamps = cut_stamps(data, x, y, 10)
    assert stamps.whole.all()
    for k in range(3):
        at = slice(stamps.ymin[k], stamps.ymin[k] + 10), slice(stamps.xmin[k], stamps.xmin[k] + 10)
        assert np.array_equal(stamps.pixels[k], data[at])
        assert np.array_equal(letters[at], letters[:10, :10])


def test_stamps_that_leave_the_frame_hold_nothing():
    data = np.ones((40, 50), dtype=np.float32)
    x = np.array([3.0, 25.0, 46.0, np.nan, 25.0, 25.0, 4.0])
    y = np.array([20.0, 3.0, 20.0, 20.0, 36.0, np.inf, 4.0])
    stamps = cut_stamps(data, x, y, 10)
    assert stamps.whole.tolist() == [False, False, False, False, False, False, True]
    assert np.isnan(stamps.pixels[:-1]).all()
    assert (stamps.pixels[-1] == 1).all()


def test_a_bad_pixel_takes_the_mean_of_its_own_colour():
    data = np.where(colour_of_pixels((12, 12), "GBRG") == "R", 100.0, 7.0)
    bad = np.zeros(data.shape, dtype=bool)
    bad[5, 6] = bad[0, 0] = True
    data[3, 4] = np.nan
    filled, still = same_colour_filled(np.where(bad, 1e6, data), bad)
    assert filled[5, 6] == 100
    assert filled[3, 4] == 100
    assert filled[0, 0] == 7
    assert not still.any()


def test_a_bad_pixel_among_bad_ones_stays_bad():
    data, bad = np.full((11, 11), 5.0), np.zeros((11, 11), dtype=bool)
    bad[3:8, 3:8] = True
    filled, still = same_colour_filled(data, bad)
    assert still[5, 5]
    assert filled[5, 5] == 0
    assert not still[3, 3]
    assert filled[3, 3] == 5
