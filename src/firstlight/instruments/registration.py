"""Which classes are instruments: each is entered here when it is defined."""

from __future__ import annotations

import threading
from typing import Any

from firstlight.errors import ConflictError

__all__ = [
    "INSTANCES",
    "LOCK",
    "DuplicateInstrument",
    "forget_instrument",
    "register_instrument",
    "registered",
]

# This module knows nothing of the class Instrument, which needs it in order to be defined;
# `registry` gives the types.
registered: dict[str, type[Any]] = {}
INSTANCES: dict[str, Any] = {}
LOCK = threading.RLock()


class DuplicateInstrument(ConflictError):
    """Another class has already taken the name of this instrument."""

    code = "instrument.duplicate"


def register_instrument(cls: type[Any]) -> None:
    """Make a class known under its `name`.

    Defining a class again (in a notebook, say) replaces it; another class of the same name
    is refused.
    """
    with LOCK:
        known = registered.get(cls.name)
        if known is not None and _origin(known) != _origin(cls):
            raise DuplicateInstrument(subject=cls.name, found=_origin(cls), expected=_origin(known))
        if known is not cls:
            INSTANCES.pop(cls.name, None)
        registered[cls.name] = cls


def forget_instrument(name: str) -> None:
    """Take an instrument out again."""
    with LOCK:
        registered.pop(name, None)
        INSTANCES.pop(name, None)


def _origin(cls: type[Any]) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
