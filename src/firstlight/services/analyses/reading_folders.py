"""Folders that processes of their own read from and write to, swept where a kill has left them.

They are in the temporary folder of the machine, and not in the workspace, which may be far away.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["new_folder", "sweep_folders"]

_OLD_S = 24 * 3600.0  # none is in use for longer than minutes
_KINDS = ("results", "corner")
# As `tempfile` names them. Whoever calls a workspace firstlight-something keeps it.
_NAME = re.compile(rf"firstlight-({'|'.join(_KINDS)})-[a-z0-9_]{{8}}")
_log = logging.getLogger(__name__)


def new_folder(kind: str) -> Path:
    """Make one; whoever asked for it removes it.

    Parameters
    ----------
    kind
        ``results`` or ``corner``.
    """
    assert kind in _KINDS  # noqa: S101, others would never be swept
    return Path(tempfile.mkdtemp(prefix=f"firstlight-{kind}-"))


def sweep_folders() -> int:
    """Remove those of this account that nothing was written into for a day; returns how many."""
    swept = 0
    for path in _left(Path(tempfile.gettempdir()), time.time() - _OLD_S):
        shutil.rmtree(path, ignore_errors=True)
        swept += not path.exists()
    if swept:
        _log.info("swept %d folders that killed processes had left", swept)
    return swept


def _left(among: Path, before: float) -> Iterator[Path]:
    """Folders of these kinds, no links, that are our own and have not changed since a moment."""
    with os.scandir(among) as entries:
        for entry in entries:
            if not _NAME.fullmatch(entry.name):
                continue
            with suppress(FileNotFoundError):  # another process sweeps as well
                found = entry.stat(follow_symlinks=False)
                own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
                if own and found.st_mtime < before:
                    yield Path(entry.path)
