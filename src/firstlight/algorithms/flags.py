"""The bits of the flags plane, defined once.

Every Image carries a ``uint16`` plane of shape ``(ny, nx)``; a pixel's flags are the OR of
these bits. Sources carry the OR over their pixels.
"""

from __future__ import annotations

from enum import IntFlag

import numpy as np

__all__ = ["DTYPE", "MEANINGS", "UNMEASURABLE", "UNUSABLE", "Flag"]

DTYPE = np.uint16


class Flag(IntFlag):
    """Why a pixel is not an ordinary pixel."""

    BAD = 1 << 0
    SATURATED = 1 << 1
    BLEED = 1 << 2
    COSMIC_RAY = 1 << 3
    TRAIL = 1 << 4
    NO_DATA = 1 << 5
    EDGE = 1 << 6
    LOW_FLAT = 1 << 7
    NONLINEAR = 1 << 8
    INTERPOLATED = 1 << 9


MEANINGS: dict[Flag, str] = {
    Flag.BAD: "bad or hot pixel of the detector",
    Flag.SATURATED: "at or above the saturation level",
    Flag.BLEED: "charge that bled from a saturated pixel",
    Flag.COSMIC_RAY: "hit by a cosmic ray",
    Flag.TRAIL: "crossed by a satellite, aircraft or meteor",
    Flag.NO_DATA: "no measured value (NaN in the file, or outside the detector)",
    Flag.EDGE: "close to the edge of the image",
    Flag.LOW_FLAT: "the flat field is too low to divide by",
    Flag.NONLINEAR: "above the range in which the detector is linear",
    Flag.INTERPOLATED: "value was filled in from its neighbours",
}

# Bits that leave no measurement of a source's light. Other unusable pixels of an aperture can be
# replaced by what their neighbours say.
UNMEASURABLE = (
    Flag.SATURATED | Flag.BLEED | Flag.NONLINEAR | Flag.NO_DATA | Flag.EDGE | Flag.LOW_FLAT
)

# Pixels whose value says nothing about the sky.
UNUSABLE = (
    Flag.BAD
    | Flag.SATURATED
    | Flag.BLEED
    | Flag.COSMIC_RAY
    | Flag.TRAIL
    | Flag.NO_DATA
    | Flag.LOW_FLAT
)
