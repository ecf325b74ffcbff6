"""Health: what is installed, reachable, missing, and how to mend it."""

from __future__ import annotations

import functools
import importlib.util
import os
import platform
import shutil
import sys
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import firstlight
from firstlight.errors import FirstlightError, MissingDependency, RemoteError
from firstlight.formats.movie import find_ffmpeg
from firstlight.models.database import Database
from firstlight.storage import Store

__all__ = ["Check", "HealthService"]

LOW_DISK_GB = 5.0


@dataclass(frozen=True)
class Check:
    """One finding. `state` is ``ok``, ``missing`` (optional) or ``broken``."""

    name: str
    state: str
    found: str
    mend: str = ""

    def as_dict(self) -> dict[str, str]:
        """JSON values."""
        return asdict(self)


class HealthService:
    """Looks at everything firstlight stands on. Changes nothing but a probe file.

    Parameters
    ----------
    workspace
        The folder.
    database, store
        As configured; ``None`` outside a workspace.
    catalog_release
        Opens the embedded catalogue and says its release.
    local_catalogs
        The same for the catalogues of the settings that lie on this machine, by name.
    """

    def __init__(
        self,
        *,
        workspace: Path,
        database: Database | None,
        store: Store | None,
        catalog_release: Callable[[], str],
        local_catalogs: Mapping[str, Callable[[], str]] | None = None,
    ) -> None:
        self._workspace = workspace
        self._database = database
        self._store = store
        self._catalog_release = catalog_release
        self._local_catalogs = local_catalogs or {}

    def check(self) -> list[Check]:
        """All findings, required things first."""
        return [
            Check(
                "firstlight",
                "ok",
                f"{firstlight.__version__} on Python {platform.python_version()}",
            ),
            Check("processor cores", "ok", str(os.cpu_count() or 1)),
            self._disk(),
            *self._workspace_parts(),
            _attempt("catalogue Tycho-2", self._catalog_release, "install firstlight again"),
            *(
                _attempt(f"catalogue {name}", release, f"see [catalogs.local.{name}]")
                for name, release in self._local_catalogs.items()
            ),
            _optional("psycopg", "PostgreSQL", "pip install 'firstlight[postgres]'"),
            _program("solve-field", "second plate solver", "apt install astrometry.net"),
            _optional("rawpy", "reads CR2 photographs", "pip install 'firstlight[raw]'"),
            _ffmpeg(),
        ]

    def _workspace_parts(self) -> list[Check]:
        if self._database is None or self._store is None:
            return []
        ask = functools.partial(_ask_database, self._database)
        probe = functools.partial(_probe_storage, self._store)
        return [
            _attempt("database", ask, "see [database] in firstlight.toml"),
            _attempt("storage", probe, "see [storage] in firstlight.toml"),
        ]

    def _disk(self) -> Check:
        folder = self._workspace.absolute()
        there = next(each for each in (folder, *folder.parents) if each.is_dir())
        free = shutil.disk_usage(there).free / 1e9
        state = "ok" if free > LOW_DISK_GB else "broken"
        return Check(
            "disk space", state, f"{free:.0f} GB free", "make room" if state != "ok" else ""
        )


def _ask_database(database: Database) -> str:
    database.check_current()
    return database.url.render_as_string(hide_password=True)


class StorageBroken(RemoteError):
    """The storage gives back other bytes than were written."""

    code = "health.storage_broken"


def _probe_storage(store: Store) -> str:
    key = f"probe/{uuid.uuid4().hex}"
    store.put(key, b"firstlight")
    back = store.read(key)
    store.delete(key)
    if back != b"firstlight":
        raise StorageBroken(subject=key, found=f"{len(back)} other bytes")
    return "write, read, delete"


def _attempt(name: str, ask: Callable[[], str], mend: str) -> Check:
    try:
        return Check(name, "ok", ask())
    except FirstlightError as fault:
        return Check(name, "broken", str(fault), fault.hint or mend)


def _optional(module: str, purpose: str, mend: str) -> Check:
    if importlib.util.find_spec(module) is None:
        return Check(f"{module} ({purpose})", "missing", "not installed", mend)
    return Check(f"{module} ({purpose})", "ok", "installed")


def _program(name: str, purpose: str, mend: str) -> Check:
    beside = Path(sys.executable).parent / name
    found = shutil.which(name) or (str(beside) if beside.exists() else None)
    if found is None:
        return Check(f"{name} ({purpose})", "missing", "not on PATH", mend)
    return Check(f"{name} ({purpose})", "ok", found)


def _ffmpeg() -> Check:
    name = "ffmpeg (makes timelapses)"
    try:
        return Check(name, "ok", find_ffmpeg())
    except MissingDependency as fault:
        return Check(name, "missing", fault.found or "not found", fault.hint or "")
