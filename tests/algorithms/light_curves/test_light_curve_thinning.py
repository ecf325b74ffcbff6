"""A thinned light curve keeps its ends and its extremes, and is no longer than asked for."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from firstlight.algorithms.light_curves.thinning import thinned

POINTS = st.lists(
    st.tuples(
        st.floats(0, 1000), st.one_of(st.floats(-100, 100), st.just(np.nan)), st.integers(0, 3)
    ),
    max_size=300,
)


@given(POINTS, st.integers(1, 200))
def test_what_stays(points, most):
    time, value, series = (
        (np.array(each) for each in zip(*points, strict=True)) if points else ([],) * 3
    )
    kept = thinned(time, value, series, most)
    assert (np.diff(kept) > 0).all()
    if len(points) <= most:
        assert len(kept) == len(points)
        return
    groups = np.unique(series)
    assert len(kept) <= max(most, 4 * len(groups) + most)
    for name in groups:
        members = np.flatnonzero(series == name)
        chosen = kept[series[kept] == name]
        assert time[chosen].min() == time[members].min()
        assert time[chosen].max() == time[members].max()
        finite = np.isfinite(value[members])
        if finite.any():
            assert np.nanmax(value[chosen]) == np.nanmax(value[members])


def test_a_flare_is_never_lost():
    rng = np.random.default_rng(2)
    time = np.sort(rng.random(50_000)) * 1000
    value = rng.normal(size=50_000)
    value[31_415] = 50.0
    value[27_182] = -50.0
    kept = thinned(time, value, np.zeros(50_000), 2000)
    assert len(kept) <= 2000
    assert {31_415, 27_182} <= set(kept.tolist())


def test_each_stretch_keeps_its_own_extremes():
    time = np.arange(10_000.0)
    value = np.sin(time)
    kept = thinned(time, value, np.zeros(10_000), 202)
    for start in range(0, 10_000, 100):
        chosen = kept[(kept >= start) & (kept < start + 100)]
        stretch = value[start : start + 100]
        assert value[chosen].max() >= np.sort(stretch)[-2]
        assert value[chosen].min() <= np.sort(stretch)[1]
