"""The index of quads of the whole sky, built once and kept in the user's cache."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import platformdirs
from numpy.typing import NDArray

from firstlight.algorithms.plate.quads import QuadTable, build_quad_table

__all__ = ["WholeSky", "is_built", "quad_index", "quad_index_folder"]

LAYOUT = 1
"""Raised whenever quads are chosen or stored differently; older indexes are then not read."""

_SKY = 41252.96
# Faint stars far outnumber bright ones; one quad at each is enough where they are needed at all.
_TRIPLES = (1, 1, 2, 4, 10)
_NOTE = "index.json"


class WholeSky(Protocol):
    """A catalogue that can list all its stars."""

    @property
    def release(self) -> str:
        """What exactly the stars are; names the index."""

    def everything(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Right ascension, declination (degrees) and magnitude of all stars."""


def quad_index_folder(catalog: WholeSky, cache: Path | None = None) -> Path:
    """Where the index of a catalogue is kept, there or not.

    Parameters
    ----------
    catalog
        The catalogue.
    cache
        Folder of all indexes; by default the user's cache folder.
    """
    root = cache or platformdirs.user_cache_path("firstlight") / "quads"
    return root / f"{catalog.release}-quads{LAYOUT}"


def is_built(catalog: WholeSky, cache: Path | None = None) -> bool:
    """Whether `quad_index` would answer at once."""
    return _read(quad_index_folder(catalog, cache)) is not None


def quad_index(
    catalog: WholeSky,
    *,
    cache: Path | None = None,
    progress: Callable[[float], None] | None = None,
) -> QuadTable:
    """The index of a catalogue, memory-mapped; built first if it is not there.

    It is written beside its place and moved there whole, so that a reader never sees a part of
    it. Of two processes that build at once the first to finish wins and both read the same.
    One that was damaged is replaced.

    Parameters
    ----------
    catalog, cache
        As in `quad_index_folder`.
    progress
        Called with the fraction done, if it must be built (half a minute for Tycho-2).

    Raises
    ------
    OSError
        The cache folder cannot be written.
    """
    folder = quad_index_folder(catalog, cache)
    ready = _read(folder)
    if ready is not None:
        return ready
    table = build_quad_table(*catalog.everything(), area=_SKY, triples=_TRIPLES, progress=progress)
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        _write(fresh, table)
        _move(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    if progress is not None:
        progress(1.0)
    return _read(folder) or table


def _write(folder: Path, table: QuadTable) -> None:
    for name, array in table._asdict().items():
        np.save(folder / f"{name}.npy", array)
    sizes = {p.name: p.stat().st_size for p in sorted(folder.glob("*.npy"))}
    (folder / _NOTE).write_text(json.dumps({"layout": LAYOUT, "bytes": sizes}, indent=2))


def _move(fresh: Path, folder: Path) -> None:
    """Put a finished index in its place, unless another process was faster."""
    try:
        fresh.rename(folder)
    except OSError:
        # A folder that is not empty cannot be replaced: keep a good one, remove a bad one.
        if _read(folder) is not None:
            return
        damaged = Path(tempfile.mkdtemp(prefix=".damaged-", dir=folder.parent))
        folder.rename(damaged / folder.name)
        shutil.rmtree(damaged, ignore_errors=True)
        fresh.rename(folder)


def _read(folder: Path) -> QuadTable | None:
    """The index in a folder, or None where there is none or it is not whole."""
    try:
        sizes = json.loads((folder / _NOTE).read_text())["bytes"]
        if any((folder / name).stat().st_size != size for name, size in sizes.items()):
            return None
        # A plain read-only view: compiled code takes it for the type it was compiled for.
        arrays = {
            name: np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r"))
            for name in QuadTable._fields
        }
    except (OSError, ValueError, KeyError):
        return None
    return QuadTable(**arrays)
