"""Files that somebody offers by hand: taken at once, and told what became of each."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import select

from firstlight.errors import BadFile, FirstlightError
from firstlight.formats.base_filename import looks_like_base_filename
from firstlight.formats.file_errors import MissingFile
from firstlight.instruments import get_instrument_instance
from firstlight.models.arrival import Arrival, ArrivalState, Origin
from firstlight.models.database import Database
from firstlight.services.intake.announcement import Announcement
from firstlight.services.intake.arrival_sources import source_of_path, version_of_path
from firstlight.services.intake.arrivals import ArrivalService, arrival_id, is_waiting

__all__ = ["ArchiveService", "FoundFiles", "IngestReport", "NoImagesBelow", "Refusal"]

SUFFIXES = (
    *(".fits", ".fit", ".fts", ".fits.fz", ".fz", ".fits.gz", ".fit.gz", ".fits.bz2"),
    *(".cr2", ".nef", ".dng"),
)
BATCH = 50


@dataclass(frozen=True)
class FoundFiles:
    """What there is at the paths that somebody named."""

    files: list[Path]
    """To offer, in order."""

    passed_over: list[Path]
    """Files below a folder whose names are not those of images, without hidden ones."""


@dataclass(frozen=True)
class Refusal:
    """A file, and what is wrong with it."""

    path: str
    error: dict[str, Any]


@dataclass
class IngestReport:
    """What became of the files offered; every one is in exactly one of the first three lists."""

    archived: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    quarantined: list[Refusal] = field(default_factory=list)
    noted: list[Refusal] = field(default_factory=list)
    """What is wrong with the headers of files that were archived all the same."""

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "archived": self.archived,
            "known": self.known,
            "quarantined": [{"path": each.path, "error": each.error} for each in self.quarantined],
            "noted": [{"path": each.path, "error": each.error} for each in self.noted],
        }


class NoImagesBelow(BadFile):
    """There is no image in this folder."""

    code = "file.no_images"


class ArchiveService:
    """Takes files into the archive in this process.

    Parameters
    ----------
    database
        Where the upload log is.
    arrivals
        Takes them.
    """

    def __init__(self, *, database: Database, arrivals: ArrivalService) -> None:
        self._database = database
        self._arrivals = arrivals

    def find(self, paths: Iterable[Path]) -> FoundFiles:
        """Files to offer: each path itself, and every image below a folder, in order of name.

        A path that does not exist, or a folder without images, is kept, so that whoever offers
        it is told.
        """
        files: list[Path] = []
        others: list[Path] = []
        for path in paths:
            images: list[Path] = []
            for each in _files_below(path):
                (images if _is_for_us(each.name) else others).append(each)
            files += images or [path]
        return FoundFiles(list(dict.fromkeys(files)), list(dict.fromkeys(others)))

    def ingest(
        self,
        files: Sequence[Path],
        *,
        instrument: str | None = None,
        on_progress: Callable[[int], None] | None = None,
    ) -> IngestReport:
        """Offer files to the archive. Offering one again changes nothing.

        Returns
        -------
        IngestReport
            A file that cannot be used is in `quarantined`; it never stops the others. A path
            with nothing to take is, too, and the upload log knows nothing of it.
        """
        report = IngestReport()
        there = []
        for path in files:
            fault = _nothing_there(path)
            if fault is None:
                there.append(path)
            else:
                report.quarantined.append(Refusal(str(path), fault.as_dict()))
        files = there
        if instrument is not None:
            get_instrument_instance(instrument)
        for start in range(0, len(files), BATCH):
            batch = files[start : start + BATCH]
            self._ingest(batch, instrument, report)
            if on_progress is not None:
                on_progress(start + len(batch))
        return report

    def _ingest(self, files: Sequence[Path], instrument: str | None, report: IngestReport) -> None:
        announcements = [_offer(path) for path in files]
        offers = {
            arrival_id(each): str(path) for each, path in zip(announcements, files, strict=True)
        }
        self._arrivals.announce(announcements)
        with self._database.reading() as session:
            rows = session.scalars(select(Arrival).where(Arrival.id.in_(offers))).all()
        told = self._arrivals.take(
            [row.id for row in self._in_order(rows, offers) if is_waiting(row, again=True)],
            instrument=instrument,
            again=True,
        )
        report.noted += [
            Refusal(offers[arrival], {**each["error"], "subject": offers[arrival]})
            for each in told["noted"]
            if (arrival := uuid.UUID(each["arrival"])) in offers
        ]
        archived = set(told["archived"])
        with self._database.reading() as session:
            rows = session.scalars(select(Arrival).where(Arrival.id.in_(offers))).all()
        for row in self._in_order(rows, offers):
            path = offers[row.id]
            if row.state == ArrivalState.QUARANTINED:
                error = dict(row.error or {})
                if error.get("subject") in (row.source, row.name):
                    error["subject"] = path  # as it was typed
                report.quarantined.append(Refusal(path, error))
            else:
                (report.archived if str(row.id) in archived else report.known).append(path)

    def _in_order(self, rows: Iterable[Arrival], offers: dict[uuid.UUID, str]) -> list[Arrival]:
        by_id = {row.id: row for row in rows}
        return [by_id[each] for each in offers]


def _offer(path: Path) -> Announcement:
    """By its name alone the file says what it is; PANOPTES has the rest in its folders."""
    return Announcement(
        origin=Origin.INGEST,
        source=source_of_path(path),
        name=str(path),
        version=version_of_path(path),
    )


def _nothing_there(path: Path) -> FirstlightError | None:
    """What to say of a path that leads to no file; such a slip is no arrival."""
    try:
        if path.is_dir():
            return NoImagesBelow(subject=path, expected=f"files named *{', *'.join(SUFFIXES)}")
        if not os.path.lexists(path):
            is_pattern = any(sign in path.name for sign in "*?[")
            return MissingFile(
                subject=path, hint="no name is like this pattern" if is_pattern else None
            )
    except (OSError, ValueError):
        pass  # what is wrong with the path is told when it is opened
    return None


def _is_for_us(name: str) -> bool:
    """Images, and the header texts and pictures that belong to one by their names."""
    return name.lower().endswith(SUFFIXES) or looks_like_base_filename(name)


def _files_below(path: Path) -> list[Path]:
    """Files in a folder and its folders, in order of name; no hidden ones, none if it is none."""
    try:
        if not path.is_dir():
            return []
        shown = [each for each in path.rglob("*") if not each.name.startswith(".")]
        return sorted(each for each in shown if not each.is_dir())
    except (OSError, ValueError):
        return []  # what is wrong with the path is told when it is opened
