"""A simulated survey goes through archive and reduction, and comes out as its truth says."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select
from survey_world import tiny, true_projection, truth_of

from firstlight.algorithms.sky.sky_index import angular_separation
from firstlight.config import load_settings
from firstlight.factory import Factory
from firstlight.models import Exposure, Image, SourceList, WorldCoordinates, ZeroPoint
from firstlight.services.night import NightService
from firstlight.simulation.survey import simulate_survey
from firstlight.work.engine import WorkerSetup
from firstlight.work.inline_engine import InlineEngine

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def reduced(tmp_path_factory):
    """The survey's folder, and exposure, image, solution and zero point of every section."""
    folder, workspace = tmp_path_factory.mktemp("survey"), tmp_path_factory.mktemp("w")
    made = simulate_survey(tiny(columns=384, transients=2), folder)
    Factory.create(workspace).database.dispose()
    # What the command tells one to do: the catalogue's settings are appended.
    with (workspace / "firstlight.toml").open("a") as settings:
        settings.write(made.settings.read_text())
    factory = Factory(workspace, load_settings(workspace))
    report = factory.archive.ingest(factory.archive.find([made.raw]).files)
    assert (len(report.archived), report.quarantined, report.noted) == (16, [], [])
    setup = WorkerSetup(initializer="firstlight.factory.jobs:start_worker", argument=str(workspace))
    service = NightService(
        make_engine=lambda: InlineEngine(factory.jobs(), setup), plans=factory.plans()
    )
    with service.running() as night:
        for stage in night.stages():
            stage.run(lambda done: None)
        assert night.report().failures == []
    products = (
        select(Exposure, Image, WorldCoordinates, ZeroPoint)
        .join(Image, Image.exposure_id == Exposure.id)
        .join(SourceList, SourceList.image_id == Image.id)
        .join(WorldCoordinates, WorldCoordinates.sources_id == SourceList.id)
        .join(ZeroPoint, ZeroPoint.sources_id == SourceList.id)
    )
    with factory.database.reading() as session:
        rows = [tuple(row) for row in session.execute(products)]
    yield folder, rows
    factory.database.dispose()


def true_row(folder: Path, exposure: Exposure, section: str) -> int:
    exposures, sections = truth_of(folder, "exposures"), truth_of(folder, "sections")
    number = int(np.argmin(np.abs(exposures["mjd"] - exposure.mjd)))
    assert exposure.mjd == pytest.approx(exposures["mjd"][number], abs=1e-7)
    same = (sections["exposure"] == number) & (sections["section"] == section)
    return int(np.flatnonzero(same)[0])


def test_every_section_is_solved_where_it_is(reduced):
    folder, rows = reduced
    assert len(rows) == 2 * 2 * 2
    sections = truth_of(folder, "sections")
    errors = []
    for exposure, image, wcs, _ in rows:
        true = true_projection(sections, true_row(folder, exposure, image.section_id))
        assert (image.ny, image.nx) == (256, 384)
        x, y = np.meshgrid(np.linspace(30, 353, 9), np.linspace(30, 225, 9))
        off = angular_separation(*true.pixel_to_sky(x, y), *wcs.projection.pixel_to_sky(x, y))
        errors.append(3600 * float(np.median(off)) / true.pixel_scale)
    assert max(errors) < 0.3
    assert np.median(errors) < 0.05


def test_zero_points_follow_the_air(reduced):
    folder, rows = reduced
    sections = truth_of(folder, "sections")
    off = defaultdict(list)
    for exposure, image, _, zero_point in rows:
        row = true_row(folder, exposure, image.section_id)
        off[image.section_id].append(zero_point.zero_point - sections["zero_point"][row])
        assert (zero_point.band, zero_point.system) == ("r", "AB")
    for section in ("S1", "S2"):
        assert len(off[section]) == 4
        assert np.ptp(off[section]) < 0.03
        assert np.mean(off[section]) == pytest.approx(0.0, abs=0.02)
