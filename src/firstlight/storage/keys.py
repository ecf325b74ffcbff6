"""What a key may look like, so that every key works on every store.

A key is a relative path of segments joined by ``/``. The rules are the meeting of what POSIX
folders, S3, XML listings and shells accept; anything a store would silently change is refused
here instead, because a key that comes back different is a lost file.
"""

from __future__ import annotations

import unicodedata
from pathlib import PurePosixPath

from firstlight.errors import UserError

__all__ = ["MAX_KEY_BYTES", "MAX_SEGMENT_BYTES", "BadKey", "build_key", "check_key", "safe_segment"]

MAX_KEY_BYTES = 900
"""UTF-8 bytes of a whole key. S3 allows 1024; the rest is room for the prefix of a store."""

MAX_SEGMENT_BYTES = 255
"""UTF-8 bytes between two slashes: the limit of nearly every file system."""

# The backslash is a separator to Windows and to some S3 servers; the two non-characters cannot
# be written in XML, so a bucket that holds them can no longer be listed.
_FORBIDDEN = frozenset("\\\ufffe\uffff")


class BadKey(UserError):
    """The storage key cannot be used."""

    code = "storage.bad_key"


def check_key(key: str) -> str:
    """Return `key` unchanged when every store can hold it.

    Raises
    ------
    BadKey
        When it is empty, absolute, too long, not in Unicode's composed form (NFC), has an
        empty, ``.`` or ``..`` segment, a control character or a backslash, or begins with a
        dot, which is kept for the stores' own files.
    """
    fault = _fault(key)
    if fault is not None:
        raise BadKey(fault, subject=repr(key))
    return key


def check_prefix(prefix: str) -> str:
    """Return the folder that `prefix` names, without a trailing slash; "" is the whole store."""
    folder = prefix.removesuffix("/")
    return check_key(folder) if folder else ""


def build_key(*segments: str) -> str:
    """Join segments into one checked key, composed to NFC.

    Each argument is one segment: a slash inside it is refused, so that a name from outside
    can never climb to another folder. Use `safe_segment` first for names that users chose.
    """
    for segment in segments:
        if "/" in segment:
            raise BadKey("a segment of a key may not hold a slash", subject=repr(segment))
    return check_key(unicodedata.normalize("NFC", "/".join(segments)))


def safe_segment(name: str) -> str:
    """Turn any name that a user or a camera chose into one valid segment.

    Forbidden characters become ``_``, a leading dot too; a long name is cut before its
    suffixes. A valid name comes back unchanged, so the result may be passed in again. Two
    names can become one: the caller adds what makes a key unique.
    """
    composed = unicodedata.normalize("NFC", name)
    kept = "".join("_" if c == "/" or _is_forbidden(c) else c for c in composed)
    if kept.startswith("."):
        kept = "_" + kept[1:]
    return _shortened(kept) or "_"


def _shortened(name: str) -> str:
    """Cut the stem so that the name fits, keeping its last two suffixes (``.fits.fz``)."""
    if _size(name) <= MAX_SEGMENT_BYTES:
        return name
    suffix = "".join(PurePosixPath(name).suffixes[-2:])
    if _size(suffix) > 32:
        suffix = ""
    room = MAX_SEGMENT_BYTES - _size(suffix)
    return name.encode()[:room].decode(errors="ignore") + suffix


def _fault(key: str) -> str | None:
    """Say what is wrong with a key, or None."""
    segments = key.split("/")
    forbidden = [f"U+{ord(c):04X}" for c in key if _is_forbidden(c)]
    longest = max(_size(segment) for segment in segments)
    rules = [
        (not key, "the key is empty"),
        (bool(forbidden), f"the key holds forbidden characters: {' '.join(forbidden)}"),
        (_size(key) > MAX_KEY_BYTES, f"the key is longer than {MAX_KEY_BYTES} bytes"),
        (longest > MAX_SEGMENT_BYTES, f"a segment is longer than {MAX_SEGMENT_BYTES} bytes"),
        (not unicodedata.is_normalized("NFC", key), "the key is not in Unicode normal form C"),
        (
            any(segment in ("", ".", "..") for segment in segments),
            "the key must be relative, without empty, '.' or '..' segments",
        ),
        (key.startswith("."), "keys that begin with a dot are kept for the store itself"),
    ]
    return next((fault for broken, fault in rules if broken), None)


def _size(text: str) -> int:
    """Bytes in UTF-8; lone surrogates, which are refused on their own account, count too."""
    return len(text.encode(errors="surrogatepass"))


def _is_forbidden(character: str) -> bool:
    """Tell control characters, lone surrogates and the few that stores change."""
    return character in _FORBIDDEN or unicodedata.category(character) in ("Cc", "Cs")
