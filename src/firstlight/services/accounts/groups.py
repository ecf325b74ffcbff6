"""Groups: who sees the same rows, and which sites' archives they may read."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, or_, select
from sqlalchemy.orm import Session

from firstlight.errors import ConflictError, InvalidInput, MissingError
from firstlight.models.account import AdmissionRequest, Group, GroupSite, Membership, User
from firstlight.models.base import utc_now
from firstlight.models.database import Database, bulk_insert
from firstlight.services.access import Viewer
from firstlight.services.accounts.authority import (
    GroupMissing,
    administers,
    found_group,
    found_user,
    is_number,
    managed_group,
    require_person,
)
from firstlight.services.accounts.facts import (
    checked_text,
    group_facts,
    membership_facts,
    user_facts,
)
from firstlight.services.accounts.membership import SITEWIDE, admit, sitewide_group
from firstlight.services.transaction_locks import lock_names

__all__ = ["AlreadyMember", "GroupExists", "GroupService", "NotMember"]

_MOST_SOURCES = 100


class GroupExists(ConflictError):
    """There is a group of this name already."""

    code = "account.group_exists"


class AlreadyMember(ConflictError):
    """The account is a member of the group already."""

    code = "account.already_member"


class NotMember(MissingError):
    """The account is no member of the group."""

    code = "account.not_member"


class GroupService:
    """Keeps groups and their members.

    A group is changed by its administrators, and by whoever may `manage_groups`. A private
    group is known to them and its members only.

    Parameters
    ----------
    database
        Where they are.
    clock
        Returns the present, aware.
    """

    def __init__(self, *, database: Database, clock: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._clock = clock

    # --- looking ---------------------------------------------------------------------------

    def list(
        self, viewer: Viewer, *, with_single_user_groups: bool = False
    ) -> dict[str, builtins.list[dict[str, Any]]]:
        """Groups of the viewer, those the viewer can give rows to, and all that are known.

        Returns
        -------
        dict
            ``user_groups``, with the viewer's own; ``user_accessible_groups``; ``all_groups``.

        Raises
        ------
        NotSignedIn, Forbidden
            The viewer has no account.
        """
        require_person(viewer)
        rows = self._all()
        if all(row.name != SITEWIDE for row in rows):
            self._sitewide()
            rows = self._all()
        manages = viewer.sees_all or "manage_groups" in viewer.scopes
        mine = [row for row in rows if row.id in viewer.groups]
        known = [
            row
            for row in rows
            if row.id in viewer.groups
            or (viewer.sees_all if row.single_user_group else manages or not row.private)
        ]
        shown = [row for row in known if with_single_user_groups or not row.single_user_group]
        accessible = [row for row in shown if manages or row.id in viewer.groups]
        return {
            "user_groups": [group_facts(row) for row in mine],
            "user_accessible_groups": [group_facts(row) for row in accessible],
            "all_groups": [{**group_facts(row), "streams": []} for row in shown],
        }

    def named(self, viewer: Viewer, name: str) -> builtins.list[dict[str, Any]]:
        """Groups of exactly this name that the viewer may know of."""
        listed = self.list(viewer, with_single_user_groups=True)
        found = {
            group["id"]: group for key in ("all_groups", "user_groups") for group in listed[key]
        }
        return [
            {key: value for key, value in group.items() if key != "streams"}
            for group in found.values()
            if group["name"] == name
        ]

    def number_of(self, viewer: Viewer, name: str) -> int:
        """The number of a group, by its name.

        Raises
        ------
        GroupMissing
            There is none that the viewer may know of.
        """
        found = self.named(viewer, name)
        if not found:
            raise GroupMissing(subject=name[:200])
        number: int = found[0]["id"]
        return number

    def one(self, viewer: Viewer, group_id: int, *, with_users: bool = True) -> dict[str, Any]:
        """One group; with its members, for them and for those who administer it.

        Raises
        ------
        NotSignedIn, Forbidden, GroupMissing
            The viewer may not know of it.
        """
        require_person(viewer)
        with self._database.reading() as session:
            group = found_group(session, viewer, group_id)
            facts = {**group_facts(group), "streams": [], "filters": []}
            if group.id not in viewer.groups and not administers(session, viewer, group):
                return {**facts, "group_users": [], "users": []}
            private = viewer.may("manage_users")
            members = session.execute(
                select(Membership, User)
                .join(User, User.id == Membership.user_id)
                .where(Membership.group_id == group.id, User.disabled_at.is_(None))
                .order_by(Membership.id)
            ).all()
            facts["group_users"] = [
                {**membership_facts(row), "user": user_facts(user, private=private)}
                for row, user in members
            ]
            if with_users:
                facts["users"] = [_member(row, user, private) for row, user in members]
            return facts

    def public(self, viewer: Viewer) -> dict[str, Any]:
        """The group of all accounts."""
        require_person(viewer)
        number = self._sitewide()
        with self._database.reading() as session:
            return group_facts(session.get_one(Group, number))

    # --- groups ----------------------------------------------------------------------------

    def create(
        self,
        viewer: Viewer,
        name: str,
        *,
        join: bool = True,
        admins: Collection[int] = (),
        details: Mapping[str, Any] | None = None,
    ) -> int:
        """Make a group; returns its number.

        Parameters
        ----------
        join
            Whether the viewer becomes an administrator of it. Only who administers every group
            can do without.
        admins
            Numbers of accounts that administer it.
        details
            Of ``nickname``, ``description``, ``private``, ``auto_accept_requests``.

        Raises
        ------
        NotSignedIn, Forbidden
            The viewer may neither `upload` nor `manage_groups`.
        GroupExists, UserMissing, InvalidInput
            The name is taken or no name, or there is no such account.
        """
        if "manage_groups" not in viewer.scopes:
            viewer.require("upload")
            viewer.require_user()
            join = True
        with self._database.begin() as session:
            group = Group(name=self._free_name(session, name))
            _apply(group, details or {})
            session.add(group)
            session.flush()
            chosen = set(admins)
            if join and viewer.user_id is not None:
                chosen.add(viewer.user_id)
            for user_id in sorted(chosen):
                admit(session, group.id, found_user(session, user_id).id, admin=True)
            return group.id

    def change(self, viewer: Viewer, group_id: int, name: str, details: Mapping[str, Any]) -> None:
        """Change a group's name and details; see `create`.

        Raises
        ------
        NotSignedIn, Forbidden, GroupMissing, GroupExists, InvalidInput
            The viewer does not administer it, or the change makes no sense.
        """
        with self._database.begin() as session:
            group = managed_group(session, viewer, group_id)
            if name.strip() != group.name:
                group.name = self._free_name(session, name)
            _apply(group, details)

    def remove(self, viewer: Viewer, group_id: int) -> None:
        """Remove a group. What only its members saw is seen by those alone who see everything.

        Raises
        ------
        NotSignedIn, Forbidden, GroupMissing, InvalidInput
            The viewer does not administer it, or it is one that stays.
        """
        with self._database.begin() as session:
            group = managed_group(session, viewer, group_id)
            session.execute(delete(Group).where(Group.id == group.id))

    # --- members ---------------------------------------------------------------------------

    def add_member(
        self,
        viewer: Viewer,
        group_id: int,
        user_id: int,
        *,
        admin: bool = False,
        can_save: bool = True,
        can_share_photometry: bool = False,
    ) -> None:
        """Make an account a member.

        Raises
        ------
        NotSignedIn, Forbidden, GroupMissing, UserMissing
            The viewer does not administer the group, or there is no such account.
        AlreadyMember
            It is a member.
        """
        with self._database.begin() as session:
            group = managed_group(session, viewer, group_id)
            user = found_user(session, user_id)
            if _membership(session, group.id, user.id) is not None:
                raise AlreadyMember(subject=user.username, found=group.name)
            admit(
                session,
                group.id,
                user.id,
                admin=admin,
                can_save=can_save,
                can_share_photometry=can_share_photometry,
            )
            session.execute(
                delete(AdmissionRequest).where(
                    AdmissionRequest.group_id == group.id,
                    AdmissionRequest.user_id == user.id,
                    AdmissionRequest.status == "pending",
                )
            )

    def change_member(
        self, viewer: Viewer, group_id: int, user_id: int, changes: Mapping[str, bool]
    ) -> None:
        """Change what a member may do: ``admin``, ``can_save``, ``can_share_photometry``.

        Raises
        ------
        NotSignedIn, Forbidden, GroupMissing, NotMember
            The viewer does not administer the group, or it is no member.
        """
        with self._database.begin() as session:
            group = managed_group(session, viewer, group_id)
            row = _member_row(session, group, user_id)
            for name in ("admin", "can_save", "can_share_photometry"):
                if name in changes:
                    setattr(row, name, bool(changes[name]))

    def remove_member(self, viewer: Viewer, group_id: int, user_id: int) -> None:
        """Take an account out of a group; one may always leave.

        Raises
        ------
        NotSignedIn, Forbidden, GroupMissing, NotMember, InvalidInput
            The viewer does not administer the group, or it is no member.
        """
        require_person(viewer)
        with self._database.begin() as session:
            group = found_group(session, viewer, group_id)
            leaves = user_id == viewer.user_id and group.name != SITEWIDE
            if not leaves or group.single_user_group:
                group = managed_group(session, viewer, group_id)
            session.delete(_member_row(session, group, user_id))

    def add_members_of(self, viewer: Viewer, group_id: int, others: Iterable[int]) -> None:
        """Make all members of other groups, which the viewer can list, members of this one.

        Raises
        ------
        NotSignedIn, Forbidden, GroupMissing, InvalidInput
            The viewer does not administer the group, or cannot list the others.
        """
        wanted = sorted(set(others))
        if len(wanted) > _MOST_SOURCES:
            raise InvalidInput(field="fromGroupIDs", found=len(wanted), expected=_MOST_SOURCES)
        with self._database.begin() as session:
            group = managed_group(session, viewer, group_id)
            sources = [found_group(session, viewer, number) for number in wanted]
            for source in sources:
                if source.id not in viewer.groups:
                    managed_group(session, viewer, source.id)
            users = session.scalars(
                select(Membership.user_id)
                .join(User, User.id == Membership.user_id)
                .where(
                    Membership.group_id.in_([each.id for each in sources]),
                    User.disabled_at.is_(None),
                )
            )
            for user_id in sorted(set(users)):
                admit(session, group.id, user_id, can_share_photometry=False)

    # --- sites -----------------------------------------------------------------------------

    def sites(self, viewer: Viewer, group_id: int) -> builtins.list[str]:
        """Sites whose archives the members may read, sorted.

        Raises
        ------
        NotSignedIn, Forbidden, GroupMissing
            The viewer may not know of the group.
        """
        require_person(viewer)
        with self._database.reading() as session:
            group = found_group(session, viewer, group_id)
            if group.id not in viewer.groups:
                viewer.require("admin")
            query = select(GroupSite.site).where(GroupSite.group_id == group.id)
            return sorted(session.scalars(query))

    def add_site(self, viewer: Viewer, group_id: int, site: str) -> None:
        """Let the members read the archive of a site. Only who may do everything can.

        Raises
        ------
        NotSignedIn, Forbidden, GroupMissing, InvalidInput
            The viewer may not, there is no such group, or this is no name.
        """
        viewer.require("admin")
        name = checked_text(site, "site", 128)
        if name is None or "," in name:
            raise InvalidInput(field="site", found=site[:200], expected="the name of a site")
        with self._database.begin() as session:
            group = found_group(session, viewer, group_id)
            bulk_insert(session, GroupSite, [{"group_id": group.id, "site": name}])

    def remove_site(self, viewer: Viewer, group_id: int, site: str) -> None:
        """Let the members read it no more.

        Raises
        ------
        NotSignedIn, Forbidden, GroupMissing
            See `add_site`.
        """
        viewer.require("admin")
        with self._database.begin() as session:
            group = found_group(session, viewer, group_id)
            session.execute(
                delete(GroupSite).where(GroupSite.group_id == group.id, GroupSite.site == site)
            )

    def _all(self) -> Sequence[Group]:
        with self._database.reading() as session:
            return session.scalars(select(Group).order_by(func.lower(Group.name), Group.id)).all()

    def _sitewide(self) -> int:
        with self._database.reading() as session:
            found = session.scalar(select(Group.id).where(Group.name == SITEWIDE))
        if found is not None:
            return found
        with self._database.begin() as session:
            return sitewide_group(session)

    def _free_name(self, session: Session, name: str) -> str:
        lock_names(session, "account/groups")
        plain = checked_text(name, "name", 128)
        if plain is None:
            raise InvalidInput(field="name", found=name, expected="1 to 128 characters")
        taken = or_(Group.name == plain, func.lower(Group.name) == plain.lower())
        if plain == SITEWIDE or session.scalar(select(Group.id).where(taken).limit(1)) is not None:
            raise GroupExists(subject=plain)
        return plain


def _apply(group: Group, details: Mapping[str, Any]) -> None:
    if "nickname" in details:
        group.nickname = checked_text(details["nickname"], "nickname", 64)
    if "description" in details:
        text = checked_text(details["description"], "description", 1000, lines=True)
        group.description = text
    for name in ("private", "auto_accept_requests"):
        if details.get(name) is not None:
            setattr(group, name, bool(details[name]))


def _membership(session: Session, group_id: int, user_id: int) -> Membership | None:
    if not is_number(user_id):
        return None
    return session.scalar(
        select(Membership).where(Membership.group_id == group_id, Membership.user_id == user_id)
    )


def _member_row(session: Session, group: Group, user_id: int) -> Membership:
    row = _membership(session, group.id, user_id)
    if row is None:
        raise NotMember(subject=user_id, found=group.name)
    return row


def _member(row: Membership, user: User, private: bool) -> dict[str, Any]:
    return {
        "id": user.id,
        "username": user.username,
        "first_name": user.first_name,
        "last_name": user.last_name,
        "contact_email": user.contact_email if private else None,
        "contact_phone": user.contact_phone if private else None,
        "oauth_uid": user.oauth_uid if private else None,
        "admin": row.admin,
        "can_save": row.can_save,
        "can_share_photometry": row.can_share_photometry,
    }
