"""Where the sky falls on the detector: a tangent plane, its distortion, two sections.

The focal plane is measured in pixels from the optical axis, (u, v). A section is a shifted
window of it. The distortion is a polynomial from (u, v) to the ideal plane, the direction
in which SIP writes it, so the header cards of the truth are exact and not a fit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.sky.projection import Projection
from firstlight.simulation.settings import NightSettings

__all__ = ["SECTIONS", "Optics", "Pointing"]

Floats = NDArray[np.float64]

SECTIONS = ("A", "B")
TILT = -0.2  # radians; any direction but along an axis


@dataclass(frozen=True)
class Pointing:
    """Where the optical axis looks, and how the camera is turned.

    Attributes
    ----------
    ra, dec
        ICRS degrees.
    rotation
        Position angle of increasing rows, degrees from north through east.
    """

    ra: float
    dec: float
    rotation: float


@dataclass(frozen=True)
class Optics:
    """The fixed geometry of the camera.

    Attributes
    ----------
    rows, columns, gap
        Of a section, in pixels.
    scale
        Degrees per pixel at the axis.
    cubic
        Radial distortion, per square pixel.
    tilt
        The two terms of Brown's decentring, per pixel.
    """

    rows: int
    columns: int
    gap: int
    scale: float
    cubic: float
    tilt: tuple[float, float]

    @classmethod
    def from_settings(cls, settings: NightSettings) -> Optics:
        """The camera of these settings."""
        detector, sky = settings.detector, settings.sky
        corner = np.hypot(detector.columns + detector.gap / 2, detector.rows / 2)
        return cls(
            rows=detector.rows,
            columns=detector.columns,
            gap=detector.gap,
            scale=sky.pixel_scale / 3600,
            cubic=float(sky.distortion / corner**3),
            tilt=(
                float(sky.decentring * np.cos(TILT) / corner**2 / 3),
                float(sky.decentring * np.sin(TILT) / corner**2),
            ),
        )

    @property
    def corner(self) -> float:
        """Pixels from the axis to the corner of the focal plane."""
        return float(np.hypot(self.columns + self.gap / 2, self.rows / 2))

    def axis(self, section: str) -> tuple[float, float]:
        """The optical axis in the 0-based pixels (x, y) of `section`; it lies in the gap."""
        half_gap = self.gap / 2
        x = self.columns + half_gap - 0.5 if section == "A" else -half_gap - 0.5
        return x, (self.rows - 1) / 2

    def focal_plane(self, pointing: Pointing) -> Projection:
        """The projection whose pixels are (u, v), from the optical axis."""
        return self._projection((0.0, 0.0), pointing)

    def projection(self, section: str, pointing: Pointing) -> Projection:
        """The projection of the pixels of `section`."""
        return self._projection(self.axis(section), pointing)

    def _projection(self, axis: tuple[float, float], pointing: Pointing) -> Projection:
        t1, t2 = self.tilt
        a, b = np.zeros((4, 4)), np.zeros((4, 4))
        a[3, 0] = a[1, 2] = b[0, 3] = b[2, 1] = self.cubic
        a[2, 0], a[0, 2], a[1, 1] = 3 * t1, t1, 2 * t2
        b[0, 2], b[2, 0], b[1, 1] = 3 * t2, t2, 2 * t1
        angle = np.radians(pointing.rotation)
        c, s = np.cos(angle), np.sin(angle)
        cd = self.scale * np.array([[-c, s], [s, c]])
        return Projection((pointing.ra, pointing.dec), axis, cd, a, b)
