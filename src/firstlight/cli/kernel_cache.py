"""Where compiled kernels are kept, for accounts that can write nowhere else."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import MutableMapping
from pathlib import Path

__all__ = ["keep_kernels"]

VARIABLE = "NUMBA_CACHE_DIR"


def keep_kernels(environment: MutableMapping[str, str], package: Path) -> None:
    """Name a folder for compiled kernels where the usual ones cannot be written.

    They lie beside their modules, else in the cache of the account. The account of a service may
    have neither, and nothing could be compiled then. Whoever names a folder is obeyed.

    Parameters
    ----------
    package
        The folder of the package.
    """
    if VARIABLE in environment or os.access(package, os.W_OK) or _has_cache(environment):
        return
    environment[VARIABLE] = str(_own_folder())


def _has_cache(environment: MutableMapping[str, str]) -> bool:
    try:
        cache = Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # an account without a home
        return False
    there = next((each for each in (cache, *cache.parents) if each.exists()), None)
    return there is not None and os.access(there, os.W_OK)


def _own_folder() -> Path:
    """A folder for temporary files that nobody else can have put anything into."""
    folder = Path(tempfile.gettempdir()) / f"firstlight-kernels-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    if is_ours and not found.st_mode & 0o077:
        return folder
    return Path(tempfile.mkdtemp(prefix="firstlight-kernels-"))
