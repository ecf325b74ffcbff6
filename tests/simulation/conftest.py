"""Small nights, made once."""

from __future__ import annotations

import pytest
from given_stars import crowd

from firstlight.simulation import DetectorSettings, NightSettings, StarSettings, Truth


@pytest.fixture(scope="session")
def small_settings() -> NightSettings:
    return NightSettings(
        seed=7,
        n_exposures=6,
        cadence=1200,
        n_bias=2,
        n_dark=2,
        n_flat=2,
        detector=DetectorSettings(rows=256, columns=256),
        stars=StarSettings(pulsators=1, rr_lyrae=1, eclipsing=1, flares=1, transit=True),
    )


@pytest.fixture(scope="session")
def small_truth(small_settings) -> Truth:
    return Truth.draw(small_settings, crowd(small_settings))
