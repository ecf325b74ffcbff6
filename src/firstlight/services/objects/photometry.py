"""Photometry that people and programs send: add, repeat, correct, take back."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.orm import Session

from firstlight.errors import ConflictError, InvalidInput, MissingError
from firstlight.models.audience import audience_of, widened
from firstlight.models.database import Database, bulk_insert
from firstlight.models.instrument_record import InstrumentRecord
from firstlight.models.object import Object
from firstlight.models.photometry import Photometry
from firstlight.provenance.fingerprint import product_id
from firstlight.services.access import Forbidden, Viewer
from firstlight.services.objects.bandpasses import Bandpasses
from firstlight.services.objects.instruments_of_ours import OurInstruments
from firstlight.services.objects.object_summary import summarise
from firstlight.services.objects.photometry_change import changed_point
from firstlight.services.objects.photometry_columns import BadColumns
from firstlight.services.objects.photometry_settings import PhotometrySettings
from firstlight.services.objects.photometry_table import (
    PhotometryTable,
    photometry_columns,
    read_table,
)
from firstlight.services.objects.photometry_targets import (
    Targets,
    find_targets,
    named_groups,
    own_group,
)
from firstlight.services.objects.sharing import tell
from firstlight.services.objects.visible_objects import visible_object
from firstlight.services.visibility import seen_by

__all__ = [
    "PhotometryExists",
    "PhotometryMadeHere",
    "PhotometryMissing",
    "PhotometryService",
    "UploadMissing",
]

_BATCH = 5_000
_LARGEST = 2**63 - 1
_MEASURED = (
    "flux_ujy", "flux_err_ujy", "mag", "mag_err", "mag_system", "limiting_mag", "limit_sigma",
    "reference_flux_ujy", "reference_flux_err_ujy",
)  # fmt: skip


class PhotometryExists(ConflictError):
    """Some of this photometry is there already."""

    code = "photometry.exists"


class PhotometryMissing(MissingError):
    """There is no such point, or none that you may see."""

    code = "photometry.missing"


class UploadMissing(MissingError):
    """There is no such upload, or none of its points that you may take back."""

    code = "photometry.upload_missing"


class PhotometryMadeHere(ConflictError):
    """The point was measured here, from an image that is kept; it is not changed by hand."""

    code = "photometry.made_here"


class PhotometryService:
    """Writes photometry.

    Points of light-curve sets and image analyses are read by all routes, and changed by none:
    they are what their image and provenance say.

    Parameters
    ----------
    database
        The tables.
    settings
        Filters of one's own, and how many rows a request may have.
    """

    def __init__(self, *, database: Database, settings: PhotometrySettings) -> None:
        self._database = database
        self._settings = settings
        self.bandpasses = Bandpasses(settings.filters)
        self._ours = OurInstruments(database=database)

    def instrument_number(self, name: str) -> int:
        """The number of an instrument by its name, or by its number as text.

        Raises
        ------
        InvalidInput
            There is none.
        """
        self._ours.ensure()  # nobody may have listed instruments here before
        with self._database.reading() as session:
            query = select(InstrumentRecord.id)
            found = session.scalar(query.where(InstrumentRecord.name == name))
            if found is None and name.isascii() and name.isdigit() and len(name) < 10:
                found = session.scalar(query.where(InstrumentRecord.id == int(name)))
            if found is None:
                known = session.scalars(
                    select(InstrumentRecord.name).order_by(InstrumentRecord.name).limit(20)
                )
                raise InvalidInput(
                    field="instrument", found=repr(name[:100]), expected=", ".join(known) or None
                )
            return found

    def post(self, viewer: Viewer, sent: Mapping[str, Any]) -> dict[str, Any]:
        """Add photometry: all rows, or none.

        Parameters
        ----------
        sent
            Columns of SkyPortal's ``POST /api/photometry``; single values stand for all rows.

        Returns
        -------
        dict
            ``ids`` in the order of the rows, and ``upload_id``, by which all can be taken back.

        Raises
        ------
        BadColumns, BadValue, FilterUnknown, SystemUnknown, TooManyRows
            With the row and the column.
        PhotometryExists
            A row is there already, or twice in the request.
        """
        viewer.require("upload")
        with self._database.begin() as session:
            request = _Request(session, viewer, sent, self.bandpasses, self._settings.max_rows)
            first: dict[uuid.UUID, int] = {}
            for index, key in enumerate(request.keys):
                if first.setdefault(key, index) != index:
                    raise PhotometryExists(
                        "two rows are the same point",
                        subject=f"row {index}",
                        found=f"the same as row {first[key]}",
                    )
            added = request.insert(request.keys)
            if len(added) < len(request.keys):
                index = next(n for n, key in enumerate(request.keys) if key not in added)
                raise PhotometryExists(
                    subject=f"row {index}",
                    found=f"{len(request.keys) - len(added)} rows that are there already",
                    expected="points that are not there yet",
                    hint="PUT keeps what is there and adds the rest",
                )
            request.announce(request.table.objects)
            return {
                "ids": [added[key] for key in request.keys],
                "upload_id": str(request.upload_id),
            }

    def put(
        self,
        viewer: Viewer,
        sent: Mapping[str, Any],
        *,
        ignore_flux: bool = False,
        overwrite_flux: bool = False,
    ) -> dict[str, Any]:
        """Add the photometry that is not there yet, and share what is with the groups named.

        Parameters
        ----------
        ignore_flux
            A point of the same object, instrument, origin, time and filter is the same point,
            whatever its flux. Needs `manage_photometry`.
        overwrite_flux
            And takes the flux that is sent.

        Returns
        -------
        dict
            As of `post`; ``ids`` of rows that were there are theirs.
        """
        viewer.require("upload")
        if overwrite_flux and not ignore_flux:
            raise BadColumns(
                "fluxes are overwritten only where they are ignored",
                field="overwrite_flux",
                expected="duplicate_ignore_flux=true",
            )
        if ignore_flux:
            viewer.require("manage_photometry")
        with self._database.begin() as session:
            request = _Request(session, viewer, sent, self.bandpasses, self._settings.max_rows)
            if ignore_flux:
                request.meet_existing()
            there = request.existing(request.keys)
            added = request.insert([key for key in dict.fromkeys(request.keys) if key not in there])
            if overwrite_flux:
                request.overwrite({key: there[key] for key in request.keys if key in there})
            # Another request may have added one of them in between.
            ids = there | added
            ids |= request.existing([key for key in request.keys if key not in ids])
            request.share({number for key, number in ids.items() if key not in added})
            request.announce(
                name
                for name, key in zip(request.table.objects, request.keys, strict=True)
                if key in added or overwrite_flux
            )
            return {
                "ids": [ids[key] for key in request.keys],
                "upload_id": str(request.upload_id),
            }

    def change(self, viewer: Viewer, photometry_id: int, sent: Mapping[str, Any]) -> None:
        """Correct a point; what is not named stays.

        Raises
        ------
        PhotometryMissing, Forbidden, PhotometryMadeHere
            It is not there, not the viewer's, or not sent by anybody.
        BadColumns, BadValue
            The point would not be one.
        """
        viewer.require("upload")
        with self._database.begin() as session:
            row, name = _own(session, viewer, photometry_id)
            before = row.object_id
            given = changed_point(row, name, sent, self.bandpasses)
            columns = photometry_columns(given.columns, 1)
            targets = find_targets(session, viewer, columns)
            table = read_table(columns, self.bandpasses, targets.instruments)
            values = table.rows()[0]
            del values["original"]
            if not given.measured:
                values = {key: each for key, each in values.items() if key not in _MEASURED}
            (key,) = _apart_from_unseen(session, viewer, table.keys(targets.ids))
            taken = select(Photometry.id).where(Photometry.key == key, Photometry.id != row.id)
            if session.scalar(taken) is not None:
                raise PhotometryExists("there is such a point already", subject=photometry_id)
            if "group_ids" in sent:
                groups = named_groups(session, viewer, sent["group_ids"])
                groups |= own_group(session, row.owner_id)
                row.audience_id = audience_of(session, groups=groups)
            (thing,) = targets.objects.values()
            row.key, row.object_id = key, thing.id
            for column, value in values.items():
                setattr(row, column, value)
            session.flush()
            summarise(session, {before, thing.id})
            tell(session, thing.name, "photometry", row.audience_id, {"change": "changed"})

    def remove(self, viewer: Viewer, photometry_id: int) -> None:
        """Remove a point.

        Raises
        ------
        PhotometryMissing, Forbidden, PhotometryMadeHere
            See `change`.
        """
        viewer.require("upload")
        with self._database.begin() as session:
            row, _ = _own(session, viewer, photometry_id)
            _remove(session, Photometry.id == row.id)

    def remove_upload(self, viewer: Viewer, upload_id: str) -> int:
        """Take back an upload; returns how many points there were.

        Raises
        ------
        UploadMissing
            There is none whose points are the viewer's; with `manage_photometry`, that they see.
        """
        viewer.require("upload")
        with self._database.begin() as session:
            try:
                upload = uuid.UUID(upload_id)
            except ValueError as fault:
                raise UploadMissing(subject=upload_id[:100]) from fault
            count = _remove(session, (Photometry.upload_id == upload) & _theirs(viewer))
            if not count:
                raise UploadMissing(subject=upload_id)
            return count

    def remove_of_object(self, viewer: Viewer, name: str) -> int:
        """Remove the points of an object that were sent; returns how many.

        The viewer's own; with `manage_photometry`, all that they see. What was measured here
        stays.

        Raises
        ------
        ObjectMissing
            There is no such object.
        PhotometryMissing
            It has no points that the viewer may remove.
        """
        viewer.require("upload")
        with self._database.begin() as session:
            thing = visible_object(session, viewer, name)
            which = (Photometry.object_id == thing.id) & _theirs(viewer) & _sent()
            count = _remove(session, which)
            if not count:
                raise PhotometryMissing("there are no points that you may remove", subject=name)
            return count


class _Request:
    """One upload within its transaction."""

    def __init__(
        self,
        session: Session,
        viewer: Viewer,
        sent: Mapping[str, Any],
        bandpasses: Bandpasses,
        most: int,
    ) -> None:
        columns = photometry_columns(sent, most)
        self._session = session
        self._viewer = viewer
        self._targets: Targets = find_targets(session, viewer, columns)
        self.table: PhotometryTable = read_table(columns, bandpasses, self._targets.instruments)
        self._groups = named_groups(session, viewer, sent.get("group_ids"))
        self._groups |= own_group(session, viewer.user_id)
        self._audiences = self._targets.audiences(session, self._groups)
        self.upload_id = uuid.uuid4()
        self.keys = _apart_from_unseen(session, viewer, self.table.keys(self._targets.ids))

    def insert(self, keys: Collection[uuid.UUID]) -> dict[uuid.UUID, int]:
        """Add the rows of these keys; returns the numbers of those that were not there."""
        ids = self._targets.ids
        wanted = dict.fromkeys(keys)
        common = {"upload_id": self.upload_id, "owner_id": self._viewer.user_id}
        rows = []
        for key, name, row in zip(self.keys, self.table.objects, self.table.rows(), strict=True):
            if key in wanted:
                del wanted[key]  # once, where it is twice in the request
                audience = self._audiences[name]
                rows.append(
                    {**row, **common, "key": key, "object_id": ids[name], "audience_id": audience}
                )
        self._session.flush()
        bulk_insert(self._session, Photometry, rows)
        found = self._session.execute(
            select(Photometry.key, Photometry.id).where(Photometry.upload_id == self.upload_id)
        )
        return {row.key: row.id for row in found}

    def existing(self, keys: Collection[uuid.UUID]) -> dict[uuid.UUID, int]:
        """The numbers of points that are there, by key."""
        wanted = list(dict.fromkeys(keys))
        found: dict[uuid.UUID, int] = {}
        for start in range(0, len(wanted), _BATCH):
            some = wanted[start : start + _BATCH]
            rows = self._session.execute(
                select(Photometry.key, Photometry.id).where(Photometry.key.in_(some))
            )
            found |= {row.key: row.id for row in rows}
        return found

    def meet_existing(self) -> None:
        """Give rows the keys of points that differ from them in nothing but their flux."""
        ids = self._targets.ids
        mjd = self.table.mjd
        rows = self._session.execute(
            select(
                Photometry.object_id,
                Photometry.instrument_id,
                Photometry.origin,
                Photometry.filter,
                Photometry.mjd,
                Photometry.key,
            )
            .where(
                Photometry.object_id.in_(list(ids.values())),
                Photometry.mjd.between(mjd.min() - 1e-9, mjd.max() + 1e-9),
                _sent(),
                seen_by(self._viewer, Photometry.audience_id),
            )
            .order_by(Photometry.id.desc())
        )
        known = {(*facts, f"{time:.10f}"): key for *facts, time, key in rows}
        table = self.table
        sent = zip(
            table.objects, table.instruments, table.origins, table.filters, mjd.tolist(),
            strict=True,
        )  # fmt: skip
        self.keys = [
            known.get((ids[name], instrument, origin, band, f"{time:.10f}"), key)
            for (name, instrument, origin, band, time), key in zip(sent, self.keys, strict=True)
        ]

    def overwrite(self, numbers: Mapping[uuid.UUID, int]) -> None:
        """Give points that are there the fluxes that were sent, and the keys that these make."""
        news = _apart_from_unseen(self._session, self._viewer, self.table.keys(self._targets.ids))
        taken = self.existing(news)
        for key, new, row in zip(self.keys, news, self.table.rows(), strict=True):
            if key in numbers and key != new and new not in taken:
                values = {column: row[column] for column in (*_MEASURED, "original")}
                which = update(Photometry).where(Photometry.id == numbers[key])
                self._session.execute(which.values(key=new, **values))
                taken[new] = numbers[key]

    def share(self, numbers: Collection[int]) -> None:
        """Let the groups of the request see points that are there."""
        if not self._groups:
            return
        wanted = sorted(numbers)
        for start in range(0, len(wanted), _BATCH):
            some = wanted[start : start + _BATCH]
            found = self._session.execute(
                select(Photometry.audience_id).where(Photometry.id.in_(some)).distinct()
            )
            for (audience,) in found.all():
                wider = widened(self._session, audience, groups=self._groups)
                if wider != audience:
                    self._session.execute(
                        update(Photometry)
                        .where(Photometry.id.in_(some), Photometry.audience_id == audience)
                        .values(audience_id=wider)
                    )

    def announce(self, names: Iterable[str]) -> None:
        """Summarise the objects, and tell of new points: the last thing before the commit."""
        counts = Counter(names)
        summarise(self._session, self._targets.ids.values())
        for name in sorted(counts):
            facts = {"change": "added", "points": counts[name]}
            tell(self._session, name, "photometry", self._audiences[name], facts)


def _apart_from_unseen(session: Session, viewer: Viewer, keys: list[uuid.UUID]) -> list[uuid.UUID]:
    """Keys that tell a sender nothing of points that they may not see.

    Where such a point is there already, the sender's is a point of its own.
    """
    if viewer.sees_all:
        return keys
    unseen: set[uuid.UUID] = set()
    wanted = list(dict.fromkeys(keys))
    for start in range(0, len(wanted), _BATCH):
        some = wanted[start : start + _BATCH]
        unseen |= set(
            session.scalars(
                select(Photometry.key).where(
                    Photometry.key.in_(some), ~seen_by(viewer, Photometry.audience_id)
                )
            )
        )
    return [
        product_id("photometry", [key.hex, viewer.user_id]) if key in unseen else key
        for key in keys
    ]


def _own(session: Session, viewer: Viewer, number: int) -> tuple[Photometry, str]:
    """A point that the viewer may change, and the name of its object."""
    found = None
    if 0 < number <= _LARGEST:
        found = session.execute(
            select(Photometry, Object.name)
            .join(Object, Object.id == Photometry.object_id)
            .where(Photometry.id == number, seen_by(viewer, Photometry.audience_id))
        ).first()
    if found is None:
        raise PhotometryMissing(subject=number)
    row, name = found
    mine = row.owner_id is not None and row.owner_id == viewer.user_id
    if not (mine or viewer.may("manage_photometry")):
        raise Forbidden("the point is somebody else's", subject=number)
    if row.set_id is not None or row.image_analysis_id is not None:
        hint = "discard the image analysis" if row.image_analysis_id is not None else None
        raise PhotometryMadeHere(subject=number, hint=hint)
    return row, name


def _theirs(viewer: Viewer) -> ColumnElement[bool]:
    """Points that the viewer sees and may change."""
    seen = seen_by(viewer, Photometry.audience_id)
    if viewer.may("manage_photometry"):
        return seen
    return seen & (Photometry.owner_id == viewer.user_id)


def _sent() -> ColumnElement[bool]:
    """Points that were not measured here."""
    return Photometry.set_id.is_(None) & Photometry.image_analysis_id.is_(None)


def _remove(session: Session, which: ColumnElement[bool]) -> int:
    """Remove points, and tell those who saw them; returns how many. Does not commit."""
    rows = session.execute(
        select(Photometry.object_id, Object.name, Photometry.audience_id, Photometry.id)
        .join(Object, Object.id == Photometry.object_id)
        .where(which)
    ).all()
    counts = Counter((row.name, row.audience_id) for row in rows)
    numbers = [row.id for row in rows]
    for start in range(0, len(numbers), _BATCH):
        some = numbers[start : start + _BATCH]
        session.execute(delete(Photometry).where(Photometry.id.in_(some)))
    summarise(session, {row.object_id for row in rows})
    for (name, audience), count in sorted(counts.items()):
        tell(session, name, "photometry", audience, {"change": "removed", "points": count})
    return len(rows)
