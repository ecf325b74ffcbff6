"""What the files and headers of an exposure say about it. The same set always says the same."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cache
from typing import Any

from firstlight.formats.base_filename import FileName
from firstlight.instruments import guess_instrument
from firstlight.instruments.header_errors import BadHeader
from firstlight.instruments.header_names import normalize_keyword
from firstlight.instruments.header_reader import HeaderReader, PlainHeader
from firstlight.instruments.photon_ranch import PhotonRanch, read_archive_cards
from firstlight.instruments.registry import AmbiguousInstrument
from firstlight.models.exposure import Exposure, named_exposure_id
from firstlight.models.exposure_file import FileRole
from firstlight.services.intake.stored_header import values_of

__all__ = [
    "ExposureName",
    "FileFacts",
    "HeaderFacts",
    "columns_of_files",
    "columns_of_header",
    "described_columns",
    "fit_columns",
]

# Columns that the header fills; what it does not tell is empty again.
_FROM_HEADER = (
    "instrument", "telescope", "kind", "mjd", "exp_time", "filter", "filter_array", "binning",
    "temperature", "airmass", "latitude", "longitude", "elevation", "project", "target",
    "observer", "header", "ra", "dec", "altitude", "azimuth", "user_id", "username",
    "smart_stack", "stack_number", "stack_length",
)  # fmt: skip
_CRITICAL = ("exp_time", "mjd", "ra", "dec", "kind")
_ROLES = (
    FileRole.FITS_LARGE,
    FileRole.HEADER_TEXT,
    FileRole.FITS_SMALL,
    FileRole.JPG_MEDIUM,
    FileRole.THUMBNAIL,
)


@dataclass(frozen=True, order=True)
class ExposureName:
    """An exposure of the file grammar, by what all its files have in common."""

    collection: str
    base_filename: str
    site: str
    camera: str
    day: date

    @classmethod
    def of(cls, name: FileName) -> ExposureName:
        """From the name of any of its files."""
        return cls(name.collection.value, name.base_filename, name.site, name.instrument, name.day)

    @property
    def id(self) -> uuid.UUID:
        """Of the exposure's row."""
        return named_exposure_id(self.collection, self.base_filename)


@dataclass(frozen=True)
class FileFacts:
    """One file of an exposure, as `ExposureFile` has it."""

    name: str
    role: str
    reduction_level: str | None
    key: str
    size: int
    sha256: str
    md5: str
    made: bool
    created_at: datetime
    """When the first arrival with these bytes was announced."""


@dataclass(frozen=True)
class HeaderFacts:
    """What a header says: values of columns, and what is wrong with its cards."""

    columns: dict[str, Any]
    problems: list[BadHeader] = field(default_factory=list)


def described_columns() -> tuple[str, ...]:
    """Names of the columns that `columns_of_header` fills."""
    return _FROM_HEADER


def columns_of_header(name: ExposureName, cards: Iterable[Any] | None) -> HeaderFacts:
    """Read the header that counts, as the instrument of the exposure reads it.

    Nonsense in a card empties its column and is told in `problems`; it never loses the
    exposure. Without a header the kind is ``unknown``.
    """
    if cards is None:
        blank: dict[str, Any] = dict.fromkeys(_FROM_HEADER)
        blank |= {"instrument": PhotonRanch.name, "kind": "unknown", "binning": "1x1", "header": {}}
        return HeaderFacts(_of_collection(name, blank))
    header = values_of(cards)
    exposure = Exposure(
        nofile=True,
        id=name.id,
        instrument=_instrument(name.base_filename, header),
        base_filename=name.base_filename,
    )
    problems = _describe(exposure, header)
    more, wrong = read_archive_cards(header)
    columns = {column: getattr(exposure, column) for column in _FROM_HEADER if column not in more}
    return HeaderFacts(_of_collection(name, fit_columns(columns | more)), [*problems, *wrong])


def _of_collection(name: ExposureName, columns: dict[str, Any]) -> dict[str, Any]:
    """All-sky pictures look like exposures to their cameras, but are nothing to reduce."""
    if name.collection == "allsky":
        columns["kind"] = "other"
    return columns


def _instrument(base_filename: str, header: Mapping[str, Any]) -> str:
    try:
        return guess_instrument(base_filename, header)
    except AmbiguousInstrument:
        return PhotonRanch.name


def _describe(exposure: Exposure, header: PlainHeader) -> list[BadHeader]:
    """Fill the columns from a header, leaving out what cannot be understood."""
    camera = exposure.instrument_object
    left_out: set[str] = set()
    problems: list[BadHeader] = []
    for column in _CRITICAL:
        try:
            camera.extract_header_info(header, [column])
        except BadHeader as problem:
            problems.append(problem)
            left_out.add(column)
            if column == "exp_time":  # the start alone is better than no time at all
                header = _without(header, camera, column)
    if "kind" in left_out:
        exposure.kind = "unknown"
    exposure.describe(header, frozenset(left_out))
    told = {(each.code, each.field, each.message) for each in problems}
    others = [e for e in exposure.problems if (e.code, e.field, e.message) not in told]
    return problems + others


def _without(header: PlainHeader, camera: HeaderReader, column: str) -> PlainHeader:
    """The header without the cards for one column."""
    keywords = camera._get_header_keyword_translations()[column]  # noqa: SLF001, the seed names it so
    dropped = {normalize_keyword(keyword) for keyword in keywords}
    kept = ((key, value) for key, value in header.items() if normalize_keyword(key) not in dropped)
    return PlainHeader(kept)


def columns_of_files(
    name: ExposureName, files: Sequence[FileFacts], raw_levels: Sequence[str]
) -> dict[str, Any]:
    """What the set of files says: the raw one of them, and the data type."""
    received = [each for each in files if not each.made]
    raw = min(
        (
            each
            for each in received
            if each.role == FileRole.FITS_LARGE and each.reduction_level in raw_levels
        ),
        key=lambda each: (raw_levels.index(str(each.reduction_level)), each.name),
        default=None,
    )
    first = raw or min(received, key=lambda each: (_place(each.role), each.reduction_level or ""))
    tied = [each.name for each in received if _same_standing(each, first)]
    return {
        "data_type": _data_type(name, raw.name if raw else min(tied)),
        "filename": raw and raw.key,
        "format": _format(raw.name) if raw else "fits",
        "size": raw and raw.size,
        "sha256": raw and raw.sha256,
        "md5": raw and raw.md5,
    }


def _same_standing(one: FileFacts, other: FileFacts) -> bool:
    return (one.role, one.reduction_level) == (other.role, other.reduction_level)


def _place(role: str) -> int:
    return _ROLES.index(FileRole(role)) if role in _ROLES else len(_ROLES)


def _data_type(name: ExposureName, filename: str) -> str:
    tail = filename.removeprefix(f"{name.base_filename}-")
    return tail[: next(i for i, c in enumerate(tail) if not c.isalpha())]


def _format(filename: str) -> str:
    """``fits``, ``fits.bz2`` or ``fits.fz``."""
    return "fits" + filename.rpartition(".fits")[2]


def fit_columns(columns: dict[str, Any], keep: Collection[str] = ()) -> dict[str, Any]:
    """Cut texts to what their columns hold; PostgreSQL refuses longer ones."""
    limits = _limits()
    return {
        column: value[: limits[column]]
        if isinstance(value, str) and column in limits and column not in keep
        else value
        for column, value in columns.items()
    }


@cache
def _limits() -> dict[str, int]:
    lengths = {
        column.name: getattr(column.type, "length", None) for column in Exposure.__table__.columns
    }
    return {name: length for name, length in lengths.items() if length}
