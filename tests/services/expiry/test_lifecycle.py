"""Storage classes of old files: the document that is built, and what a bucket makes of it."""

import sys
import uuid

import pytest
from pydantic import ValidationError

from firstlight.errors import MissingDependency
from firstlight.services.expiry.lifecycle import (
    LifecycleRefused,
    LifecycleService,
    NoBucket,
)
from firstlight.services.expiry.lifecycle_settings import LifecycleSettings
from firstlight.storage import StorageSettings

BUCKET = StorageSettings(root="s3://observatory/archive")
OTHERS = {
    "ID": "theirs",
    "Status": "Enabled",
    "Filter": {"Prefix": "x/"},
    "Expiration": {"Days": 1},
}


class FakeBucket:
    def __init__(self, *rules):
        self.rules, self.writes = list(rules), 0

    def read(self):
        return list(self.rules)

    def write(self, rules):
        self.rules, self.writes = list(reversed(rules)), self.writes + 1


def _service(bucket=None, storage=BUCKET, **settings):
    return LifecycleService(storage=storage, settings=LifecycleSettings(**settings), bucket=bucket)


def test_the_document_that_is_built():
    assert _service().rules() == [
        {
            "ID": "firstlight:archive/:data/ to STANDARD_IA",
            "Status": "Enabled",
            "Filter": {"And": {"Prefix": "archive/data/", "ObjectSizeGreaterThan": 131_071}},
            "Transitions": [{"Days": 30, "StorageClass": "STANDARD_IA"}],
        },
        {
            "ID": "firstlight:archive/:unfinished uploads",
            "Status": "Enabled",
            "Filter": {"Prefix": "archive/"},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
        },
    ]


def test_the_document_is_one_that_boto3_can_send():
    boto3 = pytest.importorskip("boto3")
    validate = pytest.importorskip("botocore.validate")
    client = boto3.client(
        "s3",
        region_name="us-east-1",
        aws_access_key_id="x",
        aws_secret_access_key="y",  # noqa: S106, nothing is sent
    )
    shape = client.meta.service_model.operation_model("PutBucketLifecycleConfiguration").input_shape
    wanted = {"Bucket": "b", "LifecycleConfiguration": {"Rules": _service().rules()}}
    report = validate.ParamValidator().validate(wanted, shape)
    assert not report.has_errors(), report.generate_report()


def test_rules_of_others_stay_and_ours_are_replaced():
    bucket = FakeBucket(OTHERS)
    assert _service(bucket).apply()["applied"]
    assert OTHERS in bucket.rules
    assert len(bucket.rules) == 3
    assert _service(bucket).apply() == {
        "present": bucket.rules,
        "wanted": [OTHERS, *_service().rules()],
        "changes": False,
        "applied": False,
    }
    assert bucket.writes == 1
    _service(bucket, rules=(), abort_uploads_after_days=None).apply()
    assert bucket.rules == [OTHERS]


def test_two_workspaces_in_one_bucket_leave_each_other_alone():
    bucket = FakeBucket()
    _service(bucket).apply()
    _service(bucket, StorageSettings(root="s3://observatory/archive2")).apply()
    _service(bucket, StorageSettings(root="s3://observatory")).apply()
    assert len(bucket.rules) == 6
    _service(bucket, rules=()).apply()
    assert len(bucket.rules) == 5


def test_a_dry_run_writes_nothing():
    bucket = FakeBucket(OTHERS)
    told = _service(bucket).apply(dry_run=True)
    assert told["changes"]
    assert not told["applied"]
    assert len(told["wanted"]) == 3
    assert bucket.writes == 0


def test_a_folder_has_no_storage_classes():
    with pytest.raises(NoBucket) as refused:
        _service(storage=StorageSettings(root="data")).apply(dry_run=True)
    assert "s3://bucket/prefix" in refused.value.hint


@pytest.mark.parametrize(
    "rule",
    [
        {"storage_class": "STANDARD_IA", "after_days": 29},
        {"storage_class": "GLACIER", "after_days": 90},  # its bytes cannot be read at once
        {"storage_class": "GLACIER_IR", "after_days": -1},
        {"storage_class": "GLACIER_IR", "after_days": 1, "prefix": ""},
    ],
)
def test_rules_that_make_no_sense_are_refused(rule):
    with pytest.raises(ValidationError):
        LifecycleSettings(rules=({"prefix": "data/", **rule},))


def test_without_boto3_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(MissingDependency) as missing:
        _service().apply()
    assert "firstlight[aws]" in missing.value.hint


@pytest.fixture
def real_bucket(s3_server):
    pytest.importorskip("boto3")
    bucket = f"rules-{uuid.uuid4().hex[:8]}"
    s3_server.make_bucket(bucket)
    return StorageSettings(**s3_server.settings(bucket, "archive"))


def test_a_real_server_keeps_the_rules_as_they_were_sent(real_bucket):
    service = _service(storage=real_bucket, rules=())
    assert service.apply(dry_run=True)["present"] == []
    assert service.apply()["applied"]
    told = service.apply()
    assert not told["changes"]
    assert told["present"] == service.rules()


def test_a_server_without_storage_classes_says_so(real_bucket):
    """SeaweedFS has none."""
    with pytest.raises(LifecycleRefused) as refused:
        _service(storage=real_bucket).apply()
    assert "storage classes" in refused.value.hint
    assert "NotImplemented" in refused.value.found


def test_a_server_that_is_not_there_is_told_as_such():
    pytest.importorskip("boto3")
    storage = StorageSettings(
        root="s3://bucket/x", endpoint="http://127.0.0.1:9", allow_http=True,
        access_key_id="x", secret_access_key="y",  # noqa: S106, nobody is there to read it
    )  # fmt: skip
    with pytest.raises(LifecycleRefused):
        _service(storage=storage).apply(dry_run=True)
