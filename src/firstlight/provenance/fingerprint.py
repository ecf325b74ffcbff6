"""Fingerprints: the same facts give the same text everywhere, and no database is needed."""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from collections.abc import Iterable, Mapping

__all__ = ["canonical_json", "fingerprint", "product_id"]

# 130 bits of SHA-256 as 26 base-32 characters: short enough to read, too long to collide.
FINGERPRINT_CHARACTERS = 26


def canonical_json(facts: object) -> str:
    """One text for equal facts: keys sorted, no white space, shortest floats, tuples as lists.

    Raises
    ------
    TypeError, ValueError
        For what JSON cannot hold: arbitrary objects, NaN and infinity.
    """
    return json.dumps(
        facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def fingerprint(facts: object) -> str:
    """26 lower-case base-32 characters of the SHA-256 of the canonical JSON of `facts`."""
    digest = hashlib.sha256(canonical_json(facts).encode()).digest()
    return base64.b32encode(digest).decode().lower()[:FINGERPRINT_CHARACTERS]


def product_id(
    provenance_id: str, inputs: Iterable[object] | Mapping[str, object], part: str = ""
) -> uuid.UUID:
    """Identify what `provenance_id` makes of `inputs`.

    The same inputs under the same provenance are one product, whoever makes it and however
    often, so a repeated run finds its own rows instead of adding new ones.

    Parameters
    ----------
    provenance_id
        Fingerprint of the process, see `lineage.Lineage`.
    inputs
        Ids of the inputs, ordered, or by role.
    part
        Distinguishes products that one process makes of the same inputs (a section, a star).

    Returns
    -------
    uuid.UUID
        A name-based UUID (version 8, SHA-256).
    """
    named: object
    if isinstance(inputs, Mapping):
        named = {str(role): str(value) for role, value in inputs.items()}
    else:
        named = [str(value) for value in inputs]
    digest = hashlib.sha256(canonical_json([provenance_id, named, part]).encode()).digest()
    return uuid.UUID(bytes=_as_version_8(digest[:16]))


def _as_version_8(raw: bytes) -> bytes:
    # RFC 9562: version and variant bits, the rest is ours.
    parts = bytearray(raw)
    parts[6] = (parts[6] & 0x0F) | 0x80
    parts[8] = (parts[8] & 0x3F) | 0x80
    return bytes(parts)
