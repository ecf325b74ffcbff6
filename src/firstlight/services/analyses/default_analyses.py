"""Default analyses: services that run by themselves on what is classified or saved to a group."""

from __future__ import annotations

import builtins
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from firstlight.errors import InvalidInput, MissingError
from firstlight.models.account import User
from firstlight.models.analysis import Analysis, AnalysisService, DefaultAnalysis
from firstlight.models.base import utc_now
from firstlight.models.database import Database
from firstlight.services.access import Forbidden, Viewer
from firstlight.services.accounts.facts import user_facts, wire_time
from firstlight.services.analyses.analyses_start import run_audience
from firstlight.services.analyses.analysis_services import visible_service
from firstlight.services.analyses.analysis_settings import AnalysisSettings
from firstlight.services.analyses.declared_parameters import checked_parameters, names_of_files
from firstlight.services.analyses.service_fields import service_facts
from firstlight.services.objects.sharing import (
    account_of,
    groups_by_audience,
    may_change,
    readable,
)
from firstlight.services.objects.wire_values import LARGEST_ID, finite, plain_text

__all__ = ["DefaultAnalyses", "DefaultAnalysisMissing", "begun_today", "start_of_day"]

_OWNER = "owner_id"
_SWITCHES = ("show_parameters", "show_plots", "show_corner")
_KNOWN = frozenset(
    {"default_analysis_parameters", "source_filter", "daily_limit", "group_ids", *_SWITCHES}
)
_MOST_CLASSES = 100
_FORMS = '{"classifications": [{"name": "SN Ia", "probability": 0.9}]} or {"group_id": 1}'


class DefaultAnalysisMissing(MissingError):
    """There is no such default analysis, or none that you may see."""

    code = "default_analysis.missing"


class DefaultAnalyses:
    """Keeps what runs by itself.

    Parameters
    ----------
    database
        Rows.
    settings
        Limits.
    """

    def __init__(
        self,
        *,
        database: Database,
        settings: AnalysisSettings | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._settings = settings or AnalysisSettings()
        self._clock = clock

    def list(self, viewer: Viewer, service_id: int) -> builtins.list[dict[str, Any]]:
        """Those of a service that the viewer may see, in the order in which they were made.

        Raises
        ------
        AnalysisServiceMissing
            There is none that the viewer may see.
        """
        with self._database.reading() as session:
            service = visible_service(session, viewer, service_id)
            rows = session.scalars(
                select(DefaultAnalysis)
                .where(
                    DefaultAnalysis.service_id == service.id,
                    readable(viewer, DefaultAnalysis, _OWNER),
                )
                .order_by(DefaultAnalysis.id)
            ).all()
            return self._shown(session, viewer, service, rows)

    def get(self, viewer: Viewer, service_id: int, number: int) -> dict[str, Any]:
        """One of them.

        Raises
        ------
        DefaultAnalysisMissing, AnalysisServiceMissing
            There is none that the viewer may see.
        """
        with self._database.reading() as session:
            service = visible_service(session, viewer, service_id)
            row = _one(session, viewer, service, number)
            return self._shown(session, viewer, service, [row])[0]

    def create(self, viewer: Viewer, service_id: int, given: Mapping[str, Any]) -> int:
        """Let a service run by itself, as the viewer; returns the number.

        Parameters
        ----------
        given
            ``source_filter``; and, where they are wanted, ``default_analysis_parameters``,
            ``daily_limit`` (10), ``group_ids``, and what is shown (all).

        Raises
        ------
        InvalidInput, ParametersInvalid
            Something cannot be used.
        Forbidden
            The viewer runs no analyses, or the service is never called.
        """
        viewer.require("analyse")
        owner = account_of(viewer)
        if given.get("source_filter") is None:
            raise _bad_filter(None)
        with self._database.begin() as session:
            service = visible_service(session, viewer, service_id)
            if service.upload_only:
                raise Forbidden(
                    f"Analysis Service {service.display_name} is of type upload_only."
                    " It is never called.",
                    subject=service.name,
                )
            wish = {"default_analysis_parameters": {}, "daily_limit": 10, **_plain(given)}
            row = DefaultAnalysis(
                service_id=service.id,
                owner_id=owner,
                audience_id=run_audience(session, viewer, service, given.get("group_ids")),
                **self._checked(viewer, service, wish),
            )
            session.add(row)
            session.flush()
            return row.id

    def change(
        self, viewer: Viewer, service_id: int, number: int, given: Mapping[str, Any]
    ) -> None:
        """Change one of one's own; what is not given stays."""
        viewer.require("analyse")
        with self._database.begin() as session:
            service = visible_service(session, viewer, service_id)
            row = _one(session, viewer, service, number)
            may_change(viewer, row.owner_id, "default analysis")
            for name, value in self._checked(viewer, service, _plain(given)).items():
                setattr(row, name, value)
            if given.get("group_ids") is not None:
                row.audience_id = run_audience(session, viewer, service, given["group_ids"])

    def remove(self, viewer: Viewer, service_id: int, number: int) -> None:
        """Let it run no more. What it has run stays."""
        viewer.require("analyse")
        with self._database.begin() as session:
            service = visible_service(session, viewer, service_id)
            row = _one(session, viewer, service, number)
            may_change(viewer, row.owner_id, "default analysis")
            session.delete(row)

    # --- what is checked and shown ---------------------------------------------------------

    def _checked(
        self, viewer: Viewer, service: AnalysisService, wish: Mapping[str, Any]
    ) -> dict[str, Any]:
        values: dict[str, Any] = {}
        if "default_analysis_parameters" in wish:
            values["default_analysis_parameters"] = checked_parameters(
                service.optional_analysis_parameters,
                wish["default_analysis_parameters"],
                max_file_bytes=self._settings.max_parameter_bytes,
            )
        if "source_filter" in wish:
            values["source_filter"] = _checked_filter(viewer, wish["source_filter"])
        if "daily_limit" in wish:
            values["daily_limit"] = self._limit(wish["daily_limit"])
        for name in _SWITCHES:
            if name in wish:
                if not isinstance(wish[name], bool):
                    raise InvalidInput(
                        field=name, found=repr(wish[name])[:100], expected="true or false"
                    )
                values[name] = wish[name]
        return values

    def _limit(self, value: object) -> int:
        most = self._settings.most_daily_runs
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or not 1 <= value <= most:  # type: ignore[operator]  # it is an int here
            raise InvalidInput(
                f"Invalid daily_limit: {str(value)[:50]}. Must be between 1 and {most}",
                field="daily_limit",
                found=repr(value)[:50],
                expected=f"1 to {most}",
            )
        return value  # type: ignore[return-value]  # likewise

    def _shown(
        self,
        session: Session,
        viewer: Viewer,
        service: AnalysisService,
        rows: Sequence[DefaultAnalysis],
    ) -> builtins.list[dict[str, Any]]:
        today = begun_today(session, [row.id for row in rows], self._clock())
        audiences = [service.audience_id, *(row.audience_id for row in rows)]
        groups = groups_by_audience(session, viewer, audiences)
        people = {
            user.id: user_facts(user)
            for user in session.scalars(
                select(User).where(User.id.in_({row.owner_id for row in rows}))
            )
        }
        return [
            {
                "id": row.id,
                "created_at": wire_time(row.created_at),
                "modified": wire_time(row.modified_at),
                "analysis_service_id": row.service_id,
                "author_id": row.owner_id,
                "show_parameters": row.show_parameters,
                "show_plots": row.show_plots,
                "show_corner": row.show_corner,
                "default_analysis_parameters": names_of_files(row.default_analysis_parameters),
                "source_filter": row.source_filter,
                "stats": {
                    "daily_limit": row.daily_limit,
                    "daily_count": today.get(row.id, (0, None))[0],
                    "last_run": wire_time(today.get(row.id, (0, None))[1]),
                },
                "groups": groups[row.audience_id],
                "author": people.get(row.owner_id),
                "analysis_service": service_facts(service, groups[service.audience_id]),
            }
            for row in rows
        ]


def start_of_day(now: datetime) -> datetime:
    """When the day began, UTC."""
    return now.replace(hour=0, minute=0, second=0, microsecond=0)


def begun_today(
    session: Session, numbers: Collection[int], now: datetime
) -> dict[int, tuple[int, datetime | None]]:
    """Of each default analysis that has run today: how often, and when last."""
    rows = session.execute(
        select(Analysis.default_analysis_id, func.count(), func.max(Analysis.created_at))
        .where(Analysis.default_analysis_id.in_(numbers), Analysis.created_at >= start_of_day(now))
        .group_by(Analysis.default_analysis_id)
    )
    return {number: (count, last) for number, count, last in rows if number is not None}


def _plain(given: Mapping[str, Any]) -> dict[str, Any]:
    """Wishes that are some, with JSON in a text as an object, as old clients send."""
    unknown = sorted(set(given) - _KNOWN)
    if unknown:
        raise InvalidInput(
            f"Invalid/missing parameters: {', '.join(unknown)[:200]}.",
            field=unknown[0][:100],
            expected=", ".join(sorted(_KNOWN)),
        )
    wish = {name: value for name, value in given.items() if value is not None}
    for name in ("default_analysis_parameters", "source_filter"):
        if isinstance(wish.get(name), str):
            try:
                wish[name] = json.loads(wish[name])
            except ValueError as fault:
                raise InvalidInput(f"Could not parse `{name}` as JSON.", field=name) from fault
    return wish


def _checked_filter(viewer: Viewer, given: object) -> dict[str, Any]:
    if not isinstance(given, Mapping) or len(given) != 1:
        raise _bad_filter(given)
    if "group_id" in given:
        group = given["group_id"]
        whole = isinstance(group, int) and not isinstance(group, bool)
        if not whole or not 0 < group <= LARGEST_ID:
            raise _bad_filter(given)
        if not viewer.sees_all and group not in viewer.groups:
            raise InvalidInput(
                "Invalid source_filter: there is no such group, or you are not in it.",
                field="source_filter.group_id",
                found=group,
            )
        return {"group_id": group}
    wanted = given.get("classifications")
    if not isinstance(wanted, list) or not 1 <= len(wanted) <= _MOST_CLASSES:
        raise _bad_filter(given)
    return {"classifications": [_checked_class(each) for each in wanted]}


def _checked_class(given: object) -> dict[str, Any]:
    if not isinstance(given, Mapping) or not {"name"} <= set(given) <= {"name", "probability"}:
        raise _bad_filter(given)
    name = plain_text(given["name"], "source_filter.classifications.name", longest=128)
    probability = finite(given.get("probability", 0.0), "source_filter.classifications.probability")
    if not 0.0 <= probability <= 1.0:
        raise InvalidInput(
            "Invalid source_filter: a probability is from 0 to 1.",
            field="source_filter.classifications.probability",
            found=probability,
        )
    return {"name": name, "probability": probability}


def _bad_filter(given: object) -> InvalidInput:
    return InvalidInput(
        f"Invalid source_filter: {str(given)[:100]}.", field="source_filter", expected=_FORMS
    )


def _one(
    session: Session, viewer: Viewer, service: AnalysisService, number: int
) -> DefaultAnalysis:
    row = None
    if 0 < number <= LARGEST_ID:
        row = session.scalar(
            select(DefaultAnalysis).where(
                DefaultAnalysis.id == number,
                DefaultAnalysis.service_id == service.id,
                readable(viewer, DefaultAnalysis, _OWNER),
            )
        )
    if row is None:
        raise DefaultAnalysisMissing("Cannot access this Default Analysis.", subject=number)
    return row
