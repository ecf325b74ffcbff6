"""The recipe: the ordered steps, their lineage, and running them on a workpiece."""

from __future__ import annotations

import time
import traceback
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from firstlight.errors import FirstlightError, InternalError
from firstlight.models.step_run import StepState
from firstlight.pipeline.step import AnyProduct, Step, Workpiece
from firstlight.provenance.code_version import software_id
from firstlight.provenance.fingerprint import product_id
from firstlight.provenance.lineage import Lineage

__all__ = ["Outcome", "Recipe"]


@dataclass
class Outcome:
    """How one step went.

    Attributes
    ----------
    product
        What was made or found; ``None`` unless the state is done.
    expected_id
        The id the product has, or would have had.
    is_new
        Whether it was made now (and so must be saved), not found.
    """

    step: str
    number: int
    state: StepState
    expected_id: uuid.UUID
    product: AnyProduct | None = None
    is_new: bool = False
    error: dict[str, Any] | None = None
    notes: dict[str, Any] = field(default_factory=dict)
    cpu_s: float | None = None
    wall_s: float | None = None


class Recipe:
    """Ordered steps.

    Parameters
    ----------
    steps
        Each after those it takes products from.
    upstream
        Lineages of what enters from outside, for example the master calibrations.
    before
        The recipe that this one goes on from: its products are taken by the names of its steps.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        upstream: Sequence[Lineage] = (),
        before: Recipe | None = None,
    ) -> None:
        self.steps = tuple(steps)
        self.upstream = tuple(upstream)
        self.lineages: dict[str, Lineage] = {}
        known = {} if before is None else dict(before.lineages)
        for step in self.steps:
            upper = tuple(known[name] for name in step.after) or self.upstream
            known[step.name] = Lineage(step.name, step.version, step.parameters(), upper)
            self.lineages[step.name] = known[step.name]

    def expected_ids(
        self,
        section_id: str,
        inputs: Mapping[str, uuid.UUID],
        before: Mapping[str, uuid.UUID] | None = None,
    ) -> dict[str, uuid.UUID]:
        """Ids of all products of one section, by step, computed without making any.

        Parameters
        ----------
        inputs
            What enters from outside, by role: the exposure's content and the masters, or the
            reference.
        before
            Ids of the products of the recipe before, by step.
        """
        ids = dict(before or {})
        for step in self.steps:
            taken: dict[str, object] = {name: ids[name] for name in step.after}
            taken |= {role: inputs[role] for role in step.takes} if step.after else inputs
            ids[step.name] = product_id(self.lineages[step.name].id, taken, section_id)
        return {step.name: ids[step.name] for step in self.steps}

    def run(
        self,
        piece: Workpiece,
        found: Mapping[uuid.UUID, AnyProduct],
        before: Sequence[Outcome] = (),
    ) -> list[Outcome]:
        """Run every step whose product is not among those `found`.

        A step that fails ends in an outcome that says why; those that need its product are
        skipped, and nothing is raised.

        Parameters
        ----------
        before
            How the steps of the recipe before went.
        """
        past = {outcome.step: outcome.expected_id for outcome in before}
        ids = self.expected_ids(piece.section_id, piece.inputs, past)
        outcomes = {outcome.step: outcome for outcome in before}
        for number, step in enumerate(self.steps, len(before)):
            outcome = Outcome(step.name, number, StepState.DONE, ids[step.name])
            missing = [n for n in step.after if outcomes[n].state is not StepState.DONE]
            if missing:
                outcome.state = StepState.SKIPPED
                outcome.notes = {"reason": f"{missing[0]} was not done"}
            elif outcome.expected_id in found:
                outcome.product = found[outcome.expected_id]
                setattr(piece, step.makes, outcome.product)
            else:
                self._make(step, piece, outcome)
            outcomes[step.name] = outcome
        return list(outcomes.values())[len(before) :]

    def _make(self, step: Step, piece: Workpiece, outcome: Outcome) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        piece.notes = {}
        try:
            product = step.run(piece)
        except FirstlightError as fault:
            outcome.state, outcome.error = StepState.FAILED, fault.as_dict()
        except Exception as fault:  # noqa: BLE001, a fault in one image must not end the night
            told = InternalError(f"{type(fault).__name__}: {fault}", subject=step.name)
            outcome.state = StepState.FAILED
            outcome.error = {**told.as_dict(), "traceback": traceback.format_exc()}
        else:
            self._identify(step, product, outcome)
            outcome.product, outcome.is_new = product, True
            setattr(piece, step.makes, product)
        outcome.notes = piece.notes
        outcome.cpu_s = time.process_time() - cpu
        outcome.wall_s = time.perf_counter() - wall

    def _identify(self, step: Step, product: AnyProduct, outcome: Outcome) -> None:
        product.id = outcome.expected_id
        product.provenance_id = self.lineages[step.name].id
        product.software_id = software_id()
