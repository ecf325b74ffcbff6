"""find_changes: candidates in the difference, with stamps of all three images."""

from __future__ import annotations

from typing import Any

from firstlight.models.measurement import Cutouts
from firstlight.pipeline.changes import cut_changes
from firstlight.pipeline.settings import FindChangesSettings
from firstlight.pipeline.step import Step, Workpiece
from firstlight.pipeline.steps.subtract import subtracted

__all__ = ["FindChanges"]


class FindChanges(Step):
    """Cut stamps at every place where the score is above the threshold, of either sign.

    Parameters
    ----------
    settings
        The threshold.
    method
        Of the subtraction, for one that must be made again.
    """

    name = "find_changes"
    version = "4"
    makes = "cutouts"
    product_class = Cutouts
    after = ("subtract",)

    def __init__(self, settings: FindChangesSettings, *, method: str) -> None:
        self.settings = settings
        self._method = method

    def parameters(self) -> dict[str, Any]:
        """All settings."""
        return self.settings.critical()

    def run(self, piece: Workpiece) -> Cutouts:
        """Make the cutouts of the piece's difference."""
        changed = subtracted(piece, self._method)
        assert piece.difference is not None  # noqa: S101, the recipe runs subtract before
        threshold = self.settings.threshold
        rows = cut_changes(changed.new, changed.reference, changed.subtraction, threshold)
        made = Cutouts(difference_id=piece.difference.id, threshold=threshold)
        made.rows = rows
        piece.notes["candidates"] = len(rows)
        return made
