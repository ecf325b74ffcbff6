"""The archive: every file offered is kept with its checksum, or refused with a reason."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from firstlight.errors import FirstlightError
from firstlight.formats.file_errors import MissingFile
from firstlight.formats.fits_file import inspect, read_header
from firstlight.instruments import get_instrument_instance, guess_instrument
from firstlight.models.arrival import Arrival, ArrivalState
from firstlight.models.database import Database
from firstlight.models.exposure import Exposure, exposure_id
from firstlight.models.night import night_of
from firstlight.models.observation import Observation
from firstlight.models.site import Site
from firstlight.provenance.fingerprint import product_id
from firstlight.storage import Store, build_key

__all__ = ["ArchiveService", "IngestReport", "Refusal"]

SUFFIXES = (".fits", ".fit", ".fts", ".fits.fz", ".fz", ".fits.gz", ".fit.gz", ".fits.bz2")
BATCH = 50
NO_TARGET = "unnamed"


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


class ArchiveService:
    """Takes files into the archive.

    Parameters
    ----------
    database, store
        Rows and bytes.
    """

    def __init__(self, *, database: Database, store: Store) -> None:
        self._database = database
        self._store = store

    def find(self, paths: Iterable[Path]) -> list[Path]:
        """Files to offer: each path itself, and every image below a folder, in order of name.

        A path that does not exist, or a folder without images, is kept, so that it is refused
        with a reason.
        """
        files: list[Path] = []
        for path in paths:
            files += _images_below(path) or [path]
        return list(dict.fromkeys(files))

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
            A file that cannot be used is in `quarantined`; it never stops the others.
        """
        report = IngestReport()
        if instrument is not None:
            get_instrument_instance(instrument)
        for start in range(0, len(files), BATCH):
            batch = files[start : start + BATCH]
            taken = [self._take(path, instrument) for path in batch]
            self._save(taken, report)
            if on_progress is not None:
                on_progress(start + len(batch))
        return report

    def _take(self, path: Path, instrument: str | None) -> _Taken:
        """Put one file into the store; rows are not written yet."""
        taken = _Taken(path)
        try:
            inspect(path, pixels=True)
            taken.sha256, taken.size = _checksum(path)
            with self._database.reading() as session:
                if session.get(Exposure, exposure_id(taken.sha256)) is not None:
                    taken.exposure_id = exposure_id(taken.sha256)
                    return taken
            taken.exposure = self._archive(path, taken.sha256, instrument)
            taken.exposure_id = taken.exposure.id
        except FirstlightError as fault:
            fault.subject = fault.subject or str(path)
            taken.error = fault.as_dict()
        return taken

    def _archive(self, path: Path, sha256: str, instrument: str | None) -> Exposure:
        header = read_header(path)
        name = instrument or guess_instrument(path.name, header)
        camera = get_instrument_instance(name)
        mjd = camera.get_mid_mjd(header, subject=path)
        longitude = camera.get_site(header, subject=path).longitude
        night = night_of(mjd, longitude).isoformat() if mjd is not None else "undated"
        key = build_key("raw", name, night, path.name)
        existed = self._store.exists(key)
        self._store.put(key, path, sha256=sha256)
        try:
            return Exposure(filename=key, instrument=name)
        except FirstlightError as fault:
            if not existed:
                self._store.delete(key)
            fault.subject = str(path)
            raise

    def _save(self, taken: list[_Taken], report: IngestReport) -> None:
        with self._database.begin() as session:
            for each in taken:
                if each.exposure is not None and session.get(Exposure, each.exposure_id) is None:
                    for row in (_site(each.exposure), _observation(each.exposure)):
                        if row is not None and session.get(type(row), row.id) is None:
                            session.add(row)
                            session.flush()
                    session.add(each.exposure)
                    session.flush()
                    report.archived.append(str(each.path))
                    report.noted += [
                        Refusal(str(each.path), {**problem.as_dict(), "subject": str(each.path)})
                        for problem in each.exposure.problems
                    ]
                elif each.error is None:
                    report.known.append(str(each.path))
                else:
                    report.quarantined.append(Refusal(str(each.path), each.error))
                session.merge(each.arrival())


def _images_below(path: Path) -> list[Path]:
    """Images in a folder and its folders, in order of name; none where it is no folder."""
    try:
        if not path.is_dir():
            return []
        inside = [each for each in path.rglob("*") if each.name.lower().endswith(SUFFIXES)]
        return sorted(each for each in inside if not each.is_dir())
    except (OSError, ValueError):
        return []  # what is wrong with the path is told when it is opened


@dataclass
class _Taken:
    """One file on its way into the archive."""

    path: Path
    sha256: str | None = None
    size: int | None = None
    exposure: Exposure | None = None
    exposure_id: uuid.UUID | None = None
    error: dict[str, Any] | None = None

    def arrival(self) -> Arrival:
        refused = self.error is not None
        row = Arrival(
            source=str(self.path.absolute()),
            state=(ArrivalState.QUARANTINED if refused else ArrivalState.ARCHIVED).value,
            size=self.size,
            sha256=self.sha256,
            exposure_id=self.exposure_id,
            error=self.error,
        )
        row.identify()
        return row


def _checksum(path: Path) -> tuple[str, int]:
    try:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256")
            return digest.hexdigest(), stream.tell()
    except FileNotFoundError as fault:
        raise MissingFile(subject=path) from fault


def _site(exposure: Exposure) -> Site | None:
    if exposure.latitude is None or exposure.longitude is None:
        return None
    name = exposure.site or exposure.telescope or exposure.instrument
    row = Site(
        name=name,
        latitude=exposure.latitude,
        longitude=exposure.longitude,
        elevation=exposure.elevation,
    )
    row.id = product_id("site", [name])
    exposure.site = name
    return row


def _observation(exposure: Exposure) -> Observation | None:
    """The observation an exposure belongs to; calibration frames belong to none."""
    if exposure.kind != "science" or exposure.mjd is None:
        return None
    row = Observation(
        instrument=exposure.instrument,
        target=exposure.target or NO_TARGET,
        filter=exposure.filter or "+".join(exposure.filter_array or []) or None,
        binning=exposure.binning,
        night=night_of(exposure.mjd, exposure.longitude),
    )
    row.identify()
    exposure.observation_id = row.id
    return row
