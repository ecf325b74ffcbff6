"""Downloads: files as stored, plain FITS, TIFF pictures, and zip archives of a period."""

from __future__ import annotations

import contextlib
import io
import tempfile
import uuid
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Literal, TypeAlias, get_args

from firstlight.errors import InvalidInput, MissingError, UserError
from firstlight.formats.fits_file import FitsFile
from firstlight.formats.funpack import funpack
from firstlight.formats.tiff import TIFF_STRETCHES, TiffStretch, encode_tiff
from firstlight.formats.zip_stream import ZipMember, stream_zip
from firstlight.models.base import utc_now
from firstlight.models.database import Database
from firstlight.models.expiration import PassingFile
from firstlight.models.exposure_file import FileRole
from firstlight.services.expiry.leftovers import Leftovers
from firstlight.services.finding.exposure_forms import ExposureRow, FileRow, start_of
from firstlight.services.finding.search import LONGEST_PAGE, SearchService, Sites
from firstlight.services.finding.search_query import ExposureQuery
from firstlight.services.finding.served_files import FileMissing, FileService, ServedFile
from firstlight.storage import KeyMissing, KeyTaken, StorageUnreachable, Store, safe_segment

__all__ = [
    "DownloadService",
    "NothingToDownload",
    "Stored",
    "ZipDownload",
    "ZipSize",
    "ZipTooLarge",
]

ZipSize: TypeAlias = Literal["small", "large", "best"]

LEFT_OUT = "LEFT_OUT.txt"
_LARGE = (FileRole.FITS_LARGE, FileRole.RAW)
_SMALL = (FileRole.FITS_SMALL,)
_ROLES: dict[str, tuple[str, ...]] = {
    "large": _LARGE,
    "small": _SMALL,
    "best": (*_LARGE, *_SMALL),
}
_PLAIN = (".fits", ".fit", ".fts")
_PACKINGS = (".fz", ".gz", ".bz2", ".xz")
# Raised when a conversion gives other bytes, so that old results are not taken for new ones.
_VERSIONS = {"fits": 1, "tif": 1, "jpg": 1}
_TRIES = 3


class ZipTooLarge(UserError):
    """There are too many exposures for one archive."""

    code = "download.too_large"


class NothingToDownload(MissingError):
    """No exposure of the site and period has such a file."""

    code = "download.nothing"


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored file that something is made of.

    Attributes
    ----------
    exposure_id
        With which the result goes.
    """

    exposure_id: uuid.UUID
    key: str
    sha256: str


@dataclass(frozen=True)
class ZipDownload:
    """An archive that is made while it is read.

    Attributes
    ----------
    name
        Under which it is offered.
    files, size
        How many files are to be in it, and their bytes.
    left_out
        Names of exposures that have no such file.
    pieces
        The bytes, once. A file that is removed before its turn comes is left out; all that
        is left out is told in the member ``LEFT_OUT.txt``.
    """

    name: str
    files: int
    size: int
    left_out: tuple[str, ...]
    pieces: Iterator[bytes]


class DownloadService:
    """Hands out files of exposures as people want them.

    Parameters
    ----------
    database, store, search, files, leftovers
        Rows, bytes, what finds exposures, what opens files, and what removes bytes.
    keep_for
        Converted files are kept so long after their last use; None for ever.
    clock
        Tells the time.
    largest_zip
        Exposures in one archive at most.

    Notes
    -----
    Permission is that of the search: an exposure of a site not among `viewer_sites` is not
    found. A file is opened before the first byte is sent, so one that expires meanwhile is
    served whole from a folder, and from S3 whole or with an error, never mixed or cut.
    """

    def __init__(
        self,
        *,
        database: Database,
        store: Store,
        search: SearchService,
        files: FileService,
        leftovers: Leftovers,
        keep_for: timedelta | None = timedelta(hours=48),
        clock: Callable[[], datetime] = utc_now,
        largest_zip: int = 10_000,
    ) -> None:
        self._database = database
        self._store = store
        self._search = search
        self._files = files
        self._leftovers = leftovers
        self._keep_for = keep_for
        self._clock = clock
        self._largest_zip = largest_zip

    def stored(self, which: uuid.UUID | str | int, name: str, viewer_sites: Sites) -> ServedFile:
        """Open one file as it is stored, such as the packed FITS."""
        row = self._search.exposure(which, viewer_sites)
        return self._files.by_key(_named(row, name).key, name)

    def all_stored(self, which: uuid.UUID | str | int, viewer_sites: Sites) -> Iterator[ServedFile]:
        """Open every file of an exposure as it is stored, one after the other."""
        for file in self._search.exposure(which, viewer_sites).files:
            yield self._files.by_key(file.key, file.name)

    def fits(
        self, which: uuid.UUID | str | int, viewer_sites: Sites, *, name: str | None = None
    ) -> ServedFile:
        """Open plain FITS, unpacked where it is stored packed.

        Parameters
        ----------
        name
            Of one of the exposure's files; by default its large FITS, else its raw file, else
            the small FITS.
        """
        row = self._search.exposure(which, viewer_sites)
        file = _fits_file(row, name)
        if file.name.lower().endswith(_PLAIN):
            return self._files.by_key(file.key, file.name)
        stored = Stored(row.id, file.key, file.sha256)
        return self.converted(stored, ("fits", ""), _plain_name(file.name), funpack)

    def tiff(
        self,
        which: uuid.UUID | str | int,
        viewer_sites: Sites,
        *,
        stretch: TiffStretch = "arcsinh",
        name: str | None = None,
    ) -> ServedFile:
        """Open a TIFF of 16 bits, made of the first image of a FITS file.

        Raises
        ------
        Cube
            The image is a stack of planes, which a TIFF cannot stand for.
        """
        if stretch not in TIFF_STRETCHES:
            raise InvalidInput(
                field="stretch", found=stretch, expected=f"one of {', '.join(TIFF_STRETCHES)}"
            )
        row = self._search.exposure(which, viewer_sites)
        file = _fits_file(row, name)

        def convert(path: Path, target: BinaryIO) -> None:
            with FitsFile(path) as opened:
                target.write(encode_tiff(opened.image(), stretch=stretch))

        stem = _plain_name(file.name).rpartition(".")[0]
        parts = [row.columns["filter"] or "nofilter", stretch, stem]
        shown = safe_segment("-".join(parts) + ".tif")
        return self.converted(
            Stored(row.id, file.key, file.sha256), ("tif", stretch), shown, convert
        )

    def zip(
        self,
        site: str,
        start: datetime,
        end: datetime,
        viewer_sites: Sites,
        *,
        size: ZipSize = "best",
        collection: str = "data",
    ) -> ZipDownload:
        """Pack the FITS files of all exposures of a site that began in a period.

        Parameters
        ----------
        start, end
            Aware; from the first on and before the second.
        size
            ``best`` is the large file where there is one, else the small.

        Raises
        ------
        NothingToDownload, ZipTooLarge
            No exposure has such a file; there are more exposures than `largest_zip`.
        InvalidInput
            There is no such size, or the period ends before it begins.
        """
        if size not in get_args(ZipSize):
            raise InvalidInput(field="size", found=size, expected="small, large or best")
        if end < start:
            raise InvalidInput("the period ends before it begins", field="end", found=end)
        query = ExposureQuery(site=(site,), start=start, end=end, collection=(collection,))
        chosen: list[tuple[FileRow, datetime]] = []
        left_out: list[str] = []
        for row in self._oldest_first(query, viewer_sites):
            file = row.file(*_ROLES[size])
            if file is None:
                left_out.append(str(row.columns["label"] or row.id))
            else:
                chosen.append((file, start_of(row.columns)))
        if not chosen:
            raise NothingToDownload(subject=site, field="size", found=size)
        return ZipDownload(
            name=safe_segment(f"{site}-{int(start.timestamp())}.zip"),
            files=len(chosen),
            size=sum(file.size for file, _ in chosen),
            left_out=tuple(left_out),
            pieces=stream_zip(self._members(chosen, left_out)),
        )

    def _oldest_first(self, query: ExposureQuery, viewer_sites: Sites) -> list[ExposureRow]:
        found: list[ExposureRow] = []
        cursor = None
        while True:
            page = self._search.exposures(query, viewer_sites, cursor=cursor, limit=LONGEST_PAGE)
            found += page.rows
            if len(found) > self._largest_zip:
                raise ZipTooLarge(
                    found=f"more than {self._largest_zip} exposures", hint="ask for a shorter time"
                )
            cursor = page.next_cursor
            if cursor is None:
                return found[::-1]

    def _members(
        self, chosen: Collection[tuple[FileRow, datetime]], left_out: list[str]
    ) -> Iterator[ZipMember]:
        for file, when in chosen:
            try:
                stream = self._store.open(file.key)
            except KeyMissing:
                left_out.append(file.name)
                continue
            yield ZipMember(file.name, _opened(stream), file.size, when)
        if left_out:
            told = "".join(f"{name}\n" for name in left_out).encode("utf-8", "replace")
            yield ZipMember(LEFT_OUT, lambda: io.BytesIO(told), len(told))

    def converted(
        self,
        stored: Stored,
        form: tuple[str, str],
        shown: str,
        convert: Callable[[Path, BinaryIO], None],
    ) -> ServedFile:
        """Open a file converted from one whose permission was checked, made before or now.

        Parameters
        ----------
        form
            Kind of the result, as its name ends, and which of several of that kind.
        shown
            Name under which it is offered.
        convert
            Reads the file at a path, and writes the result.
        """
        kind, variant = form
        # Of the content and the conversion, so that the same asked twice is one file.
        parts = [stored.sha256, *([variant] if variant else []), f"v{_VERSIONS[kind]}"]
        key = f"downloads/{kind}/{stored.sha256[:2]}/{'-'.join(parts)}.{kind}"
        if not (self._use_again(key) and self._store.exists(key)):
            with (
                self._store.local_path(stored.key) as path,
                tempfile.TemporaryDirectory(prefix="firstlight-") as folder,
            ):
                made = Path(folder) / f"made.{kind}"
                with made.open("wb") as target:
                    convert(path, target)
                self._keep(key, made, stored.exposure_id)
        return self._files.by_key(key, shown)

    def _use_again(self, key: str) -> bool:
        """Whether the file was made before. It then stays for as long as a new one would."""
        with self._database.begin() as session:
            kept = session.get(PassingFile, key, with_for_update=True)
            # Where its time is over, whoever removes it may have begun.
            if kept is None or (kept.expires_at is not None and kept.expires_at <= self._clock()):
                return False
            kept.used_at = self._clock()
            kept.expires_at = self._expires_at()
        return True

    def _keep(self, key: str, made: Path, exposure: uuid.UUID) -> None:
        for _ in range(_TRIES):
            # Made by another version of a library it is as good, and others may be reading it.
            with contextlib.suppress(KeyTaken):
                self._store.put(key, made)
            with self._database.begin() as session:
                # What is being removed at this moment must be put again.
                if not self._leftovers.claim(session, [key]):
                    session.add(
                        PassingFile(
                            key=key,
                            exposure_id=exposure,
                            size=made.stat().st_size,
                            used_at=self._clock(),
                            expires_at=self._expires_at(),
                        )
                    )
                    return
        raise StorageUnreachable("the converted file keeps being removed", subject=key)

    def _expires_at(self) -> datetime | None:
        return None if self._keep_for is None else self._clock() + self._keep_for


def _opened(stream: BinaryIO) -> Callable[[], BinaryIO]:
    return lambda: stream


def _named(row: ExposureRow, name: str) -> FileRow:
    for file in row.files:
        if file.name == name:
            return file
    raise FileMissing(subject=row.columns["label"], field="name", found=name)


def _fits_file(row: ExposureRow, name: str | None) -> FileRow:
    file = row.file(*_ROLES["best"]) if name is None else _named(row, name)
    if file is None:
        raise FileMissing("the exposure has no FITS file", subject=row.columns["label"])
    if not _plain_name(file.name).lower().endswith(_PLAIN):
        raise InvalidInput(field="name", found=file.name, expected="a FITS file")
    return file


def _plain_name(name: str) -> str:
    """The name without what tells its packing."""
    for packing in _PACKINGS:
        if name.lower().endswith(packing):
            return name[: -len(packing)]
    return name
