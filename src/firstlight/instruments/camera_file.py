"""What a camera file says: a TOML file that describes one camera, checked while it is read."""

from __future__ import annotations

import difflib
import hashlib
import re
import tomllib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from firstlight.algorithms.flags import Flag
from firstlight.errors import BadSettings
from firstlight.instruments.header_values import parse_pixel_range

__all__ = [
    "AmplifierEntry",
    "BadCamera",
    "CameraFile",
    "Conversion",
    "SectionEntry",
    "read_camera_file",
]

Slices = tuple[slice, slice]
Corner = Literal["bottom left", "bottom right", "top left", "top right"]


class BadCamera(BadSettings):
    """A camera file, or a table that it names, cannot be used."""

    code = "camera.bad"


def _range(value: object) -> Slices:
    return parse_pixel_range(value)


def _list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _pairs(value: object) -> object:
    one = isinstance(value, list | tuple) and all(isinstance(part, str) for part in value)
    return [value] if one else value


PixelRange = Annotated[tuple[Any, Any], BeforeValidator(_range)]
Words = Annotated[list[str], BeforeValidator(_list)]
Pairs = Annotated[list[tuple[str, str]], BeforeValidator(_pairs)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Conversion(_Part):
    """How a value of a header becomes ours.

    Parts are applied in the order in which they stand here; none is needed.
    """

    first_word: bool = False
    """Keep the text up to the first blank."""
    map: dict[str, str | float] = Field(default_factory=dict)
    """Values in the file and what they mean; others stay."""
    missing: list[str | float] = Field(default_factory=list)
    """Values that say that nothing is known."""
    factor: float = 1.0
    add: float = 0.0
    west: bool = False
    """The number counts west as positive, whatever its sign."""

    def __call__(self, value: Any) -> Any:
        """Return the value in our unit, None where it is not known."""
        if self.first_word and isinstance(value, str):
            value = (value.split() or [""])[0]
        if value in self.missing:
            return None
        value = self.map.get(str(value).strip(), value)
        if self.factor != 1.0 or self.add != 0.0:
            value = float(str(value)) * self.factor + self.add
        return -abs(float(str(value))) if self.west else value


class CameraEntry(_Part):
    """The camera itself; see `Instrument` for what the words mean."""

    name: str = Field(min_length=1, max_length=64)
    telescope: str = "unknown"
    aperture: float | None = Field(default=None, gt=0)
    focal_ratio: float | None = Field(default=None, gt=0)
    pixel_scale: float | None = Field(default=None, gt=0)
    gain: float | None = Field(default=None, gt=0)
    read_noise: float | None = Field(default=None, ge=0)
    dark_current: float | None = Field(default=None, ge=0)
    saturation_limit: float | None = Field(default=None, gt=0)
    non_linearity_limit: float | None = Field(default=None, gt=0)
    bias_level: float | None = None
    size_x: int | None = Field(default=None, gt=0)
    size_y: int | None = Field(default=None, gt=0)
    orientation_fixed: bool = False
    bleeds_along: Literal["columns", "rows", "not"] = "columns"
    filters: list[str] = Field(default_factory=list)
    filter_array: list[str] | None = None
    fringes_in: list[str] = Field(default_factory=list)
    """Filters in which the sky's lines interfere in the detector."""
    latitude: float | None = Field(default=None, ge=-90, le=90)
    longitude: float | None = Field(default=None, ge=-180, le=360)
    elevation: float | None = None


class FilesEntry(_Part):
    """Which files are this camera's, and where in them its sections are."""

    filename_regex: Words = Field(default_factory=list)
    header_instruments: Words = Field(default_factory=list)
    requires: dict[str, Words] = Field(default_factory=dict)
    """Cards and the values that one of which they must have."""
    section_card: str = "EXTNAME"
    """Card that tells the section of an image."""
    header_in_first_image: bool = False
    """Whether the cards of the exposure are those of the first image, not of the first HDU."""


class HeaderEntry(_Part):
    """Which cards say what."""

    time: Literal["start", "mid", "end"] = "start"
    default_filter: str = "unknown"
    keep: list[str] = Field(default_factory=list)
    """Further cards that are worth keeping with the exposure."""
    cards: dict[str, Words] = Field(default_factory=dict)
    convert: dict[str, Conversion] = Field(default_factory=dict)
    amplifier_areas: bool = True
    """Whether BIASSECA, DATASECA... are places in the image that has them; else the layout is."""


class AmplifierEntry(_Part):
    """One amplifier, in pixels of the raw array ``[x1:x2,y1:y2]``, counted from 1."""

    name: str
    data: PixelRange
    overscan: PixelRange | None = None
    place: PixelRange | None = None
    """Where its pixels go in the section; where they are in the raw array if not given."""
    read_from: Corner = "bottom left"
    """Corner of `data` whose pixel is read first."""
    gain: float | None = Field(default=None, gt=0)
    read_noise: float | None = Field(default=None, ge=0)
    saturation_limit: float | None = Field(default=None, gt=0)
    non_linearity_limit: float | None = Field(default=None, gt=0)
    full_well: float | None = Field(default=None, gt=0)
    """Electrons."""


class SectionEntry(_Part):
    """One section; properties that are not given are those of the camera."""

    id: str | int
    number: int | None = None
    """By which tables of the camera's makers name it."""
    layout: str | None = None
    x: float | None = None
    y: float | None = None
    """Pixels from the middle of the field to that of the section."""
    turned: Literal[0, 90, 180, 270] = 0
    """Degrees, from the field's x towards its y, by which the section's x is turned."""
    size_x: int | None = Field(default=None, gt=0)
    size_y: int | None = Field(default=None, gt=0)
    filter_array_index: int | None = Field(default=None, ge=0)
    gain: float | None = Field(default=None, gt=0)
    read_noise: float | None = Field(default=None, ge=0)
    dark_current: float | None = Field(default=None, ge=0)
    saturation_limit: float | None = Field(default=None, gt=0)
    non_linearity_limit: float | None = Field(default=None, gt=0)
    defective: bool | None = None


class TableEntry(_Part):
    """A table beside the camera file, or in the folder ``cameras`` of the workspace."""

    file: str


class ReducedEntry(_Part):
    """Files that another pipeline has reduced already."""

    when: dict[str, Words] = Field(default_factory=dict)
    """Cards and values by which such a file is known; all of the camera's files if empty."""
    done: list[str] = Field(default_factory=list)
    """What that pipeline did: ``overscan``, ``bias``, ``flat``..."""
    cards: dict[str, Words] = Field(default_factory=dict)
    """Cards that say what in these files only, for example the gain."""
    bias_level: float = 0.0


class MaskMeaning(_Part):
    """What the numbers of a mask mean."""

    bits: dict[int, str] = Field(default_factory=dict)
    """Numbers of bits and our flag."""
    values: dict[int, str] = Field(default_factory=dict)
    """Whole values and our flag, for masks that are no bits."""

    def read(self, told: NDArray[Any]) -> NDArray[np.uint16]:
        """Return our flags for the numbers of a mask."""
        flags = np.zeros(told.shape, np.uint16)
        for bit, name in self.bits.items():
            flags[(told.astype(np.int64) >> bit) & 1 == 1] |= np.uint16(Flag[name])
        for value, name in self.values.items():
            flags[told == value] |= np.uint16(Flag[name])
        return flags


class OlderMask(MaskMeaning):
    """What a mask meant in the files of an earlier version of the pipeline that made it."""

    card: str
    """Card of the image that tells the version, such as ``V3.6.2``."""
    below: str
    """The first version that counts as new."""

    def applies(self, header: Mapping[str, Any]) -> bool:
        """Whether a header tells an earlier version; no where it tells none."""
        told = _version(str(header.get(self.card, "")))
        return bool(told) and told < _version(self.below)


class MaskEntry(MaskMeaning):
    """The mask that comes with a reduced image."""

    replace: Pairs
    """Part of the image's file name, and what stands there in the name of its mask; or several."""
    older: OlderMask | None = None

    def beside(self, image: Path) -> Path | None:
        """Return where the mask of an image is, None where there is none."""
        pairs = [pair for pair in self.replace if pair[0] in image.name]
        paths = (image.with_name(image.name.replace(*pair)) for pair in pairs)
        return next((path for path in paths if path.is_file()), None)

    def meaning(self, header: Mapping[str, Any]) -> MaskMeaning:
        """Return what the numbers of the mask of an image mean."""
        return self.older if self.older is not None and self.older.applies(header) else self


class CompanionEntry(_Part):
    """Files that lie beside images and are none: masks, weight maps."""

    what: str = Field(min_length=1, max_length=64)
    """What they are, in words."""
    when: dict[str, Words] = Field(default_factory=dict)
    """Cards and values by which such a file is known."""
    filename_regex: Words = Field(default_factory=list)
    """How their names begin; for files whose cards do not tell."""


class CameraFile(_Part):
    """A whole camera file.

    Attributes
    ----------
    layouts
        Amplifiers of a kind of section, by a name of one's own; used where a raw array has the
        full size and its header does not tell.
    crosstalk, linearity
        Tables; see `camera_tables` for their formats.
    """

    camera: CameraEntry
    files: FilesEntry = FilesEntry()
    header: HeaderEntry = HeaderEntry()
    layouts: dict[str, list[AmplifierEntry]] = Field(default_factory=dict)
    sections: list[SectionEntry] = Field(min_length=1)
    crosstalk: TableEntry | None = None
    linearity: TableEntry | None = None
    reduced: ReducedEntry | None = None
    mask: MaskEntry | None = None
    companions: list[CompanionEntry] = Field(default_factory=list)

    @cached_property
    def by_id(self) -> Mapping[str, SectionEntry]:
        """The sections by their id as text."""
        return {str(section.id).strip(): section for section in self.sections}

    def problems(self) -> list[str]:
        """What does not fit together, in words."""
        found = []
        if len(self.by_id) < len(self.sections):
            found.append("two sections have the same id")
        filters = self.camera.filter_array or []
        for section in self.sections:
            if section.layout is not None and section.layout not in self.layouts:
                found.append(f"section {section.id}: there is no layout {section.layout}")
            if section.filter_array_index is not None and (
                section.filter_array_index >= len(filters)
            ):
                found.append(f"section {section.id}: the filter array has {len(filters)} filters")
        for name, amplifiers in self.layouts.items():
            if len({each.name for each in amplifiers}) < len(amplifiers):
                found.append(f"layout {name}: two amplifiers have the same name")
            found += [
                f"layout {name}: place and data of amplifier {each.name} differ in size"
                for each in amplifiers
                if each.place is not None and _size(each.place) != _size(each.data)
            ]
        masks = [each for each in (self.mask, self.mask and self.mask.older) if each]
        named = [name for each in masks for name in (*each.bits.values(), *each.values.values())]
        found += [
            f"mask: there is no flag {each}" for each in named if each not in Flag.__members__
        ]
        patterns = [each for entry in self.companions for each in entry.filename_regex]
        for pattern in (*self.files.filename_regex, *patterns):
            try:
                re.compile(pattern)
            except re.error as fault:
                found.append(f"filename_regex {pattern}: {fault}")
        return found


def _version(text: str) -> tuple[int, ...]:
    """Numbers of a version; nothing where there is none."""
    found = re.search(r"\d+(?:\.\d+)*", text)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def _size(where: Slices) -> tuple[int, int]:
    return where[0].stop - where[0].start, where[1].stop - where[1].start


def read_camera_file(path: Path) -> tuple[CameraFile, str]:
    """Read and check a camera file.

    Returns
    -------
    camera, fingerprint
        What it says, and the sha256 of its bytes.

    Raises
    ------
    BadCamera
        It is not TOML, a key is not known (the nearest one is named), a value is wrong, or two
        of its parts do not fit.
    """
    content = path.read_bytes()
    try:
        camera = CameraFile(**tomllib.loads(content.decode("utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise BadCamera(f"not a TOML file: {fault}", subject=path) from fault
    except TypeError as fault:
        raise BadCamera(str(fault), subject=path) from fault
    except ValidationError as fault:
        raise _explained(fault, path) from fault
    if problems := camera.problems():
        raise BadCamera("; ".join(problems), subject=path)
    return camera, hashlib.sha256(content).hexdigest()


def _explained(fault: ValidationError, path: Path) -> BadCamera:
    first = fault.errors()[0]
    place = [str(part) for part in first["loc"]]
    if first["type"] != "extra_forbidden":
        return BadCamera(subject=path, field=".".join(place), found=first.get("input"),
                         expected=str(first["msg"]))  # fmt: skip
    near = difflib.get_close_matches(place[-1], _known_keys(), n=1)
    return BadCamera(
        "there is no such key",
        subject=path,
        field=".".join(place),
        hint=f"did you mean {near[0]}?" if near else None,
    )


def _known_keys() -> list[str]:
    parts: list[type[BaseModel]] = [*_Part.__subclasses__(), *MaskMeaning.__subclasses__()]
    return sorted({key for part in parts for key in part.model_fields} | set(get_args(Corner)))
