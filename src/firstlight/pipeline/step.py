"""What a step is, and the workpiece that goes from step to step."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

from firstlight.algorithms.background import SkyMap
from firstlight.errors import UserError
from firstlight.models.astrometry import WorldCoordinates
from firstlight.models.exposure import Exposure
from firstlight.models.image import Image
from firstlight.models.measurement import Cutouts, MeasurementSet
from firstlight.models.psf import PSF
from firstlight.models.reference import Reference
from firstlight.models.sources import SourceList
from firstlight.models.zero_point import ZeroPoint
from firstlight.pipeline.sky_frame import Subtracted

__all__ = ["Calibrations", "ReferenceProducts", "Step", "StepImpossible", "Workpiece"]

AnyProduct = Image | SourceList | WorldCoordinates | ZeroPoint | PSF | Cutouts | MeasurementSet


class StepImpossible(UserError):
    """The step cannot be done on this image."""

    code = "step.impossible"


@dataclass
class Calibrations:
    """The master calibrations chosen for one section, and why.

    Attributes
    ----------
    masters
        By role: ``bias``, ``dark``, ``flat``, ``static_level``. A missing role is not there.
    reasons
        By role, in words: what was chosen, or why nothing was.
    """

    masters: dict[str, Image] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)


@dataclass
class ReferenceProducts:
    """The reference chosen for one image, with all that a subtraction takes of it."""

    reference: Reference
    image: Image
    sources: SourceList
    psf: PSF


@dataclass
class Workpiece:
    """One section of one exposure on its way through the recipe.

    Attributes
    ----------
    sky
        Level and noise of the image's sky, where a step has mapped it in this run.
    changed
        What the subtraction left in memory for the steps behind it.
    """

    exposure: Exposure
    section_id: str
    calibrations: Calibrations = field(default_factory=Calibrations)
    image: Image | None = None
    sources: SourceList | None = None
    wcs: WorldCoordinates | None = None
    zero_point: ZeroPoint | None = None
    psf: PSF | None = None
    reference: ReferenceProducts | None = None
    difference: Image | None = None
    cutouts: Cutouts | None = None
    measurements: MeasurementSet | None = None
    sky: SkyMap | None = None
    changed: Subtracted | None = None
    notes: dict[str, Any] = field(default_factory=dict)
    """What a step wants a person to know; emptied by the recipe after each step."""

    @property
    def inputs(self) -> dict[str, uuid.UUID]:
        """Ids of what enters from outside, by role."""
        masters = {role: image.id for role, image in self.calibrations.masters.items()}
        there = {"exposure": self.exposure.content_id, **masters}
        if self.reference is not None:
            there["reference"] = self.reference.reference.id
        return there


class Step(ABC):
    """One entry of the recipe: takes products in memory, returns a new unsaved one, no I/O."""

    name: ClassVar[str]
    version: ClassVar[str]
    """Raised whenever the step would make another product of the same inputs."""
    makes: ClassVar[str]
    """The attribute of `Workpiece` that it fills."""
    product_class: ClassVar[type[AnyProduct]]
    after: ClassVar[tuple[str, ...]] = ()
    """Names of the steps whose products it takes."""
    takes: ClassVar[tuple[str, ...]] = ()
    """Roles of what it takes from outside besides; a step that is after no other takes all."""

    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """Critical parameters, JSON values."""

    @abstractmethod
    def run(self, piece: Workpiece) -> AnyProduct:
        """Make the product.

        Raises
        ------
        FirstlightError
            With the reason why it cannot be made. Nothing is half-made.
        """
