"""Solving one file, without a workspace: where it points."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.background import estimate_background
from firstlight.algorithms.plate.plate_solve import (
    NotSolved,
    Prior,
    Stars,
    plate_solve,
    solve_blindly,
)
from firstlight.algorithms.plate.quads import QuadTable
from firstlight.algorithms.sources.detect import find_sources
from firstlight.catalogs.base import ReferenceCatalog
from firstlight.formats.fits_file import read_header, read_image
from firstlight.formats.picture import is_picture, read_picture
from firstlight.instruments import get_instrument_instance, guess_instrument
from firstlight.pipeline.steps.solve_astrometry import NotSolvedError

__all__ = ["solve_file"]

HINT_RADIUS = 3.0
THRESHOLD = 4.5


def solve_file(
    path: Path,
    *,
    catalog: ReferenceCatalog,
    quads: Callable[[], QuadTable],
    scale: tuple[float, float] | None = None,
) -> dict[str, Any]:
    """Find where a FITS image or a picture points.

    Parameters
    ----------
    path
        FITS, TIFF, PNG or JPEG.
    catalog, quads
        Reference stars, and what gives the index of the sky for a blind search.
    scale
        Lowest and highest pixel scale, arcseconds per pixel, where it is known.

    Returns
    -------
    dict
        Centre, scale, rotation, residuals and FITS cards.

    Raises
    ------
    NotSolvedError
        With the reason.
    BadFile
        The file cannot be read.
    """
    pixels, prior = _load(path, scale)
    sky = estimate_background(pixels)
    found = find_sources(pixels - sky.level, np.square(sky.rms), threshold=THRESHOLD).sources
    stars = (found.x_win, found.y_win, np.where(np.isfinite(found.flux), found.flux, found.snr))

    def stars_near(ra: float, dec: float, radius: float) -> Stars:
        near = catalog.cone(ra, dec, radius)
        return near.ra, near.dec, near.mag

    x, y, light = stars
    ny, nx = pixels.shape
    answer = plate_solve(x, y, light, (ny, nx), stars_near, prior=prior)
    if isinstance(answer, NotSolved) and answer.code in ("no_match", "no_index"):
        known = (prior.scale_low, prior.scale_high)
        answer = solve_blindly(
            answer, x, y, light, (ny, nx), stars_near, scale=known, index=quads()
        )
    if isinstance(answer, NotSolved):
        raise NotSolvedError(f"not solved: {answer.reason}", subject=path)
    projection = answer.projection.with_inverse((ny, nx))
    ra, dec = projection.pixel_to_sky((nx - 1) / 2, (ny - 1) / 2)
    return {
        "ra": float(ra),
        "dec": float(dec),
        "pixel_scale": projection.pixel_scale,
        "width_degrees": nx * projection.pixel_scale / 3600.0,
        "height_degrees": ny * projection.pixel_scale / 3600.0,
        "rotation": projection.rotation,
        "mirrored": projection.parity < 0,
        "sources": len(stars[0]),
        "n_matched": len(answer.detected),
        "rms_pixels": float(answer.rms),
        "rms_arcsec": float(answer.rms * projection.pixel_scale),
        "log_odds": float(answer.log_odds),
        "how": answer.how,
        "catalog": f"{catalog.name} {catalog.release}",
        "cards": projection.to_header(),
    }


def _load(path: Path, scale: tuple[float, float] | None) -> tuple[NDArray[np.float32], Prior]:
    low, high = scale if scale is not None else (None, None)
    if is_picture(path):
        return read_picture(path).astype(np.float32), Prior(scale_low=low, scale_high=high)
    header = read_header(path)
    camera = get_instrument_instance(guess_instrument(path.name, header))
    place = camera.extract_header_info(header, ("ra", "dec"), subject=path)
    nominal = camera.get_pixel_scale(header, camera.section_ids_of_file(path)[0])
    if scale is None and nominal:
        low, high = 0.8 * nominal, 1.2 * nominal
    prior = Prior(place.get("ra"), place.get("dec"), HINT_RADIUS, low, high)
    return read_image(path).astype(np.float32), prior
