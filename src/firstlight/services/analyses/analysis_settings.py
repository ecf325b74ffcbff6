"""What an operator can set about analysis services. Light to import."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from firstlight.services.expiry.expiration_rules import Age

__all__ = ["AnalysisSettings"]


class AnalysisSettings(BaseModel):
    """How analysis services are called, and how much of them there may be."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    most_per_object: int = Field(default=50, ge=1)
    """Runs of one user on one object that are kept: those completed and those that wait."""
    most_waiting_per_user: int = Field(default=1000, ge=1)
    """Runs of one user that wait at the same time."""
    at_once: int = Field(default=16, ge=1, le=200)
    """Services called at the same time by one worker; half as many again are for retries."""
    local_at_once: int = Field(default=1, ge=1, le=64)
    """Local services that run at the same time."""
    local_memory_mb: int = Field(default=2048, ge=64)
    """Memory that a run of a local service may take."""
    callback_url: str | None = None
    """Address of this server as services reach it: ``http://10.0.0.7:8000``. Without it that of
    ``web.base_url``, or the server's own address."""
    retry_after_s: tuple[float, ...] = Field(default=(1, 5, 30, 120, 600), min_length=1)
    """Pauses after the first, second ... call that failed; the last one holds for all others."""
    give_up: Age = timedelta(hours=6)
    """A run that no service has taken for so long has failed; none for never."""
    claim_s: float = Field(default=120.0, gt=0)
    """A run that a process is sending is left alone by others for so long."""
    every_s: float = Field(default=0.25, gt=0)
    """Seconds between two looks for runs to send, and for runs that have timed out."""
    longest_timeout_s: float = Field(default=7 * 86_400.0, gt=0)
    """The longest time limit that a service may have."""
    max_parameter_bytes: int = Field(default=1_048_576, ge=1024)
    """The longest file that may be given as a parameter of a run."""
    max_result_bytes: int = Field(default=67_108_864, ge=1024)
    """The longest body in which a service sends its results."""
    max_unpacked_bytes: int = Field(default=134_217_728, ge=1024)
    """What a result may grow to when it is unpacked."""
    max_plot_bytes: int = Field(default=20_971_520, ge=1024)
    """The longest single plot."""
    max_plots: int = Field(default=50, ge=0)
    """Plots of one run."""
    max_samples: int = Field(default=2_000_000, ge=1)
    """Numbers in the posterior of one run; more are thinned evenly, and the run says so."""
    reader_memory_mb: int = Field(default=400, ge=64)
    """Memory that reading one result or drawing one corner plot may take."""
    dust_maps: Path | None = None
    """Folder with ``SFD_dust_4096_ngp.fits`` and ``SFD_dust_4096_sgp.fits``, for runs with
    ``correct_extinction``; without it they fail."""
    reader_timeout_s: float = Field(default=60.0, gt=0)
    """Seconds that it may take."""
    readers_at_once: int = Field(default=2, ge=1, le=64)
    """Results that are read, and corner plots that are drawn, at the same time by one process."""
    drawn_samples: int = Field(default=5000, ge=100, le=100_000)
    """Draws of a posterior that pages are given to draw; the others are kept as well."""
    most_daily_runs: int = Field(default=1000, ge=1)
    """The highest daily limit that a default analysis may have."""
