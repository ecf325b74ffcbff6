"""Groups of sightings depend on where they are, not on their order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firstlight.algorithms.sky.sightings import Reach, Sightings, group_sightings, mean_place
from firstlight.algorithms.sky.sky_index import unit_vectors

ARCSEC = np.radians(1.0 / 3600.0)
REACH = Reach(radius=1.0 * ARCSEC, sigmas=0.0, largest=2.0 * ARCSEC)


def seen(*places, error=0.2):
    """Sightings (arcseconds east and north, image) near the pole and the meridian."""
    x, y, image = np.array(places, float).T
    dec = 60.0 + y / 3600.0
    ra = x / 3600.0 / np.cos(np.radians(dec))
    vectors = unit_vectors(ra, dec)
    return Sightings(vectors, np.full(len(x), error * ARCSEC), image.astype(np.int64))


def test_what_is_near_is_one_and_what_is_far_is_not():
    assert group_sightings(seen((0, 0, 0), (0.5, 0, 1), (0, 0.6, 2)), REACH).label.max() == 0
    assert set(group_sightings(seen((0, 0, 0), (5, 0, 1)), REACH).label) == {0, 1}


def test_two_of_one_image_are_two_things_unless_they_cannot_be_told_apart():
    apart = group_sightings(seen((-0.7, 0, 0), (0.7, 0, 0), (0.75, 0, 1)), REACH)
    assert apart.label[0] != apart.label[1] == apart.label[2]
    beside = group_sightings(seen((0, 0, 0), (0.6, 0, 0), (0.1, 0, 1)), REACH)
    assert beside.label.max() == 0
    assert beside.counts.tolist() == [True, False, True]


def test_larger_errors_reach_farther_but_not_beyond_the_largest():
    reach = Reach(1.0 * ARCSEC, 5.0, 3.0 * ARCSEC)
    pair = (0, 0, 0), (4.0, 0, 1)
    assert group_sightings(seen(*pair, error=0.2), reach).label.max() == 1
    assert group_sightings(seen(*pair, error=0.6), reach).label.max() == 0, "2 from their mean"
    assert group_sightings(seen((0, 0, 0), (9.0, 0, 1), error=9.0), reach).label.max() == 1


def test_the_mean_is_weighted_and_its_error_shrinks():
    both = seen((0, 0, 0), (0, 1, 1))
    place, error = mean_place(both.vectors, np.array([0.1, 0.3]) * ARCSEC)
    north = (np.degrees(np.arcsin(place[2])) - 60.0) * 3600.0
    assert north == pytest.approx(0.1, abs=1e-6)
    assert error == pytest.approx(ARCSEC / np.sqrt(1 / 0.01 + 1 / 0.09), rel=1e-9)


@settings(max_examples=60, deadline=None)
@given(
    places=st.lists(
        st.tuples(
            st.floats(-3, 3, allow_subnormal=False), st.floats(-3, 3, allow_subnormal=False),
            st.integers(0, 4),
        ),
        min_size=1, max_size=12, unique=True,
    ),
    seed=st.integers(0, 999),
)  # fmt: skip
def test_groups_do_not_depend_on_the_order_of_sightings(places, seed):
    order = np.random.default_rng(seed).permutation(len(places))
    # Of two that are as near as each other, to the last bit, the order alone could tell.
    places = [
        (x + 0.01 * np.sin(1.0 + 7.3 * n), y + 0.01 * np.cos(2.0 + 3.1 * n), image)
        for n, (x, y, image) in enumerate(places)
    ]
    first = group_sightings(seen(*places), REACH).label
    again = group_sightings(seen(*[places[n] for n in order]), REACH).label
    sets = [
        {frozenset(np.flatnonzero(label == n).tolist()) for n in range(label.max() + 1)}
        for label in (first, again)
    ]
    back = {frozenset(int(order[n]) for n in group) for group in sets[1]}
    assert sets[0] == back
