"""Flags of pixels that show no sky: charge of saturated stars, trails, cosmic rays, given masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.background import estimate_background
from firstlight.algorithms.detector.bleed import find_bleed
from firstlight.algorithms.detector.calibrate import CalibratedImage
from firstlight.algorithms.detector.cosmic_rays import find_cosmic_rays
from firstlight.algorithms.detector.star_widths import star_widths
from firstlight.algorithms.detector.trails import find_trails
from firstlight.algorithms.flags import UNUSABLE, Flag
from firstlight.pipeline.settings import PreprocessSettings

__all__ = ["mark_given", "mark_pixels"]

Record = dict[str, dict[str, Any]]
_OFF = {"done": False, "why": "switched off"}


def mark_given(planes: CalibratedImage, given: NDArray[np.uint16]) -> dict[str, Any]:
    """Add a mask that came with the image, in place; returns the entry of the record.

    Pixels without data lose their value too.
    """
    if given.shape != planes.flags.shape:
        return {"done": False, "why": f"the mask that came with it has the shape {given.shape}"}
    planes.flags[...] |= given
    empty = (given & Flag.NO_DATA) != 0
    planes.data[empty], planes.variance[empty] = 0.0, np.inf
    return {"done": True, "why": "it came with the image", "pixels": int((given != 0).sum())}


def mark_pixels(
    planes: CalibratedImage,
    settings: PreprocessSettings,
    *,
    along: str,
    limit_known: bool,
    hits: bool,
    seams: Sequence[tuple[float, float]] = (),
) -> Record:
    """Flag charge of saturated pixels, trails and cosmic rays, in place.

    Parameters
    ----------
    planes
        Electrons with their sky.
    along
        In which direction charge runs, as `Instrument.bleeds_along`.
    limit_known
        Whether the saturation level is known.
    hits
        Whether cosmic rays can be told from stars.
    seams
        Where amplifiers meet, see `find_trails`.

    Returns
    -------
    The entries of the record. Trails of charge come first and cosmic rays last: each is looked
    for in what the ones before left.
    """
    told: Record = {}
    saturated = (planes.flags & Flag.SATURATED) != 0
    if not settings.bleed:
        told["bleed"] = dict(_OFF)
    elif along == "not" or not limit_known:
        why = "the detector shows none" if along == "not" else "the saturation level is not known"
        told["bleed"] = {"done": False, "why": why, "applies": along != "not"}
    elif not saturated.any():
        told["bleed"] = {"done": True, "why": "no pixel is saturated", "pixels": 0}
    if not (settings.trails or "bleed" not in told or (settings.cosmic_rays and hits)):
        return told | {"trails": dict(_OFF)}
    sky = estimate_background(planes.data, (planes.flags & UNUSABLE) != 0)
    left = planes.data - sky.level
    if "bleed" not in told:
        direction: Literal["rows", "columns"] = "rows" if along == "rows" else "columns"
        told["bleed"] = _bleed(planes, left, saturated, (direction, settings.saturation_growth))
    told["trails"] = _trails(planes, left, seams) if settings.trails else dict(_OFF)
    if settings.cosmic_rays and hits:
        count = _cosmic_rays(planes, left, sky.level)
        told["cosmic_rays"] = {"done": True, "pixels": count}
    return told


def _bleed(
    planes: CalibratedImage,
    left: NDArray[np.float32],
    saturated: NDArray[np.bool_],
    how: tuple[Literal["rows", "columns"], int],
) -> dict[str, Any]:
    along, growth = how
    found = find_bleed(left, planes.variance, saturated, along=along, growth=growth)
    planes.flags[found] |= np.uint16(Flag.BLEED)
    return {"done": True, "why": f"along {along}", "pixels": int(found.sum())}


def _trails(
    planes: CalibratedImage, left: NDArray[np.float32], seams: Sequence[tuple[float, float]]
) -> dict[str, Any]:
    hidden = (planes.flags & UNUSABLE) != 0
    mask, found = find_trails(left, planes.variance, hidden, seams=seams)
    planes.flags[mask] |= np.uint16(Flag.TRAIL)
    lines = [
        {
            "angle": round(float(np.degrees(trail.angle)), 3),
            "distance": round(trail.distance, 1),
            "half_width": round(trail.half_width, 1),
            "significance": round(trail.significance, 1),
        }
        for trail in found
    ]
    why = f"{len(found)} found"
    return {"done": True, "why": why, "pixels": int(mask.sum()), "lines": lines}


def _cosmic_rays(
    planes: CalibratedImage, left: NDArray[np.float32], level: NDArray[np.float32]
) -> int:
    """Flag hits; the width of the stars, measured first, keeps their cores safe."""
    widths = star_widths(left, planes.variance, planes.flags)
    found = find_cosmic_rays(planes.data, planes.variance, planes.flags, fwhm=widths, sky=level)
    planes.flags[found.mask] |= np.uint16(Flag.COSMIC_RAY)
    return int(found.mask.sum())
