"""Which reference an image is compared with."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from firstlight.algorithms.sky.sky_index import angular_separation
from firstlight.algorithms.sky.sky_polygon import inside_any_polygon
from firstlight.models.astrometry import WorldCoordinates
from firstlight.models.image import Image, ImageInput
from firstlight.models.psf import PSF
from firstlight.models.reference import Reference
from firstlight.models.sources import SourceList
from firstlight.pipeline.step import ReferenceProducts
from firstlight.services.references.settings import ReferenceChoiceSettings

__all__ = ["Considered", "ReferenceChoice", "ReferenceChooser", "load_products", "title_of"]

ELSEWHERE = "it is of another place"
PART = "the image is part of it"
LATER = "later than the image"
GRID = 16  # places along each axis of an image that tell how much of it is covered
_BATCH = 5_000  # references that one statement names


@dataclass(frozen=True)
class Considered:
    """One reference, and why it is not used for an image.

    Attributes
    ----------
    against
        In words; empty for the one that is used.
    overlap
        Share of the image that it covers; None where that was not looked at.
    is_later
        Whether all of its images are later than the image.
    in_short
        `against` without numbers, so that images with the same reason can be counted.
    """

    reference: Reference
    against: str
    overlap: float | None = None
    is_later: bool = False
    in_short: str = ""


@dataclass(frozen=True)
class ReferenceChoice:
    """A reference, or why there is none.

    Attributes
    ----------
    overlap
        Share of the image that it covers.
    reason
        In words.
    considered
        All references of the image's camera and filter, the chosen one first.
    is_later
        Whether it is later than the image.
    in_short
        Where there is none, the reason without numbers.
    """

    reference: Reference | None
    reason: str
    overlap: float = 0.0
    considered: tuple[Considered, ...] = ()
    is_later: bool = False
    in_short: str = ""


class ReferenceChooser:
    """Chooses references for images out of all there are.

    Of the usable references of one camera and filter that end before the image was taken and
    cover enough of it, the newest version; of several fields the one that covers most, then the
    deepest. Where there is none, the same of those that begin after it was taken. So the choice
    depends on nothing but the references there are.

    Parameters
    ----------
    references
        All of them; those out of use are told of, and never chosen.
    settings
        How much must be covered, and how much older or later it must be.
    parts
        Sections of exposures that references are made of, by the ids of these; to tell of.
    """

    def __init__(
        self,
        references: Iterable[Reference],
        settings: ReferenceChoiceSettings,
        parts: Mapping[uuid.UUID, Collection[tuple[uuid.UUID | None, str]]] | None = None,
    ) -> None:
        self._settings = settings
        self._parts = parts or {}
        there: dict[tuple[str, str | None], list[Reference]] = defaultdict(list)
        for reference in references:
            there[reference.instrument, reference.filter].append(reference)
        self._there = {key: _Alike.of(each) for key, each in there.items()}

    @classmethod
    def of(
        cls,
        session: Session,
        settings: ReferenceChoiceSettings,
        *,
        also_retired: bool = False,
        near: WorldCoordinates | None = None,
    ) -> ReferenceChooser:
        """A chooser over all references there are now.

        Parameters
        ----------
        also_retired
            To be told of them, too, and which images are part of which.
        near
            For one image at this place: references far from it are not even loaded.
        """
        query = select(Reference).order_by(Reference.id)
        if not also_retired:
            query = query.where(Reference.usable.is_(True))
        if near is not None and near.dec is not None:
            reach = Reference.radius + near.radius
            query = query.where(Reference.dec - near.dec < reach, near.dec - Reference.dec < reach)
        references = session.scalars(query).all()
        return cls(references, settings, _parts(session, references) if also_retired else None)

    def __bool__(self) -> bool:
        """Whether there is any reference at all."""
        return bool(self._there)

    def choose(
        self, image: Image, wcs: WorldCoordinates, *, explain: bool = False
    ) -> ReferenceChoice:
        """The reference for an image.

        Parameters
        ----------
        image
            What it was taken with, when, and its shape.
        wcs
            Where it is.
        explain
            Tell of those at other places, too.
        """
        there = self._there.get((image.instrument, image.filter))
        if there is None:
            return _none("no reference of this camera and filter")
        near = there.near(wcs)
        judged = [self._judge(there.references[n], image, wcs) for n in near]
        if explain:
            far = np.setdiff1d(np.arange(len(there.references)), near)
            judged += [Considered(there.references[n], ELSEWHERE, 0.0) for n in far]
        if not len(near):
            return _none("no reference of this place", judged)
        enough = [one for one in judged if not one.against]
        if not enough:
            # What speaks against the one that covers most says more than the others.
            most = max(judged, key=_weight)
            told = tuple(judged)
            return ReferenceChoice(
                None, most.against, most.overlap or 0.0, told, in_short=most.in_short
            )
        older = [one for one in enough if not one.is_later]
        newest: dict[tuple[str, str], Considered] = {}
        for one in older or enough:
            key = one.reference.field, one.reference.section_id
            before = newest.get(key)
            if before is None or one.reference.version > before.reference.version:
                newest[key] = one
        best = max(newest.values(), key=_rank)
        others = [_beaten(one, best, newest) for one in judged if one is not best]
        told, title = (best, *others), title_of(best.reference, image)
        return ReferenceChoice(best.reference, title, best.overlap or 0.0, told, best.is_later)

    def _judge(self, reference: Reference, image: Image, wcs: WorldCoordinates) -> Considered:
        if not reference.usable:
            return _refused(reference, "it was taken out of use")
        binning = reference.measures.get("binning", image.binning)
        if binning != image.binning:
            return _refused(reference, f"its pixels are binned {binning}")
        untimely = self._untimely(reference, image)
        if untimely is not None:
            return untimely
        share, is_later = _overlap(reference, image, wcs), reference.is_later_than(image.mjd)
        if share < self._settings.min_overlap:
            against = f"it covers {100 * share:.0f} %"
            return Considered(reference, against, share, is_later, "it covers too little")
        return Considered(reference, "", share, is_later)

    def _untimely(self, reference: Reference, image: Image) -> Considered | None:
        """What its times say against it, if they do."""
        if (image.exposure_id, image.section_id) in self._parts.get(reference.id, ()):
            return _refused(reference, PART)
        older, later = image.mjd - reference.mjd_end, reference.mjd_start - image.mjd
        days = self._settings.older_by_days
        if max(older, later) <= 0:
            return _refused(reference, "its images are neither all older nor all later")
        if later > 0 and not self._settings.allow_later:
            return _refused(reference, f"it is {LATER}")
        if max(older, later) > days:
            return None
        # A time that is as long as it must be is not longer.
        which, gap, than = ("last", older, "older") if older > 0 else ("first", later, "later")
        against = f"its {which} image is {gap:.2f} days {than}, not {days:g}"
        return Considered(reference, against, in_short=f"it is hardly {than}")


@dataclass(frozen=True, eq=False)
class _Alike:
    """References of one camera and filter, and their places as arrays: a survey has thousands."""

    references: list[Reference]
    ra: NDArray[np.float64]
    dec: NDArray[np.float64]
    radius: NDArray[np.float64]

    @classmethod
    def of(cls, references: list[Reference]) -> _Alike:
        """One without a place is near nothing."""
        places = ((one.ra, one.dec, one.radius) for one in references)
        return cls(references, *np.array(list(places), np.float64).T)

    def near(self, wcs: WorldCoordinates) -> NDArray[np.intp]:
        """Numbers of those that may have a part of an image's sky."""
        if wcs.ra is None or wcs.dec is None:
            return np.zeros(0, np.intp)
        apart = angular_separation(wcs.ra, wcs.dec, self.ra, self.dec)
        return np.flatnonzero(apart < self.radius + wcs.radius)


def title_of(reference: Reference, image: Image) -> str:
    """What an image is compared with, in words."""
    title = f"version {reference.version} of {reference.field}"
    return f"{title}, {LATER}" if reference.is_later_than(image.mjd) else title


def _weight(one: Considered) -> tuple[float, bool, bool]:
    """How much a reference that is not used tells of why there is none."""
    return one.overlap or 0.0, one.against == PART, one.against != ELSEWHERE


def _none(why: str, judged: Sequence[Considered] = ()) -> ReferenceChoice:
    return ReferenceChoice(None, why, 0.0, tuple(judged), in_short=why)


def _refused(reference: Reference, why: str) -> Considered:
    return Considered(reference, why, in_short=why)


def _parts(
    session: Session, references: Sequence[Reference]
) -> dict[uuid.UUID, set[tuple[uuid.UUID | None, str]]]:
    """Sections of exposures that references are made of, in whatever way they were reduced."""
    owner = {row.image_id: row.id for row in references}
    parts: dict[uuid.UUID, set[tuple[uuid.UUID | None, str]]] = defaultdict(set)
    images = list(owner)
    for start in range(0, len(images), _BATCH):
        rows = session.execute(
            select(ImageInput.image_id, Image.exposure_id, Image.section_id)
            .join(Image, Image.id == ImageInput.input_image_id)
            .where(ImageInput.image_id.in_(images[start : start + _BATCH]))
            .where(ImageInput.role == "coadd")
        )
        for image_id, exposure_id, section_id in rows:
            parts[owner[image_id]].add((exposure_id, section_id))
    return parts


def load_products(session: Session, reference: Reference) -> ReferenceProducts:
    """The rows of a reference that a subtraction takes; their files are read when used."""
    return ReferenceProducts(
        reference=reference,
        image=session.get_one(Image, reference.image_id),
        sources=session.get_one(SourceList, reference.sources_id),
        psf=session.get_one(PSF, reference.psf_id),
    )


def _rank(one: Considered) -> tuple[float, float, str]:
    reference = one.reference
    # To a hundredth, so that the depth tells between references that cover all of it.
    share = round(one.overlap or 0.0, 2)
    return share, reference.limiting_magnitude or 0.0, str(reference.id)


def _beaten(
    one: Considered, best: Considered, newest: dict[tuple[str, str], Considered]
) -> Considered:
    """Why one that would do is not the one that is used."""
    if one.against:
        return one
    if one.is_later and not best.is_later:
        return replace(one, against=f"it is {LATER}, and there is an older one")
    version = newest[one.reference.field, one.reference.section_id].reference.version
    if one.reference.version != version:
        return replace(one, against=f"version {version} is newer")
    if _rank(one)[0] < _rank(best)[0]:
        return replace(one, against=f"it covers {100 * (one.overlap or 0.0):.0f} %, less")
    return replace(one, against="it is not as deep")


def _overlap(reference: Reference, image: Image, wcs: WorldCoordinates) -> float:
    """Share of the image's pixels that lie in the reference."""
    x, y = np.meshgrid(
        (np.arange(GRID) + 0.5) / GRID * image.nx - 0.5,
        (np.arange(GRID) + 0.5) / GRID * image.ny - 0.5,
    )
    ra, dec = wcs.projection.pixel_to_sky(x.ravel(), y.ravel())
    corners = np.asarray(reference.corners, np.float64)
    return float(inside_any_polygon(ra, dec, corners[:, 0], corners[:, 1]).mean())
