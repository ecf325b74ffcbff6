"""The first half of taking an arrival: its bytes are read once, checked, and put into the store.

Nothing here writes rows. A worker that dies in the middle leaves bytes under the key where they
belong anyway, and the arrival is taken again.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from firstlight.errors import ConflictError, FirstlightError, InternalError, Kind
from firstlight.formats.base_filename import Collection, FileName
from firstlight.formats.file_errors import MissingFile
from firstlight.models.arrival import Arrival, Origin
from firstlight.models.exposure_file import FileRole
from firstlight.provenance.fingerprint import fingerprint, product_id
from firstlight.services.intake.archive_settings import ArchiveSettings
from firstlight.services.intake.arrival_content import (
    Content,
    FileTooLarge,
    check_fits,
    check_light,
    is_light,
    size_limit,
)
from firstlight.services.intake.arrival_names import (
    final_key,
    header_rank,
    made_key,
    parse_offered,
    thumbnail_name,
)
from firstlight.services.intake.arrival_sources import Offered, SourceGone, SourceOpener
from firstlight.services.intake.exposure_facts import ExposureName, FileFacts
from firstlight.services.intake.exposure_rows import NewFile, NewHeader
from firstlight.services.intake.plain_exposure import HEADER_RANK, read_plain
from firstlight.services.intake.stored_header import clean_cards, clean_text
from firstlight.storage import KeyTaken, Store, StoredFile, build_key, safe_segment

__all__ = ["Intake", "KnownFiles", "OtherBytes", "Taken"]

# What the file or its name is to blame for; anything else may pass.
_LONGEST_SITE = 128
_OF_THE_FILE = frozenset({Kind.USER, Kind.MISSING, Kind.CONFLICT})

KnownFiles = Mapping[tuple[uuid.UUID, str], str]
"""Checksums of files that are in the archive, by exposure and name."""


class OtherBytes(ConflictError):
    """The archive holds a file of this name with other bytes."""

    code = "archive.other_bytes"


@dataclass
class Taken:
    """An arrival whose bytes have been read.

    Attributes
    ----------
    name
        Parsed; None for a plain exposure.
    stored
        Its bytes, once they are in the store; also of a file that is in the archive already.
    content, found
        A light file that was checked and is still to be stored, and what is in it.
    keys_put
        Where bytes were put for it, which nothing but this arrival may need yet.
    files
        For the rows of its exposure: the file itself first, then what was made of it.
    error
        Why it cannot be used.
    failed
        Whether the machine failed before it was stored; it waits for another time.
    """

    id: uuid.UUID
    source: str
    origin: str
    offered_name: str
    site: str | None
    channel: int | None
    arrived: datetime
    cards: list[Any] | None
    name: FileName | None = None
    stored: StoredFile | None = None
    content: bytes | None = None
    found: Content | None = None
    keys_put: list[str] = field(default_factory=list)
    files: list[NewFile] = field(default_factory=list)
    problems: list[FirstlightError] = field(default_factory=list)
    error: dict[str, Any] | None = None
    failed: bool = False

    @classmethod
    def of(cls, row: Arrival) -> Taken:
        """From its row in the upload log."""
        return cls(
            id=row.id,
            source=row.source,
            origin=row.origin,
            offered_name=row.name or row.source.rpartition("/")[2],
            site=row.site,
            channel=row.channel,
            arrived=row.created_at,
            cards=row.header,
        )

    @property
    def is_info_image(self) -> bool:
        """Whether it is for a channel of a site."""
        return self.name is not None and self.name.collection is Collection.INFO_IMAGES

    def refuse(self, fault: FirstlightError) -> None:
        """Remember why it cannot be used."""
        self.files, self.keys_put, self.content = [], [], None
        self.error = {**fault.as_dict(), "subject": fault.subject or self.source}


@dataclass
class Intake:
    """Reads arrivals into the store.

    Parameters
    ----------
    store
        The archive's.
    sources
        Opens what arrivals point at.
    """

    store: Store
    sources: SourceOpener
    settings: ArchiveSettings

    def take(self, taken: Taken, known: KnownFiles, instrument: str | None = None) -> None:
        """Read one arrival and store it; what is wrong with the file ends in `Taken.error`.

        Raises
        ------
        FirstlightError
            Of kind remote or internal: the machine failed, not the file.
        """
        self.read(taken, known, instrument)
        self.store_light(taken)

    def read(self, taken: Taken, known: KnownFiles, instrument: str | None = None) -> None:
        """Do the first half of `take`, all of it for heavy files; light ones are not stored yet."""
        taken.keys_put, taken.content = [], None
        try:
            taken.name = parse_offered(taken.offered_name)
            offered = self.sources.open(taken.source)
            try:
                self._read(taken, offered, known, instrument)
            except SourceGone as gone:
                self._read(taken, self._archived(taken, gone), known, instrument)
        except FirstlightError as fault:
            _blame(taken, fault)
        except (RecursionError, ValueError, TypeError, LookupError, ArithmeticError) as fault:
            # Untrusted bytes: whatever a parser makes of them concerns this file alone.
            taken.refuse(InternalError(f"{type(fault).__name__}: {fault}", subject=taken.source))

    def store_light(self, taken: Taken) -> None:
        """Do the other half of `take`. Mostly it waits for the disk, so threads may do it."""
        content, found, name = taken.content, taken.found, taken.name
        if content is None or found is None or name is None:
            return
        try:
            key = final_key(name, hashlib.sha256(content).hexdigest())
            taken.stored = self._put(taken, key, content)
            taken.files = _new_files(taken, name, taken.stored, found)
            if found.thumbnail is not None:
                taken.files.append(self._thumbnail(taken, name, found.thumbnail))
        except FirstlightError as fault:
            _blame(taken, fault)
        taken.content = None

    def set_aside(self, taken: Taken) -> None:
        """Keep the bytes of a file that cannot be used in quarantine, so that nothing is lost.

        What somebody ingests by hand stays where it is, and they are told at once.
        """
        if taken.error is None:
            return
        taken.stored = None
        if by_hand(taken):
            return
        name = safe_segment(taken.offered_name.replace("\\", "/").rpartition("/")[2])
        key = build_key("quarantine", str(taken.id), name)
        try:
            with self.sources.open(taken.source).stream() as stream:
                taken.stored = self.store.put(key, stream, overwrite=True)
        except FirstlightError as fault:
            if fault.kind not in _OF_THE_FILE:
                raise
            # There are no bytes to be had; the reason why is in the log already.

    def _archived(self, taken: Taken, gone: SourceGone) -> Offered:
        """The bytes of a file whose source is gone, from where a killed worker has put them."""
        key = None if taken.name is None or taken.is_info_image else final_key(taken.name, "")
        if key is None or not self.store.exists(key):
            missing = gone.__cause__
            raise missing if isinstance(missing, MissingFile) and by_hand(taken) else gone
        return self.sources.open(f"store:{key}")

    def _read(
        self, taken: Taken, offered: Offered, known: KnownFiles, instrument: str | None
    ) -> None:
        if taken.name is None:
            self._read_plain(taken, offered, known, instrument)
        elif is_light(taken.name):
            self._read_light(taken, taken.name, offered, known)
        else:
            self._read_fits(taken, taken.name, offered, known)

    def _read_light(
        self, taken: Taken, name: FileName, offered: Offered, known: KnownFiles
    ) -> None:
        limit = size_limit(name, self.settings)
        if offered.size() > limit:
            raise FileTooLarge(
                subject=taken.source,
                found=f"{offered.size()} bytes",
                expected=f"at most {limit} bytes",
            )
        content = offered.read()
        if _is_known(name, hashlib.sha256(content).hexdigest(), known):
            taken.stored = _facts_of(name, content)
            taken.files = _new_files(taken, name, taken.stored, Content())
            return
        taken.found = check_light(name, content, self.settings)
        taken.content = content

    def _read_fits(self, taken: Taken, name: FileName, offered: Offered, known: KnownFiles) -> None:
        with offered.local_path() as path:
            if (ExposureName.of(name).id, name.filename) in known or taken.is_info_image:
                stored = _checksum(path, name)
                if _is_known(name, stored.sha256, known):
                    taken.stored = stored
                    taken.files = _new_files(taken, name, stored, Content())
                    return
                key = stored.key
            else:
                key = final_key(name, "")
            found = check_fits(path)
            with offered.stream() as stream:
                taken.stored = self._put(taken, key, stream)
        taken.files = _new_files(taken, name, taken.stored, found)

    def _read_plain(
        self, taken: Taken, offered: Offered, known: KnownFiles, instrument: str | None
    ) -> None:
        with offered.local_path() as path:
            plain = read_plain(path, taken.offered_name, instrument)
            if taken.site is not None:
                plain.columns["site"] = clean_text(taken.site)[:_LONGEST_SITE]
            with offered.stream() as stream:
                taken.stored = self._put(taken, plain.key, stream)
        exposure = plain.stored_as(taken.stored)
        name = plain.key.rpartition("/")[2]
        facts = _facts(name, plain.role, None, taken.stored, taken.arrived)
        new = NewFile(exposure, facts)
        new.headers = (NewHeader(new.file_id, HEADER_RANK, plain.cards),)
        taken.files = [new]
        taken.problems = list(plain.problems)
        del known

    def _thumbnail(self, taken: Taken, name: FileName, content: bytes) -> NewFile:
        key = made_key(name, hashlib.sha256(content).hexdigest())
        stored = self._put(taken, key, content)
        facts = _facts(
            thumbnail_name(name), FileRole.THUMBNAIL, "11", stored, taken.arrived, made=True
        )
        return NewFile(ExposureName.of(name), facts)

    def _put(self, taken: Taken, key: str, data: Any) -> StoredFile:
        taken.keys_put.append(key)
        try:
            return self.store.put(key, data)
        except KeyTaken as fault:
            raise OtherBytes(
                subject=key,
                found=fault.expected,
                expected=fault.found,
                hint="the one that came first is kept; give the other another name",
            ) from fault


def _blame(taken: Taken, fault: FirstlightError) -> None:
    """Refuse the file where it is at fault; else it is the machine, and the fault is raised."""
    if fault.kind not in _OF_THE_FILE:
        raise fault
    taken.refuse(fault)


def by_hand(taken: Taken) -> bool:
    """Whether somebody sits there and sees what becomes of it."""
    return taken.origin == Origin.INGEST


def _is_known(name: FileName, sha256: str, known: KnownFiles) -> bool:
    return known.get((ExposureName.of(name).id, name.filename)) == sha256


def _new_files(taken: Taken, name: FileName, stored: StoredFile, found: Content) -> list[NewFile]:
    """The file for the rows of its exposure, with the headers that came with it."""
    facts = _facts(
        name.filename, FileRole(name.role.value), name.reduction_level, stored, taken.arrived
    )
    new = NewFile(ExposureName.of(name), facts)
    headers = []
    if found.cards is not None:
        headers.append(NewHeader(new.file_id, header_rank(name), found.cards))
    if taken.cards:
        cards = clean_cards(taken.cards)
        number = product_id("request header", [str(new.file_id), fingerprint(cards)])
        headers.append(NewHeader(number, header_rank(name, with_request=True), cards))
    new.headers = tuple(headers)
    return [new]


def _facts(
    name: str,
    role: FileRole,
    level: str | None,
    stored: StoredFile,
    arrived: datetime,
    *,
    made: bool = False,
) -> FileFacts:
    return FileFacts(
        name=name,
        role=role.value,
        reduction_level=level,
        key=stored.key,
        size=stored.size,
        sha256=stored.sha256,
        md5=stored.md5,
        made=made,
        created_at=arrived,
    )


def _facts_of(name: FileName, content: bytes) -> StoredFile:
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    sha256 = hashlib.sha256(content).hexdigest()
    return StoredFile(final_key(name, sha256), len(content), sha256, md5)


def _checksum(path: Path, name: FileName) -> StoredFile:
    sha256, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    with path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            sha256.update(piece)
            md5.update(piece)
            size += len(piece)
    digest = sha256.hexdigest()
    return StoredFile(final_key(name, digest), size, digest, md5.hexdigest())
