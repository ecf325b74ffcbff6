"""Pixels without a value get one that changes nothing: no source may come of it.

Where two images of one place are compared, a hole is filled with the values that are likeliest if
nothing changed: those for which the difference has the least sum of squares. So what is put into
a hole of one image, on a star as elsewhere, is what the other image says is there.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
from numba import njit
from numpy.typing import NDArray

from firstlight.algorithms.subtraction.tile_kernels import StaticKernels

__all__ = ["fill_alike"]

Plane = NDArray[np.float32]
Bools = NDArray[np.bool_]
Integers = NDArray[np.int64]

_SWEEPS = 3
_VECTOR = 8  # numbers that a processor multiplies at once
# Of the diagonal, by which every pixel of the reference holds to its first value: what the
# difference hardly sees is left as it was. Times what makes the form definite, and besides.
_SAFE, _HELD = 1.1, 0.02


def fill_alike(
    pixels: tuple[Plane, Plane],
    hidden: NDArray[np.uint8],
    holes: Integers,
    kernels: StaticKernels,
    trust: Plane,
) -> None:
    """Make the hidden pixels of two images such that nothing changed there, in place.

    Parameters
    ----------
    pixels
        Of the new image and the reference ``(ny, nx)``, with some value in the hidden ones.
    hidden
        1, 2 or 3 where the new image, the reference or both have no value, else 0.
    holes
        Rows and columns of the hidden pixels ``(n, 2)``.
    kernels
        How the images stand for each other.
    trust
        Inverse of the variance of the value that each pixel of the reference has now ``(n,)``:
        the reference knows nothing of new sources, so what its own neighbours say of a pixel
        counts as a measurement. (In the new image they may be a new source's.)

    Notes
    -----
    The sum of squares of the difference is a positive definite form of the hidden pixels. Each
    of them in turn is put to its minimum (Gauss-Seidel), three times over. Where the reference is
    the sharper image its fine structure hardly shows in the difference, and kernels that were cut
    off make the form a little indefinite: without something that holds its pixels, they would
    grow without bound across a wide hole. As in a transform, planes go round. What lies beyond the
    reach of the kernels from any pixel that is known in both images stays as it is: nothing can
    be known there, and nothing beside it depends on it.
    """
    lost = _beyond_reach(hidden != 0, kernels.nn.shape[0] // 2)
    if lost.any():
        kept = ~lost[holes[:, 0], holes[:, 1]]
        holes, trust = holes[kept], trust[kept]
    before = pixels[1][holes[:, 0], holes[:, 1]]
    stamps = tuple(_laid_out(each) for each in (kernels.nn, kernels.nr, kernels.rr, kernels.rn))
    held = trust + np.float32(_held(kernels))
    for _ in range(_SWEEPS):
        _sweep(pixels, hidden, holes, stamps, (held, before))


def _held(kernels: StaticKernels) -> float:
    """What is added to the diagonal of the reference's pixels."""
    size = scipy.fft.next_fast_len(2 * kernels.nn.shape[0], real=True)
    middle = kernels.nn.shape[0] // 2
    scale = float(kernels.nn[middle, middle]), float(kernels.rr[middle, middle])
    # Both are even about their middles, so their transforms are real but for this phase.
    phase = np.exp(2j * np.pi * middle * scipy.fft.fftfreq(size))
    shift = phase[:, None] * phase[: size // 2 + 1]
    nn, rr = (
        (scipy.fft.rfft2(kernel, (size, size)) * shift).real / own
        for kernel, own in zip((kernels.nn, kernels.rr), scale, strict=True)
    )
    both = np.square(np.abs(scipy.fft.rfft2(kernels.nr, (size, size)))) / (scale[0] * scale[1])
    least = (nn + rr - np.sqrt(np.square(nn - rr) + 4.0 * both)) / 2.0
    return scale[1] * (_HELD + _SAFE * max(0.0, -float(least.min())))


def _beyond_reach(hidden: Bools, reach: int) -> Bools:
    """Hidden pixels all of whose surroundings are hidden."""
    # A hidden square as large as the surroundings covers four points of a net of half its side.
    net = hidden[::reach, ::reach]
    if not (net[1:, 1:] & net[:-1, 1:] & net[1:, :-1] & net[:-1, :-1]).any():
        return np.zeros(hidden.shape, np.bool_)
    lost = np.zeros(hidden.shape, np.bool_)
    _mark_inner(hidden, reach, lost)
    return lost


@njit(cache=True, nogil=True)
def _mark_inner(hidden, reach, inner):  # type: ignore[no-untyped-def] # compiled
    """Mark pixels around which all are hidden so far along both axes; beyond a border all are."""
    ny, nx = hidden.shape
    # The last pixel up to each that is not hidden, and how many rows up to now are hidden around.
    last, rows = np.empty(nx, np.int64), np.zeros(nx, np.int64)
    for y in range(ny):
        before = -1
        for x in range(nx):
            before = before if hidden[y, x] else x
            last[x] = before
        for x in range(nx):
            whole = last[min(x + reach, nx - 1)] < max(x - reach, 0)
            rows[x] = rows[x] + 1 if whole else 0
        # The pixels whose surroundings end here: at the last row there are many.
        for middle in range(max(y - reach, 0), y - reach + 1 if y < ny - 1 else ny):
            needed = y - max(middle - reach, 0) + 1
            for x in range(nx):
                inner[middle, x] = rows[x] >= needed


def _laid_out(kernel: Plane) -> Plane:
    """Mirrored, since that is what convolves, with zeros behind its rows up to a whole vector."""
    return np.pad(kernel[::-1, ::-1], ((0, 0), (0, -kernel.shape[1] % _VECTOR)))


@njit(cache=True, nogil=True)
def _sweep(pixels, hidden, holes, stamps, prior):  # type: ignore[no-untyped-def] # compiled
    new, reference = pixels
    nn, nr, rr, rn = stamps
    trust, before = prior
    middle = nn.shape[0] // 2
    line = np.empty(nn.shape[1], np.float32)
    for n in range(holes.shape[0]):
        y, x = holes[n]
        if hidden[y, x] & 1:
            slope = _around(new, y, x, nn, line) - _around(reference, y, x, nr, line)
            new[y, x] -= slope / nn[middle, middle]
        if hidden[y, x] & 2:
            slope = _around(reference, y, x, rr, line) - _around(new, y, x, rn, line)
            slope += trust[n] * (reference[y, x] - before[n])
            reference[y, x] -= slope / (rr[middle, middle] + trust[n])


@njit(cache=True, nogil=True, fastmath=True)
def _around(plane, y, x, kernel, line):  # type: ignore[no-untyped-def] # compiled
    """A convolution at one pixel; beyond its border the plane begins anew.

    `kernel` is as `_laid_out` has it. It is summed up by columns, in `line`: rows are too short
    for a vector of sums of their own.
    """
    ny, nx = plane.shape
    side, wide = kernel.shape
    top, left = y - side // 2, x - side // 2
    line[:] = np.float32(0.0)
    if top >= 0 and left >= 0 and top + side <= ny and left + wide <= nx:
        for j in range(side):
            row, taps = plane[top + j, left : left + wide], kernel[j]
            for i in range(wide):
                line[i] += taps[i] * row[i]
    else:
        for j in range(side):
            row = plane[(top + j) % ny]
            for i in range(side):
                line[i] += kernel[j, i] * row[(left + i) % nx]
    total = np.float32(0.0)
    for i in range(wide):
        total += line[i]
    return total
