import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firstlight.algorithms.plate.quads import (
    CODE_UNIT,
    SIZE_UNIT,
    build_quad_table,
    dominance,
    neighbour_quads,
    plane_codes,
    sky_codes,
)
from firstlight.algorithms.sky.projection import from_tangent_plane
from firstlight.algorithms.sky.sky_index import unit_vectors

ONE = np.arange(4, dtype=np.uint32)[np.newaxis]


def points(seed, n=4):
    return np.random.default_rng(seed).random((2, n))


@given(st.integers(0, 10_000), st.floats(0, 6.28), st.floats(0.01, 100), st.permutations(range(4)))
@settings(deadline=None)
def test_codes_do_not_change_with_turn_scale_shift_and_order(seed, turn, scale, order):
    x, y = points(seed)
    code, members, size = plane_codes(x, y, ONE)
    z = (x + 1j * y)[list(order)] * scale * np.exp(1j * turn) + (3 - 7j)
    other, other_members, other_size = plane_codes(z.real.copy(), z.imag.copy(), ONE)
    assert other == pytest.approx(code, abs=1e-9)
    assert other_size == pytest.approx(size * scale)
    assert np.array_equal(np.array(order)[other_members[0]], members[0])


@given(st.integers(0, 10_000))
@settings(deadline=None)
def test_a_mirror_negates_the_imaginary_parts(seed):
    x, y = points(seed)
    code, members, _ = plane_codes(x, y, ONE)
    mirrored, same, _ = plane_codes(-x, y, ONE)
    assert mirrored == pytest.approx(code * [1, -1, 1, -1], abs=1e-9)
    assert np.array_equal(same, members)


@given(st.integers(0, 1000))
@settings(deadline=None)
def test_codes_stay_in_the_tables_grid(seed):
    x, y = points(seed)
    code, members, size = plane_codes(x, y, ONE)
    assert np.all((code[:, ::2] >= 0) & (code[:, ::2] <= 1))
    assert np.all(np.abs(code[:, 1::2]) <= 0.8661)
    a, b = members[0, :2]
    assert size[0] == pytest.approx(np.hypot(x[a] - x[b], y[a] - y[b]))
    assert size[0] == pytest.approx(np.hypot(x[:, None] - x, y[:, None] - y).max())


@pytest.mark.parametrize("place", [(0.0, 0.0), (123.0, 89.9999), (10.0, -90.0), (359.9, 45.0)])
def test_codes_on_the_sky_are_those_of_the_tangent_plane(place):
    x, y = points(7)
    ra, dec = from_tangent_plane(x, y, *place)
    sky, sky_members, size = sky_codes(unit_vectors(ra, dec), ONE)
    plane, members, width = plane_codes(x, y, ONE)
    assert sky == pytest.approx(plane, abs=1e-3)
    assert np.array_equal(sky_members, members)
    assert np.degrees(size) == pytest.approx(width, rel=1e-3)


def test_points_at_one_place_make_no_quad_of_size():
    code, members, size = plane_codes(np.ones(4), np.ones(4), ONE)
    assert size[0] == 0.0
    assert np.array_equal(code, np.zeros((1, 4)))
    assert sorted(members[0]) == [0, 1, 2, 3]


def test_dominance_is_the_distance_to_the_fifth_nearest_brighter():
    place = np.random.default_rng(4).random((400, 2))
    found = dominance(place)
    assert np.all(np.isinf(found[:5]))
    for i in range(5, 400):
        brighter = np.sort(np.hypot(*(place[:i] - place[i]).T))
        assert found[i] == pytest.approx(brighter[4]), i


def test_dominance_spreads_stars_over_crowds_and_voids():
    rng = np.random.default_rng(5)
    crowd, sparse = rng.random((2000, 2)) * 0.5, rng.random((200, 2)) * 0.5 + [0.5, 0.0]
    # The brightest 200 are all in the crowd.
    place = np.concatenate([crowd[:200], rng.permutation(np.concatenate([crowd[200:], sparse]))])
    first = np.argsort(-dominance(place), kind="stable")[:40]
    in_crowd = np.sum(place[first, 0] < 0.5)
    assert 10 <= in_crowd <= 30


def test_quads_of_neighbours():
    place = np.random.default_rng(6).random((50, 2))
    quads = neighbour_quads(place, 4)
    assert quads.shape == (200, 4)
    assert np.all(np.diff(np.sort(quads, axis=1), axis=1) > 0)
    distance = np.hypot(*(place[quads[:, 1:]] - place[quads[:, :1]]).transpose(2, 0, 1))
    rank = np.sort(np.hypot(*(place[:, None] - place).transpose(2, 0, 1)), axis=1)
    assert np.all(distance <= rank[quads[:, 0], 4][:, np.newaxis] + 1e-12)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_fewer_than_four_points_have_no_quads(count):
    assert neighbour_quads(np.random.default_rng(1).random((count, 2)), 10).shape == (0, 4)


def test_doubled_points_make_no_quad_with_themselves():
    place = np.repeat(np.random.default_rng(1).random((10, 2)), 2, axis=0)
    quads = neighbour_quads(place, 10)
    assert len(quads)
    assert np.all(np.diff(np.sort(quads, axis=1), axis=1) > 0)


def test_a_table_holds_what_it_was_made_from():
    rng = np.random.default_rng(8)
    ra, dec = rng.random(3000) * 20 + 350, rng.random(3000) * 20 - 10
    done = []
    table = build_quad_table(ra, dec, rng.random(3000), area=400, progress=done.append)
    assert done == sorted(done)
    assert 0 < done[0] < done[-1] <= 1
    assert table.bins[-1] == len(table.codes) == len(table.members) == len(table.sizes)
    vectors = unit_vectors(ra, dec)
    assert np.allclose(np.sort(table.vectors[:, 2]), np.sort(vectors[:, 2]), atol=1e-7)
    codes, members, sizes = sky_codes(table.vectors.astype(float), table.members[::50])
    assert np.array_equal(members, table.members[::50])
    assert np.allclose(table.codes[::50] / CODE_UNIT - 1, codes, atol=1e-3)
    assert np.allclose(2 ** ((table.sizes[::50] - 65535.0) / SIZE_UNIT), sizes, rtol=1e-3)
    assert table.density[0] == pytest.approx(7.5)
    # Sparser rungs are denser than meant, since stars at the rim have fewer rivals.
    counts = [np.sum(table.levels >= rung) / 400 for rung in range(4)]
    assert counts == pytest.approx(table.density[:4].tolist(), rel=0.35)
    assert np.all(np.diff(table.density) < 0)
    assert not any(array.flags.writeable for array in table)
