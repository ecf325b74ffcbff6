"""What an operator can set about the web application. Light to import."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

__all__ = ["WebSettings"]


class WebSettings(BaseModel):
    """Where the web application answers, and to whom."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    """Address to listen on; ``0.0.0.0`` for all of this machine's."""
    port: int = Field(default=8000, ge=0, le=65535)
    """Port to listen on; 0 for any free one."""
    base_url: str | None = None
    """Address at which others reach this server, with scheme, where a proxy stands before it."""
    open_on_loopback: bool = True
    """Whoever asks from this machine itself, through no proxy, may do everything.

    For a laptop. Switch it off on a machine that other people log in to.
    """
    public_sites: tuple[str, ...] | Literal["*"] = ()
    """Sites whose exposures and events anyone may read; ``"*"`` for all."""
    allowed_origins: tuple[str, ...] = ()
    """Other web pages that may call the API from a browser (CORS): ``https://portal.example``."""
    max_body_bytes: int = Field(default=1_048_576, ge=1024)
    """The longest body of any other request than those that follow."""
    max_data_bytes: int = Field(default=16_777_216, ge=1024)
    """The longest body of a request that brings photometry, spectra, comments or thumbnails."""
    max_upload_bytes: int = Field(default=2_147_483_648, ge=1024)
    """The longest upload, whatever its ticket says."""
    max_uploads: int = Field(default=32, ge=1, le=1024)
    """Uploads read at the same time; the next ones wait for their turn."""
    header_timeout_s: float = Field(default=10.0, gt=0, le=300)
    """The header of a request must come within so many seconds."""
    body_patience_s: float = Field(default=30.0, gt=0, le=3600)
    """Seconds for which the server waits for a body that stands still."""
    min_body_rate: float = Field(default=1024.0, gt=0)
    """Bytes a second below which a body is too slow, once that patience is used up."""
    send_timeout_s: float = Field(default=60.0, gt=0, le=3600)
    """A client that takes nothing of its answer for so long is dropped, seconds."""
    requests_per_minute: float | None = Field(default=None, gt=0)
    """Requests that one token, or one address without a token, may make; none for no limit."""
    request_burst: int = Field(default=120, ge=1)
    """Requests that it may make at once before that limit holds."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks of proxies whose ``X-Forwarded-For`` is believed: ``10.0.0.0/8``."""
    metrics_for: Literal["loopback", "operators", "anyone"] = "loopback"
    """Who may read ``/metrics``: this machine and tokens that may operate, such tokens alone, or
    whoever can reach it."""
    poll_interval_s: float = Field(default=0.2, gt=0, le=10)
    """How often the event stream looks for new events, seconds."""
    heartbeat_s: float = Field(default=15.0, gt=0, le=300)
    """A silent event stream says that it is alive so often, seconds."""
    max_streams: int = Field(default=1000, ge=1)
    """Event streams open at once in one process."""

    @field_validator("trusted_proxies")
    @classmethod
    def _proxies_are_addresses(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in proxies:
            ip_network(proxy, strict=False)
        return proxies

    @field_validator("allowed_origins")
    @classmethod
    def _origins_are_named(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            scheme, _, rest = origin.partition("://")
            if scheme not in {"http", "https"} or not rest or "/" in rest or "*" in rest:
                raise ValueError("an origin is a scheme and a host: https://portal.example")
        return origins
