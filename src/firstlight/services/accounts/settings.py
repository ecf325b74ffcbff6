"""What an operator can set about accounts. Light to import."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["AccountSettings"]


class AccountSettings(BaseModel):
    """How people sign in, and how often they may fail to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    session_days: float = Field(default=30.0, gt=0, le=366)
    """A browser stays signed in so long."""
    invitation_days: float = Field(default=7.0, gt=0, le=366)
    """An invitation is good for so long."""
    password_length: int = Field(default=10, ge=8, le=128)
    """The shortest password."""
    attempts_per_username: int = Field(default=10, ge=1)
    """Failed attempts to sign in with one username, until it has to wait."""
    attempts_per_address: int = Field(default=50, ge=1)
    """Failed attempts from one address, by password, token or invitation, until it has to wait."""
    attempts_window_s: float = Field(default=900.0, gt=0, le=86_400)
    """Failures are forgotten after so many seconds."""
