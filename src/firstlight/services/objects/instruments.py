"""Instruments to which photometry and spectra belong: their names and facts."""

from __future__ import annotations

import builtins
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from firstlight.errors import ConflictError, InvalidInput, MissingError
from firstlight.instruments.registry import comes_as_file, instrument_names
from firstlight.models.base import utc_now
from firstlight.models.database import Database
from firstlight.models.exposure import Exposure
from firstlight.models.instrument_record import InstrumentRecord, Telescope
from firstlight.models.photometry import Photometry
from firstlight.models.spectrum import Spectrum
from firstlight.services.access import Viewer
from firstlight.services.objects.instruments_of_ours import OurInstruments
from firstlight.services.objects.sharing import refusing_twins
from firstlight.services.objects.telescopes import check_known, telescope_row
from firstlight.services.objects.wire_values import (
    LARGEST_ID,
    moment,
    optional_text,
    plain_json,
    plain_text,
    wire_time,
)

__all__ = [
    "INSTRUMENT_TYPES",
    "InstrumentExists",
    "InstrumentMissing",
    "InstrumentService",
    "InstrumentUsed",
    "instrument_row",
    "instruments_by_id",
]

INSTRUMENT_TYPES = ("imager", "spectrograph", "imaging spectrograph")
_LONGEST_NAME = 128
_LONGEST_WORD = 64
_MOST_FILTERS = 500
_MOST_LOGS = 200
_LONGEST_LOG = 65_536
_TABLES = ("sensitivity_data", "configuration_data")
_TEXTS = ("api_classname", "api_classname_obsplan", "listener_classname", "across_id", "region")
_NUMBERS = ("treasuremap_id", "tns_id")
_FIELDS = ("field_data", "field_region", "field_fov_type", "field_fov_attributes", "references")


class InstrumentMissing(MissingError):
    """There is no such instrument."""

    code = "instrument_record.missing"


class InstrumentExists(ConflictError):
    """There is an instrument of this name already."""

    code = "instrument_record.exists"


class InstrumentUsed(ConflictError):
    """Photometry or spectra belong to the instrument, or its camera reduces here."""

    code = "instrument_record.used"


class InstrumentService:
    """Adds, changes and lists instruments. Cameras that reduce here are among them.

    Parameters
    ----------
    database
        Where they are kept.
    clock
        Returns the present, aware.
    """

    def __init__(self, *, database: Database, clock: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._clock = clock
        self._ours = OurInstruments(database=database)

    def list(self, viewer: Viewer, *, name: str | None = None) -> builtins.list[dict[str, Any]]:
        """Instruments by name, with their telescopes."""
        check_known(viewer)
        self._ours.ensure()
        query = select(InstrumentRecord).order_by(InstrumentRecord.name)
        if name:
            wanted = optional_text(name, "name", longest=_LONGEST_NAME)
            query = query.where(InstrumentRecord.name == wanted)
        with self._database.reading() as session:
            rows = session.scalars(query).all()
            telescopes = _telescopes(session, rows)
        return [
            {
                **instrument_row(row, telescopes),
                "number_of_fields": 0,
                "region_summary": None,
                "log_exists": bool(_details(row).get("logs")),
            }
            for row in rows
        ]

    def get(
        self, viewer: Viewer, instrument_id: int, *, with_region: bool = False
    ) -> dict[str, Any]:
        """One instrument, with its status."""
        check_known(viewer)
        with self._database.reading() as session:
            row = _one(session, instrument_id)
            found = instrument_row(row, _telescopes(session, [row]))
        details = _details(row)
        found |= {"status": details.get("status"), "log_exists": bool(details.get("logs"))}
        if with_region:
            found["region"] = details.get("region")
        return found

    def add(self, viewer: Viewer, given: Mapping[str, Any]) -> int:
        """Add an instrument; returns its number.

        Parameters
        ----------
        given
            ``name``, ``type``, ``telescope_id``, ``filters`` and what else an instrument has.

        Raises
        ------
        InstrumentExists
            The name is taken.
        InvalidInput
            The type or the telescope is not known, or something is too long.
        """
        viewer.require("manage_instruments")
        for needed in ("name", "type"):
            plain_text(given.get(needed), needed, longest=_LONGEST_NAME)
        row = InstrumentRecord(name="", type="", filters=[])
        with self._database.begin() as session:
            _refuse_taken(session, given["name"])
            _apply(session, row, given)
            with refusing_twins(session, InstrumentExists(subject=row.name)):
                session.add(row)
            return row.id

    def change(self, viewer: Viewer, instrument_id: int, given: Mapping[str, Any]) -> None:
        """Change an instrument; what is not given stays.

        Raises
        ------
        InstrumentUsed
            A camera that reduces here would get another name.
        """
        viewer.require("manage_instruments")
        with self._database.begin() as session:
            row = _one(session, instrument_id)
            if given.get("name") not in {None, row.name}:
                if _reduces_here(session, row.name):
                    raise InstrumentUsed(subject=row.name)
                _refuse_taken(session, plain_text(given["name"], "name", longest=_LONGEST_NAME))
            with refusing_twins(session, InstrumentExists(subject=given.get("name"))):
                _apply(session, row, given)

    def remove(self, viewer: Viewer, instrument_id: int) -> None:
        """Remove an instrument to which nothing belongs.

        Raises
        ------
        InstrumentUsed
            Something does, or its camera reduces here.
        """
        viewer.require("manage_instruments")
        with self._database.begin() as session:
            row = _one(session, instrument_id)
            used = _reduces_here(session, row.name) or any(
                session.scalar(select(table.id).where(table.instrument_id == row.id).limit(1))
                is not None
                for table in (Photometry, Spectrum)
            )
            if used:
                raise InstrumentUsed(subject=row.name)
            with refusing_twins(session, InstrumentUsed(subject=row.name)):
                session.delete(row)

    def check(self, viewer: Viewer, instrument_id: int) -> None:
        """Raise unless there is such an instrument."""
        viewer.require("manage_instruments")
        with self._database.reading() as session:
            _one(session, instrument_id)

    def set_status(self, viewer: Viewer, instrument_id: int, status: object) -> None:
        """Remember what an instrument says of itself."""
        viewer.require("manage_instruments")
        told = plain_json(status, "status")
        with self._database.begin() as session:
            row = _one(session, instrument_id)
            row.details = {
                **_details(row),
                "status": told,
                "status_at": wire_time(self._clock()),
            }

    def logs(
        self, viewer: Viewer, instrument_id: int, *, start: str | None, end: str | None
    ) -> builtins.list[dict[str, Any]]:
        """Logs of an instrument that touch a period, in the order in which they came."""
        check_known(viewer)
        first = wire_time(moment(start, "startDate")) if start else None
        last = wire_time(moment(end, "endDate")) if end else None
        with self._database.reading() as session:
            row = _one(session, instrument_id)
        return [
            {**log, "instrument_id": row.id}
            for log in _details(row).get("logs", [])
            if (first is None or log["end_date"] >= first)
            and (last is None or log["start_date"] <= last)
        ]

    def add_log(self, viewer: Viewer, instrument_id: int, start: str, end: str, log: object) -> int:
        """Keep a log; returns its number. The 200 newest of an instrument are kept."""
        viewer.require("manage_instruments")
        told = plain_json(log if isinstance(log, dict) else {"log": log}, "log")
        if len(json.dumps(told)) > _LONGEST_LOG:
            raise InvalidInput(field="log", expected=f"at most {_LONGEST_LOG} characters")
        entry = {
            "created_at": wire_time(self._clock()),
            "start_date": wire_time(moment(start, "start_date")),
            "end_date": wire_time(moment(end, "end_date")),
            "log": told,
        }
        with self._database.begin() as session:
            row = _one(session, instrument_id, for_update=True)
            logs = _details(row).get("logs", [])
            number = 1 + max((each["id"] for each in logs), default=0)
            kept = [*logs, {"id": number, **entry}][-_MOST_LOGS:]
            row.details = {**_details(row), "logs": kept}
            return number


def instrument_row(
    row: InstrumentRecord, telescopes: Mapping[int, dict[str, Any]] | None = None
) -> dict[str, Any]:
    """An instrument as SkyPortal shows it; with its telescope, where those are given."""
    details = _details(row)
    found: dict[str, Any] = {
        "id": row.id,
        "created_at": wire_time(row.created_at),
        "modified": wire_time(row.modified_at),
        "name": row.name,
        "type": row.type,
        "band": row.band,
        "telescope_id": row.telescope_id,
        "filters": row.filters,
        "last_status_update": details.get("status_at"),
        "has_fields": False,
        "has_region": bool(details.get("region")),
    }
    for key in (*_TABLES, *_TEXTS[:-1], *_NUMBERS):
        found[key] = details.get(key)
    if telescopes is not None:
        found["telescope"] = telescopes.get(row.telescope_id or 0)
    return found


def instruments_by_id(session: Session, ids: Iterable[int]) -> dict[int, dict[str, Any]]:
    """Instruments with their telescopes, by number, for answers that hold them."""
    wanted = set(ids)
    rows = session.scalars(select(InstrumentRecord).where(InstrumentRecord.id.in_(wanted))).all()
    telescopes = _telescopes(session, rows)
    return {row.id: instrument_row(row, telescopes) for row in rows}


def _details(row: InstrumentRecord) -> dict[str, Any]:
    return row.details or {}


def _telescopes(session: Session, rows: Iterable[InstrumentRecord]) -> dict[int, dict[str, Any]]:
    wanted = {row.telescope_id for row in rows if row.telescope_id is not None}
    if not wanted:
        return {}
    found = session.scalars(select(Telescope).where(Telescope.id.in_(wanted)))
    return {row.id: telescope_row(row) for row in found}


def _one(session: Session, instrument_id: int, *, for_update: bool = False) -> InstrumentRecord:
    row = None
    if 0 < instrument_id <= LARGEST_ID:
        row = session.get(InstrumentRecord, instrument_id, with_for_update=for_update)
    if row is None:
        raise InstrumentMissing(subject=instrument_id)
    return row


def _reduces_here(session: Session, name: str) -> bool:
    """Whether a camera is ours; one that is merely described must have taken something."""
    if name not in instrument_names():
        return False
    taken = select(Exposure.id).where(Exposure.instrument == name).limit(1)
    return not comes_as_file(name) or session.scalar(taken) is not None


def _refuse_taken(session: Session, name: str) -> None:
    taken = select(InstrumentRecord.id).where(InstrumentRecord.name == name)
    if session.scalar(taken) is not None:
        raise InstrumentExists(subject=name)


def _apply(session: Session, row: InstrumentRecord, given: Mapping[str, Any]) -> None:
    if any(given.get(key) for key in _FIELDS):
        raise InvalidInput(
            "tilings of the sky are not kept here", field=", ".join(_FIELDS), expected="none"
        )
    if given.get("name") is not None:
        row.name = plain_text(given["name"], "name", longest=_LONGEST_NAME)
    if given.get("type") is not None:
        if given["type"] not in INSTRUMENT_TYPES:
            raise InvalidInput(
                field="type", found=repr(given["type"])[:100], expected=", ".join(INSTRUMENT_TYPES)
            )
        row.type = given["type"]
    if given.get("telescope_id") is not None:
        row.telescope_id = _telescope(session, given["telescope_id"])
    if given.get("band") is not None:
        row.band = optional_text(given["band"], "band", longest=_LONGEST_WORD)
    if given.get("filters") is not None:
        row.filters = _filters(given["filters"])
    row.details = {**_details(row), **_checked_details(given)} or None


def _telescope(session: Session, number: int) -> int:
    if not 0 < number <= LARGEST_ID or session.get(Telescope, number) is None:
        raise InvalidInput("there is no such telescope", field="telescope_id", found=number)
    return number


def _filters(names: object) -> builtins.list[str]:
    if not isinstance(names, list) or len(names) > _MOST_FILTERS:
        raise InvalidInput(field="filters", expected=f"a list of at most {_MOST_FILTERS} names")
    return [plain_text(name, "filters", longest=_LONGEST_WORD) for name in names]


def _checked_details(given: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key in _TABLES:
        if given.get(key) is not None:
            found[key] = plain_json(given[key], key)
    for key in _TEXTS:
        if given.get(key) is not None:
            found[key] = optional_text(given[key], key, longest=_LONGEST_LOG)
    for key in _NUMBERS:
        if given.get(key) is not None:
            found[key] = plain_json(given[key], key)
    return found
