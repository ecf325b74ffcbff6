"""All known instruments: our own, those of installed packages, and those defined in settings."""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from os import PathLike
from pathlib import Path, PurePath
from typing import Any, cast

from firstlight.errors import BadSettings, InvalidInput, MissingError, UserError
from firstlight.instruments.base import Instrument
from firstlight.instruments.camera_file import BadCamera
from firstlight.instruments.file_camera import FileCamera, define_camera
from firstlight.instruments.registration import (
    INSTANCES,
    LOCK,
    DuplicateInstrument,
    forget_instrument,
    register_instrument,
    registered,
)
from firstlight.provenance.fingerprint import fingerprint

__all__ = [
    "FALLBACK",
    "INSTRUMENT_INSTANCE_CACHE",
    "AmbiguousInstrument",
    "DuplicateInstrument",
    "UnknownInstrument",
    "camera_fingerprints",
    "comes_as_file",
    "comes_with_us",
    "configure_instrument",
    "define_instrument",
    "forget_instrument",
    "get_instrument_class",
    "get_instrument_instance",
    "guess_instrument",
    "instrument_names",
    "load_cameras",
    "register_instrument",
]

FALLBACK = "GenericFITS"
INSTRUMENT_INSTANCE_CACHE = cast(dict[str, Instrument], INSTANCES)
"""One shared instance of each instrument that was used, by name."""

_GROUP = "firstlight.instruments"
_SURE = 0.5  # a header that agrees less than this speaks of another camera
_classes = cast(dict[str, type[Instrument]], registered)
_broken: dict[str, str] = {}
_log = logging.getLogger(__name__)
_state = {"plugins_loaded": False, "has_folder": False}
_CAMERAS = Path(__file__).parent / "data"
_loaded: list[str] = []  # cameras of the workspace's folder


class UnknownInstrument(MissingError):
    """There is no instrument of this name."""

    code = "instrument.unknown"


class AmbiguousInstrument(UserError):
    """Several instruments claim this file."""

    code = "instrument.ambiguous"


def _load_plugins() -> None:
    """Import the classes behind the entry points of installed packages, once.

    A package that cannot be imported must not take the others with it: its reason is told
    when its instrument is asked for.
    """
    with LOCK:
        if _state["plugins_loaded"]:
            return
        _state["plugins_loaded"] = True
        _define_ours()
        for point in entry_points(group=_GROUP):
            _load_plugin(point)


def _load_plugin(point: EntryPoint) -> None:
    try:
        register_instrument(point.load())
    except Exception as error:  # noqa: BLE001, code of others may fail in any way
        _broken[point.name] = f"{type(error).__name__}: {error}"
        _log.warning("instrument %s of %s cannot be loaded: %s", point.name, point.value, error)


def load_cameras(folder: Path) -> list[str]:
    """Define the cameras that a folder describes, and find tables of all cameras in it.

    Parameters
    ----------
    folder
        Of ``*.toml`` camera files, each with its tables beside it, and of tables of cameras that
        come with the package. One that is not there holds none. A file that describes a camera
        of the package, under its name, stands in its place. What an earlier folder described is
        forgotten.

    Returns
    -------
    list
        Names of the cameras that were defined.

    Raises
    ------
    BadCamera
        A camera file, or a table in use, is wrong.
    """
    is_there = folder.is_dir()
    if not is_there and not _state["has_folder"]:
        return []  # nothing is read: most workspaces have no cameras of their own
    _load_plugins()
    paths = sorted(folder.glob("*.toml")) if is_there else []
    with LOCK:
        _state["has_folder"] = is_there
        for name in _loaded:
            forget_instrument(name)
        _define_ours(folder)
        _loaded[:] = []
        for path in paths:
            name = define_camera(path, tables_in=(folder,)).name
            if name in _loaded:
                raise BadCamera(subject=path, field="camera.name", found=f"a second {name}")
            _loaded.append(name)
        for name in camera_fingerprints():
            cast(FileCamera, get_instrument_instance(name)).read_tables()
        return list(_loaded)


def _define_ours(*tables_in: Path) -> None:
    """The cameras that come with the package."""
    for path in sorted(_CAMERAS.glob("*.toml")):
        define_camera(path, tables_in=tables_in)


def camera_fingerprints() -> dict[str, str]:
    """What the folder of `load_cameras` says of cameras, as fingerprints by name.

    Cameras of the package without a table of one's own are not among them.
    """
    with LOCK:
        told = {}
        for name, cls in sorted(_classes.items()):
            if issubclass(cls, FileCamera):
                parts = cls.table_fingerprints()
                if cls.path.parent != _CAMERAS:
                    parts["camera"] = cls.fingerprint
                if parts:
                    told[name] = fingerprint(parts)
        return told


def comes_with_us(name: str) -> bool:
    """Whether a camera is as this package describes it, by a class or a file."""
    cls = get_instrument_class(name)
    if issubclass(cls, FileCamera):
        return comes_as_file(name)
    return cls.__module__.split(".", maxsplit=1)[0] == __name__.split(".", maxsplit=1)[0]


def comes_as_file(name: str) -> bool:
    """Whether it is one of the many cameras that this package only describes."""
    cls = get_instrument_class(name)
    return issubclass(cls, FileCamera) and cls.path.parent == _CAMERAS


def instrument_names() -> list[str]:
    """Names of all instruments, sorted."""
    _load_plugins()
    return sorted(_classes)


def get_instrument_class(name: str) -> type[Instrument]:
    """Return the class of an instrument.

    Raises
    ------
    UnknownInstrument
        With the nearest names, or with the reason why its package cannot be loaded.
    """
    if name not in _classes:
        _load_plugins()
    if name in _classes:
        return _classes[name]
    if name in _broken:
        raise UnknownInstrument(
            "The package of this instrument cannot be loaded.", subject=name, found=_broken[name]
        )
    near = difflib.get_close_matches(str(name), _classes, n=3)
    raise UnknownInstrument(
        subject=name,
        expected=f"one of {', '.join(sorted(_classes))}",
        hint=f"did you mean {' or '.join(near)}?" if near else None,
    )


def get_instrument_instance(name: str) -> Instrument:
    """Return the instance that all exposures of an instrument share."""
    with LOCK:
        instance = INSTRUMENT_INSTANCE_CACHE.get(name)
        if instance is None:
            instance = get_instrument_class(name)()
            INSTRUMENT_INSTANCE_CACHE[name] = instance
        return instance


def guess_instrument(
    filename: str | PathLike[str] | None, header: Mapping[str, Any] | None = None
) -> str:
    """Tell which instrument made a file.

    Parameters
    ----------
    filename
        Name or path; its last part is searched for each instrument's patterns, and all of it
        for what `Instrument.cards_from_name` knows.
    header
        Raw global header. What it says counts more than the name of the file.

    Returns
    -------
    str
        Name of the instrument; ``GenericFITS`` where none claims the file.

    Raises
    ------
    AmbiguousInstrument
        Where several claim it equally well.
    """
    if filename is None and header is None:
        raise InvalidInput(field="filename", found=None, expected="a file name or a header")
    _load_plugins()
    scores = {
        name: _score(get_instrument_instance(name), filename, header)
        for name in sorted(_classes)
        if name != FALLBACK
    }
    best = max(scores.values(), default=0.0)
    if best <= 0:
        return FALLBACK
    claims = [name for name, score in scores.items() if score == best]
    if len(claims) > 1:
        raise AmbiguousInstrument(
            subject=filename,
            found=" and ".join(claims),
            hint="name the instrument, or make the filename patterns or header_instruments differ",
        )
    return claims[0]


def _score(
    instrument: Instrument, filename: str | PathLike[str] | None, header: Mapping[str, Any] | None
) -> float:
    by_header = instrument.matches_header(header) if header is not None else None
    if by_header is not None and by_header < _SURE:
        return 0.0
    score = 2.0 * float(by_header or 0.0)
    if filename is None:
        return score
    if instrument.cards_from_name(str(filename)):
        return score + 2.0  # a path that tells unit and sequence is as good as a header
    patterns = instrument.get_filename_regex()
    by_name = any(re.search(pattern, PurePath(filename).name) for pattern in patterns)
    return score + (0.5 if by_name else 0.0)


def define_instrument(name: str, based_on: str = FALLBACK, **properties: Any) -> type[Instrument]:
    """Make an instrument from settings: like another one, with some properties changed.

    Parameters
    ----------
    name
        Name of the new instrument.
    based_on
        Instrument whose files it writes.
    properties
        Class attributes of `Instrument`, such as ``telescope``, ``gain`` or ``pixel_scale``.
        An unknown one is refused with the nearest known name.
    """
    parent = get_instrument_class(based_on)
    _check_properties(name, parent, properties)
    own = {"filename_regex": (), "header_instruments": (name,), **properties, "name": name}
    return type(name, (parent,), {**own, "__module__": __name__, "__doc__": f"{name}."})


def configure_instrument(name: str, **properties: Any) -> Instrument:
    """Set properties of the shared instance; they count more than header and sections."""
    instrument = get_instrument_instance(name)
    _check_properties(name, type(instrument), properties)
    instrument.settings.update(properties)
    return instrument


def _check_properties(name: str, cls: type[Instrument], properties: Mapping[str, Any]) -> None:
    known = [
        attribute
        for attribute in dir(cls)
        if not attribute.startswith("_") and not callable(getattr(cls, attribute))
    ]
    for given in properties:
        if given not in known:
            near = difflib.get_close_matches(given, known, n=1)
            raise BadSettings(
                subject=f"instrument {name}",
                field=given,
                hint=f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}",
            )
