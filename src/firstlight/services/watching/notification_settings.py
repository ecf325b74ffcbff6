"""What an operator can set about webhooks. Light to import."""

from __future__ import annotations

from datetime import timedelta

from pydantic import BaseModel, ConfigDict, Field

from firstlight.services.expiry.expiration_rules import Age

__all__ = ["NotificationSettings"]


class NotificationSettings(BaseModel):
    """How webhooks are told."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch: int = Field(default=100, ge=1, le=1000)
    """Most events in one request."""
    retry_after_s: tuple[float, ...] = Field(default=(5, 30, 120, 600, 3600), min_length=1)
    """Pauses after the first, second ... failure in a row; the last one holds for all others."""
    give_up: Age = timedelta(days=3)
    """A webhook that has failed for so long is disabled."""
    keep_events: Age = timedelta(days=7)
    """Older events are forgotten, unless a webhook is still to be told of them."""
    at_once: int = Field(default=8, ge=1, le=100)
    """Webhooks told at the same time; as many again are for those that failed before."""
    every_s: float = Field(default=0.5, gt=0)
    """Seconds between two looks for new events."""
    claim_s: float = Field(default=300.0, gt=0)
    """A webhook that a process works on is left alone by others for so long."""
