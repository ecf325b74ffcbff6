"""Analysis services: programs that analyse objects, registered, changed, taken away."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from firstlight.errors import ConflictError, InvalidInput, MissingError
from firstlight.models.analysis import Analysis, AnalysisService, AnalysisStatus
from firstlight.models.base import utc_now
from firstlight.models.database import Database
from firstlight.models.object import Object
from firstlight.services.access import Viewer
from firstlight.services.analyses.analysis_settings import AnalysisSettings
from firstlight.services.analyses.declared_parameters import form_fields
from firstlight.services.analyses.run_ends import WAITING, ending, tell_run
from firstlight.services.analyses.sealed_secrets import SealedSecrets
from firstlight.services.analyses.service_fields import (
    LOCAL,
    UrlRules,
    checked_fields,
    same_place,
    service_facts,
)
from firstlight.services.analyses.service_fields_authinfo import checked_authinfo
from firstlight.services.objects.sharing import (
    chosen_audience,
    groups_by_audience,
    readable,
    refusing_twins,
)
from firstlight.services.objects.wire_values import LARGEST_ID

__all__ = [
    "AnalysisServiceExists",
    "AnalysisServiceMissing",
    "AnalysisServices",
    "visible_service",
]

_OWNER = "owner_id"
_SETTABLE = frozenset(
    {
        "name",
        "display_name",
        "description",
        "version",
        "contact_name",
        "contact_email",
        "url",
        "input_format",
        "optional_analysis_parameters",
        "authentication_type",
        "enabled",
        "analysis_type",
        "input_data_types",
        "timeout",
        "upload_only",
        "display_on_resource_dropdown",
        "is_summary",
    }
)
_REQUIRED = ("name", "url", "authentication_type", "analysis_type", "input_data_types")


class AnalysisServiceMissing(MissingError):
    """There is no such analysis service, or none that you may see."""

    code = "analysis_service.missing"


class AnalysisServiceExists(ConflictError):
    """There is an analysis service of this name already."""

    code = "analysis_service.exists"


class AnalysisServices:
    """Registers services, and changes, lists and removes them.

    Whoever may ``manage_services`` changes those that they see.

    Parameters
    ----------
    database
        Where they are kept.
    secrets
        Seals what they want to see of us.
    rules
        Where they may live.
    describe_local
        What an installed service says of itself, by its name.
    """

    def __init__(
        self,
        *,
        database: Database,
        secrets: SealedSecrets,
        rules: UrlRules,
        describe_local: Callable[[str], Mapping[str, Any]] | None = None,
        settings: AnalysisSettings | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._secrets = secrets
        self._rules = rules
        self._describe_local = describe_local
        self._settings = settings or AnalysisSettings()
        self._clock = clock

    def list(self, viewer: Viewer) -> builtins.list[dict[str, Any]]:
        """Services that the viewer may see, in the order in which they were registered."""
        query = (
            select(AnalysisService)
            .where(readable(viewer, AnalysisService, _OWNER))
            .order_by(AnalysisService.id)
        )
        with self._database.reading() as session:
            return _shown(session, viewer, session.scalars(query).all())

    def get(self, viewer: Viewer, service_id: int) -> dict[str, Any]:
        """One service under SkyPortal's names; never its secrets."""
        with self._database.reading() as session:
            return _shown(session, viewer, [visible_service(session, viewer, service_id)])[0]

    def details(self, viewer: Viewer, service_id: int) -> dict[str, Any]:
        """What SkyPortal has no names for: ``input_format``, ``fields`` of the form, and more."""
        with self._database.reading() as session:
            row = visible_service(session, viewer, service_id)
            return {
                "input_format": row.input_format,
                "fields": form_fields(row.optional_analysis_parameters),
                "owner_id": row.owner_id,
                "has_authinfo": row.sealed_authinfo is not None,
                "may_change": viewer.may("manage_services"),
            }

    def named(self, viewer: Viewer, name: str) -> int:
        """The number of the service of a name, for commands.

        Raises
        ------
        AnalysisServiceMissing
            There is none that the viewer may see.
        """
        with self._database.reading() as session:
            number = session.scalar(
                select(AnalysisService.id).where(
                    AnalysisService.name == name[:128], readable(viewer, AnalysisService, _OWNER)
                )
            )
        if number is None:
            raise AnalysisServiceMissing(subject=repr(name[:100]))
        return number

    def local_document(self, name: str) -> dict[str, Any]:
        """What `create` takes of a service that is installed here and runs in a worker.

        Raises
        ------
        InvalidInput
            There is none of this name.
        """
        url = self._rules.check(f"{LOCAL}{name}", called=True)
        told = {} if self._describe_local is None else self._describe_local(name)
        return {**told, "url": url}

    def create(self, viewer: Viewer, given: Mapping[str, Any]) -> int:
        """Register a service; returns its number.

        Parameters
        ----------
        given
            Columns by name; ``_authinfo``; ``group_ids`` (all of the viewer's where none).

        Raises
        ------
        InvalidInput, BadDeclaration, UrlRefused
            A field is missing, wrong or not known.
        AnalysisServiceExists
            The name is taken.
        """
        viewer.require("manage_services")
        wish = _known({name: value for name, value in given.items() if value is not None})
        upload_only = _is_upload_only(wish, default=False)
        if upload_only:
            wish = {"input_data_types": [], **wish}  # nothing is ever sent to it
        self._require_all(wish)
        values = self._checked(wish, upload_only=upload_only)
        kind = values["authentication_type"]
        info = checked_authinfo(kind, wish.get("_authinfo"))
        values["display_name"] = values.get("display_name") or values["name"]
        with self._database.begin() as session:
            values["audience_id"] = chosen_audience(
                session, viewer, wish.get("group_ids"), default=None
            )
            _refuse_taken(session, values["name"])
            row = AnalysisService(
                **values,
                sealed_authinfo=self._secrets.seal(info) if info else None,
                owner_id=viewer.user_id,
            )
            with refusing_twins(session, _taken(row.name)):
                session.add(row)
            return row.id

    def change(self, viewer: Viewer, service_id: int, given: Mapping[str, Any]) -> None:
        """Change a service; what is not given stays.

        What the service wants to see of us does not go along to another host, unless whoever
        gave it changes the address: else one could have it sent to oneself.

        Raises
        ------
        InvalidInput, BadDeclaration, UrlRefused, AnalysisServiceExists
            As `create`.
        AnalysisServiceMissing
            There is none that the viewer may see.
        """
        viewer.require("manage_services")
        wish = _known(given)
        for name in _REQUIRED:
            if name in wish and wish[name] is None:
                raise InvalidInput(field=name, found="null", expected="a value")
        wish = {name: value for name, value in wish.items() if _may_be_null(name, value)}
        with self._database.begin() as session:
            row = visible_service(session, viewer, service_id)
            upload_only = _is_upload_only(wish, default=row.upload_only)
            if not upload_only and row.upload_only:
                wish = {"url": row.url, **wish}  # from now on it is called
            values = self._checked(wish, upload_only=upload_only)
            self._change_authinfo(viewer, row, values, wish.get("_authinfo"))
            if values.get("name", row.name) != row.name:
                _refuse_taken(session, values["name"])
            if "display_name" in values:
                values["display_name"] = values["display_name"] or values.get("name", row.name)
            with refusing_twins(session, _taken(values.get("name", row.name))):
                for name, value in values.items():
                    setattr(row, name, value)
            row.audience_id = chosen_audience(
                session, viewer, wish.get("group_ids"), default=row.audience_id
            )

    def remove(self, viewer: Viewer, service_id: int) -> None:
        """Take a service away. What it has found stays; what waits for it is cancelled."""
        viewer.require("manage_services")
        with self._database.begin() as session:
            row = visible_service(session, viewer, service_id)
            waiting = session.execute(
                select(Analysis, Object)
                .join(Object, Object.id == Analysis.object_id)
                .where(Analysis.service_id == row.id, Analysis.status.in_(WAITING))
                .with_for_update(of=Analysis)
            ).all()
            for run, _ in waiting:
                for name, value in _cancelled(self._clock()).items():
                    setattr(run, name, value)
            session.delete(row)
            session.flush()
            for run, thing in waiting:
                tell_run(session, run, thing, "ended")

    # --- what is checked -------------------------------------------------------------------

    def _require_all(self, wish: Mapping[str, Any]) -> None:
        if not wish.get("url"):
            raise InvalidInput("`url` is required to add an Analysis Service.", field="url")
        if not wish.get("authentication_type"):
            raise InvalidInput(
                "`authentication_type` is required to add an Analysis Service.",
                field="authentication_type",
            )
        missing = [name for name in _REQUIRED if name not in wish]
        if missing:
            raise InvalidInput(
                f"Invalid/missing parameters: {', '.join(missing)}.", field=missing[0]
            )

    def _checked(self, wish: Mapping[str, Any], *, upload_only: bool) -> dict[str, Any]:
        given = {name: value for name, value in wish.items() if name in _SETTABLE}
        return checked_fields(
            given,
            self._rules,
            longest_timeout_s=self._settings.longest_timeout_s,
            upload_only=upload_only,
        )

    def _change_authinfo(
        self, viewer: Viewer, row: AnalysisService, values: Mapping[str, Any], info: object
    ) -> None:
        kind = values.get("authentication_type", row.authentication_type)
        moves = "url" in values and not same_place(values["url"], row.url)
        foreign = row.owner_id is None or row.owner_id != viewer.user_id
        needed = kind != row.authentication_type or (moves and foreign)
        if kind == "none":
            row.sealed_authinfo = None
        elif info is not None:
            row.sealed_authinfo = self._secrets.seal(checked_authinfo(kind, info))
        elif needed:
            raise InvalidInput(
                "`_authinfo` must be given again: the old one was given for another host, or"
                " another `authentication_type`.",
                field="_authinfo",
            )


def visible_service(session: Session, viewer: Viewer, service_id: int) -> AnalysisService:
    """Return a service by its number.

    Raises
    ------
    AnalysisServiceMissing
        There is none that the viewer may see.
    """
    row = None
    if 0 < service_id <= LARGEST_ID:
        row = session.scalar(
            select(AnalysisService).where(
                AnalysisService.id == service_id, readable(viewer, AnalysisService, _OWNER)
            )
        )
    if row is None:
        raise AnalysisServiceMissing(
            f"Could not access Analysis Service ID: {service_id}.", subject=service_id
        )
    return row


def _cancelled(now: datetime) -> dict[str, Any]:
    return ending(AnalysisStatus.CANCELLED, now, "the service was removed")


def _known(given: Mapping[str, Any]) -> dict[str, Any]:
    """Wishes by our names; SkyPortal's client calls ``_authinfo`` ``authinfo`` when it changes."""
    wish = dict(given)
    if "authinfo" in wish:
        wish.setdefault("_authinfo", wish.pop("authinfo"))
    unknown = sorted(set(wish) - _SETTABLE - {"_authinfo", "group_ids"})
    if unknown:
        raise InvalidInput(
            f"Invalid/missing parameters: {', '.join(unknown)[:200]}.",
            field=unknown[0][:100],
            expected=", ".join(sorted(_SETTABLE)),
        )
    return wish


def _may_be_null(name: str, value: object) -> bool:
    """Whether a wish is one: to make a text empty; a null elsewhere changes nothing."""
    emptied = {"display_name", "description", "version", "contact_name", "contact_email"}
    return value is not None or name in emptied


def _is_upload_only(wish: Mapping[str, Any], *, default: bool) -> bool:
    value = wish.get("upload_only", default)
    return value is True or (isinstance(value, str) and value.lower() == "true")


def _refuse_taken(session: Session, name: str) -> None:
    taken = session.scalar(select(AnalysisService.id).where(AnalysisService.name == name))
    if taken is not None:
        raise _taken(name)


def _taken(name: str) -> AnalysisServiceExists:
    return AnalysisServiceExists(
        f"Analysis Service with that name already exists: {name}", field="name", found=name
    )


def _shown(
    session: Session, viewer: Viewer, rows: builtins.list[AnalysisService] | Any
) -> builtins.list[dict[str, Any]]:
    groups = groups_by_audience(session, viewer, (row.audience_id for row in rows))
    return [service_facts(row, groups[row.audience_id]) for row in rows]
