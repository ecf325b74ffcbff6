"""What the kernels of a tile look like on pixels, on a grid of a few stamps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from firstlight.algorithms.resampling.image_pair import Matching
from firstlight.algorithms.subtraction.response import REACH

__all__ = [
    "Spectra",
    "StaticKernels",
    "TileKernels",
    "centred",
    "cropped",
    "fade_out",
    "fast_length",
    "spectra",
    "spectrum",
    "tile_kernels",
]

Floats = NDArray[np.float64]
Plane = NDArray[np.float32]
Complex = NDArray[np.complex64]

_SMALL = 4  # side of the grid of kernels, stamps
_FILL_RADIUS = 10  # of the kernels that fill holes, pixels


@dataclass(frozen=True)
class Spectra:
    """Real transforms of the kernels of one tile on one grid of pixels.

    Attributes
    ----------
    new, reference, psf
        Of a, b and the PSF of a source in the new image, complex64 ``(n, n // 2 + 1)``.
    """

    new: Complex
    reference: Complex
    psf: Complex


@dataclass(frozen=True)
class StaticKernels:
    """How pixels of both images stand for each other where nothing changed.

    The white difference ``D = d_n * N - d_r * R`` of a static sky is noise. Its sum of squares
    has the gradient ``nn * N - nr * R`` with respect to the pixels of N, and ``rr * R - rn * N``
    with respect to those of R; each kernel ``(k, k)``.
    """

    nn: Plane
    nr: Plane
    rr: Plane
    rn: Plane


@dataclass(frozen=True)
class TileKernels:
    """Of one tile.

    Attributes
    ----------
    noise
        Variances of the sky in the new image and in the reference.
    squares
        ``k_n^2`` and ``k_r^2``, by which variances go into the variance of the score; stamps.
    peak
        A sky of one electron a pixel in the new image, in the white difference.
    shares
        Of the variances of the new image and of the reference, in that of a pixel of the
        difference in electrons.
    psf
        Of the difference in electrons, a stamp.
    light
        By which the new image becomes the difference in electrons, a stamp.
    unit
        Score of a source of one electron.
    edge_seen, edge_noise
        What is seen of a source at so many pixels from a border beyond which the image is
        mirrored, and the variance of its score, as shares of those elsewhere; along x and y,
        ``(2, n)``.
    static
        For the filling of holes.
    flux
        By which the new image becomes the map of fluxes, a stamp: `REACH` pixels larger on every
        side than two thirds of the PSF's, beyond which there is hardly any information.
    alike
        Correlation of the noise of fluxes at a distance, a stamp.
    """

    noise: tuple[float, float]
    squares: tuple[Plane, Plane]
    peak: float
    shares: tuple[float, float]
    psf: Plane
    light: Plane
    unit: float
    edge_seen: Plane
    edge_noise: Plane
    static: StaticKernels
    flux: Plane
    alike: Plane


def tile_kernels(
    matching: Matching, place: tuple[int, int], noise: tuple[float, float]
) -> TileKernels:
    """Kernels of the tile at `place` (row, column), with the variances of the sky."""
    reach = max(grid.radius for grid in (matching.new, matching.reference, matching.psf))
    size = fast_length(_SMALL * (2 * reach + 1))
    told = spectra(matching, place, (size, size))
    root = np.sqrt(noise[0] * _power(told.new) + noise[1] * _power(told.reference))
    of_new, of_reference, source = (
        each / root for each in (told.new, told.reference, told.new * told.psf)
    )
    peak = float(np.abs(of_new[0, 0]))
    inverse = np.conj(source)
    between = np.conj(of_new) * of_reference
    group = (
        inverse * of_new, inverse * of_reference,
        of_new / peak, of_reference / peak, source / peak,
        _power(of_new), between, _power(of_reference), np.conj(between),
        _power(source),
    )  # fmt: skip
    kernels = scipy.fft.irfft2(np.stack(group), s=(size, size), overwrite_x=True)
    score = kernels[9]
    squares, white, static = (
        [centred(kernel) for kernel in kernels[part]]
        for part in (slice(0, 2), slice(2, 5), slice(5, 9))
    )
    widest = size // 2 - 1
    first, second = (np.square(cropped(kernel, widest)) for kernel in squares)
    unit = score[0, 0]
    shares = [float(np.square(kernel.astype(np.float64)).sum()) for kernel in white[:2]]
    return TileKernels(
        noise,
        (first, second),
        peak,
        (shares[0], shares[1]),
        cropped(white[2], matching.psf.radius),
        cropped(white[0], widest),
        float(unit),
        *_at_border(score, first),
        StaticKernels(*(cropped(kernel, min(_FILL_RADIUS, widest)) for kernel in static)),
        cropped(squares[0] / unit, -(-2 * matching.psf.radius // 3) + REACH),
        cropped(centred(score / unit), 2 * REACH),
    )


def _power(transform: NDArray[np.complexfloating]) -> NDArray[np.floating]:
    """Its squared modulus."""
    return np.asarray(np.square(transform.real) + np.square(transform.imag))


def _at_border(score: Plane, square: Plane) -> tuple[Plane, Plane]:
    """What is seen of a source near a mirroring border, and the variance of its score.

    Let ``r(d)`` be the correlation of the score at a distance d. A pixel n from the border is
    2 n + 1 from its mirror image, whose noise is the same: the variance is ``1 + r(2 n + 1)``.
    Of the source there is the share of the squared kernel on this side, and half of what the
    mirrored light has in common with it.
    """
    middle = square.shape[0] // 2
    seen, noise = [], []
    for profile, axis in ((score[0], 0), (score[:, 0], 1)):
        # A transform goes round: beyond half of it distances are short again.
        alike = profile[1:middle:2] / profile[0]
        along = np.cumsum(square.sum(axis=axis))[middle : middle + len(alike)] / square.sum()
        noise.append(1.0 + alike[: len(along)])
        seen.append(along + alike[: len(along)] / 2.0)
    return np.stack(seen).astype(np.float32), np.stack(noise).astype(np.float32)


def spectrum(stamp: NDArray[np.float32], shape: tuple[int, int]) -> Complex:
    """Transform of a stamp whose middle pixel is put at the origin, ``(ny, nx // 2 + 1)``."""
    ny, nx = shape
    radius = stamp.shape[0] // 2
    rows = np.zeros((stamp.shape[0], nx), np.float32)
    rows[:, : stamp.shape[1] - radius] = stamp[:, radius:]
    if radius:
        rows[:, -radius:] = stamp[:, :radius]
    # Only these rows hold anything: half of the work of a whole transform.
    half = scipy.fft.rfft(rows, axis=1)
    whole = np.zeros((ny, nx // 2 + 1), np.complex64)
    whole[: stamp.shape[0] - radius] = half[radius:]
    if radius:
        whole[-radius:] = half[:radius]
    return np.asarray(scipy.fft.fft(whole, axis=0, overwrite_x=True))


def spectra(matching: Matching, place: tuple[int, int], shape: tuple[int, int]) -> Spectra:
    """Kernels of the tile at `place` (row, column) on a grid of pixels of `shape`."""
    new, reference = (
        spectrum(grid.stamps[place], shape) for grid in (matching.new, matching.reference)
    )
    # A kernel that is the PSF itself need not be transformed twice.
    same = matching.psf is matching.reference
    psf = reference if same else spectrum(matching.psf.stamps[place], shape)
    return Spectra(new, reference, psf)


def fade_out(pixels: Plane, margins: tuple[int, int]) -> None:
    """Let what lies around a tile go to zero towards the borders of its grid, in place.

    A transform joins opposite borders. The step between them, where one cuts through a star, has
    all frequencies, also those that no star has; there the kernels of wide stars are so ragged
    that it would ring through the whole tile.

    Parameters
    ----------
    pixels
        Without sky, ``(ny, nx)``.
    margins
        Pixels around the tile, above and below, left and right; the outer half of them fades.
    """
    ny, nx = pixels.shape
    down, across = (_fading(margin // 2) for margin in margins)
    pixels[: len(down)] *= down[:, None]
    pixels[ny - len(down) :] *= down[::-1, None]
    pixels[:, : len(across)] *= across
    pixels[:, nx - len(across) :] *= across[::-1]


def _fading(count: int) -> Plane:
    """From 0 to 1 in so many steps, without a bend at either end."""
    phase = (np.arange(count, dtype=np.float32) + 0.5) / max(count, 1)
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * phase), np.float32)


def fast_length(length: int) -> int:
    """The next even length for which transforms are fast."""
    return 2 * int(scipy.fft.next_fast_len(-(-length // 2), real=True))


def centred(kernel: Plane) -> Plane:
    """With its origin in the middle, from the first pixel."""
    return np.asarray(np.roll(kernel, (kernel.shape[0] // 2, kernel.shape[1] // 2), axis=(0, 1)))


def cropped(kernel: Plane, radius: int) -> Plane:
    """An odd stamp of the middle, of at most so many pixels on each side."""
    middle = kernel.shape[0] // 2
    radius = min(radius, (kernel.shape[0] - 1) // 2)
    cut = slice(middle - radius, middle + radius + 1)
    return np.ascontiguousarray(kernel[cut, cut])
