"""Reduction: what is still to be done, and taking one section through the recipe."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any, cast

from sqlalchemy import select
from sqlalchemy.orm import Session

from firstlight.models.database import Database
from firstlight.models.event import Event, record_events
from firstlight.models.exposure import Exposure
from firstlight.models.image import Image
from firstlight.models.provenance import Provenance, ProvenanceTag, Software
from firstlight.models.sources import SourceList
from firstlight.models.step_run import StepRun, StepState
from firstlight.pipeline.recipe import Outcome, Recipe
from firstlight.pipeline.step import AnyProduct, Workpiece
from firstlight.provenance.fingerprint import fingerprint
from firstlight.services.calibration import CalibrationService
from firstlight.services.products import ProductFiles, save_rows, section_stem
from firstlight.work.engine import JobRequest

__all__ = ["ReductionService"]

CURRENT = "current"
# Failures of other systems and of ours may pass; those of the data stay until something changes.
PASSING = frozenset({"remote", "internal"})


class ReductionService:
    """Plans and does the reduction of science exposures, a section at a time.

    Parameters
    ----------
    database, files
        Rows and files.
    recipe
        The steps with their parameters.
    calibration
        Chooses the masters.
    """

    def __init__(
        self,
        *,
        database: Database,
        recipe: Recipe,
        calibration: CalibrationService,
        files: ProductFiles,
    ) -> None:
        self._database = database
        self._recipe = recipe
        self._calibration = calibration
        self._files = files

    def plan(
        self,
        retry_failed: bool = False,
        observations: Collection[uuid.UUID] | None = None,
        *,
        only: Collection[uuid.UUID] | None = None,
    ) -> list[JobRequest]:
        """Jobs for every section that does not stand where the present parameters lead.

        A step that failed for reasons of the data is not tried again, unless asked or its
        inputs or parameters have changed.

        Parameters
        ----------
        observations
            Whose exposures are looked at; None for all.
        only
            Exposures to look at; ``None`` for all.
        """
        requests = []
        science = select(Exposure).where(Exposure.kind == "science", Exposure.filename.is_not(None))
        if only is not None:
            science = science.where(Exposure.id.in_(only))
        if observations is not None:
            science = science.where(Exposure.observation_id.in_(observations))
        is_part = only is not None or observations is not None
        with self._database.reading() as session:
            exposures = session.scalars(science.order_by(Exposure.mjd)).all()
            runs = _runs_by_section(session, [row.id for row in exposures] if is_part else None)
            chooser = self._calibration.chooser(session)
            for exposure in exposures:
                for section_id in map(str, exposure.instrument_object.get_section_ids()):
                    masters = chooser.choose(exposure, section_id).master_ids
                    expected = self._recipe.expected_ids(exposure.content_id, section_id, masters)
                    past = runs.get((exposure.id, section_id), [])
                    if not _is_settled(past, expected, retry_failed=retry_failed):
                        requests.append(_request(exposure.id, section_id, expected))
        with self._database.begin() as session:
            for lineage in self._recipe.lineages.values():
                ProvenanceTag.point(session, CURRENT, lineage)
            Software.record(session)
        return requests

    def reduce_section(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Take one section through the recipe and save all of it in one transaction.

        Returns
        -------
        dict
            ``failures``: one sentence for each step that failed.
        """
        exposure_id, section_id = uuid.UUID(payload["exposure"]), str(payload["section"])
        with self._database.reading() as session:
            exposure = session.get_one(Exposure, exposure_id)
            calibrations = self._calibration.chooser(session).calibrations(exposure, section_id)
            masters = {role: image.id for role, image in calibrations.masters.items()}
            expected = self._recipe.expected_ids(exposure.content_id, section_id, masters)
            found = self._find(session, expected)
        piece = Workpiece(exposure, section_id, calibrations)
        outcomes = self._recipe.run(piece, found)
        self._save(piece, outcomes)
        exposure.data.clear_cache()
        stem = section_stem(exposure, section_id)
        return {
            "failures": [
                f"{stem}: {outcome.step}: {(outcome.error or {}).get('message')}"
                for outcome in outcomes
                if outcome.state is StepState.FAILED
            ]
        }

    def _find(
        self, session: Session, expected: dict[str, uuid.UUID]
    ) -> dict[uuid.UUID, AnyProduct]:
        found: dict[uuid.UUID, AnyProduct] = {}
        for step in self._recipe.steps:
            row = cast("AnyProduct | None", session.get(step.product_class, expected[step.name]))
            if row is not None:
                found[row.id] = row
        return found

    def _save(self, piece: Workpiece, outcomes: Sequence[Outcome]) -> None:
        stem = section_stem(piece.exposure, piece.section_id)
        new = [o.product for o in outcomes if o.is_new and o.product is not None]
        for product in new:
            if isinstance(product, Image):
                self._files.write_image(product, stem)
            elif isinstance(product, SourceList):
                assert piece.image is not None  # noqa: S101, sources are found in an image
                self._files.write_sources(product, piece.image, stem)
        with self._database.begin() as session:
            Software.record(session)
            for lineage in self._recipe.lineages.values():
                Provenance.record(session, lineage)
            save_rows(session, list(new))
            for outcome in outcomes:
                key = (piece.exposure.id, piece.section_id, outcome.step)
                before = session.get(StepRun, key)
                was_found = outcome.state is StepState.DONE and not outcome.is_new
                # A product that was found keeps the account of how it was made.
                if before is None or before.product_id != outcome.expected_id or not was_found:
                    session.merge(self._step_run(piece, outcome))
            self._tell_state(session, piece.exposure)

    def _tell_state(self, session: Session, exposure: Exposure) -> None:
        """Bring `Exposure.reduction_state` in step with all runs of all its sections."""
        # Locked, or two sections saved at one moment would each leave the other out.
        row = session.get(Exposure, exposure.id, with_for_update=True, populate_existing=True)
        if row is None:
            return
        before = row.reduction_state
        session.flush()
        runs = _runs_by_section(session, [exposure.id])
        sections = [str(section_id) for section_id in exposure.instrument_object.get_section_ids()]
        done = sum(run.state == StepState.DONE for each in runs.values() for run in each)
        if done == len(sections) * len(self._recipe.steps):
            row.reduction_state = "done"
        elif done or any((exposure.id, section) not in runs for section in sections):
            row.reduction_state = "partial"
        else:
            row.reduction_state = "failed"
        if row.reduction_state != before:
            told = {"exposure": str(row.id), "name": row.label, "state": row.reduction_state}
            record_events(session, [Event(topic="reduction", site=row.site, data=told)])

    def _step_run(self, piece: Workpiece, outcome: Outcome) -> StepRun:
        return StepRun(
            exposure_id=piece.exposure.id,
            section_id=piece.section_id,
            step=outcome.step,
            number=outcome.number,
            state=outcome.state.value,
            provenance_id=self._recipe.lineages[outcome.step].id,
            product_id=outcome.expected_id,
            error=outcome.error,
            notes=outcome.notes,
            cpu_s=outcome.cpu_s,
            wall_s=outcome.wall_s,
        )


def _request(exposure_id: uuid.UUID, section_id: str, expected: dict[str, uuid.UUID]) -> JobRequest:
    facts = [str(exposure_id), section_id, *map(str, expected.values())]
    return JobRequest(
        job_id=f"reduce-{fingerprint(facts)}",
        name="reduce_section",
        payload={"exposure": str(exposure_id), "section": section_id},
    )


def _runs_by_section(
    session: Session, only: Collection[uuid.UUID] | None = None
) -> dict[tuple[uuid.UUID, str], list[StepRun]]:
    runs: dict[tuple[uuid.UUID, str], list[StepRun]] = defaultdict(list)
    query = select(StepRun)
    if only is not None:
        query = query.where(StepRun.exposure_id.in_(only))
    for run in session.scalars(query):
        runs[run.exposure_id, run.section_id].append(run)
    return runs


def _is_settled(runs: list[StepRun], expected: dict[str, uuid.UUID], *, retry_failed: bool) -> bool:
    if {run.product_id for run in runs} != set(expected.values()):
        return False
    failed = [run for run in runs if run.state == StepState.FAILED]
    if retry_failed and failed:
        return False
    return not any((run.error or {}).get("kind") in PASSING for run in failed)
