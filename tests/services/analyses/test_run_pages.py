"""Runs for pages: told as stale where their owner would send something else today."""

import pytest

from firstlight.models.account import User
from firstlight.models.analysis import AnalysisStatus
from firstlight.services.analyses import analyses_stale
from firstlight.services.analyses.analyses import visible_run
from firstlight.services.analyses.analysis_inputs_stamp import stamp
from firstlight.services.analyses.run_pages import RunPages
from firstlight.services.objects.visible_objects import ObjectMissing

TYPES = ["redshift", "classifications"]


@pytest.fixture
def pages(either_world):
    return RunPages(database=either_world.database, clock=lambda: either_world.now)


def finished(world, service, by="ada", groups="A", status=AnalysisStatus.COMPLETED, **facts):
    """A run that has ended, with the mark of its owner's data; returns its number."""
    shared = [world.groups[each] for each in groups]
    number, viewer = world.start(service, by=by, group_ids=shared), world.viewer(by)
    with world.database.begin() as session:
        run, thing = visible_run(session, viewer, number)
        run.inputs_stamp = stamp(session, viewer, thing, TYPES, run.input_filters)
        run.status, run.facts = status, facts
    return number


def test_runs_are_stale_by_what_their_owners_see(either_world, pages):
    world = either_world
    service = world.add_service(groups="AB")
    ours = [finished(world, service) for _ in range(2)]
    mias = finished(world, service, by="mia")
    failed = finished(world, service, status=AnalysisStatus.FAILURE)
    unsent = world.start(service)
    world.set_status(unsent, AnalysisStatus.COMPLETED)

    def stale():
        shown = pages.of_object(world.viewer("mia"), "FL1", 50)
        assert {each["id"] for each in shown} == {*ours, mias, failed, unsent}
        return {each["id"] for each in shown if each["stale"]}

    assert stale() == set()
    world.classify(by="mia", groups="B")  # which ada does not see
    assert stale() == {mias}
    world.classify(by="mia", groups="A")
    assert stale() == {*ours, mias}
    with world.database.begin() as session:
        session.get_one(User, world.users["ada"]).expires_at = world.now
    assert stale() == {mias}  # what would be sent for one who is gone is not known


def test_the_mark_of_equal_data_is_made_once(either_world, pages, monkeypatch):
    world = either_world
    service = world.add_service()
    for by in ("ada", "ada", "mia", "ada"):
        finished(world, service, by=by)
    made = []

    def counted(session, viewer, *rest):
        made.append(viewer.username)
        return stamp(session, viewer, *rest)

    monkeypatch.setattr(analyses_stale, "stamp", counted)
    assert len(pages.of_object(world.viewer("ada"), "FL1", 50)) == 4
    assert sorted(made) == ["ada", "mia"]


def test_the_newest_runs_with_light_curves_that_one_may_see(either_world, pages):
    world = either_world
    service = world.add_service(groups="AB", display_name="Fitter")
    first, second = (finished(world, service, has_light_curves=True) for _ in range(2))
    finished(world, service, has_light_curves=False)
    finished(world, service)
    of_mia = finished(world, service, by="mia", has_light_curves=True)
    unseen = finished(world, service, by="mia", groups="B", has_light_curves=True)

    def found(viewer="ada", limit=10, **options):
        shown = pages.with_light_curves(world.viewer(viewer), "FL1", limit, **options)
        assert {each["analysis_service_name"] for each in shown} <= {"Fitter"}
        return [each["id"] for each in shown]

    assert found("mia") == [unseen, of_mia, second, first]
    assert found() == [of_mia, second, first]
    assert found(limit=2) == [of_mia, second]
    assert found(limit=1, only=[first]) == [first]
    with pytest.raises(ObjectMissing):
        found("bob")
