"""What runs by itself: when, as whom, how often; and that nothing depends on it."""

import datetime as dt
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from firstlight.errors import InvalidInput
from firstlight.models.account import Membership, User
from firstlight.models.analysis import Analysis, AnalysisService
from firstlight.models.notes import Classification
from firstlight.services.access import Forbidden, NotSignedIn
from firstlight.services.analyses.analysis_services import AnalysisServiceMissing
from firstlight.services.analyses.declared_parameters import ParametersInvalid
from firstlight.services.analyses.default_analyses import DefaultAnalysisMissing

STARTED = [("ada", "FL1", "queued")]


def test_a_class_that_is_probable_enough_starts_it(either_world):
    world = either_world
    service = world.add_service(optional_analysis_parameters={"a": ["x", "y"]})
    number = world.add_default(service, default_analysis_parameters={"a": "y"}, show_plots=False)
    for miss in ({"probability": 0.89}, {"as_class": "SN II"}, {"as_class": "all"}):
        world.classify(**miss)
    assert world.runs() == []
    world.classify(by="mia", probability=0.9)
    assert world.runs() == STARTED
    with world.database.reading() as session:
        [row] = session.scalars(select(Analysis))
    assert (row.default_analysis_id, row.analysis_parameters) == (number, {"a": "y"})
    assert (row.show_plots, row.show_corner) == (False, True)
    groups = world.analyses.get(world.viewer("ada"), row.id)["groups"]
    assert [group["name"] for group in groups] == ["group A"]
    assert [each["change"] for each in world.events()] == ["started"]
    stats = world.defaults.get(world.viewer("cy"), service, number)["stats"]
    assert stats == {"daily_limit": 10, "daily_count": 1, "last_run": "2026-11-21T12:00:00"}


def test_a_class_without_a_probability_is_certain(analysis_world):
    analysis_world.add_default(analysis_world.add_service())
    analysis_world.classify(probability=None)
    assert analysis_world.runs() == STARTED


def test_a_probability_that_grows_starts_it_once(analysis_world):
    world, ada = analysis_world, analysis_world.viewer("ada")
    world.add_default(world.add_service())
    number = world.classify(probability=0.2)
    world.classifications.change(ada, number, {"origin": "human"})
    assert world.runs() == []
    world.classifications.change(ada, number, {"probability": 0.95})
    world.classifications.change(ada, number, {"probability": 0.99})
    assert world.runs() == STARTED


def test_the_same_of_one_day_is_not_repeated(analysis_world):
    world = analysis_world
    two = [{"name": "SN Ia", "probability": 0.5}, {"name": "SN II", "probability": 0.5}]
    world.add_default(world.add_service(), source_filter={"classifications": two})
    for _ in range(3):
        world.classify()
    assert world.runs() == STARTED
    world.classify(as_class="SN II")  # something else is said
    assert world.runs() == STARTED * 2
    world.now += dt.timedelta(hours=12)  # the next day
    world.classify()
    assert world.runs() == STARTED * 3


def test_it_runs_only_on_what_its_author_sees(analysis_world):
    world = analysis_world
    service = world.add_service(groups="AB")
    world.add_default(service, by="bob", groups="B")
    world.classify("FL1", by="ada")  # of A: bob does not see it
    assert world.runs() == []
    assert world.told("bob") == []
    world.add_object("BOTH", "AB")
    world.classify("BOTH", by="mia", groups="A")  # a class that is not for him
    assert world.runs() == []
    world.classify("BOTH", by="mia", groups="B")
    assert world.runs() == [("bob", "BOTH", "queued")]


def test_saving_to_that_group_alone_starts_it(either_world):
    world, mia = either_world, either_world.viewer("mia")
    service = world.add_service(groups="AB")
    world.add_default(service, by="bob", groups="B", source_filter={"group_id": world.groups["B"]})
    world.add_default(service, by="ada", source_filter={"group_id": world.groups["A"]})
    for name in ("X1", "X2", "X3"):
        world.add_object(name, "AB")
    world.saved.change(mia, "X1", invite=[world.groups["B"]])
    assert world.runs() == [("bob", "X1", "queued")]
    # Where it is already, nothing comes in; asked for is not saved.
    world.saved.change(mia, "X1", invite=[world.groups["B"]])
    world.saved.change(world.viewer("bob"), "X2", invite=[world.groups["A"]])
    assert len(world.runs()) == 1
    world.saved.decide(mia, "X2", world.groups["A"], active=True, requested=False)
    assert world.runs()[1:] == [("ada", "X2", "queued")]
    new = {"id": "NEW", "ra": 1.0, "dec": 2.0, "group_ids": [world.groups["A"]]}
    world.objects.post(mia, new)
    world.objects.post(mia, new)
    assert world.runs()[2:] == [("ada", "NEW", "queued")]


def test_the_limit_of_a_day_is_counted_from_rows_and_told_once(analysis_world):
    world = analysis_world
    world.add_default(world.add_service(), daily_limit=2)
    for name in ("L1", "L2", "L3", "L4"):
        world.add_object(name, "A")
        world.classify(name)
    assert [name for _, name, _ in world.runs()] == ["L1", "L2"]
    assert world.told("ada") == [
        "fitter runs by itself no more today: its limit of 2 runs a day is reached"
    ]
    world.now += dt.timedelta(days=1)
    world.classify("L3")
    assert [name for _, name, _ in world.runs()] == ["L1", "L2", "L3"]


def test_the_limit_holds_side_by_side(either_world):
    world = either_world
    world.add_default(world.add_service(), daily_limit=3)
    names = [f"P{number}" for number in range(8)]
    for name in names:
        world.add_object(name, "A")
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(world.classify, names))
    assert len(world.runs()) == 3
    assert len(set(numbers)) == 8


def test_nothing_depends_on_it(either_world, monkeypatch):
    world = either_world
    good, bad = world.add_service("good"), world.add_service("bad")
    world.add_default(bad)
    world.add_default(good)
    inside = world.starter.prepare

    def prepare(session, viewer, thing, service, *more):
        row = inside(session, viewer, thing, service, *more)
        if service.name == "bad":
            session.add(User(username="ada"))  # breaks a rule of the database
            session.flush()
        return row

    monkeypatch.setattr(world.starter, "prepare", prepare)
    number = world.classify()
    with world.database.reading() as session:
        assert session.get(Classification, number) is not None
    assert world.runs() == STARTED
    assert world.told("ada") == ["a default analysis of yours did not run: something went wrong"]


def test_what_hinders_it_is_told_to_its_author(analysis_world):
    world = analysis_world
    world.starter._settings = world.settings.model_copy(update={"most_per_object": 1})
    service = world.add_service()
    world.add_default(service)
    world.start(service)
    world.classify(by="mia")
    world.classify(by="mia")
    [text] = world.told("ada")
    assert "fitter did not run by itself on FL1: You have reached the maximum" in text
    assert world.told("mia") == []


def test_it_rests_with_its_service_and_its_author(analysis_world):
    world, mia = analysis_world, analysis_world.viewer("mia")
    service = world.add_service()
    number = world.add_default(service)
    world.services.change(mia, service, {"enabled": False})
    world.classify()
    assert (world.runs(), world.told("ada")) == ([], [])
    world.services.change(mia, service, {"enabled": True})
    with world.database.begin() as session:
        session.get_one(User, world.users["ada"]).disabled_at = world.now
    world.classify(by="mia")
    assert (world.runs(), world.told("ada")) == ([], [])
    with world.database.begin() as session:
        ada = session.get_one(User, world.users["ada"])
        ada.disabled_at, ada.roles = None, ["View only"]
    world.classify(by="mia")
    assert world.runs() == []
    assert len(world.told("ada")) == 1
    with world.database.begin() as session:
        session.get_one(User, world.users["ada"]).roles = ["Full user"]
        session.delete(
            session.scalars(
                select(Membership).where(
                    Membership.user_id == world.users["ada"],
                    Membership.group_id == world.groups["A"],
                )
            ).one()
        )
    world.classify(by="mia")
    assert world.runs() == []
    world.services.remove(mia, service)
    with world.database.reading() as session:
        assert session.get(AnalysisService, service) is None
    with pytest.raises(AnalysisServiceMissing):
        world.defaults.get(mia, service, number)


@pytest.mark.parametrize(
    "fields",
    [
        {"source_filter": None},
        {"source_filter": {}},
        {"source_filter": "SN Ia"},
        {"source_filter": {"classifications": []}},
        {"source_filter": {"classifications": ["SN Ia"]}},
        {"source_filter": {"classifications": [{"name": "SN Ia", "probability": 1.1}]}},
        {"source_filter": {"classifications": [{"probability": 1.0}]}},
        {"source_filter": {"classifications": [{"name": "a", "more": 1}]}},
        {"source_filter": {"classifications": [{"name": "a"}], "group_id": 1}},
        {"source_filter": {"group_id": "A"}},
        {"source_filter": {"group_id": True}},
        {"source_filter": {"group_id": 2**40}},
        {"source_filter": {"group_id": 999}},
        {"daily_limit": 0},
        {"daily_limit": 1001},
        {"daily_limit": 1.5},
        {"daily_limit": True},
        {"default_analysis_parameters": {"magic": 1}},
        {"default_analysis_parameters": "{"},
        {"show_plots": "yes"},
        {"group_ids": [999]},
        {"magic": 1},
    ],
)
def test_what_cannot_be_kept(analysis_world, fields):
    service = analysis_world.add_service()
    with pytest.raises((InvalidInput, ParametersInvalid)):
        analysis_world.add_default(service, **fields)


def test_who_may(analysis_world):
    world = analysis_world
    service = world.add_service()
    number = world.add_default(service, source_filter='{"classifications": [{"name": "SN Ia"}]}')
    shown = world.defaults.get(world.viewer("cy"), service, number)
    assert shown["source_filter"] == {"classifications": [{"name": "SN Ia", "probability": 0.0}]}
    assert "contact_email" not in {k for k, v in shown["author"].items() if v is not None}
    for name, fault in (
        (None, NotSignedIn),
        ("cy", Forbidden),
        ("mia", Forbidden),
        ("bob", AnalysisServiceMissing),
    ):
        viewer = world.viewer(name)
        with pytest.raises(fault):
            world.defaults.change(viewer, service, number, {"daily_limit": 3})
        with pytest.raises(fault):
            world.defaults.remove(viewer, service, number)
    for name in (None, "bob"):
        with pytest.raises(AnalysisServiceMissing):
            world.defaults.list(world.viewer(name), service)
    with pytest.raises(InvalidInput):  # not hers
        world.add_default(service, source_filter={"group_id": world.groups["B"]})
    uploads = world.add_service("uploads", upload_only=True)
    with pytest.raises(Forbidden):
        world.add_default(uploads)
    ada = world.viewer("ada")
    with pytest.raises(DefaultAnalysisMissing):
        world.defaults.get(ada, uploads, number)
    world.defaults.change(ada, service, number, {"daily_limit": 3, "show_corner": False})
    shown = world.defaults.list(ada, service)[0]
    assert (shown["stats"]["daily_limit"], shown["show_corner"]) == (3, False)
    world.defaults.remove(ada, service, number)
    assert world.defaults.list(ada, service) == []
