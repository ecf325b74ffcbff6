"""A queue of Amazon SQS, or of a server that speaks its language, through boto3."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from firstlight.errors import MissingDependency, RemoteError

__all__ = ["QueueMessage", "QueueRefused", "QueueSettings", "QueueUnreachable", "SqsQueue"]

_AT_ONCE = 10  # what the protocol allows
_CONNECT_S = 5.0
_ANSWER_S = 15.0
_REFUSALS = (
    *("AccessDenied", "AccessDeniedException", "InvalidClientTokenId", "SignatureDoesNotMatch"),
    *("QueueDoesNotExist", "NonExistentQueue"),
)

_log = logging.getLogger(__name__)


class QueueUnreachable(RemoteError):
    """The queue does not answer."""

    code = "sqs.unreachable"


class QueueRefused(RemoteError):
    """The queue refused access, or does not exist."""

    code = "sqs.refused"


class QueueSettings(BaseModel):
    """Which queue is asked, and how."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = Field(min_length=1, description="https://sqs.us-east-1.amazonaws.com/1234/name")
    region: str | None = Field(default=None, description="Empty to read it from the URL.")
    access_key_id: str | None = Field(
        default=None, description="Key; empty to look where Amazon's programs look."
    )
    secret_access_key: SecretStr | None = Field(default=None, description="Secret of the key.")
    wait_s: int = Field(
        default=2, ge=0, le=20, description="How long one question waits for messages, seconds."
    )
    hidden_s: int = Field(
        default=60,
        ge=1,
        le=43_200,
        description="A message that was received and not deleted comes again after it, seconds.",
    )

    @model_validator(mode="after")
    def _key_has_its_secret(self) -> Self:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("access_key_id and secret_access_key belong together")
        return self


@dataclass(frozen=True, slots=True)
class QueueMessage:
    """A message, and what is needed to delete it.

    `deliveries` counts how often it was received, this time included.
    """

    id: str
    body: str
    receipt: str
    deliveries: int = 1


class SqsQueue:
    """Receives messages. A message that is not deleted comes again.

    Parameters
    ----------
    settings
        The queue. One at an address other than Amazon's is asked there.

    Raises
    ------
    MissingDependency
        boto3 is not installed.
    """

    def __init__(self, settings: QueueSettings) -> None:
        try:
            boto3 = importlib.import_module("boto3")
            self._faults = importlib.import_module("botocore.exceptions")
            config = importlib.import_module("botocore.config").Config
        except ImportError as fault:
            raise MissingDependency(
                "queues of Amazon SQS need boto3", hint='pip install "firstlight[aws]"'
            ) from fault
        self.settings = settings
        parts = urlsplit(settings.url)
        host = parts.hostname or ""
        secret = settings.secret_access_key
        self._client: Any = boto3.client(
            "sqs",
            region_name=settings.region or _region_of(host),
            endpoint_url=None if _is_amazon(host) else f"{parts.scheme}://{parts.netloc}",
            aws_access_key_id=settings.access_key_id,
            aws_secret_access_key=None if secret is None else secret.get_secret_value(),
            config=config(
                connect_timeout=_CONNECT_S,
                read_timeout=settings.wait_s + _ANSWER_S,
                # Whoever asks tries again by himself, ever later.
                retries={"total_max_attempts": 1},
            ),
        )

    def receive(self) -> list[QueueMessage]:
        """Return up to 10 messages, as soon as there is one, or none after `wait_s`.

        Raises
        ------
        QueueUnreachable, QueueRefused
            It cannot be asked.
        """
        with self._failing():
            answer = self._client.receive_message(
                QueueUrl=self.settings.url,
                MaxNumberOfMessages=_AT_ONCE,
                WaitTimeSeconds=self.settings.wait_s,
                VisibilityTimeout=self.settings.hidden_s,
                # The newer name, MessageSystemAttributeNames, is not known to every server.
                AttributeNames=["ApproximateReceiveCount"],
            )
        return [
            QueueMessage(
                id=str(each.get("MessageId", "")),
                body=str(each.get("Body", "")),
                receipt=str(each["ReceiptHandle"]),
                deliveries=int(each.get("Attributes", {}).get("ApproximateReceiveCount", 1)),
            )
            for each in answer.get("Messages", [])
        ]

    def delete(self, messages: Sequence[QueueMessage]) -> None:
        """Delete messages. One that cannot be deleted comes again, which is told to the log.

        Raises
        ------
        QueueUnreachable, QueueRefused
            It cannot be asked.
        """
        for start in range(0, len(messages), _AT_ONCE):
            some = messages[start : start + _AT_ONCE]
            with self._failing():
                answer = self._client.delete_message_batch(
                    QueueUrl=self.settings.url,
                    Entries=[
                        {"Id": str(number), "ReceiptHandle": each.receipt}
                        for number, each in enumerate(some)
                    ],
                )
            for each in answer.get("Failed", []):
                _log.warning(
                    "%s: a message was not deleted and will come again: %s",
                    self.settings.url,
                    each.get("Message") or each.get("Code"),
                )

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except self._faults.ClientError as fault:
            code = str(fault.response.get("Error", {}).get("Code", ""))
            error = QueueRefused if code.endswith(_REFUSALS) else QueueUnreachable
            raise error(subject=self.settings.url, found=fault) from fault
        except self._faults.NoCredentialsError as fault:
            raise QueueRefused(
                subject=self.settings.url, found=fault, hint="set access_key_id of the queue"
            ) from fault
        except self._faults.BotoCoreError as fault:
            raise QueueUnreachable(subject=self.settings.url, found=fault) from fault


def _is_amazon(host: str) -> bool:
    return host.endswith((".amazonaws.com", ".amazonaws.com.cn"))


def _region_of(host: str) -> str:
    parts = host.split(".")
    return parts[1] if _is_amazon(host) and parts[0] == "sqs" else "us-east-1"
