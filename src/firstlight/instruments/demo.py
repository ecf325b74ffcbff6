"""DemoInstrument: the camera of the simulated nights, with two sections."""

from __future__ import annotations

from firstlight.instruments.base import Instrument
from firstlight.instruments.sections import SensorSection

__all__ = ["DemoInstrument"]

_GAINS = {"A": 1.5, "B": 1.7}
_OFFSETS = {"A": -532.0, "B": 532.0}


class DemoInstrument(Instrument):
    """Two CCDs side by side, each 1024 x 1024 pixels with 32 columns of overscan.

    The overall gain is 2.0, each section knows its own better, and the header of each section
    knows best.
    """

    name = "DemoInstrument"
    telescope = "DemoTelescope"
    section_ids = ("A", "B")
    aperture = 0.15
    pixel_scale = 5.0
    gain = 2.0
    read_noise = 6.0
    dark_current = 0.05
    saturation_limit = 60_000.0
    size_x, size_y = 1024, 1024
    filename_regex = (r"^[Dd]emo_?.*\.fits(?:\.fz|\.gz)?$",)

    def _make_new_section(self, identifier: str) -> SensorSection:
        """Know the gain and the place of each section."""
        return SensorSection(
            identifier=identifier,
            instrument=self.name,
            gain=_GAINS[identifier],
            offset_x=_OFFSETS[identifier],
            offset_y=0.0,
        )
