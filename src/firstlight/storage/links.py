"""Short-lived tokens that let anyone use one method on one key: signed links without S3."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from firstlight.errors import BadSettings, InvalidInput
from firstlight.storage.keys import check_key
from firstlight.storage.store import LinkExpired, LinkForged, LinkMethod

__all__ = ["LinkSigner", "check_expiry", "utc_now"]

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


class LinkSigner:
    """Makes and checks tokens: the claim in JSON and its HMAC-SHA256 (RFC 2104).

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
        if len(secret) < _SHORTEST_SECRET:
            raise BadSettings(
                "the secret for links is too short",
                field="link_secret",
                found=f"{len(secret)} bytes",
                expected=f"at least {_SHORTEST_SECRET} random bytes",
            )
        self._secret = secret
        self._base_url = base_url.rstrip("/")
        self._clock = clock

    def link(self, key: str, expires: timedelta, method: LinkMethod) -> str:
        """Return the address for one method on one key until `expires` has passed."""
        check_expiry(key, expires)
        until = (self._clock() + expires).timestamp()
        claim = json.dumps([check_key(key), method, until], ensure_ascii=False).encode()
        return f"{self._base_url}/files/{_as_text(claim)}.{_as_text(self._seal(claim))}"

    def verify(self, token: str, method: LinkMethod = "GET") -> str:
        """Return the key that a token opens for a method; GET links open HEAD too.

        Raises
        ------
        LinkForged
            The token was not made with this secret, was changed, or is for another method.
        LinkExpired
            Its time is over.
        """
        try:
            claim, seal = (_as_bytes(part) for part in token.split("."))
        except ValueError as error:
            raise LinkForged from error
        if not hmac.compare_digest(seal, self._seal(claim)):
            raise LinkForged
        key, allowed, until = json.loads(claim)
        if method != allowed and (method, allowed) != ("HEAD", "GET"):
            raise LinkForged(
                "the link is for another method", subject=key, found=method, expected=allowed
            )
        if self._clock().timestamp() >= until:
            raise LinkExpired(subject=key)
        return str(key)

    def _seal(self, claim: bytes) -> bytes:
        # The purpose is part of what is signed, so that no other use of the secret can be
        # turned into a link.
        return hmac.new(self._secret, b"firstlight.link\0" + claim, hashlib.sha256).digest()


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
