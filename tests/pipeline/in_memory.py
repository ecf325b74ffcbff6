"""Model objects in memory, for steps that need no database and no files."""

from __future__ import annotations

import uuid

import numpy as np
from astropy.io.fits import Header

from firstlight.catalogs.base import ReferenceStars
from firstlight.formats.fits_image import Planes
from firstlight.formats.tables import TableData
from firstlight.models.exposure import Exposure
from firstlight.models.image import Image, ImageKind
from firstlight.models.sources import SourceList

MJD = 60000.25
GAIN, READ_NOISE = 1.5, 6.0


def make_exposure(raw, *, kind="science", exp_time=30.0, overscan=0, **columns):
    """An exposure of section A of the demo camera; the last `overscan` columns are dark."""
    ny, nx = raw.shape
    exposure = Exposure(
        nofile=True,
        filename=f"{kind}-{uuid.uuid4().hex}.fits",
        instrument="DemoInstrument",
        telescope="DemoTelescope",
        kind=kind,
        mjd=MJD,
        exp_time=exp_time,
        filter="V" if kind == "science" else columns.pop("filter", None),
        **columns,
    )
    header = Header({"GAIN": GAIN, "RDNOISE": READ_NOISE, "SATURATE": 60000})
    if overscan:
        header["DATASEC"] = f"[1:{nx - overscan},1:{ny}]"
        header["BIASSEC"] = f"[{nx - overscan + 1}:{nx},1:{ny}]"
    exposure.raw_header = Header({"PIXSCALE": 5.0})
    exposure.section_headers["A"] = header
    exposure.data["A"] = raw
    return exposure


def make_image(data, variance=None, flags=None, **columns):
    """A calibrated image."""
    flags = np.zeros(data.shape, np.uint16) if flags is None else flags
    weight = np.ones(data.shape) if variance is None else 1.0 / variance
    given = {"kind": ImageKind.SCIENCE.value, "mjd": MJD, "exp_time": 30.0, "calibration": {}}
    image = Image(instrument="DemoInstrument", section_id="A", **{**given, **columns})
    image.id = uuid.uuid4()
    image.planes = Planes(data.astype(np.float32), weight.astype(np.float32), flags)
    return image


def make_sources(x, y, flux, error, *, fwhm=3.0):
    """A source list with three apertures that all hold the same light."""
    made = SourceList(
        fwhm=fwhm,
        elongation=1.0,
        background=100.0,
        noise=10.0,
        aperture_radii=[fwhm, 1.5 * fwhm, 2 * fwhm],
        aperture_corrections=[0.0, 0.0, 0.0],
        limiting_flux=100.0,
        measures={"growth": {"beyond_err": 0.0}},
    )
    made.id = uuid.uuid4()
    thrice = np.ones((1, 3))
    columns = {
        "x": x,
        "y": y,
        "x_err": np.full(len(x), 0.02),
        "y_err": np.full(len(x), 0.02),
        "flux": flux[:, None] * thrice,
        "flux_err": error[:, None] * thrice,
        "flux_flags": np.zeros((len(x), 3), np.uint16),
        "total_flux": flux,
        "total_flux_err": error,
        "snr": flux / error,
        "flags": np.zeros(len(x), np.uint16),
    }
    made.table = TableData(columns)
    return made


class GivenCatalog:
    """A reference catalogue of exactly these stars, cut by cones."""

    name, release = "given", "1"

    def __init__(self, ra, dec, mag, mag_err=0.01) -> None:
        order = np.argsort(mag)
        self.ra, self.dec, self.mag = (np.asarray(a, float)[order] for a in (ra, dec, mag))
        self.mag_err = mag_err

    def cone(self, ra, dec, radius, *, epoch=2000.0, faintest=None):
        apart = np.hypot((self.ra - ra) * np.cos(np.radians(dec)), self.dec - dec)
        near = apart < radius
        count = int(near.sum())
        return ReferenceStars(
            ra=self.ra[near],
            dec=self.dec[near],
            mag=self.mag[near],
            mag_err=np.full(count, self.mag_err),
            position_err=np.full(count, 0.01),
            band="VT",
            system="Vega",
        )
