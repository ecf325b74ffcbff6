"""The MicroObservatory network of 6-inch robotic telescopes (Center for Astrophysics)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from firstlight.instruments.base import Instrument
from firstlight.instruments.header_reader import AnyHeader

__all__ = ["MicroObservatory"]


class MicroObservatory(Instrument):
    """A MicroObservatory telescope at Whipple Observatory, Arizona.

    Its headers need care: DATE-OBS is local time while UT-OBS is UTC, MJD-OBS is rounded to
    a minute and a half, LONGITUD counts west as positive, CAMTEMP is in Kelvin with -1 for
    "no data", and IM_SCALE says 5.21 where the sky says 5.16. The camera counts to 4095.
    """

    name = "MicroObservatory"
    telescope = "MicroObservatory"
    aperture = 0.15
    pixel_scale = 5.16
    size_x, size_y = 650, 500
    saturation_limit = 4095.0
    non_linearity_limit = 3600.0
    # The gain is not published; this is what the scatter of the stars of a night shows.
    gain = 20.0
    read_noise = 22.0
    latitude, longitude, elevation = 31.68, -110.88, 1268.0
    filename_regex = (r"^[A-Za-z0-9_.+-]*?\d{12,14}\.(?:FITS?|fits?)$",)
    translations = {  # noqa: RUF012, declared as a read-only Mapping in the base class
        "date_start": ("UT-OBS",),
        "temperature": ("CAMTEMP",),
        "target": ("OBJECT",),
    }
    auxiliary_keys = ("telalt", "telaz", "weather", "camfocus", "obsid")

    def matches_header(self, header: AnyHeader) -> float | None:
        """Know it by CREATOR, because INSTRUME only says which of two cameras was used."""
        creator = str(header.get("CREATOR", "")).strip()
        if not creator and self.find_card(header, "instrument") is None:
            return None
        return 1.0 if creator.startswith("MicroObservatory") else 0.0

    def _get_header_values_converters(self) -> dict[str, Callable[[Any], Any]]:
        """Kelvin to Celsius, and west to east."""
        return {
            **super()._get_header_values_converters(),
            "temperature": _from_kelvin,
            "longitude": lambda west: -abs(float(west)),
        }

    def get_kind(self, header: AnyHeader, *, subject: object = None) -> str:
        """Return ``dark`` behind the opaque filter; the header has no frame type."""
        if self.get_filter(header).lower() == "opaque":
            return "dark"
        target = self.find_card(header, "target")
        if target is not None and str(target.value).strip().lower() == "dark":
            return "dark"
        return super().get_kind(header, subject=subject)


def _from_kelvin(kelvin: Any) -> float | None:
    degrees = float(str(kelvin))
    return None if degrees < 0 else degrees - 273.15
