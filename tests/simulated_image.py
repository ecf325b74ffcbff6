"""One simulated image with known truth: stars with colours, a catalogue of them, a target."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.io.fits import Header

from firstlight.algorithms.sky.projection import Projection
from firstlight.algorithms.sky.sky_index import angular_separation
from firstlight.catalogs.base import ReferenceStars
from firstlight.instruments import get_instrument_instance
from firstlight.pipeline.image_bench import RawImage
from firstlight.simulation.psf import add_stars, moffat_matrix, stamp_radius

GAIN, READ_NOISE, BIAS, SKY = 1.7, 6.0, 0.0, 180.0
ZERO, BETA = 28.0, 3.0


class ColourCatalog:
    """Stars with colours, cut by cones."""

    name, release = "simulated", "1"

    def __init__(self, ra, dec, mag, mag_err, colour, *, system="AB", band="r") -> None:
        self.ra, self.dec, self.mag, self.mag_err = ra, dec, mag, mag_err
        self.colour, self.system, self.band = colour, system, band

    def cone(self, ra, dec, radius, *, epoch=2000.0, faintest=None):
        near = np.flatnonzero(angular_separation(ra, dec, self.ra, self.dec) <= radius)
        near = near[np.argsort(self.mag[near])]
        return ReferenceStars(
            ra=self.ra[near],
            dec=self.dec[near],
            mag=self.mag[near],
            mag_err=np.full(len(near), self.mag_err),
            position_err=np.full(len(near), 0.02),
            band=self.band,
            system=self.system,
            colour=None if self.colour is None else self.colour[near],
            colour_name=None if self.colour is None else "g-r",
        )


@dataclass
class SimulatedImage:
    raw: RawImage
    catalog: ColourCatalog
    ra: float
    dec: float
    mag: float
    colour: float
    projection: Projection


def simulated_image(
    seed,
    *,
    mag,
    shape=(300, 420),
    stars=60,
    colour_term=0.0,
    with_colours=True,
    catalog_err=0.02,
    fwhm=3.0,
    gradient=0.0,
    system="AB",
    band="r",
    extra=None,
    place=None,
    wcs=True,
    sky=SKY,
):
    """An image in ADU with stars down to well below its limit, and a target not in the catalogue.

    `colour_term` is what is added to the instrumental magnitude of a star per magnitude of
    colour; `gradient` the change of the zero point from edge to edge; `extra` further stars
    (x, y, mag), of the mean colour and not in the catalogue.
    """
    rng = np.random.default_rng(seed)
    ny, nx = shape
    scale = 1.1 / 3600.0
    turn = rng.uniform(0, 2 * np.pi)
    cd = scale * np.array([[-np.cos(turn), np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    centre = (rng.uniform(0, 360), rng.uniform(-60, 60))
    projection = Projection(centre, ((nx - 1) / 2, (ny - 1) / 2), cd)
    x, y = rng.uniform(-5, nx + 5, stars), rng.uniform(-5, ny + 5, stars)
    # Star counts rise tenfold in about three magnitudes.
    star_mag = 15.0 + 3.0 * np.log10(1 + rng.uniform(0, 1, stars) * (10 ** (6.0 / 3.0) - 1))
    colour = np.clip(rng.normal(0.7, 0.35, stars), -0.3, 2.0)
    tx, ty = place or (rng.uniform(25, nx - 26), rng.uniform(25, ny - 26))
    apart = np.hypot(x - tx, y - ty) > 6 * fwhm  # blends are another test
    x, y, star_mag, colour = (v[apart] for v in (x, y, star_mag, colour))
    target_colour = float(rng.normal(0.7, 0.35))
    more = np.zeros((3, 0)) if extra is None else np.asarray(extra, float)
    all_x, all_y = np.concatenate([x, [tx], more[0]]), np.concatenate([y, [ty], more[1]])
    all_mag = np.concatenate([star_mag, [mag], more[2]])
    all_colour = np.concatenate([colour, [target_colour], np.full(more.shape[1], 0.7)])
    zero = ZERO + gradient * ((all_x / nx - 0.5) + 0.4 * (all_y / ny - 0.5))
    flux = 10 ** (-0.4 * (all_mag + colour_term * (all_colour - 0.7) - zero))
    light = np.full(shape, sky, float)
    count = len(flux)
    matrix = moffat_matrix(np.full(count, fwhm), np.full(count, 0.05), np.full(count, 0.6), BETA)
    add_stars(light, all_x, all_y, flux, matrix, BETA, stamp_radius(flux, matrix, BETA))
    electrons = rng.poisson(light) + rng.normal(0, READ_NOISE, shape)
    adu = np.clip(np.rint(electrons / GAIN + 100.0), 0, 65535).astype(np.uint16)
    ra, dec = projection.pixel_to_sky(x, y)
    catalog = ColourCatalog(
        ra,
        dec,
        star_mag + rng.normal(0, catalog_err, len(x)),
        catalog_err,
        colour if with_colours else None,
        system=system,
        band=band,
    )
    header = Header(
        {"GAIN": GAIN, "RDNOISE": READ_NOISE, "SATURATE": 60000, "EXPTIME": 30.0,
         "DATE-OBS": "2024-03-01T04:05:06", "FILTER": band, "BITPIX": 16}
    )  # fmt: skip
    if wcs:
        header.update(projection.to_header())
    target = projection.pixel_to_sky(tx, ty)
    raw = RawImage("simulated.fits", adu, header, get_instrument_instance("GenericFITS"), "0")
    return SimulatedImage(
        raw, catalog, float(target[0]), float(target[1]), mag, target_colour, projection
    )
