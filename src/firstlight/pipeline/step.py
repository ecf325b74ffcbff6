"""What a step is, and the workpiece that goes from step to step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

from firstlight.errors import UserError
from firstlight.models.astrometry import WorldCoordinates
from firstlight.models.exposure import Exposure
from firstlight.models.image import Image
from firstlight.models.sources import SourceList
from firstlight.models.zero_point import ZeroPoint

__all__ = ["Calibrations", "Step", "StepImpossible", "Workpiece"]

AnyProduct = Image | SourceList | WorldCoordinates | ZeroPoint


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
class Workpiece:
    """One section of one exposure on its way through the recipe."""

    exposure: Exposure
    section_id: str
    calibrations: Calibrations = field(default_factory=Calibrations)
    image: Image | None = None
    sources: SourceList | None = None
    wcs: WorldCoordinates | None = None
    zero_point: ZeroPoint | None = None
    notes: dict[str, Any] = field(default_factory=dict)
    """What a step wants a person to know; emptied by the recipe after each step."""


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
