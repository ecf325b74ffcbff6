"""Reduction: what is still to be done, and taking one section through the recipe."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, cast

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from firstlight.instruments.sections import UnknownSection
from firstlight.models.astrometry import WorldCoordinates
from firstlight.models.database import Database
from firstlight.models.event import Event, record_events
from firstlight.models.exposure import Exposure
from firstlight.models.image import Image, ImageKind
from firstlight.models.measurement import MeasurementSet
from firstlight.models.provenance import Provenance, ProvenanceTag, Software
from firstlight.models.sources import SourceList
from firstlight.models.step_run import StepRun, StepState, is_absent
from firstlight.pipeline.recipe import Outcome, Recipe
from firstlight.pipeline.step import AnyProduct, Workpiece
from firstlight.provenance.fingerprint import fingerprint
from firstlight.provenance.lineage import Lineage
from firstlight.services.calibration import CalibrationService
from firstlight.services.object_matching import site_audience
from firstlight.services.products import ProductFiles, save_rows, section_stem
from firstlight.services.quality.reports import QualityReporter, pixel_facts
from firstlight.services.references.choice import ReferenceChooser, load_products
from firstlight.services.references.settings import ReferenceChoiceSettings
from firstlight.work.engine import JobRequest

__all__ = ["ObjectKeeper", "ReductionService"]

CURRENT = "current"
BATCH = 100  # exposures whose images are looked at together
# Failures of other systems and of ours may pass; those of the data stay until something changes.
PASSING = frozenset({"remote", "internal"})


class ObjectKeeper(Protocol):
    """Recognises what was measured."""

    def __call__(self, session: Session, measured: MeasurementSet, exposure: Exposure) -> None:
        """Give each measurement that is kept its Object; the caller commits."""


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
    changes
        What follows where there is a reference: made only then.
    choice
        How references are chosen.
    keep_objects
        Told of the new measurements of each section in the transaction that saves them.
    report
        Writes the quality of each section in the same transaction.
    """

    def __init__(
        self,
        *,
        database: Database,
        recipe: Recipe,
        calibration: CalibrationService,
        files: ProductFiles,
        changes: Callable[[], Recipe] | None = None,
        choice: ReferenceChoiceSettings | None = None,
        keep_objects: ObjectKeeper | None = None,
        report: QualityReporter | None = None,
    ) -> None:
        self._database = database
        self._recipe = recipe
        self._calibration = calibration
        self._files = files
        self._changes = changes
        self._choice = choice or ReferenceChoiceSettings()
        self._keep_objects = keep_objects
        self._report = report

    def plan(
        self,
        retry_failed: bool = False,
        observations: Collection[uuid.UUID] | None = None,
        *,
        only: Collection[uuid.UUID] | None = None,
    ) -> list[JobRequest]:
        """Jobs for every sound section that does not stand where the present parameters lead.

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
            references = ReferenceChooser.of(session, self._choice)
            solved: dict[uuid.UUID, Image | WorldCoordinates] = {}
            for number, exposure in enumerate(exposures):
                if references and number % BATCH == 0:
                    solved = _load_solved(session, exposures[number : number + BATCH])
                for section_id in _sections(exposure):
                    masters = chooser.choose(exposure, section_id).master_ids
                    inputs = {"exposure": exposure.content_id, **masters}
                    expected = self._recipe.expected_ids(section_id, inputs)
                    if references:
                        expected |= self._expected_changes(references, section_id, expected, solved)
                    past = runs.get((exposure.id, section_id), [])
                    if not _is_settled(past, expected, retry_failed=retry_failed):
                        requests.append(_request(exposure.id, section_id, expected))
            recipes = self._recipes(bool(references))
        with self._database.begin() as session:
            for recipe in recipes:
                for lineage in recipe.lineages.values():
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
            piece = Workpiece(exposure, section_id, calibrations)
            expected = self._recipe.expected_ids(section_id, piece.inputs)
            found = self._find(session, self._recipe, expected)
        outcomes = _of_what_is_there(exposure, self._recipe.run(piece, found))
        outcomes += self._find_changes(piece, outcomes)
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

    def _recipes(self, with_changes: bool) -> list[Recipe]:
        there = with_changes and self._changes is not None
        return [self._recipe, *([self._changes()] if there and self._changes else [])]

    def _find_changes(self, piece: Workpiece, before: Sequence[Outcome]) -> list[Outcome]:
        """Go on where the image's place is known and there is a reference of it."""
        image, wcs = piece.image, piece.wcs
        if self._changes is None or image is None or wcs is None:
            return []
        with self._database.reading() as session:
            references = ReferenceChooser.of(session, self._choice, near=wcs)
            chosen = references.choose(image, wcs).reference
            if chosen is None:
                return []
            piece.reference = load_products(session, chosen)
            recipe = self._changes()
            past = {outcome.step: outcome.expected_id for outcome in before}
            expected = recipe.expected_ids(piece.section_id, piece.inputs, past)
            found = self._find(session, recipe, expected)
        return recipe.run(piece, found, before)

    def _expected_changes(
        self,
        references: ReferenceChooser,
        section_id: str,
        before: dict[str, uuid.UUID],
        solved: Mapping[uuid.UUID, Image | WorldCoordinates],
    ) -> dict[str, uuid.UUID]:
        """Ids of what a section that is solved will have besides, where it has a reference."""
        image = cast("Image | None", solved.get(before["preprocess"]))
        wcs = cast("WorldCoordinates | None", solved.get(before["solve_astrometry"]))
        if self._changes is None or image is None or wcs is None:
            return {}
        chosen = references.choose(image, wcs).reference
        if chosen is None:
            return {}
        return self._changes().expected_ids(section_id, {"reference": chosen.id}, before)

    def _find(
        self, session: Session, recipe: Recipe, expected: dict[str, uuid.UUID]
    ) -> dict[uuid.UUID, AnyProduct]:
        found: dict[uuid.UUID, AnyProduct] = {}
        for step in recipe.steps:
            row = cast("AnyProduct | None", session.get(step.product_class, expected[step.name]))
            if row is not None:
                found[row.id] = row
        return found

    def _save(self, piece: Workpiece, outcomes: Sequence[Outcome]) -> None:
        stem = section_stem(piece.exposure, piece.section_id)
        new = [o.product for o in outcomes if o.is_new and o.product is not None]
        for product in new:
            assert piece.image is not None  # noqa: S101, whatever there is was made of an image
            self._files.write(product, piece.image, stem)
        image = piece.image
        facts = pixel_facts(image) if image is not None and image in new else None
        recipes = self._recipes(piece.reference is not None)
        lineages = {name: each for recipe in recipes for name, each in recipe.lineages.items()}
        with self._database.begin() as session:
            Software.record(session)
            for lineage in lineages.values():
                Provenance.record(session, lineage)
            audience = site_audience(session, piece.exposure.site)
            for product in new:
                if isinstance(product, MeasurementSet):
                    for row in product.measurements:
                        row.audience_id = audience
            save_rows(session, list(new))
            if self._keep_objects is not None and piece.measurements is not None:
                # Before the runs say so; a set that is current once more counts once more.
                measured = session.get_one(MeasurementSet, piece.measurements.id)
                self._keep_objects(session, measured, piece.exposure)
            if self._report is not None:
                self._report(session, piece, facts)
            self._forget_runs(session, piece, outcomes)
            for outcome in outcomes:
                key = (piece.exposure.id, piece.section_id, outcome.step)
                before = session.get(StepRun, key)
                was_found = outcome.state is StepState.DONE and not outcome.is_new
                # A product that was found keeps the account of how it was made.
                if before is None or before.product_id != outcome.expected_id or not was_found:
                    session.merge(_step_run(piece, outcome, lineages))
            self._tell_state(session, piece.exposure)

    def _forget_runs(self, session: Session, piece: Workpiece, outcomes: Sequence[Outcome]) -> None:
        """Steps that are no longer gone through, as where a reference was taken out of use."""
        session.execute(
            delete(StepRun).where(
                StepRun.exposure_id == piece.exposure.id,
                StepRun.section_id == piece.section_id,
                StepRun.step.not_in([outcome.step for outcome in outcomes]),
            )
        )

    def _tell_state(self, session: Session, exposure: Exposure) -> None:
        """Bring `Exposure.reduction_state` in step with all runs of all its sections."""
        # Locked, or two sections saved at one moment would each leave the other out.
        row = session.get(Exposure, exposure.id, with_for_update=True, populate_existing=True)
        if row is None:
            return
        before = row.reduction_state
        session.flush()
        runs = _runs_by_section(session, [exposure.id])
        sections = [
            each for each in _sections(exposure) if not is_absent(runs.get((exposure.id, each), ()))
        ]
        steps = [run for section in sections for run in runs.get((exposure.id, section), [])]
        done = sum(run.state == StepState.DONE for run in steps)
        if done == len(steps) >= len(sections) * len(self._recipe.steps):
            row.reduction_state = "done"
        elif done or any((exposure.id, section) not in runs for section in sections):
            row.reduction_state = "partial"
        else:
            row.reduction_state = "failed"
        if row.reduction_state != before:
            told = {"exposure": str(row.id), "name": row.label, "state": row.reduction_state}
            record_events(session, [Event(topic="reduction", site=row.site, data=told)])


def _of_what_is_there(exposure: Exposure, outcomes: list[Outcome]) -> list[Outcome]:
    """Skip all steps of a section that is not in the file, as where each CCD has its own file."""
    if (outcomes[0].error or {}).get("code") != UnknownSection.code:
        return outcomes
    if not set(_sections(exposure)) & {str(each) for each in exposure.data}:
        return outcomes  # the file holds none of them: it is not what its header says
    notes = {"reason": "the file does not hold this section"}
    skipped = StepState.SKIPPED
    return [replace(outcome, state=skipped, error=None, notes=notes) for outcome in outcomes]


def _sections(exposure: Exposure) -> list[str]:
    """Sections of which images can be made: not those that the camera names as defective."""
    camera = exposure.instrument_object
    there = camera.get_section_ids()
    return [str(each) for each in there if not camera.get_property(each, "defective")]


def _load_solved(
    session: Session, exposures: Sequence[Exposure]
) -> dict[uuid.UUID, Image | WorldCoordinates]:
    """Images of these exposures and where they are, by id: two queries, not two for a section."""
    of_these = Image.exposure_id.in_([row.id for row in exposures])
    images = session.scalars(select(Image).where(of_these, Image.kind == ImageKind.SCIENCE.value))
    places = session.scalars(
        select(WorldCoordinates)
        .join(SourceList, SourceList.id == WorldCoordinates.sources_id)
        .join(Image, Image.id == SourceList.image_id)
        .where(of_these)
    )
    return {row.id: row for row in (*images, *places)}


def _step_run(piece: Workpiece, outcome: Outcome, lineages: Mapping[str, Lineage]) -> StepRun:
    return StepRun(
        exposure_id=piece.exposure.id,
        section_id=piece.section_id,
        step=outcome.step,
        number=outcome.number,
        state=outcome.state.value,
        provenance_id=lineages[outcome.step].id,
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
