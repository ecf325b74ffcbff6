from __future__ import annotations

import base64
import json
import sys
import uuid
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import httpx
import pytest

from firstlight.errors import InvalidInput
from firstlight.storage import BadKey, LinksUnavailable, StorageSettings, open_store
from firstlight.storage.presigned_post import (
    PostSigner,
    SignedPost,
    upload_forms,
    upload_signer,
)
from fixtures_s3 import S3Server

_MINUTE = timedelta(minutes=1)


def _settings(**more: object) -> StorageSettings:
    given = {"root": "s3://bucket/some/prefix", "access_key_id": "id", "secret_access_key": "s"}
    return StorageSettings.model_validate(given | more)


def _bucket_signer(settings: StorageSettings) -> PostSigner:
    signer = upload_forms(settings)
    assert isinstance(signer, PostSigner)
    return signer


def _post(form: SignedPost, body: bytes, **changed: str) -> httpx.Response:
    return httpx.post(form.url, data=form.fields | changed, files={"file": ("x.fits", body)})


def test_the_policy_that_is_signed() -> None:
    moment = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
    signer = PostSigner(
        "https://s3/b", "b", "pre", "eu-west-1", "id", "secret", clock=lambda: moment
    )
    form = signer.sign("inbox/1/a.fits", max_size=1000, expires=_MINUTE)
    assert form.as_dict()["url"] == "https://s3/b"
    assert form.fields["key"] == "pre/inbox/1/a.fits"
    policy = json.loads(base64.b64decode(form.fields["policy"]))
    assert policy["expiration"] == "2026-11-21T09:31:00.000Z"
    assert ["content-length-range", 1, 1000] in policy["conditions"]
    named = {name for each in policy["conditions"] if isinstance(each, dict) for name in each}
    # S3 refuses a form with a field that the policy does not name.
    assert named == {"bucket", *form.fields} - {"policy", "x-amz-signature"}
    assert "secret" not in repr(signer)


def test_the_signature_is_the_one_that_boto3_makes() -> None:
    boto3 = pytest.importorskip("boto3", reason="boto3 signs the form to compare with")
    moment = datetime.now(UTC).replace(microsecond=0)
    signer = PostSigner("x", "b", "", "us-east-1", "AKID", "wJalr", clock=lambda: moment)
    theirs = boto3.client(
        "s3",
        region_name="us-east-1",
        aws_access_key_id="AKID",
        aws_secret_access_key="wJalr",  # noqa: S106 - nobody's
        config=boto3.session.Config(signature_version="s3v4"),
    ).generate_presigned_post("b", "a.fits", ExpiresIn=60)["fields"]
    day = theirs["x-amz-date"][:8]
    assert signer._seal(day, theirs["policy"]) == theirs["x-amz-signature"]
    ours = signer.sign("a.fits", max_size=1, expires=_MINUTE).fields
    assert set(ours) == set(theirs)


@pytest.mark.s3
class TestOnARealServer:
    @pytest.fixture
    def settings(self, s3_server: S3Server, s3_bucket: str) -> StorageSettings:
        return StorageSettings.model_validate(s3_server.settings(s3_bucket, uuid.uuid4().hex))

    def test_a_post_lands_where_it_should(self, settings: StorageSettings) -> None:
        form = _bucket_signer(settings).sign("inbox/é 1/a+b.fits", max_size=100, expires=_MINUTE)
        answer = _post(form, b"x" * 100)
        assert answer.status_code in (200, 201, 204), answer.text
        assert open_store(settings).read("inbox/é 1/a+b.fits") == b"x" * 100

    @pytest.mark.parametrize("body", [b"x" * 101, b""])
    def test_a_size_out_of_bounds_is_refused(self, settings: StorageSettings, body: bytes) -> None:
        form = _bucket_signer(settings).sign("inbox/1/a.fits", max_size=100, expires=_MINUTE)
        assert _post(form, body).status_code in (400, 403)
        assert not open_store(settings).exists("inbox/1/a.fits")

    def test_an_expired_form_is_refused(self, settings: StorageSettings) -> None:
        signer = _bucket_signer(settings)
        earlier = PostSigner(
            signer.url,
            signer.bucket,
            signer.prefix,
            signer.region,
            signer.access_key_id,
            signer.secret_access_key,
            clock=lambda: datetime.now(UTC) - timedelta(minutes=2),
        )
        form = earlier.sign("inbox/1/a.fits", max_size=100, expires=_MINUTE)
        assert _post(form, b"x").status_code in (400, 403)
        assert not open_store(settings).exists("inbox/1/a.fits")

    def test_another_key_or_a_wrong_signature_is_refused(self, settings: StorageSettings) -> None:
        form = _bucket_signer(settings).sign("inbox/1/a.fits", max_size=100, expires=_MINUTE)
        other = form.fields["key"].replace("a.fits", "b.fits")
        assert _post(form, b"x", key=other).status_code in (400, 403)
        forged = form.fields["x-amz-signature"][::-1]
        assert _post(form, b"x", **{"x-amz-signature": forged}).status_code in (400, 403)
        longer = json.loads(base64.b64decode(form.fields["policy"]))
        longer["expiration"] = "2099-01-01T00:00:00.000Z"
        policy = base64.b64encode(json.dumps(longer).encode()).decode()
        assert _post(form, b"x", policy=policy).status_code in (400, 403)
        assert list(open_store(settings).list()) == []


@pytest.mark.parametrize("size", [0, -1, (5 << 30) + 1])
def test_sizes_that_no_post_has(size: int) -> None:
    with pytest.raises(InvalidInput, match="max_size"):
        _bucket_signer(_settings()).sign("a", max_size=size, expires=_MINUTE)


def test_keys_and_lifetimes_are_checked() -> None:
    signer = _bucket_signer(_settings())
    with pytest.raises(BadKey):
        signer.sign("../a", max_size=1, expires=_MINUTE)
    with pytest.raises(InvalidInput, match="7 days"):
        signer.sign("a", max_size=1, expires=timedelta(days=8))


def test_where_amazon_answers() -> None:
    signer = _bucket_signer(_settings(region="eu-west-1"))
    assert signer.url == "https://s3.eu-west-1.amazonaws.com/bucket"
    assert signer.prefix == "some/prefix"


def test_a_folder_is_posted_to_through_the_api() -> None:
    settings = StorageSettings.model_validate(
        {"root": "data", "link_base_url": "https://x/api/", "link_secret": "0123456789abcdef"}
    )
    form = upload_forms(settings).sign("inbox/1/a.fits", max_size=10, expires=_MINUTE)
    address, _, token = form.url.rpartition("/")
    assert (address, form.fields) == ("https://x/api/uploads", {"key": "inbox/1/a.fits"})
    claim = upload_signer(settings).verify(token)
    assert (claim.key, claim.max_size) == ("inbox/1/a.fits", 10)


@pytest.mark.parametrize("missing", ["link_base_url", "link_secret"])
def test_a_folder_without_an_api_takes_no_posts(missing: str) -> None:
    given = {"root": "data", "link_base_url": "https://x", "link_secret": "0123456789abcdef"}
    with pytest.raises(LinksUnavailable, match="link_secret"):
        upload_forms(StorageSettings.model_validate(given | {missing: None}))


def test_credentials_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen = SimpleNamespace(access_key="role", secret_key="s", token="t")  # noqa: S106 - made up
    found = SimpleNamespace(get_frozen_credentials=lambda: frozen)
    session = SimpleNamespace(get_credentials=lambda: found)
    monkeypatch.setitem(sys.modules, "boto3", SimpleNamespace(Session=lambda: session))
    signer = _bucket_signer(_settings(access_key_id=None, secret_access_key=None))
    fields = signer.sign("a", max_size=1, expires=_MINUTE).fields
    assert fields["x-amz-security-token"] == "t"
    assert fields["x-amz-credential"].startswith("role/")


def test_without_credentials_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(LinksUnavailable, match="access_key_id"):
        _bucket_signer(_settings(access_key_id=None, secret_access_key=None))
