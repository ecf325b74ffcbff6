"""Files of the store as they are served: whole or in part, by a signed link or by their key."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import BinaryIO, Protocol

from sqlalchemy import ColumnElement, select

from firstlight.errors import MissingError
from firstlight.models.database import Database
from firstlight.models.exposure import Exposure
from firstlight.models.exposure_file import ExposureFile
from firstlight.services.access import Viewer
from firstlight.storage import LinkForged, LinksUnavailable, Store
from firstlight.storage.store import LinkMethod

__all__ = ["FileMissing", "FileService", "LinkChecker", "ServedFile"]

_PIECE = 1 << 18
_LINK_LASTS = timedelta(hours=1)
_MEDIA_TYPES = {
    ".fits": "application/fits",
    ".fits.fz": "application/fits",
    ".fits.bz2": "application/x-bzip2",
    ".fits.gz": "application/gzip",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".tif": "image/tiff",
    ".txt": "text/plain; charset=utf-8",
    ".mp4": "video/mp4",
    ".json": "application/json",
}


class FileMissing(MissingError):
    """There is no such file."""

    code = "archive.file_missing"


class LinkChecker(Protocol):
    """Tells which key a signed link opens."""

    def verify(self, token: str, method: LinkMethod = "GET") -> str:
        """Return the key; raises `LinkForged` or `LinkExpired`."""
        ...


@dataclass(frozen=True, slots=True)
class ServedFile:
    """An open file. Whatever happens to its key meanwhile, it is served whole or not at all.

    Attributes
    ----------
    key
        In the store.
    size
        Bytes.
    tag
        Differs for other bytes under the same key.
    """

    name: str
    key: str
    size: int
    tag: str
    modified: datetime
    media_type: str
    stream: BinaryIO

    def pieces(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes ``[start, stop)`` and close the file."""
        with self.stream as stream:
            stream.seek(start)
            left = stop - start
            while left > 0:
                piece = stream.read(min(_PIECE, left))
                if not piece:
                    raise EOFError(f"{self.name} ended {left} bytes too early")
                left -= len(piece)
                yield piece

    def close(self) -> None:
        """Close the file, where nobody reads it."""
        self.stream.close()


class FileService:
    """Opens files for those who may have them.

    Parameters
    ----------
    database, store
        Rows and bytes.
    links
        Checks signed links; None where the store's own server does.
    """

    def __init__(
        self, *, database: Database, store: Store, links: LinkChecker | None = None
    ) -> None:
        self._database = database
        self._store = store
        self._links = links

    def by_link(self, token: str, method: LinkMethod = "GET") -> ServedFile:
        """Open what a signed link leads to.

        Raises
        ------
        LinkForged, LinkExpired
            The link is not good (any more).
        KeyMissing
            The file has been removed.
        """
        if self._links is None:
            raise LinkForged("this archive's links lead elsewhere")
        return self.by_key(self._links.verify(token, method))

    def link(self, key: str, expires: timedelta = _LINK_LASTS) -> str | None:
        """Return an address under which anyone may get a file for a while; None without links."""
        try:
            return self._store.signed_link(key, expires)
        except LinksUnavailable:
            return None

    def of_exposure(self, which: str, name: str, viewer: Viewer) -> ServedFile:
        """Open one file of an exposure.

        Parameters
        ----------
        which
            Id of the exposure, or its base filename.

        Raises
        ------
        FileMissing
            There is none of this name, or none that the viewer may read: the two look alike.
        NotSignedIn, Forbidden
            The viewer may read nothing at all.
        KeyMissing
            The file has just been removed.
        """
        viewer.sites()
        query = (
            select(ExposureFile.key, Exposure.site)
            .join(Exposure, Exposure.id == ExposureFile.exposure_id)
            .where(_is(which), ExposureFile.name == name)
            .order_by(Exposure.collection.desc())
        )
        with self._database.reading() as session:
            found = session.execute(query).first()
        if found is None or not viewer.may("read", found.site):
            raise FileMissing(subject=name)
        return self.by_key(found.key, name)

    def by_key(self, key: str, name: str | None = None) -> ServedFile:
        """Open a file whose permission was checked.

        Parameters
        ----------
        name
            Under which it is offered; the last part of the key by default.
        """
        entry = self._store.stat(key)
        stream = self._store.open(key)
        size = stream.seek(0, 2)
        shown = name or key.rpartition("/")[2]
        return ServedFile(
            shown, key, size, entry.version, entry.modified, _media_type(shown), stream
        )


def _is(which: str) -> ColumnElement[bool]:
    try:
        return ExposureFile.exposure_id == uuid.UUID(which)
    except ValueError:
        return Exposure.base_filename == which


def _media_type(name: str) -> str:
    lower = name.lower()
    ends = (end for end in _MEDIA_TYPES if lower.endswith(end))
    return _MEDIA_TYPES[found] if (found := max(ends, key=len, default="")) else _UNKNOWN


_UNKNOWN = "application/octet-stream"
