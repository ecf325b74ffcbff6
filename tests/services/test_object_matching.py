"""Which Objects are at given positions."""

import uuid

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from firstlight.algorithms.sky.sky_index import healpix_index
from firstlight.models import Object
from firstlight.models.audience import public_audience
from firstlight.models.base import utc_now
from firstlight.models.database import Database, bulk_insert
from firstlight.services.object_matching import match_objects

ARCSEC = 1.0 / 3600.0


def _add(database: Database, ra, dec) -> list[uuid.UUID]:
    ra, dec = np.atleast_1d(np.asarray(ra, float)) % 360.0, np.atleast_1d(np.asarray(dec, float))
    ids = [uuid.UUID(int=n + 1) for n in range(len(ra))]
    rows = [
        {
            "id": ids[n],
            "name": f"star {n}",
            "ra": float(ra[n]),
            "dec": float(dec[n]),
            "hpx": int(healpix_index(ra[n : n + 1], dec[n : n + 1])[0]),
            "origin": "test",
            "created_at": utc_now(),
        }
        for n in range(len(ra))
    ]
    with database.begin() as session:
        audience = public_audience(session)
        bulk_insert(session, Object, [row | {"audience_id": audience} for row in rows])
    return ids


def _match(database, ra, dec, radius=3 * ARCSEC):
    with database.reading() as session:
        return match_objects(
            session, np.atleast_1d(np.asarray(ra, float)) % 360.0, np.atleast_1d(dec), radius
        )


def test_nothing_matches_in_an_empty_sky(database):
    assert _match(database, [10.0, 11.0], [1.0, 2.0]) == [None, None]
    assert _match(database, np.zeros(0), np.zeros(0)) == []


def test_near_is_the_same_and_far_is_not(database):
    (star,) = _add(database, 10.0, 20.0)
    assert _match(database, 10.0, 20.0 + 2.9 * ARCSEC) == [star]
    assert _match(database, 10.0, 20.0 + 3.1 * ARCSEC) == [None]
    assert _match(database, 10.0 + 2.9 * ARCSEC / np.cos(np.radians(20)), 20.0) == [star]


@pytest.mark.parametrize(("ra", "dec"), [(0.0, 0.0), (359.9999, -30.0), (123.0, 89.9999)])
def test_across_the_origin_and_at_the_pole(database, ra, dec):
    (star,) = _add(database, ra, dec)
    shift = 2.0 * ARCSEC / np.cos(np.radians(dec))
    assert _match(database, ra + shift, dec) == [star]
    assert _match(database, ra - shift, dec) == [star]


def test_the_nearer_of_two_objects_is_taken(database):
    near, far = _add(database, [10.0, 10.0], [20.0, 20.0 + 2 * ARCSEC])
    assert _match(database, 10.0, 20.0 + 0.5 * ARCSEC) == [near]
    assert _match(database, 10.0, 20.0 + 1.5 * ARCSEC) == [far]


def test_an_object_is_given_once_to_its_nearest_position(database):
    (star,) = _add(database, 10.0, 20.0)
    found = _match(database, [10.0, 10.0], [20.0 + 2 * ARCSEC, 20.0 + 1 * ARCSEC])
    assert found == [None, star]


def test_a_whole_field_finds_itself_again(database):
    rng = np.random.default_rng(5)
    ra, dec = 359.5 + rng.random(300), 40 + rng.random(300)
    ids = _add(database, ra, dec)
    shift = rng.normal(0, 0.3 * ARCSEC, (2, 300))
    found = _match(database, ra + shift[0] / np.cos(np.radians(dec)), dec + shift[1])
    order = rng.permutation(300)
    again = _match(database, ra[order], dec[order])
    assert found == ids
    assert again == [ids[n] for n in order], "the order of the positions does not matter"


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 12))
def test_no_object_is_given_twice(database, seed, count):
    with database.begin() as session:
        session.execute(delete(Object))
    rng = np.random.default_rng(seed)
    _add(database, 50 + rng.random(6) * 5 * ARCSEC, rng.random(6) * 5 * ARCSEC)
    found = _match(
        database, 50 + rng.random(count) * 5 * ARCSEC, rng.random(count) * 5 * ARCSEC, 2 * ARCSEC
    )
    given_away = [ident for ident in found if ident is not None]
    assert len(given_away) == len(set(given_away))
