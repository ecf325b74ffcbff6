"""Exposure: one opening of the shutter, raw, as delivered."""

from __future__ import annotations

import hashlib
import math
import os
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

from astropy.io.fits import Header
from numpy.typing import NDArray
from sqlalchemy import JSON, CheckConstraint, Engine, ForeignKey, String, event, inspect
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import (
    Mapped,
    Session,
    mapped_column,
    object_session,
    reconstructor,
    validates,
)

from firstlight.algorithms.sky.sky_index import healpix_index
from firstlight.errors import ConflictError, InvalidInput
from firstlight.formats.fits_cards import is_blank
from firstlight.formats.fits_image import encode_sections, written_whole
from firstlight.instruments import Instrument, get_instrument_instance, guess_instrument
from firstlight.instruments.header_errors import BadHeader
from firstlight.instruments.header_reader import plain_header
from firstlight.instruments.header_values import MJD_EPOCH
from firstlight.instruments.sections import SectionId
from firstlight.models import sensor_section  # noqa: F401, maps SensorSection to its table
from firstlight.models.archived import Archived, archive_indexes
from firstlight.models.base import Base, OnSky, Timestamped
from firstlight.models.data_root import data_path, data_root, relative_name
from firstlight.models.night import evening_mjd, night_of
from firstlight.models.section_data import SectionData, SectionHeaders
from firstlight.storage.keys import safe_segment

__all__ = ["EXPOSURE_HEADER_KEYS", "KINDS", "Exposure", "exposure_id", "named_exposure_id"]

EXPOSURE_HEADER_KEYS = ("gain", "read_noise", "saturation_limit", "pixel_scale", "cfa_pattern")
"""Names kept in `Exposure.header` for every instrument; instruments add their own."""

KINDS = ("science", "bias", "dark", "flat", "other", "unknown")
"""``unknown`` until a header has come."""

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "exposures.firstlight")
# Nonsense in these makes the exposure unusable; in the others it is noted and left out.
_CRITICAL = ("mjd", "exp_time", "ra", "dec", "kind")
_REST = ("filter", "project", "target", "observer", "temperature", "binning", "telescope")
_NEEDED = ("filename", "instrument", "telescope", "kind", "mjd", "exp_time")
_NEEDED_ON_SKY = ("ra", "dec")
_JSON = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def exposure_id(sha256: str) -> uuid.UUID:
    """Return the id of the exposure with these bytes; the same file always has the same."""
    return uuid.uuid5(_NAMESPACE, sha256)


def named_exposure_id(collection: str, base_filename: str) -> uuid.UUID:
    """Return the id of the exposure whose files share a base filename."""
    return uuid.uuid5(_NAMESPACE, f"{collection}/{base_filename}")


class Exposure(Timestamped, OnSky, Archived, Base):
    """Reference to the raw data of one instrument at one time.

    Parameters
    ----------
    filename
        The file: relative to the data root, or absolute and below it. With
        `filename_extensions`, the beginning that these complete.
    nofile
        Make an exposure whose pixels are in memory; fill the columns, then `save`.
    columns
        Values of columns. They are taken instead of what the header says.

    Attributes
    ----------
    mjd
        UTC, middle of the exposure.
    exp_time
        Seconds.
    filter, filter_array
        A science exposure has exactly one of them.
    ra, dec
        Where the telescope pointed, by its own account; ICRS degrees.
    header
        A few global facts under our names, lower case. The whole header is `raw_header`.
    data
        Raw pixels by section: a lazy mapping, see `SectionData`.
    problems
        What the header lacks or garbles and the reduction can do without, as errors that are
        not raised. Known after the header was read.
    """

    __tablename__ = "exposures"
    __table_args__ = (
        CheckConstraint(
            "kind <> 'science' OR (filter IS NULL) <> (filter_array IS NULL)", "one_filter"
        ),
        *archive_indexes(),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    filename: Mapped[str | None] = mapped_column(String(900), unique=True)
    """None while no file with raw pixels has come."""
    filename_extensions: Mapped[list[str] | None] = mapped_column(_JSON)
    format: Mapped[str] = mapped_column(String(16), default="fits")
    size: Mapped[int | None]
    """Bytes, of all files together."""
    sha256: Mapped[str | None] = mapped_column(String(64), index=True)
    md5: Mapped[str | None] = mapped_column(String(32))
    instrument: Mapped[str] = mapped_column(String(64))
    telescope: Mapped[str | None] = mapped_column(String(128))
    site: Mapped[str | None] = mapped_column(String(128))
    kind: Mapped[str] = mapped_column(String(16), default="science")
    mjd: Mapped[float | None] = mapped_column(index=True)
    exp_time: Mapped[float | None]
    filter: Mapped[str | None] = mapped_column(String(64))
    filter_array: Mapped[list[str] | None] = mapped_column(_JSON)
    binning: Mapped[str] = mapped_column(String(16), default="1x1")
    temperature: Mapped[float | None]
    """Of the detector, degrees Celsius."""
    airmass: Mapped[float | None]
    latitude: Mapped[float | None]
    longitude: Mapped[float | None]
    """Degrees, positive to the east."""
    elevation: Mapped[float | None]
    project: Mapped[str | None] = mapped_column(String(128), index=True)
    target: Mapped[str | None] = mapped_column(String(256))
    observer: Mapped[str | None] = mapped_column(String(128))
    header: Mapped[dict[str, Any]] = mapped_column(default=dict)
    observation_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("observations.id"))

    def __init__(
        self,
        filename: str | os.PathLike[str] | None = None,
        *,
        nofile: bool = False,
        **columns: Any,
    ) -> None:
        if filename is None and not nofile:
            raise InvalidInput(field="filename", found=None, expected="a file name, or nofile=True")
        self._start()
        if filename is not None:
            name = os.fspath(filename)
            columns["filename"] = name if nofile else _stored_name(name, columns)
        super().__init__(**{"kind": "science", "binning": "1x1", "header": {}, **columns})
        self.format = self.format or "fits"
        if nofile:
            self.id = self.id or uuid.uuid4()
            return
        self._identify()
        self._fill(frozenset(columns))

    @reconstructor
    def _start(self) -> None:
        self._instrument: Instrument | None = None
        self._loaded_from: Engine | None = None
        self._data: SectionData | None = None
        self._headers: SectionHeaders | None = None
        self._raw_header: Header | None = None
        self.problems: list[BadHeader] = []

    def __repr__(self) -> str:
        return f"<Exposure {self.filename} {self.instrument} {self.kind} mjd={self.mjd}>"

    @validates("ra", "dec")
    def _check_position(self, name: str, value: float | None) -> float | None:
        """Keep right ascension in [0, 360), and the sky index in step."""
        if value is not None:
            value = float(value)
            if not math.isfinite(value) or (name == "dec" and abs(value) > 90):
                raise InvalidInput(
                    subject=self.filename, field=name, found=value, expected="degrees on the sky"
                )
            value = value % 360.0 if name == "ra" else value
        ra, dec = (value, self.dec) if name == "ra" else (self.ra, value)
        self.hpx = None if ra is None or dec is None else int(healpix_index(ra, dec))
        return value

    @validates("kind")
    def _check_kind(self, name: str, value: str) -> str:
        if value not in KINDS:
            raise InvalidInput(field=name, found=value, expected=f"one of {', '.join(KINDS)}")
        return value

    # --- files -----------------------------------------------------------------------------

    def get_fullpath(self, download: bool = True, as_list: bool = False) -> str | list[str]:
        """Return the local path of the file, or of the files.

        Parameters
        ----------
        download
            Whether a missing file may be fetched from the server.
        as_list
            Whether to return a list for a single file, too.

        Returns
        -------
        str or list of str
            A list where the exposure has `filename_extensions`, even a single one.

        Raises
        ------
        MissingData
            A `FileNotFoundError`, where a file is neither here nor on the server.
        """
        if not self.filename:
            raise InvalidInput("This exposure has no file yet.", hint="save() makes one")
        names = [self.filename + extension for extension in self.filename_extensions or [""]]
        paths = [str(data_path(name, download=download)) for name in names]
        return paths if as_list or self.filename_extensions is not None else paths[0]

    def _paths(self) -> list[str]:
        return list(self.get_fullpath(as_list=True))

    def _identify(self) -> None:
        """Set size, checksums and id from the bytes."""
        sha256, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
        for path in self._paths():
            with Path(path).open("rb") as stream:
                while piece := stream.read(1 << 20):
                    sha256.update(piece)
                    md5.update(piece)
                    size += len(piece)
        self.sha256, self.md5, self.size = sha256.hexdigest(), md5.hexdigest(), size
        self.id = self.id or exposure_id(self.sha256)

    def save(self, *, overwrite: bool = False) -> str:
        """Write the pixels and headers in memory to a file below the data root.

        Parameters
        ----------
        overwrite
            Whether a file of this name may be replaced. Raw data are not, by default.

        Returns
        -------
        str
            The full path. Where the exposure had no `filename`, it has that of
            `invent_filename` now.
        """
        missing = self.missing_attributes(for_file=True)
        if missing:
            raise InvalidInput(
                "The exposure cannot be saved yet.", field=", ".join(missing), found="no value"
            )
        sections = {str(section_id): self.data[section_id] for section_id in self.data}
        self.filename = self.filename or self.invent_filename()
        content = encode_sections(self._header_to_save(), sections)
        target = data_root() / relative_name(data_root() / self.filename)
        if target.exists() and not overwrite and target.read_bytes() != content:
            raise ConflictError("A file of this name exists.", subject=self.filename)
        with written_whole(target) as stream:
            stream.write(content)
        self.data.mark_saved()
        self.section_headers.mark_saved()
        self._identify()
        self.clear_cache()
        return str(target)

    def invent_filename(self) -> str:
        """Make a file name from the columns.

        Returns
        -------
        str
            ``INSTRUMENT_YYYYMMDDThhmmss.sss_KIND_FILTER_rRRR.RRRRpDD.DDDD.fits``: the start
            of the exposure (UTC), ``nofilter`` where there is none, and right ascension and
            declination in degrees with four decimals, the sign written as p or m. The
            position is left out where it is not known.
        """
        start = self.start_mjd
        if start is None:
            raise InvalidInput(field="mjd", found=None, expected="the time of the exposure")
        # Rounded before it is split, or 59.9996 s would be written as 60.000.
        when = MJD_EPOCH + timedelta(milliseconds=round(start * 86_400_000))
        stamp = f"{when:%Y%m%dT%H%M%S}.{when.microsecond // 1000:03d}"
        chosen = self.filter or "-".join(self.filter_array or []) or "nofilter"
        parts = [self.instrument, stamp, self.kind, chosen]
        if self.ra is not None and self.dec is not None:
            ra = round(self.ra, 4) % 360.0
            sign = "m" if round(self.dec, 4) < 0 else "p"
            parts.append(f"r{ra:08.4f}{sign}{abs(self.dec):07.4f}")
        return "_".join(safe_segment(part).replace("_", "-") for part in parts) + ".fits"

    def _header_to_save(self) -> dict[str, Any]:
        start = self.start_mjd
        assert start is not None  # noqa: S101, missing_attributes has seen to it
        when = MJD_EPOCH + timedelta(milliseconds=round(start * 86_400_000))
        own = {
            "INSTRUME": self.instrument,
            "TELESCOP": self.telescope,
            "DATE-OBS": when.strftime("%Y-%m-%dT%H:%M:%S.") + f"{when.microsecond // 1000:03d}",
            "MJD-AVG": self.mjd,
            "EXPTIME": self.exp_time,
            "IMAGETYP": self.kind,
            "FILTER": self.filter,
            "OBJECT": self.target,
            "PROPID": self.project,
            "OBSERVER": self.observer,
            "RA": self.ra,
            "DEC": self.dec,
            "AIRMASS": self.airmass,
            "CCD-TEMP": self.temperature,
            "XBINNING": int(self.binning.split("x")[0]),
            "YBINNING": int(self.binning.split("x")[-1]),
            "SITELAT": self.latitude,
            "SITELONG": self.longitude,
            "SITEELEV": self.elevation,
        }
        raw = {} if self._raw_header is None else dict(self._raw_header)
        rest = {name.upper(): value for name, value in self.header.items()}
        return {**raw, **rest, **{key: value for key, value in own.items() if value is not None}}

    # --- header ----------------------------------------------------------------------------

    @property
    def raw_header(self) -> Header:
        """The global header of the file, as the camera wrote it; read when first used."""
        if self._raw_header is None:
            header = Header()
            if self.filename:
                header = self.instrument_object.read_header(self._paths())
            self._raw_header = header
        return self._raw_header

    @raw_header.setter
    def raw_header(self, header: Header) -> None:
        self._raw_header = header

    def _fill(self, given: frozenset[str]) -> None:
        """Fill the columns that were not given from the header of the file."""
        if not self.instrument:
            fallback = get_instrument_instance("GenericFITS")
            self._raw_header = fallback.read_header(self._paths())
            self.instrument = guess_instrument(str(self.filename), plain_header(self._raw_header))
            if self.instrument != fallback.name:
                self._raw_header = None  # another camera may read its files in its own way
        self.describe(plain_header(self.raw_header), given)

    def describe(self, header: dict[str, Any], given: frozenset[str] = frozenset()) -> None:
        """Fill the columns from a global header, as the instrument reads it.

        Parameters
        ----------
        header
            Values by keyword.
        given
            Names of columns that keep the value they have.

        Raises
        ------
        BadHeader
            A card holds nonsense without which the exposure cannot be placed in time or sky.
        """
        camera, subject = self.instrument_object, self.filename or self.base_filename
        for name in _CRITICAL:
            if name not in given and name != "kind":
                found = camera.extract_header_info(header, [name], subject=subject)
                setattr(self, name, found.get(name))
        if "kind" not in given:
            self.kind = camera.get_kind(header, subject=subject)
        self.problems = [
            problem
            for problem in camera.check_header(header, subject=subject)
            if not self._is_given(problem, given)
        ]
        for name in _REST:
            if name not in given:
                setattr(self, name, self._tolerant(header, name) or getattr(self, name))
        self.telescope = self.telescope or camera.telescope
        self._fill_filter(given)
        self._fill_place(header, given)
        if "camera" not in given:
            self.camera = _as_text(self._tolerant(header, "instrument"))
        self.header = self._short_header(header) if "header" not in given else self.header

    def _is_given(self, problem: BadHeader, given: frozenset[str]) -> bool:
        """Whether the caller has said what a card lacks or garbles."""
        keywords = self.instrument_object._get_header_keyword_translations()  # noqa: SLF001, the seed names it so
        return any(problem.field in keywords.get(name, ()) for name in given) or (
            "mjd" in given and problem.field in keywords["date_start"]
        )

    def _tolerant(self, header: dict[str, Any], name: str) -> Any:
        """Return what the header says; None where it says nonsense, which `problems` tells."""
        try:
            found = self.instrument_object.extract_header_info(header, [name])
        except BadHeader:
            return None
        return found.get(name)

    def _fill_filter(self, given: frozenset[str]) -> None:
        if self.filter is not None or self.filter_array is not None or self.kind != "science":
            return
        if "filter" not in given:
            camera = self.instrument_object
            if camera.filter_array is not None:
                self.filter_array = list(camera.filter_array)
            else:
                self.filter = camera.default_filter

    def _fill_place(self, header: dict[str, Any], given: frozenset[str]) -> None:
        camera = self.instrument_object
        try:
            place = camera.get_site(header)._asdict()
            airmass = camera.get_airmass(header) if self.kind == "science" else None
        except BadHeader:
            place, airmass = {}, self._tolerant(header, "airmass")
        for name, value in {**place, "airmass": airmass}.items():
            if name not in given:
                setattr(self, name, value)

    def _short_header(self, header: dict[str, Any]) -> dict[str, Any]:
        camera = self.instrument_object
        names = [*EXPOSURE_HEADER_KEYS, *camera.get_auxiliary_exposure_header_keys()]
        found = {name: _as_json(self._tolerant(header, name)) for name in names}
        found["cfa_pattern"] = camera.get_cfa_pattern(header)
        return {name: value for name, value in found.items() if value is not None}

    def missing_attributes(self, *, for_file: bool = False) -> list[str]:
        """Return the names of columns that should have a value and have none."""
        needed = [*_NEEDED, *(_NEEDED_ON_SKY if self.kind == "science" else ())]
        missing = [name for name in needed if getattr(self, name) is None]
        if for_file and "filename" in missing:
            missing.remove("filename")
        if self.kind == "science" and (self.filter is None) == (self.filter_array is None):
            missing.append("filter" if self.filter is None else "filter_array")
        return missing

    @property
    def name(self) -> str:
        """What people call it: the name of its raw file, or what its files have in common."""
        return (self.filename or self.base_filename or str(self.id)).rsplit("/", 1)[-1]

    @property
    def content_id(self) -> uuid.UUID:
        """What products of this exposure are made of: the id of its raw bytes.

        An exposure in a named series may get a better raw file later; its products differ then.
        """
        return exposure_id(self.sha256) if self.sha256 else self.id

    @property
    def start_mjd(self) -> float | None:
        """MJD (UTC) at which the shutter opened."""
        return None if self.mjd is None else self.mjd - (self.exp_time or 0.0) / 172_800.0

    @property
    def mid_mjd(self) -> float | None:
        """MJD (UTC) of the middle of the exposure: the column `mjd`."""
        return self.mjd

    @property
    def end_mjd(self) -> float | None:
        """MJD (UTC) at which the shutter closed."""
        return None if self.mjd is None else self.mjd + (self.exp_time or 0.0) / 172_800.0

    # --- instrument ------------------------------------------------------------------------

    @property
    def instrument_object(self) -> Instrument:
        """The camera, with the properties that it had at the time of this exposure.

        Shared by all exposures between which nothing changed. For an exposure from a database
        `update_instrument` has been called; that is done when it is first needed here.
        """
        if self._instrument is None or self._instrument.name != self.instrument:
            if not self.instrument:
                raise InvalidInput(field="instrument", found=None, expected="a name")
            self._instrument = get_instrument_instance(self.instrument)
            self._update_from_database()
        return self._instrument

    def _update_from_database(self) -> None:
        session = object_session(self)
        if self._loaded_from is None:
            return
        if session is not None:
            self.update_instrument(session)
            return
        with Session(self._loaded_from) as short:
            self.update_instrument(short)

    def update_instrument(self, session: Session | None = None) -> None:
        """Give `instrument_object` the sections that were valid at this exposure's MJD."""
        camera = get_instrument_instance(self.instrument)
        self._instrument = camera.at(session, self.mjd)

    # --- pixels ----------------------------------------------------------------------------

    def _section_ids(self) -> list[SectionId]:
        camera = self.instrument_object
        return (
            camera.section_ids_of_file(self._paths()) if self.sha256 else camera.get_section_ids()
        )

    def _load_image(self, section_id: SectionId) -> NDArray[Any]:
        return self.instrument_object.load_section_image(self._paths(), section_id)

    def _load_header(self, section_id: SectionId) -> Header:
        return self.instrument_object.read_header(self._paths(), section_id)

    @property
    def data(self) -> SectionData:
        """Raw pixels by section id."""
        if self._data is None:
            self._data = SectionData(self._section_ids, self._load_image)
            self._data.on_clear = self._clear_headers
        return self._data

    @property
    def section_headers(self) -> SectionHeaders:
        """Raw headers by section id."""
        if self._headers is None:
            self._headers = SectionHeaders(self._section_ids, self._load_header)
        return self._headers

    def clear_cache(self) -> None:
        """Let go of all pixels and headers that can be read again."""
        self.data.clear_cache()

    def _clear_headers(self) -> None:
        self.section_headers.clear_cache()
        if self.sha256:  # otherwise there is no file to read it from again
            self._raw_header = None


def _stored_name(name: str, columns: dict[str, Any]) -> str:
    """Name below the data root; only with its extension is it that of a file."""
    end = (columns.get("filename_extensions") or [""])[0]
    return relative_name(name + end).removesuffix(end)


def _as_json(value: Any) -> Any:
    """Return what JSON can hold; None for no value and for what is not a number."""
    if is_blank(value) or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value if isinstance(value, bool | int | float | str) else str(value)


def _as_text(value: Any) -> str | None:
    return None if is_blank(value) else str(value).strip()


@event.listens_for(Exposure, "before_insert")
@event.listens_for(Exposure, "before_update")
def _derive(_mapper: object, _connection: object, exposure: Exposure) -> None:
    """Keep the columns that follow from others in step with them."""
    if exposure.base_filename is None and exposure.mjd is not None:
        exposure.night = night_of(exposure.mjd, exposure.longitude)
    start = exposure.start_mjd
    if start is None and exposure.night is not None:
        start = evening_mjd(exposure.night, exposure.longitude)
    exposure.sort_mjd = start or 0.0
    exposure.label = exposure.base_filename or exposure.name
    exposure.image_number = exposure.id.int >> 75  # 53 bits: exact in every client's numbers
    exposure.reduction_state = exposure.reduction_state or "none"


@event.listens_for(Exposure, "load")
def _remember_engine(exposure: Exposure, context: Any) -> None:
    """Remember where an exposure came from, so that its instrument can be updated."""
    bind = context.session.get_bind(inspect(Exposure))
    exposure._loaded_from = bind if isinstance(bind, Engine) else bind.engine  # noqa: SLF001, same module
