from __future__ import annotations

import bisect
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import obstore
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firstlight.storage import StorageSettings, StorageUnreachable, Store, StoredEntry
from firstlight.storage.folder import FolderStore
from firstlight.storage.new_keys import (
    BucketLister,
    KeyLister,
    ListingState,
    NewKeys,
    StoreLister,
)
from firstlight.storage.s3 import S3Account, S3Store
from fixtures_s3 import S3Server

_START = datetime(2026, 11, 21, tzinfo=UTC)


@dataclass
class Bucket:
    """Keys and versions in memory, counting what is listed."""

    starts_anywhere: bool = True
    versions: dict[str, str] = field(default_factory=dict)
    listed: int = 0

    def put(self, key: str) -> None:
        self.versions[key] = uuid.uuid4().hex

    def keys_after(self, after: str) -> Iterator[StoredEntry]:
        keys = sorted(self.versions)
        for key in keys[bisect.bisect_right(keys, after) :]:
            self.listed += 1
            if key in self.versions:
                yield StoredEntry(key, 1, _START, self.versions[key])


@dataclass
class Clock:
    now: datetime = _START

    def __call__(self) -> datetime:
        return self.now

    def seconds(self) -> float:
        return self.now.timestamp()


def _finder(lister: KeyLister, clock: Clock, full_every: float = 60) -> NewKeys:
    every = timedelta(seconds=full_every)
    return NewKeys(lister, full_every=every, now=clock, timer=clock.seconds)


def _found(finder: NewKeys, state: ListingState) -> list[str]:
    return [each.key for batch in finder.find(state) for each in batch]


def test_keys_in_order_cost_little() -> None:
    bucket, clock, state = Bucket(), Clock(), ListingState()
    for number in range(5000):
        bucket.put(f"data/sro-kb001ms-20220629-{number:08d}-EX10.jpg")
        bucket.put(f"data/wmd-ea03-20220629-{number:08d}-EX10.jpg")
    finder = _finder(bucket, clock)
    assert sorted(_found(finder, state)) == sorted(bucket.versions)
    bucket.listed = 0
    bucket.put("data/sro-kb001ms-20220629-00005000-EX10.jpg")
    bucket.put("data/wmd-ea03-20220630-00000000-EX10.jpg")
    assert _found(finder, state) == [
        "data/sro-kb001ms-20220629-00005000-EX10.jpg",
        "data/wmd-ea03-20220630-00000000-EX10.jpg",
    ]
    assert bucket.listed <= 4
    assert _found(finder, state) == []


def test_a_key_before_the_others_and_a_changed_one_are_found_by_the_next_full_pass() -> None:
    bucket, clock, state = Bucket(), Clock(), ListingState()
    for number in range(3000):
        bucket.put(f"n/{number:08d}")
    finder = _finder(bucket, clock)
    _found(finder, state)
    bucket.put("a/0")
    bucket.put("n/00000042")
    assert _found(finder, state) == []
    clock.now += timedelta(seconds=60)
    assert _found(finder, state) == ["a/0", "n/00000042"]
    assert _found(finder, state) == []


@pytest.mark.parametrize("count", [3, 1500])
def test_a_batch_that_was_not_taken_care_of_is_told_again(count: int) -> None:
    """By the same finder, whichever pass comes next."""
    bucket, clock, state = Bucket(), Clock(), ListingState()
    bucket.put("n/00000000")
    finder = _finder(bucket, clock)
    _found(finder, state)
    for number in range(1, count + 1):
        bucket.put(f"n/{number:08d}")
    first = [each.key for each in next(finder.find(state))]
    assert [each.key for each in next(finder.find(state))] == first
    clock.now += timedelta(seconds=60)
    assert [each.key for each in next(finder.find(state))][: len(first)] == first


def test_the_state_does_not_grow_with_changes() -> None:
    bucket, clock, state = Bucket(), Clock(), ListingState()
    finder = _finder(bucket, clock, full_every=0)
    for _ in range(50):
        bucket.put("n/1")
        assert _found(finder, state) == ["n/1"]
    assert len(state.chunks) == 1


def test_after_a_restart_little_is_told_again() -> None:
    bucket, clock, state = Bucket(), Clock(), ListingState()
    for number in range(20_000):
        bucket.put(f"n/{number:08d}")
    _found(_finder(bucket, clock), state)
    saved = json.dumps(state.as_json())
    assert len(saved) < 5000
    bucket.put("n/00010000x")
    clock.now += timedelta(days=1)
    told = _found(_finder(bucket, clock), ListingState.from_json(json.loads(saved)))
    assert "n/00010000x" in told
    assert len(told) < 5000


def test_full_passes_are_rarer_where_they_take_long() -> None:
    clock = Clock()

    class Slow(Bucket):
        def keys_after(self, after: str) -> Iterator[StoredEntry]:
            clock.now += timedelta(seconds=30 if not after else 0)
            return super().keys_after(after)

    bucket, state = Slow(), ListingState()
    bucket.put("n/1")
    finder = _finder(bucket, clock, full_every=1)
    _found(finder, state)
    assert state.full_took == 30
    bucket.put("a")
    clock.now += timedelta(seconds=269)
    assert _found(finder, state) == []
    clock.now += timedelta(seconds=1)
    assert _found(finder, state) == ["a"]


def test_a_clock_set_back_does_not_stop_the_passes() -> None:
    bucket, clock, state = Bucket(), Clock(), ListingState()
    finder = _finder(bucket, clock)
    _found(finder, state)
    clock.now -= timedelta(days=400)
    bucket.put("a")
    assert _found(finder, state) == ["a"]


def test_a_listing_that_breaks_off_loses_nothing() -> None:
    clock = Clock()

    class Breaking(Bucket):
        broken = True

        def keys_after(self, after: str) -> Iterator[StoredEntry]:
            for count, entry in enumerate(super().keys_after(after)):
                if self.broken and count == 2500:
                    raise StorageUnreachable
                yield entry

    bucket, state = Breaking(), ListingState()
    for number in range(4000):
        bucket.put(f"n/{number:08d}")
    finder = _finder(bucket, clock)
    told: set[str] = set()

    def take() -> None:
        for batch in finder.find(state):
            told.update(each.key for each in batch)

    with pytest.raises(StorageUnreachable):
        take()
    assert told
    bucket.broken = False
    take()
    assert told == set(bucket.versions)


@pytest.mark.parametrize("value", [None, 5, [], {}, {"version": 2}, {"version": 1, "newest": 5}])
def test_a_state_that_is_none_is_an_empty_one(value: object) -> None:
    assert ListingState.from_json(value) == ListingState()


def test_the_lanes_do_not_grow_without_end() -> None:
    bucket, clock, state = Bucket(), Clock(), ListingState()
    for number in range(300):
        bucket.put(f"site{number:03d}/x")
    _found(_finder(bucket, clock), state)
    assert len(state.newest) == 64


# At least once: any order of appearance, replacement and removal, and a crash at any point that
# loses what was found since the state was last saved, and with it the finder's memory.

_keys = st.one_of(
    st.builds("data/{}-x-{:08d}".format, st.sampled_from(["sro", "wmd"]), st.integers(0, 40)),
    st.text("ab/-09", min_size=1, max_size=6),
)
_acts = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.lists(_keys, min_size=1, max_size=6)),
        st.tuples(st.just("remove"), st.lists(_keys, min_size=1, max_size=3)),
        # How many batches are taken, of how many the state is saved, and the wait after.
        st.tuples(
            st.sampled_from(["look", "crash"]),
            st.tuples(st.integers(0, 4), st.sampled_from([0, 1, 90])),
        ),
    ),
    max_size=20,
)


@settings(deadline=None, max_examples=300)
@given(_acts, st.booleans())
def test_every_key_is_told_of(acts: list[tuple[str, object]], ordered: bool) -> None:
    bucket, clock = Bucket(starts_anywhere=ordered), Clock()
    finder, state = _finder(bucket, clock), ListingState()
    saved = json.dumps(state.as_json())
    told: set[tuple[str, str]] = set()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("firstlight.storage.new_keys._CHUNK", 3)
        patch.setattr("firstlight.storage.new_keys._BATCH", 2)
        patch.setattr("firstlight.storage.new_keys._REMEMBERED", 5)
        for kind, what in acts:
            if kind == "put":
                for key in what:  # type: ignore[attr-defined]  # a list
                    bucket.put(key)
            elif kind == "remove":
                for key in what:  # type: ignore[attr-defined]  # a list
                    bucket.versions.pop(key, None)
            else:
                most, wait = what  # type: ignore[misc]  # a pair
                for count, batch in enumerate(finder.find(state)):
                    saved = json.dumps(state.as_json())  # asked for: those before are safe
                    if count == most:
                        break  # this one is not taken care of
                    told |= {(each.key, each.version) for each in batch}
                else:
                    saved = json.dumps(state.as_json())
                if kind == "crash":
                    finder = _finder(bucket, clock)
                state = ListingState.from_json(json.loads(saved))
                clock.now += timedelta(seconds=wait)
        clock.now += timedelta(seconds=90)
        for batch in finder.find(state):
            told |= {(each.key, each.version) for each in batch}
    assert told >= set(bucket.versions.items())


# On real stores.


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.s3)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return FolderStore(tmp_path)
    server: S3Server = request.getfixturevalue("s3_server")
    bucket = request.getfixturevalue("s3_bucket")
    return S3Store(bucket, uuid.uuid4().hex, account=_account(server))


def _account(server: S3Server) -> S3Account:
    return S3Account(
        endpoint=server.endpoint,
        access_key_id=server.access_key_id,
        secret_access_key=server.secret_access_key,
        allow_http=True,
    )


def test_on_a_store(store: Store) -> None:
    clock, state = Clock(), ListingState()
    finder = _finder(StoreLister(store, "inbox"), clock, full_every=0)
    for key in ("inbox/2/b", "inbox/1/a", "other/c"):
        store.put(key, b"1")
    assert _found(finder, state) == ["inbox/1/a", "inbox/2/b"]
    assert _found(finder, state) == []
    store.put("inbox/1/a", b"22", overwrite=True)
    store.put("inbox/0", b"1")
    assert _found(finder, state) == ["inbox/0", "inbox/1/a"]
    store.delete("inbox/1/a")
    assert _found(finder, state) == []


@pytest.mark.s3
@pytest.mark.parametrize("ordered", [True, False])
def test_on_a_bucket(s3_server: S3Server, s3_bucket: str, ordered: bool) -> None:
    prefix = uuid.uuid4().hex
    client = s3_server.client(s3_bucket)
    clock, state = Clock(), ListingState()
    settings = StorageSettings.model_validate(s3_server.settings(s3_bucket, prefix))
    lister = BucketLister.of(settings, is_ordered=ordered)
    assert BucketLister.of(settings).starts_anywhere is False
    finder = _finder(lister, clock)

    def put(*numbers: int) -> list[str]:
        keys = [f"data/sro-x-{number:08d} +é.jpg" for number in numbers]
        for key in keys:
            obstore.put(client, f"{prefix}/{key}", b"x")
        return keys

    obstore.put(client, f"{prefix}-other/data/sro-x-00000009.jpg", b"x")
    first = put(*range(1, 30))
    assert _found(finder, state) == first
    more = put(*range(30, 35))
    clock.now += timedelta(seconds=0 if ordered else 60)
    assert _found(finder, state) == more
    clock.now += timedelta(seconds=60)
    assert _found(finder, state) == []
    early = put(0)
    clock.now += timedelta(seconds=60)
    assert _found(finder, state) == early


@pytest.mark.s3
def test_a_bucket_that_is_not_there(s3_server: S3Server) -> None:
    lister = BucketLister(_account(s3_server), "no-such-bucket", is_ordered=True)
    with pytest.raises(StorageUnreachable):
        list(lister.keys_after(""))
