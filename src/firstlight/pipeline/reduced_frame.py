"""One reduced section of one exposure, with all its products at hand."""

from __future__ import annotations

from dataclasses import dataclass

from firstlight.models.astrometry import Registration, WorldCoordinates
from firstlight.models.exposure import Exposure
from firstlight.models.image import Image
from firstlight.models.sources import SourceList
from firstlight.models.zero_point import ZeroPoint

__all__ = ["ReducedFrame"]


@dataclass
class ReducedFrame:
    """One section of one exposure with its products; later ones may be missing."""

    exposure: Exposure
    image: Image
    sources: SourceList
    wcs: WorldCoordinates | None = None
    zero_point: ZeroPoint | None = None
    registration: Registration | None = None

    @property
    def product_ids(self) -> list[str]:
        """Ids of what a light curve takes from this frame."""
        products = (self.sources, self.wcs, self.zero_point, self.registration)
        return [str(product.id) for product in products if product is not None]
