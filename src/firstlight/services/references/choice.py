"""Which reference an image is compared with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from firstlight.algorithms.sky.sky_index import angular_separation
from firstlight.algorithms.sky.sky_polygon import inside_any_polygon
from firstlight.models.astrometry import WorldCoordinates
from firstlight.models.image import Image
from firstlight.models.psf import PSF
from firstlight.models.reference import Reference
from firstlight.models.sources import SourceList
from firstlight.pipeline.step import ReferenceProducts
from firstlight.services.references.settings import ReferenceChoiceSettings

__all__ = ["ReferenceChoice", "ReferenceChooser", "load_products"]

GRID = 16  # places along each axis of an image that tell how much of it is covered


@dataclass(frozen=True)
class ReferenceChoice:
    """A reference, or why there is none.

    Attributes
    ----------
    overlap
        Share of the image that it covers.
    reason
        In words.
    """

    reference: Reference | None
    reason: str
    overlap: float = 0.0


class ReferenceChooser:
    """Chooses references for images out of all there are.

    Of the usable references of one camera and filter that end before the image was taken and
    cover enough of it, the newest version; of several fields the one that covers most, then the
    deepest. So the choice depends on nothing but the references there are.

    Parameters
    ----------
    references
        All of them.
    settings
        How much must be covered, and how much older it must be.
    """

    def __init__(self, references: Iterable[Reference], settings: ReferenceChoiceSettings) -> None:
        self._settings = settings
        self._there: dict[tuple[str, str | None], list[Reference]] = defaultdict(list)
        for reference in references:
            if reference.usable:
                self._there[reference.instrument, reference.filter].append(reference)

    @classmethod
    def of(cls, session: Session, settings: ReferenceChoiceSettings) -> ReferenceChooser:
        """A chooser over all references there are now."""
        usable = select(Reference).where(Reference.usable.is_(True)).order_by(Reference.id)
        return cls(session.scalars(usable), settings)

    def __bool__(self) -> bool:
        """Whether there is any reference at all."""
        return bool(self._there)

    def choose(self, image: Image, wcs: WorldCoordinates) -> ReferenceChoice:
        """The reference for an image.

        Parameters
        ----------
        image
            What it was taken with, when, and its shape.
        wcs
            Where it is.
        """
        there = self._there.get((image.instrument, image.filter), [])
        if not there:
            return ReferenceChoice(None, "no reference of this camera and filter")
        latest = image.mjd - self._settings.older_by_days
        there = [one for one in there if one.mjd_end < latest]
        if not there:
            return ReferenceChoice(None, "no reference that is old enough")
        near = [one for one in there if _apart(one, wcs) < one.radius + wcs.radius]
        covered = [(one, _overlap(one, image, wcs)) for one in near]
        enough = [(one, share) for one, share in covered if share >= self._settings.min_overlap]
        if not enough:
            most = max((share for _, share in covered), default=0.0)
            return ReferenceChoice(None, f"references cover {100 * most:.0f} % of it", most)
        newest: dict[tuple[str, str], tuple[Reference, float]] = {}
        for one, share in enough:
            before = newest.get((one.field, one.section_id))
            if before is None or one.version > before[0].version:
                newest[one.field, one.section_id] = one, share
        best, share = max(newest.values(), key=_rank)
        return ReferenceChoice(best, f"version {best.version} of {best.field}", share)


def load_products(session: Session, reference: Reference) -> ReferenceProducts:
    """The rows of a reference that a subtraction takes; their files are read when used."""
    return ReferenceProducts(
        reference=reference,
        image=session.get_one(Image, reference.image_id),
        sources=session.get_one(SourceList, reference.sources_id),
        psf=session.get_one(PSF, reference.psf_id),
    )


def _rank(choice: tuple[Reference, float]) -> tuple[float, float, str]:
    reference, share = choice
    # To a hundredth, so that the depth tells between references that cover all of it.
    return round(share, 2), reference.limiting_magnitude or 0.0, str(reference.id)


def _apart(reference: Reference, wcs: WorldCoordinates) -> float:
    if reference.ra is None or reference.dec is None or wcs.ra is None or wcs.dec is None:
        return np.inf
    return float(angular_separation(wcs.ra, wcs.dec, reference.ra, reference.dec))


def _overlap(reference: Reference, image: Image, wcs: WorldCoordinates) -> float:
    """Share of the image's pixels that lie in the reference."""
    x, y = np.meshgrid(
        (np.arange(GRID) + 0.5) / GRID * image.nx - 0.5,
        (np.arange(GRID) + 0.5) / GRID * image.ny - 0.5,
    )
    ra, dec = wcs.projection.pixel_to_sky(x.ravel(), y.ravel())
    corners = np.asarray(reference.corners, np.float64)
    return float(inside_any_polygon(ra, dec, corners[:, 0], corners[:, 1]).mean())
