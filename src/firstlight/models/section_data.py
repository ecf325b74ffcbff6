"""Mappings from section ids to what is in the file: loaded when needed, not kept for ever."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any, Generic, TypeVar

from astropy.io.fits import Header
from numpy.typing import NDArray

from firstlight.errors import InvalidInput
from firstlight.instruments.sections import SectionId, UnknownSection, section_key

__all__ = ["LazySections", "SectionData", "SectionHeaders"]

Value = TypeVar("Value")


class LazySections(MutableMapping[SectionId, Value], Generic[Value]):
    """A mapping by section id; 0 and ``'0'`` are one key.

    Parameters
    ----------
    section_ids
        Gives the ids, in order.
    load
        Reads the value of one id from the file.

    Notes
    -----
    What was read is kept as long as it all fits into `budget`, least recently used first to
    go. What was set is kept until it is saved, whatever its size, because no file has it.
    """

    budget: int = 1000
    """Most that is kept, in the unit of `_cost`."""

    def __init__(
        self, section_ids: Callable[[], list[SectionId]], load: Callable[[SectionId], Value]
    ) -> None:
        self._section_ids = section_ids
        self._load = load
        self._read: OrderedDict[str, Value] = OrderedDict()
        self._set: dict[str, Value] = {}
        self._ids: dict[str, SectionId] | None = None
        self._lock = threading.RLock()
        self.on_clear: Callable[[], None] | None = None

    def _known(self) -> dict[str, SectionId]:
        if self._ids is None:
            self._ids = {section_key(each): each for each in self._section_ids()}
        return self._ids

    def _key(self, section_id: object) -> str:
        key = section_key(section_id)
        if key not in self._known():
            raise UnknownSection(found=section_id, expected=f"one of {', '.join(self._known())}")
        return key

    def __getitem__(self, section_id: SectionId) -> Value:
        with self._lock:
            key = self._key(section_id)
            if key in self._set:
                return self._set[key]
            if key not in self._read:
                self._read[key] = self._load(self._known()[key])
            self._read.move_to_end(key)
            while len(self._read) > 1 and sum(map(self._cost, self._read.values())) > self.budget:
                self._read.popitem(last=False)
            return self._read[key]

    def __setitem__(self, section_id: SectionId, value: Value) -> None:
        with self._lock:
            key = self._key(section_id)
            self._check(value)
            self._read.pop(key, None)
            self._set[key] = value

    def __delitem__(self, section_id: SectionId) -> None:
        """Take back what was set; the section itself remains."""
        with self._lock:
            del self._set[self._key(section_id)]

    def __iter__(self) -> Iterator[SectionId]:
        return iter(list(self._known().values()))

    def __len__(self) -> int:
        return len(self._known())

    def __contains__(self, section_id: object) -> bool:
        try:
            return section_key(section_id) in self._known()
        except UnknownSection:
            return False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self))})"

    @property
    def loaded(self) -> list[str]:
        """Keys of what is in memory now."""
        return [*self._set, *self._read]

    def clear_cache(self) -> None:
        """Let go of what was read from the file; what was set and not saved is kept."""
        with self._lock:
            self._read.clear()
            self._ids = None
        if self.on_clear is not None:
            self.on_clear()

    def mark_saved(self) -> None:
        """Let what was set be read from the file from now on."""
        with self._lock:
            self._set.clear()

    def _cost(self, value: Value) -> int:
        del value
        return 1

    def _check(self, value: Value) -> None:
        del value


class SectionData(LazySections[NDArray[Any]]):
    """Raw pixels by section id: arrays ``(ny, nx)`` in ADU, overscan included."""

    budget = 512 << 20
    """Bytes."""

    def _cost(self, value: NDArray[Any]) -> int:
        return int(value.nbytes)

    def _check(self, value: NDArray[Any]) -> None:
        if getattr(value, "ndim", None) != 2:
            raise InvalidInput(
                found=f"{type(value).__name__} {getattr(value, 'shape', '')}",
                expected="an array of shape (ny, nx)",
            )


class SectionHeaders(LazySections[Header]):
    """Raw headers by section id."""
