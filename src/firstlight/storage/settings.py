"""What an operator can set about storage."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr

__all__ = ["StorageSettings"]


class StorageSettings(BaseModel):
    """Where files are kept.

    Relative paths are relative to where the program was started; the configuration floor makes
    them absolute.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    root: str = Field(default="data", min_length=1, description="A folder, or s3://bucket/prefix.")
    endpoint: str | None = Field(
        default=None, description="Address of an S3 server; empty for Amazon's."
    )
    region: str = Field(default="us-east-1", description="Region of the bucket.")
    access_key_id: str | None = Field(
        default=None, description="S3 key; empty to look where Amazon's programs look."
    )
    secret_access_key: SecretStr | None = Field(default=None, description="Secret of the S3 key.")
    allow_http: bool = Field(default=False, description="Allow an endpoint without encryption.")
    retry_for_s: float = Field(
        default=30.0, ge=0, description="How long a failing S3 server is asked again, in seconds."
    )
    cache_folder: Path | None = Field(
        default=None, description="Local copies of S3 files; empty for no cache."
    )
    cache_limit_gb: float = Field(default=20.0, gt=0, description="Size of the cache in 10^9 B.")
    link_base_url: str | None = Field(
        default=None, description="Address of the API, for links to files in a folder."
    )
    link_secret: SecretStr | None = Field(
        default=None, description="At least 16 random characters that sign links to files."
    )
