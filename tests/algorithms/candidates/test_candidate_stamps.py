"""Stamps hold the pixels of the planes, and say where there are none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from white_difference import light_of, subtracted

from firstlight.algorithms.candidates.stamps import cut_candidates, difference_psfs
from firstlight.algorithms.flags import Flag
from firstlight.algorithms.resampling.image_pair import PsfGrid
from firstlight.errors import InvalidInput

SHAPE = (40, 50)
TOLD = subtracted(light_of([], SHAPE), 1, flags=np.full(SHAPE, Flag.LOW_FLAT, np.uint16))
NEW = np.arange(2000, dtype=np.float32).reshape(SHAPE)


@given(
    st.lists(st.tuples(st.floats(-30, 80), st.floats(-30, 70)), min_size=1, max_size=5),
    st.integers(0, 12),
)
def test_pixels_are_those_of_the_planes_wherever_the_place_is(places, radius):
    x, y = np.array(places).T
    stamps = cut_candidates(NEW, 2 * NEW, TOLD, (x, y), radius)
    assert stamps.pixels.shape == (len(places), 3, 2 * radius + 1, 2 * radius + 1)
    assert stamps.radius == radius
    for k in range(len(places)):
        rows, columns = (
            start[k] + np.arange(2 * radius + 1) for start in (stamps.row, stamps.column)
        )
        assert abs(columns[radius] - x[k]) <= 0.5
        assert abs(rows[radius] - y[k]) <= 0.5
        inside = ((rows >= 0) & (rows < 40))[:, None] & ((columns >= 0) & (columns < 50))
        assert (stamps.inside[k] == inside).all()
        assert (np.isnan(stamps.pixels[k]) == ~inside).all()
        assert (np.isnan(stamps.variance[k]) == ~inside).all()
        j, i = np.nonzero(inside)
        for number, plane in enumerate((NEW, 2 * NEW, TOLD.difference)):
            assert (stamps.pixels[k, number, j, i] == plane[rows[j], columns[i]]).all()
        assert set(stamps.flags[k, j, i].tolist()) <= {int(Flag.LOW_FLAT)}
        assert not stamps.usable[k].any()


def test_usable_pixels_have_a_value_and_noise():
    told = subtracted(light_of([], SHAPE), 1)
    told.flags[20, 20] = Flag.COSMIC_RAY
    told.difference[20, 21] = np.nan
    told.variance[20, 22], told.variance[20, 23] = 0.0, np.inf
    told.flags[20, 24] = Flag.INTERPOLATED
    stamps = cut_candidates(NEW, NEW, told, (np.array([22.0]), np.array([20.0])), 2)
    expected = np.ones((5, 5), bool)
    expected[2, :4] = False
    assert (stamps.usable[0] == expected).all()


def test_planes_of_another_shape_are_refused():
    with pytest.raises(InvalidInput, match="same pixels"):
        cut_candidates(NEW, NEW[1:], TOLD, (np.zeros(1), np.zeros(1)), 2)


def test_no_candidates_give_no_stamps():
    none = np.empty(0)
    assert len(cut_candidates(NEW, NEW, TOLD, (none, none), 5)) == 0
    assert difference_psfs(TOLD.psfs, none, none).shape == (0, 29, 29)


def test_the_psf_changes_with_the_place():
    stamps = np.random.default_rng(2).random((2, 2, 5, 5)).astype(np.float32)
    grid = PsfGrid(stamps, np.array([10.0, 30.0]), np.array([10.0, 30.0]))
    there = difference_psfs(grid, np.array([10.0, 20.0]), np.array([10.0, 30.0]))
    np.testing.assert_allclose(there[0], stamps[0, 0], rtol=1e-6)
    np.testing.assert_allclose(there[1], stamps[1].mean(axis=0), rtol=1e-6)
