"""Bytes under keys: one interface over a folder and S3."""

from firstlight.storage.keys import BadKey, build_key, check_key, safe_segment
from firstlight.storage.open_store import open_store
from firstlight.storage.settings import StorageSettings
from firstlight.storage.store import (
    ChecksumMismatch,
    KeyChanged,
    KeyMissing,
    KeyTaken,
    LinkExpired,
    LinkForged,
    LinksUnavailable,
    StorageFull,
    StorageRefused,
    StorageUnreachable,
    Store,
    StoredEntry,
    StoredFile,
)

__all__ = [
    "BadKey",
    "ChecksumMismatch",
    "KeyChanged",
    "KeyMissing",
    "KeyTaken",
    "LinkExpired",
    "LinkForged",
    "LinksUnavailable",
    "StorageFull",
    "StorageRefused",
    "StorageSettings",
    "StorageUnreachable",
    "Store",
    "StoredEntry",
    "StoredFile",
    "build_key",
    "check_key",
    "open_store",
    "safe_segment",
]
