"""Where files are: a local data root, and a server from which what is missing is fetched.

Rows hold names relative to the root (``path.data_root``), so that the data can be moved. The
roots are set once in a process, by the factory or by `configure_data_roots` in a notebook.
"""

from __future__ import annotations

import os
import shutil
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from firstlight.errors import InvalidInput, MissingError
from firstlight.formats.fits_image import written_whole
from firstlight.storage.keys import check_key

__all__ = [
    "MissingData",
    "Server",
    "configure_data_roots",
    "data_path",
    "data_root",
    "relative_name",
]


class MissingData(MissingError, FileNotFoundError):
    """The file is neither in the local data root nor on the server."""

    code = "data.missing"


class Server(Protocol):
    """The part of a `storage.Store` that is needed here."""

    def exists(self, key: str) -> bool:
        """Whether there is such a file."""

    def local_path(self, key: str) -> AbstractContextManager[Path]:
        """A path that holds the bytes while the context lasts."""


class _Folder:
    """A server that is a mounted folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def exists(self, key: str) -> bool:
        return (self._root / key).is_file()

    def local_path(self, key: str) -> AbstractContextManager[Path]:
        return nullcontext(self._root / key)


@dataclass
class _Roots:
    local: Path | None = None
    server: Server | None = None


_roots = _Roots()


def configure_data_roots(
    local: str | os.PathLike[str] | None = None,
    server: str | os.PathLike[str] | Server | None = None,
) -> None:
    """Set where the files of this process are.

    Parameters
    ----------
    local
        Root folder (``path.data_root``); None for the current folder.
    server
        Folder or store (``path.server_data``) from which missing files are fetched.
    """
    _roots.local = None if local is None else Path(local).absolute()
    if server is None or not isinstance(server, str | os.PathLike):
        _roots.server = server
    else:
        _roots.server = _Folder(Path(server))


def data_root() -> Path:
    """Return the local root."""
    return _roots.local or Path.cwd()


def relative_name(path: str | os.PathLike[str]) -> str:
    """Return the name, relative to the local root, of a path.

    Parameters
    ----------
    path
        Relative to the root, or absolute and below it. A relative path that is not below the
        root but exists in the current folder is taken from there.
    """
    given, root = Path(path), data_root()
    if not given.is_absolute():
        inside = root / given
        if inside.exists() or not given.exists():
            return check_key(given.as_posix())
    absolute = Path(os.path.abspath(given))  # noqa: PTH100, Path.resolve would follow links out of the root
    try:
        return check_key(absolute.relative_to(root).as_posix())
    except ValueError:
        raise InvalidInput(
            "The file is not below the data root.",
            subject=path,
            expected=f"a file below {root}",
            hint="move or ingest it, or set path.data_root",
        ) from None


def data_path(name: str, *, download: bool = True) -> Path:
    """Return the local path of a file; fetch it from the server where it is missing.

    Parameters
    ----------
    name
        Relative to the root.
    download
        Whether the server may be asked.

    Raises
    ------
    MissingData
        A `FileNotFoundError`, too.
    """
    check_key(name)
    path = data_root() / name
    if path.exists():
        return path
    server = _roots.server if download else None
    if server is None or not server.exists(name):
        where = f"{data_root()}" + (" and the server" if server is not None else "")
        raise MissingData(subject=name, expected=f"a file in {where}")
    with server.local_path(name) as source, source.open("rb") as stream, written_whole(path) as new:
        shutil.copyfileobj(stream, new, 1 << 20)
    return path
