"""The model that tells new sources from artefacts, as it comes with firstlight."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import numpy as np

from firstlight.algorithms.candidates.real_bogus import RealBogus

__all__ = ["MODEL", "default_real_bogus"]

MODEL = "real_bogus.npz"


@cache
def default_real_bogus() -> RealBogus:
    """The one that ``tools/train_real_bogus.py`` trained; its `RealBogus.recipe` tells how."""
    with (files("firstlight.pipeline") / "data" / MODEL).open("rb") as file:
        return RealBogus.from_arrays(dict(np.load(file, allow_pickle=False)))
