"""Sections of a detector, and how their properties change with time."""

from __future__ import annotations

import uuid
from bisect import bisect_right
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass, fields, replace
from datetime import datetime

from firstlight.errors import InvalidInput, MissingError

__all__ = [
    "PROPERTIES",
    "SectionHistory",
    "SectionMap",
    "SensorSection",
    "UnknownSection",
    "section_key",
]

SectionId = int | str


class UnknownSection(MissingError, KeyError):
    """The instrument has no such section."""

    code = "instrument.unknown_section"


def section_key(section_id: object) -> str:
    """Return the one key of a section id: 0 and ``'0'`` are the same section."""
    if isinstance(section_id, bool) or section_id is None or isinstance(section_id, float):
        raise UnknownSection(found=repr(section_id), expected="an integer or a string")
    return str(section_id).strip()


@dataclass(eq=False, kw_only=True)
class SensorSection:
    """One CCD, amplifier group or channel of an instrument, in one interval of time.

    A property that is ``None`` is that of the instrument.

    Attributes
    ----------
    identifier
        Section id as text.
    validity_start, validity_end
        Aware datetimes, start included and end excluded; ``None`` is without limit.
    revision
        Of two rows that are valid at one time, the one with the higher revision counts.
    size_x, size_y
        Pixels, without overscan.
    offset_x, offset_y
        Pixels from the centre of the instrument's field to the centre of the section.
    gain
        Electrons per ADU.
    read_noise
        Electrons.
    dark_current
        Electrons per second and pixel.
    saturation_limit, non_linearity_limit
        ADU of the raw file.
    defective
        Whether its data should not be used.
    """

    identifier: str
    instrument: str
    validity_start: datetime | None = None
    validity_end: datetime | None = None
    size_x: int | None = None
    size_y: int | None = None
    offset_x: float | None = None
    offset_y: float | None = None
    filter_array_index: int | None = None
    pixel_scale: float | None = None
    gain: float | None = None
    read_noise: float | None = None
    dark_current: float | None = None
    saturation_limit: float | None = None
    non_linearity_limit: float | None = None
    defective: bool | None = None
    revision: int = 0
    id: uuid.UUID | None = None

    def copy(self) -> SensorSection:
        """Return an equal section that belongs to no database session."""
        return replace(self)

    def says_the_same(self, other: SensorSection) -> bool:
        """Whether all properties and the validity are equal."""
        return all(
            getattr(self, field.name) == getattr(other, field.name)
            for field in fields(self)
            if field.name not in ("id", "revision")
        )

    def check_validity(self) -> None:
        """Be sure that the interval is one."""
        start, end = self.validity_start, self.validity_end
        for field, value in (("validity_start", start), ("validity_end", end)):
            if value is not None and value.tzinfo is None:
                raise InvalidInput(
                    subject=f"section {self.identifier}", field=field, expected="a time zone"
                )
        if start is not None and end is not None and start >= end:
            raise InvalidInput(
                subject=f"section {self.identifier}",
                field="validity_end",
                found=end.isoformat(),
                expected=f"later than {start.isoformat()}",
            )


PROPERTIES = frozenset(
    field.name
    for field in fields(SensorSection)
    if field.name
    not in ("identifier", "instrument", "validity_start", "validity_end", "revision", "id")
)


class SectionMap(MutableMapping[SectionId, SensorSection]):
    """Sections by id, in the order of the instrument; 0 and ``'0'`` are one key."""

    def __init__(self, sections: Mapping[str, SensorSection] | None = None) -> None:
        self._sections = dict(sections or {})

    def __getitem__(self, section_id: SectionId) -> SensorSection:
        return self._sections[section_key(section_id)]

    def __setitem__(self, section_id: SectionId, section: SensorSection) -> None:
        self._sections[section_key(section_id)] = section

    def __delitem__(self, section_id: SectionId) -> None:
        del self._sections[section_key(section_id)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._sections)

    def __len__(self) -> int:
        return len(self._sections)

    def __repr__(self) -> str:
        return f"SectionMap({self._sections!r})"


class SectionHistory:
    """All stored sections of one instrument, searched by time.

    Parameters
    ----------
    rows
        Sections that belong to no session. They are not changed, and must not be.

    Notes
    -----
    The ends of all validity ranges cut time into intervals, and within one interval nothing
    changes: everything about it is worked out once, so a search of thousands of exposures
    costs one query and one look-up each.
    """

    def __init__(self, rows: list[SensorSection]) -> None:
        self.rows = sorted(rows, key=lambda row: row.revision)
        edges = {row.validity_start for row in rows} | {row.validity_end for row in rows}
        self._edges = sorted(edge for edge in edges if edge is not None)
        self._valid: dict[int, dict[str, SensorSection]] = {}

    def interval(self, when: datetime) -> int:
        """Number of the interval that holds a time; the start of a range belongs to it."""
        return bisect_right(self._edges, when)

    def valid_at(self, when: datetime) -> dict[str, SensorSection]:
        """Return the section that counts at a time for each identifier that has one."""
        number = self.interval(when)
        if number not in self._valid:
            self._valid[number] = {row.identifier: row for row in self.rows if _holds(row, when)}
        return self._valid[number]

    def newest(self, identifier: str) -> SensorSection | None:
        """Return the row of a section that was stored last."""
        return next((row for row in reversed(self.rows) if row.identifier == identifier), None)

    def same_as(self, other: SectionHistory) -> bool:
        """Whether both hold the same rows; a row is never changed once it is stored."""
        return [row.id for row in self.rows] == [row.id for row in other.rows]

    def next_revision(self) -> int:
        """Number for rows that are stored now."""
        return self.rows[-1].revision + 1 if self.rows else 1


def _holds(row: SensorSection, when: datetime) -> bool:
    after_start = row.validity_start is None or row.validity_start <= when
    return after_start and (row.validity_end is None or when < row.validity_end)
