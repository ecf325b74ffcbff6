"""Sections that a camera names as defective are not reduced, and nobody waits for them."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from firstlight.instruments import load_cameras
from firstlight.models.data_root import configure_data_roots
from firstlight.models.exposure import Exposure
from firstlight.models.step_run import StepRun, StepState
from firstlight.pipeline.recipe import Recipe
from firstlight.pipeline.settings import PreprocessSettings
from firstlight.pipeline.step import StepImpossible
from firstlight.pipeline.steps.preprocess import Preprocess
from firstlight.services.calibration import CalibrationService
from firstlight.services.products import ProductFiles
from firstlight.services.reduction import ReductionService
from firstlight.services.settings import CalibrationSettings, ImageFileSettings

CAMERA = """
sections = [{ id = "N" }, { id = "S", defective = true }]
[camera]
name = "HalfBlind"
"""


class Clouded(Preprocess):
    """Finds nothing in any section."""

    def run(self, piece):
        raise StepImpossible("clouds", subject=piece.section_id)


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "cameras"
    made.mkdir()
    (made / "half.toml").write_text(CAMERA)
    load_cameras(made)
    yield made
    load_cameras(tmp_path / "nothing")


@pytest.fixture
def service(database, store, tmp_path, folder):
    configure_data_roots(tmp_path)
    files = ProductFiles(store, ImageFileSettings())
    settings = CalibrationSettings()
    with database.begin() as session:
        exposure = Exposure(
            nofile=True, filename="x.fits", instrument="HalfBlind", telescope="x", kind="science",
            mjd=60_000.0, exp_time=30.0, filter="z",
        )  # fmt: skip
        session.add(exposure)
    return ReductionService(
        database=database,
        files=files,
        recipe=Recipe([Clouded(PreprocessSettings())]),
        calibration=CalibrationService(database=database, files=files, settings=settings),
    )


def state(database):
    with database.reading() as session:
        return session.scalars(select(Exposure.reduction_state)).one()


def test_only_sound_sections_are_planned_and_waited_for(service, database):
    (request,) = service.plan()
    assert request.payload["section"] == "N"
    assert service.reduce_section(request.payload)["failures"]
    assert state(database) == "failed"  # not partial: no section is left to do
    assert service.plan() == []  # nor tried again every night
    assert [each.payload["section"] for each in service.plan(retry_failed=True)] == ["N"]


def test_an_old_failure_of_a_defective_section_does_not_count(service, database, folder):
    (folder / "half.toml").write_text(CAMERA.replace("defective = true", "defective = false"))
    load_cameras(folder)
    requests = {each.payload["section"]: each.payload for each in service.plan()}
    assert set(requests) == {"N", "S"}
    service.reduce_section(requests["S"])
    assert state(database) == "partial"
    (folder / "half.toml").write_text(CAMERA)
    load_cameras(folder)
    service.reduce_section(requests["N"])
    assert state(database) == "failed"
    with database.begin() as session:
        for run in session.scalars(select(StepRun).where(StepRun.section_id == "N")):
            run.state = StepState.DONE.value
        service._tell_state(session, session.scalars(select(Exposure)).one())
    assert state(database) == "done"  # though S has failed
