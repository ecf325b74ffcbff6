"""The reduced frames of one section of one observation, as the present parameters left them."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator
from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from firstlight.models.astrometry import Registration, WorldCoordinates
from firstlight.models.exposure import Exposure
from firstlight.models.image import Image
from firstlight.models.sources import SourceList
from firstlight.models.step_run import StepRun, StepState
from firstlight.models.zero_point import ZeroPoint
from firstlight.pipeline.reduced_frame import ReducedFrame

__all__ = ["reduced_frames"]

NOTHING = uuid.UUID(int=0)
AT_ONCE = 5000  # ids in one query

Row = TypeVar("Row", SourceList, Image, WorldCoordinates, ZeroPoint, Registration)


def reduced_frames(
    session: Session, observations: Collection[uuid.UUID] | None = None
) -> dict[tuple[uuid.UUID, str], list[ReducedFrame]]:
    """All frames with a source list, by observation and section, each list in order of time.

    Parameters
    ----------
    observations
        Which; None for all there are.
    """
    science = select(Exposure).where(
        Exposure.kind == "science", Exposure.observation_id.is_not(None)
    )
    runs = select(StepRun).where(StepRun.state == StepState.DONE)
    if observations is not None:
        science = science.where(Exposure.observation_id.in_(observations))
        runs = runs.where(StepRun.exposure_id.in_(science.with_only_columns(Exposure.id)))
    done: dict[tuple[uuid.UUID, str], dict[str, uuid.UUID]] = {}
    for run in session.scalars(runs):
        if run.product_id is not None:
            done.setdefault((run.exposure_id, run.section_id), {})[run.step] = run.product_id
    ordered = session.scalars(science.order_by(Exposure.mjd, Exposure.id))
    exposures = {row.id: row for row in ordered}
    products = sorted({ident for steps in done.values() for ident in steps.values()})
    lists = _by_id(session, SourceList, products)
    images = _by_id(session, Image, {row.image_id for row in lists.values()})
    solutions = _by_id(session, WorldCoordinates, products)
    zero_points = _by_id(session, ZeroPoint, products)
    registrations = {
        row.sources_id: row for row in _rows(session, Registration, Registration.sources_id, lists)
    }
    frames: dict[tuple[uuid.UUID, str], list[ReducedFrame]] = {}
    order = {ident: number for number, ident in enumerate(exposures)}
    known = [key for key in done if key[0] in order]
    for exposure_id, section_id in sorted(known, key=lambda key: (key[1], order[key[0]])):
        steps = done[exposure_id, section_id]
        exposure = exposures[exposure_id]
        if "find_sources" not in steps or exposure.observation_id is None:
            continue
        sources = lists[steps["find_sources"]]
        frames.setdefault((exposure.observation_id, section_id), []).append(
            ReducedFrame(
                exposure,
                images[sources.image_id],
                sources,
                solutions.get(steps.get("solve_astrometry", NOTHING)),
                zero_points.get(steps.get("solve_photometry", NOTHING)),
                registrations.get(sources.id),
            )
        )
    return frames


def _by_id(session: Session, table: type[Row], ids: Collection[uuid.UUID]) -> dict[uuid.UUID, Row]:
    return {row.id: row for row in _rows(session, table, table.id, ids)}


def _rows(
    session: Session, table: type[Row], column: Any, wanted: Collection[uuid.UUID]
) -> Iterator[Row]:
    ordered = sorted(wanted)
    for start in range(0, len(ordered), AT_ONCE):
        yield from session.scalars(
            select(table).where(column.in_(ordered[start : start + AT_ONCE]))
        )
