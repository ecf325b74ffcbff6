"""Starting runs: what is asked for is checked, and a row waits for a worker."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from firstlight.errors import ConflictError, InvalidInput, UserError
from firstlight.models.account import Group
from firstlight.models.analysis import Analysis, AnalysisService, AnalysisStatus
from firstlight.models.audience import Audience, audience_of, members_of
from firstlight.models.base import utc_now
from firstlight.models.database import Database
from firstlight.models.object import Object
from firstlight.services.access import Forbidden, Viewer
from firstlight.services.analyses.analyses import visible_run
from firstlight.services.analyses.analysis_inputs_filters import InputFilters
from firstlight.services.analyses.analysis_services import visible_service
from firstlight.services.analyses.analysis_settings import AnalysisSettings
from firstlight.services.analyses.declared_parameters import checked_parameters
from firstlight.services.analyses.run_ends import WAITING, tell_run
from firstlight.services.analyses.run_tokens import run_token, token_hash
from firstlight.services.objects.sharing import account_of, chosen_audience, refusing_twins
from firstlight.services.objects.visible_objects import visible_object
from firstlight.services.transaction_locks import lock_names

__all__ = [
    "AnalysisStarter",
    "Origin",
    "RunWish",
    "ServiceDisabled",
    "SubjectGone",
    "TooManyRuns",
    "TooManyWaiting",
    "groups_kept",
    "lock_of_user",
    "room_for_run",
    "run_audience",
    "user_lock",
]


class TooManyRuns(UserError):
    """There are too many analyses of this object that are yours."""

    code = "analysis.too_many"


class TooManyWaiting(UserError):
    """Too many analyses of yours are waiting."""

    code = "analysis.too_many_waiting"


class SubjectGone(ConflictError):
    """The object or the service was removed at the same moment."""

    code = "analysis.subject_gone"


class ServiceDisabled(UserError):
    """The service is switched off."""

    code = "analysis_service.disabled"


@dataclass(frozen=True)
class RunWish:
    """What is asked for.

    Attributes
    ----------
    analysis_parameters
        By name, as the service declares them.
    input_filters
        ``{"photometry": {"filters": [...], "instruments": [...]}}``: no other points are sent.
    group_ids
        Who sees the results: groups of the viewer and of the service; None for all of these.
    """

    analysis_parameters: object = None
    input_filters: object = None
    group_ids: object = None
    show_parameters: bool = False
    show_plots: bool = False
    show_corner: bool = False


@dataclass(frozen=True)
class Origin:
    """What made somebody ask.

    Attributes
    ----------
    key
        Of the run; a key that is used already means that it was started before.
    """

    rerun_of_id: int | None = None
    default_analysis_id: int | None = None
    key: uuid.UUID = field(default_factory=uuid.uuid4)


class AnalysisStarter:
    """Starts runs. Nothing is sent here: a worker takes the rows that wait.

    Parameters
    ----------
    database
        Rows.
    secret
        The workspace's, from which the tokens are derived.
    settings
        How many runs there may be.
    """

    def __init__(
        self,
        *,
        database: Database,
        secret: bytes,
        settings: AnalysisSettings | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._secret = secret
        self._settings = settings or AnalysisSettings()
        self._clock = clock

    def start(self, viewer: Viewer, object_name: str, service_id: int, wish: RunWish) -> int:
        """Start a run; returns its number at once.

        Raises
        ------
        ObjectMissing, AnalysisServiceMissing
            There is none that the viewer may see.
        ServiceDisabled, Forbidden
            The service does not run, or takes uploads only.
        ParametersInvalid, InvalidInput
            A parameter, a filter or a group cannot be used.
        TooManyRuns, TooManyWaiting
            Some have to be deleted, or to end, before.
        """
        viewer.require("analyse")
        account_of(viewer)
        with self._database.begin() as session:
            thing = visible_object(session, viewer, object_name)
            service = visible_service(session, viewer, service_id)
            lock_of_user(session, viewer)
            row = self.prepare(session, viewer, thing, service, wish)
            tell_run(session, row, thing, "started")
            return row.id

    def rerun(
        self, viewer: Viewer, analysis_id: int, parameters: Mapping[str, Any] | None = None
    ) -> int:
        """Run a service again on the same object, as the viewer; returns the new run's number.

        Parameters
        ----------
        parameters
            Instead of the old ones; None to leave them as they were.

        Raises
        ------
        AnalysisMissing, AnalysisServiceMissing
            The run, or its service, is not there or not the viewer's to see.
        """
        viewer.require("analyse")
        account_of(viewer)
        with self._database.begin() as session:
            old, thing = visible_run(session, viewer, analysis_id)
            service = visible_service(session, viewer, old.service_id or 0)
            lock_of_user(session, viewer)
            wish = RunWish(
                analysis_parameters=old.analysis_parameters if parameters is None else parameters,
                input_filters=old.input_filters,
                group_ids=groups_kept(session, viewer, service, old.audience_id),
                show_parameters=old.show_parameters,
                show_plots=old.show_plots,
                show_corner=old.show_corner,
            )
            row = self.prepare(session, viewer, thing, service, wish, Origin(rerun_of_id=old.id))
            tell_run(session, row, thing, "started")
            return row.id

    def prepare(
        self,
        session: Session,
        viewer: Viewer,
        thing: Object,
        service: AnalysisService,
        wish: RunWish,
        origin: Origin | None = None,
    ) -> Analysis:
        """Add the row of a run that waits. The user is locked by the caller. Does not commit.

        Raises
        ------
        UserError
            As `start`.
        """
        if service.upload_only:
            raise Forbidden(
                f"Analysis Service {service.display_name} is of type upload_only."
                " Please use the analysis_upload endpoint.",
                subject=service.name,
            )
        if not service.enabled:
            raise ServiceDisabled(subject=service.display_name)
        parameters = checked_parameters(
            service.optional_analysis_parameters,
            wish.analysis_parameters,
            max_file_bytes=self._settings.max_parameter_bytes,
        )
        chosen = InputFilters.of(wish.input_filters)
        origin = origin or Origin()
        room_for_run(session, account_of(viewer), thing, self._settings)
        now = self._clock()
        row = Analysis(
            key=origin.key,
            object_id=thing.id,
            service_id=service.id,
            service_name=service.name,
            service_version=service.version,
            owner_id=viewer.user_id,
            audience_id=run_audience(session, viewer, service, wish.group_ids),
            default_analysis_id=origin.default_analysis_id,
            rerun_of_id=origin.rerun_of_id,
            status=AnalysisStatus.QUEUED,
            analysis_parameters=parameters,
            input_filters=chosen.as_document() if chosen.chooses else {},
            show_parameters=wish.show_parameters,
            show_plots=wish.show_plots,
            show_corner=wish.show_corner,
            token_hash=token_hash(run_token(self._secret, origin.key)),
            next_try_at=now,
            created_at=now,
        )
        with refusing_twins(session, SubjectGone(subject=thing.name)):
            session.add(row)
        return row


def lock_of_user(session: Session, viewer: Viewer) -> None:
    """Let nobody else start runs of this user until the end of the transaction."""
    lock_names(session, user_lock(account_of(viewer)))


def user_lock(user_id: int) -> str:
    """The name under which the runs of a user are counted."""
    return f"analyses of user {user_id}"


def room_for_run(
    session: Session, owner_id: int, thing: Object, settings: AnalysisSettings
) -> None:
    """Raise where a user has too many runs. The user is locked by the caller.

    Raises
    ------
    TooManyRuns
        Of this object: those completed and those that wait.
    TooManyWaiting
        Of all objects.
    """
    kept = session.scalar(
        select(func.count(Analysis.id)).where(
            Analysis.object_id == thing.id,
            Analysis.owner_id == owner_id,
            Analysis.status.in_((AnalysisStatus.COMPLETED, *WAITING)),
        )
    )
    if (kept or 0) >= settings.most_per_object:
        raise TooManyRuns(
            "You have reached the maximum number of analyses for this object."
            " Please delete some analyses before starting or uploading more.",
            subject=thing.name,
            found=kept,
            expected=f"at most {settings.most_per_object}",
        )
    waiting = session.scalar(
        select(func.count(Analysis.id)).where(
            Analysis.owner_id == owner_id, Analysis.status.in_(WAITING)
        )
    )
    if (waiting or 0) >= settings.most_waiting_per_user:
        raise TooManyWaiting(
            found=waiting,
            expected=f"at most {settings.most_waiting_per_user}",
            hint="wait for some to end, or cancel them",
        )


def run_audience(
    session: Session, viewer: Viewer, service: AnalysisService, group_ids: object
) -> int:
    """Who sees a run: groups that are the viewer's and the service's. Does not commit.

    The viewer's own group of one is always allowed: that keeps it to oneself.

    Raises
    ------
    InvalidInput
        A group is not among these, or there is none at all.
    """
    allowed = _allowed_groups(session, viewer, service)
    if group_ids is None or group_ids in ([], "all"):
        if not allowed:
            raise InvalidInput(
                "you share no group with the service",
                subject=service.display_name,
                field="group_ids",
            )
        return audience_of(session, groups=allowed)
    audience = chosen_audience(session, viewer, group_ids, default=None)
    wanted, _ = members_of(session, audience)
    refused = sorted(wanted - allowed - _own_group(session, viewer))
    if refused:
        raise InvalidInput(
            f"Cannot find one or more groups with IDs: {refused}.",
            field="group_ids",
            found=", ".join(map(str, refused[:20])),
            expected="groups of yours that may use the service",
        )
    return audience


def _allowed_groups(session: Session, viewer: Viewer, service: AnalysisService) -> set[int]:
    if session.get_one(Audience, service.audience_id).is_public:
        return set(viewer.groups)
    groups, _ = members_of(session, service.audience_id)
    shared = groups & viewer.groups
    return groups if viewer.sees_all and not shared else shared


def _own_group(session: Session, viewer: Viewer) -> set[int]:
    if not viewer.groups:
        return set()
    return set(
        session.scalars(
            select(Group.id).where(Group.id.in_(viewer.groups), Group.single_user_group)
        )
    )


def groups_kept(
    session: Session, viewer: Viewer, service: AnalysisService, audience_id: int
) -> list[int]:
    """The groups of an audience that runs of this viewer may still be shared with.

    Where none is left it is the viewer's own group of one: never more people than before.
    """
    groups, _ = members_of(session, audience_id)
    own = _own_group(session, viewer)
    return sorted(groups & (_allowed_groups(session, viewer, service) | own) or own)
