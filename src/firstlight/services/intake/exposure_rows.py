"""Rows of exposures from their files, in the caller's transaction.

Whatever the order in which files come, and however often, the rows are the same: files and
headers are only ever added to a set, and the exposure is then told anew by the whole set.
Workers that have files of one exposure at the same moment wait for each other.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from firstlight.instruments.header_errors import BadHeader
from firstlight.instruments.photon_ranch import PhotonRanch
from firstlight.models.base import utc_now
from firstlight.models.database import bulk_insert
from firstlight.models.exposure import Exposure
from firstlight.models.exposure_file import ExposureCard, ExposureFile, ExposureHeader, card_number
from firstlight.models.night import evening_mjd
from firstlight.provenance.fingerprint import product_id
from firstlight.services.intake.archive_settings import ArchiveSettings
from firstlight.services.intake.exposure_facts import (
    ExposureName,
    FileFacts,
    columns_of_files,
    columns_of_header,
)
from firstlight.services.intake.exposure_groups import join_observations, place_sites
from firstlight.services.intake.plain_exposure import PlainExposure
from firstlight.services.intake.stored_header import CardList, values_of

__all__ = ["ExpiresAt", "ExposureRows", "Filed", "NewFile", "NewHeader"]

ExpiresAt = Callable[..., datetime | None]
"""Called with `data_type`, `site`, `collection`, `name` and `arrived`."""


class Filed(StrEnum):
    """What became of a file."""

    ADDED = "added"
    KNOWN = "known"
    OTHER_BYTES = "other_bytes"  # the name is taken by a file with other bytes
    NOT_NEEDED = "not_needed"  # a file that we made, where a better one is there


@dataclass(frozen=True)
class NewHeader:
    """A header that came with a file; the lowest rank of an exposure counts."""

    id: uuid.UUID
    rank: int
    cards: CardList


@dataclass
class NewFile:
    """A file on its way into the rows of its exposure.

    Attributes
    ----------
    facts
        Its key holds its bytes already.
    filed
        What became of it; set by `ExposureRows.add`.
    problems
        What is wrong with the header that counts, where this file changed which one does.
    """

    exposure: ExposureName | PlainExposure
    facts: FileFacts
    headers: tuple[NewHeader, ...] = ()
    filed: Filed | None = None
    problems: list[BadHeader] = field(default_factory=list)

    @property
    def file_id(self) -> uuid.UUID:
        """Of the row, as `ExposureFile.identify` has it."""
        return _file_id(self.exposure.id, self.facts.name)


@dataclass
class _Exposure:
    """One exposure while its rows are written."""

    name: ExposureName | PlainExposure
    row: Exposure
    files: dict[str, FileFacts] = field(default_factory=dict)
    ranks: dict[uuid.UUID, int] = field(default_factory=dict)
    new: list[NewFile] = field(default_factory=list)
    cards: dict[uuid.UUID, CardList] = field(default_factory=dict)
    """Of the headers that came just now."""
    added: set[str] = field(default_factory=set)
    altered: set[str] = field(default_factory=set)
    """Names of files whose rows are new, and of those whose rows are to be altered."""
    changed: bool = False
    header_before: uuid.UUID | None = None

    @property
    def header(self) -> uuid.UUID | None:
        """Id of the header that counts."""
        return min(self.ranks, key=lambda each: (self.ranks[each], each), default=None)

    @property
    def has_new_header(self) -> bool:
        """Whether a header that came just now is the one that counts."""
        return self.header != self.header_before


@dataclass
class ExposureRows:
    """Adds files to exposures.

    Parameters
    ----------
    settings
        Which cards are indexed, which levels are raw.
    expires_at
        Says when an exposure is to be removed.
    """

    settings: ArchiveSettings
    expires_at: ExpiresAt

    def add(self, session: Session, files: Sequence[NewFile]) -> list[str]:
        """Add files, and tell their exposures anew; `NewFile.filed` says what became of each.

        Returns
        -------
        list of str
            Keys that no row needs any longer: of files we made that others replaced.
        """
        exposures = self._locked(session, files)
        dropped: list[str] = []
        for exposure in exposures.values():
            for new in exposure.new:
                dropped += _file(exposure, new)
        _write_files(session, exposures.values())
        self._tell(session, [each for each in exposures.values() if each.changed])
        return dropped

    def _locked(self, session: Session, files: Sequence[NewFile]) -> dict[uuid.UUID, _Exposure]:
        """The exposures of these files, each held until the end of the transaction.

        In order of id, so that two workers never wait for each other in a circle.
        """
        names = {each.exposure.id: each.exposure for each in files}
        ids = sorted(names)
        held = select(Exposure).where(Exposure.id.in_(ids)).order_by(Exposure.id).with_for_update()
        rows: dict[uuid.UUID, Exposure] = {}
        while len(rows) < len(ids):
            # Again, where one that was there has expired before it could be held.
            bulk_insert(session, Exposure, [_empty(names[each]) for each in ids])
            rows = {row.id: row for row in session.scalars(held)}
        exposures = {each: _Exposure(names[each], rows[each]) for each in ids}
        for exposure_id, facts in _known_files(session, ids):
            exposures[exposure_id].files[facts.name] = facts
        headers = select(ExposureHeader.exposure_id, ExposureHeader.id, ExposureHeader.rank)
        found = session.execute(headers.where(ExposureHeader.exposure_id.in_(ids)))
        for exposure_id, header_id, rank in found:
            exposures[exposure_id].ranks[header_id] = rank
        for exposure in exposures.values():
            exposure.header_before = exposure.header
        for new in files:
            exposures[new.exposure.id].new.append(new)
        return exposures

    def _tell(self, session: Session, exposures: Sequence[_Exposure]) -> None:
        """Set the columns of exposures from all their files and headers."""
        for exposure in exposures:
            _set(exposure.row, self._columns(exposure))
        rows = [each.row for each in exposures]
        place_sites(session, rows)
        sequences = {
            each.row.id: each.name.sequence
            for each in exposures
            if isinstance(each.name, PlainExposure)
        }
        join_observations(session, rows, sequences)
        self._index_cards(session, [each for each in exposures if each.has_new_header])

    def _columns(self, exposure: _Exposure) -> dict[str, Any]:
        files = list(exposure.files.values())
        arrived = min(each.created_at for each in files if not each.made)
        name = exposure.name
        if isinstance(name, PlainExposure):
            columns = dict(name.columns)
            key = next(each.name for each in files if not each.made)
        else:
            columns = columns_of_files(name, files, self.settings.raw_levels)
            columns |= {"site": name.site, "camera": name.camera, "night": name.day}
            if columns["sha256"] != exposure.row.sha256:
                columns["reduction_state"] = "none"  # what was reduced are other pixels
            columns |= self._from_header(exposure, name)
            key = name.base_filename
        columns["expires_at"] = self.expires_at(
            data_type=columns.get("data_type"),
            site=columns.get("site"),
            collection=exposure.row.collection,
            name=key,
            arrived=arrived,
        )
        return columns

    def _from_header(self, exposure: _Exposure, name: ExposureName) -> dict[str, Any]:
        """Columns that the header fills; none where they are what they were."""
        if exposure.header is not None and not exposure.has_new_header:
            return {}
        cards = None if exposure.header is None else exposure.cards[exposure.header]
        facts = columns_of_header(name, cards)
        for new in exposure.new:
            if any(header.id == exposure.header for header in new.headers):
                new.problems = facts.problems
        return facts.columns

    def _index_cards(self, session: Session, exposures: Sequence[_Exposure]) -> None:
        """Write the search index of the headers that count."""
        ids = sorted(each.row.id for each in exposures)
        if not ids:
            return
        session.execute(delete(ExposureCard).where(ExposureCard.exposure_id.in_(ids)))
        rows = [
            {"card": number, "sort_mjd": each.row.sort_mjd, "exposure_id": each.row.id}
            for each in exposures
            for number in sorted(self._numbers(each))
        ]
        bulk_insert(session, ExposureCard, rows)

    def _numbers(self, exposure: _Exposure) -> set[int]:
        assert exposure.header is not None  # noqa: S101, the caller leaves others out
        values = values_of(exposure.cards[exposure.header])
        return {
            card_number(keyword, values[keyword])
            for keyword in self.settings.indexed_cards
            if values.get(keyword) not in (None, "")
        }


def _file_id(exposure_id: uuid.UUID, name: str) -> uuid.UUID:
    return product_id("exposure file", [str(exposure_id), name])


def _file(exposure: _Exposure, new: NewFile) -> list[str]:
    """Add one file to the set; returns the keys that are not needed."""
    facts, there = new.facts, exposure.files.get(new.facts.name)
    if isinstance(exposure.name, PlainExposure) and there is None and not facts.made:
        # The same bytes under another name are the same exposure.
        there = next((each for each in exposure.files.values() if not each.made), None)
    keep, not_needed = facts, None
    if there is None:
        new.filed = Filed.ADDED
    elif facts.made:
        new.filed, keep, not_needed = Filed.NOT_NEEDED, there, facts
    elif there.made:
        new.filed, not_needed = Filed.ADDED, there
    elif there.sha256 != facts.sha256:
        new.filed = Filed.OTHER_BYTES
        return []
    else:
        # The one that was announced first counts, whichever was read first.
        keep = replace(there, created_at=min(there.created_at, facts.created_at))
        new.filed, not_needed = Filed.KNOWN, facts
    if keep != there:
        exposure.files[keep.name] = keep
        (exposure.added if there is None else exposure.altered).add(keep.name)
        exposure.changed = True
    for header in new.headers:
        if header.id not in exposure.ranks:
            exposure.ranks[header.id] = header.rank
            exposure.cards[header.id] = header.cards
            exposure.changed = True
    return [not_needed.key] if not_needed is not None and not_needed.key != keep.key else []


def _known_files(session: Session, ids: Sequence[uuid.UUID]) -> list[tuple[uuid.UUID, FileFacts]]:
    names = FileFacts.__dataclass_fields__
    columns = [getattr(ExposureFile, name) for name in names]
    query = select(ExposureFile.exposure_id, *columns).where(ExposureFile.exposure_id.in_(ids))
    return [
        (owner, FileFacts(**dict(zip(names, facts, strict=True))))
        for owner, *facts in session.execute(query)
    ]


def _write_files(session: Session, exposures: Iterable[_Exposure]) -> None:
    """Write the rows of files and headers that were added, and of files that were altered."""
    files: list[dict[str, Any]] = []
    altered: list[dict[str, Any]] = []
    headers: list[dict[str, Any]] = []
    for exposure in exposures:
        for name in exposure.added | exposure.altered:
            row = {
                "id": _file_id(exposure.row.id, name),
                "exposure_id": exposure.row.id,
                **vars(exposure.files[name]),
            }
            (files if name in exposure.added else altered).append(row)
        headers += [
            {
                "id": each,
                "exposure_id": exposure.row.id,
                "rank": exposure.ranks[each],
                "cards": cards,
            }
            for each, cards in exposure.cards.items()
        ]
    bulk_insert(session, ExposureFile, files)
    for row in altered:
        session.execute(update(ExposureFile).where(ExposureFile.id == row["id"]).values(row))
    bulk_insert(session, ExposureHeader, headers)


def _empty(name: ExposureName | PlainExposure) -> dict[str, Any]:
    """A row for the exposure to be locked by, before anything is told of it."""
    row: dict[str, Any] = {
        "id": name.id,
        "instrument": PhotonRanch.name,
        "kind": "unknown",
        "collection": "data",
        "image_number": name.id.int >> 75,
        "created_at": utc_now(),
    }
    if isinstance(name, ExposureName):
        row |= {
            "collection": name.collection,
            "base_filename": name.base_filename,
            "night": name.day,
            "sort_mjd": evening_mjd(name.day, None),
        }
    return row


def _set(row: Exposure, columns: dict[str, Any]) -> None:
    """Set what differs, so that nothing is written where nothing changed."""
    for column, value in columns.items():
        if getattr(row, column) != value:
            setattr(row, column, value)
