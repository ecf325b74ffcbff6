"""StepRun: what happened to one step of the recipe on one section of one exposure."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, ForeignKey, String, exists
from sqlalchemy.orm import InstrumentedAttribute, Mapped, mapped_column

from firstlight.models.base import Base, Timestamped
from firstlight.models.image import Image

__all__ = ["StepRun", "StepState", "is_absent", "is_current"]


class StepState(StrEnum):
    """How a step ended, or where it stands."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"  # it had no input: a step before it failed, or the file has no such section
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"


class StepRun(Timestamped, Base):
    """The last attempt at one step, whatever its end; failure is never recorded as success."""

    __tablename__ = "step_runs"

    exposure_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("exposures.id"), primary_key=True)
    section_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    step: Mapped[str] = mapped_column(String(64), primary_key=True)
    number: Mapped[int]
    """Place in the recipe."""
    state: Mapped[str] = mapped_column(String(16), index=True)
    provenance_id: Mapped[str | None] = mapped_column(ForeignKey("provenances.id"))
    product_id: Mapped[uuid.UUID | None]
    error: Mapped[dict[str, Any] | None]
    """Code, message and the thing at fault: `errors.FirstlightError.as_dict`."""
    notes: Mapped[dict[str, Any]]
    """What a person should know of a step that was done: what it left out, and why."""
    cpu_s: Mapped[float | None]
    wall_s: Mapped[float | None]


def is_absent(runs: Iterable[StepRun]) -> bool:
    """Whether these runs of one section say that the exposure's file does not hold it.

    Nothing comes before the first step, so this is the only reason why it can be skipped.
    """
    return any(run.number == 0 and run.state == StepState.SKIPPED for run in runs)


def is_current(product: InstrumentedAttribute[uuid.UUID]) -> ColumnElement[bool]:
    """Whether the runs of a section name a product: what was made anew replaces what is older.

    Parameters
    ----------
    product
        The product's id, in a query that joins the `Image` of its section.
    """
    return exists().where(
        StepRun.exposure_id == Image.exposure_id,
        StepRun.section_id == Image.section_id,
        StepRun.product_id == product,
    )
