"""Limits of the image analysis. Light to import: the settings of the workspace hold them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["ImageAnalysisLimits"]

_MB = 1 << 20


class ImageAnalysisLimits(BaseModel):
    """What the analysis of uploaded images may cost, of disk, memory, time and patience."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_upload_bytes: int = Field(default=512 * _MB, ge=2880)
    """The largest file, as it is sent: packed or not."""
    max_images: int = Field(default=20, ge=1)
    """Files in one request."""
    max_unpacked_bytes: int = Field(default=2048 * _MB, ge=2880)
    """The largest file after ``.gz``, ``.bz2`` or ``.xz`` is unpacked."""
    max_pixels: int = Field(default=120_000_000, ge=1)
    """Of one image; the analysis needs some 60 bytes of memory for each."""
    at_once: int = Field(default=2, ge=1)
    """Analyses given to the workers at one time."""
    at_once_per_user: int = Field(default=1, ge=1)
    """Of one user at one time, while others wait or not."""
    queued_per_user: int = Field(default=50, ge=1)
    """Analyses of one user that are not ended yet."""
    timeout_s: float = Field(default=300.0, gt=0)
    """An analysis that takes longer is given up."""
    memory_mb: int = Field(default=6144, ge=256)
    """Memory that one analysis may take beyond what its worker has anyway."""
    keep_unused_h: float = Field(default=24.0, gt=0)
    """An upload that no analysis was started with is removed after so many hours."""
    keep_analysed_days: float | None = Field(default=None, gt=0)
    """Images are removed so many days after they were last analysed; they stay for ever if not
    given. Analyses, their reports and accepted photometry stay in any case."""

    @property
    def max_body_bytes(self) -> int:
        """The longest request with images: all its files, and what a form adds."""
        return self.max_upload_bytes * self.max_images + _MB
