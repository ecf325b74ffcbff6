"""Passwords: stored as salted, slow hashes (Argon2id, RFC 9106)."""

from __future__ import annotations

import threading
import unicodedata
from functools import cached_property

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from firstlight.errors import InvalidInput

__all__ = ["Passwords"]

_LONGEST = 1024
_AT_ONCE = 2  # each takes 64 MiB and a core for a while


class Passwords:
    """Hashes and compares passwords, few at a time.

    Parameters
    ----------
    shortest
        Characters of a password, at least.
    hasher
        By default with the parameters that RFC 9106 recommends for machines with little memory.
    """

    def __init__(self, shortest: int, *, hasher: PasswordHasher | None = None) -> None:
        self.shortest = shortest
        self._hasher = hasher or PasswordHasher()
        self._turns = threading.BoundedSemaphore(_AT_ONCE)

    @cached_property
    def _nobody(self) -> str:
        # What is compared where there is no such account, so that the time taken does not tell.
        return self._hasher.hash("nobody's password")

    def hash(self, password: str) -> str:
        """Hash a new password.

        Raises
        ------
        InvalidInput
            It is too short or too long.
        """
        text = _plain(password)
        if not self.shortest <= len(text) <= _LONGEST:
            raise InvalidInput(
                field="password", expected=f"{self.shortest} to {_LONGEST} characters"
            )
        with self._turns:
            return self._hasher.hash(text)

    def matches(self, password: str, hashed: str | None) -> bool:
        """Whether a password is the one that was hashed; False, as slowly, without a hash."""
        text = _plain(password)[:_LONGEST]
        with self._turns:
            try:
                good = self._hasher.verify(hashed or self._nobody, text)
            except (VerificationError, InvalidHashError):
                return False
        return good and hashed is not None


def _plain(password: str) -> str:
    # The same letters typed on two keyboards may be composed differently.
    return unicodedata.normalize("NFKC", password).encode("utf-8", "replace").decode()
