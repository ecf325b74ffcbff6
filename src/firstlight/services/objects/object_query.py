"""What a list of objects asks, checked."""

from __future__ import annotations

import base64
import json
import math
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from firstlight.errors import InvalidInput, UserError
from firstlight.services.objects.object_facts import declination, right_ascension
from firstlight.services.objects.saved_objects import SavedWhen
from firstlight.services.objects.wire_values import LARGEST_ID, storable

__all__ = ["SORTS", "BadObjectCursor", "Mark", "ObjectQuery", "Order", "read_mark", "write_mark"]

SORTS = (
    "name", "ra", "dec", "redshift", "created_at", "saved_at", "n_points", "last_detected",
    "last_mag", "peak_mag", "mean_mag",
)  # fmt: skip
"""What a list can be sorted by; objects without the value come last, either way."""

_MARK_VERSION = 1
_LONGEST_WORD = 200
_MOST_WORDS = 200

Range = tuple[float | None, float | None]
ANY: Range = (None, None)


class BadObjectCursor(UserError):
    """The cursor is not one that this list gave."""

    code = "object.bad_cursor"


@dataclass(frozen=True)
class Order:
    """The order of a list: one of `SORTS`, and which end comes first."""

    by: str = "created_at"
    descending: bool = True

    def __post_init__(self) -> None:
        if self.by not in SORTS:
            raise InvalidInput(
                field="sort", found=repr(self.by[:50]), expected="one of " + ", ".join(SORTS)
            )


@dataclass(frozen=True)
class ObjectQuery:
    """What objects are sought; all that is given holds together.

    Attributes
    ----------
    name
        Part of the name or of another name, in any case.
    cone
        Right ascension, declination, radius in degrees.
    classifications, without
        Classes of which it has one; and of which it has none. As far as the viewer sees them.
    classified
        Whether it has any class; None for either.
    tags
        Numbers of tags, of which it has one.
    saved
        Only objects in lists of groups; None for all that the viewer may see.
    redshift, last_mag, peak_mag, last_mjd
        Least and greatest, both included; None for no bound. Magnitudes are AB, of the points
        that the viewer may see; ``last_mjd`` is of the last detection.
    min_detections
        At least so many detections.
    has_spectrum
        Whether it has one that the viewer may see; None for either.
    origin
        What added it.
    changed_after
        Aware.
    without_names
        Objects of these names are left out.
    comment
        Part of a comment on it, in any case.
    """

    name: str | None = None
    cone: tuple[float, float, float] | None = None
    classifications: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    classified: bool | None = None
    tags: tuple[int, ...] = ()
    saved: SavedWhen | None = None
    redshift: Range = ANY
    last_mag: Range = ANY
    peak_mag: Range = ANY
    last_mjd: Range = ANY
    min_detections: int | None = None
    has_spectrum: bool | None = None
    origin: str | None = None
    changed_after: datetime | None = None
    without_names: tuple[str, ...] = field(default=())
    comment: str | None = None

    def __post_init__(self) -> None:
        for name in ("name", "origin", "comment"):
            _check_words(name, [] if (word := getattr(self, name)) is None else [word])
        for name in ("classifications", "without", "without_names"):
            _check_words(name, getattr(self, name))
        for name in ("redshift", "last_mag", "peak_mag", "last_mjd"):
            if any(bound is not None and not math.isfinite(bound) for bound in getattr(self, name)):
                raise InvalidInput(field=name, found=getattr(self, name), expected="finite numbers")
        numbers = (*self.tags, *(() if self.saved is None else self.saved.groups))
        if any(not 0 <= each <= LARGEST_ID for each in numbers) or len(numbers) > 1000:
            raise InvalidInput(field="tags, groups", expected="numbers of tags and groups")
        if self.min_detections is not None and not 0 <= self.min_detections <= LARGEST_ID:
            raise InvalidInput(field="min_detections", found=self.min_detections)
        if self.cone is not None:
            right_ascension(self.cone[0], "ra")
            declination(self.cone[1], "dec")
            if not 0.0 < self.cone[2] <= 90.0:
                raise InvalidInput(
                    field="radius", found=self.cone[2], expected="more than 0 and up to 90 degrees"
                )

    @property
    def by_numbers(self) -> bool:
        """Whether the statistics of light curves are asked for."""
        return self.min_detections is not None or any(
            getattr(self, name) != ANY for name in ("last_mag", "peak_mag", "last_mjd")
        )

    def fits(self, numbers: dict[str, Any] | None) -> bool:
        """Whether the statistics that a viewer may see are those sought."""
        if not self.by_numbers:
            return True
        if numbers is None:
            return False
        wanted = {
            "last_detected_mag": self.last_mag,
            "peak_mag": self.peak_mag,
            "last_detected_mjd": self.last_mjd,
            "n_detections": (self.min_detections, None),
        }
        return all(_within(numbers[name], bounds) for name, bounds in wanted.items())


@dataclass(frozen=True)
class Mark:
    """A place in a list: what it is sorted by, and the object; None where that has no value."""

    value: float | int | str | datetime | None
    ident: uuid.UUID


def write_mark(order: Order, mark: Mark) -> str:
    """A place in a list as a word for addresses."""
    value = mark.value.isoformat() if isinstance(mark.value, datetime) else mark.value
    facts = [_MARK_VERSION, order.by, order.descending, value, mark.ident.hex]
    return base64.urlsafe_b64encode(json.dumps(facts).encode()).decode().rstrip("=")


def read_mark(order: Order, text: str) -> Mark:
    """The place in a list that a word tells of.

    Raises
    ------
    BadObjectCursor
        It tells of none, or of one in a list with another order.
    """
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        *about, value, ident = json.loads(raw)
        if about == [_MARK_VERSION, order.by, order.descending]:
            return Mark(_value(order, value), uuid.UUID(ident))
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as fault:
        raise _bad(text) from fault
    raise _bad(text)


def _bad(text: str) -> BadObjectCursor:
    return BadObjectCursor(
        field="cursor", found=repr(text[:50]), hint="begin with the first page, without it"
    )


def _value(order: Order, value: Any) -> float | int | str | datetime | None:
    if value is None:
        return None
    if order.by == "name":
        if not isinstance(value, str) or not storable(value):
            raise ValueError("no name")
        return value
    if order.by in ("created_at", "saved_at"):
        return datetime.fromisoformat(str(value)).astimezone(UTC)
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e15:
        raise ValueError("no number")
    if not math.isfinite(value):
        raise ValueError("no number")
    return value


def _within(value: float | None, bounds: tuple[float | None, float | None]) -> bool:
    low, high = bounds
    if low is None and high is None:
        return True
    return value is not None and (low is None or value >= low) and (high is None or value <= high)


def _check_words(name: str, words: Sequence[str]) -> None:
    if len(words) > _MOST_WORDS:
        raise InvalidInput(field=name, found=len(words), expected=f"at most {_MOST_WORDS}")
    for word in words:
        if len(word) > _LONGEST_WORD or not storable(word):
            raise InvalidInput(
                field=name,
                found=repr(word[:50]),
                expected=f"up to {_LONGEST_WORD} characters that can be stored",
            )
