"""Reduction as it goes: what has come and is not reduced yet, a little at a time."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import select

from firstlight.models.base import utc_now
from firstlight.models.database import Database
from firstlight.models.exposure import Exposure
from firstlight.services.calibration import CalibrationService
from firstlight.services.night import Plan
from firstlight.services.reduction import ReductionService
from firstlight.work.job_desk import JobDesk, alive

__all__ = ["LiveReduction"]

_PAUSE_S = 1.0
_BATCH = 100
_MOST_KNOWN = 100_000
_LOOK_BACK = timedelta(hours=1)  # at the start: what came while nobody looked
_OVERLAP = timedelta(minutes=1)  # transactions do not end in the order in which they began


class LiveReduction:
    """Asks for the reduction of exposures that are not reduced yet, as they come.

    Masters of calibration frames are asked for beside; a science exposure does not wait for
    them. When nothing has come for a while, the observations that have new exposures are
    planned as `firstlight reduce` does: with the masters that there are then, and with their
    light curves. After new calibration frames that is everything there is.

    Parameters
    ----------
    database
        Where exposures are looked for.
    calibration, reduction
        Plan the jobs of single exposures.
    plans
        All work of a night, in the order in which it depends on each other.
    jobs
        Takes the jobs.
    settle_s
        For so long nothing must have come.
    """

    def __init__(
        self,
        *,
        database: Database,
        calibration: CalibrationService,
        reduction: ReductionService,
        plans: Sequence[Plan],
        jobs: JobDesk,
        settle_s: float = 60.0,
    ) -> None:
        self._database = database
        self._calibration = calibration
        self._reduction = reduction
        self._plans = plans
        self._jobs = jobs
        self._settle_s = settle_s
        # What was asked for and is still to be done; without it each look would plan it again.
        self._asked: dict[tuple[uuid.UUID, str | None], None] = {}
        self._since = utc_now() - _LOOK_BACK
        self._last_new = time.monotonic()
        self._to_settle: list[Plan] = []
        self._observations: set[uuid.UUID] | None = set()  # with something new; None for all
        self._settling: list[str] = []

    def run(self) -> float:
        """Look once; returns the seconds until the next look."""
        new = self._unreduced()
        if new:
            self._ask_for(new)
            self._last_new = time.monotonic()
            self._to_settle = list(self._plans)
        elif self._to_settle and time.monotonic() - self._last_new >= self._settle_s:
            self._settle()
        return 0.0 if len(new) == _BATCH else _PAUSE_S

    def _ask_for(self, new: Sequence[tuple[uuid.UUID, str, str | None]]) -> None:
        kinds = {kind for _, kind, _ in new}
        for kind in self._calibration.KINDS:
            if kind in kinds:
                self._jobs.submit(self._calibration.plan(kind))
                self._observations = None
        science = [ident for ident, kind, _ in new if kind == "science"]
        if science:
            self._remember_observations(science)
            self._jobs.submit(self._reduction.plan(only=science))
        self._asked |= {(ident, sha256): None for ident, _, sha256 in new}
        while len(self._asked) > _MOST_KNOWN:
            del self._asked[next(iter(self._asked))]

    def _remember_observations(self, exposures: Sequence[uuid.UUID]) -> None:
        if self._observations is None:
            return
        query = select(Exposure.observation_id).where(Exposure.id.in_(exposures)).distinct()
        with self._database.reading() as session:
            self._observations |= {row for row in session.scalars(query) if row is not None}

    def _settle(self) -> None:
        """Ask for the next plan that has work, once the jobs of the one before have ended."""
        if alive(self._jobs, self._settling):
            return
        while self._to_settle:
            plan = self._to_settle.pop(0)
            requests = plan.make(False, self._observations)
            self._settling = [request.job_id for request in requests]
            if requests:
                self._jobs.submit(requests)
                return
        self._observations = set()

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
