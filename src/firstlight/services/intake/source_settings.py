"""Settings of the sources of arrivals. Light to import: the command line reads them."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from firstlight.remotes.sqs import QueueSettings
from firstlight.storage.settings import StorageSettings

__all__ = [
    "SourceSettings",
    "UploadSettings",
    "WatchedBucketSettings",
    "WatchedFolderSettings",
]


class WatchedFolderSettings(BaseModel):
    """A folder whose files are taken as they come to rest."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path = Field(description="Relative to the workspace; need not exist yet.")
    site: str | None = Field(
        default=None, max_length=128, description="Whose files they are, where names do not tell."
    )
    quiet_s: float = Field(
        default=0.5,
        ge=0,
        description="A file is taken once it has not changed for so long. More than the pauses "
        "of a program that writes without a temporary name; 3 on network mounts.",
    )
    poll_s: float = Field(default=0.1, gt=0, description="Between two looks, at least.")
    full_pass_s: float = Field(
        default=30.0, gt=0, description="Every so often each file is looked at."
    )
    suffixes: tuple[str, ...] | None = Field(
        default=None, description="Ends of the names wanted, such as .fits; empty for all."
    )


class WatchedBucketSettings(StorageSettings):
    """A bucket whose objects are taken, and how to reach it."""

    root: str = Field(pattern=r"^s3://[^/]+", description="s3://bucket/prefix")
    site: str | None = Field(
        default=None, max_length=128, description="Whose objects they are, as for a folder."
    )
    list_every_s: float | None = Field(
        default=1.0,
        gt=0,
        description="Between two looks for new keys; empty where events are sure to come.",
    )
    full_list_every_s: float = Field(
        default=2.0, gt=0, description="Between two listings of all keys, at least."
    )
    is_ordered: bool | None = Field(
        default=None,
        description="Whether the server lists keys in their order, as Amazon's, MinIO and Ceph "
        "do and SeaweedFS does not; empty for Amazon's only.",
    )


class SourceSettings(BaseModel):
    """Where arrivals come from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folders: tuple[WatchedFolderSettings, ...] = Field(default=(), description="Watched folders.")
    buckets: tuple[WatchedBucketSettings, ...] = Field(default=(), description="Watched buckets.")
    queues: tuple[QueueSettings, ...] = Field(
        default=(), description="Queues of Amazon SQS that bring events of the buckets."
    )


class UploadSettings(BaseModel):
    """What an operator can set about uploads."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_size_mb: float = Field(
        default=2048, gt=0, le=5120, description="Largest file, in 2^20 bytes."
    )
    ticket_s: float = Field(
        default=300, ge=1, le=604_800, description="How long leave to upload lasts, in seconds."
    )
