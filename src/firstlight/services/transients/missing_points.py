"""Which images that cover an Object have no point of forced photometry, and why."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session, aliased, defer

from firstlight.algorithms.sky.sky_index import angular_separation
from firstlight.models.astrometry import WorldCoordinates
from firstlight.models.database import Database
from firstlight.models.exposure import Exposure
from firstlight.models.forced_run import FollowedObject, ForcedRun
from firstlight.models.image import Image
from firstlight.models.object import Object
from firstlight.models.photometry import FORCED, Photometry
from firstlight.models.sky_search import in_ranges
from firstlight.models.sources import SourceList
from firstlight.models.step_run import StepRun, StepState
from firstlight.services.references.choice import ReferenceChooser
from firstlight.services.references.settings import ReferenceChoiceSettings
from firstlight.services.transients.forced_photometry import NoSuchObject
from firstlight.services.transients.forced_sections import SectionKey
from firstlight.services.transients.sky_rows import some_of

__all__ = ["MissingPoints", "PointAccount", "Without"]

NOT_FOLLOWED = "the object is not followed: firstlight transient force follows it"
WAITS = "it waits for the next firstlight reduce"
NO_ZERO_POINT = "it has no zero point"
NOTHING_KNOWN = "nothing is known of its pixels there: they are masked, or outside of the reference"
NO_REFERENCE = "there is nothing to compare it with"
_EXAMPLES = 5
_STEPS = ("fit_psf", "subtract", "solve_photometry")


@dataclass(frozen=True)
class Without:
    """Images without a point for one reason; the names of the earliest ones and their ids."""

    reason: str
    images: int
    examples: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class PointAccount:
    """Forced photometry of one Object, image by image.

    Attributes
    ----------
    images
        Solved images that cover it.
    points
        Those of them with a point.
    missing
        The others by reason, the commonest first.
    """

    images: int
    points: int
    missing: tuple[Without, ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        missing = [
            asdict(each) | {"examples": [name for name, _ in each.examples]}
            for each in self.missing
        ]
        return {"images": self.images, "points": self.points, "missing": missing}


@dataclass(frozen=True)
class _Covering:
    """One solved image of the place."""

    image: Image
    wcs: WorldCoordinates
    exposure: str

    @property
    def key(self) -> SectionKey:
        assert self.image.exposure_id is not None  # noqa: S101, it was joined with its exposure
        return self.image.exposure_id, self.image.section_id


class MissingPoints:
    """Tells which images have no point of an Object, and why.

    Parameters
    ----------
    database
        The tables.
    choice
        How references are chosen.
    """

    def __init__(self, *, database: Database, choice: ReferenceChoiceSettings) -> None:
        self._database = database
        self._choice = choice

    def of(self, name: str, sites: Collection[str] | None = None) -> PointAccount:
        """The account of one Object; images whose place is not known are not in it.

        Parameters
        ----------
        sites
            Only images of these are told of; None for all.

        Raises
        ------
        NoSuchObject
            There is none of this name.
        """
        with self._database.reading() as session:
            thing = session.execute(
                select(Object.id, Object.ra, Object.dec).where(Object.name == name)
            ).first()
            if thing is None:
                raise NoSuchObject(subject=name, hint="firstlight object list")
            followed = session.get(FollowedObject, thing.id)
            place = followed or thing
            covering = _covering(session, place.ra or 0.0, place.dec or 0.0, sites)
            measured = _measured(session, thing.id)
            without = [each for each in covering if each.image.id not in measured]
            if followed is None:
                reasons = [NOT_FOLLOWED] * len(without)
            else:
                reasons = self._reasons(session, without)
        missing = _counted(without, reasons)
        return PointAccount(len(covering), len(covering) - len(without), missing)

    def _reasons(self, session: Session, without: Sequence[_Covering]) -> list[str]:
        runs, measured = _runs(session, without), _differences_measured(session, without)
        chooser: ReferenceChooser | None = None
        reasons = []
        for each in without:
            told = _why(runs.get(each.key, {}), measured.get(each.key))
            if told is None:
                chooser = chooser or self._chooser(session, without)
                found = chooser.choose(each.image, each.wcs)
                there = found.reference is not None
                told = WAITS if there else f"{NO_REFERENCE}: {found.in_short}"
            reasons.append(told)
        return reasons

    def _chooser(self, session: Session, images: Sequence[_Covering]) -> ReferenceChooser:
        """One that knows the references that may overlap any of these images of one place."""
        wcs = images[0].wcs
        # Each covers the place, so none is farther from another than both reach.
        reach = 3.0 * max(each.wcs.radius for each in images)
        around = WorldCoordinates(ra=wcs.ra, dec=wcs.dec, radius=reach)
        return ReferenceChooser.of(session, self._choice, also_retired=True, near=around)


def _covering(
    session: Session, ra: float, dec: float, sites: Collection[str] | None
) -> list[_Covering]:
    """Solved images that have a pixel at a place, in order of time."""
    largest = session.scalar(select(func.max(WorldCoordinates.radius))) or 0.0
    solved = aliased(StepRun)
    query = (
        select(Image, WorldCoordinates, Exposure.label)
        .options(defer(Image.header), defer(Image.calibration))
        .join(SourceList, SourceList.image_id == Image.id)
        .join(WorldCoordinates, WorldCoordinates.sources_id == SourceList.id)
        .join(Exposure, Exposure.id == Image.exposure_id)
        .join(
            solved,
            and_(
                solved.exposure_id == Image.exposure_id,
                solved.section_id == Image.section_id,
                solved.step == "solve_astrometry",
                solved.state == StepState.DONE.value,
                solved.product_id == WorldCoordinates.id,
            ),
        )
        .where(in_ranges(WorldCoordinates, ra, dec, largest))
        .order_by(Image.mjd, Image.id)
    )
    if sites is not None:
        query = query.where(Exposure.site.in_(sites))
    found = []
    for image, wcs, label in session.execute(query):
        if angular_separation(wcs.ra or 0.0, wcs.dec or 0.0, ra, dec) > wcs.radius:
            continue
        x, y = (float(each) for each in wcs.projection.sky_to_pixel(ra, dec))
        if -0.5 < x < image.nx - 0.5 and -0.5 < y < image.ny - 0.5:
            found.append(_Covering(image, wcs, label))
    return found


def _measured(session: Session, ident: uuid.UUID) -> set[uuid.UUID | None]:
    """Images with a point of an Object."""
    query = select(Photometry.image_id).where(
        Photometry.object_id == ident, Photometry.origin == FORCED
    )
    return set(session.scalars(query))


def _runs(session: Session, images: Sequence[_Covering]) -> dict[SectionKey, dict[str, StepRun]]:
    """What became of the steps that a point needs, by section."""
    runs: dict[SectionKey, dict[str, StepRun]] = {}
    for some in some_of(sorted({each.key[0] for each in images})):
        query = select(StepRun).where(StepRun.exposure_id.in_(some), StepRun.step.in_(_STEPS))
        for run in session.scalars(query):
            runs.setdefault((run.exposure_id, run.section_id), {})[run.step] = run
    return runs


def _differences_measured(
    session: Session, images: Sequence[_Covering]
) -> dict[SectionKey, uuid.UUID]:
    """The difference that each section was measured in, of those that were."""
    found: dict[SectionKey, uuid.UUID] = {}
    for some in some_of(sorted({each.key[0] for each in images})):
        for run in session.scalars(select(ForcedRun).where(ForcedRun.exposure_id.in_(some))):
            found[run.exposure_id, run.section_id] = run.difference_id
    return found


def _why(runs: Mapping[str, StepRun], measured: uuid.UUID | None) -> str | None:
    """What its steps say; None where there was nothing to compare the image with."""
    for step in ("fit_psf", "subtract"):
        run = runs.get(step)
        if run is not None and run.state not in {StepState.DONE, StepState.SKIPPED}:
            return f"{step} failed: {(run.error or {}).get('message') or run.state}"
    difference, zero = runs.get("subtract"), runs.get("solve_photometry")
    if difference is None or difference.state != StepState.DONE:
        return None
    if zero is None or zero.state != StepState.DONE:
        return NO_ZERO_POINT
    return NOTHING_KNOWN if measured == difference.product_id else WAITS


def _counted(without: Sequence[_Covering], reasons: Sequence[str]) -> tuple[Without, ...]:
    there: dict[str, list[_Covering]] = {}
    for each, reason in zip(without, reasons, strict=True):
        there.setdefault(reason, []).append(each)
    told = [
        Without(
            reason,
            len(images),
            tuple((each.exposure, str(each.key[0])) for each in images[:_EXAMPLES]),
        )
        for reason, images in there.items()
    ]
    return tuple(sorted(told, key=lambda each: (-each.images, each.reason)))
