"""A survey with known truth, from raw files to what changed; begun again, killed, taken back."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pytest
from house import House, make_house, reduce, same
from sqlalchemy import select

from firstlight.factory import Factory
from firstlight.formats.tables import read_table
from firstlight.models.image import Image
from firstlight.models.measurement import Measurement
from firstlight.models.reference import Reference
from firstlight.models.step_run import StepRun
from firstlight.simulation.survey import simulate_survey
from firstlight.simulation.survey_settings import SurveySettings

pytestmark = pytest.mark.slow

FIRST_NIGHT = ("--to", "2026-01-15")
STANDARD = ["preprocess", "find_sources", "solve_astrometry", "solve_photometry"]
CHANGES = ["fit_psf", "subtract", "find_changes", "measure_changes"]
PRODUCTS = (
    "images", "image_inputs", "source_lists", "world_coordinates", "zero_points", "psfs",
    "sky_references", "cutouts", "measurement_sets", "step_runs",
)  # fmt: skip
PATIENCE_S = 240.0
NEAR = 2.0  # pixels


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    """One CCD of 512x512, two nights of three exposures; ten transients in the second one."""
    settings = SurveySettings(
        sections=1, rows=512, columns=512, nights=2, visits=3, transients=10, hosted=0.4,
        variables=2, moving=0, stars=1000.0, trail_chance=0.0,
    )  # fmt: skip
    return simulate_survey(settings, tmp_path_factory.mktemp("survey"))


@pytest.fixture(scope="module")
def solved(survey, tmp_path_factory) -> House:
    """Everything before there is a reference."""
    house = make_house(
        tmp_path_factory.mktemp("solved") / "w",
        settings=survey.settings.read_text(),
        FIRSTLIGHT_REDUCE__WORKERS="1",
    )
    house.ask("ingest", survey.raw)
    reduce(house)
    return house


@pytest.fixture(scope="module")
def compared(solved, tmp_path_factory) -> House:
    """With a reference of the first night, and what changed since."""
    house = solved.copy_to(tmp_path_factory.mktemp("compared") / "w")
    house.run("reference", "build", *FIRST_NIGHT)
    reduce(house)
    return house


def steps_of(house):
    """Names of the steps of each exposure's only section, in order of time."""
    return [list(entry["steps"]) for entry in house.status().values() if entry["steps"]]


def kept_by_exposure(house):
    """What was measured and kept, by the name of the exposure."""
    factory, found = Factory.open(house.folder), {}
    with factory.database.reading() as session:
        runs = select(StepRun).where(StepRun.step == "measure_changes")
        for run in session.scalars(runs):
            image = session.get_one(StepRun, (run.exposure_id, run.section_id, "preprocess"))
            name = session.get_one(Image, image.product_id).filename.rsplit("/", 1)[-1]
            rows = select(Measurement).where(
                Measurement.set_id == run.product_id, Measurement.is_kept
            )
            found[name.split(".")[0] + ".fits"] = session.scalars(rows).all()
    factory.database.dispose()
    return found


def truth_of(survey, table):
    return read_table(survey.folder / "truth" / f"{table}.parquet").columns


def test_transients_are_found_and_measured_right(compared, survey):
    curves, variables = truth_of(survey, "transient_curves"), truth_of(survey, "variable_curves")
    exposures, kept = truth_of(survey, "exposures"), kept_by_exposure(compared)
    assert len(kept) == 3
    pulls, offs, strangers, lost = [], [], 0, 0
    for number, name in zip(exposures["exposure"], exposures["name"], strict=True):
        if str(name) not in kept:
            continue
        rows = kept[str(name)]
        x, y = (np.array([getattr(row, axis) for row in rows]) for axis in "xy")
        here = np.flatnonzero(curves["exposure"] == number)
        off = np.hypot(x[:, None] - curves["x"][here], y[:, None] - curves["y"][here])
        lost += np.count_nonzero(off.min(axis=0)[curves["snr"][here] > 8] >= NEAR)
        for row, nearest in zip(rows, off.argmin(axis=1), strict=True):
            if (
                np.hypot(row.x - curves["x"][here[nearest]], row.y - curves["y"][here[nearest]])
                < NEAR
            ):
                pulls.append((row.flux - curves["electrons"][here[nearest]]) / row.flux_err)
                offs.append(off[:, nearest].min() * row.score / 3.7)
                assert row.flux_ujy == pytest.approx(
                    curves["flux"][here[nearest]], abs=4 * row.flux_err_ujy
                )
                continue
            varies = variables["exposure"] == number
            apart = np.hypot(variables["x"][varies] - row.x, variables["y"][varies] - row.y)
            strangers += not apart.min() < 2 * NEAR
    # One of them lies a pixel and a half from a bright star.
    assert lost <= 1
    assert len(pulls) >= 27
    assert 0.6 < np.std(pulls) < 1.4
    assert abs(np.mean(pulls)) < 0.6
    assert np.median(offs) < 1.2  # FWHM over the signal-to-noise ratio
    assert strangers <= 1


def test_reference_has_the_scale_of_its_first_image(compared, survey):
    exposures = truth_of(survey, "exposures")
    zero = dict(zip(map(str, exposures["name"]), exposures["zero_point"], strict=True))
    (entry,) = compared.json("reference", "list")
    names, ratios = entry["measures"]["images"], entry["measures"]["flux_ratios"]
    true = [10 ** (0.4 * (zero[name] - zero[names[0]])) for name in names]
    assert ratios == pytest.approx(true, rel=3e-3)
    assert (entry["version"], entry["images"], entry["usable"]) == (1, 3, True)
    assert entry["depth"] > 23.0


def test_what_was_done_is_not_done_again(compared):
    before, files = compared.tables(), compared.files()
    assert reduce(compared) == {}
    again = compared.json("reference", "build", *FIRST_NIGHT)
    assert again["built"] == []
    assert [each["version"] for each in again["there_already"]] == [1]
    assert same(compared.tables(), before) == []
    assert same(compared.files(), files) == []
    assert steps_of(compared) == [STANDARD] * 3 + [STANDARD + CHANGES] * 3


def test_choice_is_told_with_reasons(compared):
    early, *_, late = (name for name, entry in compared.status().items() if entry["steps"])
    (chosen,) = compared.json("reference", "choose", late)
    assert chosen["reference"]["version"] == 1
    (none,) = compared.json("reference", "choose", early)
    assert none["reference"] is None
    assert none["reason"] == none["considered"][0]["against"] == "the image is part of it"


def test_retired_and_restored_references_settle(compared, tmp_path):
    house = compared.copy_to(tmp_path / "w")
    (entry,) = house.json("reference", "list")
    before = house.tables()
    house.ask("reference", "retire", entry["short_id"])
    assert reduce(house)["reduce"] == 3
    assert steps_of(house) == [STANDARD] * 6
    assert "reduce" not in reduce(house)
    assert "out of use" in house.ask("reference", "choose", "mosaic_20260118_r_0004.fits").out
    assert "retired" in house.run("reference", "build", *FIRST_NIGHT).err
    house.ask("reference", "restore", entry["id"])
    assert reduce(house)["reduce"] == 3
    assert reduce(house) == {}
    # The same measurements are current again: nothing was made twice.
    after = house.tables()
    for table in ("images", "measurement_sets", "measurements", "cutouts", "sky_references"):
        assert same({table: after[table]}, {table: before[table]}) == []


@pytest.mark.nightly
def test_killed_at_any_moment_nothing_is_half_there(solved, compared, tmp_path):
    house = solved.copy_to(tmp_path / "w")
    rows = house.tables()
    kill_when(house, "reference-*", "reference", "build", *FIRST_NIGHT)
    assert len(references(house)) <= 1
    if not references(house):
        assert same(house.tables(), rows) == []
    house.run("reference", "build", *FIRST_NIGHT)
    kill_when(house, "cutouts/*/*", "reduce")
    reduce(house)
    there, wanted = house.tables(), compared.tables()
    # Objects have ids of chance, and so have the rows that name them.
    for table in PRODUCTS:
        assert same({table: there[table]}, {table: wanted[table]}) == []
    assert len(there["measurements"]) == len(wanted["measurements"])
    assert same(house.files(), compared.files()) == []


def references(house):
    factory = Factory.open(house.folder)
    with factory.database.reading() as session:
        found = session.scalars(select(Reference)).all()
    factory.database.dispose()
    return found


def kill_when(house, pattern, *command):
    """Kill a command with all its processes as soon as there is a file of this name."""
    process = house.start(*command)
    deadline = time.monotonic() + PATIENCE_S
    data = house.folder / "data"
    while not any(data.rglob(pattern)) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
