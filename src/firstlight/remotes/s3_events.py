"""Messages by which object storage tells that a file has come.

Amazon S3, MinIO, Ceph and others send ``{"Records": [...]}``; through SNS that is a string in
an envelope. EventBridge has a shape of its own, and so has SeaweedFS, which tells of its files,
not of objects.
"""

from __future__ import annotations

import binascii
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import unquote_plus

from firstlight.errors import UserError

__all__ = ["BadEvent", "CreatedObject", "parse_events"]

_LARGEST = 1 << 20  # bytes; queues allow a quarter of it, a webhook sends one record or a few
_ENVELOPES = 2  # an SNS message may hold an SNS message; no sender wraps deeper
_SHOWN = 60
_CREATED = "ObjectCreated:"

_Json: TypeAlias = dict[str, Any]


class BadEvent(UserError):
    """The message is not one that object storage sends."""

    code = "s3_event.bad"


@dataclass(frozen=True, slots=True)
class CreatedObject:
    """An object that was created or replaced.

    Parameters
    ----------
    bucket, key
        The key as it is, not as URLs spell it.
    size
        Bytes, where told.
    etag
        Without quotes; empty where not told.
    version_id
        Empty in buckets that keep no versions.
    sequencer
        Of two events on one key the later has the larger, compared as text of equal length;
        empty where not told.
    event
        ``ObjectCreated:Put`` and its like.
    """

    bucket: str
    key: str
    size: int | None = None
    etag: str = ""
    version_id: str = ""
    sequencer: str = ""
    event: str = ""


def parse_events(message: bytes | str) -> list[CreatedObject]:
    """Return the objects that a message says were created, in its order.

    What else storage tells (removals, the test message that it sends once) is no error and
    gives nothing. Fields that are not known are ignored.

    Raises
    ------
    BadEvent
        The message is not of a known kind, or a record in it has no bucket or key. One bad
        record refuses the message: its sender is not who it seems.
    """
    if len(message) > _LARGEST:
        raise BadEvent(
            "the message is too long", found=len(message), expected=f"at most {_LARGEST} bytes"
        )
    return list(_objects(_decoded(message), _ENVELOPES))


def _decoded(message: bytes | str) -> _Json:
    try:
        value = json.loads(message)
    except (ValueError, RecursionError) as fault:
        raise BadEvent("the message is not JSON", found=fault) from fault
    if not isinstance(value, dict):
        raise BadEvent(field="message", found=type(value).__name__, expected="an object")
    return value


def _objects(message: _Json, envelopes: int) -> Iterator[CreatedObject]:
    if "Records" in message:
        records = message["Records"]
        if not isinstance(records, list):
            raise BadEvent(field="Records", found=type(records).__name__, expected="a list")
        for position, record in enumerate(records):
            yield from _from_record(record, f"Records[{position}]")
    elif message.get("Event") == "s3:TestEvent":
        return
    elif isinstance(message.get("Message"), str) and "Type" in message:
        yield from _from_envelope(message, envelopes)
    elif "detail-type" in message:
        yield from _from_event_bridge(message)
    elif "event_type" in message and "key" in message:
        yield from _from_seaweedfs(message)
    else:
        raise BadEvent(
            field="message",
            found=f"fields {', '.join(_shown(key) for key in list(message)[:8])}",
            expected="Records, an SNS notification, or an event of EventBridge or SeaweedFS",
        )


def _from_envelope(message: _Json, envelopes: int) -> Iterator[CreatedObject]:
    if message["Type"] != "Notification":
        raise BadEvent(
            field="Type",
            found=_shown(message["Type"]),
            expected="Notification",
            hint="a subscription is confirmed by opening its SubscribeURL once",
        )
    if envelopes == 0:
        raise BadEvent("the message is wrapped too often", field="Message")
    yield from _objects(_decoded(message["Message"]), envelopes - 1)


def _from_record(record: Any, where: str) -> Iterator[CreatedObject]:
    facts = _dict(record, where)
    event = _text(facts, "eventName", where, required=True).removeprefix("s3:")
    if not event.startswith(_CREATED):
        return
    storage = _dict(facts.get("s3"), f"{where}.s3")
    bucket = _dict(storage.get("bucket"), f"{where}.s3.bucket")
    place = f"{where}.s3.object"
    thing = _dict(storage.get("object"), place)
    yield CreatedObject(
        bucket=_text(bucket, "name", f"{where}.s3.bucket", required=True),
        key=_unquoted(_text(thing, "key", place, required=True), place),
        size=_size(thing, place),
        etag=_text(thing, "eTag", place).strip('"'),
        version_id=_version(_text(thing, "versionId", place)),
        sequencer=_text(thing, "sequencer", place),
        event=event,
    )


def _from_event_bridge(message: _Json) -> Iterator[CreatedObject]:
    if message["detail-type"] != "Object Created":
        return
    detail = _dict(message.get("detail"), "detail")
    bucket = _dict(detail.get("bucket"), "detail.bucket")
    place = "detail.object"
    thing = _dict(detail.get("object"), place)
    yield CreatedObject(
        bucket=_text(bucket, "name", "detail.bucket", required=True),
        key=_text(thing, "key", place, required=True),  # EventBridge does not encode keys
        size=_size(thing, place),
        etag=_text(thing, "etag", place).strip('"'),
        version_id=_version(_text(thing, "version-id", place)),
        sequencer=_text(thing, "sequencer", place),
        event=_CREATED + (_text(detail, "reason", "detail") or "*"),
    )


def _from_seaweedfs(message: _Json) -> Iterator[CreatedObject]:
    """Read what its filer sends: objects are files below ``/buckets``."""
    kind = _text(message, "event_type", "message", required=True)
    if kind not in ("create", "update", "rename"):
        return
    change = _dict(message.get("message"), "message")
    entry = _dict(change.get("new_entry"), "message.new_entry")
    name = _text(entry, "name", "message.new_entry", required=True)
    folder = _text(change, "new_parent_path", "message", required=True)
    root, _, path = f"{folder}/{name}".partition("/buckets/")
    bucket, _, key = path.partition("/")
    # Names with a dot are the server's own: parts of uploads under way, owners of buckets.
    if root or not key or entry.get("is_directory") or bucket.startswith(".") or key[0] == ".":
        return
    attributes = _dict(entry.get("attributes"), "message.new_entry.attributes")
    yield CreatedObject(
        bucket=bucket,
        key=key,
        size=_size({"size": attributes.get("file_size", 0)}, "message.new_entry.attributes"),
        etag=_seaweedfs_etag(entry, attributes),
        event=_CREATED + kind.capitalize(),
    )


def _seaweedfs_etag(entry: _Json, attributes: _Json) -> str:
    """Return the ETag as its S3 gateway gives it: kept with the object, else the MD5."""
    kept = _dict(entry.get("extended") or {}, "message.new_entry.extended")
    try:
        etag = _text(kept, "Seaweed-X-Amz-ETag", "message.new_entry.extended")
        if etag:
            return binascii.a2b_base64(etag).decode().strip('"')
        return binascii.a2b_base64(_text(attributes, "md5", "attributes")).hex()
    except ValueError as fault:
        raise BadEvent(field="Seaweed-X-Amz-ETag", found=fault, expected="base64") from fault


def _dict(value: Any, where: str) -> _Json:
    if not isinstance(value, dict):
        raise BadEvent(field=where, found=type(value).__name__, expected="an object")
    return value


def _text(facts: _Json, name: str, where: str, *, required: bool = False) -> str:
    value = facts.get(name)
    if value is None and not required:
        return ""
    if not isinstance(value, str) or (required and not value):
        raise BadEvent(field=f"{where}.{name}", found=_shown(value), expected="text")
    return value


def _unquoted(key: str, where: str) -> str:
    """Decode a key as URLs' query strings are; that is how all these servers encode it."""
    try:
        return unquote_plus(key, errors="strict")
    except UnicodeDecodeError as fault:
        raise BadEvent(
            field=f"{where}.key", found=_shown(key), expected="UTF-8 encoded for a URL"
        ) from fault


def _size(thing: _Json, where: str) -> int | None:
    """Read the size; Ceph writes it as text."""
    value = thing.get("size")
    if value is None or value == "":
        return None
    number = int(value) if isinstance(value, str) and _is_digits(value) else value
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise BadEvent(field=f"{where}.size", found=_shown(value), expected="bytes")
    return number


def _is_digits(text: str) -> bool:
    return len(text) < 20 and text.isascii() and text.isdigit()


def _version(text: str) -> str:
    return "" if text == "null" else text  # what S3 calls the version of an unversioned object


def _shown(value: Any) -> str:
    return ascii(value)[:_SHOWN]
