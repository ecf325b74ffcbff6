"""Runs of analysis services: listed, looked at, cancelled, deleted. Lists read no files."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import ColumnElement, Select, false, func, select
from sqlalchemy.orm import Session, load_only

from firstlight.errors import FirstlightError, InvalidInput, MissingError
from firstlight.models.analysis import Analysis, AnalysisService, AnalysisStatus
from firstlight.models.base import utc_now
from firstlight.models.database import Database
from firstlight.models.object import Object
from firstlight.services.access import Viewer
from firstlight.services.analyses.analyses_stale import stale_inputs
from firstlight.services.analyses.analysis_facts import brief_facts, detailed_facts, run_facts
from firstlight.services.analyses.run_ends import end_run, tell_run
from firstlight.services.expiry.leftovers import remember
from firstlight.services.objects.sharing import groups_by_audience, may_change, readable
from firstlight.services.objects.visible_objects import visible_object
from firstlight.services.objects.wire_values import LARGEST_ID, storable
from firstlight.services.visibility import seen_by

__all__ = ["Analyses", "AnalysisMissing", "RunQuery", "StoredFiles", "visible_run"]

_LONGEST_PAGE = 10_000
_OWNER = "owner_id"
_BRIEF = load_only(
    Analysis.id,
    Analysis.object_id,
    Analysis.status,
    Analysis.status_message,
    Analysis.created_at,
    Analysis.modified_at,
    Analysis.service_id,
    Analysis.service_name,
)

Run = tuple[Analysis, str, AnalysisService | None]


class AnalysisMissing(MissingError):
    """There is no such analysis, or none that you may see."""

    code = "analysis.missing"


class StoredFiles(Protocol):
    """Where the files of runs are: `ResultFiles`."""

    def keys_of(self, session: Session, analysis_ids: Iterable[int]) -> list[str]:
        """Keys of the files of runs."""
        ...

    def remove(self, keys: Iterable[str]) -> None:
        """Forget their bytes; what is not there is no error."""
        ...


@dataclass(frozen=True)
class RunQuery:
    """Which runs are wanted.

    Attributes
    ----------
    object_name
        Exactly.
    status
        One of `AnalysisStatus`.
    summaries
        Only of services whose results are summaries.
    page, per_page
        The newest first; at most 10000 of a page.
    """

    object_name: str | None = None
    service_id: int | None = None
    status: str | None = None
    summaries: bool = False
    page: int = 1
    per_page: int = 100

    def conditions(self, viewer: Viewer) -> builtins.list[ColumnElement[bool]]:
        """What rows of `Analysis` joined to `Object` and `AnalysisService` must be.

        Raises
        ------
        InvalidInput
            There is no such status.
        """
        found = [readable(viewer, Analysis, _OWNER), seen_by(viewer, Object.audience_id)]
        if self.object_name is not None:
            name = self.object_name
            found.append(Object.name == name if storable(name) else false())
        if self.service_id is not None:
            found.append(Analysis.service_id == self.service_id)
        if self.status is not None:
            known = [str(each) for each in AnalysisStatus]
            if self.status not in known:
                raise InvalidInput(
                    field="status", found=repr(self.status)[:100], expected=", ".join(known)
                )
            found.append(Analysis.status == self.status)
        if self.summaries:
            found.append(AnalysisService.is_summary.is_(True))
        return found


class Analyses:
    """Reads runs, cancels them and deletes them.

    Parameters
    ----------
    database
        Rows.
    files
        Of the results.
    public_sites
        Sites that anyone may read; None for all.
    """

    def __init__(
        self,
        *,
        database: Database,
        files: StoredFiles,
        public_sites: frozenset[str] | None = frozenset(),
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._files = files
        self._public = public_sites
        self._clock = clock

    def list(self, viewer: Viewer, query: RunQuery) -> tuple[builtins.list[dict[str, Any]], int]:
        """A page of runs, the newest first, and how many there are.

        With the name of an object all columns are told, else the few that SkyPortal tells.
        """
        conditions = query.conditions(viewer)
        size = min(max(query.per_page, 1), _LONGEST_PAGE)
        page = min(max(query.page, 1), LARGEST_ID)
        with self._database.reading() as session:
            total = session.scalar(_joined(func.count(Analysis.id)).where(*conditions)) or 0
            wanted = _joined(Analysis, Object.name, AnalysisService).where(*conditions)
            if query.object_name is None:
                wanted = wanted.options(_BRIEF)
            rows: builtins.list[Run] = [
                (run, name, service)
                for run, name, service in session.execute(
                    wanted.order_by(Analysis.id.desc()).offset((page - 1) * size).limit(size)
                )
            ]
            if query.object_name is None:
                return [brief_facts(*row) for row in rows], total
            return _with_groups(session, viewer, rows), total

    def of_object(
        self, viewer: Viewer, object_name: str, query: RunQuery
    ) -> tuple[builtins.list[dict[str, Any]], int]:
        """As `list`, of an object that has to be there.

        Raises
        ------
        ObjectMissing
            There is none that the viewer may see.
        """
        with self._database.reading() as session:
            visible_object(session, viewer, object_name)
        return self.list(viewer, query)

    def get(
        self,
        viewer: Viewer,
        analysis_id: int,
        *,
        object_name: str | None = None,
        details: bool = False,
    ) -> dict[str, Any]:
        """One run.

        Parameters
        ----------
        object_name
            Of the object that it has to be of.
        details
            Also what SkyPortal has no names for, and whether the viewer may change it.

        Raises
        ------
        AnalysisMissing
            There is none that the viewer may see.
        """
        with self._database.reading() as session:
            run, thing = visible_run(session, viewer, analysis_id)
            if object_name is not None and thing.name != object_name:
                raise AnalysisMissing("Cannot access this Analysis.", subject=analysis_id)
            service = (
                None if run.service_id is None else session.get(AnalysisService, run.service_id)
            )
            facts = _with_groups(session, viewer, [(run, thing.name, service)])[0]
            if details:
                mine = viewer.may("admin") or run.owner_id == viewer.user_id
                stale = stale_inputs(session, run, thing, self._clock(), self._public)
                facts |= detailed_facts(run)
                facts |= {
                    "may_change": mine and viewer.may("analyse"),
                    "is_stale": None if stale is None else bool(stale),
                    "stale_inputs": stale or [],
                }
            return facts

    def cancel(self, viewer: Viewer, analysis_id: int) -> str:
        """Stop a run of one's own; one that has ended stays as it is. Returns its state."""
        viewer.require("analyse")
        with self._database.begin() as session:
            run, _ = visible_run(session, viewer, analysis_id)
            may_change(viewer, run.owner_id, "analysis")
            end_run(
                session,
                run.id,
                AnalysisStatus.CANCELLED,
                now=self._clock(),
                message="cancelled",
            )
            session.refresh(run)
            return str(run.status)

    def remove(self, viewer: Viewer, analysis_id: int, *, object_name: str | None = None) -> None:
        """Delete a run of one's own, and its files."""
        viewer.require("analyse")
        with self._database.begin() as session:
            run, thing = visible_run(session, viewer, analysis_id)
            if object_name is not None and thing.name != object_name:
                raise AnalysisMissing("Cannot access this Analysis.", subject=analysis_id)
            may_change(viewer, run.owner_id, "analysis")
            keys = self._files.keys_of(session, [run.id])
            remember(session, dict.fromkeys(keys, 0), self._clock())
            session.delete(run)
            session.flush()
            tell_run(session, run, thing, "removed")
        # What fails here is finished by the next sweep, which knows the keys.
        with suppress(FirstlightError):
            self._files.remove(keys)


def visible_run(session: Session, viewer: Viewer, analysis_id: int) -> tuple[Analysis, Object]:
    """Return a run and its object.

    Raises
    ------
    AnalysisMissing
        There is none that the viewer may see: their own, or shared with them, of an object that
        they may see.
    """
    row = None
    if 0 < analysis_id <= LARGEST_ID:
        row = session.execute(
            select(Analysis, Object)
            .join(Object, Object.id == Analysis.object_id)
            .where(
                Analysis.id == analysis_id,
                readable(viewer, Analysis, _OWNER),
                seen_by(viewer, Object.audience_id),
            )
        ).first()
    if row is None:
        raise AnalysisMissing("Cannot access this Analysis.", subject=analysis_id)
    return row[0], row[1]


def _joined(*what: Any) -> Select[Any]:
    return (
        select(*what)
        .select_from(Analysis)
        .join(Object, Object.id == Analysis.object_id)
        .outerjoin(AnalysisService, AnalysisService.id == Analysis.service_id)
    )


def _with_groups(
    session: Session, viewer: Viewer, rows: builtins.list[Run]
) -> builtins.list[dict[str, Any]]:
    groups = groups_by_audience(session, viewer, (run.audience_id for run, _, _ in rows))
    return [run_facts(run, name, service, groups[run.audience_id]) for run, name, service in rows]
