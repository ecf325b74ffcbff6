"""Counts become linear within a table, and stay tame outside of it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstlight.algorithms.detector.calibrate import Detector, calibrate
from firstlight.algorithms.detector.linearity import Linearity, linearized
from firstlight.algorithms.flags import Flag
from firstlight.errors import InvalidInput


def test_a_table_of_whole_counts_is_kept_as_it_is():
    counts = np.arange(0, 65536)
    table = Linearity.of(counts, counts * (1 + 1e-6 * counts))
    assert (table.start, table.step, table.top) == (0.0, 1.0, 65535.0)
    np.testing.assert_allclose(table.correction, 1e-6 * counts.astype(float) ** 2, rtol=1e-4)


def test_uneven_steps_are_brought_to_even_ones():
    table = Linearity.of([-10, 0, 7, 1000, 50_000], [-10, 0, 7.5, 1010, 52_000])
    assert table.step == 1.0
    made = linearized(np.array([-10.0, 0, 7, 503.5, 50_000]), table)
    np.testing.assert_allclose(made, [-10, 0, 7.5, 503.5 + (0.5 + 10) / 2, 52_000], atol=0.02)


@given(st.floats(-1e5, 1e6))
def test_outside_of_the_table_the_correction_of_its_end_is_kept(value):
    table = Linearity.of([100, 200, 60_000], [101, 203, 61_000])
    got = float(linearized(np.array([value]), table)[0])
    if value <= 100:
        assert got == pytest.approx(value + 1, rel=1e-6)
    elif value >= 60_000:
        assert got == pytest.approx(value + 1000, rel=1e-6)
    else:
        assert value + 1 - 1e-2 <= got <= value + 1000.1


def test_the_kernel_and_the_plain_function_agree():
    random = np.random.default_rng(3)
    table = Linearity.of([0, 500, 20_000, 40_000], [0, 510, 20_500, 41_500])
    raw = random.uniform(-100, 60_000, (50, 60)).astype(np.float32) + 1000
    raw[3, 4] = np.nan
    done = calibrate(raw, Detector(gain=2.0, linearity=table), overscan=1000.0)
    wanted = 2.0 * linearized(raw - np.float32(1000), table)
    good = np.isfinite(raw)
    np.testing.assert_allclose(done.data[good], wanted[good], rtol=1e-5, atol=1e-2)
    beyond = raw - 1000 > 40_000
    np.testing.assert_array_equal((done.flags & Flag.NONLINEAR) != 0, beyond)


@pytest.mark.parametrize(
    ("counts", "linear"),
    [([0], [0]), ([0, 1], [0]), ([0, 0], [0, 1]), ([0, 1], [1, 1]), ([0, np.nan], [0, 1])],
)
def test_what_is_no_table_is_refused(counts, linear):
    with pytest.raises(InvalidInput):
        Linearity.of(counts, linear)
