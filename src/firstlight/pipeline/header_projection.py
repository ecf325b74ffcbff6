"""The projection that a FITS header tells, whatever kind it is, as the house's own."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.io.fits import Header
from astropy.wcs import WCS
from astropy.wcs.utils import pixel_to_skycoord
from numpy.typing import NDArray

from firstlight.algorithms.plate.astrometry import fit_projection
from firstlight.algorithms.sky.projection import Projection, tangent_plane

__all__ = ["header_projection", "shifted"]

Floats = NDArray[np.float64]

_NET = 15  # places along each side at which another program's projection is read
_MOST_OFF = 0.2  # pixels between it and what is fitted to it
_ORDER = 4


def header_projection(header: Header, shape: tuple[int, int]) -> Projection | None:
    """Read the WCS of a header.

    Parameters
    ----------
    header
        Of one image.
    shape
        ``(ny, nx)``. A projection that is not TAN or TAN-SIP (TPV, ZPN, galactic, B1950...) is
        read by astropy at places over the image, and a TAN-SIP projection fitted to them.

    Returns
    -------
    None where the header has no celestial WCS, or one that leads nowhere.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about cards that astropy mends
        try:
            wcs = WCS(header, naxis=2)
            if not wcs.has_celestial:
                return None
            return _plain(header, wcs) or _fitted(wcs, shape)
        except Exception:  # noqa: BLE001, a WCS that cannot be read is the same as none
            return None


def shifted(projection: Projection, dx: float, dy: float) -> Projection:
    """The same for an image that begins at pixel (`dx`, `dy`) of the one it was made for."""
    x, y = projection.crpix
    return Projection(
        projection.crval, (x - dx, y - dy), projection.cd, projection.a, projection.b,
        projection.ap, projection.bp,
    )  # fmt: skip


def _plain(header: Mapping[str, Any], wcs: WCS) -> Projection | None:
    if str(wcs.wcs.radesys).strip().upper() not in ("ICRS", "FK5", ""):
        return None
    if not str(header.get("CTYPE1", "")).upper().startswith("RA"):
        return None
    # TAN with PV cards is another projection (TPV, by SCAMP).
    if any(keyword.startswith("PV") for keyword in header):
        return None
    try:
        found = Projection.from_header(header)
    except ValueError:
        return None
    usable = np.isfinite(found.cd).all() and np.linalg.det(found.cd) != 0
    return found if usable else None


def _fitted(wcs: WCS, shape: tuple[int, int]) -> Projection | None:
    ny, nx = shape
    x, y = (
        g.ravel() for g in np.meshgrid(np.linspace(0, nx - 1, _NET), np.linspace(0, ny - 1, _NET))
    )
    sky = pixel_to_skycoord(x, y, wcs, origin=0).icrs
    ra, dec = np.asarray(sky.ra.deg), np.asarray(sky.dec.deg)
    good = np.isfinite(ra) & np.isfinite(dec)
    if not good.all():
        return None
    middle = len(x) // 2
    centre = float(ra[middle]), float(dec[middle])
    plane = np.stack(tangent_plane(ra, dec, *centre))
    steps = np.stack([np.ones(len(x)), x - x[middle], y - y[middle]], axis=1)
    linear = np.linalg.lstsq(steps, plane.T, rcond=None)[0]
    start = Projection(centre, (float(x[middle]), float(y[middle])), linear[1:].T)
    found = fit_projection(x, y, ra, dec, start, _ORDER).with_inverse(shape)
    back = np.stack(found.sky_to_pixel(ra, dec))
    off = np.hypot(back[0] - x, back[1] - y)
    return found if np.isfinite(off).all() and off.max() < _MOST_OFF else None
