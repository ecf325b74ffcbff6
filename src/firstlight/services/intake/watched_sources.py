"""Where arrivals come from: watched folders, buckets with and without events, the inbox.

A source tells of a file until that is acknowledged, and may tell of it again later; the rows
of arrivals sort out what is new. So nothing here needs to be remembered for a result to be
right, and what is remembered only saves work.

A source that `is_waiting` has more to tell, though a poll may give nothing just then.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from firstlight.errors import BadSettings
from firstlight.models.arrival import Origin
from firstlight.remotes.s3_events import BadEvent, CreatedObject, parse_events
from firstlight.remotes.sqs import QueueMessage
from firstlight.services.intake.announcement import Announcement
from firstlight.services.intake.arrival_sources import source_of_path
from firstlight.services.intake.uploads import INBOX, UploadService
from firstlight.storage import KeyMissing, Store, StoredEntry
from firstlight.storage.folder_watch import FolderWatch, QuietFile
from firstlight.storage.new_keys import ListingState, NewKeys

__all__ = [
    "BucketEvents",
    "FolderSource",
    "InboxSource",
    "KeptState",
    "MessageQueue",
    "S3ListingSource",
    "SqsSource",
    "WatchedBucket",
    "check_apart",
]

_SAVED_EVERY_S = 10.0
_HOPELESS = 5  # deliveries of a message that cannot be read

_log = logging.getLogger(__name__)


def check_apart(archive: str, watched: str) -> None:
    """Refuse to watch what the archive itself writes to, which would never come to rest.

    Parameters
    ----------
    archive, watched
        Folders, or ``s3://bucket/prefix``.

    Raises
    ------
    BadSettings
        One of them lies in the other.
    """
    one, other = _place(archive), _place(watched)
    shorter = min(len(one), len(other))
    if one[:shorter] == other[:shorter]:
        raise BadSettings(
            "the archive cannot watch the place where it keeps its own files",
            subject=watched,
            found=f"the archive is in {archive}",
            expected="a place of its own, neither around the archive's nor in it",
        )


def _place(where: str) -> tuple[str, ...]:
    if "://" not in where:
        return ("", *Path(where).resolve().parts)
    parts = urlsplit(where)
    return (parts.netloc, *(each for each in parts.path.split("/") if each))


class FolderSource:
    """Files that come to rest in a folder; names are told relative to it.

    Parameters
    ----------
    site
        Whose files they are, where the names do not tell.
    """

    def __init__(self, watch: FolderWatch, *, site: str | None = None) -> None:
        self._watch = watch
        self._site = site
        self._told: dict[tuple[str, str], QuietFile] = {}

    def __str__(self) -> str:
        return str(self._watch.folder)

    @property
    def is_waiting(self) -> bool:
        """Whether files are there that are not quiet yet, or not acknowledged."""
        return self._watch.is_waiting

    def poll(self) -> list[Announcement]:
        """Look once, if it is time."""
        if self._watch.pause_s:
            return []
        self._told = {}
        found = []
        for quiet in self._watch.scan():
            relative = quiet.path.relative_to(self._watch.folder).as_posix()
            told = Announcement(
                origin=Origin.FOLDER,
                source=source_of_path(quiet.path),
                name=os.fsencode(relative).decode(errors="replace"),
                version=quiet.version,
                size=quiet.size,
                site=self._site,
            )
            self._told[told.source, told.version] = quiet
            found.append(told)
        return found

    def acknowledge(self, announcements: Sequence[Announcement]) -> None:
        """Do not tell of these again unless they change."""
        known = [self._told.pop((each.source, each.version), None) for each in announcements]
        self._watch.done([each for each in known if each is not None])


class InboxSource:
    """Uploads that lie in the inbox.

    They went straight to the bucket, or through a process that died before it could tell.

    Parameters
    ----------
    every_s
        Between two listings. One second where uploads go straight to a bucket that sends no
        events; else this is only a second look, and a minute will do.
    is_second_look
        Whether to tell only of what already lay there at the listing before. What the API took
        has been told of by itself, and is gone by then unless something went wrong.
    """

    def __init__(
        self,
        store: Store,
        uploads: UploadService,
        *,
        every_s: float = 1.0,
        is_second_look: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._uploads = uploads
        self._is_second_look = is_second_look
        self._seen: set[tuple[str, str]] = set()
        self._every_s = every_s
        self._clock = clock
        self._next_at = float("-inf")
        self._done: set[tuple[str, str]] = set()
        self._is_waiting = False

    def __str__(self) -> str:
        return "the inbox"

    @property
    def is_waiting(self) -> bool:
        """Whether what was told of last is not all acknowledged."""
        return self._is_waiting

    def poll(self) -> list[Announcement]:
        """List the inbox if it is time."""
        if self._clock() < self._next_at:
            return []
        entries = {(each.key, _plain(each.version)): each for each in self._store.list(INBOX)}
        self._done &= entries.keys()
        wanted = entries.keys() - self._done
        if self._is_second_look:
            wanted &= self._seen
            self._seen = set(entries)
        found = self._uploads.announcements(
            (*place, entries[place].size) for place in sorted(wanted)
        )
        # What was told of and not acknowledged is told of again without waiting.
        self._next_at = self._clock() + (0.0 if found else self._every_s)
        self._is_waiting = bool(found)
        return found

    def acknowledge(self, announcements: Sequence[Announcement]) -> None:
        """Do not tell of these again while they lie there."""
        self._done |= {(each.source.removeprefix("store:"), each.version) for each in announcements}
        self._is_waiting = False
        self._next_at = self._clock() + self._every_s


@dataclass(frozen=True, slots=True)
class WatchedBucket:
    """A part of a bucket whose objects are arrivals; `prefix` is whole segments."""

    bucket: str
    prefix: str = ""
    site: str | None = None

    @property
    def root(self) -> str:
        """Its address."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def relative(self, bucket: str, key: str) -> str | None:
        """Return a key relative to this part; None for one that is not of it."""
        if bucket != self.bucket:
            return None
        if not self.prefix:
            return key
        inside = key.removeprefix(self.prefix.rstrip("/") + "/")
        return inside if inside != key else None

    def announcement(self, key: str, version: str, size: int | None) -> Announcement:
        """Tell of one object.

        Parameters
        ----------
        key
            Relative to the prefix.
        """
        return Announcement(
            origin=Origin.S3,
            source=f"{self.root}/{key}",
            name=key,
            version=_plain(version),
            size=size,
            site=self.site,
        )


class KeptState:
    """The state of a listing, kept in the archive's own store."""

    def __init__(self, store: Store, root: str) -> None:
        self._store = store
        self._key = f"sources/{hashlib.sha256(root.encode()).hexdigest()[:16]}.json"

    def load(self) -> ListingState:
        """Read it; empty where there is none."""
        try:
            return ListingState.from_json(json.loads(self._store.read(self._key)))
        except (KeyMissing, ValueError):
            return ListingState()

    def save(self, state: ListingState) -> None:
        """Write it over what was there."""
        text = json.dumps(state.as_json(), separators=(",", ":"))
        self._store.put(self._key, text.encode(), overwrite=True)


class S3ListingSource:
    """Objects of a bucket that sends no events; also a second look at one that does.

    Parameters
    ----------
    every_s
        Between two looks. How often everything is listed is for `NewKeys` to say.
    """

    def __init__(
        self,
        bucket: WatchedBucket,
        keys: NewKeys,
        state: KeptState,
        *,
        every_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bucket = bucket
        self._keys = keys
        self._kept = state
        self._state = state.load()
        self._every_s = every_s
        self._clock = clock
        self._next_at = float("-inf")
        self._saved_at = float("-inf")
        self._is_new = False
        self._look: Iterator[list[StoredEntry]] | None = None
        self._waiting: dict[tuple[str, str], Announcement] = {}

    def __str__(self) -> str:
        return self._bucket.root

    @property
    def is_waiting(self) -> bool:
        """Whether a look has not come to its end."""
        return self._look is not None

    def poll(self) -> list[Announcement]:
        """Return the next batch, or what of the last one is not acknowledged."""
        while not self._waiting:
            if self._look is None:
                if self._clock() < self._next_at:
                    return []
                self._look = self._keys.find(self._state)
            batch = self._next_batch(self._look)
            if batch is None:
                return []
            told = [self._bucket.announcement(each.key, each.version, each.size) for each in batch]
            self._waiting = {(each.source, each.version): each for each in told}
        return list(self._waiting.values())

    def acknowledge(self, announcements: Sequence[Announcement]) -> None:
        """Note what was taken care of; the next batch comes when all of this one is."""
        for each in announcements:
            self._waiting.pop((each.source, each.version), None)
        self._is_new = True

    def _next_batch(self, look: Iterator[list[StoredEntry]]) -> list[StoredEntry] | None:
        """Go on with a look; None at its end."""
        try:
            batch = next(look, None)
        except Exception:
            self._look = None  # the next poll begins anew
            raise
        if batch is None:
            self._look = None
            self._next_at = self._clock() + self._every_s
        if self._is_new and (batch is not None or self._clock() >= self._saved_at + _SAVED_EVERY_S):
            self._kept.save(self._state)
            self._saved_at = self._clock()
            self._is_new = False
        return batch


class BucketEvents:
    """Turns messages of object storage into announcements.

    Parameters
    ----------
    watched
        Whose objects are arrivals.
    uploads
        Tells of what comes into the archive's own inbox.
    own
        Where the archive keeps its files, if that is a bucket. Events of it are of no interest
        but for the inbox: the archive wrote the rest itself.
    """

    def __init__(
        self,
        watched: Sequence[WatchedBucket],
        *,
        uploads: UploadService | None = None,
        own: WatchedBucket | None = None,
    ) -> None:
        for each in watched:
            if own is not None:
                check_apart(own.root, each.root)
        self._watched = tuple(watched)
        self._uploads = uploads
        self._own = own

    def announcements(self, message: bytes | str) -> list[Announcement]:
        """Return what a message tells of. Objects that nobody watches are left out.

        Raises
        ------
        BadEvent
            The message is not one of object storage.
        """
        found: list[Announcement] = []
        for each in parse_events(message):
            if not each.key.endswith("/"):  # an empty object that stands for a folder
                found += self._of(each)
        return found

    def _of(self, thing: CreatedObject) -> list[Announcement]:
        version = thing.etag or thing.version_id or thing.sequencer
        inside = self._own.relative(thing.bucket, thing.key) if self._own else None
        if inside is not None:
            upload = [(inside, version, thing.size)]
            return self._uploads.announcements(upload) if self._uploads else []
        for part in self._watched:
            key = part.relative(thing.bucket, thing.key)
            if key is not None:
                return [part.announcement(key, version, thing.size)]
        return []


class MessageQueue(Protocol):
    """A queue whose messages come again until they are deleted."""

    def receive(self) -> list[QueueMessage]:
        """Some messages, after a short wait where there are none."""
        ...

    def delete(self, messages: Sequence[QueueMessage]) -> None:
        """Do not deliver these again."""
        ...


@dataclass(slots=True)
class _Delivery:
    message: QueueMessage
    open: dict[tuple[str, str], Announcement] = field(default_factory=dict)


class SqsSource:
    """Events of buckets that come through a queue.

    A message is deleted once everything in it is acknowledged. One that cannot be read is left
    to the queue's own ways with such (a dead-letter queue), and deleted when it has come often.
    """

    def __init__(self, queue: MessageQueue, events: BucketEvents, *, name: str = "queue") -> None:
        self._queue = queue
        self._events = events
        self._name = name
        self._deliveries: list[_Delivery] = []

    def __str__(self) -> str:
        return self._name

    @property
    def is_waiting(self) -> bool:
        """Whether messages were received and not deleted yet."""
        return bool(self._deliveries)

    def poll(self) -> list[Announcement]:
        """Receive messages, unless some are still being worked on."""
        if not self._deliveries:
            read = [self._read(each) for each in self._queue.receive()]
            self._deliveries = [each for each in read if each is not None]
            self._delete_finished()
        found = {place: told for each in self._deliveries for place, told in each.open.items()}
        return list(found.values())

    def acknowledge(self, announcements: Sequence[Announcement]) -> None:
        """Delete the messages of which nothing is left."""
        done = {(each.source, each.version) for each in announcements}
        for delivery in self._deliveries:
            for place in done & delivery.open.keys():
                del delivery.open[place]
        self._delete_finished()

    def _read(self, message: QueueMessage) -> _Delivery | None:
        """Read a message; None for one that is left to come again."""
        try:
            told = self._events.announcements(message.body)
        except BadEvent as fault:
            _log.warning("%s: message %s cannot be read: %s", self._name, message.id, fault)
            return _Delivery(message) if message.deliveries >= _HOPELESS else None
        return _Delivery(message, {(each.source, each.version): each for each in told})

    def _delete_finished(self) -> None:
        finished = [each.message for each in self._deliveries if not each.open]
        self._deliveries = [each for each in self._deliveries if each.open]
        if finished:
            self._queue.delete(finished)


def _plain(version: str) -> str:
    """Listings quote ETags, events do not; the two must tell of one version."""
    return version.strip('"')
