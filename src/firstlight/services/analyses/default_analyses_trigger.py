"""Starting default analyses, in the transaction that classifies or saves an object."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from firstlight.errors import FirstlightError, UserError
from firstlight.models.account import User, UserNotification
from firstlight.models.analysis import Analysis, AnalysisService, DefaultAnalysis
from firstlight.models.base import utc_now
from firstlight.models.database import bulk_insert
from firstlight.models.notes import Classification
from firstlight.models.object import Object
from firstlight.provenance.fingerprint import product_id
from firstlight.services.access import Viewer
from firstlight.services.accounts.account_viewers import viewer_of_account
from firstlight.services.analyses.analyses_start import (
    AnalysisStarter,
    Origin,
    RunWish,
    groups_kept,
    user_lock,
)
from firstlight.services.analyses.analysis_services import visible_service
from firstlight.services.analyses.default_analyses import begun_today, start_of_day
from firstlight.services.analyses.run_ends import tell_run
from firstlight.services.objects.sharing import readable
from firstlight.services.transaction_locks import lock_names
from firstlight.services.visibility import seen_by

__all__ = ["DefaultAnalysisTrigger"]

_log = logging.getLogger(__name__)


class _LimitReached(UserError):
    """It has run as often as it may today."""

    code = "default_analysis.limit"


@dataclass(frozen=True)
class _Cause:
    """Why a default analysis is to run.

    Attributes
    ----------
    content
        What was said: of the same object and content it runs once a day.
    classification
        That its author must be able to see; None for an object that was saved.
    """

    default: DefaultAnalysis
    thing: Object
    content: str
    classification: Classification | None = None

    def key(self, day: datetime) -> uuid.UUID:
        """Of the run: another delivery of the same on that day gives the same."""
        facts = [self.default.id, str(self.thing.id), self.content, day.date().isoformat()]
        return product_id("default_analysis.run", facts)


class DefaultAnalysisTrigger:
    """Starts what runs by itself, each as its author and within their rights.

    Whatever goes wrong with one is told to its author, and nothing else is touched.

    Parameters
    ----------
    starter
        Starts runs.
    public_sites
        Sites that anyone may read; None for all.
    """

    def __init__(
        self,
        *,
        starter: AnalysisStarter,
        public_sites: frozenset[str] | None = frozenset(),
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._starter = starter
        self._public = public_sites
        self._clock = clock

    def classified(self, session: Session, made: Sequence[tuple[Classification, Object]]) -> None:
        """Start those that wait for a class that an object has got. Does not commit.

        A class without a probability is taken for certain.
        """
        causes = [
            _Cause(default, thing, f"class {row.classification}", row)
            for default in _defaults(session, "classifications")
            for row, thing in made
            if _matches(default, row)
        ]
        self._start_all(session, causes)

    def saved(self, session: Session, thing: Object, group_ids: Collection[int]) -> None:
        """Start those that wait for objects in the list of a group. Does not commit."""
        if not group_ids:
            return
        wanted = set(group_ids)
        causes = [
            _Cause(default, thing, f"group {default.source_filter['group_id']}")
            for default in _defaults(session, "group_id")
            if default.source_filter["group_id"] in wanted
        ]
        self._start_all(session, causes)

    def _start_all(self, session: Session, causes: Sequence[_Cause]) -> None:
        if not causes:
            return
        session.flush()
        # All locks before the first event: whoever holds that of the events waits for no other.
        lock_names(session, *{user_lock(cause.default.owner_id) for cause in causes})
        started = []
        for cause in causes:
            try:
                with session.begin_nested():
                    row = self._start(session, cause)
            except Exception as fault:  # noqa: BLE001, to classify and to save do not depend on it
                self._tell_fault(session, cause, fault)
            else:
                if row is not None:
                    started.append((row, cause.thing))
        for row, thing in started:
            tell_run(session, row, thing, "started")

    def _start(self, session: Session, cause: _Cause) -> Analysis | None:
        """Add the run; None where it is none of the author's business, or runs already."""
        now, default = self._clock(), cause.default
        viewer = self._author(session, default, now)
        if viewer is None or not _sees(session, viewer, cause):
            return None
        viewer.require("analyse")
        key = cause.key(now)
        if session.scalar(select(Analysis.id).where(Analysis.key == key)) is not None:
            return None
        service = visible_service(session, viewer, default.service_id)
        count, _ = begun_today(session, [default.id], now).get(default.id, (0, None))
        if count >= default.daily_limit:
            raise _LimitReached(
                f"its limit of {default.daily_limit} runs a day is reached", found=count
            )
        wish = RunWish(
            analysis_parameters=default.default_analysis_parameters,
            group_ids=groups_kept(session, viewer, service, default.audience_id),
            show_parameters=default.show_parameters,
            show_plots=default.show_plots,
            show_corner=default.show_corner,
        )
        origin = Origin(default_analysis_id=default.id, key=key)
        return self._starter.prepare(session, viewer, cause.thing, service, wish, origin)

    def _author(self, session: Session, default: DefaultAnalysis, now: datetime) -> Viewer | None:
        user = session.get(User, default.owner_id)
        if user is None:
            return None
        try:
            return viewer_of_account(session, user, now, public=self._public)
        except UserError:
            return None  # the account was closed; there is nobody to tell

    def _tell_fault(self, session: Session, cause: _Cause, fault: Exception) -> None:
        """Tell the author, once a day of the same, and the log."""
        default = cause.default
        text = "a default analysis of yours did not run: something went wrong"
        if isinstance(fault, FirstlightError):
            # By then it is known that the author may see the object.
            service = session.get(AnalysisService, default.service_id)
            name = "a service" if service is None else service.display_name
            why = fault.message
            text = f"{name} did not run by itself on {cause.thing.name}: {why}"
            if isinstance(fault, _LimitReached):
                text = f"{name} runs by itself no more today: {why}"
            _log.info("default analysis %d: %s", default.id, why)
        else:
            _log.error("default analysis %d", default.id, exc_info=fault)
        told = {
            "user_id": default.owner_id,
            "kind": "error",
            "text": text[:1000],
            "url": None,
            "key": product_id(
                "default_analysis.fault",
                [default.id, text, start_of_day(self._clock()).isoformat()],
            ),
        }
        bulk_insert(session, UserNotification, [told])


def _defaults(session: Session, kind: str) -> Iterable[DefaultAnalysis]:
    """Default analyses of services that are switched on, of one kind of filter."""
    rows = session.scalars(
        select(DefaultAnalysis)
        .join(AnalysisService, AnalysisService.id == DefaultAnalysis.service_id)
        .where(AnalysisService.enabled.is_(True))
        .order_by(DefaultAnalysis.id)
    )
    return [row for row in rows if kind in row.source_filter]


def _matches(default: DefaultAnalysis, row: Classification) -> bool:
    probability = 1.0 if row.probability is None else row.probability
    wanted: list[dict[str, Any]] = default.source_filter["classifications"]
    return any(
        each["name"] == row.classification and probability >= each.get("probability", 0.0)
        for each in wanted
    )


def _sees(session: Session, viewer: Viewer, cause: _Cause) -> bool:
    """Whether the author may know of what has happened."""
    default, row = cause.default, cause.classification
    seen = session.scalar(
        select(Object.id).where(Object.id == cause.thing.id, seen_by(viewer, Object.audience_id))
    )
    if seen is None:
        return False
    if row is None:
        return viewer.sees_all or default.source_filter["group_id"] in viewer.groups
    return (
        session.scalar(
            select(Classification.id).where(
                Classification.id == row.id, readable(viewer, Classification)
            )
        )
        is not None
    )
