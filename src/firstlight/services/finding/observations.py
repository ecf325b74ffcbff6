"""Observations: lists with filters, one with its images and files, and totals of each week.

All numbers are counted when they are asked for; none is stored. Keys of the JSON are those of
the PANOPTES network's observations service, with more beside them.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from firstlight.errors import MissingError
from firstlight.formats.panoptes_path import PanoptesId, parse_id
from firstlight.instruments.header_values import MJD_EPOCH
from firstlight.models.database import Database
from firstlight.models.exposure import Exposure
from firstlight.models.exposure_file import ExposureFile
from firstlight.models.observation import Observation
from firstlight.models.observation_file import ObservationFile
from firstlight.services.finding.observation_query import (
    STATUSES,
    ObservationQuery,
    at_sites,
    behind,
    conditions,
    counted,
    cursor_of,
    observations_near,
    of_groups,
    read_cursor,
)

__all__ = [
    "STATUSES",
    "FileList",
    "ObservationMissing",
    "ObservationPage",
    "ObservationQuery",
    "ObservationService",
]

_ALWAYS_LISTED = ("fz", "jpg", "mp4")
_AT_ONCE = 200

Link = Callable[[str], str]
"""From the key of a stored file to its address."""


class ObservationMissing(MissingError):
    """There is no such observation."""

    code = "observation.missing"


@dataclass(frozen=True, slots=True)
class ObservationPage:
    """Some observations, the newest night first.

    Attributes
    ----------
    next
        Cursor of the page with older ones; ``None`` on the last page.
    """

    items: list[dict[str, Any]]
    next: str | None

    def as_dict(self) -> dict[str, Any]:
        """JSON values; `total` counts this page, as the network's service does."""
        return {"items": self.items, "total": len(self.items), "next": self.next}


@dataclass(frozen=True, slots=True)
class FileList:
    """Addresses for ``wget -i``, one a line.

    Attributes
    ----------
    name
        Of the file to be saved.
    """

    name: str
    text: str


class _Counted(NamedTuple):
    """An observation with what is counted of its exposures."""

    row: Observation
    images: int
    total_exptime: float
    start_mjd: float
    done: int
    tried: int

    @property
    def status(self) -> str:
        """One of `STATUSES`; see `_has_status` for the same in SQL."""
        if self.done == self.images:
            return "done"
        if self.tried == 0:
            return "received"
        return "failed" if self.done == 0 and self.tried == self.images else "partial"


@dataclass
class _Described:
    """A counted observation and the earliest of its exposures, which describes it."""

    counted: _Counted
    first: Exposure
    sequence: PanoptesId | None = field(init=False)

    def __post_init__(self) -> None:
        self.sequence = parse_id(self.counted.row.sequence or "")

    @property
    def name(self) -> str:
        """What the camera calls the sequence, else the id."""
        return self.counted.row.sequence or str(self.counted.row.id)

    @property
    def unit(self) -> str | None:
        """Whose camera it was."""
        if self.sequence is not None:
            return self.sequence.unit
        return self.counted.row.site or self.first.site or self.first.telescope

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        row, first = self.counted.row, self.first
        return {
            "id": self.name,
            "observation_id": str(row.id),
            "unit_id": self.unit,
            "camera_id": self.sequence.camera if self.sequence is not None else first.camera,
            "instrument": row.instrument,
            "start_date": _iso(self.counted.start_mjd),
            "night": row.night.isoformat(),
            "exptime": first.exp_time,
            "pocs_version": (first.header or {}).get("creator"),
            "state": self.counted.status,
            "field": row.target,
            "filter": row.filter,
            "ra": first.ra,
            "dec": first.dec,
            "image_count": self.counted.images,
            "total_exptime": self.counted.total_exptime,
        }


class ObservationService:
    """Tells of observations.

    Parameters
    ----------
    database
        The tables.
    """

    def __init__(self, *, database: Database) -> None:
        self._database = database

    def find(
        self, query: ObservationQuery, sites: Collection[str] | None = None
    ) -> ObservationPage:
        """Observations that fit a query, the newest night first.

        Parameters
        ----------
        sites
            Only those with exposures at these sites; ``None`` for all.
        """
        with self._database.reading() as session:
            found = self._found(session, query, sites)
            page = [row for row, _ in zip(found, range(query.limit + 1), strict=False)]
            more = len(page) > query.limit
            page = page[: query.limit]
            items = [each.as_dict() for each in _described(session, page)]
        return ObservationPage(items, cursor_of(page[-1].row) if more else None)

    def _found(
        self, session: Session, query: ObservationQuery, sites: Collection[str] | None
    ) -> Iterator[_Counted]:
        """Find a little at a time, so that the exposures of few others are counted too."""
        near = observations_near(session, query)
        order = Observation.night.desc(), Observation.id
        places = select(Observation.night, Observation.id).where(*conditions(query, sites))
        last = None if query.cursor is None else read_cursor(query.cursor)
        while True:
            next_ones = places if last is None else places.where(behind(last))
            rows = session.execute(next_ones.order_by(*order).limit(_AT_ONCE)).all()
            ids = [ident for _, ident in rows if near is None or ident in near]
            statement = counted().where(Observation.id.in_(ids)).having(*of_groups(query))
            if ids:
                yield from map(_Counted._make, session.execute(statement.order_by(*order)))
            if len(rows) < _AT_ONCE:
                return
            last = rows[-1][0], rows[-1][1]

    def one(
        self, name: str, sites: Collection[str] | None = None, *, link: Link = str
    ) -> dict[str, Any]:
        """One observation with its images and files.

        Parameters
        ----------
        name
            Id of the observation, or the camera's own name of the sequence.
        link
            Makes addresses of the keys of files.

        Raises
        ------
        ObservationMissing
            There is none, or none at these sites.
        """
        with self._database.reading() as session:
            described = self._one(session, name, sites)
            exposures, files = _exposures_and_files(session, described.counted.row.id)
            own = session.scalars(
                select(ObservationFile)
                .where(ObservationFile.observation_id == described.counted.row.id)
                .order_by(ObservationFile.role, ObservationFile.key)
            ).all()
        sequence = described.sequence
        folder = "" if sequence is None else f"{sequence.unit}/{sequence.camera}/{sequence.time}"
        items = {
            "sequence": described.as_dict(),
            "sequence_dir": folder,
            "images": [_image(each, files[each.id], link) for each in exposures],
            "sequence_files": _by_kind(_keys(exposures, files, own), link),
            "files": [
                {"role": each.role, "name": each.name, "size": each.size, "url": link(each.key)}
                for each in own
            ],
        }
        return {"items": items, "total": len(items)}

    def file_list(
        self,
        name: str,
        sites: Collection[str] | None = None,
        *,
        link: Link = str,
        kinds: Collection[str] = (),
    ) -> FileList:
        """Addresses of all files of one observation, in order of time.

        Parameters
        ----------
        kinds
            Only files that end so, such as ``fz``; all by default.

        Raises
        ------
        ObservationMissing
            There is none, or none at these sites.
        """
        with self._database.reading() as session:
            described = self._one(session, name, sites)
            row = described.counted.row
            exposures, files = _exposures_and_files(session, row.id)
            own = session.scalars(
                select(ObservationFile)
                .where(ObservationFile.observation_id == row.id)
                .order_by(ObservationFile.role, ObservationFile.key)
            ).all()
        wanted = {kind.lower().lstrip(".") for kind in kinds}
        keys = [key for key in _keys(exposures, files, own) if not wanted or _kind(key) in wanted]
        stem = described.name.replace("/", "_")
        return FileList(f"{stem}.txt", "".join(f"{link(key)}\n" for key in keys))

    def _one(self, session: Session, name: str, sites: Collection[str] | None) -> _Described:
        try:
            wanted = or_(Observation.sequence == name, Observation.id == uuid.UUID(name))
        except ValueError:
            wanted = Observation.sequence == name
        row = session.execute(counted().where(wanted, *at_sites(sites))).first()
        if row is None:
            raise ObservationMissing(
                subject=name, hint="its id or the name of its sequence is wanted"
            )
        return _described(session, [_Counted(*row)])[0]

    def weeks(
        self, query: ObservationQuery, sites: Collection[str] | None = None
    ) -> list[dict[str, Any]]:
        """Totals of each week and unit, the newest week first; limit and cursor do not count.

        Returns
        -------
        list
            ``year`` and ``week`` of ISO 8601, ``unit``, ``num_observations``, ``num_images``,
            ``total_minutes_exptime`` and the names of the ``observations``.
        """
        whole = query.model_copy(update={"cursor": None})
        groups: dict[tuple[int, int, str], list[_Described]] = defaultdict(list)
        with self._database.reading() as session:
            for described in _described(session, list(self._found(session, whole, sites))):
                week = described.counted.row.night.isocalendar()
                groups[week.year, week.week, described.unit or ""].append(described)
        return [
            {
                "year": year,
                "week": week,
                "unit": unit or None,
                "num_observations": len(members),
                "num_images": sum(each.counted.images for each in members),
                "total_minutes_exptime": sum(e.counted.total_exptime for e in members) / 60.0,
                "observations": sorted(
                    e.counted.row.sequence or str(e.counted.row.id) for e in members
                ),
            }
            for (year, week, unit), members in sorted(
                groups.items(), key=lambda item: (-item[0][0], -item[0][1], item[0][2])
            )
        ]


def _described(session: Session, page: Sequence[_Counted]) -> list[_Described]:
    """Put the earliest exposure to each observation."""
    first: dict[uuid.UUID, Exposure] = {}
    for some in _pieces([each.row.id for each in page]):
        earliest = (
            select(Exposure.observation_id, func.min(Exposure.sort_mjd).label("start"))
            .where(Exposure.observation_id.in_(some))
            .group_by(Exposure.observation_id)
            .subquery()
        )
        same = and_(
            Exposure.observation_id == earliest.c.observation_id,
            Exposure.sort_mjd == earliest.c.start,
        )
        for exposure in session.scalars(
            select(Exposure).join(earliest, same).order_by(Exposure.id)
        ):
            if exposure.observation_id is not None:
                first.setdefault(exposure.observation_id, exposure)
    return [_Described(each, first[each.row.id]) for each in page]


def _exposures_and_files(
    session: Session, observation_id: uuid.UUID
) -> tuple[Sequence[Exposure], dict[uuid.UUID, list[ExposureFile]]]:
    """Exposures in order of time, and the files of each by name."""
    exposures = session.scalars(
        select(Exposure)
        .where(Exposure.observation_id == observation_id)
        .order_by(Exposure.sort_mjd, Exposure.id)
    ).all()
    files: dict[uuid.UUID, list[ExposureFile]] = defaultdict(list)
    rows = session.scalars(
        select(ExposureFile)
        .join(Exposure, Exposure.id == ExposureFile.exposure_id)
        .where(Exposure.observation_id == observation_id)
        .order_by(ExposureFile.name)
    )
    for row in rows:
        files[row.exposure_id].append(row)
    return exposures, files


# --- answers ---------------------------------------------------------------------------------


def _image(exposure: Exposure, files: Sequence[ExposureFile], link: Link) -> dict[str, Any]:
    header = exposure.header or {}
    return {
        "id": header.get("imageid") or str(exposure.id),
        "exposure_id": str(exposure.id),
        "imgtime": _iso(exposure.sort_mjd),
        "exptime": exposure.exp_time,
        "file_path": exposure.filename,
        "ha_mnt": header.get("ha-mnt"),
        "airmass": exposure.airmass,
        "moonfrac": header.get("moonfrac"),
        "moonsep": header.get("moonsep"),
        "state": exposure.reduction_state,
        "files": {
            row.role: {"name": row.name, "size": row.size, "url": link(row.key)} for row in files
        },
    }


def _keys(
    exposures: Iterable[Exposure],
    files: dict[uuid.UUID, list[ExposureFile]],
    own: Iterable[ObservationFile],
) -> list[str]:
    """Keys of all files, each once: those of the exposures in order of time, then the rest."""
    keys = []
    for exposure in exposures:
        raw = [] if exposure.filename is None else [exposure.filename]
        keys += [*raw, *(row.key for row in files[exposure.id])]
    return list(dict.fromkeys([*keys, *(row.key for row in own)]))


def _by_kind(keys: Iterable[str], link: Link) -> dict[str, list[str]]:
    kinds: dict[str, list[str]] = {kind: [] for kind in _ALWAYS_LISTED}
    for key in keys:
        kinds.setdefault(_kind(key), []).append(link(key))
    return kinds


def _kind(key: str) -> str:
    return key.rpartition(".")[2].lower() if "." in key.rpartition("/")[2] else ""


def _iso(mjd: float) -> str:
    """UTC to the second."""
    return (MJD_EPOCH + timedelta(seconds=round(mjd * 86_400))).strftime("%Y-%m-%dT%H:%M:%SZ")


def _pieces(ids: Sequence[uuid.UUID]) -> Iterator[Sequence[uuid.UUID]]:
    for start in range(0, len(ids), _AT_ONCE):
        yield ids[start : start + _AT_ONCE]
