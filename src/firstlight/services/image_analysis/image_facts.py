"""What the header of an uploaded image tells, to fill in the form with. No pixels are read."""

from __future__ import annotations

import math
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from astropy.io.fits import Header
from astropy.time import Time

from firstlight.errors import BadFile, FirstlightError
from firstlight.formats.fits_file import read_header
from firstlight.formats.fits_layout import scan
from firstlight.formats.packed_stream import compression_of
from firstlight.instruments import get_instrument_instance, guess_instrument
from firstlight.instruments.base import Instrument
from firstlight.instruments.header_reader import HeaderReader
from firstlight.pipeline.header_projection import header_projection
from firstlight.services.image_sections import (
    colour_sections,
    file_sections,
    of_the_sky,
    with_primary,
)

__all__ = ["NotFits", "check_is_no_picture", "image_facts", "image_shape"]

_MOST_HDUS = 100  # of a file whose sections are listed
_PICTURES = {
    b"\xff\xd8\xff": "a JPEG picture",
    b"\x89PNG\r\n": "a PNG picture",
    b"GIF8": "a GIF picture",
    b"%PDF": "a PDF document",
    b"BM": "a BMP picture",
    b"<": "a page of text",
    b"{": "a file of text",
}


class NotFits(BadFile):
    """The file is no FITS image."""

    code = "image_upload.not_fits"


_NOTHING: dict[str, Any] = {
    "instrument": None,
    "filter": None,
    "obstime": None,
    "mjd": None,
    "exp_time": None,
    "gain": None,
    "gain_from": "unknown",
    "saturation": None,
    "saturation_from": "unknown",
    "shape": None,
    "sections": [],
    "has_wcs": False,
    "ra": None,
    "dec": None,
    "pixel_scale": None,
    "error": None,
}


def image_facts(path: Path, name: str) -> dict[str, Any]:
    """Read what the header of the first image of a file tells.

    Nothing behind that header is read or unpacked, so a hostile file costs little.

    Parameters
    ----------
    path
        Where the file lies.
    name
        As its sender calls it: the instrument may be told by it.

    Returns
    -------
    dict
        What is not told is None. `error` says why the header cannot be read; the analysis of
        such a file fails in its first step.
    """
    facts = dict(_NOTHING)
    try:
        check_is_no_picture(path, name)
        own = read_header(path, None)
        first = read_header(path, 0)
        header = own if first.get("NAXIS") else with_primary(first, own, among_others=False)
        camera = get_instrument_instance(guess_instrument(name, header))
        facts["instrument"] = camera.name
        with suppress(FirstlightError):  # what is behind the first image is the analysis's to tell
            facts["sections"] = _sections(camera, path)
        facts["shape"] = image_shape(header)
        facts |= _told(camera, header, name)
    except FirstlightError as fault:
        facts["error"] = fault.as_dict() | {"subject": name}
    return facts


def _sections(camera: Instrument, path: Path) -> list[str]:
    """Names of the images in a file, to choose from; of one alone, and of colours, none."""
    if compression_of(path):
        return []  # it would have to be unpacked as a whole
    with path.open("rb") as stream:
        hdus = list(islice(scan(stream, path, path.stat().st_size), _MOST_HDUS))
    images = sum(hdu.is_image for hdu in hdus)
    if images < 2 or len(hdus) == _MOST_HDUS or colour_sections(camera, path):
        return []
    return [each.name for each in of_the_sky(file_sections(camera, path))]


def check_is_no_picture(path: Path, name: str) -> None:
    """Refuse what is plainly something else, whatever its name says.

    Raises
    ------
    NotFits
        With what it is.
    """
    with path.open("rb") as stream:
        start = stream.read(16)
    kind = next((what for magic, what in _PICTURES.items() if start.startswith(magic)), None)
    if kind is not None:
        raise NotFits(
            subject=name,
            found=kind,
            expected="FITS: plain, .fz, .gz or .bz2",
            hint="upload the FITS file that it was made of; the light of a picture is not linear",
        )


def image_shape(header: Header) -> list[int] | None:
    """Rows and columns of an image, packed in tiles or not."""
    names = ("ZNAXIS2", "ZNAXIS1") if "ZNAXIS1" in header else ("NAXIS2", "NAXIS1")
    sides = [header.get(each) for each in names]
    return [int(each) for each in sides] if all(isinstance(s, int) for s in sides) else None


def _told(camera: Instrument, header: Header, name: str) -> dict[str, Any]:
    """What the camera reads in the header; a card that cannot be read is as one that is not."""
    facts: dict[str, Any] = {}
    for prop in ("exp_time", "ra", "dec"):
        try:
            facts[prop] = camera.extract_header_info(header, [prop], subject=name).get(prop)
        except FirstlightError:
            facts[prop] = None
    try:
        mjd = camera.get_mid_mjd(header, subject=name)
    except FirstlightError:
        mjd = None
    facts["mjd"] = mjd
    facts["obstime"] = None if mjd is None else Time(mjd, format="mjd", scale="utc").isot
    told = camera.get_filter(header)
    facts["filter"] = None if told in ("", HeaderReader.default_filter) else told
    gain = camera.look_up("gain", None, header)
    facts["gain_from"] = gain.source
    facts["gain"] = gain.value if gain.source not in ("assumed", "unknown") else None
    full = camera.look_up("saturation_limit", None, header)
    facts["saturation"], facts["saturation_from"] = full.value, full.source
    facts |= _pointing(header)
    return {key: None if _is_nan(value) else value for key, value in facts.items()}


def _pointing(header: Header) -> dict[str, Any]:
    """The middle of the image, by its WCS where it has one, else as the telescope was told."""
    shape = image_shape(header)
    projection = None if shape is None else header_projection(header, (shape[0], shape[1]))
    if projection is None or shape is None:
        return {"has_wcs": False, "pixel_scale": None}
    ra, dec = projection.pixel_to_sky((shape[1] - 1) / 2, (shape[0] - 1) / 2)
    place = (float(ra), float(dec))
    told = dict(zip(("ra", "dec"), place, strict=True)) if all(map(math.isfinite, place)) else {}
    return {"has_wcs": True, "pixel_scale": float(projection.pixel_scale), **told}


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
