"""Names of PANOPTES: units, cameras, sequences, images, and the paths that hold them.

A path is ``PAN001/14d3bd/20180216T110623/20180216T113000.fits.fz``: unit, camera, start of the
sequence, start of the exposure. Older units put the field's name behind the unit's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from firstlight.errors import InvalidInput
from firstlight.formats.fits_cards import is_blank

__all__ = ["PanoptesId", "PanoptesPath", "id_from_header", "parse_id", "parse_path"]

_UNIT = re.compile(r"PAN\d{3}", re.ASCII)
# Upstream's pattern is a to g, though ids are hexadecimal; published headers have XXXXXX.
_CAMERA = re.compile(r"[0-9a-zA-Z]{6}")
_TIME = re.compile(r"\d{8}T\d{6}", re.ASCII)
_FILE = re.compile(r"(\d{8}T\d{6})((?:[._-][A-Za-z0-9._+-]*)?)", re.ASCII)
_STAMP = "%Y%m%dT%H%M%S"


@dataclass(frozen=True, order=True)
class PanoptesId:
    """What one of the network's ids says: ``PAN001_14d3bd_20180216T110623``.

    Attributes
    ----------
    unit, camera
        ``PAN001``, ``14d3bd``.
    time
        ``YYYYMMDDThhmmss``, UTC: start of the sequence or of the exposure.
    """

    unit: str
    camera: str
    time: str

    def __post_init__(self) -> None:
        for name, value, is_good, expected in (
            ("unit", self.unit, _UNIT.fullmatch(self.unit), "PAN and three digits"),
            ("camera", self.camera, _CAMERA.fullmatch(self.camera), "six letters or digits"),
            ("time", self.time, _is_time(self.time), "YYYYMMDDThhmmss"),
        ):
            if not is_good:
                raise InvalidInput(
                    subject="PANOPTES id", field=name, found=repr(value), expected=expected
                )

    def __str__(self) -> str:
        return f"{self.unit}_{self.camera}_{self.time}"

    @property
    def when(self) -> datetime:
        """The time, aware, UTC."""
        return datetime.strptime(self.time, _STAMP).replace(tzinfo=UTC)


@dataclass(frozen=True)
class PanoptesPath:
    """Where an image of a unit is.

    Attributes
    ----------
    sequence
        The observation that it belongs to.
    image_time
        Start of the exposure, as `PanoptesId.time`.
    extension
        What follows the time in the file's name: ``.fits.fz``, ``_r.fits``, or nothing.
    field
        Name of the field in a legacy path, else None.
    """

    sequence: PanoptesId
    image_time: str
    extension: str = ""
    field: str | None = None

    def __post_init__(self) -> None:
        if not _is_time(self.image_time) or not _FILE.fullmatch(self.image_time + self.extension):
            raise InvalidInput(
                subject="PANOPTES path",
                field="file name",
                found=repr(self.image_time + self.extension),
                expected="YYYYMMDDThhmmss and an extension",
            )
        if self.field is not None and (not self.field or "/" in self.field):
            raise InvalidInput(
                subject="PANOPTES path", field="field", found=repr(self.field), expected="a name"
            )

    @property
    def unit(self) -> str:
        """``PAN001``."""
        return self.sequence.unit

    @property
    def camera(self) -> str:
        """``14d3bd``."""
        return self.sequence.camera

    @property
    def sequence_id(self) -> str:
        """``PAN001_14d3bd_`` and the time of the sequence."""
        return str(self.sequence)

    @property
    def image(self) -> PanoptesId:
        """The image's own id."""
        return replace(self.sequence, time=self.image_time)

    @property
    def image_id(self) -> str:
        """``PAN001_14d3bd_`` and the time of the image."""
        return str(self.image)

    @property
    def folder(self) -> str:
        """Canonical folder of the sequence, without a slash at the end."""
        return f"{self.unit}/{self.camera}/{self.sequence.time}"

    def canonical(self, extension: str | None = None) -> str:
        """Return the path as the network has it today, without the field's name.

        Parameters
        ----------
        extension
            Another end of the name, such as ``.jpg``; its own by default.
        """
        end = self.extension if extension is None else extension
        return f"{self.folder}/{self.image_time}{end}"

    def __str__(self) -> str:
        field = "" if self.field is None else f"{self.field}/"
        rest = f"{self.camera}/{self.sequence.time}/{self.image_time}{self.extension}"
        return f"{self.unit}/{field}{rest}"


def parse_id(text: str) -> PanoptesId | None:
    """Read ``PAN001_14d3bd_20180216T110623``; None where it is no such id."""
    parts = text.strip().split("_")
    return _id(*parts) if len(parts) == 3 else None


def parse_path(path: str) -> PanoptesPath | None:
    """Find unit, camera, sequence and image at the end of a path, key or URL.

    Returns
    -------
    PanoptesPath or None
        None where the last parts are not those of a PANOPTES image. What stands before the
        unit (bucket, folders) is left out.
    """
    parts = path.replace("\\", "/").split("/")
    name = _FILE.fullmatch(parts[-1])
    if len(parts) < 4 or name is None or not _is_time(name[1]):
        return None
    camera, sequence_time = parts[-3], parts[-2]
    sequence = _id(parts[-4], camera, sequence_time)
    field = None
    if sequence is None and len(parts) > 4 and parts[-4]:
        field, sequence = parts[-4], _id(parts[-5], camera, sequence_time)
    return None if sequence is None else PanoptesPath(sequence, name[1], name[2], field)


def id_from_header(header: Mapping[str, Any]) -> tuple[PanoptesId | None, PanoptesId | None]:
    """Read the ids of sequence and image from a raw header.

    Returns
    -------
    sequence, image
        From FILENAME where it holds a whole path, else from SEQID and IMAGEID. None where the
        header does not tell.
    """
    path = parse_path(_text(header, "FILENAME"))
    if path is not None:
        return path.sequence, path.image
    return parse_id(_text(header, "SEQID")), parse_id(_text(header, "IMAGEID"))


def _text(header: Mapping[str, Any], keyword: str) -> str:
    value = header.get(keyword)
    return "" if is_blank(value) else str(value)


def _id(unit: str, camera: str, time: str) -> PanoptesId | None:
    try:
        return PanoptesId(unit, camera, time)
    except InvalidInput:
        return None


def _is_time(text: str) -> bool:
    if not _TIME.fullmatch(text):
        return False
    try:
        datetime.strptime(text, _STAMP).replace(tzinfo=UTC)
    except ValueError:
        return False
    return True
