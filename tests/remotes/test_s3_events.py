from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstlight.remotes.s3_events import BadEvent, CreatedObject, parse_events


def _record(key: str = "data/a.fits", **more: Any) -> dict[str, Any]:
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "eventTime": "2026-11-21T01:02:03.000Z",
        "eventName": "ObjectCreated:Put",
        "s3": {
            "s3SchemaVersion": "1.0",
            "bucket": {"name": "photonranch-001", "arn": "arn:aws:s3:::photonranch-001"},
            "object": {
                "key": quote_plus(key),
                "size": 1024,
                "eTag": "d41d8cd98f00b204e9800998ecf8427e",
                "versionId": "v1",
                "sequencer": "0055AED6DCD90281E5",
            },
        },
    }
    record.update(more)
    return record


def _message(*records: dict[str, Any], **more: Any) -> str:
    return json.dumps({"Records": list(records), **more})


def test_amazon() -> None:
    assert parse_events(_message(_record("data/a b+c é%.fits"))) == [
        CreatedObject(
            bucket="photonranch-001",
            key="data/a b+c é%.fits",
            size=1024,
            etag="d41d8cd98f00b204e9800998ecf8427e",
            version_id="v1",
            sequencer="0055AED6DCD90281E5",
            event="ObjectCreated:Put",
        )
    ]


def test_every_record_counts_and_other_events_do_not() -> None:
    kinds = [
        "ObjectCreated:Put",
        "ObjectCreated:Post",
        "ObjectRemoved:Delete",
        "s3:ObjectCreated:CompleteMultipartUpload",
        "ObjectRestore:Completed",
        "ObjectCreated:Copy",
        "s3:TestEvent",
    ]
    records = [_record(f"{n}", eventName=kind) for n, kind in enumerate(kinds)]
    found = parse_events(_message(*records).encode())
    assert [each.key for each in found] == ["0", "1", "3", "5"]
    assert {each.event.partition(":")[0] for each in found} == {"ObjectCreated"}


def test_minio() -> None:
    record = _record("night 1/a.fits", eventName="s3:ObjectCreated:Put", eventSource="minio:s3")
    record["s3"]["object"]["userMetadata"] = {"content-type": "image/fits"}
    record["s3"]["object"]["eTag"] = '"abc"'
    message = _message(
        record, EventName="s3:ObjectCreated:Put", Key="photonranch-001/night 1/a.fits"
    )
    (found,) = parse_events(message)
    assert (found.key, found.etag, found.event) == ("night 1/a.fits", "abc", "ObjectCreated:Put")


def test_ceph_writes_sizes_as_text_and_empty_versions() -> None:
    record = _record(eventSource="ceph:s3", eventId="", opaqueData="")
    record["s3"]["object"] |= {"size": "2048", "versionId": "", "metadata": [], "tags": []}
    (found,) = parse_events(_message(record))
    assert (found.size, found.version_id) == (2048, "")


def test_only_bucket_and_key_are_needed() -> None:
    record = {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "b"}}}
    record["s3"]["object"] = {"key": "k", "versionId": "null"}  # type: ignore[index]  # a dict
    assert parse_events(_message(record)) == [CreatedObject("b", "k", event="ObjectCreated:Put")]


def test_through_sns() -> None:
    envelope = {"Type": "Notification", "MessageId": "1", "Message": _message(_record("x"))}
    assert [each.key for each in parse_events(json.dumps(envelope))] == ["x"]
    twice = {"Type": "Notification", "Message": json.dumps(envelope)}
    assert [each.key for each in parse_events(json.dumps(twice))] == ["x"]
    thrice = {"Type": "Notification", "Message": json.dumps(twice)}
    with pytest.raises(BadEvent, match="wrapped too often"):
        parse_events(json.dumps(thrice))


def test_a_subscription_to_confirm_is_no_event() -> None:
    envelope = {"Type": "SubscriptionConfirmation", "Message": "You ...", "SubscribeURL": "https"}
    with pytest.raises(BadEvent, match="SubscribeURL"):
        parse_events(json.dumps(envelope))


def test_the_test_event_of_amazon_gives_nothing() -> None:
    event = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b", "RequestId": "1"}
    assert parse_events(json.dumps(event)) == []
    assert parse_events(_message()) == []


def test_event_bridge_does_not_encode_keys() -> None:
    event = {
        "version": "0",
        "detail-type": "Object Created",
        "source": "aws.s3",
        "detail": {
            "version": "0",
            "bucket": {"name": "b"},
            "object": {"key": "a+b%20c", "size": 5, "etag": "e", "sequencer": "s"},
            "reason": "PutObject",
        },
    }
    assert parse_events(json.dumps(event)) == [
        CreatedObject("b", "a+b%20c", 5, "e", "", "s", "ObjectCreated:PutObject")
    ]
    event["detail-type"] = "Object Deleted"
    assert parse_events(json.dumps(event)) == []


def _seaweedfs(**more: Any) -> dict[str, Any]:
    """As weed 4.48 sent it."""
    return {
        "event_type": "create",
        "key": "/buckets/data-1/data/a b+c é.txt",
        "message": {
            "new_entry": {
                "name": "a b+c é.txt",
                "chunks": [{"size": 5}],
                "attributes": {
                    "file_size": 5,
                    "mtime": 1795251805,
                    "md5": "XUFAKrxLKna5cZ2REBfFkg==",
                },
                "extended": {"Seaweed-X-Amz-ETag": "NWQ0MTQwMmFiYzRiMmE3NmI5NzE5ZDkxMTAxN2M1OTI="},
            },
            "new_parent_path": "/buckets/data-1/data",
        },
        **more,
    }


def test_seaweedfs() -> None:
    expected = CreatedObject(
        "data-1",
        "data/a b+c é.txt",
        5,
        "5d41402abc4b2a76b9719d911017c592",
        event="ObjectCreated:Create",
    )
    event = _seaweedfs()
    assert parse_events(json.dumps(event)) == [expected]
    del event["message"]["new_entry"]["extended"]
    assert parse_events(json.dumps(event)) == [expected]
    assert parse_events(json.dumps(_seaweedfs(event_type="delete"))) == []
    event["message"]["new_entry"]["is_directory"] = True
    assert parse_events(json.dumps(event)) == []


@pytest.mark.parametrize(
    "folder",
    ["/buckets", "/etc", "/buckets/.system/owners", "/buckets/data-1/.uploads/1", "/x/buckets/b"],
)
def test_files_of_seaweedfs_that_are_no_objects(folder: str) -> None:
    event = _seaweedfs()
    event["message"]["new_parent_path"] = folder
    assert parse_events(json.dumps(event)) == []


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ("", None),
        ("[]", "message"),
        ("null", "message"),
        ("{}", "message"),
        ("{" * 100_000, None),
        ("[" * 100_000, None),
        (b"\xff\xfe\xfa", None),
        ('{"Records": {}}', "Records"),
        ('{"Records": [1]}', "Records[0]"),
        ('{"Records": [{}]}', "Records[0].eventName"),
        ('{"Records": [{"eventName": "ObjectCreated:Put"}]}', "Records[0].s3"),
        ('{"Type": 1, "Message": "{}"}', "Type"),
        ('{"Type": "Notification", "Message": "oops"}', None),
        ('{"detail-type": "Object Created"}', "detail"),
        ('{"event_type": "create", "key": "/buckets/b/k"}', "message"),
        ('{"event_type": 7, "key": "/buckets/b/k"}', "message.event_type"),
    ],
)
def test_what_is_no_event_is_refused(message: bytes | str, field: str | None) -> None:
    with pytest.raises(BadEvent) as caught:
        parse_events(message)
    assert (caught.value.code, caught.value.field) == ("s3_event.bad", field)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("key", None),
        ("key", ""),
        ("key", 5),
        ("key", "%ff%fe"),
        ("size", -1),
        ("size", True),
        ("size", 1.5),
        ("size", "12kB"),
        ("size", "٣"),
        ("size", [1]),
        ("eTag", {}),
        ("sequencer", 5),
    ],
)
def test_a_bad_field_is_named(place: str, value: object) -> None:
    record = _record()
    record["s3"]["object"][place] = value
    with pytest.raises(BadEvent) as caught:
        parse_events(_message(_record(), record))
    assert caught.value.field == f"Records[1].s3.object.{place}"


def test_a_message_that_is_too_long() -> None:
    with pytest.raises(BadEvent, match="too long"):
        parse_events(b" " * (1 << 20) + b"{}")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "Records",
                    "s3",
                    "bucket",
                    "object",
                    "key",
                    "name",
                    "size",
                    "eventName",
                    "Type",
                    "Message",
                    "detail",
                    "detail-type",
                    "event_type",
                    "message",
                    "new_entry",
                    "extended",
                    "attributes",
                    "md5",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(json_values)
def test_nothing_but_bad_event_is_raised(value: object) -> None:
    try:
        found = parse_events(json.dumps(value))
    except BadEvent:
        return
    assert all(each.bucket and each.key for each in found)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_key_comes_through(key: str) -> None:
    assert parse_events(_message(_record(key)))[0].key == key
