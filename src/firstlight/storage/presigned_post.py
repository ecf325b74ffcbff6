"""Leave to upload one file, by a form that a browser or script posts.

To a bucket it goes straight, with Amazon's signature of version 4 for POST policies made here;
that is one HMAC over the policy, so boto3 is needed only to find credentials that the settings
do not name. The rules are in Amazon's "Authenticating requests in browser-based uploads using
POST". To a folder it goes through the API.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import importlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol
from urllib.parse import quote, urlsplit

from firstlight.errors import InvalidInput
from firstlight.storage.keys import check_key
from firstlight.storage.links import UploadSigner, check_expiry, utc_now
from firstlight.storage.settings import StorageSettings
from firstlight.storage.store import LinksUnavailable

__all__ = [
    "LARGEST_POST",
    "ApiForms",
    "PostSigner",
    "SignedPost",
    "UploadForms",
    "upload_forms",
    "upload_signer",
]

LARGEST_POST = 5 << 30
"""Bytes that S3 takes in one POST."""


@dataclass(frozen=True, slots=True)
class SignedPost:
    """Where to post a form, and its fields; the field ``file`` with the bytes comes last."""

    url: str
    fields: dict[str, str]

    def as_dict(self) -> dict[str, object]:
        """JSON values, in the shape that boto3 and Photon Ranch give."""
        return {"url": self.url, "fields": self.fields}


class UploadForms(Protocol):
    """Makes forms for the keys of one store."""

    def sign(self, key: str, *, max_size: int, expires: timedelta) -> SignedPost:
        """Return a form that stores 1 to `max_size` bytes under `key` until `expires` is over."""
        ...


@dataclass(frozen=True, slots=True)
class ApiForms:
    """Forms for a store in a folder: the API itself takes the bytes."""

    signer: UploadSigner

    def sign(self, key: str, *, max_size: int, expires: timedelta) -> SignedPost:
        """Return a form with a token in its address; see `UploadSigner`."""
        address = self.signer.address(key, max_size=max_size, expires=expires)
        return SignedPost(address, {"key": key})


@dataclass(frozen=True, slots=True)
class PostSigner:
    """Signs policies for one bucket.

    Parameters
    ----------
    url
        Of the bucket.
    prefix
        Of the store in the bucket; keys are below it.
    session_token
        Of credentials that live for some hours.
    clock
        Returns the present, aware.
    """

    url: str
    bucket: str
    prefix: str
    region: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    clock: Callable[[], datetime] = utc_now

    def sign(self, key: str, *, max_size: int, expires: timedelta) -> SignedPost:
        """Return a form that stores 1 to `max_size` bytes under `key` until `expires` has passed.

        The same form can be posted again until then; what it wrote is then replaced.
        """
        check_key(key)
        check_expiry(key, expires)
        if not 1 <= max_size <= LARGEST_POST:
            raise InvalidInput(
                subject=key, field="max_size", found=max_size, expected=f"1 to {LARGEST_POST}"
            )
        now = self.clock().astimezone(UTC)
        day = now.strftime("%Y%m%d")
        fields = {
            "key": f"{self.prefix}/{key}" if self.prefix else key,
            "x-amz-algorithm": "AWS4-HMAC-SHA256",
            "x-amz-credential": f"{self.access_key_id}/{day}/{self.region}/s3/aws4_request",
            "x-amz-date": now.strftime("%Y%m%dT%H%M%SZ"),
        }
        if self.session_token:
            fields["x-amz-security-token"] = self.session_token
        policy = {
            "expiration": (now + expires).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            "conditions": [
                {"bucket": self.bucket},
                ["content-length-range", 1, max_size],
                *({name: value} for name, value in fields.items()),
            ],
        }
        encoded = base64.b64encode(json.dumps(policy).encode()).decode()
        signature = self._seal(day, encoded)
        return SignedPost(self.url, {**fields, "policy": encoded, "x-amz-signature": signature})

    def _seal(self, day: str, text: str) -> str:
        """Sign with a key that is good for this day, region and service only."""
        secret = b"AWS4" + self.secret_access_key.encode()
        for step in (day, self.region, "s3", "aws4_request"):
            secret = hmac.new(secret, step.encode(), hashlib.sha256).digest()
        return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()


def upload_forms(settings: StorageSettings) -> UploadForms:
    """Return what makes forms for the store that settings name.

    Raises
    ------
    LinksUnavailable
        For a bucket, the settings name no S3 key and none is found where Amazon's programs
        look; for a folder, they name no address of the API or no secret.
    """
    parts = urlsplit(settings.root)
    if parts.scheme != "s3":
        return ApiForms(upload_signer(settings))
    secret = settings.secret_access_key
    if settings.access_key_id is not None and secret is not None:
        key, plain, token = settings.access_key_id, secret.get_secret_value(), None
    else:
        key, plain, token = _found_credentials(settings.root)
    endpoint = settings.endpoint or f"https://s3.{settings.region}.amazonaws.com"
    return PostSigner(
        url=f"{endpoint.rstrip('/')}/{quote(parts.netloc)}",
        bucket=parts.netloc,
        prefix=parts.path.strip("/"),
        region=settings.region,
        access_key_id=key,
        secret_access_key=plain,
        session_token=token,
    )


def upload_signer(settings: StorageSettings) -> UploadSigner:
    """Return what makes and checks tokens for uploads through the API.

    Raises
    ------
    LinksUnavailable
        The settings name no address of the API or no secret.
    """
    if settings.link_base_url is None or settings.link_secret is None:
        raise LinksUnavailable(
            subject=settings.root, hint="set storage.link_base_url and storage.link_secret"
        )
    return UploadSigner(settings.link_secret.get_secret_value().encode(), settings.link_base_url)


def _found_credentials(root: str) -> tuple[str, str, str | None]:
    """Look where Amazon's programs do: environment, files, the role of the machine."""
    try:
        boto3 = importlib.import_module("boto3")
    except ImportError:
        found = None
    else:
        found = boto3.Session().get_credentials()
    if found is None:
        raise LinksUnavailable(
            "uploads straight to the bucket need an S3 key",
            subject=root,
            hint="set storage.access_key_id and storage.secret_access_key, "
            'or install boto3 (pip install "firstlight[aws]") to use the role of the machine',
        )
    frozen = found.get_frozen_credentials()
    return frozen.access_key, frozen.secret_key, frozen.token
