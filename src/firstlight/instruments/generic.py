"""GenericFITS: any FITS camera that nobody has described yet."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from firstlight.formats.fits_file import FitsFile
from firstlight.instruments.base import Instrument, PathLike
from firstlight.instruments.header_reader import AnyHeader
from firstlight.instruments.sections import SectionId, UnknownSection, section_key

__all__ = ["GenericFITS"]

# Above this GAIN is the setting of a CMOS camera (0.1 dB steps), not electrons per ADU.
_LARGEST_GAIN = 20.0


class GenericFITS(Instrument):
    """Reads the usual keywords, and says what it assumes where they are missing.

    A file of several images has the sections 0, 1, 2, ... in file order. What is assumed where
    the header is silent is said by `Instrument.assume`. Describe the camera in
    the settings, or by a class, for better errors.
    """

    name = "GenericFITS"

    def matches_header(self, header: AnyHeader) -> float | None:
        """Never claim a file: it is what remains. Cameras based on it compare as all do."""
        return 0.0 if type(self) is GenericFITS else super().matches_header(header)

    def check_section_id(self, section_id: SectionId) -> None:
        """Take any whole number from 0; the file decides how many there are."""
        if not section_key(section_id).isdecimal():
            raise UnknownSection(
                subject=self.name, found=section_id, expected="a whole number from 0"
            )

    def section_ids_of_file(self, filepath: PathLike | Sequence[PathLike]) -> list[SectionId]:
        """Count the images of the file, or one for each of several files."""
        if not isinstance(filepath, str | os.PathLike):
            files = list(filepath)
            if len(files) > 1:
                return list(range(len(files)))
            filepath = files[0]
        with FitsFile(filepath) as opened:
            return list(range(len(opened.images) or 1))

    def trusts(self, prop: str, value: Any) -> bool:
        """Do not take the gain setting of a CMOS camera for electrons per ADU."""
        return prop != "gain" or float(value) <= _LARGEST_GAIN
