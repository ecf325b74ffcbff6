"""What a search for exposures asks, checked, in the words of people and programs."""

from __future__ import annotations

import base64
import binascii
import difflib
import json
import math
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.sky.sky_index import angular_separation, cone_ranges
from firstlight.algorithms.sky.sky_polygon import bounding_cone, inside_any_polygon
from firstlight.errors import InvalidInput, UserError
from firstlight.instruments.header_values import MJD_EPOCH
from firstlight.models.exposure_file import FileRole
from firstlight.models.exposure_search import NamePattern, escaped
from firstlight.models.exposure_streams import Key

__all__ = [
    "BadCursor",
    "ExposureQuery",
    "decode_cursor",
    "encode_cursor",
    "is_on_sky",
    "mjd_of",
    "name_pattern",
    "query_from_parameters",
    "sky_ranges",
]

CURSOR_VERSION = 1
# More would cover a cone more tightly, in statements that take longer to make than to run.
MOST_RANGES = 16
Words: TypeAlias = tuple[str, ...]
Position: TypeAlias = tuple[float, float]


class BadCursor(UserError):
    """The cursor is not one that a search gave."""

    code = "search.bad_cursor"


@dataclass(frozen=True)
class ExposureQuery:
    """What exposures are sought; all that is given holds together.

    Attributes
    ----------
    site, instrument, camera, user_id, username, filter, target, kind, data_type, collection, \
reduction_state
        Exact values; any of them will do.
    exp_time_min, exp_time_max
        Seconds, both included.
    start, end
        Aware; exposures that began at `start` or later and before `end`.
    night
        Local date of the noon before.
    name
        ``*`` and ``?`` stand for anything and for one letter, or ``%`` and ``_`` as in SQL
        where there is no ``*`` or ``?`` but a ``%``. Without any, names that begin so. Letter
        case counts.
    cards
        Keyword and value of header cards; letter case and blanks around the value do not count.
    cone
        Right ascension, declination, radius, degrees: where the telescope pointed.
    polygon
        Corners, degrees, in order, of any shape smaller than a hemisphere.
    observation, sequence
        Id of an Observation; name of a sequence.
    smart_stack
        Name of the group.
    final_only
        Of each smart stack, only the last exposure there is.
    modified_since
        Aware; whose row changed then or later.
    has
        Exposures that have a file of this role.
    """

    site: Words = ()
    instrument: Words = ()
    camera: Words = ()
    user_id: Words = ()
    username: Words = ()
    filter: Words = ()
    target: Words = ()
    kind: Words = ()
    data_type: Words = ()
    collection: Words = ()
    reduction_state: Words = ()
    exp_time_min: float | None = None
    exp_time_max: float | None = None
    start: datetime | None = None
    end: datetime | None = None
    night: date | None = None
    name: str | None = None
    cards: tuple[tuple[str, str | float | int | bool], ...] = ()
    cone: tuple[float, float, float] | None = None
    polygon: tuple[Position, ...] | None = None
    observation: uuid.UUID | None = None
    sequence: str | None = None
    smart_stack: str | None = None
    final_only: bool = False
    modified_since: datetime | None = None
    has: str | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            _check_text(field.name, getattr(self, field.name))
        for when in ("start", "end", "modified_since"):
            value = getattr(self, when)
            if value is not None and value.tzinfo is None:
                raise InvalidInput(field=when, found=value, expected="a time with its zone")
        if self.cone is not None and self.polygon is not None:
            raise InvalidInput(field="polygon", found="a cone too", expected="one of the two")
        if self.cone is not None:
            _check_cone(self.cone)
        if self.polygon is not None:
            _check_polygon(self.polygon)
        if self.has is not None and self.has not in set(FileRole):
            raise InvalidInput(
                field="has", found=self.has, expected=f"one of {', '.join(FileRole)}"
            )
        for bound in ("exp_time_min", "exp_time_max"):
            value = getattr(self, bound)
            if value is not None and not math.isfinite(value):
                raise InvalidInput(field=bound, found=value, expected="seconds")
        if self.name == "":
            raise InvalidInput(field="name", found="nothing", expected="a pattern")


def _check_text(name: str, value: Any) -> None:
    """Refuse what no database can hold."""
    if isinstance(value, tuple):
        for each in value:
            _check_text(name, each)
    elif isinstance(value, str) and re.search("[\0\ud800-\udfff]", value):
        raise InvalidInput(field=name, found=ascii(value)[:80], expected="plain text")


def _check_cone(cone: tuple[float, float, float]) -> None:
    ra, dec, radius = cone
    if not (math.isfinite(ra) and abs(dec) <= 90 and 0 <= radius <= 180):
        raise InvalidInput(
            field="cone", found=cone, expected="right ascension, declination, radius in degrees"
        )


def _check_polygon(polygon: Sequence[Position]) -> None:
    if any(not (math.isfinite(ra) and abs(dec) <= 90) for ra, dec in polygon):
        raise InvalidInput(field="polygon", found=polygon, expected="corners in degrees")
    if len(polygon) < 3:
        raise InvalidInput(
            field="polygon", found=f"{len(polygon)} corners", expected="three or more"
        )
    bounding_cone(*zip(*polygon, strict=True))


def mjd_of(when: datetime) -> float:
    """MJD (UTC) of an aware time."""
    return (when.astimezone(UTC) - MJD_EPOCH).total_seconds() / 86_400.0


def sky_ranges(query: ExposureQuery) -> tuple[tuple[int, int], ...] | None:
    """Ranges of the sky index that cover what is asked; None where no place is."""
    if query.cone is not None:
        return tuple(cone_ranges(*query.cone, max_ranges=MOST_RANGES))
    if query.polygon is not None:
        around = bounding_cone(*zip(*query.polygon, strict=True))
        return tuple(cone_ranges(*around, max_ranges=MOST_RANGES))
    return None


def is_on_sky(query: ExposureQuery, places: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which positions are exactly in the cone or polygon.

    Parameters
    ----------
    places
        Right ascension and declination in degrees, shape ``(n, 2)``.
    """
    ra, dec = places[:, 0], places[:, 1]
    if query.cone is not None:
        return np.asarray(
            angular_separation(query.cone[0], query.cone[1], ra, dec) <= query.cone[2]
        )
    if query.polygon is not None:
        corners = np.array(query.polygon, dtype=float)
        return inside_any_polygon(ra, dec, corners[:, 0], corners[:, 1])
    return np.ones(len(places), dtype=bool)


def name_pattern(name: str) -> NamePattern:
    """The forms of a pattern that the databases know; see `ExposureQuery.name`."""
    if "*" in name or "?" in name:
        many, one = "*", "?"
    elif "%" in name:
        many, one = "%", "_"
    else:
        name, many, one = name + "\0", "\0", "\0"  # no name holds this letter
    prefix, like, glob, wild = "", "", "", False
    for letter in name:
        if letter in (many, one):
            wild = True
            like += "%" if letter == many else "_"
            glob += "*" if letter == many else "?"
            continue
        prefix += "" if wild else letter
        like += escaped(letter)
        glob += f"[{letter}]" if letter in "*?[" else letter
    return NamePattern(prefix, like, glob)


def encode_cursor(key: Key) -> str:
    """Write a place in the list as text that means nothing to others."""
    content = json.dumps([CURSOR_VERSION, key[0].hex(), key[1].hex], separators=(",", ":"))
    return base64.urlsafe_b64encode(content.encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> Key:
    """Read what `encode_cursor` wrote.

    Raises
    ------
    BadCursor
        It was not, or by a version whose cursors are no longer understood.
    """
    try:
        content = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        version, when, which = json.loads(content)
        if version != CURSOR_VERSION:
            raise BadCursor(found=f"version {version}", hint="begin the search again")
        key = float.fromhex(when), uuid.UUID(hex=which)
    except (ValueError, TypeError, AttributeError, binascii.Error, RecursionError) as fault:
        raise BadCursor(found=ascii(cursor)[:80], hint="begin the search again") from fault
    if not math.isfinite(key[0]):
        raise BadCursor(found=key[0], hint="begin the search again")
    return key


def query_from_parameters(parameters: Mapping[str, Sequence[str]]) -> ExposureQuery:
    """Read a query from text, such as the parameters of a URL.

    Parameters
    ----------
    parameters
        Texts by name: the attributes of `ExposureQuery`, and Photon Ranch's
        ``exposure_time_min``, ``exposure_time_max``, ``start_date``, ``end_date`` and
        ``filename``. Words may be repeated or joined by commas. Times without a zone are UTC.
        ``cone`` is ``ra,dec,radius``, ``polygon`` is ``ra,dec,ra,dec,...``, ``cards`` is
        ``KEYWORD=value`` and may be repeated. An empty text counts as not given.

    Raises
    ------
    InvalidInput
        Names the parameter, and for an unknown one the nearest known.
    """
    found: dict[str, Any] = {}
    for given, values in parameters.items():
        texts = [text.strip() for text in values if text.strip()]
        name = _OTHER_NAMES.get(given, given)
        read = _READERS.get(name)
        if read is None:
            near = difflib.get_close_matches(given, [*_READERS, *_OTHER_NAMES], n=1)
            raise InvalidInput(
                "there is no such search parameter",
                field=given,
                hint=f"did you mean {near[0]}?" if near else None,
            )
        if not texts:
            continue
        try:
            found[name] = read(texts)
        except (ValueError, TypeError, OverflowError) as fault:
            raise InvalidInput(
                field=given, found=ascii(", ".join(texts))[:80], expected=_EXPECTED.get(name)
            ) from fault
    return ExposureQuery(**found)


def _words(texts: Sequence[str]) -> Words:
    return tuple(word.strip() for text in texts for word in text.split(",") if word.strip())


def _last(read: Callable[[str], Any]) -> Callable[[Sequence[str]], Any]:
    return lambda texts: read(texts[-1])


def _time(text: str) -> datetime:
    when = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
    return when if when.tzinfo is not None else when.replace(tzinfo=UTC)


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.replace(" ", ",").split(",") if part)


def _cone(text: str) -> tuple[float, float, float]:
    ra, dec, radius = _numbers(text)
    return ra, dec, radius


def _polygon(text: str) -> tuple[Position, ...]:
    numbers = _numbers(text)
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))


def _cards(texts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    pairs = [text.partition("=") for text in texts]
    if any(not keyword.strip() or not equal for keyword, equal, _ in pairs):
        raise ValueError("no keyword")
    return tuple((keyword.strip(), value.strip()) for keyword, _, value in pairs)


def _truth(text: str) -> bool:
    if text.lower() in ("true", "1", "yes"):
        return True
    if text.lower() in ("false", "0", "no"):
        return False
    raise ValueError(text)


_READERS: dict[str, Callable[[Sequence[str]], Any]] = {
    **{field.name: _words for field in fields(ExposureQuery) if field.type == "Words"},
    "exp_time_min": _last(float),
    "exp_time_max": _last(float),
    "start": _last(_time),
    "end": _last(_time),
    "modified_since": _last(_time),
    "night": _last(date.fromisoformat),
    "name": _last(str),
    "cards": _cards,
    "cone": _last(_cone),
    "polygon": _last(_polygon),
    "observation": _last(uuid.UUID),
    "sequence": _last(str),
    "smart_stack": _last(str),
    "final_only": _last(_truth),
    "has": _last(str),
}
_OTHER_NAMES = {
    "exposure_time_min": "exp_time_min",
    "exposure_time_max": "exp_time_max",
    "start_date": "start",
    "end_date": "end",
    "filename": "name",
    "card": "cards",
}
_EXPECTED = {
    "exp_time_min": "seconds",
    "exp_time_max": "seconds",
    "start": "a time as 2026-01-31T12:00:00Z",
    "end": "a time as 2026-01-31T12:00:00Z",
    "modified_since": "a time as 2026-01-31T12:00:00Z",
    "night": "a date as 2026-01-31",
    "cards": "KEYWORD=value",
    "cone": "right ascension, declination, radius in degrees",
    "polygon": "ra,dec,ra,dec,... in degrees",
    "observation": "the id of an observation",
    "final_only": "true or false",
}
