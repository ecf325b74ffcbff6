"""Settings of references. Light to import: the command line reads them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["ReferenceChoiceSettings"]


class ReferenceChoiceSettings(BaseModel):
    """Which reference an image is compared with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_overlap: float = Field(default=0.6, gt=0, le=1)
    """Share of the image that the reference must cover."""
    older_by_days: float = Field(default=0.5, ge=0)
    """So long before the image the last exposure of its reference must have been taken; of a
    later reference, so long after it the first one."""
    allow_later: bool = True
    """Whether an image without an older reference is compared with a later one."""
