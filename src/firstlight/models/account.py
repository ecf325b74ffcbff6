"""Users, their groups, and what lets them in: sessions of a browser, invitations."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from firstlight.models.base import Base, BigId, Changing

__all__ = [
    "AdmissionRequest",
    "FailedAttempt",
    "Group",
    "GroupSite",
    "Invitation",
    "LoginSession",
    "Membership",
    "User",
    "UserNotification",
]


class User(Changing, Base):
    """A person or a program with an account.

    Attributes
    ----------
    username
        In lower case.
    password_hash
        A salted, slow hash with its parameters; None for one who signs in by token only.
    roles, acls
        Names of roles, and permissions beyond those that the roles bring.
    expires_at, disabled_at
        From then on the account lets nobody in.
    preferences
        What the pages remember for the user.
    """

    __tablename__ = "users"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012, SQLAlchemy reads this class attribute

    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(String(128), unique=True)
    first_name: Mapped[str | None] = mapped_column(String(128))
    last_name: Mapped[str | None] = mapped_column(String(128))
    affiliations: Mapped[list[str]] = mapped_column(default=list)
    contact_email: Mapped[str | None] = mapped_column(String(254))
    contact_phone: Mapped[str | None] = mapped_column(String(32))
    oauth_uid: Mapped[str | None] = mapped_column(String(254), unique=True)
    bio: Mapped[str | None] = mapped_column(String(1000))
    is_bot: Mapped[bool] = mapped_column(default=False)
    password_hash: Mapped[str | None] = mapped_column(String(256))
    roles: Mapped[list[str]] = mapped_column(default=list)
    acls: Mapped[list[str]] = mapped_column(default=list)
    expires_at: Mapped[datetime | None]
    disabled_at: Mapped[datetime | None]
    preferences: Mapped[dict[str, Any]] = mapped_column(default=dict)


class Group(Changing, Base):
    """People who see the same rows.

    Attributes
    ----------
    single_user_group
        Whether it is the group of one user alone, made with the account.
    """

    __tablename__ = "groups"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012, SQLAlchemy reads this class attribute

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(128), unique=True)
    nickname: Mapped[str | None] = mapped_column(String(64))
    description: Mapped[str | None] = mapped_column(String(1000))
    private: Mapped[bool] = mapped_column(default=False)
    auto_accept_requests: Mapped[bool] = mapped_column(default=False)
    single_user_group: Mapped[bool] = mapped_column(default=False)


class Membership(Changing, Base):
    """A user in a group."""

    __tablename__ = "memberships"
    __table_args__ = (
        UniqueConstraint("group_id", "user_id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    group_id: Mapped[int] = mapped_column(ForeignKey("groups.id", ondelete="CASCADE"))
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    admin: Mapped[bool] = mapped_column(default=False)
    can_save: Mapped[bool] = mapped_column(default=True)
    can_share_photometry: Mapped[bool] = mapped_column(default=True)


class GroupSite(Base):
    """A site whose archive the members of a group may read."""

    __tablename__ = "group_sites"

    group_id: Mapped[int] = mapped_column(
        ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True
    )
    site: Mapped[str] = mapped_column(String(128), primary_key=True)


class AdmissionRequest(Changing, Base):
    """A user's wish to be let into a group: ``pending``, ``accepted`` or ``declined``."""

    __tablename__ = "admission_requests"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012, SQLAlchemy reads this class attribute

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    group_id: Mapped[int] = mapped_column(ForeignKey("groups.id", ondelete="CASCADE"), index=True)
    status: Mapped[str] = mapped_column(String(16), default="pending")


class Invitation(Changing, Base):
    """Leave to make an account, by a link that works once; the link is stored as its hash.

    Attributes
    ----------
    groups
        Of each group: ``{"id", "admin", "can_save", "can_share_photometry"}``.
    """

    __tablename__ = "invitations"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012, SQLAlchemy reads this class attribute

    id: Mapped[int] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    user_email: Mapped[str] = mapped_column(String(254), index=True)
    role: Mapped[str] = mapped_column(String(64))
    groups: Mapped[list[Any]]
    invited_by_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    user_expires_at: Mapped[datetime | None]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class LoginSession(Changing, Base):
    """A browser in which a user has signed in. The cookie's value is stored as its hash."""

    __tablename__ = "login_sessions"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    expires_at: Mapped[datetime] = mapped_column(index=True)


class FailedAttempt(Base):
    """A wrong password or token, which counts against whoever tried it until it is forgotten."""

    __tablename__ = "failed_attempts"
    __table_args__ = (Index("ix_failed_attempts_key_forgotten_at", "key", "forgotten_at"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    key: Mapped[str] = mapped_column(String(64))
    """Hash of what is tried and by whom."""
    forgotten_at: Mapped[datetime] = mapped_column(index=True)


class UserNotification(Changing, Base):
    """Something that one user is told in the portal."""

    __tablename__ = "user_notifications"
    __table_args__ = (
        Index("ix_user_notifications_user_id_id", "user_id", "id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(32))
    """``success``, ``error`` or ``info``."""
    text: Mapped[str] = mapped_column(String(1000))
    url: Mapped[str | None] = mapped_column(String(1000))
    """Path within the portal."""
    key: Mapped[uuid.UUID] = mapped_column(unique=True)
    """Of the event told, so that a job that runs twice tells once."""
    viewed_at: Mapped[datetime | None]
