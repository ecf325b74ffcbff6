"""Skies and nights with known truth."""

from __future__ import annotations

from firstlight.simulation.night import simulate_night
from firstlight.simulation.settings import (
    DetectorSettings,
    NightSettings,
    SkySettings,
    StarSettings,
)
from firstlight.simulation.truth import Truth

__all__ = [
    "DetectorSettings",
    "NightSettings",
    "SkySettings",
    "StarSettings",
    "Truth",
    "simulate_night",
]
