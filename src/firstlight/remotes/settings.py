"""What an operator can set about outgoing calls."""

from __future__ import annotations

from ipaddress import ip_network

from pydantic import BaseModel, ConfigDict, Field, field_validator

__all__ = ["OutgoingSettings"]


class OutgoingSettings(BaseModel):
    """Calls to addresses that users give: webhooks and analysis services."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    allow: tuple[str, ...] = ()
    """Hosts (``analysis.local``) and networks (``10.1.0.0/16``) of one's own that may be called.

    Private, loopback and link-local addresses are refused otherwise.
    """
    connect_timeout_s: float = Field(default=5.0, gt=0, le=60)
    """How long one address may take to accept a connection, seconds."""
    timeout_s: float = Field(default=15.0, gt=0, le=600)
    """How long the whole call may take, from the name's look-up to the answer's last byte."""
    max_reply_bytes: int = Field(default=1_048_576, ge=0)
    """A longer answer is an error."""
    ca_file: str | None = None
    """Certificates to trust instead of the system's."""

    @field_validator("allow")
    @classmethod
    def _networks_are_networks(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        for entry in entries:
            if not entry or entry != entry.strip():
                raise ValueError("an entry is a host name, an address or a network")
            if "/" in entry:
                ip_network(entry)  # a ValueError with its own words
        return entries
