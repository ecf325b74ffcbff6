"""Token: what lets a program in."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from firstlight.models.base import Base, NullableJson, Timestamped

__all__ = ["SCOPES", "Token"]

SCOPES = (
    "read",
    "watch",
    "upload",
    "comment",
    "annotate",
    "classify",
    "analyse",
    "manage_sources",
    "manage_photometry",
    "manage_groups",
    "manage_users",
    "manage_instruments",
    "manage_telescopes",
    "manage_taxonomies",
    "manage_services",
    "operate",
    "admin",
)


class Token(Timestamped, Base):
    """A token: shown once when it is made, stored as its hash.

    Attributes
    ----------
    prefix
        First characters, by which a person recognises it.
    token_hash
        SHA-256 of the token, hexadecimal. A token is 32 random bytes, so no salt is needed.
    scopes
        Of `SCOPES`.
    sites
        Where it holds; None for all sites that its user may see.
    user_id
        Whose it is: it never allows more than that user may do. None for a token of the whole
        workspace, made by whoever operates it.
    """

    __tablename__ = "tokens"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(128), unique=True)
    user_id: Mapped[int | None] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), index=True
    )
    prefix: Mapped[str] = mapped_column(String(16))
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    scopes: Mapped[list[str]]
    sites: Mapped[list[str] | None] = mapped_column(NullableJson)
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
