"""A small simulated night, archived and reduced once by the real command line."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

# The bad inputs live beside the tests of the formats.
sys.path.append(str(Path(__file__).parents[1] / "formats"))

from house import House, make_house

from firstlight.simulation import (
    DetectorSettings,
    NightSettings,
    SkySettings,
    StarSettings,
    simulate_night,
)

N_SCIENCE = 6
N_CALIBRATION = 12


def _made_once(tests: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder of all processes that run these tests side by side; the first to ask fills it.

    Workspaces there are copied and never opened: a database that is open cannot be copied.
    """
    ours = tests.getbasetemp()
    folder = (ours.parent if "PYTEST_XDIST_WORKER" in os.environ else ours) / f"shared-{name}"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        whole = folder / "whole"
        if not whole.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of one that failed
            folder.mkdir()
            make(folder)
            whole.touch()
    return folder


@pytest.fixture(scope="session")
def sky(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six exposures of a field in the Milky Way, rich in stars of the catalogue, with a transit."""
    return _made_once(tmp_path_factory, "night", _simulate) / "sky"


def _simulate(folder: Path) -> None:
    settings = NightSettings(
        seed=3,
        ra=305.0,
        dec=38.0,
        night=date(2024, 8, 3),
        n_exposures=N_SCIENCE,
        cadence=900,
        n_bias=3,
        n_dark=3,
        n_flat=3,
        detector=DetectorSettings(rows=512, columns=512),
        sky=SkySettings(fwhm=(2.2, 2.8)),
        stars=StarSettings(
            faintest=14.0,
            pulsators=1,
            rr_lyrae=1,
            eclipsing=0,
            flares=0,
            transit_depth=0.05,
            transit_hours=0.5,
        ),
    )
    simulate_night(settings, folder / "sky")


@pytest.fixture(scope="session")
def archived(sky: Path, tmp_path_factory: pytest.TempPathFactory) -> House:
    """A workspace with the night in its archive. To be looked at or copied, never changed."""

    def archive(folder: Path) -> None:
        done = make_house(folder / "w").run("ingest", sky)
        assert f"{N_SCIENCE + N_CALIBRATION} archived" in done.out

    made = House(_made_once(tmp_path_factory, "archived", archive) / "w")
    return made.copy_to(tmp_path_factory.mktemp("archived") / "w")


@pytest.fixture(scope="session")
def reduced(archived: House, tmp_path_factory: pytest.TempPathFactory) -> House:
    """A workspace with the night reduced, undisturbed. To be looked at or copied."""

    def reduce(folder: Path) -> None:
        done = archived.copy_to(folder / "w").run("reduce")
        assert "0 failures" in done.out

    made = House(_made_once(tmp_path_factory, "reduced", reduce) / "w")
    return made.copy_to(tmp_path_factory.mktemp("reduced") / "w")
