"""Limits that a process puts on itself before it touches what strangers have sent."""

from __future__ import annotations

import os
from pathlib import Path

try:
    import resource
except ModuleNotFoundError:  # Windows has no such limits
    resource = None  # type: ignore[assignment]  # what is not there is None

__all__ = ["limit_this_process"]

_OPEN_FILES = 64


def limit_this_process(*, memory_bytes: int, cpu_s: float, file_bytes: int) -> None:
    """Bound for good what this process can take.

    Parameters
    ----------
    memory_bytes
        Of address space, beyond what it has now.
    cpu_s
        Seconds of the processor; then the system ends it.
    file_bytes
        Of one file that it writes.
    """
    if resource is None or memory_bytes < 0:
        return
    present = _address_space()
    if present is not None:
        _lower(resource.RLIMIT_AS, present + memory_bytes)
    _lower(resource.RLIMIT_CPU, max(1, int(cpu_s)))
    _lower(resource.RLIMIT_FSIZE, file_bytes)
    _lower(resource.RLIMIT_NOFILE, _OPEN_FILES)
    _lower(resource.RLIMIT_CORE, 0)


def _lower(kind: int, limit: int) -> None:
    hard = resource.getrlimit(kind)[1]
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(kind, (limit, limit))


def _address_space() -> int | None:
    """Bytes of this process's address space; None where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
