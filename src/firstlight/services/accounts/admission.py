"""Wishes to be let into a group."""

from __future__ import annotations

import builtins
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from firstlight.errors import ConflictError, InvalidInput, MissingError
from firstlight.models.account import AdmissionRequest, Group, Membership, User
from firstlight.models.database import Database
from firstlight.services.access import Forbidden, Viewer
from firstlight.services.accounts.authority import (
    administers,
    found_group,
    found_user,
    is_number,
    managed_group,
    require_person,
)
from firstlight.services.accounts.facts import group_facts, user_facts, wire_time
from firstlight.services.accounts.membership import admit
from firstlight.services.transaction_locks import lock_names

__all__ = ["AdmissionMissing", "AdmissionService", "AdmissionSettled"]

_STATES = ("pending", "accepted", "declined")


class AdmissionMissing(MissingError):
    """There is no such request for admission."""

    code = "account.admission_missing"


class AdmissionSettled(ConflictError):
    """The request for admission is not needed any more."""

    code = "account.admission_settled"


class AdmissionService:
    """Takes requests for admission, and settles them.

    One sees one's own, and those to groups that one administers.

    Parameters
    ----------
    database
        Where they are.
    """

    def __init__(self, *, database: Database) -> None:
        self._database = database

    def list(self, viewer: Viewer, *, group_id: int | None = None) -> builtins.list[dict[str, Any]]:
        """Requests, the oldest first.

        Raises
        ------
        NotSignedIn, Forbidden
            The viewer has no account.
        """
        require_person(viewer)
        query = select(AdmissionRequest).order_by(AdmissionRequest.id)
        if group_id is not None and not is_number(group_id):
            return []
        if group_id is not None:
            query = query.where(AdmissionRequest.group_id == group_id)
        with self._database.reading() as session:
            rows = session.scalars(query).all()
            return [_facts(session, row) for row in rows if _shown(session, viewer, row)]

    def one(self, viewer: Viewer, request_id: int) -> dict[str, Any]:
        """One request.

        Raises
        ------
        NotSignedIn, Forbidden, AdmissionMissing
            The viewer may not know of it.
        """
        require_person(viewer)
        with self._database.reading() as session:
            return _facts(session, _found(session, viewer, request_id))

    def ask(self, viewer: Viewer, group_id: int, user_id: int) -> int:
        """Ask for admission of oneself; returns the request's number.

        Where the group accepts everyone the account is a member at once.

        Raises
        ------
        NotSignedIn, Forbidden
            It is asked for somebody else.
        GroupMissing, AdmissionSettled
            There is no such group that the viewer may know of, or the account is a member.
        """
        if viewer.require_user() != user_id:
            raise Forbidden("one asks for oneself", subject=viewer.username)
        with self._database.begin() as session:
            group = found_group(session, viewer, group_id)
            lock_names(session, f"admission/{group.id}/{user_id}")
            member = select(Membership.id).where(
                Membership.group_id == group.id, Membership.user_id == user_id
            )
            if session.scalar(member) is not None:
                raise AdmissionSettled("the account is a member already", subject=group.name)
            if group.single_user_group:
                raise InvalidInput("this group is of one account alone", subject=group.name)
            row = session.scalar(
                select(AdmissionRequest).where(
                    AdmissionRequest.group_id == group.id,
                    AdmissionRequest.user_id == user_id,
                    AdmissionRequest.status == "pending",
                )
            )
            if row is None:
                row = AdmissionRequest(group_id=group.id, user_id=user_id, status="pending")
                session.add(row)
                session.flush()
            if group.auto_accept_requests:
                row.status = "accepted"
                admit(session, group.id, user_id, can_share_photometry=False)
            return row.id

    def settle(self, viewer: Viewer, request_id: int, status: str) -> None:
        """Accept or decline a request.

        Raises
        ------
        NotSignedIn, Forbidden, AdmissionMissing
            The viewer does not administer the group.
        InvalidInput
            The status is none of ``pending``, ``accepted``, ``declined``.
        """
        require_person(viewer)
        if status not in _STATES:
            raise InvalidInput(field="status", found=status[:100], expected=", ".join(_STATES))
        with self._database.begin() as session:
            row = _found(session, viewer, request_id)
            group = managed_group(session, viewer, row.group_id)
            row.status = status
            if status == "accepted":
                admit(session, group.id, row.user_id, can_share_photometry=False)

    def withdraw(self, viewer: Viewer, request_id: int) -> None:
        """Take one's own request back.

        Raises
        ------
        NotSignedIn, Forbidden, AdmissionMissing
            It is another's.
        """
        require_person(viewer)
        with self._database.begin() as session:
            row = _found(session, viewer, request_id)
            if row.user_id != viewer.user_id:
                managed_group(session, viewer, row.group_id)
            session.delete(row)


def _found(session: Session, viewer: Viewer, request_id: int) -> AdmissionRequest:
    row = session.get(AdmissionRequest, request_id) if is_number(request_id) else None
    if row is None or not _shown(session, viewer, row):
        raise AdmissionMissing(subject=request_id)
    return row


def _shown(session: Session, viewer: Viewer, row: AdmissionRequest) -> bool:
    if row.user_id == viewer.user_id:
        return True
    return administers(session, viewer, session.get_one(Group, row.group_id))


def _facts(session: Session, row: AdmissionRequest) -> dict[str, Any]:
    user: User = found_user(session, row.user_id)
    return {
        "id": row.id,
        "created_at": wire_time(row.created_at),
        "modified": wire_time(row.modified_at),
        "user_id": row.user_id,
        "group_id": row.group_id,
        "status": row.status,
        "user": user_facts(user),
        "group": group_facts(session.get_one(Group, row.group_id)),
    }
