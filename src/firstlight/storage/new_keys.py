"""Keys that are new or changed, found by listing: for servers that send no events.

Two passes work together. A *quick pass* lists only what sorts after the newest key of each
lane; a lane is what keys share up to their date, so that the files of a camera, whose names
grow with time, cost one request however many lie before them. A *full pass* lists everything,
and finds the rest: keys that sort before others, keys that were replaced, new lanes. It runs
the more seldom the longer it takes.

What a full pass has told of is remembered without a word for every key: the listing is cut
into chunks of about 256 keys at places that depend on single keys only, so a new key changes
one chunk, and a digest is kept for each. A chunk whose digest is known holds nothing new.
"""

from __future__ import annotations

import hashlib
import logging
import re
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, Self
from urllib.parse import urlsplit

import obstore
from obstore import exceptions as remote

from firstlight.storage.keys import BadKey, check_key
from firstlight.storage.s3 import S3Account
from firstlight.storage.settings import StorageSettings
from firstlight.storage.store import StorageUnreachable, Store, StoredEntry

__all__ = ["BucketLister", "KeyLister", "ListingState", "NewKeys", "StoreLister"]

_CHUNK = 256  # keys, on average
_BATCH = 1000  # keys told of at once, about
_LANES = 64
_REMEMBERED = 20_000
_SHARE = 10.0  # a full pass of t seconds is followed by at least ten times t without one
_LONGEST_WAIT_S = 900.0
_LANE = re.compile(r"[0-9]{6,}")
_TIMEOUT = timedelta(seconds=60)

_log = logging.getLogger(__name__)


class KeyLister(Protocol):
    """Lists keys in the order of code points."""

    starts_anywhere: bool
    """Whether a listing that starts late is cheap, and ends cheaply when it is left."""

    def keys_after(self, after: str) -> Iterator[StoredEntry]:
        """Yield what sorts after a key; "" sorts before all."""
        ...


class StoreLister:
    """Lists below a folder of any store."""

    starts_anywhere = False

    def __init__(self, store: Store, prefix: str = "") -> None:
        self._store = store
        self._prefix = prefix

    def keys_after(self, after: str) -> Iterator[StoredEntry]:
        """Yield what sorts after a key."""
        return (each for each in self._store.list(self._prefix) if each.key > after)


class BucketLister:
    """Lists a bucket of someone else's.

    Parameters
    ----------
    prefix
        Whole segments; keys are told relative to it.
    is_ordered
        Whether the server lists in the order of code points, as Amazon's does and SeaweedFS
        does not. If not, a listing is held in memory to be sorted.
    """

    def __init__(
        self, account: S3Account, bucket: str, prefix: str = "", *, is_ordered: bool
    ) -> None:
        self.starts_anywhere = is_ordered
        self._name = f"s3://{bucket}/{prefix}"
        self._bucket = account.bucket(bucket, prefix.strip("/"), _TIMEOUT)
        self._told: set[str] = set()

    @classmethod
    def of(cls, settings: StorageSettings, *, is_ordered: bool | None = None) -> Self:
        """Return a lister for the bucket and prefix that settings name.

        Parameters
        ----------
        is_ordered
            None for what is known of the server: Amazon's is, another may not be.
        """
        parts = urlsplit(settings.root)
        secret = settings.secret_access_key
        account = S3Account(
            endpoint=settings.endpoint,
            region=settings.region,
            access_key_id=settings.access_key_id,
            secret_access_key=None if secret is None else secret.get_secret_value(),
            allow_http=settings.allow_http,
            retry_for=timedelta(seconds=settings.retry_for_s),
        )
        ordered = settings.endpoint is None if is_ordered is None else is_ordered
        return cls(account, parts.netloc, parts.path.strip("/"), is_ordered=ordered)

    def keys_after(self, after: str) -> Iterator[StoredEntry]:
        """Yield what sorts after a key."""
        if self.starts_anywhere:
            return self._listed(after)
        return iter(sorted(self._listed(""), key=lambda each: each.key))

    def _listed(self, after: str) -> Iterator[StoredEntry]:
        try:
            for page in obstore.list(self._bucket, offset=after or None):
                for facts in page:
                    if self._has_valid_key(facts["path"]):
                        version = facts["e_tag"] or facts["last_modified"].isoformat()
                        yield StoredEntry(
                            facts["path"], facts["size"], facts["last_modified"], version
                        )
        except (remote.BaseError, FileNotFoundError) as fault:
            raise StorageUnreachable(
                subject=self._name, found=str(fault).split("\n", 1)[0]
            ) from fault

    def _has_valid_key(self, key: str) -> bool:
        try:
            check_key(key)
        except BadKey as fault:
            if key not in self._told:
                self._told.add(key)
                _log.warning("%s: an object that cannot be archived: %s", self._name, fault)
            return False
        return True


@dataclass(slots=True)
class ListingState:
    """What has been told of, in a few kilobytes: about 25 B for every 256 keys.

    Attributes
    ----------
    newest
        The newest key of each lane.
    chunks
        Digests of what full passes have told of.
    full_at, full_took
        When the last full pass began (UTC), and the seconds it took.
    """

    newest: dict[str, str] = field(default_factory=dict)
    chunks: set[str] = field(default_factory=set)
    full_at: datetime | None = None
    full_took: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "version": 1,
            "newest": self.newest,
            "chunks": sorted(self.chunks),
            "full_at": None if self.full_at is None else self.full_at.isoformat(),
            "full_took": self.full_took,
        }

    @classmethod
    def from_json(cls, value: Any) -> ListingState:
        """Read what `as_json` gave; anything else is an empty state, from which all is told."""
        try:
            if value["version"] != 1:
                return cls()
            full_at = value["full_at"]
            return cls(
                newest={str(lane): str(key) for lane, key in value["newest"].items()},
                chunks={str(each) for each in value["chunks"]},
                full_at=None if full_at is None else datetime.fromisoformat(full_at),
                full_took=float(value["full_took"]),
            )
        except (TypeError, KeyError, ValueError, AttributeError):
            return cls()


class NewKeys:
    """Finds new and changed keys: each at least once, in any order, across restarts.

    Parameters
    ----------
    lister
        Where to look.
    full_every
        The shortest time between the beginnings of two full passes.
    now, timer
        The present, aware, and steady seconds.
    """

    def __init__(
        self,
        lister: KeyLister,
        *,
        full_every: timedelta = timedelta(seconds=2),
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lister = lister
        self._full_every = full_every
        self._now = now
        self._timer = timer
        # Saves telling of a key twice, by a quick pass and then by the next full one. What is
        # here has been taken care of; what a restart forgets is told of once more.
        self._recent: dict[str, str] = {}

    def find(self, state: ListingState) -> Iterator[list[StoredEntry]]:
        """Look once; yield batches.

        When a batch is asked for, the one before has been taken care of: `state` is changed
        accordingly, and may be saved. After a crash, go on from any state saved before.
        """
        if self._is_full_pass_due(state):
            yield from self._full_pass(state)
        elif self._lister.starts_anywhere:
            for lane in list(state.newest):
                yield from self._quick_pass(state, lane)

    def _is_full_pass_due(self, state: ListingState) -> bool:
        if state.full_at is None:
            return True
        wait = max(self._full_every, timedelta(seconds=_SHARE * state.full_took))
        passed = self._now() - state.full_at
        # A clock that was set back must not stop the passes.
        return not timedelta(0) <= passed < min(wait, timedelta(seconds=_LONGEST_WAIT_S))

    def _quick_pass(self, state: ListingState, lane: str) -> Iterator[list[StoredEntry]]:
        batch: list[StoredEntry] = []
        for entry in self._lister.keys_after(state.newest[lane]):
            if not entry.key.startswith(lane):
                break
            batch.append(entry)
            if len(batch) >= _BATCH:
                yield batch
                self._note(state, batch)
                batch = []
        if batch:
            yield batch
            self._note(state, batch)

    def _full_pass(self, state: ListingState) -> Iterator[list[StoredEntry]]:
        began, began_at = self._timer(), self._now()
        seen: set[str] = set()
        batch: list[StoredEntry] = []
        digests: set[str] = set()
        waited = 0.0
        for chunk in _chunks(self._lister.keys_after("")):
            digest = _digest(chunk)
            seen.add(digest)
            if digest in state.chunks:
                continue
            batch += [each for each in chunk if self._recent.get(each.key) != each.version]
            digests.add(digest)
            if len(batch) >= _BATCH:
                paused = self._timer()
                yield batch
                waited += self._timer() - paused
                self._note(state, batch)
                state.chunks |= digests
                batch, digests = [], set()
        if batch:
            yield batch
            self._note(state, batch)
        state.chunks = seen
        state.full_at = began_at
        state.full_took = max(self._timer() - began - waited, 0.0)

    def _note(self, state: ListingState, batch: list[StoredEntry]) -> None:
        """Move the lanes on. Those that moved last are kept."""
        for entry in batch:
            self._recent[entry.key] = entry.version
            lane = _lane(entry.key)
            newest = max(entry.key, state.newest.pop(lane, ""))
            state.newest[lane] = newest
        for lane in list(state.newest)[:-_LANES]:
            del state.newest[lane]
        for key in list(self._recent)[: max(len(self._recent) - _REMEMBERED, 0)]:
            del self._recent[key]


def _lane(key: str) -> str:
    """Return what comes before the first date or counter in a key; without one, its folder."""
    found = _LANE.search(key)
    return key[: found.start()] if found else key[: key.rfind("/") + 1]


def _chunks(entries: Iterator[StoredEntry]) -> Iterator[list[StoredEntry]]:
    chunk: list[StoredEntry] = []
    for entry in entries:
        chunk.append(entry)
        if zlib.crc32(entry.key.encode()) % _CHUNK == 0:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _digest(chunk: list[StoredEntry]) -> str:
    """Stand for keys and versions. Neither holds a NUL, so no two chunks write alike."""
    total = hashlib.blake2b(digest_size=12)
    for entry in chunk:
        total.update(f"{entry.key}\0{entry.version}\0".encode())
    return total.hexdigest()
