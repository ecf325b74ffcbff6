"""Independent random streams, one for each purpose and frame.

A frame's noise depends on the seed and its own numbers only, so that frames can be made
again one by one, in any order, and adding a calibration frame changes no science frame.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

__all__ = ["Purpose", "stream"]


class Purpose(IntEnum):
    """What a stream is drawn for. The numbers are part of what a seed means."""

    AIR = 0
    POINTING = 1
    FAINT_STARS = 2
    VARIABLES = 3
    BIAS_PATTERN = 4
    DARK_PATTERN = 5
    FLAT_PATTERN = 6
    COSMIC_RAYS = 7
    DRIFT = 8
    NOISE = 9
    SCINTILLATION = 10
    PSF_SHAPE = 11
    GALAXIES = 12
    TRANSIENTS = 13
    CATALOG_ERRORS = 14


def stream(seed: int, purpose: Purpose, *numbers: int) -> np.random.Generator:
    """A generator that no other (`purpose`, `numbers`) of this `seed` shares."""
    sequence = np.random.SeedSequence(seed, spawn_key=(int(purpose), *numbers))
    return np.random.Generator(np.random.PCG64(sequence))
