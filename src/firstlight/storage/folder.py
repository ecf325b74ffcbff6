"""A store in a folder.

The operating system is used directly and not obstore's LocalStore, which neither syncs to the
disk, so that a file acknowledged before a power cut may be empty after it, nor offers a way to
write a stream under a free key only.
"""

from __future__ import annotations

import errno
import logging
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from firstlight.storage.content import Counted, counted, pieces_of
from firstlight.storage.disk import disk_errors, remove_older, sync_file, sync_folder
from firstlight.storage.keys import BadKey, check_key, check_prefix
from firstlight.storage.links import LinkSigner
from firstlight.storage.locks import exclusive
from firstlight.storage.store import (
    STALE,
    Content,
    KeyMissing,
    KeyTaken,
    LinkMethod,
    LinksUnavailable,
    StorageUnreachable,
    StoredEntry,
    StoredFile,
    check_range,
)

__all__ = ["FolderStore"]

# Under the root, so that it shares the file system with the keys; valid keys never begin with
# a dot.
_INCOMING = Path(".firstlight") / "incoming"
_TRIES = 100
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}

_log = logging.getLogger(__name__)


class FolderStore:
    """Keys are paths below a folder.

    A file is written to a temporary name, synced, and then linked to its key: a link fails
    where the name exists, so of any number of writers exactly one wins, and a killed one
    leaves nothing under the key. Files are read-only on disk, because keys are never changed.

    Unlike on S3, a key cannot also be a folder of other keys: `put` raises `KeyTaken`.

    Parameters
    ----------
    root
        The folder; made if it does not exist.
    links
        Makes signed links for the API to serve; without it `signed_link` raises.
    """

    def __init__(self, root: Path, *, links: LinkSigner | None = None) -> None:
        self.root = root.absolute()
        self._links = links
        self._incoming = self.root / _INCOMING
        self._synced: dict[Path, int] = {}
        with disk_errors(self.root):
            self._incoming.mkdir(parents=True, exist_ok=True)

    def put(
        self, key: str, data: Content, *, overwrite: bool = False, sha256: str | None = None
    ) -> StoredFile:
        """Store bytes under a key; see `Store.put`."""
        target = self._path(key)
        temporary = self._incoming / uuid.uuid4().hex
        try:
            stored = self._receive(temporary, key, data, sha256)
            for _ in range(_TRIES):
                with disk_errors(key):
                    published = self._publish(temporary, target, overwrite=overwrite)
                if published or self._holds_same(stored, target, overwrite=overwrite):
                    return stored
        finally:
            # A failing disk may refuse this too; the first error is the one to report, and
            # the sweep removes what stays.
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
        raise StorageUnreachable("the key or its folder keeps disappearing", subject=key)

    def open(self, key: str) -> BinaryIO:
        """Return a seekable stream."""
        path = self._path(key)
        with self._reading(key):
            return path.open("rb")

    def read(self, key: str) -> bytes:
        """Return all bytes."""
        with self.open(key) as stream, disk_errors(key):
            return stream.read()

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        """Return the bytes ``[start, stop)``, cut at the end of the file."""
        check_range(key, start, stop)
        with self.open(key) as stream, disk_errors(key):
            stream.seek(start)
            return stream.read(stop - start)

    def exists(self, key: str) -> bool:
        """Tell whether the key holds a file."""
        path = self._path(key)
        with disk_errors(key):
            return path.is_file()

    def stat(self, key: str) -> StoredEntry:
        """Return size and time."""
        path = self._path(key)
        with self._reading(key):
            facts = path.stat()
        if not path.is_file():
            raise KeyMissing(subject=key)
        return _entry(key, facts)

    def checksum(self, key: str) -> StoredFile:
        """Read the stored bytes again and count them."""
        with self.open(key) as stream, disk_errors(key):
            return counted(key, pieces_of(stream))

    def delete(self, key: str) -> None:
        """Remove the key, and the folders that this leaves empty."""
        path = self._path(key)
        with disk_errors(key):
            try:
                path.unlink()
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                return
            sync_folder(path.parent)
        for parent in path.parents:
            if parent == self.root:
                return
            try:
                parent.rmdir()
            except OSError:
                return  # not empty, or another process has just removed or filled it

    def list(self, prefix: str = "") -> Iterator[StoredEntry]:
        """Yield what lies below a folder in key order; holds one folder's names at a time."""
        folder = check_prefix(prefix)
        yield from self._walk(folder and folder + "/")

    def signed_link(self, key: str, expires: timedelta, method: LinkMethod = "GET") -> str:
        """Return an address of the API with a token in it."""
        check_key(key)
        return self._link_signer().link(key, expires, method)

    def verify_link(self, token: str, method: LinkMethod = "GET") -> str:
        """Return the key that a token opens; see `LinkSigner.verify`."""
        return self._link_signer().verify(token, method)

    @contextmanager
    def local_path(self, key: str) -> Iterator[Path]:
        """Give the stored file itself."""
        self.stat(key)
        yield self._path(key)

    def check(self) -> None:
        """Write and remove an empty file."""
        probe = self._incoming / uuid.uuid4().hex
        with disk_errors(self.root):
            probe.touch()
            probe.unlink()

    def sweep(self, older_than: timedelta = STALE) -> int:
        """Remove temporary files of killed writers."""
        with disk_errors(self.root):
            return remove_older(self._incoming, time.time() - older_than.total_seconds())

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)

    def _link_signer(self) -> LinkSigner:
        if self._links is None:
            raise LinksUnavailable(
                subject=self.root,
                hint="set storage.link_base_url and storage.link_secret",
            )
        return self._links

    @contextmanager
    def _reading(self, key: str) -> Iterator[None]:
        """Say that a key is missing where the path does not lead to a file."""
        try:
            with disk_errors(key):
                yield
        except StorageUnreachable as error:
            if isinstance(
                error.__cause__, FileNotFoundError | NotADirectoryError | IsADirectoryError
            ):
                raise KeyMissing(subject=key) from None
            raise

    def _receive(self, temporary: Path, key: str, data: Content, sha256: str | None) -> StoredFile:
        """Write the content to a temporary file, checked and synced."""
        count = Counted()
        with disk_errors(key):
            # O_BINARY exists on Windows only, where it is needed.
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
            stream = os.fdopen(os.open(temporary, flags, 0o444), "wb", buffering=0)
        with stream:
            # Errors of the source must not be taken for errors of this disk, so only the
            # writing is inside.
            for piece in pieces_of(data):
                count.add(piece)
                with disk_errors(key):
                    _write_all(stream, piece)
            stored = count.stored_as(key, sha256)
            with disk_errors(key):
                sync_file(stream)
        return stored

    def _publish(self, temporary: Path, target: Path, *, overwrite: bool) -> bool:
        """Give the temporary file its key; return False where something was in the way."""
        try:
            self._make_folder(target.parent)
            if overwrite:
                temporary.replace(target)
            else:
                self._take_free_name(temporary, target)
        except (FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError):
            # Taken, or another process has just removed the folder, empty until now.
            if not temporary.exists():
                raise
            return False
        self._sync_up_to(target.parent)
        return True

    def _make_folder(self, folder: Path) -> None:
        for level in (folder, *folder.parents):
            if level.is_dir():
                break
            self._synced.pop(level, None)  # numbers of folders are given out again
        folder.mkdir(parents=True, exist_ok=True)

    def _sync_up_to(self, folder: Path) -> None:
        """Sync a folder, for the name that is new in it, and those above that may be new.

        What this process has synced once needs it again only where it was made anew, which
        its number tells: a night's folder is not synced with all above it for each of a
        night's files.
        """
        sync_folder(folder)
        seen: dict[Path, int] = {}
        for level in (folder, *folder.parents):
            if level == self.root:
                break
            try:
                number = level.stat().st_ino
            except FileNotFoundError:
                return  # another process has just removed it, and the new name with it
            if self._synced.get(level) == number:
                break
            sync_folder(level.parent)
            seen[level] = number
        self._synced |= seen

    def _take_free_name(self, temporary: Path, target: Path) -> None:
        """Move a file to a name, raising `FileExistsError` where that is taken."""
        try:
            os.link(temporary, target)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            # exFAT and some network disks have no links. There every writer comes this way,
            # and a lock makes the look and the rename one action.
            with exclusive(self._incoming.parent / "lock"):
                if target.exists():
                    raise FileExistsError(errno.EEXIST, "taken", str(target)) from None
                temporary.rename(target)

    def _holds_same(self, stored: StoredFile, target: Path, *, overwrite: bool) -> bool:
        """Tell a key that may be tried again (False) from one with the same bytes.

        Raise `KeyTaken` for one with other bytes, unless those may be overwritten.
        """
        try:
            found = self.stat(stored.key)
            same = found.size == stored.size and self.checksum(stored.key) == stored
        except KeyMissing:
            if _is_folder_or_below_file(target, self.root):
                raise KeyTaken(
                    "a key and a folder of keys cannot have one name",
                    subject=stored.key,
                    found=target,
                ) from None
            return False
        if not same and not overwrite:
            raise KeyTaken(
                subject=stored.key,
                found=f"{found.size} bytes",
                expected=f"{stored.size} bytes of sha256 {stored.sha256}",
            )
        return same

    def _walk(self, base: str) -> Iterator[StoredEntry]:
        """Yield the files below a folder; `base` is "" or ends with a slash."""
        with disk_errors(base):
            names = _sorted_names(self.root / base)
        for name in names:
            if not base and name.startswith("."):
                continue
            if name.endswith("/"):
                yield from self._walk(base + name)
                continue
            try:
                entry = self.stat(base + name)
            except KeyMissing:
                continue  # deleted while listing
            except BadKey as error:
                _log.warning("a file that no key can name lies in the store: %s", error)
                continue
            yield entry


def _sorted_names(folder: Path) -> list[str]:
    """Names in a folder, folders with a slash: the order of keys, where ``a-b`` < ``a/c``."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name + "/" * entry.is_dir() for entry in entries)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _entry(key: str, facts: os.stat_result) -> StoredEntry:
    return StoredEntry(
        key=key,
        size=facts.st_size,
        modified=datetime.fromtimestamp(facts.st_mtime, UTC),
        version=f"{facts.st_mtime_ns:x}-{facts.st_ino:x}-{facts.st_size:x}",
    )


def _is_folder_or_below_file(target: Path, root: Path) -> bool:
    """Tell whether a path can hold no file while other keys are there."""
    parents = target.relative_to(root).parents
    return target.is_dir() or any((root / parent).is_file() for parent in parents)


def _write_all(stream: BinaryIO, piece: bytes) -> None:
    """Write a piece to an unbuffered file, which may take less than it is given."""
    rest = memoryview(piece)
    while rest:
        rest = rest[stream.write(rest) :]
