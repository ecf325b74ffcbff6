"""A store in a bucket of S3 or of any server that speaks its language, through obstore."""

from __future__ import annotations

import io
import mmap
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, BinaryIO, cast

import obstore
from obstore import exceptions as remote
from obstore.store import S3Store as Bucket

from firstlight.storage.content import Counted, counted, pieces_of
from firstlight.storage.disk import disk_errors
from firstlight.storage.keys import BadKey, check_key, check_prefix
from firstlight.storage.links import check_expiry
from firstlight.storage.store import (
    STALE,
    ChecksumMismatch,
    Content,
    KeyChanged,
    KeyMissing,
    KeyTaken,
    LinkMethod,
    StorageRefused,
    StorageUnreachable,
    StoredEntry,
    StoredFile,
    check_range,
)

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from obstore import GetOptions, GetResult, ObjectMeta
    from obstore.store import ClientConfig, RetryConfig, S3Config

__all__ = ["S3Account", "S3Store"]

_SINGLE_PUT_LIMIT = 5 << 30
"""The most that S3 takes in one request, the only kind that has an atomic condition."""

_IN_MEMORY = 8 << 20
"""Content up to here is held in memory; above it a file without a name holds it."""

_READ_AHEAD = 4 << 20
_REQUEST = 8 << 20
"""Bytes asked for at once. Small enough for one request on a slow line within the timeout."""

_TRIES = 5
_TIMEOUT = timedelta(seconds=60)
_LONG_TIMEOUT = timedelta(hours=2)
_LISTED_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class S3Account:
    """How to reach a server and who asks.

    Without an endpoint it is Amazon's; without keys obstore looks where Amazon's own programs
    look (environment, instance role). `retry_for` bounds how long a failing server is asked
    again.
    """

    endpoint: str | None = None
    region: str = "us-east-1"
    access_key_id: str | None = None
    secret_access_key: str | None = None
    allow_http: bool = False
    retry_for: timedelta = timedelta(seconds=30)

    def bucket(self, name: str, prefix: str, timeout: timedelta) -> Bucket:
        """Return a client for one bucket."""
        config: S3Config = {"region": self.region, "virtual_hosted_style_request": False}
        if self.endpoint:
            config["endpoint"] = self.endpoint
        if self.access_key_id and self.secret_access_key:
            config["access_key_id"] = self.access_key_id
            config["secret_access_key"] = self.secret_access_key
        client: ClientConfig = {
            "allow_http": self.allow_http,
            "connect_timeout": timedelta(seconds=10),
            "timeout": timeout,
        }
        retry: RetryConfig = {"max_retries": 8, "retry_timeout": self.retry_for}
        return Bucket(
            name, prefix=prefix or None, config=config, client_options=client, retry_config=retry
        )


class S3Store:
    """Keys are objects of a bucket, below a prefix.

    Content goes first to a local file without a name, where its checksums are counted, then to
    the bucket in one request with the condition that the key is free. So of any number of
    writers exactly one wins, a killed one leaves nothing at all, and each object carries its
    sha256 and md5 in its metadata. Conditions on multipart uploads are not used: SeaweedFS lets
    several writers pass them. Content over 5 GiB, which one request cannot hold, is uploaded in
    parts after a look whether the key is free; a second writer between that look and the end of
    the upload is not noticed.

    Parameters
    ----------
    bucket, prefix
        Where the keys lie.
    spool
        Folder for content on its way and for `local_path`; the system's own where it is None.
    listing_is_ordered
        Whether the server lists in key order, as S3 does and SeaweedFS does not. If not, `list`
        holds all entries of a listing in memory to sort them.
    single_put_limit
        Bytes above which content is uploaded in parts.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        account: S3Account,
        spool: Path | None = None,
        listing_is_ordered: bool = False,
        single_put_limit: int = _SINGLE_PUT_LIMIT,
    ) -> None:
        self._prefix = check_prefix(prefix)
        self.identity = f"{account.endpoint or ''}/{bucket}/{self._prefix}"
        self._bucket = account.bucket(bucket, self._prefix, _TIMEOUT)
        self._patient = account.bucket(bucket, self._prefix, _LONG_TIMEOUT)
        self._spool = None if spool is None else str(spool)
        self._listing_is_ordered = listing_is_ordered
        self._single_put_limit = single_put_limit
        if spool is not None:
            with disk_errors(spool):
                spool.mkdir(parents=True, exist_ok=True)

    def put(
        self, key: str, data: Content, *, overwrite: bool = False, sha256: str | None = None
    ) -> StoredFile:
        """Store bytes under a key; see `Store.put`."""
        check_key(key)
        with tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=self._spool) as spooled:
            stored = _receive(spooled, key, data, sha256)
            if overwrite:
                self._upload(stored, spooled, create=False)
                return stored
            for attempt in range(_TRIES):
                # A look first saves sending a large file in vain, and costs a small one a trip.
                look = attempt > 0 or stored.size > _IN_MEMORY
                if look and self._holds_same(stored):
                    return stored
                if self._upload(stored, spooled, create=True):
                    return stored
        # SeaweedFS keeps folders: it refuses a name that is one, though no file is there.
        raise KeyTaken("the server refuses the key, as a folder of keys has its name", subject=key)

    def open(self, key: str) -> BinaryIO:
        """Return a seekable stream that fetches what is read, with 4 MiB of read-ahead."""
        return cast("BinaryIO", io.BufferedReader(_RemoteFile(self, self.stat(key)), _READ_AHEAD))

    def read(self, key: str) -> bytes:
        """Return all bytes."""
        return b"".join(self.pieces(self.stat(key)))

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        """Return the bytes ``[start, stop)``, cut at the end of the file."""
        check_range(key, start, stop)
        return b"".join(self.pieces(self.stat(key), start, stop))

    def exists(self, key: str) -> bool:
        """Tell whether the key holds a file."""
        try:
            self.stat(key)
        except KeyMissing:
            return False
        return True

    def stat(self, key: str) -> StoredEntry:
        """Return size and time."""
        check_key(key)
        with _remote_errors(key):
            return _entry(obstore.head(self._bucket, key))

    def checksum(self, key: str) -> StoredFile:
        """Read the stored bytes again and count them."""
        return counted(key, self.pieces(self.stat(key)))

    def delete(self, key: str) -> None:
        """Remove the key."""
        check_key(key)
        try:
            with _remote_errors(key):
                obstore.delete(self._bucket, key)
        except KeyMissing:
            return  # some servers tell, Amazon's does not

    def list(self, prefix: str = "") -> Iterator[StoredEntry]:
        """Yield what lies below a folder in key order."""
        entries = self._listed(check_prefix(prefix))
        if self._listing_is_ordered:
            yield from entries
        else:
            yield from sorted(entries, key=lambda entry: entry.key)

    def signed_link(self, key: str, expires: timedelta, method: LinkMethod = "GET") -> str:
        """Return an address of the server, signed with the account's key."""
        check_key(key)
        check_expiry(key, expires)
        with _remote_errors(key):
            return str(obstore.sign(self._bucket, method, key, expires))

    @contextmanager
    def local_path(self, key: str) -> Iterator[Path]:
        """Give a copy that lives as long as the context; `CachedStore` keeps copies."""
        entry = self.stat(key)
        with tempfile.TemporaryDirectory(prefix="firstlight-", dir=self._spool) as folder:
            path = Path(folder) / PurePosixPath(key).name
            with disk_errors(path), path.open("xb") as stream:
                self.fetch(entry, stream)
            yield path

    def fetch(self, entry: StoredEntry, target: BinaryIO) -> StoredFile:
        """Write the bytes of one version of a key to a stream, checked.

        Raises
        ------
        KeyChanged
            The key now holds another version.
        ChecksumMismatch
            The bytes do not have the size, or the sha256 recorded with the object.
        """
        count = Counted()
        for piece in self.pieces(entry):
            count.add(piece)
            with disk_errors(entry.key):
                target.write(piece)
        if count.size != entry.size:
            raise ChecksumMismatch(
                subject=entry.key, field="size", found=count.size, expected=entry.size
            )
        return count.stored_as(entry.key, self._recorded_sha256(entry))

    def check(self) -> None:
        """List a little."""
        with _remote_errors(self.identity):
            next(iter(obstore.list(self._bucket, chunk_size=1)), None)

    def sweep(self, older_than: timedelta = STALE) -> int:  # noqa: ARG002 - the interface has it
        """Return 0: a killed writer leaves nothing under any name.

        Only parts of an unfinished upload over 5 GiB can stay, invisible; a lifecycle rule of
        the bucket (AbortIncompleteMultipartUpload) removes them.
        """
        return 0

    def _upload(self, stored: StoredFile, spooled: IO[bytes], *, create: bool) -> bool:
        """Send the content; return False where the key is taken."""
        attributes = {"sha256": stored.sha256, "md5": stored.md5}
        spooled.seek(0)
        try:
            with _remote_errors(stored.key):
                if stored.size > self._single_put_limit:
                    obstore.put(
                        self._patient,
                        stored.key,
                        spooled,
                        attributes=attributes,
                        use_multipart=True,
                        # 10 000 parts are allowed.
                        chunk_size=max(32 << 20, stored.size // 9000),
                        max_concurrency=4,
                    )
                    return True
                obstore.put(
                    self._bucket if stored.size <= _IN_MEMORY else self._patient,
                    stored.key,
                    _as_buffer(spooled, stored.size),
                    attributes=attributes,
                    mode="create" if create else "overwrite",
                    use_multipart=False,
                )
        except remote.AlreadyExistsError:
            return False
        except KeyMissing as error:
            raise StorageUnreachable("there is no such bucket", subject=self.identity) from error
        return True

    def _holds_same(self, stored: StoredFile) -> bool:
        """Tell a free key (False) from one with the same bytes; raise `KeyTaken` for others."""
        try:
            entry = self.stat(stored.key)
        except KeyMissing:
            return False
        if entry.size == stored.size:
            found = self._recorded_sha256(entry) or self.checksum(stored.key).sha256
            if found == stored.sha256:
                return True
        raise KeyTaken(
            subject=stored.key,
            found=f"{entry.size} bytes",
            expected=f"{stored.size} bytes of sha256 {stored.sha256}",
        )

    def _recorded_sha256(self, entry: StoredEntry) -> str | None:
        """The checksum that was stored with the object, if this system stored it."""
        options: GetOptions = {"if_match": entry.version, "head": True}
        with _remote_errors(entry.key):
            return obstore.get(self._bucket, entry.key, options=options).attributes.get("sha256")

    def pieces(
        self, entry: StoredEntry, start: int = 0, stop: int | None = None
    ) -> Iterator[bytes]:
        """Yield the bytes of one version of a key, one request a piece."""
        end = entry.size if stop is None else min(stop, entry.size)
        for begin in range(start, end, _REQUEST):
            yield self.piece(entry, begin, min(begin + _REQUEST, end))

    def piece(self, entry: StoredEntry, start: int, stop: int) -> bytes:
        """Fetch the bytes ``[start, stop)`` of one version of a key."""
        options: GetOptions = {"range": (start, stop), "if_match": entry.version}
        with _remote_errors(entry.key):
            result: GetResult = obstore.get(self._bucket, entry.key, options=options)
            return bytes(result.bytes())

    def _listed(self, folder: str) -> Iterator[StoredEntry]:
        with _remote_errors(folder or self.identity):
            pages = obstore.list(self._bucket, folder or None, chunk_size=_LISTED_AT_ONCE)
            for page in pages:
                yield from (_entry(facts) for facts in page if _has_valid_key(facts))


class _RemoteFile(io.RawIOBase):
    """One version of an object as a seekable file."""

    def __init__(self, store: S3Store, entry: StoredEntry) -> None:
        self._store = store
        self._entry = entry
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._entry.size}[whence]
        if base + offset < 0:
            raise ValueError("seek before the beginning of the file")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readall(self) -> bytes:
        # The inherited one asks for 8 KiB at a time, each a request.
        rest = b"".join(self._store.pieces(self._entry, self._at))
        self._at += len(rest)
        return rest

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        stop = min(self._at + min(len(view), _REQUEST), self._entry.size)
        if stop <= self._at:
            return 0
        piece = self._store.piece(self._entry, self._at, stop)
        view[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


def _receive(spooled: IO[bytes], key: str, data: Content, sha256: str | None) -> StoredFile:
    """Copy the content to the spool and check it."""
    count = Counted()
    for piece in pieces_of(data):
        count.add(piece)
        with disk_errors(key):
            spooled.write(piece)
    with disk_errors(key):
        spooled.flush()
    return count.stored_as(key, sha256)


def _as_buffer(spooled: IO[bytes], size: int) -> bytes | mmap.mmap:
    """Return the content as one buffer; a large one is mapped, not read into memory.

    The file has no name, so nobody can cut it short, which would kill this process. The
    mapping ends with its last user: after a refusal the client may hold it a little longer.
    """
    if size <= _IN_MEMORY:
        return spooled.read()
    return mmap.mmap(spooled.fileno(), 0, access=mmap.ACCESS_READ)


@contextmanager
def _remote_errors(subject: str) -> Iterator[None]:
    """Turn errors of obstore into those of a store; `AlreadyExistsError` is left to `put`."""
    try:
        yield
    except remote.AlreadyExistsError:
        raise
    except remote.PreconditionError as error:
        raise KeyChanged(subject=subject) from error
    except (FileNotFoundError, remote.BaseError) as error:
        found = _first_line(error)
        if "<Code>NoSuchBucket<" in str(error):
            raise StorageUnreachable(
                "there is no such bucket", subject=subject, found=found
            ) from error
        if isinstance(error, FileNotFoundError):
            raise KeyMissing(subject=subject) from None
        # Listings report a refusal as a general error, so the status in the text must do.
        refused = isinstance(error, remote.PermissionDeniedError | remote.UnauthenticatedError)
        if refused or "403 Forbidden" in found:
            raise StorageRefused(subject=subject, found=found) from error
        raise StorageUnreachable(subject=subject, found=found) from error


def _first_line(error: Exception) -> str:
    """Return what obstore says, without the pages of its inner state below."""
    return str(error).split("\n", 1)[0]


def _entry(facts: ObjectMeta) -> StoredEntry:
    return StoredEntry(
        key=facts["path"],
        size=facts["size"],
        modified=facts["last_modified"],
        version=facts["e_tag"] or facts["last_modified"].isoformat(),
    )


def _has_valid_key(facts: ObjectMeta) -> bool:
    """Leave out what others put into the bucket under names that no key can have."""
    try:
        check_key(facts["path"])
    except BadKey:
        return False
    return True
