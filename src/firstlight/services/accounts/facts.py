"""Accounts and groups as the portal's clients get them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from firstlight.errors import InvalidInput
from firstlight.models.account import Group, Membership, User
from firstlight.services.accounts.permissions import permissions

__all__ = [
    "account_facts",
    "checked_moment",
    "checked_text",
    "group_facts",
    "membership_facts",
    "user_facts",
    "wire_time",
]


def wire_time(moment: datetime | None) -> str | None:
    """Write a time in UTC without saying so, as SkyPortal does."""
    return None if moment is None else moment.astimezone(UTC).replace(tzinfo=None).isoformat()


def user_facts(user: User, *, private: bool = False) -> dict[str, Any]:
    """The columns of an account.

    Parameters
    ----------
    private
        With addresses and numbers, which are for the person and whoever manages accounts.
    """
    return {
        "id": user.id,
        "created_at": wire_time(user.created_at),
        "modified": wire_time(user.modified_at),
        "username": user.username,
        "first_name": user.first_name,
        "last_name": user.last_name,
        "bio": user.bio,
        "affiliations": user.affiliations,
        "contact_email": user.contact_email if private else None,
        "contact_phone": user.contact_phone if private else None,
        "oauth_uid": user.oauth_uid if private else None,
        "is_bot": user.is_bot,
        "expiration_date": wire_time(user.expires_at) if private else None,
    }


def account_facts(user: User) -> dict[str, Any]:
    """All about an account, with what it may do."""
    return {
        **user_facts(user, private=True),
        "permissions": sorted(permissions(user.roles, user.acls)),
        "roles": user.roles,
        "acls": user.acls,
    }


def group_facts(group: Group) -> dict[str, Any]:
    """The columns of a group."""
    return {
        "id": group.id,
        "created_at": wire_time(group.created_at),
        "modified": wire_time(group.modified_at),
        "name": group.name,
        "nickname": group.nickname,
        "description": group.description,
        "private": group.private,
        "auto_accept_requests": group.auto_accept_requests,
        "single_user_group": group.single_user_group,
    }


def membership_facts(row: Membership) -> dict[str, Any]:
    """The columns of an account in a group."""
    return {
        "id": row.id,
        "created_at": wire_time(row.created_at),
        "modified": wire_time(row.modified_at),
        "group_id": row.group_id,
        "user_id": row.user_id,
        "admin": row.admin,
        "can_save": row.can_save,
        "can_share_photometry": row.can_share_photometry,
    }


def checked_text(text: str | None, field: str, longest: int, *, lines: bool = False) -> str | None:
    """Text without surrounding space; None where nothing is left.

    Parameters
    ----------
    lines
        Whether it may have more than one line.

    Raises
    ------
    InvalidInput
        It is too long, or has characters that cannot be printed.
    """
    if text is None:
        return None
    plain = text.strip()
    shown = plain.replace("\n", " ").replace("\r", " ").replace("\t", " ") if lines else plain
    if len(plain) > longest or not shown.isprintable():
        raise InvalidInput(
            field=field, found=plain[:200], expected=f"at most {longest} characters that print"
        )
    return plain or None


def checked_moment(text: str | None, field: str) -> datetime | None:
    """Read a time in ISO 8601; without a zone it is UTC.

    Raises
    ------
    InvalidInput
        It is no such time.
    """
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text.strip())
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError) as fault:
        raise InvalidInput(
            field=field, found=text[:100], expected="a date or time: 2027-01-31T12:00:00"
        ) from fault
