"""Cameras whose raw file is one colour mosaic: the three colours are their sections."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from astropy.io.fits import Header
from numpy.typing import NDArray

from firstlight.algorithms.pictures.colour_channels import CHANNELS, channel_image, channel_origin
from firstlight.formats import fits_file
from firstlight.formats.raw_photo import is_raw_photo, read_raw_photo
from firstlight.instruments.base import Instrument, Known, PathLike
from firstlight.instruments.header_errors import BadHeader, MissingCard
from firstlight.instruments.header_reader import AnyHeader
from firstlight.instruments.sections import SectionId, SensorSection, section_key

__all__ = ["MosaicCamera"]

_PATTERN = re.compile(r"^(RGGB|BGGR|GRBG|GBRG)$")
# These describe the mosaic's own pixels and would mislead beside those of one colour.
_OF_THE_MOSAIC = re.compile(
    r"^(CTYPE|CRVAL|CRPIX|CDELT|CUNIT|CROTA)\d$|^(CD|PC)\d_\d$|^(A|B|AP|BP)_(\d_\d|ORDER|DMAX)$"
    r"|^(BAYERPAT|CFAPAT|COLORTYP|XBAYROFF|YBAYROFF|CHECKSUM|DATASUM|ZHECKSUM|ZDATASUM)$"
)


class MosaicCamera(Instrument, register=False):
    """A camera with a colour filter on each pixel; its sections are ``R``, ``G`` and ``B``.

    Each section is an image of half the mosaic's size. Pixel ``(i, j)`` of red and of blue is
    the pixel of that colour in block ``(i, j)`` of 2 x 2; that of green is the mean of the two
    greens, so it collects twice the electrons per ADU and lies in the middle of the block. The
    centres of the three are therefore half a mosaic pixel apart, which `mosaic_position` and
    the cards LTVi and LTMi_i of the section headers tell.

    All properties of the class and of the settings are those of single pixels of the mosaic,
    except `pixel_scale`, which is that of a section: two pixels of the mosaic.

    Attributes
    ----------
    cfa_pattern
        Of the mosaic as it is in the file, from its first pixel, where no card tells.
    """

    section_ids = CHANNELS
    filter_array = CHANNELS
    bleeds_along = "not"  # such detectors are CMOS

    def _make_new_section(self, identifier: str) -> SensorSection:
        """Know the filter and the place of each colour."""
        x, y = channel_origin(self.cfa_pattern or "RGGB", identifier)
        return SensorSection(
            identifier=identifier,
            instrument=self.name,
            filter_array_index=CHANNELS.index(identifier),
            offset_x=(x - 0.5) / 2,
            offset_y=(y - 0.5) / 2,
        )

    def _get_header_values_converters(self) -> dict[str, Callable[[Any], Any]]:
        """A pattern in the place of the filter is not the name of a filter."""
        return {**super()._get_header_values_converters(), "filter": _filter_or_none}

    def look_up(
        self, prop: str, section_id: SectionId | None = None, header: AnyHeader | None = None
    ) -> Known:
        """As every instrument; what is told of a single pixel is put into that of two greens."""
        known = super().look_up(prop, section_id, header)
        if section_id is None or section_key(section_id) != "G" or known.value is None:
            return known
        # What was stored for the section, or set for it, is meant for the mean already.
        factor = {"gain": 2.0, "read_noise": math.sqrt(2.0), "dark_current": 2.0}.get(prop)
        if factor is None or known.source == "section":
            return known
        return known._replace(value=float(known.value) * factor)

    def get_cfa_pattern(self, header: AnyHeader) -> str | None:
        """Return the pattern of a mosaic; None for the header of one of its colours."""
        return None if _is_of_one_colour(header) else super().get_cfa_pattern(header)

    def check_header(self, header: AnyHeader, *, subject: object = None) -> list[BadHeader]:
        """As every instrument; no filter is missed where the colours are the filters."""
        problems = super().check_header(header, subject=subject)
        filters = self._keywords("filter")
        return [
            problem
            for problem in problems
            if not (isinstance(problem, MissingCard) and problem.field in filters)
        ]

    def pattern_of(self, header: AnyHeader) -> str:
        """Return the pattern of a mosaic from its header, else the camera's own."""
        return self.get_cfa_pattern(header) or self.cfa_pattern or "RGGB"

    def mosaic_position(
        self, header: AnyHeader, section_id: SectionId, x: Any, y: Any
    ) -> tuple[Any, Any]:
        """Turn positions in a section into positions in the mosaic; both 0-based.

        Parameters
        ----------
        header
            Global header of the mosaic.
        x, y
            Numbers or arrays.
        """
        self.check_section_id(section_id)
        x0, y0 = channel_origin(self.pattern_of(header), section_key(section_id))
        return x0 + 2 * x, y0 + 2 * y

    def section_ids_of_file(self, filepath: PathLike | Sequence[PathLike]) -> list[SectionId]:
        """Three colours in every file."""
        del filepath
        return self.get_section_ids()

    def load_mosaic(self, filepath: PathLike | Sequence[PathLike]) -> NDArray[Any]:
        """Read the raw mosaic, ``(ny, nx)``, ADU, of a FITS file or a raw photograph."""
        path = _single(filepath)
        return read_raw_photo(path).mosaic if is_raw_photo(path) else fits_file.read_image(path)

    def load_section_image(
        self, filepath: PathLike | Sequence[PathLike], section_id: SectionId
    ) -> NDArray[Any]:
        """Read the pixels of one colour, ADU; see `algorithms.colour_channels.channel_image`."""
        self.check_section_id(section_id)
        header = self.read_header(filepath)
        return channel_image(
            self.load_mosaic(filepath),
            self.pattern_of(header),
            section_key(section_id),
            saturation=self.get_saturation_limit(header, section_id),
        )

    def read_header(
        self, filepath: PathLike | Sequence[PathLike], section_id: SectionId | None = None
    ) -> Header:
        """Read the mosaic's header, or what it becomes for one colour."""
        header = self._read_mosaic_header(_single(filepath))
        if section_id is None:
            return header
        self.check_section_id(section_id)
        return self._of_section(header, section_key(section_id))

    def _read_mosaic_header(self, path: PathLike) -> Header:
        return super().read_header(path)

    def _of_section(self, header: Header, channel: str) -> Header:
        x0, y0 = channel_origin(self.pattern_of(header), channel)
        made = Header([card for card in header.cards if not _OF_THE_MOSAIC.match(card.keyword)])
        made["FILTER"] = (channel, "colour of this section of the mosaic")
        # IRAF's convention, 1-based: section = LTM * mosaic + LTV.
        for axis, start in ((1, x0), (2, y0)):
            made[f"LTM{axis}_{axis}"] = (0.5, "pixels of this image per pixel of the mosaic")
            made[f"LTV{axis}"] = (0.5 - start / 2, "mosaic pixel 0 in this image")
        return made


def _single(filepath: PathLike | Sequence[PathLike]) -> PathLike:
    return filepath if isinstance(filepath, str | os.PathLike) else next(iter(filepath))


def _is_of_one_colour(header: Mapping[str, Any]) -> bool:
    return str(header.get("FILTER", "")).strip().upper() in CHANNELS


def _filter_or_none(value: Any) -> Any:
    return None if _PATTERN.match(str(value).strip().upper()) else value
