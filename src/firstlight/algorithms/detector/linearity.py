"""How far an amplifier's counts are from what was collected, as a table over the counts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from firstlight.errors import InvalidInput

__all__ = ["Linearity", "linearized"]

_MOST_STEPS = 65_536


@dataclass(frozen=True, slots=True)
class Linearity:
    """What to add to counts above the level of zero light to make them linear.

    Attributes
    ----------
    start, step
        Counts (ADU above zero light) of the first entry and from one entry to the next.
    correction
        ADU to add, float32, one for each entry; between entries it is interpolated. Outside of
        the table the correction of its nearest end is kept: it stays continuous there, and
        neither wraps nor runs away.
    """

    start: float
    step: float
    correction: NDArray[np.float32]

    @classmethod
    def of(cls, counts: ArrayLike, linear: ArrayLike) -> Linearity:
        """Make it of pairs of counts as read and as they should be.

        Parameters
        ----------
        counts, linear
            ADU above zero light; both must rise. Steps may be uneven: they are brought to even
            ones of 1 ADU (of 1/65536 of the range where that is more).

        Raises
        ------
        InvalidInput
            Fewer than two pairs, values that are not finite, or one of the two does not rise.
        """
        x, y = np.asarray(counts, np.float64), np.asarray(linear, np.float64)
        if x.ndim != 1 or x.shape != y.shape or x.size < 2:
            raise InvalidInput(field="linearity", found=(x.shape, y.shape), expected="pairs")
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            raise InvalidInput(field="linearity", expected="finite numbers")
        if np.any(np.diff(x) <= 0) or np.any(np.diff(y) <= 0):
            raise InvalidInput(
                "A table of linearity must rise.", field="linearity", expected="rising counts"
            )
        step = max(1.0, float(x[-1] - x[0]) / _MOST_STEPS)
        grid = x[0] + step * np.arange(int(np.ceil((x[-1] - x[0]) / step)) + 1)
        return cls(float(x[0]), step, np.interp(grid, x, y - x).astype(np.float32))

    @property
    def top(self) -> float:
        """Counts from which the table says nothing more, ADU."""
        return self.start + self.step * (len(self.correction) - 1)


def linearized(counts: NDArray[np.floating], table: Linearity) -> NDArray[np.float32]:
    """Return linear counts.

    Parameters
    ----------
    counts
        ADU above zero light, any shape; what is not finite stays so.
    """
    place = (np.asarray(counts, np.float64) - table.start) / table.step
    added = np.interp(place, np.arange(len(table.correction)), table.correction)
    made: NDArray[np.float32] = (counts + added).astype(np.float32)
    return made
