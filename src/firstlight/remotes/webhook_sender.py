"""Events out to webhooks, signed so that the receiver can tell who sent them.

Each request has the header ``X-Firstlight-Signature: t=<seconds>,v1=<hexadecimal>``: the time
at which it was signed, and the HMAC-SHA256 (RFC 2104) of that time, a full stop and the body,
with the webhook's secret as key. A receiver checks it so::

    import hashlib, hmac, time

    def is_genuine(secret: str, header: str, body: bytes, tolerance_s: float = 300) -> bool:
        parts = dict(part.split("=", 1) for part in header.split(","))
        signed = parts["t"].encode() + b"." + body
        seal = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
        fresh = abs(time.time() - int(parts["t"])) <= tolerance_s
        return fresh and hmac.compare_digest(seal, parts["v1"])

The body is ``{"events": [{"number", "topic", "site", "data", "created_at"}, ...]}``. A batch
may come twice, after an answer was lost; numbers tell.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from firstlight.errors import FirstlightError, Kind, RemoteError
from firstlight.remotes.guarded_http import Reply

__all__ = [
    "SIGNATURE_HEADER",
    "Delivery",
    "Outcome",
    "WebhookRefused",
    "WebhookSender",
    "sign",
    "webhook_secret",
]

SIGNATURE_HEADER = "X-Firstlight-Signature"
_LONGEST_PAUSE_S = 86_400.0
_GONE = 410


class WebhookRefused(RemoteError):
    """The receiver did not take the events."""

    code = "remote.webhook_refused"


class Outcome(StrEnum):
    """What became of a delivery, and what that asks for."""

    OK = "ok"  # received
    TRY_LATER = "try_later"  # not received; it may be next time
    GIVE_UP = "give_up"  # the receiver is gone, or may not be called


@dataclass(frozen=True, slots=True)
class Delivery:
    """The outcome of sending one batch.

    `retry_after_s` is what the receiver asked for, at most a day. `error` holds the facts of
    the fault as `FirstlightError.as_dict` gives them.
    """

    outcome: Outcome
    status: int | None = None
    retry_after_s: float | None = None
    error: dict[str, Any] | None = None


class Poster(Protocol):
    """What sends: a `GuardedClient`."""

    def post(self, url: str, body: bytes, headers: Mapping[str, str] | None = None) -> Reply:
        """Send `body` and return the answer."""
        ...


def webhook_secret(workspace_secret: bytes, webhook_id: object) -> str:
    """Derive the secret of one webhook, which its receiver is shown once."""
    name = f"firstlight.webhook\0{webhook_id}".encode()
    return hmac.new(workspace_secret, name, hashlib.sha256).hexdigest()


def sign(secret: str, timestamp: int, body: bytes) -> str:
    """Return the value of the header `SIGNATURE_HEADER`."""
    signed = str(timestamp).encode() + b"." + body
    seal = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={seal}"


class WebhookSender:
    """Sends batches of events.

    Parameters
    ----------
    client
        Makes the calls.
    clock
        Seconds since 1970.
    """

    def __init__(self, client: Poster, *, clock: Callable[[], float] = time.time) -> None:
        self._client = client
        self._clock = clock

    def send(self, url: str, secret: str, events: Sequence[Mapping[str, Any]]) -> Delivery:
        """Send a batch, in order; what went wrong is in the answer, never raised."""
        body = json.dumps({"events": list(events)}, allow_nan=False).encode()
        headers = {
            "Content-Type": "application/json",
            SIGNATURE_HEADER: sign(secret, int(self._clock()), body),
        }
        try:
            reply = self._client.post(url, body, headers)
        except FirstlightError as fault:
            never = fault.kind is Kind.USER  # the URL is at fault, not the moment
            outcome = Outcome.GIVE_UP if never else Outcome.TRY_LATER
            return Delivery(outcome, error=fault.as_dict())
        return _judge(url, reply)


def _judge(url: str, reply: Reply) -> Delivery:
    if 200 <= reply.status < 300:
        return Delivery(Outcome.OK, reply.status)
    fault = WebhookRefused(subject=url, found=f"status {reply.status}", expected="a status of 2xx")
    if 300 <= reply.status < 400:
        fault.hint = "redirects are not followed: give the address that they lead to"
    outcome = Outcome.GIVE_UP if reply.status == _GONE else Outcome.TRY_LATER
    return Delivery(outcome, reply.status, _retry_after(reply), fault.as_dict())


def _retry_after(reply: Reply) -> float | None:
    """Seconds that the receiver asks to wait; dates are not understood."""
    asked = reply.headers.get("retry-after", "").strip()
    return min(float(asked), _LONGEST_PAUSE_S) if re.fullmatch(r"[0-9]{1,9}", asked) else None
