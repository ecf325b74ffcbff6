"""The references there are: listed, taken out of use and back, and which one an image gets."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from firstlight.errors import ConflictError, MissingError
from firstlight.models.astrometry import WorldCoordinates
from firstlight.models.database import Database
from firstlight.models.exposure import Exposure
from firstlight.models.image import Image, ImageInput
from firstlight.models.reference import Reference
from firstlight.models.step_run import StepRun, StepState
from firstlight.services.exposure_names import file_named
from firstlight.services.references.choice import Considered, ReferenceChooser, title_of
from firstlight.services.references.settings import ReferenceChoiceSettings

__all__ = ["AmbiguousName", "NoSuchReference", "ReferenceEntry", "ReferenceShelf", "SectionChoice"]

SHORT = 12  # characters of an id that tell references apart
FEWEST = 4  # that somebody must type


class NoSuchReference(MissingError):
    """There is no reference of this id, or no exposure of this name."""

    code = "reference.missing"


class AmbiguousName(ConflictError):
    """More than one has an id or a name like this."""

    code = "reference.ambiguous"


@dataclass(frozen=True)
class ReferenceEntry:
    """One reference, as people see it; `seeing` in arcseconds, `depth` five sigma."""

    id: str
    field: str
    instrument: str
    section: str
    filter: str | None
    version: int
    images: int
    mjd_start: float
    mjd_end: float
    seeing: float | None
    depth: float | None
    method: str
    usable: bool
    ra: float | None
    dec: float | None
    measures: dict[str, Any]

    @classmethod
    def of(cls, row: Reference) -> ReferenceEntry:
        """From its row."""
        same = (
            "field", "instrument", "filter", "version", "mjd_start", "mjd_end", "seeing",
            "method", "usable", "ra", "dec", "measures",
        )  # fmt: skip
        return cls(
            id=str(row.id),
            section=row.section_id,
            images=row.n_images,
            depth=row.limiting_magnitude,
            **{name: getattr(row, name) for name in same},
        )

    @property
    def short_id(self) -> str:
        """Enough of the id to name it."""
        return self.id.replace("-", "")[:SHORT]

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {"short_id": self.short_id, **asdict(self)}


@dataclass(frozen=True)
class SectionChoice:
    """Which reference one section of an exposure is compared with.

    Attributes
    ----------
    reference
        None where there is none, for the `reason`.
    considered
        Each reference of the camera and filter, with its overlap, and what speaks against it.
    is_later
        Whether all images of the reference are later than the exposure.
    """

    section: str
    reference: ReferenceEntry | None
    reason: str
    considered: tuple[tuple[ReferenceEntry, float | None, str], ...] = ()
    is_later: bool = False

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "section": self.section,
            "reference": self.reference and self.reference.as_dict(),
            "reason": self.reason,
            "is_later": self.is_later,
            "considered": [
                {"reference": entry.as_dict(), "overlap": overlap, "against": why or None}
                for entry, overlap, why in self.considered
            ],
        }


class ReferenceShelf:
    """Looks at references, and takes them out of use.

    Parameters
    ----------
    database
        The tables.
    settings
        How references are chosen.
    """

    def __init__(self, *, database: Database, settings: ReferenceChoiceSettings) -> None:
        self._database = database
        self._settings = settings

    def entries(self, ids: Sequence[uuid.UUID] | None = None) -> list[ReferenceEntry]:
        """All, or these, by field, camera, section and filter, the newest version first."""
        query = select(Reference).order_by(
            Reference.field, Reference.instrument, Reference.section_id, Reference.filter,
            Reference.version.desc(),
        )  # fmt: skip
        if ids is not None:
            query = query.where(Reference.id.in_(ids))
        with self._database.reading() as session:
            return [ReferenceEntry.of(row) for row in session.scalars(query)]

    def set_usable(self, name: str, usable: bool) -> ReferenceEntry:
        """Take one out of use, or back; what was compared with it is found anew by `reduce`.

        Parameters
        ----------
        name
            Its id, or the beginning of it.

        Raises
        ------
        NoSuchReference, AmbiguousName
            None, or more than one, has this id.
        """
        with self._database.begin() as session:
            row = _named(session, name)
            row.usable = usable
            session.flush()
            return ReferenceEntry.of(row)

    def compared_with(self, exposure_id: uuid.UUID, section: str) -> str | None:
        """What a section of an exposure is compared with, in words, or why with nothing.

        None where there is no reference at all, or the place of the section is not known.
        """
        with self._database.reading() as session:
            image = _current(session, exposure_id, section, "preprocess", Image)
            wcs = _current(session, exposure_id, section, "solve_astrometry", WorldCoordinates)
            if not isinstance(image, Image) or not isinstance(wcs, WorldCoordinates):
                return None
            used = _used(session, exposure_id, section)
            if used is not None:
                return title_of(used, image)
            chooser = ReferenceChooser.of(session, self._settings, also_retired=True, near=wcs)
            if not chooser:
                return None
            found = chooser.choose(image, wcs)
        if found.reference is None:
            return f"nothing: {found.reason}"
        return f"{found.reason}, at the next firstlight reduce"

    def choose(self, exposure: str, section: str | None = None) -> list[SectionChoice]:
        """Which reference each section of an exposure would be compared with, and why.

        Parameters
        ----------
        exposure
            End of its file's name, or its id.
        section
            One of them; None for all.

        Raises
        ------
        NoSuchReference, AmbiguousName
            No exposure, or more than one, has this name; or it has no such section.
        """
        with self._database.reading() as session:
            row = _exposure(session, exposure)
            there = [str(each) for each in row.instrument_object.get_section_ids()]
            if section is not None and section not in there:
                raise NoSuchReference(
                    "the camera has no such section",
                    subject=row.name,
                    found=section,
                    expected=f"one of {', '.join(there)}",
                )
            chooser = ReferenceChooser.of(session, self._settings, also_retired=True)
            wanted = there if section is None else [section]
            return [_choice(session, chooser, row, each) for each in wanted]


def _choice(
    session: Session, chooser: ReferenceChooser, exposure: Exposure, section_id: str
) -> SectionChoice:
    image = _current(session, exposure.id, section_id, "preprocess", Image)
    wcs = _current(session, exposure.id, section_id, "solve_astrometry", WorldCoordinates)
    if not isinstance(image, Image) or not isinstance(wcs, WorldCoordinates):
        return SectionChoice(section_id, None, "it is not reduced, or was not solved")
    found = chooser.choose(image, wcs, explain=True)
    chosen = None if found.reference is None else ReferenceEntry.of(found.reference)
    considered = tuple(map(_told, found.considered))
    return SectionChoice(section_id, chosen, found.reason, considered, found.is_later)


def _told(one: Considered) -> tuple[ReferenceEntry, float | None, str]:
    return ReferenceEntry.of(one.reference), one.overlap, one.against


def _used(session: Session, exposure_id: uuid.UUID, section_id: str) -> Reference | None:
    """The reference that the present difference of a section was made with."""
    query = (
        select(Reference)
        .join(ImageInput, ImageInput.input_image_id == Reference.image_id)
        .join(StepRun, StepRun.product_id == ImageInput.image_id)
        .where(
            ImageInput.role == "reference",
            StepRun.exposure_id == exposure_id,
            StepRun.section_id == section_id,
            StepRun.step == "subtract",
            StepRun.state == StepState.DONE.value,
        )
    )
    return session.scalars(query).first()


def _current(
    session: Session, exposure_id: uuid.UUID, section_id: str, step: str, model: type[Any]
) -> object:
    run = session.get(StepRun, (exposure_id, section_id, step))
    if run is None or run.state != StepState.DONE.value:
        return None
    return session.get(model, run.product_id)


def _named(session: Session, name: str) -> Reference:
    wanted = name.replace("-", "").lower()
    rows = session.scalars(select(Reference).order_by(Reference.id)).all()
    found = [row for row in rows if row.id.hex.startswith(wanted)] if len(wanted) >= FEWEST else []
    if not found:
        raise NoSuchReference(subject=name, hint="firstlight reference list shows their ids")
    if len(found) > 1:
        raise AmbiguousName(subject=name, found=", ".join(row.id.hex[:SHORT] for row in found))
    return found[0]


def _exposure(session: Session, name: str) -> Exposure:
    query = select(Exposure).where(file_named(name)).order_by(Exposure.id)
    rows = session.scalars(query.limit(5)).all()
    if not rows:
        raise NoSuchReference(
            "there is no exposure of this name",
            subject=name,
            hint="firstlight status lists the exposures",
        )
    if len(rows) > 1:
        raise AmbiguousName(subject=name, found=", ".join(str(row.filename) for row in rows))
    return rows[0]
