"""How many requests one sender may make: a bucket that refills steadily."""

from __future__ import annotations

import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from firstlight.web.client_address import Networks, client_address, neighbourhood
from firstlight.web.envelope import TooManyRequests, failure

__all__ = ["Buckets", "RateLimit"]

_FREE = frozenset({"/health", "/ready", "/metrics"})
_KEPT = 20_000  # senders that are remembered


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


class Buckets:
    """A bucket for each sender. The one that was longest unused is forgotten first.

    Parameters
    ----------
    per_minute
        How fast each refills.
    burst
        How much it holds.
    clock
        Seconds, steady.
    """

    def __init__(
        self, per_minute: float, burst: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate = per_minute / 60.0
        self._burst = burst
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def wait_s(self, sender: str) -> float:
        """Seconds until the sender has one request left; 0 where it has one now."""
        return max(0.0, (1.0 - self._filled(sender).left) / self._rate)

    def take(self, sender: str) -> None:
        """Take one from the bucket of a sender, which may owe one at most."""
        bucket = self._filled(sender)
        bucket.left = max(bucket.left - 1.0, -1.0)

    def _filled(self, sender: str) -> _Bucket:
        now = self._clock()
        bucket = self._buckets.pop(sender, None) or _Bucket(self._burst, now)
        bucket.left = min(self._burst, bucket.left + self._rate * (now - bucket.at))
        bucket.at = now
        self._buckets[sender] = bucket
        if len(self._buckets) > _KEPT:
            self._buckets.popitem(last=False)
        return bucket


class RateLimit:
    """Refuses the requests of a sender that makes too many.

    A token has a bucket of its own, whoever sends it from wherever. Tokens that are not valid
    are charged to the address they come from, or inventing one for each request would be free.

    Parameters
    ----------
    app
        What answers.
    buckets
        What each sender has left.
    trusted
        Proxies; see `client_address`.
    """

    def __init__(self, app: ASGIApp, buckets: Buckets, trusted: Networks) -> None:
        self._app = app
        self._buckets = buckets
        self._trusted = trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http" or scope["path"] in _FREE:
            await self._app(scope, receive, send)
            return
        address = neighbourhood(client_address(scope, self._trusted))
        token = Headers(scope=scope).get("authorization")
        sender = address if token is None else hashlib.sha256(token.encode()).hexdigest()
        wait = max(self._buckets.wait_s(sender), self._buckets.wait_s(address) if token else 0.0)
        if wait > 0:
            await _refusal(wait)(scope, receive, send)
            return
        self._buckets.take(sender)

        async def sending(message: Message) -> None:
            refused = message.get("status") == HTTPStatus.UNAUTHORIZED
            if token is not None and message["type"] == "http.response.start" and refused:
                self._buckets.take(address)
            await send(message)

        await self._app(scope, receive, sending)


def _refusal(wait_s: float) -> ASGIApp:
    seconds = max(1, math.ceil(wait_s))
    answer = failure(TooManyRequests(hint=f"try again in {seconds} s"))
    answer.headers["Retry-After"] = str(seconds)
    return answer
