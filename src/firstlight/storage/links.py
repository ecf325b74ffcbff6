"""Short-lived tokens that let anyone do one thing with one key, for stores without S3's own.

A token is a claim in JSON and its HMAC-SHA256 (RFC 2104). The purpose is part of what is
signed, so that no use of the secret can be turned into another.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from firstlight.errors import BadSettings, InvalidInput
from firstlight.storage.keys import check_key
from firstlight.storage.store import LinkExpired, LinkForged, LinkMethod

__all__ = ["LinkSigner", "UploadClaim", "UploadSigner", "check_expiry", "utc_now"]

_LONGEST = timedelta(days=7)  # what S3 allows; a folder offers no more
_SHORTEST_SECRET = 16


def utc_now() -> datetime:
    """Return the present as an aware time."""
    return datetime.now(UTC)


def check_expiry(key: str, expires: timedelta) -> None:
    """Refuse a lifetime that not every store can give."""
    if not timedelta(seconds=1) <= expires <= _LONGEST:
        raise InvalidInput(
            "a link lives for 1 second to 7 days", subject=key, field="expires", found=expires
        )


class _Seal:
    """Makes and checks tokens for one purpose."""

    def __init__(self, secret: bytes, purpose: str, clock: Callable[[], datetime]) -> None:
        if len(secret) < _SHORTEST_SECRET:
            raise BadSettings(
                "the secret for links is too short",
                field="link_secret",
                found=f"{len(secret)} bytes",
                expected=f"at least {_SHORTEST_SECRET} random bytes",
            )
        self._secret = secret
        self._purpose = purpose.encode() + b"\0"
        self._clock = clock

    def token(self, key: str, expires: timedelta, permitted: str | int) -> str:
        check_expiry(key, expires)
        until = (self._clock() + expires).timestamp()
        claim = json.dumps([check_key(key), permitted, until], ensure_ascii=False).encode()
        return f"{_as_text(claim)}.{_as_text(self._sum(claim))}"

    def claim(self, token: str) -> tuple[str, Any, float]:
        """Return key, what is permitted, and until when; raise `LinkForged`."""
        try:
            claim, seal = (_as_bytes(part) for part in token.split("."))
        except ValueError as error:
            raise LinkForged from error
        if not hmac.compare_digest(seal, self._sum(claim)):
            raise LinkForged
        key, permitted, until = json.loads(claim)
        return key, permitted, until

    def check_time(self, key: str, until: float) -> None:
        if self._clock().timestamp() >= until:
            raise LinkExpired(subject=key)

    def _sum(self, claim: bytes) -> bytes:
        return hmac.new(self._secret, self._purpose + claim, hashlib.sha256).digest()


class LinkSigner:
    """Makes and checks links to files.

    Parameters
    ----------
    secret
        At least 16 bytes, the same in every process that makes or checks links.
    base_url
        Where the API answers; a link is ``{base_url}/files/{token}``.
    clock
        Returns the present, aware.
    """

    def __init__(
        self, secret: bytes, base_url: str, *, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self._seal = _Seal(secret, "firstlight.link", clock)
        self._base_url = base_url.rstrip("/")

    def link(self, key: str, expires: timedelta, method: LinkMethod) -> str:
        """Return the address for one method on one key until `expires` has passed."""
        return f"{self._base_url}/files/{self._seal.token(key, expires, method)}"

    def verify(self, token: str, method: LinkMethod = "GET") -> str:
        """Return the key that a token opens for a method; GET links open HEAD too.

        Raises
        ------
        LinkForged
            The token was not made with this secret, was changed, or is for another method.
        LinkExpired
            Its time is over.
        """
        key, allowed, until = self._seal.claim(token)
        if method != allowed and (method, allowed) != ("HEAD", "GET"):
            raise LinkForged(
                "the link is for another method", subject=key, found=method, expected=allowed
            )
        self._seal.check_time(key, until)
        return key


@dataclass(frozen=True, slots=True)
class UploadClaim:
    """What an upload token allows: up to `max_size` bytes under `key`, until `until` (UTC)."""

    key: str
    max_size: int
    until: datetime


class UploadSigner:
    """Makes and checks leave to upload one file through the API.

    A token can be tried any number of times until it expires; that its key is written once only
    is the receiver's affair.

    Parameters
    ----------
    secret, base_url, clock
        As for `LinkSigner`; an upload goes to ``{base_url}/uploads/{token}``.
    """

    def __init__(
        self, secret: bytes, base_url: str, *, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self._seal = _Seal(secret, "firstlight.upload", clock)
        self._base_url = base_url.rstrip("/")

    def address(self, key: str, *, max_size: int, expires: timedelta) -> str:
        """Return where to post 1 to `max_size` bytes for `key` until `expires` has passed."""
        if max_size < 1:
            raise InvalidInput(subject=key, field="max_size", found=max_size, expected="1 or more")
        return f"{self._base_url}/uploads/{self._seal.token(key, expires, max_size)}"

    def verify(self, token: str) -> UploadClaim:
        """Return what a token allows.

        Raises
        ------
        LinkForged
            The token was not made with this secret for an upload, or was changed.
        LinkExpired
            Its time is over.
        """
        key, max_size, until = self._seal.claim(token)
        self._seal.check_time(key, until)
        return UploadClaim(key, max_size, datetime.fromtimestamp(until, UTC))


def _as_text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _as_bytes(text: str) -> bytes:
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error
    if _as_text(data) != text:  # unused low bits: a second spelling of the same bytes
        raise ValueError("not the canonical spelling")
    return data
