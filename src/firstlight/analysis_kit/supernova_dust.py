"""Dust of the Milky Way in front of an object, from a local map."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import sncosmo

from firstlight.analysis_kit.failures import AnalysisFailed

__all__ = ["FOLDER_VARIABLE", "milky_way_reddening"]

FOLDER_VARIABLE = "SFD_DIR"
"""Environment variable: the folder with SFD_dust_4096_ngp.fits and SFD_dust_4096_sgp.fits."""

_RECALIBRATION = 0.86  # Schlafly & Finkbeiner (2011)


def milky_way_reddening(
    given: float | None, ra: float | None, dec: float | None, *, removed: bool = False
) -> tuple[float, str]:
    """E(B-V) towards a position, and where it is from.

    Parameters
    ----------
    given
        What the astronomer says, or None for the map of Schlegel, Finkbeiner & Davis (1998) in the
        folder of `FOLDER_VARIABLE` or of sncosmo's setting ``sfd98_dir``, times 0.86 after
        Schlafly & Finkbeiner (2011).
    ra, dec
        ICRS degrees.
    removed
        Whether the photometry is corrected for it already.

    Raises
    ------
    AnalysisFailed
        A folder is named, and its map cannot be read.
    """
    if removed:
        return 0.0, "the photometry is already corrected for it"
    if given is not None:
        return float(given), "given"
    folder = os.environ.get(FOLDER_VARIABLE) or sncosmo.conf.sfd98_dir
    if not folder:
        return 0.0, f"taken as zero: none was given, and no map is set by {FOLDER_VARIABLE}"
    if ra is None or dec is None:
        return 0.0, "taken as zero: none was given, and the object has no position"
    return _from_map(Path(folder), ra, dec), "SFD map x 0.86 (Schlafly & Finkbeiner 2011)"


def _from_map(folder: Path, ra: float, dec: float) -> float:
    """Bilinear between the four nearest pixels; the projection is that of SFD, appendix C."""
    from astropy.coordinates import SkyCoord  # noqa: PLC0415, only where there is a map
    from astropy.io import fits  # noqa: PLC0415, likewise

    place = SkyCoord(ra, dec, unit="deg").galactic
    north = 1.0 if place.b.deg >= 0 else -1.0
    file = folder / f"SFD_dust_4096_{'ngp' if north > 0 else 'sgp'}.fits"
    try:
        with fits.open(file, memmap=True) as hdus:
            header, image = hdus[0].header, hdus[0].section
            value = _bilinear(image, *_pixel(header, north, place.l.rad, place.b.rad))
    except (OSError, KeyError, IndexError, TypeError) as fault:
        raise AnalysisFailed(
            f"the dust map {file.name} cannot be read: {fault}",
            hint=f"give mw_ebv, or set {FOLDER_VARIABLE} to the folder that holds both maps",
        ) from fault
    return value * _RECALIBRATION


def _pixel(header: Any, north: float, lon: float, lat: float) -> tuple[float, float]:
    """0-based x and y: Lambert's zenithal equal-area projection about the pole."""
    radius = header["LAM_SCAL"] * np.sqrt(max(0.0, 1.0 - north * np.sin(lat)))
    x = radius * np.cos(lon) + header["CRPIX1"] - 1.0
    y = -north * radius * np.sin(lon) + header["CRPIX2"] - 1.0
    return float(x), float(y)


def _bilinear(image: Any, x: float, y: float) -> float:
    height, width = image.shape
    left = int(np.clip(np.floor(x), 0, width - 2))
    low = int(np.clip(np.floor(y), 0, height - 2))
    block = np.asarray(image[low : low + 2, left : left + 2], dtype=float)
    across, up = np.clip([x - left, y - low], 0.0, 1.0)
    rows = block[:, 0] * (1.0 - across) + block[:, 1] * across
    return float(rows[0] * (1.0 - up) + rows[1] * up)
