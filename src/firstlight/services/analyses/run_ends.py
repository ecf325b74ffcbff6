"""How a run ends: once, whoever comes first, and told to those who wait for it.

Every change of a run's status is one update that holds only while the run still waits, so that
a late answer, a second callback or a sweep at the same moment changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, cast
from urllib.parse import quote

from sqlalchemy import ColumnElement, Row, bindparam, select, update
from sqlalchemy.orm import Session

from firstlight.models.account import UserNotification
from firstlight.models.analysis import Analysis, AnalysisService, AnalysisStatus
from firstlight.models.database import bulk_insert
from firstlight.models.object import Object
from firstlight.provenance.fingerprint import product_id
from firstlight.services.objects.sharing import common_audience, tell

if TYPE_CHECKING:
    from sqlalchemy import Table
    from sqlalchemy.sql.dml import ReturningUpdate

__all__ = ["WAITING", "change_run", "end_run", "page_of", "tell_end", "tell_run", "thing_of"]

WAITING = (AnalysisStatus.QUEUED, AnalysisStatus.PENDING)
_WORDS = {
    AnalysisStatus.COMPLETED: "done",
    AnalysisStatus.FAILURE: "failed",
    AnalysisStatus.TIMED_OUT: "timed out",
    AnalysisStatus.CANCELLED: "cancelled",
}
_LONGEST_MESSAGE = 2000
_RUNS = cast("Table", Analysis.__table__)
_TOLD = (
    "id",
    "object_id",
    "audience_id",
    "owner_id",
    "service_name",
    "status",
    "status_message",
    "progress",
    "attempts",
)
# With each change it is told what was changed, which another statement would have to ask.
_OBJECT, _SERVICE = Object.id == _RUNS.c.object_id, AnalysisService.id == _RUNS.c.service_id
_ABOUT = {
    "object_name": select(Object.name).where(_OBJECT),
    "object_audience_id": select(Object.audience_id).where(_OBJECT),
    "service_display_name": select(AnalysisService.display_name).where(_SERVICE),
}


class RunLike(Protocol):
    """What is told of a run: its row, or those columns of it."""

    id: Any
    object_id: Any
    audience_id: Any
    owner_id: Any
    service_name: Any
    status: Any
    status_message: Any
    progress: Any


class ThingLike(Protocol):
    """What is told of an object: its row, or those columns of it."""

    name: Any
    audience_id: Any


def change_run(
    session: Session,
    number: int,
    values: Mapping[str, Any],
    *conditions: ColumnElement[bool],
    holding: Collection[AnalysisStatus] = WAITING,
) -> Row[*tuple[Any, ...]] | None:
    """Change a run that is in one of these states; None where it is no longer. No commit.

    Parameters
    ----------
    conditions
        What else must hold.

    Returns
    -------
    Row
        What the run is now: `RunLike`, its ``attempts``, and what `thing_of` tells. Not all of
        it, since parameters may hold whole files.
    """
    plain = {name: value for name, value in values.items() if not isinstance(value, ColumnElement)}
    derived = {name: value for name, value in values.items() if name not in plain}
    statement = _change(frozenset(plain), tuple(holding))
    if conditions:
        statement = statement.where(*conditions)
    if derived:
        statement = statement.values(derived)
    given = {f"new_{name}": value for name, value in plain.items()}
    return session.execute(statement, {"run": number, **given}).one_or_none()


@lru_cache(maxsize=64)
def _change(names: frozenset[str], holding: tuple[AnalysisStatus, ...]) -> ReturningUpdate[Any]:
    """The statement that sets columns: to build it takes longer than to execute it."""
    values = {name: bindparam(f"new_{name}", type_=_RUNS.c[name].type) for name in sorted(names)}
    return (
        update(_RUNS)
        .where(_RUNS.c.id == bindparam("run"), _RUNS.c.status.in_(holding))
        .values(values)
        .returning(
            *(_RUNS.c[name] for name in _TOLD),
            *(
                query.correlate(_RUNS).scalar_subquery().label(name)
                for name, query in _ABOUT.items()
            ),
        )
    )


@dataclass(frozen=True, slots=True)
class Thing:
    """Name and audience of a run's object, and what people call its service.

    The last is None where the service was removed.
    """

    name: str
    audience_id: int
    service: str | None


def thing_of(row: Row[*tuple[Any, ...]]) -> Thing:
    """What a run is about, of one that `change_run` has changed."""
    return Thing(row.object_name, row.object_audience_id, row.service_display_name)


def end_run(
    session: Session,
    number: int,
    status: AnalysisStatus,
    *conditions: ColumnElement[bool],
    now: datetime,
    message: str,
    error: Mapping[str, Any] | None = None,
) -> bool:
    """End a run that still waits, and tell of it: the last thing before the commit.

    Returns
    -------
    bool
        Whether this was the end; False where it had ended before.
    """
    row = change_run(session, number, ending(status, now, message, error), *conditions)
    if row is None:
        return False
    tell_end(session, row)
    return True


def ending(
    status: AnalysisStatus,
    now: datetime,
    message: str,
    error: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The values of a run that has ended."""
    return {
        "status": status,
        "status_message": message[:_LONGEST_MESSAGE],
        "error": None if error is None else dict(error),
        "finished_at": now,
        "next_try_at": None,
    }


def tell_end(session: Session, row: Row[*tuple[Any, ...]]) -> None:
    """Tell the owner, and whoever watches the object: the last thing before the commit.

    Parameters
    ----------
    row
        As of `change_run`.
    """
    thing = thing_of(row)
    if row.owner_id is not None and row.status != AnalysisStatus.CANCELLED:
        session.flush()
        bulk_insert(session, UserNotification, [_notification(row, thing)])
    tell_run(session, row, thing, "ended")


def tell_run(session: Session, row: Any, thing: Any, change: str) -> None:
    """Tell whoever watches the object: the last thing before the commit.

    Parameters
    ----------
    row, thing
        `RunLike`, and `ThingLike`.
    """
    facts = {"id": row.id, "change": change, "status": str(row.status), "progress": row.progress}
    audience = common_audience(session, thing.audience_id, row.audience_id)
    tell(session, thing.name, "analysis", audience, facts)


def page_of(object_name: str, number: int) -> str:
    """Path of a run's page."""
    return f"/objects/{quote(object_name, safe='')}/analyses/{number}"


def _notification(row: Row[*tuple[Any, ...]], thing: Thing) -> dict[str, Any]:
    done = row.status == AnalysisStatus.COMPLETED
    text = f"{thing.service or row.service_name} on {thing.name}: {_WORDS[row.status]}"
    if row.status_message:
        text += f" ({row.status_message})"
    return {
        "user_id": row.owner_id,
        "kind": "success" if done else "error",
        "text": text[:1000],
        "url": page_of(thing.name, row.id),
        # Told once, however often somebody comes to the end of this run.
        "key": product_id("analysis.ended", [row.id]),
    }
