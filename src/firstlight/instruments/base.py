r"""Instrument: one camera on one telescope, and how to read what it writes.

A simple camera is a few class attributes::

    class Backyard(Instrument):
        name = "Backyard"
        telescope = "C11"
        gain = 0.27
        read_noise = 3.1
        pixel_scale = 0.55
        saturation_limit = 65535.0
        size_x, size_y = 4144, 2822
        filename_regex = (r"^backyard_.*\.fits?$",)

Everything else has a default that reads FITS; see ``docs/tutorials/add-an-instrument.md``.
"""

from __future__ import annotations

import copy
import inspect
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from astropy.io.fits import Header
from numpy.typing import NDArray
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from firstlight.errors import InvalidInput
from firstlight.formats import fits_file
from firstlight.formats.fits_cards import STRUCTURAL, is_blank
from firstlight.formats.raw_photo import is_raw_photo, read_raw_header
from firstlight.instruments.amplifiers import Amplifier, CrosstalkTerm, amplifiers_from_header
from firstlight.instruments.header_reader import AnyHeader, HeaderReader
from firstlight.instruments.header_values import DateLike, largest_stored_value, to_datetime
from firstlight.instruments.registration import register_instrument
from firstlight.instruments.sections import (
    PROPERTIES,
    SectionHistory,
    SectionId,
    SectionMap,
    SensorSection,
    UnknownSection,
    section_key,
)
from firstlight.instruments.stored_sections import Histories

__all__ = ["Instrument", "Known"]

PathLike = str | os.PathLike[str]
_NEVER = float("-inf")


class Known(NamedTuple):
    """A property and who told it.

    `source` is ``settings``, ``header``, ``section``, ``instrument``, ``assumed`` or
    ``unknown``; `keyword` names the card where it is the header.
    """

    value: Any
    source: str
    keyword: str | None = None


class Instrument(HeaderReader):
    """A camera on a telescope.

    A subclass is registered by being defined, under `name` (its class name by default). It
    sets class attributes, or sets them in ``__init__`` and then calls ``super().__init__()``.

    Attributes
    ----------
    name, telescope
        As they are stored with each exposure.
    section_ids
        Integers or strings. One section, 0, by default.
    pixel_scale
        Arcseconds per unbinned pixel.
    gain, read_noise, dark_current
        Electrons per ADU; electrons; electrons per second and pixel.
    saturation_limit, non_linearity_limit
        ADU of the raw file.
    bias_level
        ADU of a pixel without light, for cameras that have no overscan; None where not known.
    size_x, size_y
        Pixels of a section, without overscan.
    filter_array
        Names of the filters of an array that covers the field, or None.
    filename_regex
        Patterns searched in the last part of a file's name.
    header_instruments
        Values of INSTRUME that mean this camera; its name by default.
    orientation_fixed
        Whether the camera never rotates on its telescope.
    bleeds_along
        ``columns`` or ``rows`` along which charge runs from saturated pixels, or ``not``.
    fringes_in
        Filters in which the lines of the night sky interfere in the detector.
    sections_max_age
        Seconds for which sections stored by other processes may go unnoticed.
    """

    telescope: str = "unknown"
    section_ids: Sequence[SectionId] = (0,)
    pixel_scale: float | None = None
    aperture: float | None = None
    focal_ratio: float | None = None
    gain: float | None = None
    read_noise: float | None = None
    dark_current: float | None = None
    saturation_limit: float | None = None
    non_linearity_limit: float | None = None
    bias_level: float | None = None
    size_x: int | None = None
    size_y: int | None = None
    offset_x: float | None = None
    offset_y: float | None = None
    filter_array_index: int | None = None
    defective: bool = False
    filter_array: Sequence[str] | None = None
    filename_regex: str | Sequence[str] = ()
    header_instruments: Sequence[str] = ()
    orientation_fixed: bool = False
    bleeds_along: str = "columns"
    fringes_in: Sequence[str] = ()
    sections_max_age: ClassVar[float] = 60.0

    def __init_subclass__(cls, *, register: bool = True, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = cls.__name__
        if register and not inspect.isabstract(cls):
            register_instrument(cls)

    def __init__(self, **properties: Any) -> None:
        for name, value in properties.items():
            if name.startswith("_") or not hasattr(type(self), name):
                raise InvalidInput(subject=self.name, field=name, expected="a property")
            setattr(self, name, value)
        self.settings: dict[str, Any] = {}
        self._sections: SectionMap | None = None
        self._histories = Histories()

    def __repr__(self) -> str:
        return f"<{self.name} on {self.telescope}, {len(self.get_section_ids())} sections>"

    def __getstate__(self) -> dict[str, Any]:
        # What was read from a database stays in this process; a worker reads it anew.
        return {key: value for key, value in self.__dict__.items() if key != "_histories"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _histories=Histories())

    # --- which files -----------------------------------------------------------------------

    def get_filename_regex(self) -> list[str]:
        """Return patterns; a file whose name has one of them is probably from this camera."""
        own = self.filename_regex
        return [own] if isinstance(own, str) else list(own)

    def matches_header(self, header: AnyHeader) -> float | None:
        """Tell how well a global header agrees with this camera.

        The default compares INSTRUME with `header_instruments`, and TELESCOP, which tells two
        telescopes with the same camera apart.

        Returns
        -------
        float or None
            From 0, another camera for sure, to 1, this one for sure. None where the header
            does not say; then the name of the file decides.
        """
        camera = self.find_card(header, "instrument")
        if camera is None:
            return None
        known = {name.strip().lower() for name in self.header_instruments or (self.name,)}
        if str(camera.value).strip().lower() not in known:
            return 0.0
        telescope = self.find_card(header, "telescope")
        if telescope is None or self.telescope == "unknown":
            return 0.8
        same = str(telescope.value).strip().lower() == self.telescope.lower()
        return 1.0 if same else 0.4

    # --- sections --------------------------------------------------------------------------

    def get_section_ids(self) -> list[SectionId]:
        """Return the ids of all sections, in the order of the files."""
        return list(self.section_ids)

    def section_ids_of_file(self, filepath: PathLike | Sequence[PathLike]) -> list[SectionId]:
        """Return the ids of the sections that a file holds; all of them by default."""
        del filepath
        return self.get_section_ids()

    def check_section_id(self, section_id: SectionId) -> None:
        """Raise `UnknownSection` unless the id is one of the instrument's."""
        known = [section_key(each) for each in self.get_section_ids()]
        if section_key(section_id) not in known:
            raise UnknownSection(
                subject=self.name, found=section_id, expected=f"one of {', '.join(known)}"
            )

    def _make_new_section(self, identifier: str) -> SensorSection:
        """Make a section with hard-coded properties; None where they are the instrument's."""
        return SensorSection(identifier=identifier, instrument=self.name)

    @property
    def sections(self) -> SectionMap:
        """The sections of the date that was last fetched; the hard-coded ones before that."""
        if self._sections is None:
            self._sections = self._with_stored({})
        return self._sections

    def get_section(self, section_id: SectionId) -> SensorSection:
        """Return one section."""
        self.check_section_id(section_id)
        if section_id not in self.sections:
            self.sections[section_id] = self._make_new_section(section_key(section_id))
        return self.sections[section_id]

    def _with_stored(self, stored: Mapping[str, SensorSection]) -> SectionMap:
        keys = [section_key(each) for each in self.get_section_ids()]
        return SectionMap(
            {
                key: stored[key].copy() if key in stored else self._make_new_section(key)
                for key in keys
            }
        )

    def fetch_sections(
        self, session: Session | None = None, dateobs: DateLike = None
    ) -> SectionMap:
        """Load the sections that are valid at a date into `sections`.

        Parameters
        ----------
        session
            Where stored sections are searched; without it only the hard-coded ones are known.
        dateobs
            datetime (UTC where it has no zone), astropy Time, MJD, text
            ``YYYY-MM-DDThh:mm:ss.sss``, or None for now.

        Returns
        -------
        SectionMap
            One section for each id: the stored one of that date, else the hard-coded one.
            They may be edited and then given to `commit_sections`.
        """
        when = _checked_date(dateobs)
        stored = {} if session is None else self._history(session).valid_at(when)
        self._sections = self._with_stored(stored)
        return self._sections

    def at(self, session: Session | None, dateobs: DateLike) -> Instrument:
        """Return this instrument as it was at a date.

        All exposures of one interval in which nothing changes share one instance. Without
        stored sections that is the shared instance itself.
        """
        if session is None:
            return self
        with self._histories.lock:
            history = self._history(session)
            if not history.rows:
                return self
            when = _checked_date(dateobs)
            number = history.interval(when)
            instances: dict[int, Instrument] = self._histories.instances.setdefault(
                _engine(session), {}
            )
            if number not in instances:
                sibling = copy.copy(self)
                sibling._histories = self._histories  # noqa: SLF001, it is a copy of self
                sibling.settings = self.settings
                sibling._sections = self._with_stored(history.valid_at(when))  # noqa: SLF001, likewise
                instances[number] = sibling
            return instances[number]

    def _history(self, session: Session) -> SectionHistory:
        engine = _engine(session)
        with self._histories.lock:
            loaded_at, history = self._histories.loaded.get(engine, (_NEVER, SectionHistory([])))
            if time.monotonic() - loaded_at >= self.sections_max_age:
                query = select(SensorSection).filter_by(instrument=self.name)
                with session.no_autoflush:
                    rows = [row.copy() for row in session.scalars(query)]
                fresh = SectionHistory(rows)
                if not fresh.same_as(history):
                    self._histories.forget(engine)
                    history = fresh
                self._histories.loaded[engine] = (time.monotonic(), history)
            return history

    def forget_sections(self, session: Session) -> None:
        """Read the stored sections anew at the next use."""
        self._histories.forget(_engine(session))

    def commit_sections(
        self,
        session: Session,
        validity_start: DateLike = None,
        validity_end: DateLike = None,
    ) -> list[SensorSection]:
        """Store the present `sections`, and commit the session.

        Parameters
        ----------
        session
            Any session.
        validity_start, validity_end
            For the sections that have neither of the two yet: start included, end excluded,
            None without limit.

        Returns
        -------
        list
            The sections that were stored. One that says the same as the newest stored row of
            its identifier is left out, so committing twice changes nothing. Where ranges
            overlap, what was stored last counts.
        """
        start, end = (
            None if date is None else _checked_date(date) for date in (validity_start, validity_end)
        )
        for section in self.sections.values():
            if section.validity_start is None and section.validity_end is None:
                section.validity_start, section.validity_end = start, end
            section.check_validity()
        engine = _engine(session)
        self._histories.forget(engine)
        history = self._history(session)
        revision = history.next_revision()
        stored = []
        for section in self.sections.values():
            newest = history.newest(section.identifier)
            if newest is None or not newest.says_the_same(section):
                row = section.copy()
                row.id, row.revision = uuid.uuid4(), revision
                stored.append(row)
        session.add_all(stored)
        try:
            session.commit()
        finally:
            self._histories.forget(engine)
        return stored

    # --- properties ------------------------------------------------------------------------

    def get_property(self, section_id: SectionId | None, prop: str) -> Any:
        """Return a property of a section, or that of the instrument where it has none.

        Parameters
        ----------
        section_id
            None for the instrument's own value.
        prop
            Name of an attribute of `Instrument` or `SensorSection`.
        """
        return self.look_up(prop, section_id).value

    def look_up(
        self, prop: str, section_id: SectionId | None = None, header: AnyHeader | None = None
    ) -> Known:
        """Return a property and who told it.

        Asked in this order: the settings, the header, the section, the instrument, and
        `assume` where nobody knows.
        """
        if prop not in PROPERTIES and (prop.startswith("_") or not hasattr(type(self), prop)):
            raise InvalidInput(subject=self.name, field=prop, expected="a property")
        if self.settings.get(prop) is not None:
            return Known(self.settings[prop], "settings")
        if header is not None:
            told = self.extract_header_info(header, [prop]).get(prop)
            if told is not None and self.trusts(prop, told):
                card = self.find_card(header, prop)
                return Known(told, "header", card.keyword if card else None)
        if section_id is not None and prop in PROPERTIES:
            value = getattr(self.get_section(section_id), prop)
            if value is not None:
                return Known(value, "section")
        value = getattr(self, prop, None)
        return Known(value, "instrument") if value is not None else self.assume(prop, header)

    def trusts(self, prop: str, value: Any) -> bool:
        """Whether what a header says of a property can be believed; yes by default."""
        del prop, value
        return True

    def assume(self, prop: str, header: AnyHeader | None) -> Known:
        """Return what to take for a property that nobody knows.

        Without a header nothing is assumed. With one, the reduction needs numbers: gain 1
        (then "electrons" are ADU), read noise 0, and for the saturation limit the largest
        number that the pixels of the file can hold.
        """
        if header is not None:
            if prop in ("gain", "read_noise"):
                return Known(1.0 if prop == "gain" else 0.0, "assumed")
            if prop == "saturation_limit" and (limit := largest_stored_value(header)) is not None:
                return Known(limit, "assumed")
        return Known(None, "unknown")

    def get_gain(self, header: AnyHeader | None, section_id: SectionId) -> float:
        """Return electrons per ADU; see `look_up` for who told it."""
        return float(self.look_up("gain", section_id, {} if header is None else header).value)

    def get_read_noise(self, header: AnyHeader | None, section_id: SectionId) -> float:
        """Return the read noise in electrons; see `look_up` for who told it."""
        known = self.look_up("read_noise", section_id, {} if header is None else header)
        return float(known.value)

    def get_gain_at_pixel(
        self, header: AnyHeader | None, section_id: SectionId, x: float, y: float
    ) -> float:
        """Return the gain at a pixel of the section: that of the amplifier that reads it."""
        for amplifier in [] if header is None else self.get_amplifiers(header, section_id):
            place = amplifier.area.trim or amplifier.area.data
            if place is not None and _holds(place, x, y) and "gain" in amplifier.own:
                return amplifier.own["gain"]
        return self.get_gain(header, section_id)

    def get_amplifiers(
        self,
        header: AnyHeader,
        section_id: SectionId | None,
        shape: tuple[int, ...] | None = None,
    ) -> list[Amplifier]:
        """Return the amplifiers of a section, as its header tells them.

        Parameters
        ----------
        shape
            Of the raw array, by which a camera tells whether its own layout applies.
        """
        del shape
        return amplifiers_from_header(self, header, section_id)

    def get_crosstalk(self, section_id: SectionId) -> list[CrosstalkTerm]:
        """Return what other amplifiers leave in those of a section; nothing by default."""
        del section_id
        return []

    def names_table(self, kind: str) -> str | None:
        """Return the file in which the camera's ``crosstalk`` or ``linearity`` should be."""
        del kind
        return None

    def corrections_done(self, header: AnyHeader) -> Sequence[str] | None:
        """Return what was done to a file before it came; None, as by default, for raw files."""
        del header
        return None

    def load_section_flags(
        self, filepath: PathLike | Sequence[PathLike], section_id: SectionId, header: AnyHeader
    ) -> NDArray[np.uint16] | None:
        """Read the mask that came with an image, in our flags; None where there is none."""
        del filepath, section_id, header
        return None

    def get_saturation_limit(self, header: AnyHeader | None, section_id: SectionId) -> float | None:
        """Return the ADU from which a pixel is saturated; see `look_up` for who told it."""
        return _number(self.look_up("saturation_limit", section_id, header).value)

    def get_pixel_scale(self, header: AnyHeader | None, section_id: SectionId) -> float | None:
        """Return arcseconds per binned pixel.

        The instrument counts more than the header here, which is often the design value.
        """
        known = self.look_up("pixel_scale", section_id)
        if known.value is None:
            return _number(self.look_up("pixel_scale", section_id, header).value)
        binning = "1x1" if header is None else self.extract_header_info(header, ["binning"])
        across = binning.get("binning", "1x1") if isinstance(binning, dict) else binning
        return float(known.value) * int(str(across or "1x1").split("x")[0])

    def get_section_offsets(self, section_id: SectionId) -> tuple[float, float]:
        """Return ``(offset_x, offset_y)``: pixels from the field's to the section's centre."""
        x, y = (self.get_property(section_id, prop) for prop in ("offset_x", "offset_y"))
        return float(x or 0.0), float(y or 0.0)

    def get_section_filter_array_index(self, section_id: SectionId) -> int:
        """Return the place in the filter array of the filter over a section."""
        return int(self.get_property(section_id, "filter_array_index") or 0)

    # --- files -----------------------------------------------------------------------------

    def find_section(
        self, filepath: PathLike | Sequence[PathLike], section_id: SectionId
    ) -> tuple[Path, int | str | None]:
        """Return the file of a section and the HDU in it (`fits_file.HduKey`).

        With one file a section, files are in the order of the sections. Within a file of
        several images a section is the one whose EXTNAME is its id, else the one at its place.
        """
        self.check_section_id(section_id)
        if not isinstance(filepath, str | os.PathLike):
            paths = [Path(each) for each in filepath]
            place = self._place(section_id, paths)
            if 1 < len(paths) == len(self.section_ids_of_file(paths)) and place < len(paths):
                return paths[place], None
            filepath = paths[0]
        path = Path(filepath)
        if len(self.section_ids_of_file(path)) == 1 and self._place(section_id, path) == 0:
            return path, None
        with fits_file.FitsFile(path) as opened:
            images = opened.images
            names = [hdu.name for hdu in images]
        wanted = section_key(section_id).upper()
        if wanted in names:
            return path, images[names.index(wanted)].index
        place = self._place(section_id, path)
        # A file with too few images is told by the reader, which knows what is in it.
        return path, images[place].index if place < len(images) else wanted

    def _place(self, section_id: SectionId, filepath: PathLike | Sequence[PathLike]) -> int:
        """Number of a section within a file; behind the last where it is not in there."""
        ids = [section_key(each) for each in self.section_ids_of_file(filepath)]
        key = section_key(section_id)
        return ids.index(key) if key in ids else len(ids)

    def load_section_image(
        self, filepath: PathLike | Sequence[PathLike], section_id: SectionId
    ) -> NDArray[Any]:
        """Read the raw pixels of one section.

        Returns
        -------
        array
            Shape ``(ny, nx)`` with overscan, in ADU as the file has them; see
            `fits_file.FitsFile.image` for the types.
        """
        path, hdu = self.find_section(filepath, section_id)
        return fits_file.read_image(path, hdu)

    def load(
        self,
        filepath: PathLike | Sequence[PathLike],
        section_ids: Sequence[SectionId] | None = None,
    ) -> list[NDArray[Any]]:
        """Read several sections, all by default, in the order asked for."""
        ids = self.section_ids_of_file(filepath) if section_ids is None else section_ids
        return [self.load_section_image(filepath, section_id) for section_id in ids]

    def read_header(
        self, filepath: PathLike | Sequence[PathLike], section_id: SectionId | None = None
    ) -> Header:
        """Read the global header, or that of one section, as the camera wrote it.

        The global header is that of the first HDU of the first file. Where that HDU is empty
        and has no cards of its own, as in packed files, it is that of the file's only image.
        A raw photograph has its Exif data as header.
        """
        if section_id is not None:
            path, hdu = self.find_section(filepath, section_id)
            return fits_file.read_header(path, hdu)
        first = filepath if isinstance(filepath, str | os.PathLike) else next(iter(filepath))
        if is_raw_photo(first):
            return read_raw_header(first)
        header = fits_file.read_header(first, 0)
        if header.get("NAXIS") or any(_says_something(card.keyword) for card in header.cards):
            return header
        with fits_file.FitsFile(first) as opened:
            images = opened.images
        return images[0].header if len(images) == 1 else header


def _engine(session: Session) -> Engine:
    bind = session.get_bind()
    return bind if isinstance(bind, Engine) else bind.engine


def _holds(place: tuple[slice, slice], x: float, y: float) -> bool:
    rows, columns = place
    return bool(rows.start <= y < rows.stop and columns.start <= x < columns.stop)


def _says_something(keyword: str) -> bool:
    return keyword not in ("", "COMMENT", "HISTORY") and not STRUCTURAL.match(keyword)


def _checked_date(date: DateLike) -> datetime:
    try:
        return to_datetime(date)
    except (ValueError, OverflowError) as problem:
        raise InvalidInput(
            field="date", found=repr(date), expected=f"a date ({problem})"
        ) from problem


def _number(value: Any) -> float | None:
    return None if is_blank(value) else float(value)
