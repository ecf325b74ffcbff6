"""Telling how far a run is."""

from __future__ import annotations

import math
from collections.abc import Callable

__all__ = ["Progress"]

_LONGEST_MESSAGE = 500


class Progress:
    """Call it with how far the run is: ``progress(0.3, "fitting salt3")``.

    Parameters
    ----------
    tell
        Gets the fraction, in 0..1, and the message. Without one nothing is told, as in a test.
    """

    def __init__(self, tell: Callable[[float, str], None] | None = None) -> None:
        self._tell = tell
        self.fraction = 0.0
        self.message = ""

    def __call__(self, fraction: float, message: str = "") -> None:
        """Tell the fraction done.

        A number outside 0..1 is moved to the nearer end, and what is no number to where the run
        was last: a slip in counting steps must not end a fit of ten minutes.
        """
        wanted = float(fraction)
        self.fraction = min(max(wanted, 0.0), 1.0) if math.isfinite(wanted) else self.fraction
        self.message = str(message)[:_LONGEST_MESSAGE]
        if self._tell is not None:
            self._tell(self.fraction, self.message)
