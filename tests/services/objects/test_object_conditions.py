"""The conditions that lists of objects are made of, each against what it stands for."""

import numpy as np
import pytest
import sqlalchemy as sa

from firstlight.algorithms.sky.sky_index import angular_separation, sky_position, unit_vectors
from firstlight.models.object import Object
from firstlight.services.access import operator
from firstlight.services.objects.object_conditions import Sought
from firstlight.services.objects.object_query import ObjectQuery

AROUND = 300


def places(rng, cone):
    """Places in a cone, on its rim and outside; and the nearest to the poles and to RA 0."""
    ra, dec, radius = cone
    middle = unit_vectors(ra, dec)
    aside = np.cross(middle, rng.normal(size=(AROUND, 3)))
    aside /= np.linalg.norm(aside, axis=1, keepdims=True)
    reach = radius * np.concatenate(
        [np.full(AROUND // 2, 1 - 1e-9), rng.uniform(0, 3, AROUND // 2)]
    )
    reach = np.radians(np.minimum(reach, 180.0))[:, None]
    around = sky_position(np.cos(reach) * middle + np.sin(reach) * aside)
    more_ra, more_dec = [0.0, 359.999999, 12.0, 200.0], [dec, dec, 90.0, -90.0]
    return np.append(around[0] % 360.0, more_ra) % 360.0, np.append(around[1], more_dec)


@pytest.fixture(scope="module")
def table():
    """The table of objects alone, so that nothing needs what they refer to."""
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        Object.__table__.create(connection)
        yield connection
    engine.dispose()


@pytest.mark.parametrize(
    "cone",
    [
        (120.0, -20.0, 1 / 60),
        (120.0, -20.0, 2.0),
        (0.01, 45.0, 1.0),
        (359.99, 45.0, 1.0),
        (30.0, 88.0, 1.999999),
        (30.0, 88.0, 2.0),
        (30.0, -89.5, 3.0),
        (200.0, 0.0, 89.9),
        (200.0, 3.0, 90.0),
        (77.0, 89.99999, 1e-6),
    ],
)
def test_whatever_is_in_a_cone_is_let_through_and_little_else(table, cone):
    ra, dec = places(np.random.default_rng(5), cone)
    numbers = np.arange(len(ra))
    table.execute(sa.text("DELETE FROM objects"))
    table.execute(
        sa.text(
            "INSERT INTO objects (id, name, ra, dec, hpx, origin, aliases, redshift_history,"
            " details, audience_id, modified_at, created_at)"
            " VALUES (:id, :id, :ra, :dec, 0, '', '[]', '[]', '{}', 1, '', '')"
        ),
        [{"id": f"{n:032x}", "ra": ra[n], "dec": dec[n]} for n in numbers.tolist()],
    )
    sought = Sought(operator(), ObjectQuery(cone=cone), None)
    found = table.execute(sa.select(Object.id).where(*sought.conditions())).scalars()
    through = np.isin(numbers, [ident.int for ident in found])
    apart = angular_separation(*cone[:2], ra, dec)
    assert through[apart <= cone[2]].all()
    if cone[2] < 10 and abs(cone[1]) + cone[2] < 88:
        assert not through[apart > 1.5 * cone[2]].any()  # a box reaches so far at its corners
