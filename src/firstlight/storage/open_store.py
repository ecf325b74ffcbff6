"""The right store for the settings."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from firstlight.errors import BadSettings
from firstlight.storage.cache import CachedStore, FileCache
from firstlight.storage.folder import FolderStore
from firstlight.storage.links import LinkSigner
from firstlight.storage.s3 import S3Account, S3Store
from firstlight.storage.settings import StorageSettings
from firstlight.storage.store import Store

__all__ = ["link_signer", "open_store"]


def open_store(where: StorageSettings | str | Path) -> Store:
    """Return the store that settings, a path or ``s3://bucket/prefix`` name.

    A folder is made where it does not exist, and swept of what killed writers left. A bucket
    is not asked for anything yet; `Store.check` does.

    Raises
    ------
    BadSettings
        When the settings contradict each other.
    """
    settings = where if isinstance(where, StorageSettings) else StorageSettings(root=str(where))
    scheme, colon, _ = settings.root.partition("://")
    if not colon:
        store = FolderStore(Path(settings.root), links=link_signer(settings))
        store.sweep()
        return store
    if scheme != "s3":
        raise BadSettings(
            "no such kind of storage", field="root", found=settings.root, expected="a path or s3://"
        )
    return _open_bucket(settings)


def _open_bucket(settings: StorageSettings) -> Store:
    parts = urlsplit(settings.root)
    if not parts.netloc or parts.query or parts.fragment:
        raise BadSettings(field="root", found=settings.root, expected="s3://bucket/prefix")
    secret = settings.secret_access_key
    if (settings.access_key_id is None) != (secret is None):
        raise BadSettings(
            "the S3 key and its secret belong together", field="access_key_id, secret_access_key"
        )
    if (settings.endpoint or "").startswith("http://") and not settings.allow_http:
        raise BadSettings(
            "the endpoint is not encrypted",
            field="endpoint",
            found=settings.endpoint,
            hint="use https, or set allow_http in a network that you trust",
        )
    account = S3Account(
        endpoint=settings.endpoint,
        region=settings.region,
        access_key_id=settings.access_key_id,
        secret_access_key=secret.get_secret_value() if secret else None,
        allow_http=settings.allow_http,
        retry_for=timedelta(seconds=settings.retry_for_s),
    )
    cache = settings.cache_folder
    store = S3Store(
        parts.netloc,
        parts.path.strip("/"),
        account=account,
        spool=cache / "spool" if cache else Path(tempfile.gettempdir()),
        listing_is_ordered=settings.endpoint is None,
    )
    if cache is None:
        return store
    return CachedStore(store, FileCache(cache, round(settings.cache_limit_gb * 1e9)))


def link_signer(settings: StorageSettings) -> LinkSigner | None:
    """Return what makes and checks links to files in a folder; None where it is not set up."""
    if settings.link_base_url is None or settings.link_secret is None:
        return None
    return LinkSigner(settings.link_secret.get_secret_value().encode(), settings.link_base_url)
