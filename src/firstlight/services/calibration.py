"""Master calibrations: made of raw frames, and chosen for each section with a reason."""

from __future__ import annotations

import hashlib
import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from firstlight.errors import InvalidInput
from firstlight.formats.fits_file import read_image
from firstlight.instruments import get_instrument_instance
from firstlight.models.database import Database
from firstlight.models.exposure import Exposure
from firstlight.models.image import Image, ImageInput
from firstlight.models.night import night_of
from firstlight.models.provenance import Provenance, Software
from firstlight.pipeline.make_master import (
    KIND_OF_ROLE,
    TAKEN_ROLES,
    make_master,
    master_lineage,
    taken_planes,
)
from firstlight.pipeline.step import Calibrations
from firstlight.provenance.fingerprint import fingerprint, product_id
from firstlight.provenance.lineage import Lineage
from firstlight.services.products import ProductFiles, save_rows
from firstlight.services.settings import CalibrationSettings
from firstlight.work.engine import JobRequest

__all__ = ["CalibrationService", "MasterChooser", "MasterFile"]


@dataclass(frozen=True)
class MasterFile:
    """A file that holds a master of a trimmed section.

    Attributes
    ----------
    hdu
        Index or EXTNAME of the image; None for the first.
    mjd
        When it is best; of several the nearest in time is used, however far.
    """

    path: Path
    hdu: int | str | None = None
    mjd: float = 0.0
    binning: str = "1x1"


@dataclass(frozen=True)
class _Demand:
    """What a master must meet to serve an exposure.

    Attributes
    ----------
    is_met
        Whether a master meets it.
    refusal
        What is said where none does, given those that met the demands before it.
    """

    is_met: Callable[[Image], bool]
    refusal: Callable[[Sequence[Image]], str]


@dataclass(frozen=True)
class _Choice:
    """The masters for one section: ids by role, and why."""

    images: dict[str, Image] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def master_ids(self) -> dict[str, uuid.UUID]:
        return {role: image.id for role, image in self.images.items()}


@dataclass(frozen=True)
class _Group:
    """Raw frames that make one master."""

    role: str
    section_id: str
    exposures: tuple[Exposure, ...]


class MasterChooser:
    """Chooses masters for sections out of all there are.

    Parameters
    ----------
    masters
        All master images.
    settings
        How old and how different a master may be.
    """

    def __init__(self, masters: Iterable[Image], settings: CalibrationSettings) -> None:
        self._settings = settings
        self._masters: dict[tuple[str, str, str, str], list[Image]] = defaultdict(list)
        for image in masters:
            key = (image.kind, image.instrument, image.section_id, image.binning)
            self._masters[key].append(image)

    def choose(
        self, exposure: Exposure, section_id: str, roles: Iterable[str] = tuple(KIND_OF_ROLE)
    ) -> _Choice:
        """Nearest in time of those that fit, for each role."""
        choice = _Choice()
        for role in roles:
            if role == "static_level" and "dark" in choice.images:
                choice.reasons[role] = "there is a master dark"
                continue
            image, reason = self._nearest(role, exposure, section_id)
            choice.reasons[role] = reason
            if image is not None:
                choice.images[role] = image
        return choice

    def calibrations(self, exposure: Exposure, section_id: str) -> Calibrations:
        """What `choose` chose, for the recipe."""
        choice = self.choose(exposure, section_id)
        return Calibrations(dict(choice.images), dict(choice.reasons))

    def _demands(self, role: str, exposure: Exposure, section_id: str) -> Iterator[_Demand]:
        """What a master of a role must meet to serve, in the order in which it is asked."""
        kind = role.replace("_", " ")
        if role in ("flat", "illumination", "fringe"):
            name = exposure.filter if role == "flat" else _filter(exposure, section_id)
            yield _Demand(
                lambda image: image.filter == name,
                lambda _: f"no master {kind} in filter {name}",
            )
        if role != "static_level" and role not in TAKEN_ROLES:
            warm = self._settings.temperature_tolerance
            yield _Demand(
                lambda image: _apart(image.temperature, exposure.temperature) <= warm,
                lambda _: f"no master {kind} within {warm:g} K of {exposure.temperature:g} °C",
            )
        yield _Demand(
            lambda image: "usable" not in image.calibration,
            lambda unusable: str(unusable[0].calibration["usable"]["why"]),
        )

    def _nearest(self, role: str, exposure: Exposure, section_id: str) -> tuple[Image | None, str]:
        key = (KIND_OF_ROLE[role], exposure.instrument, section_id, exposure.binning)
        there = self._masters.get(key, [])
        kind = role.replace("_", " ")
        if not there:
            return None, f"no master {kind} for this section and binning"
        for demand in self._demands(role, exposure, section_id):
            before, there = there, [image for image in there if demand.is_met(image)]
            if not there:
                return None, demand.refusal(before)
        when = exposure.mjd or 0.0
        best = min(there, key=lambda image: (abs(image.mjd - when), str(image.id)))
        if role in TAKEN_ROLES:
            return best, f"taken from {best.calibration['file']['why']}"
        age = abs(best.mjd - when)
        if age > self._settings.max_age_days:
            return None, f"the nearest master {kind} is {age:.0f} days away"
        return best, f"nearest of {len(there)}, {age:.2f} days away"


class CalibrationService:
    """Plans, makes and chooses master calibrations.

    Parameters
    ----------
    database, files
        Rows and files.
    settings
        How masters are chosen and how many frames they need.
    """

    KINDS = ("bias", "dark", "flat", "static_level")

    def __init__(
        self, *, database: Database, files: ProductFiles, settings: CalibrationSettings
    ) -> None:
        self._database = database
        self._files = files
        self._settings = settings

    def chooser(self, session: Session) -> MasterChooser:
        """A chooser over all masters there are now."""
        kinds = list(KIND_OF_ROLE.values())
        masters = session.scalars(select(Image).where(Image.kind.in_(kinds)))
        return MasterChooser(masters, self._settings)

    def plan(
        self,
        kind: str,
        retry_failed: bool = False,
        observations: Collection[uuid.UUID] | None = None,
    ) -> list[JobRequest]:
        """One job for each master of this kind that can be made and is not there.

        Parameters
        ----------
        observations
            Whose static levels are looked at; None for all.
        """
        del retry_failed  # a master that is missing is planned anyhow
        requests = []
        with self._database.reading() as session:
            chooser = self.chooser(session)
            for group in self._groups(session, kind, observations):
                ident = self._master_id(group, chooser)
                if session.get(Image, ident) is not None:
                    continue
                if kind == "static_level" and not self._needs_static_level(group, chooser):
                    continue
                requests.append(
                    JobRequest(
                        job_id=f"master-{fingerprint(str(ident))}",
                        name="make_master",
                        payload={
                            "role": kind,
                            "section": group.section_id,
                            "exposures": [str(exposure.id) for exposure in group.exposures],
                        },
                    )
                )
        return requests

    def make_master(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Make one master of raw frames and save it."""
        ids = [uuid.UUID(text) for text in payload["exposures"]]
        with self._database.reading() as session:
            exposures = [session.get_one(Exposure, ident) for ident in ids]
            group = _Group(payload["role"], payload["section"], tuple(exposures))
            chooser = self.chooser(session)
            ident = self._master_id(group, chooser)
            used = self._used(group, chooser)
        image = make_master(group.role, group.section_id, exposures, used)
        lineage = master_lineage(group.role)
        image.made_by(lineage, {}, "")
        image.id = ident
        image.inputs = [
            ImageInput(image_id=ident, role=group.role, number=n, input_exposure_id=exposure.id)
            for n, exposure in enumerate(exposures)
        ]
        self._files.write_image(image, f"master-{group.role}.{group.section_id}")
        with self._database.begin() as session:
            Software.record(session)
            Provenance.record(session, lineage)
            save_rows(session, [image])
        return {"failures": []}

    def take_master(
        self, role: str, file: MasterFile, instrument: str, section_id: str, filter_: str | None
    ) -> uuid.UUID:
        """Take a master from a file; taking the same one twice changes nothing.

        Parameters
        ----------
        role
            ``illumination``, ``fringe`` or ``bad_pixels``; see `make_master.taken_planes`.
        file
            The file, and for what it is good.
        filter_
            As the camera's exposures name it; None for bad pixels.

        Returns
        -------
        uuid.UUID
            Of the master.

        Raises
        ------
        InvalidInput
            Another role, or a role that needs a filter has none.
        UnknownInstrument, UnknownSection
            There is no such camera or section.
        BadFile
            The file has no such image.
        """
        if role not in TAKEN_ROLES:
            raise InvalidInput(field="role", found=role, expected=", ".join(TAKEN_ROLES))
        if (filter_ is None) != (role == "bad_pixels"):
            expected = "none for bad pixels" if role == "bad_pixels" else "the name of a filter"
            raise InvalidInput(field="filter", found=filter_, expected=expected)
        camera = get_instrument_instance(instrument)
        camera.check_section_id(section_id)
        digest = hashlib.sha256(file.path.read_bytes()).hexdigest()
        lineage = Lineage("take_master", "1", {"role": role}, ())
        facts = [digest, str(file.hdu), instrument, str(filter_), file.binning, str(file.mjd)]
        ident = product_id(lineage.id, facts, section_id)
        with self._database.reading() as session:
            if session.get(Image, ident) is not None:
                return ident
        image = Image(
            kind=KIND_OF_ROLE[role],
            instrument=instrument,
            section_id=section_id,
            filter=filter_,
            binning=file.binning,
            mjd=file.mjd,
            gain=1.0,
            read_noise=0.0,
            calibration={"file": {"done": True, "why": file.path.name, "sha256": digest}},
            header={},
        )
        image.planes = taken_planes(role, read_image(file.path, file.hdu))
        image.made_by(lineage, {}, "")
        image.id = ident
        self._files.write_image(image, f"master-{role}.{section_id}")
        with self._database.begin() as session:
            Software.record(session)
            Provenance.record(session, lineage)
            save_rows(session, [image])
        return ident

    def _groups(
        self, session: Session, kind: str, observations: Collection[uuid.UUID] | None
    ) -> list[_Group]:
        """Raw frames by instrument, section, binning, night (and filter, or observation)."""
        raw_kind = "science" if kind == "static_level" else kind
        together: dict[tuple[object, ...], list[Exposure]] = defaultdict(list)
        query = select(Exposure).where(Exposure.kind == raw_kind, Exposure.filename.is_not(None))
        if kind == "static_level" and observations is not None:
            query = query.where(Exposure.observation_id.in_(observations))
        for exposure in session.scalars(query.order_by(Exposure.mjd, Exposure.id)):
            if exposure.mjd is None:
                continue
            night = night_of(exposure.mjd, exposure.longitude)
            special: tuple[object, ...] = (exposure.filter if kind == "flat" else None,)
            if kind == "static_level":
                special = (exposure.observation_id, exposure.exp_time)
            else:
                special += (self._warmth(exposure),)
            key = (exposure.instrument, exposure.binning, night, special)
            together[key].append(exposure)
        least = (
            self._settings.min_sky_frames if kind == "static_level" else self._settings.min_frames
        )
        return [
            _Group(kind, str(section_id), tuple(_spread(exposures, kind)))
            for exposures in together.values()
            if len(exposures) >= least
            for section_id in exposures[0].data
        ]

    def _warmth(self, exposure: Exposure) -> int | None:
        """Temperatures that one master may serve, numbered."""
        if exposure.temperature is None:
            return None
        return round(exposure.temperature / self._settings.temperature_tolerance)

    def _used(self, group: _Group, chooser: MasterChooser) -> dict[str, Image]:
        """Masters that are taken off the raw frames first."""
        before = {"bias": (), "dark": ("bias",), "flat": ("bias", "dark")}.get(group.role, ())
        middle = group.exposures[len(group.exposures) // 2]
        return chooser.choose(middle, group.section_id, before).images

    def _master_id(self, group: _Group, chooser: MasterChooser) -> uuid.UUID:
        lineage = master_lineage(group.role)
        used = self._used(group, chooser)
        inputs = sorted(str(exposure.id) for exposure in group.exposures)
        if group.role == "static_level":
            # Made once for an observation: exposures that come later do not make it again.
            first = group.exposures[0]
            inputs = [str(first.observation_id), str(first.exp_time)]
        inputs += [f"{role} {image.id}" for role, image in sorted(used.items())]
        return product_id(lineage.id, inputs, group.section_id)

    def _needs_static_level(self, group: _Group, chooser: MasterChooser) -> bool:
        middle = group.exposures[len(group.exposures) // 2]
        dark = chooser.choose(middle, group.section_id, ("dark",)).images
        return self._settings.static_level_from_sky and not dark


def _spread(exposures: Sequence[Exposure], kind: str, most: int = 60) -> Sequence[Exposure]:
    """Few enough to be quick, spread over the night so that the field has drifted."""
    if kind != "static_level" or len(exposures) <= most:
        return exposures
    picked = np.unique(np.linspace(0, len(exposures) - 1, most).round().astype(int))
    return [exposures[i] for i in picked]


def _filter(exposure: Exposure, section_id: str) -> str | None:
    """The filter over a section."""
    if not exposure.filter_array:
        return exposure.filter
    return exposure.filter_array[
        exposure.instrument_object.get_section_filter_array_index(section_id)
    ]


def _apart(one: float | None, other: float | None) -> float:
    """Temperature difference; none where either is not known."""
    return 0.0 if one is None or other is None else abs(one - other)
