"""Geometry and image quality of a simulated pair: projections, and a PSF that varies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.psf.fit import Stamp
from firstlight.algorithms.sky.projection import Projection
from firstlight.simulation.psf import add_stars, moffat_matrix
from firstlight.simulation.streams import Purpose, stream
from firstlight.simulation.transient_settings import PairSettings

__all__ = ["PsfField", "header_projection", "pair_projections"]

Floats = NDArray[np.float64]

_STAMP_REACH = 12.0  # FWHM; what lies beyond is 4e-5 of the light at the usual power of 3.5
_TILT = (0.3, -0.2)  # decentring over radial distortion at the corner


@dataclass(frozen=True)
class PsfField:
    """The exact PSF of one simulated image: an elliptical Moffat profile over each pixel.

    Attributes
    ----------
    shape
        Of the image, ``(ny, nx)``.
    fwhm, beta
        Nominal width in pixels (before integration over pixels), and power.
    variation, ellipticity
        Largest relative deviation of the width, and largest ellipticity.
    width_terms, shape_terms
        Coefficients of 1, u, v, uv, u², v² (u and v run from -1 to 1 over the image) for the
        width, ``(6,)``, and for the two components of ellipticity, ``(2, 6)``; scaled such that
        the largest deviation in the image is one.
    """

    shape: tuple[int, int]
    fwhm: float
    beta: float
    variation: float
    ellipticity: float
    width_terms: Floats
    shape_terms: Floats

    @classmethod
    def draw(cls, settings: PairSettings, number: int) -> PsfField:
        """That of the new image (0) or of the reference (1)."""
        random = stream(settings.seed, Purpose.PSF_SHAPE, number)
        u, v = np.meshgrid(np.linspace(-1, 1, 65), np.linspace(-1, 1, 65))
        terms = _terms(u.ravel(), v.ravel())
        width, shape = random.standard_normal(6), random.standard_normal((2, 6))
        width[0] = 0.0
        width[0] = -0.5 * ((terms @ width).max() + (terms @ width).min())
        width /= np.abs(terms @ width).max()
        shape /= np.hypot(*(terms @ part for part in shape)).max()
        return cls(
            shape=settings.shape,
            fwhm=settings.reference_fwhm if number else settings.fwhm,
            beta=settings.moffat_beta,
            variation=settings.psf_variation,
            ellipticity=settings.ellipticity,
            width_terms=width,
            shape_terms=shape,
        )

    def widths(self, x: Floats, y: Floats) -> Floats:
        """FWHM of the profile at places of the image, pixels."""
        return np.asarray(self.fwhm * (1 + self.variation * self._at(x, y) @ self.width_terms))

    def matrices(self, x: Floats, y: Floats) -> Floats:
        """For `simulation.psf.add_stars`, ``(n, 3)``."""
        e1, e2 = (self.ellipticity * self._at(x, y) @ part for part in self.shape_terms)
        angle = 0.5 * np.arctan2(e2, e1)
        return moffat_matrix(self.widths(x, y), np.hypot(e1, e2), angle, self.beta)

    def at(
        self, x: float, y: float, shape: tuple[int, int] | None = None, radius: int | None = None
    ) -> Stamp | None:
        """The PSF of a star at (x, y), as `algorithms.psf.PsfModel.at` gives it.

        Parameters
        ----------
        shape
            Of the image to cut the stamp to; the simulated one's if None.
        radius
            Half the side of the stamp, pixels; 3 FWHM if None.

        Returns
        -------
        Share of the whole light (within infinity) in each pixel; None outside the image.
        """
        ny, nx = self.shape if shape is None else shape
        half = int(np.ceil(3.0 * self.fwhm)) if radius is None else radius
        i, j = int(np.rint(x)), int(np.rint(y))
        rows = slice(max(j - half, 0), min(j + half + 1, ny))
        columns = slice(max(i - half, 0), min(i + half + 1, nx))
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return None
        psf = self._draw((x, y), (columns.start, rows.start), (rows, columns))
        return Stamp(rows, columns, psf)

    def centred(self, x: float, y: float, radius: int) -> Floats:
        """The PSF at (x, y) of a star on the middle of a pixel, ``(2 radius + 1,) * 2``."""
        side = slice(0, 2 * radius + 1)
        return self._draw((x, y), (x - radius, y - radius), (side, side))

    def tiles(self, rows: int, columns: int, radius: int) -> Floats:
        """PSFs on the middle of a pixel at the centres of so many tiles of the image.

        Returns
        -------
        Shape ``(rows, columns, 2 radius + 1, 2 radius + 1)``.
        """
        ny, nx = self.shape
        return np.array(
            [
                [
                    self.centred(
                        (i + 0.5) * nx / columns - 0.5, (j + 0.5) * ny / rows - 0.5, radius
                    )
                    for i in range(columns)
                ]
                for j in range(rows)
            ]
        )

    def _draw(
        self, place: tuple[float, float], corner: tuple[float, float], window: tuple[slice, slice]
    ) -> Floats:
        """A star of flux one at `place`, in a window whose first pixel is at `corner`."""
        psf = np.zeros(tuple(side.stop - side.start for side in window))
        x, y = np.array([place[0]]), np.array([place[1]])
        reach = np.array([_STAMP_REACH * self.fwhm + np.hypot(*psf.shape)])
        matrix = self.matrices(x, y)
        add_stars(psf, x - corner[0], y - corner[1], np.ones(1), matrix, self.beta, reach)
        return psf

    def _at(self, x: Floats, y: Floats) -> Floats:
        ny, nx = self.shape
        u = np.clip((x - (nx - 1) / 2) / (nx / 2), -1.0, 1.0)
        v = np.clip((y - (ny - 1) / 2) / (ny / 2), -1.0, 1.0)
        return _terms(u, v)


def pair_projections(settings: PairSettings) -> tuple[Projection, Projection]:
    """True projections of the new image and of the reference; the optical axis is in the middle."""
    ny, nx = settings.shape
    middle = ((nx - 1) / 2, (ny - 1) / 2)
    scale = settings.pixel_scale / 3600
    angle = np.radians(settings.rotation)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    plain = scale * np.array([[-1.0, 0.0], [0.0, 1.0]])
    new = Projection(
        (settings.ra, settings.dec),
        middle,
        plain @ turn,
        *_distortion(settings.shape, settings.distortion),
    )
    ra, dec = new.pixel_to_sky(middle[0] + settings.dither[0], middle[1] + settings.dither[1])
    reference = Projection(
        (float(ra), float(dec)),
        middle,
        plain,
        *_distortion(settings.shape, settings.reference_distortion),
    )
    return new, reference


def header_projection(settings: PairSettings, true: Projection) -> Projection:
    """What the telescope writes: no distortion, and a pointing that is off."""
    angle = stream(settings.seed, Purpose.POINTING).uniform(0, 2 * np.pi)
    east, north = settings.header_error / 3600 * np.array([np.cos(angle), np.sin(angle)])
    ra, dec = Projection(true.crval, (0.0, 0.0), np.eye(2)).pixel_to_sky(east, north)
    return Projection((float(ra), float(dec)), true.crpix, true.cd)


def _terms(u: Floats, v: Floats) -> Floats:
    return np.stack([np.ones_like(u), u, v, u * v, u * u, v * v], axis=-1)


def _distortion(shape: tuple[int, int], largest: float) -> tuple[Floats, Floats]:
    """SIP tables of a radial distortion with decentring; `largest` pixels at the worst corner."""
    ny, nx = shape
    corner = np.hypot(nx, ny) / 2
    a, b = np.zeros((4, 4)), np.zeros((4, 4))
    a[3, 0] = a[1, 2] = b[0, 3] = b[2, 1] = corner**-3
    t1, t2 = (tilt / corner**2 for tilt in _TILT)
    a[2, 0], a[0, 2], a[1, 1] = t1, t1 / 3, 2 * t2 / 3
    b[0, 2], b[2, 0], b[1, 1] = t2, t2 / 3, 2 * t1 / 3
    u, v = np.meshgrid([-(nx - 1) / 2, (nx - 1) / 2], [-(ny - 1) / 2, (ny - 1) / 2])
    moved = np.hypot(*(np.polynomial.polynomial.polyval2d(u, v, table) for table in (a, b)))
    factor = largest / moved.max()
    return a * factor, b * factor
