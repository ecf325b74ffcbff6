"""Every followed Object has its point in every difference that covers it."""

import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sqlalchemy import func, select, text, update
from transient_world import SCALE, Survey

from firstlight.formats.fits_image import Planes
from firstlight.models import (
    FollowedObject,
    ForcedRun,
    Object,
    Photometry,
    PhotometrySummary,
    StepRun,
)
from firstlight.models.audience import audience_of
from firstlight.models.database import Database
from firstlight.models.provenance import Provenance
from firstlight.models.sky_search import place
from firstlight.services.access import operator
from firstlight.services.objects.photometry_reading import PhotometryReading
from firstlight.services.objects.photometry_settings import PhotometrySettings
from firstlight.services.transients import forced_photometry
from firstlight.services.transients.followed import follow
from firstlight.services.transients.forced_photometry import ForcedPhotometryService, NoSuchObject
from firstlight.services.transients.settings import ForcedPhotometrySettings

SHAPE = (60, 80)
MICROJANSKY = 10 ** (-0.4 * (25.0 - 23.9))  # of an electron, with the zero point of the survey


@pytest.fixture
def survey(database, tmp_path):
    return Survey(database, folder=tmp_path, shape=SHAPE)


@pytest.fixture
def service(database):
    return ForcedPhotometryService(
        database=database, settings=ForcedPhotometrySettings(images_per_job=2, objects_per_job=2)
    )


def planes(flux=100.0, error=10.0, *, unknown=()):
    """A flux and an error that are the same everywhere."""
    errors = np.full(SHAPE, error, np.float32)
    score = np.full(SHAPE, flux / error, np.float32)
    flags = np.zeros(SHAPE, np.uint16)
    for row, column in unknown:
        errors[row, column], score[row, column], flags[row, column] = np.inf, 0.0, 32
    weight = np.ones(SHAPE, np.float32)
    return Planes(weight, weight, flags, {}, {"score": score, "flux_error": errors})


def add(survey, *pixels, followed=True):
    """Objects at pixels of an image that is not shifted; returns their ids."""
    ids = []
    projection = survey.projection()
    with survey.database.begin() as session:
        for x, y in pixels:
            row = Object(
                id=uuid.uuid4(), name=uuid.uuid4().hex, origin="transients",
                audience_id=audience_of(session, sites=["aro"]),
            )  # fmt: skip
            ra, dec = projection.pixel_to_sky(x, y)
            place(row, float(ra), float(dec))
            session.add(row)
            ids.append(row.id)
        session.flush()
        if followed:
            follow(session, ids, 0.1)
    return ids


def work(service, *, expect=True):
    """All that is planned, as the stages of a night do it; returns the points written."""
    points, jobs = 0, 0
    for plan in (service.plan, service.plan_objects):
        for request in plan():
            assert request.name == "forced_photometry"
            done = service.run(request.payload)
            assert not done["failures"], done["failures"]
            points += done["points"]
            jobs += 1
    assert bool(jobs) == expect
    return points


def points_of(survey, ident):
    with survey.database.reading() as session:
        query = select(Photometry).where(Photometry.object_id == ident).order_by(Photometry.mjd)
        return list(session.scalars(query))


def test_a_point_tells_the_flux_of_the_difference(survey, service):
    (ident,) = add(survey, (40.3, 22.8))
    section = survey.section(60_000.25, site="aro", planes=planes(flux=-35.0, error=10.0))
    assert work(service) == 1
    (point,) = points_of(survey, ident)
    assert point.flux_ujy == pytest.approx(-35.0 * MICROJANSKY, rel=1e-5)
    assert point.flux_err_ujy == pytest.approx(10.0 * MICROJANSKY, rel=1e-5)
    assert (point.mag, point.mag_err) == (None, None)
    assert point.limiting_mag == pytest.approx(25.0 - 2.5 * np.log10(50.0), abs=1e-4)
    assert (point.x, point.y) == (pytest.approx(40.3, abs=1e-6), pytest.approx(22.8, abs=1e-6))
    assert (point.origin, point.filter, point.airmass, point.mag_system) == (
        "forced", "r", 1.2, "AB"
    )  # fmt: skip
    assert point.image_id == section.image.id
    assert point.bjd_tdb == pytest.approx(2_460_000.75, abs=0.01)
    assert point.instrument_id is not None


def test_above_three_sigma_there_is_a_magnitude(survey, service):
    (ident,) = add(survey, (40.0, 30.0))
    survey.section(60_000.0, planes=planes(flux=100.0, error=10.0))
    work(service)
    (point,) = points_of(survey, ident)
    assert point.mag == pytest.approx(20.0, abs=1e-4)
    assert point.mag_err == pytest.approx(0.10857, abs=1e-4)
    with survey.database.reading() as session:
        summary = session.get_one(PhotometrySummary, ident)
        assert (summary.n_points, summary.n_detections) == (1, 1)
        assert summary.last_detected_mag == pytest.approx(20.0, abs=1e-3)


def test_images_that_come_later_get_all_objects_and_objects_their_past(survey, service):
    first = add(survey, (20.0, 20.0), (60.0, 40.0))
    for n in range(3):
        survey.section(60_000.0 + n, planes=planes())
    assert work(service) == 6
    second = add(survey, (30.0, 30.0), (41.0, 12.0), (50.0, 50.0))
    assert work(service) == 9
    survey.section(60_010.0, planes=planes())
    assert work(service) == 5
    assert work(service, expect=False) == 0, "nothing is left to do"
    assert {len(points_of(survey, ident)) for ident in first + second} == {4}


def test_doing_it_all_again_changes_nothing(survey, service):
    (ident,) = add(survey, (20.0, 20.0))
    survey.section(60_000.0, planes=planes())
    (request,) = service.plan()
    service.run(request.payload)
    (before,) = points_of(survey, ident)
    service.run(request.payload)
    service.measure_objects([ident])
    (after,) = points_of(survey, ident)
    assert (before.id, before.key, before.flux_ujy) == (after.id, after.key, after.flux_ujy)


def test_only_images_that_show_the_place_and_know_it_have_a_point(survey, service):
    inside, edge, hidden = add(survey, (40.0, 30.0), (1.0, 30.0), (50.0, 20.0))
    survey.section(60_000.0, planes=planes(unknown=[(20, 50)]))
    survey.section(60_001.0, planes=planes(), shift=(-30.0, 0.0))
    work(service)
    assert [len(points_of(survey, ident)) for ident in (inside, edge, hidden)] == [2, 1, 1]


def test_a_newer_difference_of_an_image_replaces_its_points_in_place(survey, service):
    (ident,) = add(survey, (40.0, 30.0))
    old = survey.section(60_000.0, planes=planes(flux=100.0))
    work(service)
    (before,) = points_of(survey, ident)
    new = survey.section(60_000.0, planes=planes(flux=50.0), exposure=old.exposure)
    work(service)
    (after,) = points_of(survey, ident)
    assert after.id == before.id, "what was said of the point stays"
    assert after.flux_ujy == pytest.approx(50.0 * MICROJANSKY, rel=1e-5)
    assert after.image_id == new.image.id


def test_points_of_a_difference_that_is_no_more_go(survey, service):
    (ident,) = add(survey, (40.0, 30.0))
    section = survey.section(60_000.0, planes=planes())
    work(service)
    with survey.database.begin() as session:
        session.delete(session.get_one(StepRun, (section.exposure.id, "0", "subtract")))
    work(service)
    assert points_of(survey, ident) == []
    with survey.database.reading() as session:
        assert session.scalar(select(func.count()).select_from(ForcedRun)) == 0
        assert session.get(PhotometrySummary, ident) is None


def test_an_object_that_has_moved_is_measured_where_it_is_now(survey, service):
    (ident,) = add(survey, (40.0, 30.0))
    survey.section(60_000.0, planes=planes())
    work(service)
    with survey.database.begin() as session:
        row = session.get_one(Object, ident)
        place(row, row.ra, row.dec + 2 * SCALE)
        session.flush()
        follow(session, [ident], 0.1)
    assert work(service) == 1
    (point,) = points_of(survey, ident)
    assert point.y == pytest.approx(32.0, abs=1e-5)


def test_an_object_that_is_committed_while_a_section_is_measured_is_not_lost(survey, service):
    """Its job sees no run of the section; so the section's job must see it."""
    survey.section(60_000.0, planes=planes())
    (request,) = service.plan()
    late = []
    look = service._first_look

    def slow(*arguments):
        found = look(*arguments)
        late.extend(add(survey, (40.0, 30.0)))
        assert service.measure_objects(late)["points"] == 0, "the section has no run yet"
        return found

    service._first_look = slow
    service.run(request.payload)
    assert len(points_of(survey, late[0])) == 1


def test_what_is_written_in_several_portions_is_complete(survey, service, monkeypatch):
    monkeypatch.setattr(forced_photometry, "_SECTIONS", 2)
    monkeypatch.setattr(forced_photometry, "_POINTS", 3)
    first = add(survey, (20.0, 20.0), (60.0, 40.0))
    keys = [
        (survey.section(60_000.0 + n, planes=planes()).exposure.id, "0") for n in range(5)
    ]  # fmt: skip
    assert service.measure_sections(keys)["points"] == 10
    late = add(survey, (30.0, 30.0))
    assert service.measure_objects(late)["points"] == 5
    assert {len(points_of(survey, ident)) for ident in first + late} == {5}


def test_each_field_of_a_job_gets_its_own_objects_alone(survey, service):
    """Objects are looked for once for all sections of a job, wherever these are."""
    here = add(survey, (20.0, 20.0), (60.0, 40.0))
    near = survey.section(60_000.0, planes=planes())
    survey.centre = (0.001, -60.0)
    there = add(survey, (30.0, 30.0), (10.0, 50.0), (70.0, 11.0))
    far = survey.section(60_001.0, planes=planes())
    keys = [(each.exposure.id, "0") for each in (near, far)]
    assert service.measure_sections(keys)["points"] == 5
    for idents, section in ((here, near), (there, far)):
        for ident in idents:
            assert [point.image_id for point in points_of(survey, ident)] == [section.image.id]


def test_a_job_that_dies_while_it_writes_leaves_nothing_half_done(survey, service, monkeypatch):
    (ident,) = add(survey, (40.0, 30.0))
    keys = [(survey.section(60_000.0 + n, planes=planes()).exposure.id, "0") for n in range(2)]

    def dies(session, objects):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(forced_photometry, "_note_points", dies)
        with pytest.raises(KeyboardInterrupt):
            service.measure_sections(keys)
    assert points_of(survey, ident) == []
    with survey.database.reading() as session:
        assert session.scalar(select(func.count()).select_from(ForcedRun)) == 0
    assert work(service) == 2
    assert len(points_of(survey, ident)) == 2


def test_only_sections_around_an_object_that_came_are_measured_again(survey, service):
    near = survey.section(60_000.0, planes=planes())
    survey.centre = (0.001, -60.0)
    far = survey.section(60_001.0, planes=planes())
    add(survey, (30.0, 30.0))
    keys = [(each.exposure.id, "0") for each in (near, far)]
    measured, look, measure = [], service._first_look, service._measure

    def slow(*arguments):
        found = look(*arguments)
        measured.clear()
        survey.centre = (150.0, 2.0)
        add(survey, (40.0, 30.0))
        return found

    service._first_look = slow
    service._measure = lambda frame, *others: (
        measured.append(frame.image.id) or measure(frame, *others)
    )
    assert service.measure_sections(keys)["points"] == 2
    assert measured == [near.image.id]


def test_a_difference_that_cannot_be_read_is_told_and_tried_again(survey, service, tmp_path):
    (ident,) = add(survey, (40.0, 30.0))
    section = survey.section(60_000.0, planes=planes())
    path = tmp_path / section.difference.filename
    path.rename(tmp_path / "away")
    (request,) = service.plan()
    (failure,) = service.run(request.payload)["failures"]
    assert section.difference.filename in failure
    (tmp_path / "away").rename(path)
    assert work(service) == 1
    assert len(points_of(survey, ident)) == 1


def test_an_object_that_somebody_asks_for_is_followed(survey, service):
    (ident,) = add(survey, (40.0, 30.0), followed=False)
    survey.section(60_000.0, planes=planes())
    assert work(service) == 0
    with survey.database.reading() as session:
        name = session.get_one(Object, ident).name
    assert service.follow(name) == ident
    assert work(service) == 1
    with pytest.raises(NoSuchObject):
        service.follow("nothing")


def test_a_section_without_a_zero_point_has_points_as_soon_as_it_has_one(survey, service):
    (ident,) = add(survey, (40.0, 30.0))
    section = survey.section(60_000.0, planes=planes())
    key = (section.exposure.id, "0", "solve_photometry")
    with survey.database.begin() as session:
        session.get_one(StepRun, key).state = "failed"
    work(service)
    assert points_of(survey, ident) == []
    with survey.database.begin() as session:
        session.execute(update(StepRun).where(StepRun.step == key[2]).values(state="done"))
    work(service)
    assert len(points_of(survey, ident)) == 1
    with survey.database.reading() as session:
        assert session.get_one(FollowedObject, ident).is_complete


def test_the_light_curve_of_the_portal_has_the_points_and_upper_limits(survey, service):
    (ident,) = add(survey, (40.0, 30.0))
    survey.section(60_000.0, site="aro", planes=planes(flux=-20.0, error=10.0))
    survey.section(60_001.0, site="aro", planes=planes(flux=100.0, error=10.0))
    work(service)
    reading = PhotometryReading(database=survey.database, settings=PhotometrySettings())
    with survey.database.reading() as session:
        name = session.get_one(Object, ident).name
    below, above = reading.of_object(operator(), name)
    assert below["mag"] is None
    assert below["limiting_mag"] == pytest.approx(25.0 - 2.5 * np.log10(50.0), abs=1e-3)
    assert above["mag"] == pytest.approx(20.0, abs=1e-3)
    assert {below["origin"], above["origin"]} == {"forced"}


@pytest.mark.slow
def test_postgresql_has_the_same_points(postgres_url, tmp_path):
    database = Database(postgres_url)
    survey = Survey(database, folder=tmp_path, shape=SHAPE)
    service = ForcedPhotometryService(database=database, settings=ForcedPhotometrySettings())
    (ident,) = add(survey, (40.0, 30.0))
    old = survey.section(60_000.0, site="aro", planes=planes(flux=100.0))
    assert work(service) == 1
    survey.section(60_000.0, site="aro", planes=planes(flux=50.0), exposure=old.exposure)
    late = add(survey, (41.3, 12.7), (50.0, 50.0))
    assert work(service) == 3
    (point,) = points_of(survey, ident)
    assert point.flux_ujy == pytest.approx(50.0 * MICROJANSKY, rel=1e-5)
    assert point.mag == pytest.approx(25.0 - 2.5 * np.log10(50.0), abs=1e-3)
    assert {len(points_of(survey, each)) for each in late} == {1}
    with database.reading() as session:
        assert session.get_one(PhotometrySummary, ident).n_points == 1
    assert work(service, expect=False) == 0
    database.dispose()


def wait_until_somebody_waits(database):
    waiting = text(
        "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) "
        "WHERE datname = current_database() AND NOT granted"
    )
    for _ in range(600):
        with database.engine.connect() as connection:
            if connection.scalar(waiting):
                return
        time.sleep(0.05)
    pytest.fail("nobody waits")


@pytest.mark.slow
def test_several_workers_may_be_the_first_on_postgresql(postgres_url, tmp_path):
    database = Database(postgres_url)
    survey = Survey(database, folder=tmp_path, shape=SHAPE)
    service = ForcedPhotometryService(database=database, settings=ForcedPhotometrySettings())
    (ident,) = add(survey, (40.0, 30.0))
    key = (survey.section(60_000.0, planes=planes()).exposure.id, "0")
    with ThreadPoolExecutor(1) as pool:
        with database.begin() as session:
            Provenance.record(session, service.lineage)
            other = pool.submit(service.measure_sections, [key])
            wait_until_somebody_waits(database)
        assert other.result(timeout=30.0)["points"] == 1
    assert len(points_of(survey, ident)) == 1
    database.dispose()
