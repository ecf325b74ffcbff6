"""Settings of the sources of arrivals and of uploads. Light to import: commands read them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["SourceSettings", "UploadSettings"]


class SourceSettings(BaseModel):
    """A place whose files are taken into the archive."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    where: str = Field(min_length=1)
    """A folder, relative to the workspace, or ``s3://bucket/prefix`` on the archive's server."""
    site: str | None = Field(default=None, max_length=128)
    """Whose files they are, where their names do not tell."""
    quiet_s: float = Field(default=0.5, ge=0)
    """A file in a folder is taken once it has not changed for so long.

    More than the pauses of a program that writes without a temporary name; 3 on network mounts.
    """
    every_s: float = Field(default=1.0, gt=0)
    """Between two looks for new keys of a bucket, at least."""
    full_every_s: float = Field(default=2.0, gt=0)
    """Between two looks at all keys of a bucket, at least; more where there are very many."""
    full_pass_s: float = Field(default=30.0, gt=0)
    """Every so often each file of a folder is looked at, however long it has rested."""
    is_ordered: bool | None = None
    """Whether the server lists keys in the order of code points.

    Amazon's, MinIO and Ceph do, and new keys are then found at less cost; SeaweedFS does not.
    Empty for Amazon's only.
    """


class UploadSettings(BaseModel):
    """What an operator can set about uploads."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_size_mb: float = Field(default=2048, gt=0, le=5120)
    """Largest file, in 2^20 bytes."""
    ticket_s: float = Field(default=300, ge=1, le=604_800)
    """How long leave to upload lasts, in seconds."""
