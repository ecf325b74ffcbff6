"""Cuts that delete candidates which cannot be a new source, as data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.candidates.measures import Measures
from firstlight.errors import InvalidInput

__all__ = ["DELETION_CUTS", "Cut", "Judgement", "apply_cuts"]


@dataclass(frozen=True, slots=True)
class Cut:
    """Bounds of one measure; a candidate outside of them is deleted.

    Attributes
    ----------
    measure
        Name of a column of `Measures` with one number a candidate.
    reason
        What is told of a candidate that is deleted.
    lowest, highest
        Both still allowed. A measure that is no number is outside.
    explains
        A candidate is kept all the same whose signal-to-noise ratio is larger than the measure,
        in sigma as well, by this: it is due to something else.
    """

    measure: str
    reason: str
    lowest: float = -np.inf
    highest: float = np.inf
    explains: float = np.inf


@dataclass(frozen=True, slots=True)
class Judgement:
    """Which candidates are kept, ``(n,)``, and all reasons against each of them."""

    kept: NDArray[np.bool_]
    reasons: tuple[tuple[str, ...], ...]


DELETION_CUTS = (
    Cut("bad", "too much of it fell on unusable pixels", highest=0.5),
    Cut("narrow", "sharper than a star: a cosmic ray or a bad pixel", highest=1.0),
    Cut("misfit", "it does not have the shape of a star", highest=15.0),
    Cut("negative", "it is more negative than positive", highest=0.6),
    Cut("elongation", "it is drawn out", highest=2.5),
    Cut("width", "it is too wide or too narrow for a star", lowest=0.6, highest=1.5),
    Cut(
        "below_sky",
        "the image without it is darker there than the sky: noise",
        highest=3.0,
        explains=5.0,
    ),
    Cut("full_widths", "it is at a saturated star", lowest=1.5),
)
"""For differences of images whose noise is known; wide enough to keep what has a S/N of 5, and what
lies on a galaxy that is left over a little. The score tells finer differences.

What has gone was in the reference, and the new image holds what is left of it; what is new was not
there before. So the image without the source shows its sky, or more: one in a thousand shows, by
chance, a sky that is three sigma too dark. Peaks of noise do as a rule where most noise comes
from that image. So many sigma of one image are at most as many in the difference: what stands out
without them is a source."""


def apply_cuts(measures: Measures, cuts: tuple[Cut, ...] = DELETION_CUTS) -> Judgement:
    """Judge candidates.

    Raises
    ------
    InvalidInput
        When there is no such measure, or it has more than one number a candidate.
    """
    columns = measures.columns()
    kept = np.ones(len(measures), bool)
    reasons: list[list[str]] = [[] for _ in range(len(measures))]
    with np.errstate(divide="ignore", invalid="ignore"):
        significance = np.abs(measures.flux) / measures.flux_error
    for cut in cuts:
        column = columns.get(cut.measure)
        if column is None or column.ndim > 1:
            raise InvalidInput(
                "A cut names a measure that candidates do not have.",
                field="measure",
                found=cut.measure,
                expected=sorted(name for name, told in columns.items() if told.ndim == 1),
            )
        allowed = (column >= cut.lowest) & (column <= cut.highest)
        allowed |= significance - column > cut.explains
        kept &= allowed
        for number in np.flatnonzero(~allowed):
            reasons[number].append(cut.reason)
    return Judgement(kept, tuple(tuple(told) for told in reasons))
