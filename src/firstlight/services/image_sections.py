"""The images within one file that may hold a target, as their camera and their headers tell."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from astropy.io.fits import Header

from firstlight.algorithms.pictures.colour_channels import CHANNELS
from firstlight.errors import BadFile, FirstlightError
from firstlight.formats.fits_file import FitsFile
from firstlight.formats.fits_layout import Hdu
from firstlight.instruments.base import Instrument
from firstlight.instruments.generic import GenericFITS
from firstlight.instruments.sections import UnknownSection
from firstlight.pipeline.header_projection import header_projection
from firstlight.pipeline.image_analysis_sections import FileSection, is_beside_the_image

__all__ = [
    "colour_sections",
    "file_sections",
    "named_section",
    "of_the_sky",
    "plane_shape",
    "with_primary",
]

_SMALLEST = 16  # pixels of a side; what is smaller is no image of the sky
_OF_ONE_IMAGE = re.compile(
    r"(CTYPE|CRVAL|CRPIX|CDELT|CROTA|CUNIT|LTV|DATASEC|BIASSEC|TRIMSEC|CCDSEC|DETSEC)\d?$"
    r"|(CD|PC|PV|LTM)\d+_\d+$|(A|B|AP|BP)_(\d+_\d+|ORDER|DMAX)$|WCSAXES$"
    r"|SIMPLE$|XTENSION$|BITPIX$|NAXIS\d*$|EXTEND$|PCOUNT$|GCOUNT$|BSCALE$|BZERO$|BLANK$"
)


def colour_sections(camera: Instrument, path: Path) -> bool:
    """Whether the sections of a file are the colours of one mosaic: all hold the same sky."""
    return {str(each) for each in camera.section_ids_of_file(path)} == set(CHANNELS)


def file_sections(camera: Instrument, path: Path) -> list[FileSection]:
    """The images of a file, in its order; one of no name where there is only one.

    Raises
    ------
    BadFile
        It is none.
    """
    ids = [str(each) for each in camera.section_ids_of_file(path)]
    if len(ids) == 1 or colour_sections(camera, path):
        return [FileSection(each, each if len(ids) > 1 else "", (0, 0)) for each in ids]
    with FitsFile(path) as opened:
        images, hdus = opened.images, opened.hdus
    found: list[tuple[str, Hdu]] = []
    if isinstance(camera, GenericFITS):
        found = list(zip(ids, images, strict=False))
    else:
        for each in ids:
            key = camera.find_section(path, each)[1]
            if isinstance(key, int):
                found.append((each, hdus[key]))
    names = [hdu.name for _, hdu in found]
    return [
        _section(camera, ident, hdu, alone=names.count(hdu.name) == 1, path=path)
        for ident, hdu in found
    ]


def _section(camera: Instrument, ident: str, hdu: Hdu, *, alone: bool, path: Path) -> FileSection:
    is_named = isinstance(camera, GenericFITS) and hdu.name and alone
    try:
        rows, columns = hdu.plane_shape(path)
    except BadFile:  # a cube, or nothing: told if it is chosen
        rows = columns = 0
    projection = header_projection(hdu.header, (rows, columns)) if rows else None
    return FileSection(
        id=ident,
        name=hdu.name if is_named else ident,
        shape=(rows, columns),
        projection=projection,
        offset=_offset(camera, ident),
    )


def _offset(camera: Instrument, ident: str) -> tuple[float, float] | None:
    try:
        told = [camera.get_property(ident, prop) for prop in ("offset_x", "offset_y")]
    except FirstlightError:
        return None
    return None if None in told else (float(told[0]), float(told[1]))


def of_the_sky(sections: list[FileSection]) -> list[FileSection]:
    """Those that may hold the target: no planes of errors or flags, nothing that is no image."""
    kept = [
        each for each in sections
        if min(each.shape) >= _SMALLEST and not is_beside_the_image(each.name)
    ]  # fmt: skip
    return kept or sections[:1]


def named_section(sections: list[FileSection], wanted: str, subject: str) -> FileSection:
    """The section that somebody calls by its name or number.

    Raises
    ------
    UnknownSection
        Names those that there are.
    """
    text = wanted.strip().upper()
    for told in ([each.name.upper() for each in sections], [each.id.upper() for each in sections]):
        if text in told:
            return sections[told.index(text)]
    known = ", ".join(
        each.name if each.name == each.id else f"{each.name} ({each.id})" for each in sections[:20]
    )
    raise UnknownSection(
        subject=subject,
        field="section",
        found=wanted[:64],
        expected=f"one of {known}" if len(sections) > 1 else "nothing: there is only one image",
    )


def with_primary(primary: Header, own: Header, *, among_others: bool) -> Header:
    """The cards of an image, and those of the primary header that it does not have itself.

    Parameters
    ----------
    among_others
        Whether the file has further images: where one of them points is not where all do.
    """
    header = own.copy()
    for card in primary.cards:
        known = card.keyword in header or card.keyword in ("", "COMMENT", "HISTORY")
        if not known and not (among_others and _OF_ONE_IMAGE.match(card.keyword)):
            header.append((card.keyword, card.value, card.comment))
    return header


def plane_shape(header: Any) -> tuple[int, int]:
    """Rows and columns, of tiles those of the unpacked image; 0 where they are not told."""
    sides = ("ZNAXIS2", "ZNAXIS1") if "ZNAXIS1" in header else ("NAXIS2", "NAXIS1")
    rows, columns = (int(header.get(side, 0) or 0) for side in sides)
    return rows, columns
