"""Reduction as it goes: what has come and is not reduced yet, a little at a time."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from datetime import timedelta

from sqlalchemy import select

from firstlight.models.base import utc_now
from firstlight.models.database import Database
from firstlight.models.exposure import Exposure
from firstlight.services.calibration import CalibrationService
from firstlight.services.reduction import ReductionService
from firstlight.work.engine import JobRequest

__all__ = ["LiveReduction"]

_PAUSE_S = 1.0
_BATCH = 100
_MOST_KNOWN = 100_000
_LOOK_BACK = timedelta(hours=1)  # at the start: what came while nobody looked
_OVERLAP = timedelta(minutes=1)  # transactions do not end in the order in which they began


class LiveReduction:
    """Asks for the reduction of exposures that are not reduced yet, as they come.

    Masters of calibration frames are asked for beside; a science exposure does not wait for
    them, and `firstlight reduce` brings everything in step afterwards.

    Parameters
    ----------
    database
        Where exposures are looked for.
    calibration, reduction
        Plan the jobs.
    submit
        Takes the jobs.
    """

    def __init__(
        self,
        *,
        database: Database,
        calibration: CalibrationService,
        reduction: ReductionService,
        submit: Callable[[Sequence[JobRequest]], None],
    ) -> None:
        self._database = database
        self._calibration = calibration
        self._reduction = reduction
        self._submit = submit
        # What was asked for and is still to be done; without it each look would plan it again.
        self._asked: dict[tuple[uuid.UUID, str | None], None] = {}
        self._since = utc_now() - _LOOK_BACK

    def run(self) -> float:
        """Look once; returns the seconds until the next look."""
        new = self._unreduced()
        kinds = {kind for _, kind, _ in new}
        for kind in self._calibration.KINDS:
            if kind in kinds:
                self._submit(self._calibration.plan(kind))
        science = [ident for ident, kind, _ in new if kind == "science"]
        if science:
            self._submit(self._reduction.plan(only=science))
        self._asked |= {(ident, sha256): None for ident, _, sha256 in new}
        while len(self._asked) > _MOST_KNOWN:
            del self._asked[next(iter(self._asked))]
        return 0.0 if len(new) == _BATCH else _PAUSE_S

    def _unreduced(self) -> list[tuple[uuid.UUID, str, str | None]]:
        """Id, kind and checksum of exposures with raw pixels that were not asked for yet."""
        query = (
            select(Exposure.id, Exposure.kind, Exposure.sha256, Exposure.modified_at)
            .where(
                Exposure.modified_at >= self._since - _OVERLAP,
                Exposure.reduction_state == "none",
                Exposure.filename.is_not(None),
                Exposure.collection == "data",
            )
            .order_by(Exposure.modified_at)
        )
        new: list[tuple[uuid.UUID, str, str | None]] = []
        with self._database.reading() as session:
            for ident, kind, sha256, modified_at in session.execute(query):
                if (ident, sha256) not in self._asked:
                    new.append((ident, kind, sha256))
                    self._since = max(self._since, modified_at)
                if len(new) == _BATCH:
                    break
        return new
