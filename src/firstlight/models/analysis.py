"""AnalysisService, an external program; Analysis, one run of it on one Object."""

from __future__ import annotations

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, Double, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from firstlight.models.base import Base, BigId, Changing, NullableJson, Timestamped

__all__ = [
    "Analysis",
    "AnalysisFile",
    "AnalysisFileKind",
    "AnalysisService",
    "AnalysisStatus",
    "DefaultAnalysis",
]


class AnalysisStatus(StrEnum):
    """Where a run stands, in SkyPortal's words."""

    QUEUED = "queued"  # not yet taken by the service; may have been tried
    PENDING = "pending"  # the service has it
    COMPLETED = "completed"
    FAILURE = "failure"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"

    @property
    def waiting(self) -> bool:
        """Whether something may still come of it."""
        return self in (AnalysisStatus.QUEUED, AnalysisStatus.PENDING)


class AnalysisFileKind(StrEnum):
    """What a stored file of a run is."""

    INPUTS = "inputs"  # what was sent to the service
    RESULTS = "results"  # JSON
    RESULTS_AS_SENT = "results_as_sent"  # the service's own form, where that was not JSON
    INFERENCE_DATA = "inference_data"  # netCDF of ArviZ
    PLOT = "plot"
    POSTERIOR = "posterior"  # samples by model and parameter
    LIGHT_CURVES = "light_curves"  # of models, by filter
    CORNER = "corner"  # a picture made from the posterior, and kept


class AnalysisService(Changing, Base):
    """A program that analyses objects, and how it is called.

    Attributes
    ----------
    url
        Where it answers; ``local:NAME`` for one that runs in a worker of this system.
    input_format
        ``csv`` as SkyPortal sends, or ``json`` columns.
    optional_analysis_parameters
        Of each parameter its choices, or its type, default and limits.
    sealed_authinfo
        What it wants to see of us, encrypted with a key of the workspace.
    timeout
        Seconds that a run may take, once the service has it.
    upload_only
        Its results are uploaded; it is never called.
    audience_id
        Who may see and run it.
    """

    __tablename__ = "analysis_services"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(128), unique=True)
    display_name: Mapped[str] = mapped_column(String(256))
    description: Mapped[str | None] = mapped_column(Text)
    version: Mapped[str | None] = mapped_column(String(64))
    contact_name: Mapped[str | None] = mapped_column(String(256))
    contact_email: Mapped[str | None] = mapped_column(String(256))
    url: Mapped[str] = mapped_column(String(2048))
    input_format: Mapped[str] = mapped_column(String(16), default="csv")
    optional_analysis_parameters: Mapped[dict[str, Any]] = mapped_column(default=dict)
    authentication_type: Mapped[str] = mapped_column(String(32))
    sealed_authinfo: Mapped[str | None] = mapped_column(Text)
    enabled: Mapped[bool] = mapped_column(default=True)
    analysis_type: Mapped[str] = mapped_column(String(32))
    input_data_types: Mapped[list[str]] = mapped_column(default=list)
    timeout: Mapped[float] = mapped_column(Double, default=3600.0)
    upload_only: Mapped[bool] = mapped_column(default=False)
    display_on_resource_dropdown: Mapped[bool] = mapped_column(default=True)
    is_summary: Mapped[bool] = mapped_column(default=False)
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    audience_id: Mapped[int] = mapped_column(ForeignKey("audiences.id"))


class DefaultAnalysis(Changing, Base):
    """A service that runs by itself when an object is classified, or saved to a group.

    Attributes
    ----------
    source_filter
        ``{"classifications": [{"name", "probability"}]}`` or ``{"group_id"}``.
    daily_limit
        Most runs begun for it in one day, UTC.
    audience_id
        Who sees the results.
    """

    __tablename__ = "default_analyses"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    service_id: Mapped[int] = mapped_column(
        ForeignKey("analysis_services.id", ondelete="CASCADE"), index=True
    )
    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    default_analysis_parameters: Mapped[dict[str, Any]] = mapped_column(default=dict)
    source_filter: Mapped[dict[str, Any]] = mapped_column(default=dict)
    daily_limit: Mapped[int] = mapped_column(default=10)
    show_parameters: Mapped[bool] = mapped_column(default=True)
    show_plots: Mapped[bool] = mapped_column(default=True)
    show_corner: Mapped[bool] = mapped_column(default=True)
    audience_id: Mapped[int] = mapped_column(ForeignKey("audiences.id"))


class Analysis(Changing, Base):
    """One run of a service on one object. The waiting rows are the queue.

    Attributes
    ----------
    key
        From which the token of the callback is derived.
    service_id, service_name, service_version
        What ran; name and version stay when the service is removed or changed.
    token_hash
        SHA-256 of the callback's token, hexadecimal. It stays when the token was used, so that a
        second answer is told what became of the first; whether one is taken is for the status.
        None where results were uploaded without a call.
    analysis_parameters, input_filters
        As asked for.
    inputs_sha256, inputs_stamp, inputs_count
        The data that were sent: their hash, a short mark by which changes are noticed, and
        how many rows of each type. Their ids are in the file of the inputs.
    attempts, next_try_at
        How often the service was called, and when it is called again; until then the run is
        left alone, which is also how one process claims it.
    invalid_after
        When the callback is no longer taken; None before the service is called, and for
        runs of local services, which call nobody back.
    progress
        ``{"fraction", "message", "told_at"}`` as the service tells it.
    facts
        What lists show of the results: formats of the plots, names of the parameters, models.
    error
        ``{"code", "message", "hint"}`` of a failure.
    """

    __tablename__ = "analyses"
    __table_args__ = (
        Index("ix_analyses_object_id_id", "object_id", "id"),
        Index("ix_analyses_status_next_try_at", "status", "next_try_at"),
        Index("ix_analyses_owner_id_status", "owner_id", "status"),
        Index("ix_analyses_default_analysis_id_created_at", "default_analysis_id", "created_at"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[uuid.UUID] = mapped_column(unique=True)
    object_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("objects.id", ondelete="CASCADE"))
    service_id: Mapped[int | None] = mapped_column(
        ForeignKey("analysis_services.id", ondelete="SET NULL"), index=True
    )
    service_name: Mapped[str] = mapped_column(String(128))
    service_version: Mapped[str | None] = mapped_column(String(64))
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    audience_id: Mapped[int] = mapped_column(ForeignKey("audiences.id"))
    default_analysis_id: Mapped[int | None] = mapped_column(
        ForeignKey("default_analyses.id", ondelete="SET NULL")
    )
    rerun_of_id: Mapped[int | None] = mapped_column(ForeignKey("analyses.id", ondelete="SET NULL"))
    status: Mapped[AnalysisStatus] = mapped_column(String(16), default=AnalysisStatus.QUEUED)
    status_message: Mapped[str | None] = mapped_column(Text)
    error: Mapped[dict[str, Any] | None] = mapped_column(NullableJson)
    analysis_parameters: Mapped[dict[str, Any]] = mapped_column(default=dict)
    input_filters: Mapped[dict[str, Any]] = mapped_column(default=dict)
    show_parameters: Mapped[bool] = mapped_column(default=False)
    show_plots: Mapped[bool] = mapped_column(default=False)
    show_corner: Mapped[bool] = mapped_column(default=False)
    token_hash: Mapped[str | None] = mapped_column(String(64), unique=True)
    attempts: Mapped[int] = mapped_column(default=0)
    next_try_at: Mapped[datetime | None]
    invalid_after: Mapped[datetime | None]
    inputs_sha256: Mapped[str | None] = mapped_column(String(64))
    inputs_stamp: Mapped[str | None] = mapped_column(String(256))
    inputs_count: Mapped[dict[str, Any]] = mapped_column(default=dict)
    progress: Mapped[dict[str, Any] | None] = mapped_column(NullableJson)
    facts: Mapped[dict[str, Any]] = mapped_column(default=dict)
    sent_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class AnalysisFile(Timestamped, Base):
    """A stored file of a run.

    Attributes
    ----------
    number
        Counts the plots from 0; 0 for what there is once.
    name
        Tells corner plots with other settings apart; empty else.
    """

    __tablename__ = "analysis_files"
    __table_args__ = (UniqueConstraint("analysis_id", "kind", "number", "name"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    analysis_id: Mapped[int] = mapped_column(ForeignKey("analyses.id", ondelete="CASCADE"))
    kind: Mapped[AnalysisFileKind] = mapped_column(String(32))
    number: Mapped[int] = mapped_column(default=0)
    name: Mapped[str] = mapped_column(String(64), default="")
    media_type: Mapped[str] = mapped_column(String(128))
    key: Mapped[str] = mapped_column(String(900))
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
