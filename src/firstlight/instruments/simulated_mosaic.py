"""The mosaic cameras of simulated surveys: CCDs of two amplifiers each, keywords as DECam's."""

from __future__ import annotations

from firstlight.instruments.base import Instrument

__all__ = ["SECTION_COUNTS", "SimulatedMosaic", "mosaic_name"]

SECTION_COUNTS = (1, 2, 4, 6, 8, 12, 16)
"""How many CCDs these cameras have."""


class SimulatedMosaic(Instrument):
    """One CCD, ``S1``; overscan, gain and noise of each amplifier are in the header.

    The numbers here are those of a typical amplifier. The cameras of more CCDs are
    ``SimulatedMosaic2``, ``SimulatedMosaic4``...
    """

    telescope = "SimulatedTelescope"
    section_ids = ("S1",)
    gain = 4.15
    read_noise = 6.5
    saturation_limit = 45_000.0


def mosaic_name(sections: int) -> str:
    """Name of the camera with so many CCDs."""
    return SimulatedMosaic.name if sections == 1 else f"{SimulatedMosaic.name}{sections}"


# One camera for each number of CCDs, since a camera knows its sections before it sees a file.
for _count in SECTION_COUNTS[1:]:
    type(
        mosaic_name(_count),
        (SimulatedMosaic,),
        {
            "__module__": __name__,
            "__doc__": f"A mosaic camera of {_count} CCDs.",
            "section_ids": tuple(f"S{number}" for number in range(1, _count + 1)),
        },
    )
