"""A small simulated night, archived and reduced once by the real command line."""

from __future__ import annotations

import sys
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


@pytest.fixture(scope="session")
def sky(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six exposures of a field in the Milky Way, rich in stars of the catalogue, with a transit."""
    folder = tmp_path_factory.mktemp("night") / "sky"
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
    simulate_night(settings, folder)
    return folder


@pytest.fixture(scope="session")
def archived(sky: Path, tmp_path_factory: pytest.TempPathFactory) -> House:
    """A workspace with the night in its archive. To be looked at or copied, never changed."""
    house = make_house(tmp_path_factory.mktemp("archived") / "w")
    done = house.run("ingest", sky)
    assert f"{N_SCIENCE + N_CALIBRATION} archived" in done.out
    return house


@pytest.fixture(scope="session")
def reduced(archived: House, tmp_path_factory: pytest.TempPathFactory) -> House:
    """A workspace with the night reduced, undisturbed. To be looked at or copied."""
    house = archived.copy_to(tmp_path_factory.mktemp("reduced") / "w")
    done = house.run("reduce")
    assert "0 failures" in done.out
    return house
