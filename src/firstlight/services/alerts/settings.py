"""Settings of alerts. Light to import: the command line reads them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["AlertSettings"]


class AlertSettings(BaseModel):
    """Which measurements are told of, and to whom."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    publisher: str = "firstlight"
    """Who sends them."""
    topic: str = Field(default="firstlight-alerts", max_length=128)
    """Of the broker, and the folder of their files."""
    min_real: float = Field(default=0.5, ge=0, le=1)
    """Least probability of being a new source."""
    sites: tuple[str, ...] = ()
    """Sites whose measurements go out though they are not among ``web.public_sites``."""
    everything: bool = False
    """Tell of all measurements, whoever may see them in the portal."""
    later_references: bool = False
    """Tell of measurements on images that are compared with a later reference, too: what they
    show was there before, or was not there yet."""
    history_days: float = Field(default=365.0, gt=0)
    """How far back earlier points of the object are told."""
    sink: Literal["files", "kafka"] = "files"
    """Files in the store alone, or a Kafka broker as well (``firstlight[kafka]``)."""
    kafka_servers: str = "localhost:9092"
    """``host:port``, with commas between several."""
    kafka_options: dict[str, str] = Field(default_factory=dict)
    """Further settings of librdkafka."""
