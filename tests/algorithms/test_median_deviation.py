"""The robust scatter: a sigma of Gaussian values, whatever a few outliers do."""

from statistics import median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstlight.algorithms.median_deviation import (
    MAD_TO_SIGMA,
    excess_variance,
    scatter_about_median,
)

VALUES = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=30)


def test_it_is_a_sigma_with_outliers_and_without():
    values = np.random.default_rng(5).normal(100.0, 3.0, (200, 100)).astype(np.float32)
    assert scatter_about_median(values) == pytest.approx(3.0, rel=0.02)
    values[:4] = 1e9
    assert scatter_about_median(values) == pytest.approx(3.0, rel=0.05)


@given(VALUES)
def test_it_is_the_middle_of_the_distances_from_the_middle(values):
    distances = [abs(each - median(values)) for each in values]
    wanted = MAD_TO_SIGMA * median(distances)
    assert scatter_about_median(np.array(values)) == pytest.approx(wanted)


def test_the_excess_is_what_was_added_to_unequal_errors():
    rng = np.random.default_rng(8)
    error = 10.0 ** rng.uniform(-1.0, 1.0, 20_000)
    values = rng.normal(0.0, np.hypot(error, 2.0))
    values[::50] = 1e6
    one = 0.4549  # median of the square of a normal variate
    assert excess_variance(values**2, error**2, one) == pytest.approx(4.0, rel=0.1)
    assert excess_variance(rng.normal(0.0, 0.5 * error) ** 2, error**2, one) < 0.0
