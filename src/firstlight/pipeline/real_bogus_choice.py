"""Which model tells real from bogus: the one that comes with firstlight, or somebody's own."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.candidates.measures import Measures
from firstlight.errors import BadSettings
from firstlight.pipeline.real_bogus_model import default_real_bogus

__all__ = ["GROUP", "OWN", "RealBogusModel", "choose_model"]

GROUP = "firstlight.real_bogus"
"""Entry points: functions without parameters that give a `RealBogusModel`."""

OWN = "trees"


class RealBogusModel(Protocol):
    """What tells how probably each candidate is a new source."""

    @property
    def version(self) -> str:
        """Part of the provenance of every measurement: another one makes others."""

    def score(self, measures: Measures) -> NDArray[np.float64]:
        """Probability for each candidate, ``(n,)``."""


def choose_model(name: str) -> RealBogusModel:
    """The model of this name.

    Raises
    ------
    BadSettings
        No installed package offers one of this name.
    """
    if name == OWN:
        return default_real_bogus()
    offered = {point.name: point for point in entry_points(group=GROUP)}
    if name not in offered:
        raise BadSettings(
            "no installed package offers this real/bogus model",
            field="recipe.measure_changes.model",
            found=name,
            expected=f"one of {', '.join([OWN, *sorted(offered)])}",
        )
    return cast("RealBogusModel", offered[name].load()())
