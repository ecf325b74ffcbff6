"""The reduced frames of one section of one observation, as the present parameters left them."""

from __future__ import annotations

import uuid

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


def reduced_frames(session: Session) -> dict[tuple[uuid.UUID, str], list[ReducedFrame]]:
    """All frames with a source list, by observation and section, each list in order of time."""
    done: dict[tuple[uuid.UUID, str], dict[str, uuid.UUID]] = {}
    for run in session.scalars(select(StepRun).where(StepRun.state == StepState.DONE)):
        if run.product_id is not None:
            done.setdefault((run.exposure_id, run.section_id), {})[run.step] = run.product_id
    exposures = {
        row.id: row
        for row in session.scalars(
            select(Exposure).where(Exposure.kind == "science").order_by(Exposure.mjd, Exposure.id)
        )
    }
    images = {row.id: row for row in session.scalars(select(Image))}
    lists = {row.id: row for row in session.scalars(select(SourceList))}
    solutions = {row.id: row for row in session.scalars(select(WorldCoordinates))}
    zero_points = {row.id: row for row in session.scalars(select(ZeroPoint))}
    registrations = {row.sources_id: row for row in session.scalars(select(Registration))}
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
