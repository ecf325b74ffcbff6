"""Finding a template: sncosmo's own copy, one in a local folder, or the bundled stand-in.

sncosmo fetches templates and filters from the network when they are first used. A fit must not
wait for a network that is not there, nor differ from one machine to the next without a word: only
files that are on this machine are used unless downloads are asked for, and each result says
which template it had.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sncosmo
from sncosmo import builtins as sncosmo_builtins

from firstlight.analysis_kit.failures import AnalysisFailed
from firstlight.analysis_kit.supernova_sources import BUNDLED, VERSION, bundled_source

__all__ = ["FOLDER_VARIABLE", "Template", "candidates", "find_template", "only_local_files"]

FOLDER_VARIABLE = "SUPERNOVA_TEMPLATES"
"""Environment variable: a folder that is laid out as sncosmo's own, to be looked in after it."""

# By the type that sncosmo tells of a template; the first that the type begins with.
_STAND_INS = (
    ("SN IIP", "fl-sn2p"),
    ("SN IIL/P", "fl-sn2p"),
    ("SN IIL", "fl-sn2l"),
    ("SN IIn", "fl-sn2n"),
    ("SN IIb", "fl-sn1bc"),
    ("SN II", "fl-sn2p"),
    ("SN Ia", "fl-sn1a"),
    ("SN Ib", "fl-sn1bc"),
    ("SN Ic", "fl-sn1bc"),
)
_COMPARED = (
    ("salt3", "salt2", "fl-sn1a"),
    ("nugent-sn1bc", "fl-sn1bc"),
    ("nugent-sn2p", "fl-sn2p"),
    ("nugent-sn2l", "fl-sn2l"),
    ("nugent-sn2n", "fl-sn2n"),
)
"""One template of each common kind, in the order of preference; the last is always there."""
_lock = threading.RLock()


@dataclass(frozen=True)
class Template:
    """A template that can be fitted.

    Attributes
    ----------
    asked
        The name that was asked for.
    name
        The name of what is used; another one where a stand-in is.
    kind
        Ia, Ib/c, IIP, ...; as sncosmo tells it, without the leading SN.
    origin
        Where it came from, in words.
    """

    asked: str
    name: str
    version: str
    kind: str
    origin: str
    source: Any

    @property
    def is_stand_in(self) -> bool:
        """Whether it is another one than was asked for."""
        return self.asked != self.name

    def as_document(self) -> dict[str, Any]:
        """What a result says of it."""
        told = {"name": self.name, "version": self.version, "type": self.kind}
        return {**told, "origin": self.origin, "asked": self.asked, "stand_in": self.is_stand_in}


class _NotHere(Exception):
    """A file of sncosmo's is not on this machine."""


class _LocalFiles:
    """Stands where sncosmo keeps its mirror, and looks for files without fetching any."""

    def __init__(self, folders: list[Path]) -> None:
        self._folders = folders

    def abspath(self, relpath: str, isdir: bool = False) -> str:  # noqa: ARG002, as sncosmo calls it
        """The first file of this name.

        Raises
        ------
        _NotHere
            No folder has it.
        """
        for folder in self._folders:
            if (folder / relpath).exists():
                return str(folder / relpath)
        raise _NotHere(relpath)


@contextmanager
def only_local_files() -> Iterator[None]:
    """Within it sncosmo fetches nothing: what is not on this machine raises at once."""
    with _lock:
        mirror = sncosmo_builtins.DATADIR
        sncosmo_builtins.DATADIR = _LocalFiles(_folders())
        try:
            yield
        finally:
            sncosmo_builtins.DATADIR = mirror


def _folders() -> list[Path]:
    """The folder of sncosmo, by its variable or its settings, then the local one."""
    named = os.environ.get("SNCOSMO_DATA_DIR") or sncosmo.conf.data_dir
    if not named:
        from astropy.config import get_cache_dir  # noqa: PLC0415, it may make a folder

        named = Path(get_cache_dir()) / "sncosmo"
    local = os.environ.get(FOLDER_VARIABLE)
    return [Path(named), *([Path(local)] if local else [])]


def locally(load: Callable[[str], Any], name: str) -> Any | None:
    """What sncosmo has of this name on this machine, or None.

    Raises
    ------
    AnalysisFailed
        The files are there, and cannot be read.
    """
    with only_local_files():
        try:
            return load(name)
        except _NotHere:
            return None
        except (OSError, ValueError, IndexError) as fault:
            raise AnalysisFailed(
                f"the files of {name} on this machine cannot be read: {fault}",
                hint="delete them from sncosmo's data folder, or put whole ones there",
            ) from fault


def find_template(name: str, *, download: bool = False) -> Template:
    """The template of this name, or its stand-in.

    Parameters
    ----------
    name
        As sncosmo calls it, or one of the bundled family.
    download
        Whether sncosmo may fetch it from its home on the network.

    Raises
    ------
    AnalysisFailed
        There is no such template, or none that could stand in for it.
    """
    if name in BUNDLED:
        return _bundled(name, name)
    known = _known_types()
    if name not in known:
        raise AnalysisFailed(
            f"there is no source {name}",
            hint=f"bundled are {', '.join(BUNDLED)}; sncosmo's documentation lists the others",
        )
    source = locally(sncosmo.get_source, name)
    origin = "sncosmo's files on this machine"
    if source is None and download:
        source, origin = _downloaded(name), "downloaded by sncosmo"
    if source is not None:
        kind = known[name].removeprefix("SN ")
        return Template(name, name, str(source.version or ""), kind, origin, source)
    stand_in = next((each for kind, each in _STAND_INS if known[name].startswith(kind)), None)
    if stand_in is None:
        raise AnalysisFailed(
            f"the template {name} is not on this machine, and nothing can stand in for it",
            hint=f"let it be downloaded, or put its files into the folder of {FOLDER_VARIABLE}",
        )
    return _bundled(name, stand_in)


def candidates(*, download: bool = False) -> list[Template]:
    """One template of each common kind, the best that is on this machine."""
    chosen = []
    for names in _COMPARED:
        found = (find_template(name, download=download) for name in names)
        chosen.append(next(each for each in found if not each.is_stand_in))
    return chosen


def _bundled(asked: str, name: str) -> Template:
    origin = "bundled, approximate"
    if name == "fl-sn1a":
        origin = "bundled: Hsiao et al. (2007) as sncosmo carries it, stretched and reddened"
    return Template(asked, name, VERSION, BUNDLED[name], origin, bundled_source(name))


def _downloaded(name: str) -> Any | None:
    try:
        return sncosmo.get_source(name)
    except (OSError, RuntimeError, ValueError):
        return None  # no network, or not that file: the stand-in is told in the result


def _known_types() -> dict[str, str]:
    """The types of all templates that sncosmo knows."""
    registry = sncosmo.models._SOURCES  # noqa: SLF001, the only list that fetches nothing
    return {each["name"]: each.get("type", "") for each in registry.get_loaders_metadata()}
