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
    """

    def __init__(self, steps: Sequence[Step], upstream: Sequence[Lineage] = ()) -> None:
        self.steps = tuple(steps)
        self.upstream = tuple(upstream)
        self.lineages: dict[str, Lineage] = {}
        for step in self.steps:
            before = tuple(self.lineages[name] for name in step.after) or self.upstream
            self.lineages[step.name] = Lineage(step.name, step.version, step.parameters(), before)

    def expected_ids(
        self, content_id: uuid.UUID, section_id: str, masters: Mapping[str, uuid.UUID]
    ) -> dict[str, uuid.UUID]:
        """Ids of all products of one section, by step, computed without making any."""
        ids: dict[str, uuid.UUID] = {}
        for step in self.steps:
            inputs: dict[str, object] = {name: ids[name] for name in step.after}
            if not step.after:
                inputs = {"exposure": content_id, **masters}
            ids[step.name] = product_id(self.lineages[step.name].id, inputs, section_id)
        return ids

    def run(self, piece: Workpiece, found: Mapping[uuid.UUID, AnyProduct]) -> list[Outcome]:
        """Run every step whose product is not among those `found`.

        A step that fails ends in an outcome that says why; those that need its product are
        skipped, and nothing is raised.
        """
        masters = {role: image.id for role, image in piece.calibrations.masters.items()}
        ids = self.expected_ids(piece.exposure.content_id, piece.section_id, masters)
        outcomes: dict[str, Outcome] = {}
        for number, step in enumerate(self.steps):
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
        return list(outcomes.values())

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
