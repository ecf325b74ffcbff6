"""A file that holds one section of many, as where each CCD has its own, lacks nothing."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from firstlight.instruments import load_cameras
from firstlight.models.data_root import configure_data_roots
from firstlight.models.exposure import Exposure
from firstlight.models.step_run import StepRun
from firstlight.pipeline.recipe import Recipe
from firstlight.pipeline.settings import PreprocessSettings
from firstlight.pipeline.step import StepImpossible
from firstlight.pipeline.steps.preprocess import Preprocess
from firstlight.services.calibration import CalibrationService
from firstlight.services.finding.exposure_view import ExposureViewService
from firstlight.services.products import ProductFiles
from firstlight.services.reduction import ReductionService
from firstlight.services.settings import CalibrationSettings, ImageFileSettings
from firstlight.services.status import StatusService

CAMERA = """
sections = [{ id = "N" }, { id = "S" }]
[camera]
name = "TwoFiles"
"""


class Everybody:
    def sites(self):
        return None

    def may(self, what, site):
        return True


class Clouded(Preprocess):
    """Reads the pixels, and finds nothing in them."""

    def run(self, piece):
        piece.exposure.data[piece.section_id]
        raise StepImpossible("clouds", subject=piece.section_id)


@pytest.fixture
def service(database, store, tmp_path, monkeypatch):
    (tmp_path / "cameras").mkdir()
    (tmp_path / "cameras" / "two.toml").write_text(CAMERA)
    load_cameras(tmp_path / "cameras")
    configure_data_roots(tmp_path)
    monkeypatch.setattr(Exposure, "_section_ids", lambda exposure: ["N"])
    monkeypatch.setattr(Exposure, "_load_image", lambda exposure, section: [[1.0]])
    with database.begin() as session:
        exposure = Exposure(
            nofile=True, filename="x.fits", instrument="TwoFiles", telescope="x", kind="science",
            mjd=60_000.0, exp_time=30.0, filter="z",
        )  # fmt: skip
        session.add(exposure)
    files = ProductFiles(store, ImageFileSettings())
    yield ReductionService(
        database=database,
        files=files,
        recipe=Recipe([Clouded(PreprocessSettings())]),
        calibration=CalibrationService(
            database=database, files=files, settings=CalibrationSettings()
        ),
    )
    load_cameras(tmp_path / "nothing")


def test_a_section_that_is_not_in_the_file_is_no_failure(service, database):
    told = {}
    for request in service.plan():
        section = request.payload["section"]
        told[section] = service.reduce_section(request.payload)["failures"]
    assert list(map(len, (told["N"], told["S"]))) == [1, 0]
    with database.reading() as session:
        exposure = session.scalars(select(Exposure)).one()
        [absent] = session.scalars(select(StepRun).where(StepRun.section_id == "S"))
    assert exposure.reduction_state == "failed"  # of what is there nothing is done
    assert (absent.state, absent.error) == ("skipped", None)
    assert absent.notes == {"reason": "the file does not hold this section"}
    assert service.plan() == []
    assert [each.payload["section"] for each in service.plan(retry_failed=True)] == ["N"]

    [entry] = StatusService(database=database).exposures()
    assert [each.section for each in entry.sections] == ["N"]
    shown = ExposureViewService(database=database).sections(exposure.id, Everybody())
    assert [each.name for each in shown] == ["N"]


def test_a_file_without_any_section_of_its_camera_has_failed(service, database, monkeypatch):
    monkeypatch.setattr(Exposure, "_section_ids", lambda exposure: ["other"])
    for request in service.plan():
        assert len(service.reduce_section(request.payload)["failures"]) == 1
    with database.reading() as session:
        assert session.scalars(select(Exposure)).one().reduction_state == "failed"
