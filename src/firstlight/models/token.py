"""Token: what lets a program in."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import JSON, String
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from firstlight.models.base import Base, Timestamped

__all__ = ["SCOPES", "Token"]

SCOPES = ("read", "watch", "upload", "operate", "admin")
_JSON = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


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
        Where it holds; None for all sites.
    """

    __tablename__ = "tokens"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(128), unique=True)
    prefix: Mapped[str] = mapped_column(String(16))
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    scopes: Mapped[list[str]]
    sites: Mapped[list[str] | None] = mapped_column(_JSON)
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
