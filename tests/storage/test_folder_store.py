from __future__ import annotations

import errno
import logging
import os
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest

from firstlight.storage import KeyTaken, LinksUnavailable, StorageFull, StorageUnreachable
from firstlight.storage import folder as folder_module
from firstlight.storage.folder import FolderStore


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


def _incoming(store: FolderStore) -> list[Path]:
    return list((store.root / ".firstlight" / "incoming").iterdir())


def test_files_lie_under_their_keys_and_cannot_be_written(store: FolderStore) -> None:
    store.put("night/a.fits", b"1")
    path = store.root / "night" / "a.fits"
    assert path.read_bytes() == b"1"
    assert path.stat().st_mode & 0o222 == 0
    with store.local_path("night/a.fits") as local:
        assert local == path


def test_nothing_temporary_stays(store: FolderStore) -> None:
    store.put("a", b"1")
    store.put("a", b"1")
    store.put("a", b"2", overwrite=True)
    with pytest.raises(KeyTaken):
        store.put("a", b"3")
    assert _incoming(store) == []


def test_a_key_cannot_be_a_folder_of_keys(store: FolderStore) -> None:
    store.put("a/b", b"1")
    for key, overwrite in (("a", False), ("a", True), ("a/b/c", False), ("a/b/c/d", True)):
        with pytest.raises(KeyTaken):
            store.put(key, b"2", overwrite=overwrite)
    assert [entry.key for entry in store.list()] == ["a/b"]
    assert _incoming(store) == []


def test_empty_folders_go_with_their_last_key(store: FolderStore) -> None:
    store.put("a/b/c", b"1")
    store.put("a/d", b"1")
    store.delete("a/b/c")
    assert not (store.root / "a" / "b").exists()
    store.delete("a/d")
    store.put("a", b"a key now")
    store.delete("a")
    assert store.root.is_dir()


def test_putting_and_deleting_in_one_folder_at_once(store: FolderStore) -> None:
    failures: list[Exception] = []

    def churn(name: str) -> None:
        try:
            for _ in range(60):
                store.put(f"deep/er/{name}", b"1")
                store.delete(f"deep/er/{name}")
        except Exception as error:  # noqa: BLE001 - whatever it is, the test must see it
            failures.append(error)

    threads = [threading.Thread(target=churn, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert list(store.list()) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fills_at_the_last_moment(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def full(handle: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFull) as caught:
        store.put("a", b"1")
    assert caught.value.subject == "a"
    monkeypatch.undo()
    assert _incoming(store) == []
    assert not store.exists("a")
    store.put("a", b"1")


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOTSUP])
def test_disks_without_links_keep_the_promise_too(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def no_link(source: object, target: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", no_link)
    won: list[bytes] = []

    def write(data: bytes) -> None:
        try:
            store.put("a/b", data)
        except KeyTaken:
            return
        won.append(data)

    threads = [threading.Thread(target=write, args=(bytes([n]),)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert store.read("a/b") == won[0]
    assert [entry.key for entry in store.list()] == ["a/b"]


def test_another_file_system_inside_is_explained(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def across(source: object, target: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", across)
    with pytest.raises(StorageUnreachable) as caught:
        store.put("a", b"1")
    assert "file system" in str(caught.value.hint)


def test_the_sweep_takes_only_what_is_old(store: FolderStore) -> None:
    old, young = (store.root / ".firstlight" / "incoming" / name for name in ("old", "young"))
    for path in (old, young):
        path.write_bytes(b"half")
    before = time.time() - 3700
    os.utime(old, (before, before))
    assert store.sweep() == 1
    assert _incoming(store) == [young]
    assert list(store.list()) == []


def test_files_that_no_key_can_name_are_left_out_and_logged(
    store: FolderStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.put("a/good", b"1")
    (store.root / "a" / "back\\slash").write_bytes(b"1")
    with caplog.at_level(logging.WARNING):
        assert [entry.key for entry in store.list()] == ["a/good"]
    assert "back" in caplog.text


def test_links_need_a_base_address_and_a_secret(store: FolderStore) -> None:
    with pytest.raises(LinksUnavailable) as caught:
        store.signed_link("a", timedelta(minutes=1))
    assert "link_base_url" in str(caught.value.hint)


def test_each_new_name_is_synced_and_what_lies_above_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FolderStore(tmp_path / "root")
    synced: list[Path] = []
    monkeypatch.setattr(folder_module, "sync_folder", synced.append)
    root = store.root
    store.put("a/b/1", b"1")
    assert synced == [root / "a/b", root / "a", root]
    synced.clear()
    store.put("a/b/2", b"2")
    assert synced == [root / "a/b"]
    synced.clear()
    store.put("a/c/1", b"1")
    assert synced == [root / "a/c", root / "a"]
    for name in ("a/b/1", "a/b/2"):
        store.delete(name)
    synced.clear()
    store.put("a/b/1", b"1")  # in a folder made anew, which may have the old one's number
    assert synced[:2] == [root / "a/b", root / "a"]
