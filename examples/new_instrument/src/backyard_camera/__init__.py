"""Two cameras that firstlight does not come with."""

from __future__ import annotations

from typing import ClassVar

from firstlight.instruments import Instrument, SensorSection

__all__ = ["Backyard", "BackyardMosaic"]


class Backyard(Instrument):
    """One CMOS camera on an 11-inch telescope. Class attributes are all it needs."""

    telescope = "C11"
    gain = 0.27
    read_noise = 3.1
    pixel_scale = 0.55
    saturation_limit = 65_535.0
    size_x, size_y = 4144, 2822
    latitude, longitude, elevation = 46.95, 7.45, 560.0
    filename_regex = (r"^backyard_.*\.fits?$",)
    header_instruments = ("ZWO ASI294MM Pro",)


class BackyardMosaic(Instrument):
    """Four CCDs, known by letters, that differ; its header has ways of its own."""

    telescope = "Newton"
    section_ids = ("NE", "NW", "SE", "SW")
    gain = 1.6
    read_noise = 7.0
    pixel_scale = 1.2
    filename_regex = (r"^mosaic_\d{8}",)
    translations: ClassVar = {"exp_time": "SHUTTER", "seeing": "SEEING", "ra": "POINT_RA"}
    # The shutter counts milliseconds, and the mount writes hours.
    converters: ClassVar = {"exp_time": lambda ms: ms / 1000, "ra": lambda hours: hours * 15}
    auxiliary_keys = ("seeing",)

    def _make_new_section(self, identifier: str) -> SensorSection:
        """Say what differs between the CCDs; None elsewhere is the instrument's value."""
        return SensorSection(
            identifier=identifier,
            instrument=self.name,
            gain=1.8 if identifier == "SW" else None,
            offset_x=1050.0 if identifier.endswith("W") else -1050.0,
            offset_y=1050.0 if identifier.startswith("N") else -1050.0,
        )
