"""What other amplifiers, of this section and of others, left in the pixels of one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstlight.errors import FirstlightError
from firstlight.instruments.amplifiers import CrosstalkTerm
from firstlight.pipeline.detector_frame import DetectorFrame, turned

__all__ = ["find_ghosts"]

Planes = dict[str, NDArray[np.float32]]


def find_ghosts(
    frame: DetectorFrame,
    section_id: str,
    terms: list[CrosstalkTerm],
    other: Callable[[str], DetectorFrame],
) -> tuple[Planes, dict[str, Any]]:
    """Work out the ghosts in a section.

    Light above zero counts, of victim and source alike. Coefficients that were measured on raw
    counts give the same: the constant part of such a ghost is in the victim's overscan too.

    Parameters
    ----------
    frame
        The section.
    terms
        Coefficients with its amplifiers as victims.
    other
        Gives the frame of another section of the exposure; its errors are told in the record.

    Returns
    -------
    ghosts, record
        ADU to take off the image area of each amplifier, and the entry of the record.
    """
    areas = {area.name: area for area in frame.areas if area.data is not None}
    by_source: dict[tuple[str, str], list[CrosstalkTerm]] = defaultdict(list)
    for term in terms:
        if term.victim in areas:
            by_source[term.section, term.source].append(term)
    ghosts: Planes = {}
    without: dict[str, str] = {}
    frames = {section_id: frame}
    for (section, source), wanted in by_source.items():
        if section in without:
            continue
        try:
            if section not in frames:
                frames[section] = other(section)
            light = _finite(frames[section].light(source))
        except FirstlightError as fault:
            without[section] = str(fault)
            continue
        for term in wanted:
            own = turned(light, areas[term.victim])
            if own.shape != _shape(frame, term.victim):
                without[section] = "its amplifiers have another size"
                continue
            ghost = ghosts.setdefault(term.victim, np.zeros(own.shape, np.float32))
            ghost += np.float32(term.coefficient) * own
    if not by_source:
        return ghosts, {"done": False, "why": "the file shows none of the amplifiers"}
    record: dict[str, Any] = {"done": bool(ghosts), "why": f"{len(terms)} coefficients"}
    if without:
        record["without"] = without
        record["why"] += f", without those of {', '.join(sorted(without))}"
    return ghosts, record


def _finite(light: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.where(np.isfinite(light), light, np.float32(0.0))


def _shape(frame: DetectorFrame, amplifier: str) -> tuple[int, ...]:
    return next(
        frame.raw[area.data].shape
        for area in frame.areas
        if area.name == amplifier and area.data is not None
    )
