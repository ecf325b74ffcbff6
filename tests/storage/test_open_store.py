from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from firstlight.errors import BadSettings
from firstlight.storage import StorageSettings, open_store
from firstlight.storage.cache import CachedStore
from firstlight.storage.folder import FolderStore
from firstlight.storage.s3 import S3Store


def test_a_path_opens_a_folder(tmp_path: Path) -> None:
    for where in (tmp_path / "a", str(tmp_path / "a"), StorageSettings(root=str(tmp_path / "a"))):
        store = open_store(where)
        assert isinstance(store, FolderStore)
        assert store.root == tmp_path / "a"


def test_opening_a_folder_sweeps_it(tmp_path: Path) -> None:
    left = tmp_path / ".firstlight" / "incoming" / "left"
    left.parent.mkdir(parents=True)
    left.touch()
    long_ago = time.time() - 7200
    os.utime(left, (long_ago, long_ago))
    open_store(tmp_path)
    assert not left.exists()


def test_links_are_set_up_from_the_settings(tmp_path: Path) -> None:
    store = open_store(
        StorageSettings(
            root=str(tmp_path), link_base_url="https://x", link_secret=SecretStr("s" * 16)
        )
    )
    assert store.signed_link("a", timedelta(minutes=1)).startswith("https://x/files/")


def test_a_bucket_opens_with_or_without_a_cache(tmp_path: Path) -> None:
    keys: dict[str, Any] = {"access_key_id": "k", "secret_access_key": SecretStr("s")}
    plain = open_store(StorageSettings(root="s3://bucket/some/prefix", **keys))
    assert isinstance(plain, S3Store)
    assert plain.identity == "/bucket/some/prefix"
    cached = open_store(
        StorageSettings(root="s3://bucket", cache_folder=tmp_path, cache_limit_gb=0.5, **keys)
    )
    assert isinstance(cached, CachedStore)
    assert cached.cache.limit == 500_000_000


@pytest.mark.parametrize(
    "fields",
    [
        {"root": "gs://bucket"},
        {"root": "s3://"},
        {"root": "s3://bucket/x?versions"},
        {"root": "s3://bucket", "access_key_id": "k"},
        {"root": "s3://bucket", "secret_access_key": "s"},
        {"root": "s3://bucket", "endpoint": "http://127.0.0.1:1"},
    ],
)
def test_settings_that_contradict_each_other_are_refused(fields: dict[str, str]) -> None:
    with pytest.raises(BadSettings):
        open_store(StorageSettings(**fields))  # type: ignore[arg-type]  # pydantic converts


def test_secrets_are_not_shown_and_unknown_settings_refused() -> None:
    settings = StorageSettings(secret_access_key=SecretStr("topsecret"))
    assert "topsecret" not in repr(settings)
    with pytest.raises(ValidationError):
        StorageSettings(rot="x")  # type: ignore[call-arg]  # the point of the test


def test_importing_storage_is_light() -> None:
    code = (
        "import sys, firstlight.storage\n"
        "print([m for m in ('numpy', 'astropy', 'pyarrow', 'sqlalchemy') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
