"""What an operator can set about storage classes. Light to import."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["LifecycleSettings", "StorageClassRule"]

_LEAST_DAYS = {"STANDARD_IA": 30, "ONEZONE_IA": 30}
"""Amazon takes nothing younger into these classes."""


class StorageClassRule(BaseModel):
    """Which files move to a cheaper class, and when."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prefix: str = Field(min_length=1)
    """Beginning of the keys: a collection such as ``data/``, or ``raw/``, ``images/``."""
    after_days: int = Field(ge=0, le=36_500)
    """Days since the file was stored."""
    storage_class: Literal["STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR"]
    """Classes from which bytes can be read at once."""
    min_size: int = Field(default=131_072, ge=0)
    """Smaller files stay, bytes: they would be billed as if they were of this size."""

    @model_validator(mode="after")
    def _is_old_enough(self) -> StorageClassRule:
        least = _LEAST_DAYS.get(self.storage_class, 0)
        if self.after_days < least:
            raise ValueError(f"{self.storage_class} takes files of {least} days and more")
        return self


class LifecycleSettings(BaseModel):
    """Storage classes of old files. They take effect when they are applied to the bucket."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rules: tuple[StorageClassRule, ...] = (
        StorageClassRule(prefix="data/", after_days=30, storage_class="STANDARD_IA"),
    )
    """One for each beginning of keys."""
    abort_uploads_after_days: int | None = Field(default=7, ge=1)
    """Parts of large uploads that never ended are removed."""
