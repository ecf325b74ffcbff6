"""Accepted runs in a folder, so that they outlive the service."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["KeptRuns"]

_LOG = logging.getLogger("firstlight.analysis")
_MOST_STARTS = 3


class KeptRuns:
    """One file a run, from when it is accepted until the portal has its results.

    Requests hold the secret of their callback, so only the owner may read the files.

    Parameters
    ----------
    folder
        Made where it is not there. Of one service only.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def put(self, key: str, body: Mapping[str, Any]) -> None:
        """Keep a run; it is on disk when this returns."""
        self._write(key, {"starts": 0, "body": dict(body)})

    def begin(self, key: str) -> bool:
        """Note that a run begins; False where it has ended this service several times."""
        path = self._path(key)
        kept = json.loads(path.read_text("utf-8"))
        kept["starts"] += 1
        self._write(key, kept)
        return bool(kept["starts"] <= _MOST_STARTS)

    def drop(self, key: str) -> None:
        """Forget a run: the portal knows what came of it, or wants to know no more."""
        self._path(key).unlink(missing_ok=True)

    def left(self) -> dict[str, dict[str, Any]]:
        """The requests of the runs that are not done, by key, the oldest first.

        A file that cannot be read is left where it is, and told of in the log.
        """
        found = {}
        files = sorted(self._folder.glob("*.json"), key=lambda path: path.stat().st_mtime)
        for path in files:
            try:
                found[path.stem] = json.loads(path.read_text("utf-8"))["body"]
            except (ValueError, KeyError, TypeError):
                _LOG.error("%s is no kept run", path)
        return found

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.json"

    def _write(self, key: str, kept: Mapping[str, Any]) -> None:
        draft = self._folder / f"{key}.part"
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            json.dump(kept, out)
            out.flush()
            os.fsync(out.fileno())
        draft.replace(self._path(key))
