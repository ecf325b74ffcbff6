"""Secrets that have to be given on: encrypted with a key of the workspace."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from firstlight.errors import ConflictError

__all__ = ["SealedSecrets", "SecretUnreadable"]

_PURPOSE = b"firstlight analysis services"
_VERSION = b"1"
_NONCE_BYTES = 12


class SecretUnreadable(ConflictError):
    """What was stored was encrypted with another key of the workspace."""

    code = "analysis_service.secret_unreadable"


class SealedSecrets:
    """Encrypts small JSON documents (AES-256 in Galois counter mode, RFC 5116).

    Parameters
    ----------
    secret
        The workspace's; the key is derived from it (HKDF, RFC 5869) and serves nothing else.
    """

    def __init__(self, secret: bytes) -> None:
        derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=_PURPOSE).derive(secret)
        self._cipher = AESGCM(derived)

    def seal(self, facts: Mapping[str, Any]) -> str:
        """Encrypt; the same facts look different each time."""
        nonce = os.urandom(_NONCE_BYTES)
        plain = json.dumps(dict(facts)).encode()
        sealed = self._cipher.encrypt(nonce, plain, _VERSION)
        return base64.urlsafe_b64encode(_VERSION + nonce + sealed).decode("ascii")

    def open(self, sealed: str) -> dict[str, Any]:
        """Decrypt.

        Raises
        ------
        SecretUnreadable
            Another key has sealed it, or it was changed.
        """
        try:
            raw = base64.urlsafe_b64decode(sealed.encode("ascii"))
            nonce, body = raw[1 : 1 + _NONCE_BYTES], raw[1 + _NONCE_BYTES :]
            facts: dict[str, Any] = json.loads(self._cipher.decrypt(nonce, body, raw[:1]))
        except (ValueError, InvalidTag) as fault:
            raise SecretUnreadable(
                field="_authinfo", hint="give the service its _authinfo again"
            ) from fault
        return facts
