"""Peaks where the map of scores is cut off."""

from __future__ import annotations

import numpy as np
import pytest
from white_difference import FWHM, Source, light_of, subtracted, unit_error

from firstlight.algorithms.candidates.find import find_candidates

SHAPE = (120, 120)
RIM = 60  # first column that tells nothing


def found_near_rim(x, snr, seed, width=30):
    told = subtracted(light_of([Source(x, 60.3, snr * unit_error())], SHAPE), seed)
    hole = np.s_[40:80, RIM : RIM + width]
    told.score[hole], told.flux[hole], told.flux_error[hole] = 0.0, 0.0, np.inf
    found = find_candidates(told, FWHM)
    return found.select(np.hypot(found.x - RIM, found.y - 60) < 2 * FWHM)


@pytest.mark.parametrize("snr", [15.0, 60.0, 400.0])
@pytest.mark.parametrize("beyond", [1.5, 3.0, 5.0])
def test_what_rises_into_a_hole_is_no_candidate(snr, beyond):
    for seed in range(5):
        assert len(found_near_rim(RIM + beyond, snr, seed)) == 0


@pytest.mark.parametrize("before", [1.5, 2.5, 4.0])
def test_a_source_before_the_rim_is_one(before):
    for seed in range(5):
        found = found_near_rim(RIM - before, 30.0, seed)
        assert len(found) == 1
        assert abs(found.x[0] - RIM + before) < 0.7


def test_a_narrow_hole_beside_a_source_takes_nothing():
    for seed in range(5):
        assert len(found_near_rim(RIM - 2.0, 30.0, seed, width=1)) == 1


def test_a_source_beside_what_rises_into_a_hole_is_found_where_it_is():
    for seed in range(5):
        light = light_of([Source(RIM - 3.0, 60.3, 40 * unit_error())], SHAPE)
        light += light_of([Source(RIM + 2.5, 64.0, 60 * unit_error())], SHAPE)
        told = subtracted(light, seed)
        hole = np.s_[40:80, RIM - 1 :]
        told.score[hole], told.flux[hole], told.flux_error[hole] = 0.0, 0.0, np.inf
        found = find_candidates(told, FWHM)
        near = found.select(found.score > 15)
        assert len(near) == 1
        assert np.hypot(near.x[0] - RIM + 3.0, near.y[0] - 60.3) < 2.0
