"""Uploaded results: kept whole or not at all, by those who may, within the caps."""

import json

import pytest
from sqlalchemy import func, select

from firstlight.errors import ConflictError, InvalidInput
from firstlight.models.analysis import Analysis, AnalysisFile
from firstlight.models.notes import Annotation
from firstlight.services.access import Forbidden, NotSignedIn
from firstlight.services.analyses.analyses import Analyses
from firstlight.services.analyses.analyses_start import ServiceDisabled, TooManyRuns
from firstlight.services.analyses.analyses_upload import AnalysisUploads
from firstlight.services.analyses.analysis_services import AnalysisServiceMissing
from firstlight.services.analyses.result_files import ResultFiles
from firstlight.services.analyses.submissions import SubmissionReader
from firstlight.services.expiry.leftovers import Leftovers
from firstlight.services.objects.visible_objects import ObjectMissing
from firstlight.storage.store import StorageUnreachable

GOOD = {"message": "mine", "analysis": {"results": {"format": "json", "data": {"z": 0.1}}}}


class Uploads:
    """Uploads as a handler takes them."""

    def __init__(self, world, folder):
        self.world = world
        self.files = ResultFiles(store=world.store)
        self.service = AnalysisUploads(
            database=world.database,
            reader=SubmissionReader(world.settings),
            files=self.files,
            settings=world.settings,
            clock=lambda: world.now,
        )
        self.path = folder / "body.json"
        self.to = world.add_service("uploads", upload_only=True)

    def take(self, body, by="ada", name="FL1", to=None):
        self.path.write_text(json.dumps(body))
        return self.service.take(self.world.viewer(by), name, to or self.to, self.path)

    def count(self, table):
        with self.world.database.reading() as session:
            return session.scalar(select(func.count()).select_from(table))

    def stored(self):
        return list(self.world.store.list(""))


@pytest.fixture
def uploads(either_world, tmp_path):
    return Uploads(either_world, tmp_path)


def test_results_are_kept_as_a_run_that_has_ended(uploads):
    taken = uploads.take({**GOOD, "show_plots": False})
    row = uploads.world.row(taken["id"])
    assert (row.status, row.status_message, row.token_hash) == ("completed", "mine", None)
    assert (row.show_parameters, row.show_plots, row.show_corner) == (True, False, True)
    assert row.finished_at == uploads.world.now
    assert row.facts["has_results"] is True
    assert uploads.count(AnalysisFile) == 1
    assert [each["change"] for each in uploads.world.events()] == ["uploaded"]
    assert uploads.world.told("ada") == []
    failed = uploads.take({"status": "failed", "message": "no", "analysis": {}})
    assert uploads.world.row(failed["id"]).status == "failure"


def test_annotations_are_put_on_the_object(uploads):
    analysis = {**GOOD["analysis"], "annotations": [{"data": {"z": 0.1}}]}
    uploads.take({**GOOD, "analysis": analysis})
    with uploads.world.database.reading() as session:
        (annotation,) = session.scalars(select(Annotation)).all()
    assert (annotation.origin, annotation.data) == ("uploads", {"z": 0.1})
    assert annotation.author_id == uploads.world.users["ada"]


def test_who_may_upload(uploads):
    world = uploads.world
    called = world.add_service("called")
    off = world.add_service("off", upload_only=True, enabled=False)
    for by, name, to, fault in (
        (None, "FL1", uploads.to, NotSignedIn),
        ("cy", "FL1", uploads.to, Forbidden),
        ("bob", "OF_B", uploads.to, AnalysisServiceMissing),
        ("ada", "OF_B", uploads.to, ObjectMissing),
        ("ada", "FL1", called, Forbidden),
        ("ada", "FL1", off, ServiceDisabled),
    ):
        with pytest.raises(fault):
            uploads.service.expect(world.viewer(by), name, to)
        with pytest.raises(fault):
            uploads.take(GOOD, by, name, to)
    assert uploads.count(Analysis) == 0
    assert uploads.stored() == []


def test_the_cap_holds_for_uploads(uploads):
    small = uploads.world.settings.model_copy(update={"most_per_object": 1})
    uploads.service._settings = small
    uploads.take(GOOD)
    with pytest.raises(TooManyRuns, match="Please delete some analyses"):
        uploads.service.expect(uploads.world.viewer("ada"), "FL1", uploads.to)
    with pytest.raises(TooManyRuns):
        uploads.take(GOOD)
    assert uploads.count(Analysis) == 1
    assert len(uploads.stored()) == 1


@pytest.mark.parametrize("more", [{"magic": 1}, {"show_plots": "no"}, {"group_ids": [999]}])
def test_what_cannot_be_meant_is_refused(uploads, more):
    with pytest.raises(InvalidInput):
        uploads.take({**GOOD, **more})
    assert uploads.count(Analysis) == 0


def test_what_breaks_in_between_leaves_nothing(uploads, monkeypatch):
    with monkeypatch.context() as broken:
        broken.setattr(uploads.service, "_end", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            uploads.take(GOOD)
    assert (uploads.count(Analysis), uploads.stored()) == (0, [])
    keep = uploads.files.keep

    def keep_late(number, products):
        rows = keep(number, products)
        uploads.world.analyses.cancel(uploads.world.viewer("ada"), number)
        return rows

    monkeypatch.setattr(uploads.files, "keep", keep_late)
    with pytest.raises(ConflictError):
        uploads.take(GOOD)
    assert (uploads.count(AnalysisFile), uploads.stored()) == (0, [])
    assert [state for _, _, state in uploads.world.runs()] == ["cancelled"]


def test_files_go_with_their_run_or_are_found_by_the_next_sweep(uploads, monkeypatch):
    world, ada = uploads.world, uploads.world.viewer("ada")
    analyses = Analyses(database=world.database, files=uploads.files, clock=lambda: world.now)
    first, second = uploads.take(GOOD)["id"], uploads.take(GOOD)["id"]
    analyses.remove(ada, first)
    assert (uploads.count(AnalysisFile), len(uploads.stored())) == (1, 1)

    def unreachable(keys):
        raise StorageUnreachable

    monkeypatch.setattr(uploads.files, "remove", unreachable)
    analyses.remove(ada, second)
    assert (uploads.count(Analysis), len(uploads.stored())) == (0, 1)
    leftovers = Leftovers(database=world.database, store=world.store)
    keys = [key for _, key in leftovers.due(world.now, 10)]
    with world.database.begin() as session:
        leftovers.remove_all(session, keys, world.now)
    assert uploads.stored() == []
