"""Runs as pages show them: who started them, how far they are, whether their data are of today."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from firstlight.models.account import User
from firstlight.models.analysis import Analysis, AnalysisService, AnalysisStatus
from firstlight.models.base import utc_now
from firstlight.models.database import Database
from firstlight.models.object import Object
from firstlight.services.access import TokenInvalid, Viewer
from firstlight.services.accounts.account_viewers import viewer_of_account
from firstlight.services.analyses.analyses import visible_run
from firstlight.services.analyses.analysis_facts import detailed_facts, run_facts
from firstlight.services.analyses.analysis_inputs_stamp import is_stale, stamp, types_of
from firstlight.services.objects.sharing import groups_by_audience, readable
from firstlight.services.objects.visible_objects import visible_object

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
            rows = session.scalars(
                select(Analysis)
                .where(Analysis.object_id == thing.id, readable(viewer, Analysis, _OWNER))
                .order_by(Analysis.id.desc())
                .limit(limit)
            ).all()
            return self._shown(session, viewer, thing, rows)

    def one(self, viewer: Viewer, analysis_id: int) -> dict[str, Any]:
        """One run.

        Raises
        ------
        AnalysisMissing
            There is none that the viewer may see.
        """
        with self._database.reading() as session:
            run, thing = visible_run(session, viewer, analysis_id)
            return self._shown(session, viewer, thing, [run])[0]

    def _shown(
        self, session: Session, viewer: Viewer, thing: Object, rows: Sequence[Analysis]
    ) -> list[dict[str, Any]]:
        owners = {row.owner_id for row in rows} - {None}
        people = {
            user.id: user for user in session.scalars(select(User).where(User.id.in_(owners)))
        }
        numbers = {row.service_id for row in rows} - {None}
        services = {
            each.id: each
            for each in session.scalars(
                select(AnalysisService).where(AnalysisService.id.in_(numbers))
            )
        }
        groups = groups_by_audience(session, viewer, (row.audience_id for row in rows))
        marks: dict[tuple[object, ...], str] = {}
        found = []
        for row in rows:
            author = people.get(row.owner_id or 0)
            service = services.get(row.service_id or 0)
            found.append(
                {
                    **run_facts(row, thing.name, service, groups[row.audience_id]),
                    **detailed_facts(row),
                    "author_name": None if author is None else author.username,
                    "stale": self._stale(session, thing, row, author, marks),
                }
            )
        return found

    def _stale(
        self,
        session: Session,
        thing: Object,
        row: Analysis,
        author: User | None,
        marks: dict[tuple[object, ...], str],
    ) -> bool:
        """Whether its author would send other data today; not known of one who is gone."""
        if row.status != AnalysisStatus.COMPLETED or row.inputs_stamp is None or author is None:
            return False
        types = types_of(row.inputs_stamp)
        key = (author.id, *types, repr(row.input_filters))
        if key not in marks:
            try:
                owner = viewer_of_account(session, author, self._clock(), public=self._public)
            except TokenInvalid:
                return False
            marks[key] = stamp(session, owner, thing, types, row.input_filters)
        return is_stale(row.inputs_stamp, marks[key])
