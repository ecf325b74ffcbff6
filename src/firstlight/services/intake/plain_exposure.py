"""An exposure that does not follow the file grammar: one file, told by its own header."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from firstlight.formats.fits_errors import ConstantImage
from firstlight.formats.fits_file import inspect
from firstlight.formats.raw_photo import is_raw_photo, read_raw_photo
from firstlight.instruments import get_instrument_instance, guess_instrument
from firstlight.instruments.header_errors import BadHeader, Companion
from firstlight.instruments.photon_ranch import read_archive_cards
from firstlight.models.exposure import Exposure, exposure_id
from firstlight.models.exposure_file import FileRole
from firstlight.models.night import night_of
from firstlight.services.intake.arrival_names import raw_key
from firstlight.services.intake.exposure_facts import fit_columns
from firstlight.services.intake.stored_header import CardList, cards_of, values_of
from firstlight.storage import StoredFile

__all__ = ["HEADER_RANK", "PlainExposure", "PlainFile", "read_plain"]

HEADER_RANK = 100
_COLUMNS = (
    "instrument", "telescope", "kind", "mjd", "exp_time", "filter", "filter_array", "binning",
    "temperature", "airmass", "latitude", "longitude", "elevation", "project", "target",
    "observer", "header", "ra", "dec", "camera",
)  # fmt: skip
_UNDATED = "undated"
_PACKED = ("fz", "gz", "bz2", "xz")


@dataclass(frozen=True)
class PlainExposure:
    """What is known of such an exposure once its bytes are stored.

    Attributes
    ----------
    id
        Made of the bytes.
    columns
        Of `Exposure`, all that are known.
    sequence
        The camera's own name of the sequence that it belongs to.
    """

    id: uuid.UUID
    columns: dict[str, Any]
    sequence: str | None = None


@dataclass(frozen=True)
class PlainFile:
    """What a file tells before its bytes are stored.

    Attributes
    ----------
    key
        Where its bytes shall be.
    problems
        What its header lacks or garbles and the reduction can do without.
    """

    key: str
    role: FileRole
    columns: dict[str, Any]
    cards: CardList
    sequence: str | None = None
    problems: list[BadHeader] = field(default_factory=list)

    def stored_as(self, stored: StoredFile) -> PlainExposure:
        """The exposure with these bytes."""
        content = {
            "filename": stored.key,
            "size": stored.size,
            "sha256": stored.sha256,
            "md5": stored.md5,
            "format": _format(stored.key, self.role),
        }
        return PlainExposure(exposure_id(stored.sha256), self.columns | content, self.sequence)


def read_plain(path: Path, name: str, instrument: str | None = None) -> PlainFile:
    """Check every pixel of a file and read its header as its camera does.

    Parameters
    ----------
    path
        Where the bytes are now.
    name
        Of the file, as its sender gave it.
    instrument
        Which camera, where the caller knows.

    Raises
    ------
    BadFile
        It is no image, damaged, or a card without which it has no place in time or on the sky
        holds nonsense.
    """
    is_photo, constant = is_raw_photo(path), None
    try:
        if is_photo:
            read_raw_photo(path)
        else:
            inspect(path, pixels=True)
    except ConstantImage as fault:
        constant = fault  # as a mask is in which nothing is masked
    last = name.replace("\\", "/").rpartition("/")[2]
    camera = get_instrument_instance(instrument or "GenericFITS")
    cards = cards_of(camera.read_header(path))
    chosen = instrument or guess_instrument(name, values_of(cards))
    if chosen != camera.name:  # another camera may read its files in its own way
        camera = get_instrument_instance(chosen)
        cards = cards_of(camera.read_header(path))
    companion = camera.companion_of(values_of(cards), last)
    if constant is not None and companion is None:
        raise constant
    header = {**camera.cards_from_name(name), **_with_value(values_of(cards))}
    exposure = Exposure(nofile=True, instrument=chosen, filename=last)
    exposure.describe(header)
    more, wrong = read_archive_cards(header)
    columns = {column: getattr(exposure, column) for column in _COLUMNS}
    if site := str(header.get("SITEID") or "").strip():
        columns["site"] = site
    problems = [*exposure.problems, *wrong]
    if companion is not None:
        columns["kind"] = "other"
        said = f"it is the {companion} of an image: kept, and not reduced"
        problems = [Companion(said, field="kind", found="other")]
    # A place that is nonsense would put it into the wrong night.
    longitude = camera.get_site(header, subject=last).longitude
    night = None if exposure.mjd is None else night_of(exposure.mjd, longitude)
    return PlainFile(
        key=raw_key(chosen, _UNDATED if night is None else night.isoformat(), name),
        role=FileRole.CR2 if is_photo else FileRole.RAW,
        columns=fit_columns(columns | more),
        cards=cards,
        sequence=camera.get_sequence_id(header, name=name),
        problems=problems,
    )


def _with_value(header: dict[str, Any]) -> dict[str, Any]:
    """Cards that say something: what the path tells stands in for those that do not."""
    return {keyword: value for keyword, value in header.items() if value not in (None, "")}


def _format(key: str, role: FileRole) -> str:
    if role is FileRole.CR2:
        return role.value
    end = key.rpartition(".")[2].lower()
    return f"fits.{end}" if end in _PACKED else "fits"
