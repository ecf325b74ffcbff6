"""What changed between two images of one place.

A method says, for each tile of the image, which two kernels make the static sky of both images
alike, ``a * new = b * reference``, and how a new source looks in the new image. Everything else,
from the difference to the score, follows from these and the noise (`tile_filter`), so methods
differ in their kernels only: `zogy` takes them from the two PSFs, `kernel_match` fits them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from firstlight.algorithms.flags import Flag
from firstlight.algorithms.resampling.image_pair import AlignedImage, Matching, PsfGrid, shifted
from firstlight.algorithms.subtraction.flux_ratio import FluxRatio
from firstlight.algorithms.subtraction.interpolation import lagrange_taps
from firstlight.algorithms.subtraction.ray_odds import forget_rays
from firstlight.algorithms.subtraction.rays_left import Maps, clear_rays
from firstlight.algorithms.subtraction.residual_noise import ResidualNoise, measure_residual
from firstlight.algorithms.subtraction.response import PhaseResponse
from firstlight.algorithms.subtraction.sharp_light import sharp_light
from firstlight.algorithms.subtraction.tile_filter import filter_tiles

__all__ = ["Subtraction", "Subtractor", "subtract"]

Floats = NDArray[np.float64]
Plane = NDArray[np.float32]

_FILLED, _EDGE = int(Flag.INTERPOLATED), int(Flag.EDGE)


@dataclass(frozen=True)
class Subtraction:
    """Difference of two images; all planes ``(ny, nx)``.

    Attributes
    ----------
    difference
        New minus reference, electrons on the scale of the new image. Its noise is white.
    variance
        Of the difference, electrons squared.
    flags
        OR of both images' flags, INTERPOLATED where a pixel of either was filled in, EDGE within
        a PSF's radius of the border.
    score
        Signal-to-noise ratio of a point source centred on the pixel; unit variance where nothing
        changed, with the noise of sources and of their residuals. 0 where nothing is known.
    flux, flux_error
        Of a point source centred on the pixel, electrons in the new image, and one sigma. Where
        nothing is known 0 and infinite.
    psfs
        Of the difference: a source of one electron.
    ratio
        Light in the new image over that in the reference.
    residual
        Which the score and the errors hold.
    phases
        How the part of a pixel that a source is in changes what the maps tell of it between the
        pixels; None where the PSF is not known there. The maps themselves hold the mean.
    scatter
        By what factor errors of the sky are larger than pixels tell: see `sky_scatter`.
    between
        `psfs` at two points a pixel, on the same net, every second of them those of `psfs`; None
        where the stars are so wide that pixels tell as much.
    """

    difference: Plane
    variance: Plane
    flags: NDArray[np.uint16]
    score: Plane
    flux: Plane
    flux_error: Plane
    psfs: PsfGrid
    ratio: FluxRatio
    residual: ResidualNoise
    phases: PhaseResponse | None = None
    scatter: float = 1.0
    between: PsfGrid | None = None

    def flux_at(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Flux and error of point sources at any places, each ``(n,)``; NaN outside the image.

        The maps are smooth on the scale of a pixel, so a polynomial through the six nearest
        columns and rows gives their values in between; what these lose of a source there is
        known by `phases`.
        """
        flux, error = _interpolate(self.flux, x, y), _interpolate(self.flux_error, x, y)
        if self.phases is not None:
            flux, error = self.phases.corrected(flux, error, x, y)
        return flux, np.where(np.isnan(flux), np.nan, error)

    def score_at(self, x: Floats, y: Floats) -> Floats:
        """Score of point sources at any places ``(n,)``; NaN outside the image."""
        score = _interpolate(self.score, x, y)
        return score if self.phases is None else np.asarray(score / self.phases.at(x, y)[1])

    def psf_at(self, x: float, y: float) -> Floats:
        """Stamp ``(k, k)`` of a source at a place, in the difference.

        Its middle pixel is the one the place is in; it is shifted by the rest.
        """
        return shifted(self.psfs.at(x, y), float(x - np.rint(x)), float(y - np.rint(y)))


Subtractor = Callable[[AlignedImage, AlignedImage], Subtraction]
"""From the new image and the reference on the same pixels to what changed."""


def _interpolate(plane: Plane, x: Floats, y: Floats) -> Floats:
    """Lagrange's polynomial through six pixels along each axis; infinity stays infinite."""
    ny, nx = plane.shape
    result = np.full(len(x), np.nan)
    inside = (x > -0.5) & (x < nx - 0.5) & (y > -0.5) & (y < ny - 0.5)
    if not inside.any():
        return result
    (i, across), (j, along) = lagrange_taps(x[inside], nx), lagrange_taps(y[inside], ny)
    values = plane[j[:, :, None], i[:, None, :]].astype(np.float64)
    known = np.isfinite(values)
    told = np.einsum("nj,nji,ni->n", along, np.where(known, values, 0.0), across)
    # Beside pixels without a value, the nearest one alone tells whether there is any.
    nearest = plane[np.rint(y[inside]).astype(int), np.rint(x[inside]).astype(int)]
    result[inside] = np.where(known.all(axis=(1, 2)), told, nearest)
    return result


def subtract(
    new: AlignedImage,
    reference: AlignedImage,
    hidden: NDArray[np.uint8],
    matching: Matching,
    *,
    ratio: FluxRatio,
    residual: ResidualNoise | None = None,
    scaled: bool = False,
) -> Subtraction:
    """Subtract with given kernels.

    Parameters
    ----------
    new, reference
        On the same pixels.
    hidden
        Their pixels without a value: `hidden_pixels`.
    matching
        Kernels on the net of tiles.
    ratio
        That the kernels were made with.
    residual
        What is uncertain at static sources; learned from them where None.
    scaled
        Whether the kernels pass as much light of both images, so that of undersampled ones only
        sharp light is left. A fitted kernel may pass some per cent too much of all light.
    """
    filtered = filter_tiles(new, reference, hidden, matching)
    if residual is None:
        residual = measure_residual(filtered.flux, filtered.flux_variance, filtered.static, hidden)
    # Both planes are used up: the static flux becomes the score, the variance the error.
    score, error = filtered.static, filtered.flux_variance
    sharp_only = scaled and filtered.between is not None
    left = sharp_light(score, filtered.psfs) if sharp_only else score
    _judge(filtered.flux, error, (score, left), (residual.position, residual.relative))
    flags = _flags((new.flags, reference.flags), hidden, matching.psf.radius)
    planes = filtered.difference, filtered.variance, flags, filtered.flux, error, score
    clear_rays(Maps(*planes), filtered.psfs, hidden, filtered.between)
    forget_rays(Maps(*planes), (new, reference), ratio)
    if filtered.response is not None:
        filtered.response.take_out(filtered.flux, error)
    return Subtraction(
        difference=filtered.difference,
        variance=filtered.variance,
        flags=flags,
        score=score,
        flux=filtered.flux,
        flux_error=error,
        psfs=filtered.psfs,
        ratio=ratio,
        residual=residual,
        phases=None if filtered.response is None else filtered.response.phases,
        between=filtered.between,
    )


def _flags(
    flags: tuple[NDArray[np.uint16], NDArray[np.uint16]], hidden: NDArray[np.uint8], border: int
) -> NDArray[np.uint16]:
    both = np.empty_like(flags[0])
    _join_flags(flags, hidden, border, both)
    return both


@njit(cache=True, nogil=True)
def _join_flags(flags, hidden, border, both):  # type: ignore[no-untyped-def] # compiled
    ny, nx = both.shape
    filled, edge = np.uint16(_FILLED), np.uint16(_EDGE)
    none = np.uint16(0)
    for y in range(ny):
        outside = y < border or y >= ny - border
        for x in range(nx):
            bits = edge if outside or x < border or x >= nx - border else none
            both[y, x] = flags[0][y, x] | flags[1][y, x] | bits | (filled if hidden[y, x] else none)


@njit(cache=True, nogil=True, fastmath={"contract", "arcp", "reassoc", "nsz"})
def _judge(flux, error, static, residual):  # type: ignore[no-untyped-def] # compiled
    """The variance becomes the error, and the static flux the score, in place.

    `static` is that flux, and the part of it of which a share is left, which may be the same plane.
    """
    ny, nx = flux.shape
    score, left = static
    position = np.float32(0.25 * residual[0] ** 2)
    relative = np.float32(residual[1] ** 2)
    above, here = score[0].copy(), score[0].copy()
    steep, share = np.empty(nx, np.float32), np.empty(nx, np.float32)
    for y in range(ny):
        here[:] = score[y]
        share[:] = left[y]
        below = score[min(y + 1, ny - 1)]
        _slope_across(here, steep)
        for x in range(nx):
            up = below[x] - above[x]
            spread = error[y, x] + position * (steep[x] * steep[x] + up * up)
            sigma = np.sqrt(spread + relative * share[x] * share[x])
            score[y, x] = flux[y, x] / sigma
            error[y, x] = sigma
        above, here = here, above


@njit(cache=True, nogil=True)
def _slope_across(row, slope):  # type: ignore[no-untyped-def] # compiled
    last = row.size - 1
    for x in range(1, last):
        slope[x] = row[x + 1] - row[x - 1]
    slope[0], slope[last] = row[min(1, last)] - row[0], row[last] - row[max(last - 1, 0)]
