"""A limit on the memory of one piece of work, so that it fails instead of its machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from firstlight.work import freed_memory

try:
    import resource
except ModuleNotFoundError:  # Windows has no such limits
    resource = None  # type: ignore[assignment]  # what is not there is None

__all__ = ["memory_limit"]


@contextmanager
def memory_limit(extra_bytes: int) -> Iterator[None]:
    """Let this process take no more than so much beyond what it has now.

    Whatever asks for more gets a `MemoryError`. It is the address space that is limited, which
    is somewhat more than the memory in use. Where the system has no such limit nothing happens.
    """
    if resource is not None:
        freed_memory.give_back()  # or it would come on top
    present = _address_space()
    if resource is None or present is None:
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    limit = present + extra_bytes
    if before[1] != resource.RLIM_INFINITY:
        limit = min(limit, before[1])
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def _address_space() -> int | None:
    """Bytes of this process's address space; None where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
