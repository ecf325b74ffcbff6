"""Lists of what was measured on differences."""

from datetime import UTC, datetime

import pytest
from transient_world import Survey

from firstlight.models import Object
from firstlight.services.transients.association import ObjectRecogniser
from firstlight.services.transients.forced_photometry import NoSuchObject
from firstlight.services.transients.known_objects import KnownObjects
from firstlight.services.transients.listing import TransientListing, TransientWish
from firstlight.services.transients.settings import AssociationSettings


@pytest.fixture
def survey(database):
    made = Survey(database)
    keeper = ObjectRecogniser(AssociationSettings(), KnownObjects((), None))
    section = made.section(60_000.0)
    made.recognise(keeper, section, [150.0, 150.1], [2.0, 2.0])
    made.recognise(keeper, section, [150.0, 150.1], [2.0, 2.0], kept=[True, False])
    made.recognise(keeper, made.section(60_010.0), 150.0, 2.0)
    return made


def test_measurements_of_the_present_sets_are_listed_the_newest_first(survey):
    listing = TransientListing(database=survey.database)
    rows = listing.measurements(TransientWish())
    assert [row["mjd"] for row in rows] == [60_010.0, 60_000.0, 60_000.0]
    assert len(listing.measurements(TransientWish(kept=True))) == 2
    assert len(listing.measurements(TransientWish(limit=1))) == 1
    assert listing.measurements(TransientWish(min_score=13.0)) == []
    since = datetime(2023, 3, 1, tzinfo=UTC)
    assert [row["mjd"] for row in listing.measurements(TransientWish(since=since))] == [60_010.0]


def test_an_object_is_told_with_its_measurements(survey):
    with survey.database.reading() as session:
        name = session.query(Object).order_by(Object.ra).first().name
    told = TransientListing(database=survey.database).one(name)
    assert [row["mjd"] for row in told["measurements"]] == [60_000.0, 60_010.0]
    assert told["forced"]["is_followed"]
    assert told["forced"]["n_points"] == 0
    with pytest.raises(NoSuchObject):
        TransientListing(database=survey.database).one("nothing")
