"""Rows of one type on their way to an analysis service."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from firstlight.provenance.fingerprint import canonical_json

__all__ = ["InputTable", "content_of_records"]


@dataclass(frozen=True, slots=True)
class InputTable:
    """The rows of one type, by column.

    Attributes
    ----------
    ids
        Number of each row.
    columns
        Those of SkyPortal, in its order: numbers, text, truth values, aware times, lists and
        dictionaries; ``None`` where there is nothing.
    more
        What is told besides where the form allows.
    units
        Of the columns that have one, as astropy spells it.
    content
        The data themselves in one canonical form, which neither the order of the rows nor
        their numbers change.
    """

    ids: list[int]
    columns: dict[str, list[Any]]
    content: bytes
    more: dict[str, list[Any]] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))


def content_of_records(records: Iterable[Mapping[str, Any]]) -> bytes:
    """The canonical form of a few rows."""
    return canonical_json(sorted(canonical_json(dict(each)) for each in records)).encode()
