"""Empty sky is where a flux is known as well as it is in most places."""

from __future__ import annotations

import numpy as np
import pytest
from white_difference import Source, light_of, subtracted

from firstlight.algorithms.flags import UNUSABLE, Flag
from firstlight.algorithms.subtraction.empty_sky import empty_sky

SHAPE = (151, 230)


@pytest.mark.parametrize(("step", "most"), [(1, 1.05), (3, 1.1), (7, 1.001)])
def test_what_is_found_is_what_was_said(step, most):
    told = subtracted(light_of([Source(60.3, 80.6, 4e5)], SHAPE), 5)
    told.flags[20:30, 40:90] |= int(Flag.COSMIC_RAY)
    told.score[:, 100:110], told.flux_error[:, 100:105] = 0.0, np.inf
    told.flux_error[100:] *= np.float32(1.2)
    error, score, flags = (
        plane[::step, ::step] for plane in (told.flux_error, told.score, told.flags)
    )
    usable = np.isfinite(error) & (score != 0) & ((flags & int(UNUSABLE)) == 0)
    expected = usable & (error < np.float32(most) * np.median(error[usable]))
    assert expected.any()
    np.testing.assert_array_equal(empty_sky(told, step, most), expected)


def test_there_may_be_none():
    told = subtracted(np.zeros((30, 40)), 7)
    told.flags[:] = int(Flag.SATURATED)
    found = empty_sky(told, 2, 1.1)
    assert found.shape == (15, 20)
    assert not found.any()
