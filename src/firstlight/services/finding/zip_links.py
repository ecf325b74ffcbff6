"""Links to zip archives of a period, for programs that follow an address without a token."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from firstlight.models.base import utc_now
from firstlight.storage import LinkExpired, LinkForged

__all__ = ["ZipLinks", "ZipWish"]

_PURPOSE = b"firstlight.zip\0"  # no other use of the secret can be turned into a link


@dataclass(frozen=True, slots=True)
class ZipWish:
    """What is to be packed: the files of one site and period.

    Attributes
    ----------
    start, end
        Seconds since 1970.
    """

    site: str
    start: int
    end: int
    size: str = "best"


class ZipLinks:
    """Makes and checks the last parts of such links.

    Parameters
    ----------
    secret
        The workspace's.
    clock
        Returns the present, aware.
    """

    def __init__(self, secret: bytes, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._secret = secret
        self._clock = clock

    def token(self, wish: ZipWish, expires: timedelta = timedelta(minutes=5)) -> str:
        """Return what opens the archive for a while, for a wish whose permission was checked."""
        until = (self._clock() + expires).timestamp()
        claim = json.dumps({**asdict(wish), "until": until}).encode()
        return f"{_as_text(claim)}.{_as_text(self._seal(claim))}"

    def wish(self, token: str) -> ZipWish:
        """Return what a token opens.

        Raises
        ------
        LinkForged, LinkExpired
            It was not made with this secret; its time is over.
        """
        try:
            claim, seal = (_as_bytes(part) for part in token.split("."))
        except (ValueError, binascii.Error) as fault:
            raise LinkForged from fault
        if not hmac.compare_digest(seal, self._seal(claim)):
            raise LinkForged
        facts: dict[str, Any] = json.loads(claim)
        if self._clock().timestamp() >= facts.pop("until"):
            raise LinkExpired
        return ZipWish(**facts)

    def _seal(self, claim: bytes) -> bytes:
        return hmac.new(self._secret, _PURPOSE + claim, hashlib.sha256).digest()


def _as_text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _as_bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
