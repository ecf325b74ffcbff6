"""Cameras that reduce here and sites of the archive, as rows beside those that people add."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from firstlight.instruments.base import Instrument
from firstlight.instruments.registry import (
    comes_as_file,
    get_instrument_class,
    instrument_names,
)
from firstlight.models.database import Database, bulk_insert
from firstlight.models.instrument_record import InstrumentRecord, Telescope, instrument_number
from firstlight.models.site import Site

__all__ = ["OurInstruments"]

_LONGEST_NAME = 128
_UNKNOWN = "unknown"


class OurInstruments:
    """Writes the rows that are missing.

    Parameters
    ----------
    database
        The tables.
    """

    def __init__(self, *, database: Database) -> None:
        self._database = database
        self._written: frozenset[str] = frozenset()

    def ensure(self) -> None:
        """Give every registered camera and every site of the archive its row.

        The cameras that we merely describe have one when there is something of theirs.
        """
        described = frozenset(filter(comes_as_file, instrument_names()))
        used = select(InstrumentRecord.name).where(InstrumentRecord.name.in_(described))
        sites = select(Site).where(Site.name.not_in(select(Telescope.name))).order_by(Site.name)
        with self._database.reading() as session:
            names = frozenset(instrument_names()) - described | set(session.scalars(used))
            is_complete = session.scalar(sites.limit(1)) is None and names <= self._written
        if is_complete:
            return
        with self._database.begin() as session:
            rows = [_of_site(site) for site in session.scalars(sites)]
            bulk_insert(session, Telescope, rows)
            for name in sorted(names - self._written):
                _ensure_camera(session, get_instrument_class(name))
        self._written = names


def _of_site(site: Site) -> dict[str, Any]:
    placed = None not in {site.latitude, site.longitude, site.elevation}
    return {
        "name": site.name,
        "nickname": site.name[:64],
        "lat": site.latitude,
        "lon": site.longitude,
        "elevation": site.elevation,
        "robotic": True,
        "fixed_location": placed,
    }


def _ensure_camera(session: Session, camera: type[Instrument]) -> None:
    name, telescope = str(camera.name), str(camera.telescope)
    if len(name) > _LONGEST_NAME:
        return
    row = session.get_one(InstrumentRecord, instrument_number(session, name))
    if row.telescope_id is not None or telescope == _UNKNOWN or len(telescope) > _LONGEST_NAME:
        return
    place = camera.latitude, camera.longitude, camera.elevation
    facts = {
        "name": telescope,
        "nickname": telescope[:64],
        "lat": place[0],
        "lon": place[1],
        "elevation": place[2],
        "robotic": False,
        "fixed_location": None not in place,
    }
    bulk_insert(session, Telescope, [facts])
    row.telescope_id = session.scalar(select(Telescope.id).where(Telescope.name == telescope))
