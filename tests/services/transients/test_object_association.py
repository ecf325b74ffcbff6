"""Each measurement that is kept gets its Object, in any order and beside other workers."""

import re
import uuid
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sqlalchemy import func, select
from transient_world import Survey

from firstlight.models import (
    FollowedObject,
    Measurement,
    MeasurementSet,
    Object,
    Photometry,
    StepRun,
)
from firstlight.models.audience import members_of, public_audience
from firstlight.models.database import Database
from firstlight.models.sky_search import place
from firstlight.services.transients.association import ObjectRecogniser
from firstlight.services.transients.known_objects import KnownObjects
from firstlight.services.transients.settings import AssociationSettings

ARCSEC = 1.0 / 3600.0
RA, DEC = 150.0, 2.0
NOTHING_KNOWN = KnownObjects((), None)


@pytest.fixture
def survey(database):
    return Survey(database)


@pytest.fixture
def keeper():
    return ObjectRecogniser(AssociationSettings(), NOTHING_KNOWN)


def east(arcsec):
    return RA + arcsec * ARCSEC / np.cos(np.radians(DEC))


def objects(survey):
    with survey.database.reading() as session:
        return list(session.scalars(select(Object).order_by(Object.created_at)))


def test_near_measurements_of_several_images_are_one_object_and_others_are_not(survey, keeper):
    (first,) = survey.recognise(keeper, survey.section(60_000.0), RA, DEC)
    (second,) = survey.recognise(keeper, survey.section(60_001.0), east(1.0), DEC)
    (third,) = survey.recognise(keeper, survey.section(60_002.0), east(9.0), DEC)
    assert first == second != third
    assert len(objects(survey)) == 2


def test_the_place_is_the_weighted_mean_of_what_counts(survey, keeper):
    survey.recognise(keeper, survey.section(60_000.0), RA, DEC, error=0.3)
    survey.recognise(keeper, survey.section(60_001.0), RA, DEC + 1.0 * ARCSEC, error=0.1)
    (row,) = objects(survey)
    weights = np.array([1 / (0.3**2 + 0.05**2), 1 / (0.1**2 + 0.05**2)])
    assert row.dec == pytest.approx(DEC + ARCSEC * weights[1] / weights.sum(), abs=1e-4 * ARCSEC)
    assert row.dec_err == pytest.approx(ARCSEC / np.sqrt(weights.sum()), rel=1e-6)
    assert row.origin == "transients"


def test_an_object_takes_only_the_nearest_measurement_of_an_image(survey, keeper):
    (known,) = survey.recognise(keeper, survey.section(60_000.0), RA, DEC, error=0.5)
    far, near = survey.recognise(
        keeper, survey.section(60_001.0), [east(-2.5), east(0.3)], [DEC, DEC], error=0.5
    )
    assert near == known != far


def test_two_measurements_of_an_image_closer_than_the_radius_are_one_object(survey, keeper):
    one, other = survey.recognise(keeper, survey.section(60_000.0), [RA, east(0.8)], [DEC, DEC])
    assert one == other
    (row,) = objects(survey)
    assert row.ra == pytest.approx(RA, abs=0.81 * ARCSEC)
    assert row.ra_err == pytest.approx(np.hypot(0.2, 0.05) * ARCSEC, rel=1e-6), "one counts"


def test_what_is_not_kept_has_no_object(survey, keeper):
    got = survey.recognise(
        keeper, survey.section(60_000.0), [RA, east(30)], [DEC, DEC], kept=[False, True]
    )
    assert got[0] is None
    assert got[1] is not None


def test_stars_and_objects_of_people_are_matched_and_stay_where_they_are(survey, keeper):
    star = Object(id=uuid.uuid4(), name="star", origin="light_curves")
    with survey.database.begin() as session:
        star.audience_id = public_audience(session)
        place(star, RA, DEC)
        session.add(star)
    got = survey.recognise(keeper, survey.section(60_000.0), [east(0.4), east(8.0)], [DEC, DEC])
    assert got[0] == star.id
    assert got[1] != star.id
    row = next(each for each in objects(survey) if each.id == star.id)
    assert (row.ra, row.dec) == (RA, DEC)


def test_measuring_again_makes_no_second_object_and_forgets_the_old_place(survey, keeper):
    section = survey.section(60_000.0)
    (first,) = survey.recognise(keeper, section, RA, DEC)
    (again,) = survey.recognise(keeper, section, RA, DEC + 0.5 * ARCSEC)
    assert first == again
    (row,) = objects(survey)
    assert row.dec == pytest.approx(DEC + 0.5 * ARCSEC, abs=1e-9)
    with survey.database.reading() as session:
        assert session.scalar(select(func.count(Measurement.id))) == 2, "the old rows stay"


def test_a_set_that_becomes_the_present_one_again_counts_again(survey, keeper):
    section = survey.section(60_000.0)
    survey.recognise(keeper, section, RA, DEC)
    with survey.database.reading() as session:
        old = session.scalars(select(StepRun).where(StepRun.step == "measure_changes")).one()
    survey.recognise(keeper, section, RA, DEC + 0.5 * ARCSEC)
    with survey.database.begin() as session:
        keeper(session, session.get_one(MeasurementSet, old.product_id), section.exposure)
        session.merge(old)
    (row,) = objects(survey)
    assert row.dec == pytest.approx(DEC, abs=1e-9)


def test_the_readers_of_a_site_see_what_it_has_seen(survey, keeper):
    survey.recognise(keeper, survey.section(60_000.0, site="aro"), RA, DEC)
    survey.recognise(keeper, survey.section(60_001.0, site="mrc"), RA, DEC)
    (row,) = objects(survey)
    with survey.database.reading() as session:
        assert members_of(session, row.audience_id)[1] == {"aro", "mrc"}


def test_objects_are_followed_and_measured_again_where_they_move(survey, keeper):
    (ident,) = survey.recognise(keeper, survey.section(60_000.0), RA, DEC)
    with survey.database.begin() as session:
        session.get_one(FollowedObject, ident).is_complete = True
    survey.recognise(keeper, survey.section(60_001.0), RA, DEC + 0.1 * ARCSEC)
    with survey.database.reading() as session:
        followed = session.get_one(FollowedObject, ident)
        assert followed.is_complete, "half of 0.1 arcseconds is nothing"
        assert followed.dec == DEC
    survey.recognise(keeper, survey.section(60_002.0), RA, DEC + 1.0 * ARCSEC)
    with survey.database.reading() as session:
        followed = session.get_one(FollowedObject, ident)
        assert not followed.is_complete
        assert followed.dec == objects(survey)[0].dec


def test_objects_that_turn_out_to_be_one_are_joined_unless_somebody_uses_them(survey, keeper):
    # The extremes come first and are too far apart; the rest shows that they are one thing.
    settings = AssociationSettings(radius_arcsec=1.0, radius_pixels=0, sigmas=0)
    keeper = ObjectRecogniser(settings, NOTHING_KNOWN)
    for n, dec in enumerate((-0.7, 0.7, 0.0)):
        survey.recognise(keeper, survey.section(60_000.0 + n), RA, DEC + dec * ARCSEC)
    assert len(objects(survey)) == 1


def test_an_object_with_a_point_of_somebody_stays_when_its_measurements_go(survey):
    settings = AssociationSettings(radius_arcsec=1.0, radius_pixels=0, sigmas=0)
    keeper = ObjectRecogniser(settings, NOTHING_KNOWN)
    ids = set()
    for n, dec in enumerate((-0.7, 0.7)):
        ids |= set(survey.recognise(keeper, survey.section(60_000.0 + n), RA, DEC + dec * ARCSEC))
    with survey.database.begin() as session:
        for ident in ids:
            session.add(Photometry(
                key=uuid.uuid4(), object_id=ident, origin="me", mjd=60_000.0, flags=0,
                audience_id=public_audience(session),
            ))  # fmt: skip
    survey.recognise(keeper, survey.section(60_003.0), RA, DEC)
    assert {row.id for row in objects(survey)} == ids
    with survey.database.reading() as session:
        assert len(set(session.scalars(select(Measurement.object_id)))) == 1


@pytest.mark.parametrize(
    ("name", "like"),
    [
        ("{prefix}{yy}{letters}", r"AT23[a-z]{7}$"),
        ("{prefix} {j}", r"AT J100000\.00\+020000\.0$"),
        ("{prefix}-{yyyy}-{hex}", r"AT-2023-[0-9a-f]{7}$"),
    ],
)
def test_names_follow_the_format(survey, name, like):
    keeper = ObjectRecogniser(AssociationSettings(prefix="AT", name=name), NOTHING_KNOWN)
    survey.recognise(keeper, survey.section(60_000.0), RA, DEC)
    assert re.match(like, objects(survey)[0].name)


def test_a_name_that_is_taken_is_not_given_twice(survey):
    keeper = ObjectRecogniser(AssociationSettings(name="{prefix} {j}"), NOTHING_KNOWN)
    with survey.database.begin() as session:
        other = Object(
            id=uuid.uuid4(), name="FL J100000.00+020000.0", origin="me",
            audience_id=public_audience(session),
        )  # fmt: skip
        place(other, 10.0, 10.0)
        session.add(other)
    survey.recognise(keeper, survey.section(60_000.0), RA, DEC)
    assert {row.name for row in objects(survey)} == {other.name, f"{other.name}-2"}


def test_a_format_without_anything_that_tells_objects_apart_is_refused():
    with pytest.raises(ValueError, match="letters"):
        AssociationSettings(name="{prefix}{yy}")


@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
@pytest.mark.parametrize("order", ["forward", "backward", "shuffled"])
@pytest.mark.slow
def test_parallel_workers_find_exactly_the_objects_there_are(request, tmp_path, backend, order):
    url = (
        f"sqlite:///{tmp_path / 'sky.sqlite'}"
        if backend == "sqlite"
        else request.getfixturevalue("postgres_url")
    )
    database = Database(url)
    database.upgrade()
    survey = Survey(database)
    keeper = ObjectRecogniser(AssociationSettings(), NOTHING_KNOWN)
    dice = np.random.default_rng(7)
    count, epochs = 200, 10
    # On a grid across zero right ascension, 20 arcseconds apart.
    dec = DEC + (np.arange(count) % 20) * 20 * ARCSEC
    ra = (np.arange(count) // 20 - 5) * 20 * ARCSEC
    images = []
    for epoch in range(epochs):
        there = dice.normal(0, 0.25 * ARCSEC, (2, count))
        images.append((epoch, (ra + there[0]) % 360.0, dec + there[1], dice.permutation(count)))
    chosen = {
        "forward": list(range(epochs)),
        "backward": list(range(epochs))[::-1],
        "shuffled": dice.permutation(epochs).tolist(),
    }[order]
    sections = [survey.section(60_000.0 + epoch) for epoch in range(epochs)]

    def work(n):
        epoch, at_ra, at_dec, mixed = images[n]
        return survey.recognise(
            keeper, sections[epoch], at_ra[mixed], at_dec[mixed], error=0.25
        ), mixed

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(work, chosen))
    found = objects(survey)
    assert len(found) == count
    assert len({row.name for row in found}) == count
    owners = np.array([np.array(ids)[np.argsort(mixed)] for ids, mixed in answers])
    with database.reading() as session:
        rows = session.execute(select(Measurement.object_id, func.count()).group_by(
            Measurement.object_id)).all()  # fmt: skip
    assert {n for _, n in rows} == {epochs}
    assert (owners == owners[0]).all(), "all measurements of one thing are of one object"
    # The mean of ten, whatever their order.
    place_of = {row.id: row.dec for row in found}
    mean = np.mean([at_dec for _, _, at_dec, _ in images], axis=0)
    assert np.abs([place_of[n] for n in owners[0]] - mean).max() < 1e-3 * ARCSEC
    database.dispose()
