"""A simulated pair on disk: two images as a survey delivers them, and the truth about them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits

from firstlight.algorithms.sky.projection import Projection
from firstlight.errors import ConflictError
from firstlight.formats.tables import save_table
from firstlight.simulation.transient_pair import PairImage, PairSettings, TransientPair

__all__ = ["PairThere", "write_pair"]

NEW, REFERENCE, TRUTH = "new.fits", "reference.fits", "truth.parquet"
NIGHTS = ("2026-01-15T03:12:00", "2025-11-02T04:40:00")
_FULL = 0.98  # of what a pixel holds, from which it is called saturated


class PairThere(ConflictError):
    """The folder has a pair of images already."""

    code = "simulation.pair_there"


def write_pair(pair: TransientPair, folder: Path) -> tuple[Path, Path]:
    """Write ``new.fits``, ``reference.fits`` and ``truth.parquet``.

    The images are calibrated, in ADU, with their sky and the new one's cosmic rays. The WCS of
    the new image is as wrong as the settings say.

    Parameters
    ----------
    folder
        Is made where needed.

    Returns
    -------
    tuple of Path
        The new image and the reference.

    Raises
    ------
    PairThere
        One of the files is there.
    """
    paths = folder / NEW, folder / REFERENCE
    for path in (*paths, folder / TRUTH):
        if path.exists():
            raise PairThere(subject=str(path), hint="name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    settings = pair.settings
    _write(paths[0], pair.new, settings, pair.header, exposures=1)
    count = settings.reference_exposures
    _write(paths[1], pair.reference, settings, pair.reference.projection, exposures=count)
    told = pair.transients
    save_table(
        folder / TRUTH,
        {name: getattr(told, name) for name in ("ra", "dec", "x", "y", "flux", "snr", "host")},
        units={"ra": "deg", "dec": "deg", "x": "pix", "y": "pix", "flux": "electron"},
    )
    return paths


def _write(
    path: Path, image: PairImage, settings: PairSettings, told: Projection, *, exposures: int
) -> None:
    """Write an image that is the mean of some exposures: a count is so many more electrons."""
    header = fits.Header(told.to_header())
    header.update(
        {
            "GAIN": settings.gain * exposures,
            "RDNOISE": settings.read_noise * float(np.sqrt(exposures)),
            "SATURATE": _FULL * settings.saturation / settings.gain,
            "EXPTIME": 60.0 * exposures,
            "NCOMBINE": exposures,
            "FILTER": "r",
            "DATE-OBS": NIGHTS[exposures > 1],
        }
    )
    pixels = image.pixels / np.float32(settings.gain)
    fits.PrimaryHDU(pixels.astype(np.float32), header).writeto(path)
