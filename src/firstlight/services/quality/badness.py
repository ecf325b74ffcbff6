"""Badness of products: their own, and that of all they were made of, asked for when needed."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from firstlight.models.image import Image, ImageInput
from firstlight.models.quality import Badness, BadnessMark, QualityReport

__all__ = ["badness_of", "words_of"]

_DEEPEST = 12  # a coadd of coadds of coadds ends before


def badness_of(session: Session, images: Collection[uuid.UUID]) -> dict[uuid.UUID, Badness]:
    """Bits of each image, with those of every image and exposure upstream of it.

    Nothing is copied downstream: a mark on an exposure shows in all its products at once.
    """
    upstream = {image: {image} for image in images}
    frontier = set(images)
    for _ in range(_DEEPEST):
        pairs = session.execute(
            select(ImageInput.image_id, ImageInput.input_image_id).where(
                ImageInput.image_id.in_(frontier), ImageInput.input_image_id.is_not(None)
            )
        ).all()
        parents: dict[uuid.UUID, set[uuid.UUID]] = {}
        for image, parent in pairs:
            if parent is not None:
                parents.setdefault(image, set()).add(parent)
        frontier = set()
        for image, known in upstream.items():
            new = {p for each in known for p in parents.get(each, ())} - known
            upstream[image] = known | new
            frontier |= new
        if not frontier:
            break
    own = _own(session, {each for known in upstream.values() for each in known})
    return {
        image: _together(own.get(each, Badness(0)) for each in known)
        for image, known in upstream.items()
    }


def words_of(badness: int) -> list[str]:
    """Its bits in words, for people."""
    return [(bit.name or "").lower().replace("_", " ") for bit in Badness if badness & bit]


def _own(session: Session, images: set[uuid.UUID]) -> dict[uuid.UUID, Badness]:
    """What the numbers tell of images themselves, and people of them or their exposures."""
    found: dict[uuid.UUID, Badness] = {}
    reports = select(QualityReport.image_id, QualityReport.badness).where(
        QualityReport.image_id.in_(images)
    )
    marks = (
        select(Image.id, BadnessMark.badness)
        .join(
            BadnessMark,
            or_(
                BadnessMark.image_id == Image.id,
                (BadnessMark.exposure_id == Image.exposure_id) & BadnessMark.image_id.is_(None),
            ),
        )
        .where(Image.id.in_(images))
    )
    for image, bits in [*session.execute(reports), *session.execute(marks)]:
        found[image] = found.get(image, Badness(0)) | Badness(bits)
    return found


def _together(parts: Iterable[Badness]) -> Badness:
    total = Badness(0)
    for part in parts:
        total |= part
    return total
