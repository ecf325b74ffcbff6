"""Exposures as others see them: our own JSON, Photon Ranch's, and columns of tables."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from firstlight.formats.table_stream import StreamColumn
from firstlight.instruments.header_values import MJD_EPOCH
from firstlight.models.exposure_file import FileRole

__all__ = [
    "EXPORT_COLUMNS",
    "ExposureRow",
    "FileRow",
    "export_row",
    "exposure_row",
    "photonranch_row",
    "start_of",
]

_PLAIN = (
    "collection", "base_filename", "site", "instrument", "camera", "telescope", "kind",
    "data_type", "exp_time", "filter", "filter_array", "binning", "target", "project", "observer",
    "ra", "dec", "altitude", "azimuth", "airmass", "temperature", "user_id", "username",
    "smart_stack", "stack_number", "stack_length", "reduction_state", "mjd", "size",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class FileRow:
    """One stored file of an exposure."""

    id: uuid.UUID
    name: str
    role: str
    reduction_level: str | None
    key: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ExposureRow:
    """One exposure that a search found.

    Attributes
    ----------
    columns
        All columns of the table by name.
    files
        In order of name.
    cards
        The header as triples of keyword, value, comment, where it was asked for; None where
        it was not or there is none.
    """

    columns: Mapping[str, Any]
    files: tuple[FileRow, ...] = ()
    cards: Sequence[Sequence[Any]] | None = None

    @property
    def id(self) -> uuid.UUID:
        """Of the exposure."""
        return uuid.UUID(str(self.columns["id"]))

    def file(self, *roles: str) -> FileRow | None:
        """The first file of these roles, in their order."""
        return next((f for role in roles for f in self.files if f.role == role), None)


def start_of(columns: Mapping[str, Any]) -> datetime:
    """When the exposure began, or its night where that is not known; to the millisecond."""
    return MJD_EPOCH + timedelta(milliseconds=round(columns["sort_mjd"] * 86_400_000))


def exposure_row(row: ExposureRow) -> dict[str, Any]:
    """JSON values of an exposure in our own words; angles in degrees, times in UTC."""
    columns = row.columns
    return {
        "id": str(row.id),
        "name": columns["label"] or str(row.id),
        "start": _iso(start_of(columns)) if columns["mjd"] is not None else None,
        "night": _iso(columns["night"]),
        **{name: columns[name] for name in _PLAIN},
        "observation_id": _text(columns["observation_id"]),
        "expires_at": _iso(columns["expires_at"]),
        "created_at": _iso(columns["created_at"]),
        "modified_at": _iso(columns["modified_at"]),
        "files": [
            {
                "id": str(file.id),
                "name": file.name,
                "role": file.role,
                "reduction_level": file.reduction_level,
                "size": file.size,
                "sha256": file.sha256,
            }
            for file in row.files
        ],
    }


def photonranch_row(row: ExposureRow) -> dict[str, Any]:
    """JSON values of an exposure by the names of Photon Ranch's Images table and its API.

    Right ascension is in decimal HOURS here and nowhere else. Dates are milliseconds since
    1970. `header`, `fits_filename` and `fits_path` need a row with its header.
    """
    columns = row.columns
    when = round(start_of(columns).timestamp() * 1000)
    values = {str(card[0]): card[1] for card in reversed(row.cards or ())}
    roles = {file.role for file in row.files}
    return {
        "image_id": columns["image_number"],
        "base_filename": columns["base_filename"],
        "site": columns["site"],
        "capture_date": when,
        "sort_date": when,
        "right_ascension": None if columns["ra"] is None else columns["ra"] / 15.0,
        "declination": columns["dec"],
        "altitude": columns["altitude"],
        "azimuth": columns["azimuth"],
        "header": values or None,
        "filter_used": columns["filter"],
        "airmass": columns["airmass"],
        "exposure_time": columns["exp_time"],
        "user_id": columns["user_id"],
        "username": columns["username"],
        "fits_01_exists": FileRole.FITS_LARGE in roles,
        "fits_10_exists": FileRole.FITS_SMALL in roles,
        "jpg_medium_exists": FileRole.JPG_MEDIUM in roles,
        "jpg_small_exists": FileRole.THUMBNAIL in roles,
        "data_type": columns["data_type"],
        "s3_directory": columns["collection"],
        "fits_filename": values.get("ORIGNAME"),
        "fits_path": _fits_path(values),
        "SMARTSTK": columns["smart_stack"] or "no",
        "SSTKNUM": columns["stack_number"],
        "SSTKLEN": columns["stack_length"],
    }


def _fits_path(values: Mapping[str, Any]) -> str | None:
    parts = [values.get(name) for name in ("SITEID", "INSTRUME", "DAY-OBS")]
    return None if None in parts else "/".join([*map(str, parts), "raw"])


def _iso(when: date | datetime | None) -> str | None:
    if isinstance(when, datetime):
        return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return None if when is None else when.isoformat()


def _text(value: object) -> str | None:
    return None if value is None else str(value)


EXPORT_COLUMNS: tuple[StreamColumn, ...] = (
    StreamColumn("id", ucd="meta.id;meta.main", description="Identifier of the exposure."),
    StreamColumn("label", ucd="meta.file", description="Name."),
    StreamColumn("collection", description="data, or allsky for all-sky cameras."),
    StreamColumn("base_filename", ucd="meta.file", description="What all its files share."),
    StreamColumn("site", ucd="instr.obsty"),
    StreamColumn("camera", ucd="meta.id;instr", description="As the file or header names it."),
    StreamColumn("instrument", ucd="instr", description="Class that reads its files."),
    StreamColumn("telescope", ucd="instr.tel"),
    StreamColumn("kind", description="science, bias, dark, flat, other or unknown."),
    StreamColumn("data_type"),
    StreamColumn("night", description="Local date of the noon before."),
    StreamColumn("start", "time", ucd="time.start", description="UTC."),
    StreamColumn("mjd", "float", "d", "time.epoch", "Middle of the exposure, MJD (UTC)."),
    StreamColumn("exp_time", "float", "s", "time.duration;obs.exposure"),
    StreamColumn("filter", ucd="meta.id;instr.filter"),
    StreamColumn("target", ucd="meta.id;src"),
    StreamColumn("project", ucd="meta.id;obs.proposal"),
    StreamColumn("ra", "float", "deg", "pos.eq.ra;meta.main", "Where the telescope pointed."),
    StreamColumn("dec", "float", "deg", "pos.eq.dec;meta.main", "Where the telescope pointed."),
    StreamColumn("altitude", "float", "deg", "pos.az.alt"),
    StreamColumn("azimuth", "float", "deg", "pos.az.azi"),
    StreamColumn("airmass", "float", "", "obs.airMass"),
    StreamColumn("user_id"),
    StreamColumn("username"),
    StreamColumn("observation_id", ucd="meta.id;obs"),
    StreamColumn("smart_stack", description="Group of exposures that are summed."),
    StreamColumn("stack_number", "int", description="Place in the group, from 0."),
    StreamColumn("stack_length", "int", description="Planned number in the group."),
    StreamColumn("reduction_state", ucd="meta.code.status"),
    StreamColumn("expires_at", "time", description="When it is removed; empty for never."),
    StreamColumn("modified_at", "time", ucd="time.processing"),
    StreamColumn("files", description="Names of its stored files, separated by blanks."),
)
"""Columns of CSV and VOTable exports."""


def export_row(row: ExposureRow) -> tuple[Any, ...]:
    """Values in the order of `EXPORT_COLUMNS`."""
    told = {
        **row.columns,
        "start": start_of(row.columns) if row.columns["mjd"] is not None else None,
        "files": " ".join(file.name for file in row.files),
    }
    return tuple(told[column.name] for column in EXPORT_COLUMNS)
