"""Telescopes: where instruments stand, and when it is night there."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, or_, select, true
from sqlalchemy.orm import Session

from firstlight.algorithms.sky.twilight import next_passages
from firstlight.errors import ConflictError, InvalidInput, MissingError
from firstlight.models.base import utc_now
from firstlight.models.database import Database
from firstlight.models.instrument_record import InstrumentRecord, Telescope
from firstlight.models.site import Site
from firstlight.services.access import NotSignedIn, Viewer
from firstlight.services.objects.instruments_of_ours import OurInstruments
from firstlight.services.objects.sharing import refusing_twins
from firstlight.services.objects.wire_values import (
    LARGEST_ID,
    finite,
    optional_text,
    plain_text,
    wire_time,
)

__all__ = [
    "TelescopeExists",
    "TelescopeMissing",
    "TelescopeService",
    "TelescopeUsed",
    "check_known",
    "telescope_row",
]

_MJD_ZERO = datetime(1858, 11, 17, tzinfo=UTC)
_DAY_S = 86400.0
_LIMITS = {"lat": (-90.0, 90.0), "lon": (-180.0, 360.0), "elevation": (-1e4, 1e9)}
_LINKS = ("skycam_link", "weather_link")
_FLAGS = ("robotic", "fixed_location")
_LONGEST_LINK = 1000


class TelescopeMissing(MissingError):
    """There is no such telescope."""

    code = "telescope.missing"


class TelescopeExists(ConflictError):
    """There is a telescope of this name already."""

    code = "telescope.exists"


class TelescopeUsed(ConflictError):
    """The telescope has instruments, or belongs to a site of the archive."""

    code = "telescope.used"


class TelescopeService:
    """Adds, changes and lists telescopes. Sites of the archive are among them.

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

    def list(
        self,
        viewer: Viewer,
        *,
        name: str | None = None,
        latitudes: tuple[float | None, float | None] = (None, None),
        longitudes: tuple[float | None, float | None] = (None, None),
    ) -> builtins.list[dict[str, Any]]:
        """Telescopes by name, and when night ends and begins there.

        Parameters
        ----------
        latitudes, longitudes
            Least and largest, degrees; None for no bound.
        """
        check_known(viewer)
        self._ours.ensure()
        query = select(Telescope).where(_may_see(viewer)).order_by(Telescope.name)
        if name:
            query = query.where(Telescope.name == optional_text(name, "name", longest=128))
        for column, (least, largest) in (
            (Telescope.lat, latitudes),
            (Telescope.lon, longitudes),
        ):
            if least is not None:
                query = query.where(column >= finite(least, "bound"))
            if largest is not None:
                query = query.where(column <= finite(largest, "bound"))
        with self._database.reading() as session:
            rows = session.scalars(query).all()
        nights = self._nights(rows)
        return [
            {**telescope_row(row), **night, "allocations": []}
            for row, night in zip(rows, nights, strict=True)
        ]

    def get(self, viewer: Viewer, telescope_id: int) -> dict[str, Any]:
        """One telescope with its instruments."""
        check_known(viewer)
        with self._database.reading() as session:
            row = _one(session, viewer, telescope_id)
            instruments = session.scalars(
                select(InstrumentRecord)
                .where(InstrumentRecord.telescope_id == row.id)
                .order_by(InstrumentRecord.name)
            )
            shown = [
                {"id": each.id, "name": each.name, "type": each.type, "filters": each.filters}
                for each in instruments
            ]
        return {**telescope_row(row), "instruments": shown, "allocations": []}

    def add(self, viewer: Viewer, given: Mapping[str, Any]) -> int:
        """Add a telescope; returns its number.

        Parameters
        ----------
        given
            ``name``, ``nickname``, ``diameter`` and what else a telescope has.

        Raises
        ------
        TelescopeExists
            The name is taken.
        """
        viewer.require("manage_telescopes")
        row = Telescope(name="", nickname="", fixed_location=True)
        for needed in ("name", "nickname"):
            plain_text(given.get(needed), needed, longest=128)
        _apply(row, given)
        with self._database.begin() as session:
            _refuse_taken(session, row.name)
            with refusing_twins(session, TelescopeExists(subject=row.name)):
                session.add(row)
            return row.id

    def change(self, viewer: Viewer, telescope_id: int, given: Mapping[str, Any]) -> None:
        """Change a telescope; what is not given stays."""
        viewer.require("manage_telescopes")
        with self._database.begin() as session:
            row = _one(session, viewer, telescope_id)
            if given.get("name") not in {None, row.name}:
                _refuse_taken(session, plain_text(given["name"], "name", longest=128))
            with refusing_twins(session, TelescopeExists(subject=given.get("name"))):
                _apply(row, given)

    def remove(self, viewer: Viewer, telescope_id: int) -> None:
        """Remove a telescope without instruments.

        Raises
        ------
        TelescopeUsed
            It has some, or it is a site of the archive.
        """
        viewer.require("manage_telescopes")
        with self._database.begin() as session:
            row = _one(session, viewer, telescope_id)
            if session.scalar(
                select(InstrumentRecord.id).where(InstrumentRecord.telescope_id == row.id).limit(1)
            ) or session.scalar(select(Site.id).where(Site.name == row.name)):
                raise TelescopeUsed(subject=row.name)
            with refusing_twins(session, TelescopeUsed(subject=row.name)):
                session.delete(row)

    def _nights(self, rows: Sequence[Telescope]) -> builtins.list[dict[str, Any]]:
        """Of each: the next ends of astronomical night, and whether it is night."""
        placed = [
            (row.id, row.lat, row.lon)
            for row in rows
            if row.fixed_location and row.lat is not None and row.lon is not None
        ]
        passages: dict[int, tuple[float | None, float | None, bool]] = {}
        if placed:
            now = (self._clock() - _MJD_ZERO).total_seconds() / _DAY_S
            ids, latitudes, longitudes = zip(*placed, strict=True)
            passages = dict(zip(ids, next_passages(now, latitudes, longitudes), strict=True))
        found = []
        for row in rows:
            morning, evening, dark = passages.get(row.id, (None, None, False))
            found.append(
                {
                    "is_night_astronomical": dark,
                    "morning": _written(morning),
                    "evening": _written(evening),
                }
            )
        return found


def check_known(viewer: Viewer) -> None:
    """Raise for a stranger where nothing is public.

    Raises
    ------
    NotSignedIn
        They may see nothing of this archive, so neither its equipment.
    """
    if not viewer.name and viewer.readable_sites() == frozenset():
        raise NotSignedIn(hint="send it in a header: Authorization: token ...")


def telescope_row(row: Telescope) -> dict[str, Any]:
    """A telescope as SkyPortal shows it within other answers."""
    return {
        "id": row.id,
        "created_at": wire_time(row.created_at),
        "modified": wire_time(row.modified_at),
        "name": row.name,
        "nickname": row.nickname,
        "lat": row.lat,
        "lon": row.lon,
        "elevation": row.elevation,
        "mpc_obscode": None,
        "diameter": row.diameter,
        "skycam_link": row.skycam_link,
        "weather_link": row.weather_link,
        "robotic": row.robotic,
        "fixed_location": row.fixed_location,
    }


def _may_see(viewer: Viewer) -> ColumnElement[bool]:
    """Sites of the archive are for those who may read there; other telescopes for everybody."""
    sites = viewer.readable_sites()
    if sites is None:
        return true()
    return or_(Telescope.name.not_in(select(Site.name)), Telescope.name.in_(sites))


def _one(session: Session, viewer: Viewer, telescope_id: int) -> Telescope:
    row = None
    if 0 < telescope_id <= LARGEST_ID:
        row = session.scalar(
            select(Telescope).where(Telescope.id == telescope_id, _may_see(viewer))
        )
    if row is None:
        raise TelescopeMissing(subject=telescope_id)
    return row


def _refuse_taken(session: Session, name: str) -> None:
    if session.scalar(select(Telescope.id).where(Telescope.name == name)) is not None:
        raise TelescopeExists(subject=name)


def _apply(row: Telescope, given: Mapping[str, Any]) -> None:
    if given.get("name") is not None:
        row.name = plain_text(given["name"], "name", longest=128)
    if given.get("nickname") is not None:
        row.nickname = plain_text(given["nickname"], "nickname", longest=64)
    for key, (least, largest) in {**_LIMITS, "diameter": (0.0, 1e4)}.items():
        if given.get(key) is not None:
            value = finite(given[key], key)
            if not least <= value <= largest:
                raise InvalidInput(field=key, found=value, expected=f"{least:g} to {largest:g}")
            setattr(row, key, value)
    for key in _LINKS:
        if given.get(key) is not None:
            setattr(row, key, _link(given[key], key))
    for key in _FLAGS:
        if given.get(key) is not None:
            setattr(row, key, bool(given[key]))
    if row.fixed_location and None in {row.lat, row.lon, row.elevation}:
        raise InvalidInput(
            "a telescope in one place needs that place",
            field="lat, lon, elevation",
            hint="or say fixed_location: false",
        )


def _link(value: object, field: str) -> str | None:
    link = optional_text(value, field, longest=_LONGEST_LINK)
    if link is not None and not link.startswith(("http://", "https://")):
        raise InvalidInput(field=field, found=link[:100], expected="http:// or https://")
    return link


def _written(mjd: float | None) -> str | bool:
    if mjd is None:
        return False
    moment = _MJD_ZERO + timedelta(days=mjd)
    return moment.strftime("%Y-%m-%d %H:%M:%S.") + f"{moment.microsecond // 1000:03d}"
