"""Photometry without the dust of the Milky Way, for runs that ask for `correct_extinction`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import ArrayLike, NDArray

from firstlight.algorithms.sky.galactic import galactic
from firstlight.errors import UserError
from firstlight.models.object import Object
from firstlight.services.analyses.analysis_inputs_table import InputTable
from firstlight.services.objects.bandpasses import Bandpasses

__all__ = ["NoDustMap", "extinction", "reddening_to_remove", "without_dust"]

Floats = NDArray[np.float64]

LAW = "O'Donnell (1994), R_V = 3.1"
_R_V = 3.1
_RECALIBRATION = 0.86  # Schlafly & Finkbeiner (2011)
_FILES = {1: "SFD_dust_4096_ngp.fits", -1: "SFD_dust_4096_sgp.fits"}
_TRUE = ("true", "t", "yes", "1")
# Powers of (1/wavelength in um - 1.82), the highest first: O'Donnell (1994), section 3.
_OPTICAL_A = (-0.505, 1.647, -0.827, -1.718, 1.137, 0.701, -0.609, 0.104, 1.0)
_OPTICAL_B = (3.347, -10.805, 5.491, 11.102, -7.985, -3.989, 2.908, 1.952, 0.0)


class NoDustMap(UserError):
    """The photometry cannot be corrected for dust, since there is no map of it here."""

    code = "analysis.no_dust_map"


def reddening_to_remove(
    parameters: Mapping[str, Any], thing: Object, folder: Path | None
) -> float | None:
    """E(B-V) that a run wants to have removed; None where it asks for nothing.

    It is that of the map of Schlegel, Finkbeiner & Davis (1998), times 0.86 after Schlafly &
    Finkbeiner (2011).

    Parameters
    ----------
    parameters
        Of the run; ``correct_extinction`` counts.
    folder
        With ``SFD_dust_4096_ngp.fits`` and ``SFD_dust_4096_sgp.fits``.

    Raises
    ------
    NoDustMap
        The run asks for it, and there is no map. To send what was not corrected would be wrong.
    """
    if str(parameters.get("correct_extinction", "")).strip().lower() not in _TRUE:
        return None
    if folder is None:
        raise NoDustMap(
            field="correct_extinction", hint="ask the operator to set analyses.dust_maps"
        )
    longitude, latitude = (np.radians(each[0]) for each in galactic([thing.ra], [thing.dec]))
    north = 1 if latitude >= 0 else -1
    try:
        with fits.open(folder / _FILES[north], memmap=True) as found:
            return _RECALIBRATION * _map_value(found[0], north, longitude, latitude)
    except OSError as fault:
        raise NoDustMap(
            field="correct_extinction", found=str(fault), hint="see analyses.dust_maps"
        ) from fault


def without_dust(
    table: InputTable, reddening: float, bandpasses: Bandpasses
) -> tuple[InputTable, dict[str, Any]]:
    """Photometry as it would be without dust, and what was done to it.

    Points in a filter whose place in the spectrum is not known stay as they are, and are told.
    """
    columns = {name: list(values) for name, values in table.columns.items()}
    bands = sorted({each for each in columns["filter"] if each})
    known = [band for band in bands if band in bandpasses]
    dimmed = extinction(reddening, [bandpasses[band].wavelength for band in known])
    by_band = dict(zip(known, dimmed.tolist(), strict=True))
    for index, band in enumerate(columns["filter"]):
        magnitudes = by_band.get(band, 0.0)
        for name in ("mag", "limiting_mag"):
            value = columns[name][index]
            columns[name][index] = None if value is None else value - magnitudes
        for name in ("flux", "fluxerr"):
            value = columns[name][index]
            columns[name][index] = None if value is None else value * 10 ** (0.4 * magnitudes)
    content = table.content + f"without E(B-V) {reddening:.6f}, {LAW}".encode()
    told = {
        "ebv": reddening,
        "law": LAW,
        "magnitudes": by_band,
        "not_corrected": [band for band in bands if band not in by_band],
    }
    return InputTable(table.ids, columns, content, table.more, table.units), told


def extinction(reddening: float, wavelengths: ArrayLike) -> Floats:
    """Magnitudes that dust takes away, shape ``(n,)``.

    Parameters
    ----------
    reddening
        E(B-V).
    wavelengths
        Ångström, shape ``(n,)``. Cardelli, Clayton & Mathis (1989) with O'Donnell's (1994)
        optical part, for 1250 Å to 3.3 µm; beyond, that of the nearer end.
    """
    x = np.clip(1e4 / np.asarray(wavelengths, dtype=np.float64), 0.3, 8.0)
    y = x - 1.82
    far = np.where(x > 5.9, x - 5.9, 0.0)
    infrared, optical = x < 1.1, x < 3.3
    a = np.select(
        [infrared, optical],
        [0.574 * x**1.61, np.polyval(_OPTICAL_A, y)],
        1.752
        - 0.316 * x
        - 0.104 / ((x - 4.67) ** 2 + 0.341)
        - 0.04473 * far**2
        - 0.009779 * far**3,
    )
    b = np.select(
        [infrared, optical],
        [-0.527 * x**1.61, np.polyval(_OPTICAL_B, y)],
        -3.090 + 1.825 * x + 1.206 / ((x - 4.62) ** 2 + 0.263) + 0.2130 * far**2 + 0.1207 * far**3,
    )
    return np.asarray(reddening * (_R_V * a + b))


def _map_value(image: Any, north: int, longitude: float, latitude: float) -> float:
    """Bilinear in the zenithal equal-area projection of SFD, appendix C; radians."""
    height, width = image.shape
    scale = width / 2.0
    radius = scale * np.sqrt(max(0.0, 1.0 - north * np.sin(latitude)))
    x = radius * np.cos(longitude) + scale - 0.5
    y = -north * radius * np.sin(longitude) + scale - 0.5
    left = int(np.clip(np.floor(x), 0, width - 2))
    low = int(np.clip(np.floor(y), 0, height - 2))
    part = np.asarray(image.section[low : low + 2, left : left + 2], dtype=np.float64)
    right, up = np.clip(x - left, 0.0, 1.0), np.clip(y - low, 0.0, 1.0)
    rows = part[:, 0] * (1.0 - right) + part[:, 1] * right
    return float(rows[0] * (1.0 - up) + rows[1] * up)
