"""What only S3 has; the promises of every store are in tests/conformance."""

from __future__ import annotations

import io
import os
import socket
import urllib.request
import uuid
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import obstore
import pytest

from firstlight.storage import (
    KeyChanged,
    KeyTaken,
    StorageRefused,
    StorageUnreachable,
)
from firstlight.storage.cache import CachedStore, FileCache
from firstlight.storage.s3 import S3Account, S3Store
from fixtures_s3 import S3Server


@pytest.fixture
def account(s3_server: S3Server) -> S3Account:
    return S3Account(
        endpoint=s3_server.endpoint,
        access_key_id=s3_server.access_key_id,
        secret_access_key=s3_server.secret_access_key,
        allow_http=True,
        retry_for=timedelta(seconds=2),
    )


@pytest.fixture
def store(account: S3Account, s3_bucket: str) -> S3Store:
    return S3Store(s3_bucket, uuid.uuid4().hex, account=account)


@pytest.mark.s3
def test_a_put_link_takes_an_upload(store: S3Store) -> None:
    link = store.signed_link("up/loaded", timedelta(minutes=1), "PUT")
    request = urllib.request.Request(link, data=b"sent", method="PUT")  # noqa: S310 - our own server
    urllib.request.urlopen(request, timeout=60).close()  # noqa: S310 - our own server
    assert store.read("up/loaded") == b"sent"


@pytest.mark.s3
def test_what_others_uploaded_is_compared_by_its_bytes(store: S3Store) -> None:
    link = store.signed_link("a", timedelta(minutes=1), "PUT")
    request = urllib.request.Request(link, data=b"sent", method="PUT")  # noqa: S310 - our own server
    urllib.request.urlopen(request, timeout=60).close()  # noqa: S310 - our own server
    assert store.put("a", b"sent").size == 4
    with pytest.raises(KeyTaken):
        store.put("a", b"else")
    with store.local_path("a") as path:
        assert path.read_bytes() == b"sent"
    assert not path.exists()


@pytest.mark.s3
def test_content_over_the_limit_of_one_request_goes_in_parts(
    account: S3Account, s3_bucket: str
) -> None:
    store = S3Store(s3_bucket, uuid.uuid4().hex, account=account, single_put_limit=10 << 20)
    data = os.urandom(40 << 20)
    stored = store.put("big", io.BytesIO(data))
    assert store.checksum("big") == stored
    assert "-" in store.stat("big").version  # the mark of an upload in parts
    assert store.put("big", data) == stored
    with pytest.raises(KeyTaken):
        store.put("big", data[:-1] + b"?")


@pytest.mark.s3
def test_a_reader_never_mixes_two_versions(store: S3Store) -> None:
    store.put("a", bytes(9 << 20))
    entry = store.stat("a")
    with store.open("a") as stream:
        assert stream.read(10) == bytes(10)
        store.put("a", b"1" * (9 << 20), overwrite=True)
        stream.seek(8 << 20)
        with pytest.raises(KeyChanged):
            stream.read(10)
    with pytest.raises(KeyChanged):
        store.fetch(entry, io.BytesIO())


@pytest.mark.s3
def test_bytes_that_differ_from_their_recorded_checksum_are_not_served(
    store: S3Store, account: S3Account, s3_bucket: str, tmp_path: object
) -> None:
    client = account.bucket(s3_bucket, store.identity.rpartition("/")[2], timedelta(seconds=10))
    obstore.put(client, "a", b"rotten", attributes={"sha256": "0" * 64})
    cached = CachedStore(store, FileCache(tmp_path / "cache", 1000))  # type: ignore[operator]  # a Path
    for each in (store, cached):
        with pytest.raises(Exception, match="announced") as caught, each.local_path("a"):
            pass
        assert caught.value.code == "storage.checksum"  # type: ignore[attr-defined]  # ours
    assert cached.cache.used() == 0


@pytest.mark.s3
def test_a_wrong_key_is_refused_and_not_shown(account: S3Account, s3_bucket: str) -> None:
    store = S3Store(s3_bucket, account=replace(account, secret_access_key="wrong-secret"))  # noqa: S106 - meant to be wrong
    for use in (store.check, lambda: store.put("a", b"1"), lambda: store.stat("a")):
        with pytest.raises(StorageRefused) as caught:
            use()
        assert "wrong-secret" not in str(caught.value)


@pytest.mark.s3
def test_a_missing_bucket_is_no_missing_key(account: S3Account) -> None:
    store = S3Store("no-such-bucket", account=account)
    with pytest.raises(StorageUnreachable, match="there is no such bucket"):
        store.check()


def test_a_server_that_is_down_is_said_to_be() -> None:
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        account = S3Account(
            endpoint=f"http://127.0.0.1:{unused.getsockname()[1]}",
            access_key_id="k",
            secret_access_key="s",  # noqa: S106 - nobody listens
            allow_http=True,
            retry_for=timedelta(0),
        )
        store = S3Store("bucket", account=account)
        for use in (store.check, lambda: store.put("a", b"1"), lambda: store.exists("a")):
            with pytest.raises(StorageUnreachable) as caught:
                use()
            assert "\n" not in str(caught.value)
