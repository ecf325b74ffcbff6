"""What every source of arrivals says about a file that has come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from firstlight.models.arrival import Origin

__all__ = ["Announcement", "Cards"]

Cards: TypeAlias = tuple[tuple[str, str | int | float | bool | None, str], ...]
"""Cards of a header in their order: keyword, value, comment."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """A file that has come, before anyone has read it.

    The same version of the same source may be announced any number of times.

    Parameters
    ----------
    origin
        Which way it came.
    source
        Where its bytes are: an absolute path, ``s3://bucket/key``, or for an upload
        ``store:key``, a key of the archive's own store.
    name
        The name that decides what it is, as the sender gave it:
        ``data/sro-kb001ms-20220629-00010442-EX10.jpg``, or a plain file name.
    version
        Differs for other bytes under the same source: an ETag, or ``size:mtime_ns``.
    size
        Bytes, where known.
    site
        Where the sender said so, not read from the name.
    channel
        Of an info image, 1 to 3, named when its upload was requested.
    metadata
        Cards of its header that came before the file did.
    """

    origin: Origin
    source: str
    name: str
    version: str
    size: int | None = None
    site: str | None = None
    channel: int | None = None
    metadata: Cards | None = None
