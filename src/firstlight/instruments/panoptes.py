"""The cameras of PANOPTES: DSLRs in weather-proof boxes, two to a unit, all over the world."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from astropy.io.fits import Header

from firstlight.formats.fits_cards import is_blank
from firstlight.formats.panoptes_path import id_from_header, parse_path
from firstlight.instruments.base import PathLike
from firstlight.instruments.header_reader import AnyHeader
from firstlight.instruments.mosaic_camera import MosaicCamera

__all__ = ["PANOPTES"]

_UNIT = re.compile(r"^PAN\d{3}$")
_FROM_CR2 = ("CAMSN", "INTSN", "MEASRGGB", "CIRCCONF")


class PANOPTES(MosaicCamera):
    """A Canon DSLR with an 85 mm lens on a PANOPTES unit.

    The units turn the CR2 files of the camera upside down when they write FITS, so that the
    sky is not mirrored. FILTER says ``RGGB``, which is the order from the top of the sensor;
    from the first pixel of the array it is ``GBRG``.
    """

    name = "PANOPTES"
    telescope = "PANOPTES"
    aperture = 0.061
    focal_ratio = 1.4
    pixel_scale = 20.6
    gain = 1.5
    read_noise = 10.5
    bias_level = 2048.0
    # Pixels stop at 13583, a few earlier: the network takes 11530 above the bias.
    saturation_limit = 13_578.0
    cfa_pattern = "GBRG"
    filename_regex = (r"^PAN\d{3}_[0-9A-Za-z]{6}_\d{8}T\d{6}.*\.(?:fits?|fits\.fz|cr2|CR2)$",)
    translations = {  # noqa: RUF012, declared as a read-only Mapping in the base class
        "ra": ("RA-MNT",),
        "dec": ("DEC-MNT",),
        "target": ("FIELD",),
        "instrument": ("INSTRUME",),
        "telescope": ("OBSERVER",),
        "observer": ("OBSERVER",),
    }
    auxiliary_keys = (
        "seqid", "imageid", "ha-mnt", "moonsep", "moonfrac", "creator", "iso", "colortmp",
        "measev", "measrggb", "whtlvln", "whtlvls", "redbal", "bluebal", "intsn", "camsn",
    )  # fmt: skip

    def _read_mosaic_header(self, path: PathLike) -> Header:
        """Add what the file's path tells, which CR2 files of the units say nowhere else."""
        header = super()._read_mosaic_header(path)
        for keyword, value in self.cards_from_name(os.fspath(path)).items():
            if not _text(header, keyword):
                header[keyword] = (value, "from the path of the file")
        return header

    def cards_from_name(self, name: str) -> dict[str, Any]:
        """Return unit, camera, sequence and image from a path, and the field from a legacy one."""
        path = parse_path(name)
        if path is None:
            return {}
        told = {
            "INSTRUME": path.camera,
            "OBSERVER": path.unit,
            "SEQID": path.sequence_id,
            "IMAGEID": path.image_id,
            "FIELD": path.field,
        }
        return {keyword: value for keyword, value in told.items() if value is not None}

    def matches_header(self, header: AnyHeader) -> float | None:
        """Know it by the unit's id, the ids of sequence and image, or the software's name.

        Files without these are taken by the cards that only the units' converter writes.
        """
        told = {key: _text(header, key) for key in ("OBSERVER", "PANID", "CREATOR", "ORIGIN")}
        if any(id_from_header(header)) or _UNIT.match(told["OBSERVER"] or told["PANID"]):
            return 1.0
        if told["CREATOR"].startswith("POCS") or "PANOPTES" in told["ORIGIN"].upper():
            return 1.0
        if all(keyword in header for keyword in _FROM_CR2):
            return 0.8
        return 0.0 if _text(header, "INSTRUME") else None

    def get_cfa_pattern(self, header: AnyHeader) -> str | None:
        """Return the pattern from the first pixel of the array; see the class."""
        if _text(header, "BAYERPAT") or super().get_cfa_pattern(header) is None:
            return super().get_cfa_pattern(header)
        return self.cfa_pattern

    def get_sequence_id(self, header: AnyHeader, *, name: str | None = None) -> str | None:
        """Return the id of the observation from the file's path, else from the header."""
        path = None if name is None else parse_path(name)
        sequence = path.sequence if path is not None else id_from_header(header)[0]
        return None if sequence is None else str(sequence)


def _text(header: Mapping[str, Any], keyword: str) -> str:
    value = header.get(keyword)
    return "" if is_blank(value) else str(value).strip()
