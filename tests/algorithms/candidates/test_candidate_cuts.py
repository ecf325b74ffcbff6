"""Cuts keep what is within their bounds and tell why the rest is gone."""

from __future__ import annotations

import numpy as np
import pytest
from white_difference import SIGMA, Source, light_of, measured, subtracted, unit_error

from firstlight.algorithms.candidates.cuts import DELETION_CUTS, Cut, apply_cuts
from firstlight.algorithms.flags import Flag
from firstlight.errors import InvalidInput

SHAPE = (240, 120)
PLACES = ([60.0, 60.0, 60.0], [60.0, 120.0, 180.0])


@pytest.fixture(scope="module")
def measures():
    """A source of S/N 6, a cosmic ray, and a source half of which is saturated."""
    light = light_of([Source(60, 60, 6 * unit_error()), Source(60, 180, 9000.0)], SHAPE)
    light[120, 58:62] = 20 * SIGMA
    flags = np.zeros(SHAPE, np.uint16)
    flags[170:190, 60:] = Flag.SATURATED
    return measured(subtracted(light, 1, flags=flags), PLACES, [6.0, 15.0, 20.0])


def test_the_cuts_we_have_keep_the_source_and_tell_of_the_others(measures):
    told = apply_cuts(measures)
    assert told.kept.tolist() == [True, False, False]
    assert told.reasons[0] == ()
    assert any("cosmic ray" in reason for reason in told.reasons[1])
    assert any("unusable" in reason for reason in told.reasons[2])


def test_every_reason_against_a_candidate_is_told_in_the_order_of_the_cuts(measures):
    cuts = (
        Cut("flux_error", "first", highest=0.0),
        Cut("narrow", "second", lowest=-1.0),
        Cut("bad", "third", highest=-1.0),
    )
    told = apply_cuts(measures, cuts)
    assert not told.kept.any()
    assert told.reasons == (("first", "third"),) * 3


def test_bounds_are_still_allowed(measures):
    value = float(measures.narrow[0])
    assert apply_cuts(measures, (Cut("narrow", "x", value, value),)).kept[0]
    assert not apply_cuts(measures, (Cut("narrow", "x", highest=np.nextafter(value, 0)),)).kept[0]


def test_a_measure_that_is_no_number_is_cut(measures):
    measures.width[0], kept = np.nan, measures.width[0]
    told = apply_cuts(measures, (Cut("width", "unknown"),))
    measures.width[0] = kept
    assert told.kept.tolist() == [False, True, True]


@pytest.mark.parametrize("name", ["sharpness", "profiles"])
def test_unknown_measures_are_refused(measures, name):
    with pytest.raises(InvalidInput) as caught:
        apply_cuts(measures, (Cut(name, "x"),))
    assert caught.value.found == name


def test_without_cuts_all_are_kept(measures):
    assert apply_cuts(measures, ()).kept.all()


def test_each_of_our_cuts_says_something_of_its_own():
    assert len({cut.reason for cut in DELETION_CUTS}) == len(DELETION_CUTS)
    assert all(np.isfinite(cut.lowest) or np.isfinite(cut.highest) for cut in DELETION_CUTS)
