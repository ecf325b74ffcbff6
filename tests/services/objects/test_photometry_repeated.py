"""However a set of points is cut, shuffled and repeated, each is one row with one number."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firstlight.models.database import Database
from photometry_world import PhotometryWorld

POINT = st.tuples(
    st.integers(0, 5),  # night
    st.sampled_from(["sdssg", "sdssr"]),
    st.sampled_from([18.0, 18.5, None]),
    st.sampled_from([None, "one", "two"]),
)


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    database = Database(f"sqlite:///{tmp_path_factory.mktemp('repeated') / 'a.sqlite'}")
    database.upgrade()
    yield database
    database.dispose()


def put(world, points):
    sent = world.columns(
        mjd=[60000.0 + night for night, _, _, _ in points],
        filter=[band for _, band, _, _ in points],
        mag=[mag for _, _, mag, _ in points],
        magerr=[None if mag is None else 0.1 for _, _, mag, _ in points],
        origin=[origin for _, _, _, origin in points],
    )
    return world.service.put(world.ada, sent)["ids"]


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.lists(POINT, min_size=1, max_size=12), min_size=1, max_size=4))
def test_one_row_a_point_and_ids_in_the_order_of_the_rows(opened, requests):
    world = PhotometryWorld(opened)
    known = {}
    for points in [*requests, *reversed(requests)]:
        for point, number in zip(points, put(world, points), strict=True):
            assert known.setdefault(point, number) == number
    assert len(set(known.values())) == len(known)
    kept = world.points()
    assert sorted(each["id"] for each in kept) == sorted(known.values())
    by_number = {number: point for point, number in known.items()}
    for each in kept:
        night, band, mag, origin = by_number[each["id"]]
        assert (each["mjd"], each["filter"], each["mag"], each["origin"]) == (
            60000.0 + night, band, mag, origin,
        )  # fmt: skip
