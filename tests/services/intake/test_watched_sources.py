from __future__ import annotations

import io
import json
import os
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import obstore
import pytest

from firstlight.errors import BadSettings
from firstlight.models.arrival import Arrival, ArrivalState, Origin
from firstlight.models.database import Database
from firstlight.remotes.sqs import QueueMessage
from firstlight.services.access import Viewer
from firstlight.services.intake.announcement import Announcement
from firstlight.services.intake.uploads import UploadRequest, UploadService
from firstlight.services.intake.watched_sources import (
    BucketEvents,
    FolderSource,
    InboxSource,
    KeptState,
    S3ListingSource,
    SqsSource,
    WatchedBucket,
    check_apart,
)
from firstlight.storage import LinkExpired, StorageUnreachable, Store, StoredEntry
from firstlight.storage.folder_watch import FolderWatch
from firstlight.storage.links import UploadSigner
from firstlight.storage.new_keys import BucketLister, NewKeys
from firstlight.storage.presigned_post import ApiForms
from firstlight.storage.s3 import S3Account
from fixtures_s3 import S3Server

_NAME = "tst-kb001ms-20220629-00010442-EX10.jpg"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def time(self) -> datetime:
        return datetime(2026, 11, 21, 12, tzinfo=UTC) + timedelta(seconds=self.now)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def database(sqlite_url: str) -> Iterator[Database]:
    opened = Database(sqlite_url)
    yield opened
    opened.dispose()


class _NoChannels:
    def announce(self, *_: object) -> None:
        return


@pytest.fixture
def uploads(database: Database, store: Store, clock: Clock) -> UploadService:
    signer = UploadSigner(b"0123456789abcdef", "https://x/api", clock=clock.time)
    return UploadService(
        database=database,
        store=store,
        forms=ApiForms(signer),
        signer=signer,
        channels=_NoChannels(),
    )


def _upload(uploads: UploadService, clock: Clock, body: bytes = b"x") -> Announcement:
    viewer = Viewer("camera", frozenset({"upload"}))
    form = uploads.request(UploadRequest(object_name=_NAME), viewer, clock.time())
    return uploads.receive(str(form["url"]).rpartition("/")[2], io.BytesIO(body))


# Folders


def test_a_folder(tmp_path: Path, clock: Clock) -> None:
    source = FolderSource(FolderWatch(tmp_path, poll_s=0, clock=clock), site="roof")
    path = tmp_path / "data" / _NAME
    path.parent.mkdir()
    path.write_bytes(b"12345")
    assert not source.is_waiting
    assert source.poll() == []
    assert source.is_waiting  # until the file is quiet
    clock.now += 1
    (told,) = source.poll()
    assert source.is_waiting
    assert told == Announcement(
        origin=Origin.FOLDER,
        source=str(path),
        name=f"data/{_NAME}",
        version=f"5:{path.stat().st_mtime_ns}",
        size=5,
        site="roof",
    )
    assert source.poll() == [told]
    source.acknowledge([told])
    assert not source.is_waiting
    assert source.poll() == []
    assert not source.is_waiting
    assert str(source) == str(tmp_path)


def test_a_folder_is_not_looked_at_without_pause(tmp_path: Path, clock: Clock) -> None:
    source = FolderSource(FolderWatch(tmp_path, quiet_s=0, poll_s=1, clock=clock))
    source.poll()
    (tmp_path / "a").touch()
    clock.now += 0.9
    assert source.poll() == []
    clock.now += 0.2
    assert len(source.poll()) == 1


def test_a_name_that_is_not_utf8(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / os.fsdecode(b"latin-\xe9.fits")).write_bytes(b"1")
    source = FolderSource(FolderWatch(tmp_path, poll_s=0, clock=clock))
    source.poll()
    clock.now += 1
    (told,) = source.poll()
    assert told.source == f"{tmp_path.as_uri()}/latin-%E9.fits"
    assert told.name == "latin-\ufffd.fits"
    source.acknowledge([told])
    assert source.poll() == []


def test_a_part_of_what_was_told_can_be_acknowledged(tmp_path: Path, clock: Clock) -> None:
    for name in "ab":
        (tmp_path / name).touch()
    source = FolderSource(FolderWatch(tmp_path, poll_s=0, clock=clock))
    source.poll()
    clock.now += 1
    told = source.poll()
    source.acknowledge([each for each in told if each.name == "a"])
    assert [each.name for each in source.poll()] == ["b"]


# The inbox


def test_the_inbox(store: Store, uploads: UploadService, clock: Clock) -> None:
    source = InboxSource(store, uploads, every_s=60, clock=clock)
    assert source.poll() == []
    told = _upload(uploads, clock)
    assert source.poll() == []  # not yet time
    clock.now += 60
    assert source.poll() == [told]
    assert source.poll() == [told]
    assert source.is_waiting
    source.acknowledge([told])
    assert not source.is_waiting
    clock.now += 60
    assert source.poll() == []
    store.put(told.source.removeprefix("store:"), b"other", overwrite=True)
    clock.now += 60
    (changed,) = source.poll()
    assert (changed.source, changed.size) == (told.source, 5)


def test_what_was_taken_from_the_inbox_is_removed(
    store: Store, uploads: UploadService, database: Database, clock: Clock
) -> None:
    waiting, taken, refused, here, new = (
        _upload(uploads, clock, b"%d" % number) for number in range(5)
    )
    states = {
        waiting: (ArrivalState.RECEIVED, None),
        taken: (ArrivalState.ARCHIVED, "data/x"),
        refused: (ArrivalState.QUARANTINED, "quarantine/x"),
        here: (ArrivalState.QUARANTINED, here.source.removeprefix("store:")),
    }
    with database.begin() as session:
        for told, (state, key) in states.items():
            row = Arrival(source=told.source, version=told.version, state=state.value, key=key)
            row.identify()
            session.add(row)
    assert uploads.tidy(clock.time()) == 2
    assert uploads.tidy(clock.time()) == 0
    left = {f"store:{each.key}" for each in store.list("inbox")}
    assert left == {waiting.source, here.source, new.source}


def test_a_used_ticket_goes_with_its_file(
    store: Store, uploads: UploadService, database: Database, clock: Clock
) -> None:
    viewer = Viewer("camera", frozenset({"upload"}))
    form = uploads.request(UploadRequest(object_name=_NAME), viewer, clock.time())
    token = str(form["url"]).rpartition("/")[2]
    _archived(database, uploads.receive(token, io.BytesIO(b"x")))
    assert uploads.tidy(clock.time()) == 1
    with pytest.raises(LinkExpired):
        uploads.receive(token, io.BytesIO(b"other"))
    assert list(store.list("inbox")) == []


def test_what_may_still_be_replaced_stays(
    store: Store, database: Database, clock: Clock, uploads: UploadService
) -> None:
    told = _upload(uploads, clock)
    direct = UploadService(
        database=database,
        store=store,
        forms=ApiForms(UploadSigner(b"0123456789abcdef", "https://x")),
        signer=None,
        channels=_NoChannels(),
    )
    _archived(database, told)
    assert direct.tidy(clock.time()) == 0
    assert direct.tidy(clock.time() + timedelta(seconds=300 + 900)) == 1


def _archived(database: Database, told: Announcement) -> None:
    with database.begin() as session:
        row = Arrival(source=told.source, version=told.version, state="archived", key="data/x")
        row.identify()
        session.add(row)


def test_a_second_look_tells_of_what_stayed(
    store: Store, uploads: UploadService, clock: Clock
) -> None:
    source = InboxSource(store, uploads, every_s=60, is_second_look=True, clock=clock)
    first = _upload(uploads, clock)
    assert source.poll() == []
    second = _upload(uploads, clock)
    clock.now += 60
    assert source.poll() == [first]
    source.acknowledge([first])
    store.delete(second.source.removeprefix("store:"))
    clock.now += 60
    assert source.poll() == []


# Buckets that are listed


@dataclass
class Listing:
    """Keys in memory."""

    versions: dict[str, str] = field(default_factory=dict)
    starts_anywhere: bool = True
    is_broken: bool = False

    def keys_after(self, after: str) -> Iterator[StoredEntry]:
        for key in sorted(self.versions):
            if self.is_broken:
                raise StorageUnreachable
            if key > after:
                yield StoredEntry(key, 7, datetime(2026, 1, 1, tzinfo=UTC), self.versions[key])


def _listing(listing: Listing, store: Store, clock: Clock) -> S3ListingSource:
    keys = NewKeys(listing, now=clock.time, timer=clock)
    part = WatchedBucket("b", "pre/fix", site="roof")
    return S3ListingSource(part, keys, KeptState(store, part.root), clock=clock)


def _drain(source: S3ListingSource | SqsSource) -> list[str]:
    names = []
    while told := source.poll():
        names += [each.name for each in told]
        source.acknowledge(told)
    return names


def test_a_bucket_that_is_listed(store: Store, clock: Clock) -> None:
    listing = Listing({"data/1": '"etag"'})
    source = _listing(listing, store, clock)
    (told,) = source.poll()
    assert told == Announcement(
        origin=Origin.S3,
        source="s3://b/pre/fix/data/1",
        name="data/1",
        version="etag",
        size=7,
        site="roof",
    )
    assert source.poll() == [told]
    source.acknowledge([told])
    listing.versions["data/2"] = "x"
    assert source.poll() == []  # not yet time
    clock.now += 1
    assert _drain(source) == ["data/2"]
    assert not source.is_waiting
    assert str(source) == "s3://b/pre/fix"


def test_batches_follow_one_another_and_a_restart_goes_on(store: Store, clock: Clock) -> None:
    listing = Listing({f"n/{number:06d}": "v" for number in range(4000)})
    source = _listing(listing, store, clock)
    first = source.poll()
    assert 1000 <= len(first) < 3000
    source.acknowledge(first)
    assert source.is_waiting
    second = source.poll()
    assert not {each.name for each in first} & {each.name for each in second}
    again = _drain(_listing(listing, store, clock))
    assert {each.name for each in first} & set(again) == set()
    assert {each.name for each in first} | set(again) == set(listing.versions)


def test_a_restart_after_everything_tells_nothing(store: Store, clock: Clock) -> None:
    listing = Listing({f"n/{number:06d}": "v" for number in range(4000)})
    source = _listing(listing, store, clock)
    assert len(_drain(source)) == 4000
    clock.now += 10
    assert source.poll() == []  # the state is saved now and then
    clock.now += 3600
    assert _drain(_listing(listing, store, clock)) == []


def test_a_state_that_was_damaged_tells_everything_again(store: Store, clock: Clock) -> None:
    listing = Listing({"n/1": "v"})
    assert _drain(_listing(listing, store, clock)) == ["n/1"]
    (kept,) = store.list("sources")
    store.put(kept.key, b"{", overwrite=True)
    assert _drain(_listing(listing, store, clock)) == ["n/1"]


def test_a_server_that_fails_for_a_while(store: Store, clock: Clock) -> None:
    listing = Listing({"n/1": "v"}, is_broken=True)
    source = _listing(listing, store, clock)
    for _ in range(2):
        with pytest.raises(StorageUnreachable):
            source.poll()
    listing.is_broken = False
    assert _drain(source) == ["n/1"]


@pytest.mark.s3
def test_a_real_bucket(store: Store, clock: Clock, s3_server: S3Server, s3_bucket: str) -> None:
    prefix = uuid.uuid4().hex
    client = s3_server.client(s3_bucket)
    account = S3Account(
        endpoint=s3_server.endpoint,
        access_key_id=s3_server.access_key_id,
        secret_access_key=s3_server.secret_access_key,
        allow_http=True,
    )
    lister = BucketLister(account, s3_bucket, prefix, is_ordered=False)
    part = WatchedBucket(s3_bucket, prefix)
    kept = KeptState(store, part.root)
    source = S3ListingSource(part, NewKeys(lister), kept, every_s=0, clock=clock)
    obstore.put(client, f"{prefix}/data/{_NAME}", b"12345")
    (told,) = source.poll()
    assert told.name == f"data/{_NAME}"
    assert told.source == f"s3://{s3_bucket}/{prefix}/data/{_NAME}"
    event = _record(s3_bucket, f"{prefix}/data/{_NAME}", eTag="827ccb0eea8a706c4c34a16891f84e7b")
    assert BucketEvents([part]).announcements(event) == [told]


# Events


def _record(*places: str, **more: Any) -> str:
    """A message; `places` are buckets and keys in turn."""
    records = [
        {
            "eventName": "ObjectCreated:Put",
            "s3": {
                "bucket": {"name": bucket},
                "object": {"key": quote_plus(key), "size": 5, "eTag": "e", **more},
            },
        }
        for bucket, key in zip(places[::2], places[1::2], strict=True)
    ]
    return json.dumps({"Records": records})


def test_events_of_what_is_watched(uploads: UploadService) -> None:
    events = BucketEvents(
        [WatchedBucket("b", "data", site="roof"), WatchedBucket("c")],
        uploads=uploads,
        own=WatchedBucket("archive", "pre"),
    )
    message = _record(
        *("b", "data/a b", "b", "database/a", "b", "data", "b", "data/folder/"),
        *("c", "data/x", "d", "x", "archive", "pre/raw/x", "archive", "pre/inbox/t/a.fits"),
    )
    told = events.announcements(message)
    assert [(each.source, each.name, each.site) for each in told] == [
        ("s3://b/data/a b", "a b", "roof"),
        ("s3://c/data/x", "data/x", None),
        ("store:inbox/t/a.fits", "a.fits", None),
    ]
    assert {each.version for each in told} == {"e"}


@pytest.mark.parametrize(
    ("archive", "watched", "apart"),
    [
        ("s3://b/archive", "s3://b/incoming", True),
        ("s3://b/archive", "s3://b/archive2", True),
        ("s3://b", "s3://c", True),
        ("s3://b/", "s3://b/incoming", False),
        ("s3://b/archive/", "s3://b/archive/data", False),
        ("s3://b/a/c", "s3://b/a", False),
        ("/srv/archive", "/srv/incoming", True),
        ("/srv/archive", "s3://srv/archive", True),
        ("/srv/archive", "/srv/archive/../archive/data", False),
        ("/srv/archive", "/srv", False),
    ],
)
def test_the_archive_does_not_watch_itself(archive: str, watched: str, apart: bool) -> None:
    if apart:
        check_apart(archive, watched)
        return
    with pytest.raises(BadSettings, match="its own files"):
        check_apart(archive, watched)


def test_nor_do_its_events() -> None:
    with pytest.raises(BadSettings):
        BucketEvents([WatchedBucket("b", "pre/data")], own=WatchedBucket("b", "pre"))


# Queues


@dataclass
class Queue:
    """What is received stays until it is deleted, and comes when it is asked for."""

    bodies: dict[str, str] = field(default_factory=dict)
    deliveries: int = 1
    asked: int = 0

    def receive(self) -> list[QueueMessage]:
        self.asked += 1
        return [
            QueueMessage(name, body, name, self.deliveries) for name, body in self.bodies.items()
        ]

    def delete(self, messages: Sequence[QueueMessage]) -> None:
        for each in messages:
            del self.bodies[each.receipt]


def test_a_message_is_deleted_when_all_of_it_is_acknowledged() -> None:
    queue = Queue({"1": _record("b", "x", "b", "y"), "2": _record("b", "y")})
    source = SqsSource(queue, BucketEvents([WatchedBucket("b")]))
    told = source.poll()
    assert [each.name for each in told] == ["x", "y"]
    assert source.poll() == told
    assert queue.asked == 1
    source.acknowledge(told[1:])
    assert list(queue.bodies) == ["1"]
    assert source.is_waiting
    source.acknowledge(told[:1])
    assert queue.bodies == {}
    assert not source.is_waiting
    assert source.poll() == []


def test_messages_that_tell_of_nothing_are_deleted() -> None:
    test_event = json.dumps({"Event": "s3:TestEvent"})
    queue = Queue({"1": test_event, "2": _record("other", "x"), "3": _record()})
    assert SqsSource(queue, BucketEvents([WatchedBucket("b")])).poll() == []
    assert queue.bodies == {}


def test_what_cannot_be_read_is_left_for_a_while(caplog: pytest.LogCaptureFixture) -> None:
    queue = Queue({"bad": "oops", "good": _record("b", "x")})
    source = SqsSource(queue, BucketEvents([WatchedBucket("b")]), name="arrivals")
    assert _drain(source) == ["x"]
    assert list(queue.bodies) == ["bad"]
    assert "arrivals: message bad cannot be read" in caplog.text
    queue.deliveries = 5
    assert source.poll() == []
    assert queue.bodies == {}
