"""Runs as pages show them: who started them, how far they are, whether their data are of today."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from firstlight.models.analysis import Analysis, AnalysisService, AnalysisStatus
from firstlight.models.base import utc_now
from firstlight.models.database import Database
from firstlight.models.object import Object
from firstlight.services.access import Viewer
from firstlight.services.analyses.analyses import visible_run
from firstlight.services.analyses.analyses_stale import stale_inputs
from firstlight.services.analyses.analysis_facts import brief_facts, detailed_facts, run_facts
from firstlight.services.objects.sharing import groups_by_audience, readable
from firstlight.services.objects.visible_objects import visible_object
from firstlight.services.objects.wire_values import authors

__all__ = ["RunPages"]

_OWNER = "owner_id"


class RunPages:
    """Reads runs for pages. No files are read.

    Parameters
    ----------
    database
        Where they are.
    public_sites
        Sites that anyone may read; None for all.
    """

    def __init__(
        self,
        *,
        database: Database,
        public_sites: frozenset[str] | None = frozenset(),
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._public = public_sites
        self._clock = clock

    def of_object(self, viewer: Viewer, name: str, limit: int) -> list[dict[str, Any]]:
        """The newest runs on an object that the viewer may see."""
        with self._database.reading() as session:
            thing = visible_object(session, viewer, name)
            rows = session.execute(
                _with_services()
                .where(Analysis.object_id == thing.id, readable(viewer, Analysis, _OWNER))
                .order_by(Analysis.id.desc())
                .limit(limit)
            ).all()
            return self._shown(session, viewer, thing, [(run, service) for run, service in rows])

    def with_light_curves(
        self, viewer: Viewer, name: str, limit: int, only: Collection[int] = ()
    ) -> list[dict[str, Any]]:
        """The newest runs on an object that have fitted its light curve; in brief.

        Parameters
        ----------
        only
            Numbers of runs; empty for all.
        """
        with self._database.reading() as session:
            thing = visible_object(session, viewer, name)
            query = (
                _with_services()
                .where(
                    Analysis.object_id == thing.id,
                    readable(viewer, Analysis, _OWNER),
                    Analysis.facts["has_light_curves"].as_boolean(),
                )
                .order_by(Analysis.id.desc())
                .limit(limit)
            )
            if only:
                query = query.where(Analysis.id.in_(only))
            return [
                brief_facts(row, thing.name, service) for row, service in session.execute(query)
            ]

    def one(self, viewer: Viewer, analysis_id: int) -> dict[str, Any]:
        """One run.

        Raises
        ------
        AnalysisMissing
            There is none that the viewer may see.
        """
        with self._database.reading() as session:
            run, thing = visible_run(session, viewer, analysis_id)
            service = session.get(AnalysisService, run.service_id) if run.service_id else None
            return self._shown(session, viewer, thing, [(run, service)])[0]

    def _shown(
        self,
        session: Session,
        viewer: Viewer,
        thing: Object,
        rows: Sequence[tuple[Analysis, AnalysisService | None]],
    ) -> list[dict[str, Any]]:
        people = authors(session, (row.owner_id for row, _ in rows))
        groups = groups_by_audience(session, viewer, (row.audience_id for row, _ in rows))
        now = self._clock()
        marks: dict[tuple[object, ...], str] = {}
        found = []
        for row, service in rows:
            author = people.get(row.owner_id or 0)
            found.append(
                {
                    **run_facts(row, thing.name, service, groups[row.audience_id]),
                    **detailed_facts(row),
                    "author_name": None if author is None else author["username"],
                    "stale": row.status == AnalysisStatus.COMPLETED
                    and bool(stale_inputs(session, row, thing, now, self._public, marks)),
                }
            )
        return found


def _with_services() -> Select[Analysis, AnalysisService]:
    """Runs, each with its service; None for one that was removed."""
    return select(Analysis, AnalysisService).join(
        AnalysisService, AnalysisService.id == Analysis.service_id, isouter=True
    )
