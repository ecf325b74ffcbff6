"""A new image with something in it that its reference has not, and the truth about both.

The pair is the yardstick of everything that looks for transients: raw pixels with cosmic rays
and a wrong header on one side, and on the other what is really there, down to the exact PSF and
an exact rendering of the reference on the new image's pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from firstlight.algorithms.flags import DTYPE, Flag
from firstlight.algorithms.sky.projection import Projection
from firstlight.catalogs.base import ReferenceStars
from firstlight.simulation.psf import (
    _pixel,  # the same integral over a pixel, at places that are not those of a grid
    add_stars,
    stamp_radius,
)
from firstlight.simulation.streams import Purpose, stream
from firstlight.simulation.transient_optics import (
    PsfField,
    header_projection,
    pair_projections,
)
from firstlight.simulation.transient_settings import PairSettings
from firstlight.simulation.transient_sky import GalaxyTruth, PairSky, StarTruth, draw_sky
from firstlight.simulation.transient_truth import (
    TransientTruth,
    cosmic_ray_charge,
    flux_sigma,
    place_transients,
    transient_significance,
)

__all__ = ["PairImage", "PairSettings", "TransientPair", "simulate_pair"]

Floats = NDArray[np.float64]
Plane = NDArray[np.float32]

_LEAST_LOSS = 2e4  # electrons: no star is cut closer than one of this flux, 1e-4 of its light
_NODES = 14  # a side: the map between the grids is a polynomial to 1e-9 of a pixel
_MAGNITUDE_ERROR = 0.005
_FOUR_MAGNITUDES = 10.0


@dataclass(frozen=True)
class PairImage:
    """One image of a pair.

    Attributes
    ----------
    pixels
        Electrons with the sky in them, float32 ``(ny, nx)``.
    variance
        Electrons squared: the true variance of `pixels`, photons of all sources included (not
        those of cosmic rays).
    flags
        SATURATED where charge was lost; nothing else.
    light
        What the pixels would hold of all sources without sky, noise or saturation; electrons.
    sky
        Electrons a pixel; it is even.
    projection
        The true one.
    psf
        The true one.
    """

    pixels: Plane
    variance: Plane
    flags: NDArray[np.uint16]
    light: Plane
    sky: float
    projection: Projection
    psf: PsfField

    @property
    def subtracted(self) -> Plane:
        """`pixels` without the sky."""
        return np.asarray(self.pixels - np.float32(self.sky))


@dataclass(frozen=True)
class TransientPair:
    """A pair of images and the truth.

    Attributes
    ----------
    settings
        What it was made of.
    raw
        The new image as the camera delivers it, ADU ``(ny, nx)``.
    bias, flat
        Masters without noise: ADU, and response with a median of one.
    new
        ``(raw - bias) * gain / flat`` and its truth, cosmic rays in `pixels`.
    reference
        The mean of the reference's exposures, on its own grid.
    charge
        Electrons of cosmic rays in `new.pixels`; zero elsewhere.
    header
        The projection that the new image's header holds.
    catalog
        Reference stars, brightest first, with the errors that they state.
    stars, galaxies, transients
        Truth.
    """

    settings: PairSettings
    raw: NDArray[np.uint16]
    bias: Plane
    flat: Plane
    new: PairImage
    reference: PairImage
    charge: Plane
    header: Projection
    catalog: ReferenceStars
    stars: StarTruth
    galaxies: GalaxyTruth
    transients: TransientTruth
    sky: PairSky

    @property
    def without_cosmic_rays(self) -> Plane:
        """`new.pixels`, the same noise, without the charge of cosmic rays."""
        return np.asarray(self.new.pixels - self.charge)

    def coordinates(self, rows: slice, columns: slice) -> tuple[Floats, Floats]:
        """Places in the reference (x, y) of pixels of the new image, each of that shape.

        Good to 1e-8 of a pixel.
        """
        x, y, _ = self._map(rows, columns)
        return x, y

    def reference_on_new(self, rows: slice = slice(None), columns: slice = slice(None)) -> Plane:
        """The reference's light on the new image's pixels, exactly; no sky, no noise.

        What `reference.light` becomes when it is resampled without error: each source with the
        reference's PSF, in electrons of the reference, times the area of a new pixel in pixels
        of the reference, so that light is conserved.

        Parameters
        ----------
        rows, columns
            Of the new image.
        """
        x, y, area = self._map(rows, columns)
        sky, settings = self.sky, self.settings
        first = (columns.indices(settings.columns)[0], rows.indices(settings.rows)[0])
        light = np.zeros(x.shape)
        flux = settings.reference_flux_ratio * sky.flux
        matrix = self.reference.psf.matrices(sky.x_reference, sky.y_reference)
        sources = np.stack(
            [sky.x - first[0], sky.y - first[1], sky.x_reference, sky.y_reference, flux]
        )
        reach = _reach(flux, matrix, settings.moffat_beta, len(sky.stars))
        _add_warped(light, (x, y), sources, matrix, settings.moffat_beta, reach)
        return np.asarray(light * area, np.float32)

    def _map(self, rows: slice, columns: slice) -> tuple[Floats, Floats, Floats]:
        """Places in the reference, and the area of a pixel there, of pixels of the new image."""
        ny, nx = self.settings.shape
        u = _scaled(np.arange(nx)[columns], nx)
        v = _scaled(np.arange(ny)[rows], ny)
        nodes = np.cos(np.pi * (np.arange(_NODES) + 0.5) / _NODES)
        at_x, at_y = ((nodes + 1) / 2 * (n - 1) for n in (nx, ny))
        sky = self.new.projection.pixel_to_sky(*np.meshgrid(at_x, at_y))
        basis = chebyshev.chebvander(nodes, _NODES - 1)
        x, y = (
            np.linalg.solve(basis, np.linalg.solve(basis, table).T).T
            for table in self.reference.projection.sky_to_pixel(*sky)
        )

        def over(table: Floats, along: int = 0, up: int = 0) -> Floats:
            slope = chebyshev.chebder(chebyshev.chebder(table, along, axis=1), up, axis=0)
            across = chebyshev.chebvander(u, slope.shape[1] - 1)
            return np.asarray(chebyshev.chebvander(v, slope.shape[0] - 1) @ slope @ across.T)

        area = over(x, along=1) * over(y, up=1) - over(x, up=1) * over(y, along=1)
        return over(x), over(y), np.asarray(area * 4 / ((nx - 1) * (ny - 1)))


def simulate_pair(settings: PairSettings) -> TransientPair:
    """Make the pair of these settings.

    Raises
    ------
    BadSettings
        There is no room for so many transients.
    """
    projections = pair_projections(settings)
    psfs = PsfField.draw(settings, 0), PsfField.draw(settings, 1)
    sky = draw_sky(settings, projections, psfs[0])
    charge = cosmic_ray_charge(settings)
    flat, bias = _flat(settings), _bias(settings)
    old_light = _render(
        (sky.x_reference, sky.y_reference, settings.reference_flux_ratio * sky.flux),
        psfs[1],
        len(sky.stars),
    )
    reference = _reference(settings, old_light, projections[1], psfs[1])
    light = _render((sky.x, sky.y, sky.flux), psfs[0], len(sky.stars))
    transients = _transients(settings, sky, (light, flat, psfs[0], projections), reference)
    more = transients.x, transients.y, transients.flux
    light += _render(more, psfs[0], len(transients))
    raw, charge, full, noise = _expose(settings, light, charge, (flat, bias))
    new = PairImage(
        pixels=(raw.astype(np.float32) - bias) * np.float32(settings.gain) / flat,
        variance=noise,
        flags=np.where(full, DTYPE(Flag.SATURATED), DTYPE(0)),
        light=light,
        sky=settings.sky,
        projection=projections[0],
        psf=psfs[0],
    )
    return TransientPair(
        settings=settings,
        raw=raw,
        bias=bias,
        flat=flat,
        new=new,
        reference=reference,
        charge=charge,
        header=header_projection(settings, projections[0]),
        catalog=_catalog(settings, sky.stars),
        stars=sky.stars,
        galaxies=sky.galaxies,
        transients=transients,
        sky=sky,
    )


def _reach(flux: Floats, matrix: Floats, beta: float, stars: int) -> Floats:
    """Pixels out to which a source is drawn.

    The first `stars` go further than the others: points of galaxies are too many for that.
    """
    floor = np.where(np.arange(len(flux)) < stars, _LEAST_LOSS, 0.0)
    return stamp_radius(np.maximum(flux, floor), matrix, beta)


def _render(sources: tuple[Floats, Floats, Floats], psf: PsfField, stars: int) -> Plane:
    """Light of sources (x, y, electrons) in an image, without noise; `stars` as above."""
    x, y, flux = sources
    image = np.zeros(psf.shape)
    matrix = psf.matrices(x, y)
    add_stars(image, x, y, flux, matrix, psf.beta, _reach(flux, matrix, psf.beta, stars))
    return image.astype(np.float32)


def _flat(settings: PairSettings) -> Plane:
    random = stream(settings.seed, Purpose.FLAT_PATTERN)
    ny, nx = settings.shape
    y, x = np.ogrid[-1 : 1 : ny * 1j, -1 : 1 : nx * 1j]
    flat = (1 - settings.vignetting * (x * x + y * y) / 2).astype(np.float32)
    flat *= 1 + settings.pixel_response * random.standard_normal((ny, nx), dtype=np.float32)
    return np.asarray(flat / np.median(flat[::4, ::4]), np.float32)


def _bias(settings: PairSettings) -> Plane:
    random = stream(settings.seed, Purpose.BIAS_PATTERN)
    columns = settings.bias_structure * random.standard_normal(settings.columns)
    rows = settings.bias_structure * np.exp(-np.arange(settings.rows) / 100.0)
    return (settings.bias_level + rows[:, None] + columns).astype(np.float32)


def _reference(
    settings: PairSettings, light: Plane, projection: Projection, psf: PsfField
) -> PairImage:
    random = stream(settings.seed, Purpose.NOISE, 1)
    count = np.float32(settings.reference_exposures)
    expected = light + np.float32(settings.reference_sky)
    full = expected >= np.float32(settings.saturation)
    np.minimum(expected, np.float32(settings.saturation), out=expected)
    pixels = random.poisson(expected * count).astype(np.float32) / count
    spread = np.float32(settings.read_noise) / np.sqrt(count)
    pixels += spread * random.standard_normal(light.shape, dtype=np.float32)
    return PairImage(
        pixels=pixels,
        variance=np.asarray((expected + np.float32(settings.read_noise**2)) / count, np.float32),
        flags=np.where(full, DTYPE(Flag.SATURATED), DTYPE(0)),
        light=light,
        sky=settings.reference_sky,
        projection=projection,
        psf=psf,
    )


def _expose(
    settings: PairSettings, light: Plane, charge: Plane, masters: tuple[Plane, Plane]
) -> tuple[NDArray[np.uint16], Plane, NDArray[np.bool_], Plane]:
    """Raw pixels; what cosmic rays add to a calibrated pixel; saturated ones; the variance."""
    flat, bias = masters
    random = stream(settings.seed, Purpose.NOISE, 0)
    held = np.float32(settings.saturation)
    expected = (light + np.float32(settings.sky)) * flat
    full = expected >= held
    noise = np.minimum(expected, held)
    noise += np.float32(settings.read_noise**2 + settings.gain**2 / 12)
    noise /= flat * flat
    electrons = random.poisson(expected).astype(np.float32)
    struck = np.minimum(electrons + charge, held)
    np.minimum(electrons, held, out=electrons)
    full |= (struck >= held) & (charge > 0)
    charge = (struck - electrons) / flat
    struck += np.float32(settings.read_noise) * random.standard_normal(
        light.shape, dtype=np.float32
    )
    counts = np.rint(struck / np.float32(settings.gain) + bias)
    return np.clip(counts, 0, 65535).astype(np.uint16), charge, full, noise


def _transients(
    settings: PairSettings,
    sky: PairSky,
    new: tuple[Plane, Plane, PsfField, tuple[Projection, Projection]],
    reference: PairImage,
) -> TransientTruth:
    light, flat, psf, projections = new
    full = (light + np.float32(settings.sky)) * flat >= np.float32(settings.saturation)
    # The reference's saturated pixels, a few pixels off, are near enough for keeping clear.
    x, y, host = place_transients(settings, sky, full | (reference.flags > 0))
    snr = transient_significance(settings)
    ra, dec = projections[0].pixel_to_sky(x, y)
    x_reference, y_reference = projections[1].sky_to_pixel(ra, dec)
    half = int(np.ceil(3 * max(settings.fwhm, settings.reference_fwhm)))
    columns = []
    for k in range(len(x)):
        shape = psf.centred(x[k], y[k], half)
        old_shape = reference.psf.centred(x_reference[k], y_reference[k], half)
        flat_here = _cut(flat, x[k], y[k], half)
        detected = (_cut(light, x[k], y[k], half) + settings.sky) * flat_here
        spread = (detected + settings.read_noise**2 + settings.gain**2 / 12) / flat_here**2
        old_spread = _cut(reference.variance, x_reference[k], y_reference[k], half)
        old_spread = old_spread / settings.reference_flux_ratio**2
        best = flux_sigma(shape, old_shape, spread, old_spread)
        perfect = flux_sigma(shape, old_shape, spread, None)
        own = snr[k] * best * (shape**3).sum() / (shape**2).sum() ** 2
        columns.append((snr[k] * best, snr[k] * best / perfect, np.sqrt(best**2 + own)))
    flux, snr_perfect, flux_err = np.array(columns, np.float64).reshape(-1, 3).T
    order = np.argsort(-snr, kind="stable")
    measured = {
        "ra": ra,
        "dec": dec,
        "x": x,
        "y": y,
        "x_reference": x_reference,
        "y_reference": y_reference,
        "flux": flux,
        "mag": settings.zero_point - 2.5 * np.log10(flux),
        "snr": snr,
        "snr_perfect": snr_perfect,
        "flux_err": flux_err,
    }
    sorted_columns = {name: column[order] for name, column in measured.items()}
    return TransientTruth(**sorted_columns, host=host[order])


def _cut(plane: Plane, x: float, y: float, half: int) -> Floats:
    """Pixels around a place, as if the edge pixels went on outside."""
    rows = np.clip(np.arange(-half, half + 1) + round(y), 0, plane.shape[0] - 1)
    columns = np.clip(np.arange(-half, half + 1) + round(x), 0, plane.shape[1] - 1)
    return plane[np.ix_(rows, columns)].astype(np.float64)


def _catalog(settings: PairSettings, stars: StarTruth) -> ReferenceStars:
    random = stream(settings.seed, Purpose.CATALOG_ERRORS)
    kept = stars.mag < settings.catalog_limit
    mag = stars.mag[kept]
    spread = settings.catalog_error * _FOUR_MAGNITUDES ** ((mag - settings.catalog_limit) / 4)
    spread = spread / 3.6e6
    east, north = spread * random.standard_normal((2, len(mag)))
    noise = _MAGNITUDE_ERROR * random.standard_normal(len(mag))
    return ReferenceStars(
        ra=(stars.ra[kept] + east / np.cos(np.radians(stars.dec[kept]))) % 360.0,
        dec=np.clip(stars.dec[kept] + north, -90.0, 90.0),
        mag=mag + noise,
        mag_err=np.full(len(mag), _MAGNITUDE_ERROR),
        position_err=3600 * spread,
        band="r",
        system="AB",
    )


def _scaled(pixels: NDArray[np.int64], count: int) -> Floats:
    """Pixels 0 to `count` - 1 as -1 to 1."""
    return np.asarray(2.0 * pixels / (count - 1) - 1.0)


@numba.njit(cache=True)
def _add_warped(
    image: Floats,
    places: tuple[Floats, Floats],
    sources: Floats,
    matrix: Floats,
    beta: float,
    radius: Floats,
) -> None:
    """Add stars to an image whose pixels lie at `places` of the grid that the PSF belongs to.

    `sources` has rows x and y in the image, x and y on that grid, and flux.
    """
    ny, nx = image.shape
    x, y = places
    for k in range(sources.shape[1]):
        xx, xy, yy = matrix[k, 0], matrix[k, 1], matrix[k, 2]
        scale = sources[4, k] * (beta - 1) / np.pi * np.sqrt(xx * yy - xy * xy)
        # Grids of a pair differ by no more than a few percent in scale.
        reach = 1.1 * radius[k] + 1
        rows = max(0, int(sources[1, k] - reach)), min(ny - 1, int(sources[1, k] + reach))
        columns = max(0, int(sources[0, k] - reach)), min(nx - 1, int(sources[0, k] + reach))
        for j in range(rows[0], rows[1] + 1):
            for i in range(columns[0], columns[1] + 1):
                dx, dy = x[j, i] - sources[2, k], y[j, i] - sources[3, k]
                if dx * dx + dy * dy <= radius[k] * radius[k]:
                    image[j, i] += scale * _pixel(dx, dy, xx, xy, yy, beta)
