"""Cheaper storage for old files: lifecycle rules of the bucket, which the server carries out.

Only classes from which bytes can be read at once are offered: an exposure in an archive class
would have to be asked for hours before it could be shown or reduced. Nothing is deleted by these
rules but parts of uploads that never ended; removal is the affair of expiration, which removes
the rows as well.

The configuration of a bucket is one document. Rules that others have put there stay: ours are
those whose name begins with ``firstlight:`` and the store's prefix.
"""

from __future__ import annotations

import importlib
from typing import Any, Protocol
from urllib.parse import urlsplit

from firstlight.errors import MissingDependency, RemoteError, UserError
from firstlight.services.expiry.lifecycle_settings import LifecycleSettings
from firstlight.storage import StorageSettings

__all__ = [
    "BucketRules",
    "LifecycleRefused",
    "LifecycleService",
    "NoBucket",
    "open_bucket_rules",
]


class NoBucket(UserError):
    """Storage classes are for a store in a bucket; this one is a folder."""

    code = "lifecycle.no_bucket"


class LifecycleRefused(RemoteError):
    """The server did not take the lifecycle rules."""

    code = "lifecycle.refused"


class BucketRules(Protocol):
    """Reads and writes the lifecycle rules of one bucket."""

    def read(self) -> list[dict[str, Any]]:
        """Rules that are there."""
        ...

    def write(self, rules: list[dict[str, Any]]) -> None:
        """Replace all rules; none removes the configuration."""
        ...


class LifecycleService:
    """Brings a bucket's lifecycle rules in line with the settings.

    Parameters
    ----------
    storage
        Which store.
    settings
        Which rules.
    bucket
        Reads and writes; by default through boto3.
    """

    def __init__(
        self,
        *,
        storage: StorageSettings,
        settings: LifecycleSettings,
        bucket: BucketRules | None = None,
    ) -> None:
        self._storage = storage
        self._settings = settings
        self._bucket = bucket

    def rules(self) -> list[dict[str, Any]]:
        """Our rules, as the interface of S3 has them.

        Raises
        ------
        NoBucket
            The store is a folder.
        """
        _, prefix = _bucket_of(self._storage)
        mine = f"firstlight:{prefix}:"
        rules = [
            {
                "ID": f"{mine}{rule.prefix} to {rule.storage_class}"[:255],
                "Status": "Enabled",
                "Filter": {
                    "And": {
                        "Prefix": prefix + rule.prefix,
                        "ObjectSizeGreaterThan": max(rule.min_size - 1, 0),
                    }
                },
                "Transitions": [{"Days": rule.after_days, "StorageClass": rule.storage_class}],
            }
            for rule in self._settings.rules
        ]
        if self._settings.abort_uploads_after_days is not None:
            days = self._settings.abort_uploads_after_days
            rules.append(
                {
                    "ID": f"{mine}unfinished uploads",
                    "Status": "Enabled",
                    "Filter": {"Prefix": prefix},
                    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": days},
                }
            )
        return rules

    def apply(self, *, dry_run: bool = False) -> dict[str, Any]:
        """Put our rules on the bucket, in place of ours that are there.

        Returns
        -------
        dict
            ``present`` and ``wanted`` rules of the bucket, whether they differ (``changes``),
            and whether they were written (``applied``).

        Raises
        ------
        NoBucket
            The store is a folder.
        MissingDependency
            boto3 is not installed.
        LifecycleRefused
            The server does not know these rules, or the key may not change them.
        """
        ours = self.rules()
        _, prefix = _bucket_of(self._storage)
        bucket = self._bucket or open_bucket_rules(self._storage)
        present = bucket.read()
        mine = f"firstlight:{prefix}:"
        others = [rule for rule in present if not str(rule.get("ID", "")).startswith(mine)]
        wanted = [*others, *ours]
        changes = _by_id(wanted) != _by_id(present)
        if changes and not dry_run:
            bucket.write(wanted)
        return {
            "present": present,
            "wanted": wanted,
            "changes": changes,
            "applied": changes and not dry_run,
        }


def _by_id(rules: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """In an order of their own: servers do not keep that of the document."""
    return sorted(((str(rule.get("ID", "")), rule) for rule in rules), key=lambda pair: pair[0])


def _bucket_of(storage: StorageSettings) -> tuple[str, str]:
    """Name of the bucket, and the prefix of all keys in it with its slash."""
    parts = urlsplit(storage.root)
    if parts.scheme != "s3":
        raise NoBucket(
            subject=storage.root,
            hint="back up or move old files by the means of the file system, or set storage.root "
            "to s3://bucket/prefix",
        )
    prefix = parts.path.strip("/")
    return parts.netloc, f"{prefix}/" if prefix else ""


def open_bucket_rules(storage: StorageSettings) -> BucketRules:
    """Reach a bucket's rules through boto3, with the account of the settings."""
    name, _ = _bucket_of(storage)
    try:
        boto3 = importlib.import_module("boto3")
        config = importlib.import_module("botocore.config").Config
    except ModuleNotFoundError as fault:
        raise MissingDependency(
            "storage classes need the package boto3",
            subject=storage.root,
            hint="pip install 'firstlight[aws]'",
        ) from fault
    secret = storage.secret_access_key
    client = boto3.client(
        "s3",
        endpoint_url=storage.endpoint,
        region_name=storage.region,
        aws_access_key_id=storage.access_key_id,
        aws_secret_access_key=None if secret is None else secret.get_secret_value(),
        config=config(s3={"addressing_style": "path"}, connect_timeout=10, read_timeout=30),
    )
    return _BotoRules(client, name)


class _BotoRules:
    """`BucketRules` by a client of boto3."""

    def __init__(self, client: Any, bucket: str) -> None:
        self._client = client
        self._name = bucket
        faults = importlib.import_module("botocore.exceptions")
        self._faults = (faults.ClientError, faults.BotoCoreError)

    def read(self) -> list[dict[str, Any]]:
        try:
            answer = self._client.get_bucket_lifecycle_configuration(Bucket=self._name)
        except self._faults as fault:
            if _code(fault) == "NoSuchLifecycleConfiguration":
                return []
            raise self._refused(fault) from fault
        return list(answer.get("Rules", []))

    def write(self, rules: list[dict[str, Any]]) -> None:
        try:
            if not rules:
                self._client.delete_bucket_lifecycle(Bucket=self._name)
                return
            self._client.put_bucket_lifecycle_configuration(
                Bucket=self._name, LifecycleConfiguration={"Rules": rules}
            )
        except self._faults as fault:
            raise self._refused(fault) from fault

    def _refused(self, fault: Exception) -> LifecycleRefused:
        return LifecycleRefused(
            subject=f"s3://{self._name}",
            found=fault,
            hint="the key needs the right s3:PutLifecycleConfiguration; "
            "not every server that speaks S3 has storage classes",
        )


def _code(fault: Exception) -> str:
    answer: dict[str, Any] = getattr(fault, "response", {})
    return str(answer.get("Error", {}).get("Code", ""))
