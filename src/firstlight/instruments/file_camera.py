"""Cameras that are described by a file, not by code."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from astropy.io.fits import Header
from numpy.typing import NDArray

from firstlight.algorithms.detector.linearity import Linearity
from firstlight.formats import fits_file
from firstlight.formats.fits_cards import is_blank
from firstlight.formats.fits_errors import NoSuchImage
from firstlight.instruments.amplifiers import OWN_CARDS, Amplifier, CrosstalkTerm, own_properties
from firstlight.instruments.base import Instrument, PathLike
from firstlight.instruments.camera_file import AmplifierEntry, CameraFile, read_camera_file
from firstlight.instruments.camera_tables import read_crosstalk, read_linearity
from firstlight.instruments.header_reader import AmplifierArea, AnyHeader, CardFound
from firstlight.instruments.header_values import blank_to_none
from firstlight.instruments.registration import INSTANCES, registered
from firstlight.instruments.sections import SectionId, SensorSection, section_key

__all__ = ["FileCamera", "define_camera"]

_SAME = (
    "telescope", "aperture", "focal_ratio", "pixel_scale", "gain", "read_noise", "dark_current",
    "saturation_limit", "non_linearity_limit", "bias_level", "size_x", "size_y", "filter_array",
    "orientation_fixed", "bleeds_along", "fringes_in", "latitude", "longitude", "elevation",
)  # fmt: skip
_OF_SECTION = (
    "size_x", "size_y", "filter_array_index", "gain", "read_noise", "dark_current",
    "saturation_limit", "non_linearity_limit", "defective",
)  # fmt: skip


class FileCamera(Instrument, register=False):
    """A camera that is described by a camera file; see ``docs/how-to/cameras.md``.

    Attributes
    ----------
    says
        What the file says.
    path, fingerprint
        Of the file, and the sha256 of its bytes.
    tables_in
        Folders in which its tables are searched, the first one first.
    """

    says: ClassVar[CameraFile]
    path: ClassVar[Path]
    fingerprint: ClassVar[str]
    tables_in: ClassVar[tuple[Path, ...]] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        """Name the file: the class has no name that another process could import."""
        return _revived, (str(self.path), self.name, self.__getstate__())

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the tables, which another process reads anew."""
        state = super().__getstate__()
        return {name: value for name, value in state.items() if not name.endswith("_table")}

    # --- headers ---------------------------------------------------------------------------

    def matches_header(self, header: AnyHeader) -> float | None:
        """Compare INSTRUME and TELESCOP as every camera, then the cards that must be there."""
        score = super().matches_header(header)
        return 0.0 if score and not _agrees(header, self.says.files.requires) else score

    def _get_header_values_converters(self) -> dict[str, Callable[[Any], Any]]:
        """Add what the file says; under an array of filters no card names the filter."""
        own: dict[str, Callable[[Any], Any]] = dict(self.says.header.convert)
        if self.filter_array is not None:
            own["filter"] = lambda _: None
        return {**super()._get_header_values_converters(), **own}

    def corrections_done(self, header: AnyHeader) -> Sequence[str] | None:
        """Return what another pipeline did to a file, None for a raw one."""
        reduced = self.says.reduced
        if reduced is None or not _agrees(header, reduced.when):
            return None
        return reduced.done

    def companion_of(self, header: AnyHeader, name: str) -> str | None:
        """Ask the cards first, then the name: not all who copy files keep the cards right."""
        last = name.replace("\\", "/").rpartition("/")[2]
        for entry in self.says.companions:
            if entry.when and _agrees(header, entry.when):
                return entry.what
        for entry in self.says.companions:
            if any(re.match(pattern, last) for pattern in entry.filename_regex):
                return entry.what
        return None

    def _find(self, cards: dict[str, CardFound], name: str) -> CardFound | None:
        """Ask the cards of reduced files first, in such a file."""
        reduced = self.says.reduced
        if reduced is not None and name in reduced.cards:
            plain = {card.keyword: card.value for card in cards.values()}
            for keyword in reduced.cards[name] if _agrees(plain, reduced.when) else ():
                found = cards.get(self.normalize_keyword(keyword))
                if found is not None and not is_blank(found.value):
                    return found
        return super()._find(cards, name)

    # --- sections --------------------------------------------------------------------------

    def _make_new_section(self, identifier: str) -> SensorSection:
        """Know of each section what the file says."""
        entry = self.says.by_id[identifier]
        given = {prop: getattr(entry, prop) for prop in _OF_SECTION}
        return SensorSection(
            identifier=identifier,
            instrument=self.name,
            offset_x=entry.x,
            offset_y=entry.y,
            **given,
        )

    def overscan_and_data_sections(
        self, header: AnyHeader, *, subject: object = None
    ) -> list[AmplifierArea]:
        """As every camera, where the cards mean the image that has them."""
        if not self.says.header.amplifier_areas:
            return []
        return super().overscan_and_data_sections(header, subject=subject)

    def get_amplifiers(
        self,
        header: AnyHeader,
        section_id: SectionId | None,
        shape: tuple[int, ...] | None = None,
    ) -> list[Amplifier]:
        """Return what the header tells of each amplifier, and the file where it does not."""
        if section_id is None or self.corrections_done(header) is not None:
            return []
        key = section_key(section_id)
        entry = self.says.by_id.get(key)
        layout = self.says.layouts.get(entry.layout or "", []) if entry is not None else []
        known = {each.name: each for each in layout}
        areas = self.overscan_and_data_sections(header)
        if not areas and shape is not None and _spans(layout, shape):
            areas = [_area(each) for each in layout]
        made = []
        for area in areas:
            own, told = own_properties(self, header, area.name, _facts(known.get(area.name)))
            table = self.linearity_table.get((key, area.name))
            made.append(Amplifier(area, _within_full_well(own, known.get(area.name)), told, table))
        return made

    def get_crosstalk(self, section_id: SectionId) -> list[CrosstalkTerm]:
        """Return what the camera's table says."""
        return self.crosstalk_table.get(section_key(section_id), [])

    # --- tables ----------------------------------------------------------------------------

    @cached_property
    def crosstalk_table(self) -> Mapping[str, list[CrosstalkTerm]]:
        """Coefficients by the victim's section; empty where there is no table."""
        path = self.table_path("crosstalk")
        return {} if path is None else read_crosstalk(path, self.says)

    @cached_property
    def linearity_table(self) -> Mapping[tuple[str, str], Linearity]:
        """Tables by section and amplifier; empty where there is none."""
        path = self.table_path("linearity")
        return {} if path is None else read_linearity(path, self.says)

    def names_table(self, kind: str) -> str | None:
        """Return the name of a table's file."""
        entry = getattr(self.says, kind)
        return None if entry is None else str(entry.file)

    def read_tables(self) -> None:
        """Read the tables now, so that what is wrong with them is told at once."""
        assert self.crosstalk_table is not None  # noqa: S101, asking for it is what reads it
        assert self.linearity_table is not None  # noqa: S101, likewise

    @classmethod
    def table_path(cls, kind: str) -> Path | None:
        """Return where the table of a kind is, None where none is named or it is not there."""
        entry = getattr(cls.says, kind)
        if entry is None:
            return None
        there = (folder / entry.file for folder in (*cls.tables_in, cls.path.parent))
        return next((path for path in there if path.is_file()), None)

    @classmethod
    def table_fingerprints(cls) -> dict[str, str]:
        """Return the sha256 of each table that is there, by its kind."""
        paths = {kind: cls.table_path(kind) for kind in ("crosstalk", "linearity")}
        return {
            kind: hashlib.sha256(path.read_bytes()).hexdigest()
            for kind, path in paths.items()
            if path is not None
        }

    # --- files -----------------------------------------------------------------------------

    def section_ids_of_file(self, filepath: PathLike | Sequence[PathLike]) -> list[SectionId]:
        """Return the sections whose images are in a file, or in one of several."""
        paths = _paths(filepath)
        there = set().union(*(self._places(path) for path in paths))
        found = [each for each in self.get_section_ids() if section_key(each) in there]
        return found or self.get_section_ids()[:1]

    def find_section(
        self, filepath: PathLike | Sequence[PathLike], section_id: SectionId
    ) -> tuple[Path, int | str | None]:
        """Return the file of a section and the HDU in it, by the card that names it."""
        self.check_section_id(section_id)
        paths = _paths(filepath)
        key = section_key(section_id)
        for path in paths:
            places = self._places(path)
            if key in places:
                return path, places[key]
        # A file that names no section is that of the first one; others are told by the reader.
        first = section_key(self.get_section_ids()[0]) == key
        return paths[0], None if first and not self._places(paths[0]) else key

    def _places(self, path: Path) -> dict[str, int]:
        status = path.stat() if path.exists() else None
        age = (status.st_mtime_ns, status.st_size) if status is not None else (0, 0)
        found = _named_images(path, age, self.says.files.section_card)
        known = {ident.upper(): ident for ident in self.says.by_id}
        places: dict[str, int] = {}
        for name, hdu in found:
            if name in known and places.setdefault(known[name], hdu) != hdu:
                raise NoSuchImage(
                    subject=path,
                    field=self.says.files.section_card,
                    found=f"several images of section {known[name]}",
                    expected="one image of each section",
                )
        return places

    def read_header(
        self, filepath: PathLike | Sequence[PathLike], section_id: SectionId | None = None
    ) -> Header:
        """Read a header; that of the exposure is the first image's where the file says so."""
        if section_id is not None or not self.says.files.header_in_first_image:
            return super().read_header(filepath, section_id)
        return fits_file.read_header(_paths(filepath)[0], None)

    def load_section_flags(
        self, filepath: PathLike | Sequence[PathLike], section_id: SectionId, header: AnyHeader
    ) -> NDArray[np.uint16] | None:
        """Read the mask beside a reduced image, in our flags; None where there is none."""
        mask = self.says.mask
        if mask is None or self.corrections_done(header) is None:
            return None
        path, hdu = self.find_section(filepath, section_id)
        beside = mask.beside(path)
        if beside is None:
            return None
        return mask.meaning(header).read(np.asarray(fits_file.read_image(beside, hdu)))


def define_camera(path: Path, *, tables_in: Sequence[Path] = ()) -> type[FileCamera]:
    """Make an instrument of a camera file, in the place of another file's of the same name.

    Raises
    ------
    BadCamera
        The file is wrong.
    DuplicateInstrument
        An instrument that is no file has that name.
    """
    says, fingerprint = read_camera_file(path)
    camera, header = says.camera, says.header
    body: dict[str, Any] = {prop: getattr(camera, prop) for prop in _SAME}
    body |= {
        "name": camera.name,
        "section_ids": tuple(section.id for section in says.sections),
        "filename_regex": tuple(says.files.filename_regex),
        "header_instruments": tuple(says.files.header_instruments),
        "translations": header.cards,
        "header_time": header.time,
        "default_filter": header.default_filter,
        "auxiliary_keys": tuple(header.keep),
        "says": says,
        "path": path,
        "fingerprint": fingerprint,
        "tables_in": tuple(tables_in),
        "__module__": __name__,
        "__doc__": f"{camera.name} on {camera.telescope}, as {path.name} describes it.",
    }
    INSTANCES.pop(camera.name, None)
    return type(camera.name, (FileCamera,), body)


def _revived(path: str, name: str, state: dict[str, Any]) -> FileCamera:
    """Make a camera again that came from another process."""
    known = registered.get(name)
    cls = (
        known if known is not None and issubclass(known, FileCamera) else define_camera(Path(path))
    )
    camera: FileCamera = cls.__new__(cls)
    camera.__setstate__(state)
    return camera


@lru_cache(maxsize=256)
def _named_images(path: Path, age: tuple[int, int], card: str) -> tuple[tuple[str, int], ...]:
    """Value of a card, in capitals, and number of each image; `age` tells a changed file."""
    del age
    with fits_file.FitsFile(path) as opened:
        told = [(hdu.cards(card).get(card), hdu.index) for hdu in opened.images]
    return tuple((str(value).strip().upper(), index) for value, index in told if value is not None)


def _paths(filepath: PathLike | Sequence[PathLike]) -> list[Path]:
    one = isinstance(filepath, str | os.PathLike)
    return [Path(filepath)] if one else [Path(each) for each in filepath]  # type: ignore[arg-type, union-attr] # told apart by `one`


def _agrees(header: Mapping[str, Any] | AnyHeader, wanted: Mapping[str, Sequence[str]]) -> bool:
    """Whether each card is there and begins with one of its values, in any case."""
    for keyword, values in wanted.items():
        found = str(blank_to_none(header.get(keyword)) or "").strip().lower()
        if not found or not any(found.startswith(value.lower()) for value in values):
            return False
    return True


def _area(entry: AmplifierEntry) -> AmplifierArea:
    return AmplifierArea(entry.name, entry.overscan, entry.data, entry.place, entry.read_from)


def _facts(entry: AmplifierEntry | None) -> dict[str, float]:
    told = {} if entry is None else {prop: getattr(entry, prop) for prop in OWN_CARDS}
    return {prop: value for prop, value in told.items() if value is not None}


def _within_full_well(own: dict[str, float], entry: AmplifierEntry | None) -> dict[str, float]:
    """Let a pixel be saturated where its well is full, if the converter does not end before."""
    if entry is None or entry.full_well is None or "gain" not in own:
        return own
    full = entry.full_well / own["gain"]
    return {**own, "saturation_limit": min(own.get("saturation_limit", full), full)}


def _spans(layout: Sequence[AmplifierEntry], shape: tuple[int, ...]) -> bool:
    """Whether a raw array reaches to the last row and column that a layout names."""
    ranges = [r for each in layout for r in (each.data, each.overscan) if r is not None]
    if not ranges:
        return False
    rows, columns = max(r[0].stop for r in ranges), max(r[1].stop for r in ranges)
    # Some pixels of prescan may lie behind the last range; an array without overscan is less.
    return bool(rows <= shape[0] <= 1.05 * rows and columns <= shape[1] <= 1.05 * columns)
