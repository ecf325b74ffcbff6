"""The token by which a service calls back: derived, so that the row holds its hash alone."""

from __future__ import annotations

import hashlib
import hmac
import uuid

__all__ = ["run_token", "token_hash"]

_PURPOSE = b"analysis callback "


def run_token(secret: bytes, key: uuid.UUID) -> str:
    """The token of one run, in the form of a UUID of version 4, as SkyPortal's services expect.

    Parameters
    ----------
    secret
        The workspace's.
    key
        The run's.
    """
    digest = hmac.new(secret, _PURPOSE + key.bytes, hashlib.sha256).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4))


def token_hash(token: str) -> str:
    """What is stored of a token: its SHA-256, hexadecimal."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
