"""Runs are started, listed, cancelled, run again and deleted; the caps hold side by side."""

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from analysis_world import SECRET, AnalysisWorld
from sqlalchemy import func, select

from firstlight.errors import InvalidInput
from firstlight.models.account import Group
from firstlight.models.analysis import Analysis, AnalysisService
from firstlight.services.access import Forbidden, NotSignedIn, Viewer
from firstlight.services.analyses import analyses_start
from firstlight.services.analyses.analyses import AnalysisMissing, RunQuery, visible_run
from firstlight.services.analyses.analyses_start import (
    RunWish,
    ServiceDisabled,
    SubjectGone,
    TooManyRuns,
    TooManyWaiting,
)
from firstlight.services.analyses.analysis_inputs_stamp import stamp
from firstlight.services.analyses.analysis_services import AnalysisServiceMissing
from firstlight.services.analyses.declared_parameters import ParametersInvalid
from firstlight.services.analyses.run_tokens import run_token, token_hash
from firstlight.services.objects.objects import ObjectInUse
from firstlight.services.objects.sharing import AccountNeeded
from firstlight.services.objects.visible_objects import ObjectMissing


def test_a_run_waits_with_its_token_hashed(either_world):
    world = either_world
    service = world.add_service(
        version="1.2", optional_analysis_parameters={"a": ["x", "y"], "b": {"default": "z"}}
    )
    number = world.start(
        service,
        analysis_parameters={"a": "y"},
        input_filters={"photometry": {"filters": ["ztfg"], "instruments": [1]}},
        show_plots=True,
    )
    row = world.row(number)
    token = run_token(SECRET, row.key)
    assert uuid.UUID(token).version == 4
    assert row.token_hash == token_hash(token)
    assert token != run_token(b"another secret", row.key)
    assert (row.status, row.attempts, row.next_try_at) == ("queued", 0, world.now)
    assert (row.service_name, row.service_version) == ("fitter", "1.2")
    assert row.analysis_parameters == {"a": "y", "b": "z"}
    assert row.input_filters == {"photometry": {"filters": ["ztfg"], "instruments": [1]}}
    assert (row.show_parameters, row.show_plots, row.show_corner) == (False, True, False)
    assert row.owner_id == world.users["ada"]
    told = world.events()
    assert [(each["id"], each["status"], each["object"]) for each in told] == [
        (number, "queued", "FL1")
    ]
    shown = world.analyses.get(world.viewer("ada"), number, details=True)
    assert token not in str(shown)
    assert row.token_hash not in str(shown)
    assert str(row.key) not in str(shown)


@pytest.mark.parametrize("name", ["J1234+56.7", "12345", "analysis", "2MASS J00 (b)"])
def test_objects_of_any_name(analysis_world, name):
    analysis_world.add_object(name, "A")
    number = analysis_world.start(analysis_world.add_service(), name=name)
    ada = analysis_world.viewer("ada")
    rows, total = analysis_world.analyses.of_object(ada, name, RunQuery(object_name=name))
    assert (rows[0]["id"], rows[0]["obj_id"], total) == (number, name, 1)


def test_who_may_start(analysis_world):
    world = analysis_world
    service, of_both = world.add_service(), world.add_service("both", groups="AB")
    for by, name, chosen, fault in (
        (None, "FL1", service, NotSignedIn),
        ("cy", "FL1", service, Forbidden),
        ("bob", "FL1", of_both, ObjectMissing),
        ("bob", "OF_B", service, AnalysisServiceMissing),
        ("ada", "OF_B", service, ObjectMissing),
        ("ada", "NONE", service, ObjectMissing),
        ("ada", "FL1", 999, AnalysisServiceMissing),
        ("ada", "FL1", 2**40, AnalysisServiceMissing),
    ):
        with pytest.raises(fault):
            world.start(chosen, by=by, name=name)
    world.start(of_both, by="bob", name="OF_B")
    machine = Viewer("machine", frozenset({"analyse"}), None, sees_all=True)
    with pytest.raises(AccountNeeded):
        world.starter.start(machine, "FL1", service, RunWish())


def test_services_that_do_not_run(analysis_world):
    off = analysis_world.add_service("off", enabled=False)
    with pytest.raises(ServiceDisabled):
        analysis_world.start(off)
    uploads = analysis_world.add_service("uploads", upload_only=True)
    with pytest.raises(Forbidden, match="Please use the analysis_upload endpoint"):
        analysis_world.start(uploads)


@pytest.mark.parametrize(
    "wish",
    [
        {"analysis_parameters": {"unknown": 1}},
        {"analysis_parameters": {"a": "w"}},
        {"analysis_parameters": [1]},
        {"input_filters": {"spectra": {}}},
        {"input_filters": {"photometry": {"magic": [1]}}},
        {"input_filters": {"photometry": {"filters": [1]}}},
        {"input_filters": {"photometry": {"instruments": ["ZTF"]}}},
        {"input_filters": {"photometry": {"instruments": [2**40]}}},
        {"input_filters": {"photometry": {"filters": "ztfg"}}},
        {"input_filters": "ztfg"},
        {"group_ids": [999]},
        {"group_ids": "some"},
    ],
)
def test_wishes_that_cannot_be_met(analysis_world, wish):
    service = analysis_world.add_service(optional_analysis_parameters={"a": ["x", "y"]})
    with pytest.raises((ParametersInvalid, InvalidInput)):
        analysis_world.start(service, **wish)
    assert analysis_world.events() == []


def test_results_go_to_groups_of_both_alone(analysis_world):
    world = analysis_world
    service = world.add_service(groups="A")
    mia, ada = world.viewer("mia"), world.viewer("ada")
    # All groups of hers would be A and B; the service is of A.
    number = world.start(service, by="mia")
    groups = world.analyses.get(mia, number)["groups"]
    assert [each["name"] for each in groups] == ["group A"]
    with pytest.raises(InvalidInput, match="Cannot find one or more groups"):
        world.start(service, by="mia", group_ids=[world.groups["B"]])
    with pytest.raises(InvalidInput):
        world.start(service, group_ids=[world.groups["B"]])
    # To keep it to oneself is always possible.
    with world.database.reading() as session:
        hers = session.scalar(select(Group.id).where(Group.name == "ada"))
    alone = world.start(service, group_ids=[hers])
    assert world.analyses.get(ada, alone)["id"] == alone
    with pytest.raises(AnalysisMissing):
        world.analyses.get(world.viewer("cy"), alone)


def test_readers_see_and_others_do_not(analysis_world):
    world = analysis_world
    number = world.start(world.add_service())
    assert world.analyses.get(world.viewer("cy"), number)["status"] == "queued"
    for name in ("bob", None):
        viewer = world.viewer(name)
        with pytest.raises(AnalysisMissing):
            world.analyses.get(viewer, number)
        assert world.analyses.list(viewer, RunQuery()) == ([], 0)
        for act in (world.analyses.cancel, world.analyses.remove):
            with pytest.raises((AnalysisMissing, Forbidden, NotSignedIn)):
                act(viewer, number)
    for act in (world.analyses.cancel, world.analyses.remove):
        with pytest.raises(Forbidden):
            act(world.viewer("cy"), number)
        with pytest.raises(Forbidden):
            act(world.viewer("mia"), number)  # may analyse, but it is somebody else's
    assert world.analyses.get(world.viewer("root"), number, details=True)["may_change"]


def test_lists_are_paged_and_filtered_exactly(either_world):
    world = either_world
    world.add_object("FL10", "A")
    one, two = world.add_service("one"), world.add_service("two", is_summary=True)
    numbers = [world.start(one) for _ in range(5)] + [world.start(two, name="FL10")]
    world.set_status(numbers[0], "completed")
    ada = world.viewer("ada")

    def found(**query):
        rows, total = world.analyses.list(ada, RunQuery(**query))
        return [row["id"] for row in rows], total

    assert found() == (numbers[::-1], 6)
    assert found(page=2, per_page=4) == (numbers[1::-1], 6)
    assert found(object_name="FL1", per_page=1) == (numbers[4:5], 5)
    assert found(object_name="FL") == ([], 0)
    assert found(object_name="%") == ([], 0)
    assert found(object_name="FL1\x00") == ([], 0)
    assert found(service_id=two) == (numbers[5:], 1)
    assert found(status="completed") == (numbers[:1], 1)
    assert found(summaries=True) == (numbers[5:], 1)
    with pytest.raises(InvalidInput):
        found(status="magic")
    rows, _ = world.analyses.list(ada, RunQuery())
    assert "analysis_parameters" not in rows[0]


def test_a_run_is_cancelled_once_and_deleted_with_its_files(either_world):
    world = either_world
    service, ada = world.add_service(), world.viewer("ada")
    number = world.start(service)
    assert world.analyses.cancel(ada, number) == "cancelled"
    row = world.row(number)
    assert (row.next_try_at, row.finished_at) == (None, world.now)
    done = world.start(service)
    world.set_status(done, "completed")
    assert world.analyses.cancel(ada, done) == "completed"
    assert [each["change"] for each in world.events()] == ["started", "ended", "started"]
    with pytest.raises(AnalysisMissing):
        world.analyses.remove(ada, done, object_name="OTHER")
    world.analyses.remove(ada, done)
    assert world.row(done) is None
    assert world.files.removed == [f"key/{done}"]
    assert world.events()[-1]["change"] == "removed"


def test_a_run_is_run_again(analysis_world):
    world = analysis_world
    service = world.add_service(optional_analysis_parameters={"a": ["x", "y"]}, version="1")
    first = world.start(service, analysis_parameters={"a": "x"}, show_corner=True)
    world.set_status(first, "failure")
    world.services.change(world.viewer("mia"), service, {"version": "2"})
    again = world.row(world.starter.rerun(world.viewer("ada"), first))
    assert (again.rerun_of_id, again.analysis_parameters) == (first, {"a": "x"})
    assert (again.service_version, again.show_corner) == ("2", True)
    assert again.audience_id == world.row(first).audience_id
    other = world.row(world.starter.rerun(world.viewer("ada"), first, {"a": "y"}))
    assert other.analysis_parameters == {"a": "y"}
    with pytest.raises(AnalysisMissing):
        world.starter.rerun(world.viewer("bob"), first)
    with pytest.raises(Forbidden):
        world.starter.rerun(world.viewer("cy"), first)
    world.services.remove(world.viewer("mia"), service)
    with pytest.raises(AnalysisServiceMissing):
        world.starter.rerun(world.viewer("ada"), first)


def test_the_caps(database, tmp_path):
    world = AnalysisWorld(database, tmp_path, most_per_object=2, most_waiting_per_user=3)
    world.add_object("FL2", "A")
    world.add_object("FL3", "A")
    service = world.add_service()
    done = world.start(service)
    world.set_status(done, "completed")
    world.start(service)
    with pytest.raises(TooManyRuns, match="maximum number of analyses for this object"):
        world.start(service)
    world.start(service, by="mia")  # hers are counted apart
    world.set_status(done, "failure")  # what has failed does not count
    world.start(service)
    world.start(service, name="FL2")
    with pytest.raises(TooManyWaiting):
        world.start(service, name="FL3")


def test_starts_side_by_side_do_not_pass_a_cap(either_world):
    world = either_world
    world.starter._settings = world.settings.model_copy(update={"most_per_object": 5})
    service, ada = world.add_service(), world.viewer("ada")

    def start(_):
        try:
            return world.starter.start(ada, "FL1", service, RunWish())
        except TooManyRuns:
            return None

    with ThreadPoolExecutor(8) as pool:
        made = [each for each in pool.map(start, range(24)) if each]
    with world.database.reading() as session:
        kept = session.scalar(select(func.count(Analysis.id)))
    assert len(made) == kept == 5


def test_an_object_with_runs_is_not_removed(analysis_world):
    world, root = analysis_world, analysis_world.viewer("root")
    number = world.start(world.add_service())
    with pytest.raises(ObjectInUse, match="analyses of the object remain"):
        world.objects.remove(root, "FL1")
    world.analyses.remove(world.viewer("ada"), number)
    world.objects.remove(root, "FL1")


def test_a_run_is_stale_when_its_owner_would_send_something_else(either_world):
    world, ada, mia = either_world, either_world.viewer("ada"), either_world.viewer("mia")
    number = world.start(world.add_service())
    assert world.analyses.get(ada, number, details=True)["is_stale"] is None  # nothing was sent
    with world.database.begin() as session:
        run, thing = visible_run(session, ada, number)
        run.inputs_stamp = stamp(session, ada, thing, ["redshift", "classifications"])

    def stale(viewer):
        facts = world.analyses.get(viewer, number, details=True)
        return facts["is_stale"], facts["stale_inputs"]

    assert stale(ada) == stale(mia) == (False, [])
    world.classify(by="mia", groups="B")  # which ada does not see
    assert stale(ada) == stale(mia) == (False, [])
    world.classify(by="mia", groups="A")
    assert stale(ada) == stale(mia) == (True, ["classifications"])


def test_a_service_that_goes_at_the_same_moment(either_world, monkeypatch):
    world, mia = either_world, either_world.viewer("mia")
    service = world.add_service()
    with world.database.reading() as session:
        seen = session.get_one(AnalysisService, service)
    world.services.remove(mia, service)
    monkeypatch.setattr(analyses_start, "visible_service", lambda *_: seen)
    with pytest.raises(SubjectGone):
        world.start(service)
    assert world.runs() == []
