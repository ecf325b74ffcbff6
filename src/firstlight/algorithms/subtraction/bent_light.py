"""Stars that change within a tile, whose kernels are those of its middle.

Let ``a * new = b * reference`` hold in the middle of a tile. Away from it the static sky leaves
the share of its light by which ``b / a``, the kernel that would make the one of the other, has
changed since: of stars whose width changes by a per cent, about a per cent. So the reference's
light is bent as that kernel is: with transforms in capitals, ``R' = (B / A) / (B_0 / A_0) R``,
where the index stands for the middle. This is needed only where the reference is bright. New
sources are not touched: the new image stays as it is.

Where a reference was resampled, the kernel `a` is its PSF at the middle of a tile, which also tells
in what part of a pixel that middle is. So its changes are those of steady kernels, which are all
told for the middle of a pixel. Where these are not known, stars sharper than about three pixels are
left as they are: what parts of pixels do to them is more than how they change.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numba import njit
from numpy.typing import NDArray

from firstlight.algorithms.resampling.image_pair import Matching, PsfGrid
from firstlight.algorithms.subtraction.tile_kernels import centred, cropped, fast_length, spectrum

__all__ = ["BentLight"]

Floats = NDArray[np.float64]
Plane = NDArray[np.float32]
Complex = NDArray[np.complex64]

_BRIGHT = 5.0  # of the noise of a pixel: of fainter light what is left over is lost in it
# Of the radius of the kernels, beyond which their change is not followed; and of that, from where
# it is followed less and less: if it ended at once the brightest stars would have an edge.
_REACH, _WHOLE = 0.6, 0.5
_NO_POWER = 1e-5  # of the largest, below which a kernel's change is not asked for
_SHARP = 0.002  # of the light, in waves of two pixels
_CELL = 8  # pixels on a side, within which the change is taken to be one


@dataclass(frozen=True)
class BentLight:
    """How the kernels of a `Matching` change around the middles of its tiles.

    Attributes
    ----------
    matching
        That it is of.
    kernels
        a and b, steady.
    new, reference
        Of these the coefficients of x, y, x^2, x y and y^2 in pixels from the middle,
        ``(5, rows, columns, k, k)``.
    known
        Whether a tells how it changes.
    """

    matching: Matching
    kernels: tuple[PsfGrid, PsfGrid]
    new: Plane
    reference: Plane
    known: bool

    @classmethod
    def of(cls, matching: Matching) -> BentLight:
        """From the differences between neighbours in the net."""
        kernels = matching.steady or matching.new, matching.reference
        known = matching.steady is not None or not _is_sharp(matching.new.stamps)
        return cls(matching, kernels, _changes(kernels[0]), _changes(kernels[1]), known)

    def follow(
        self,
        reference: Plane,
        known: NDArray[np.bool_],
        place: tuple[int, int],
        pixels: tuple[NDArray[np.int64], NDArray[np.int64]],
        noise: float,
    ) -> None:
        """Let a reference's stars change as the kernels of a tile do not, in place.

        Parameters
        ----------
        reference
            Its pixels around the tile ``(ny, nx)``.
        known
            Which of them have a value of their own.
        place
            Row and column of the tile in the net.
        pixels
            Rows ``(ny,)`` and columns ``(nx,)`` of the image that they are.
        noise
            Variance of its sky.
        """
        if not self.known:
            return
        bright = np.argwhere(known & (reference > np.float32(_BRIGHT * np.sqrt(noise))))
        if not len(bright):
            return
        kernels = self._kernels(place)
        row, column = place
        away = pixels[0] - self.matching.new.y[row], pixels[1] - self.matching.new.x[column]
        light = reference[bright[:, 0], bright[:, 1]]
        _spread(reference, (bright, light), away, kernels)

    def _kernels(self, place: tuple[int, int]) -> Plane:
        """What a unit of light gets, as coefficients ``(5, k, k)`` of the way from the middle."""
        radius = max(grid.radius for grid in self.kernels)
        size = fast_length(2 * (2 * radius + 1))
        new, reference = (
            _relative(grid.stamps[place], changes[(slice(None), *place)], size)
            for grid, changes in zip(self.kernels, (self.new, self.reference), strict=True)
        )
        change = reference - new
        change[2] -= new[0] * change[0]
        change[3] -= new[0] * change[1] + new[1] * change[0]
        change[4] -= new[1] * change[1]
        reach = int(np.ceil(_REACH * radius))
        kernels = scipy.fft.irfft2(change, s=(size, size))
        near = np.stack([cropped(centred(kernel), reach) for kernel in kernels])
        away = np.abs(np.arange(-reach, reach + 1)) / (reach + 1.0)
        fading = np.cos(np.pi / 2 * np.clip((away - _WHOLE) / (1.0 - _WHOLE), 0.0, 1.0)) ** 2
        return np.asarray(near * np.outer(fading, fading), np.float32)


def _is_sharp(stamps: Plane) -> bool:
    """Whether kernels of a net ``(rows, columns, k, k)`` change and hold waves of two pixels."""
    if (stamps == stamps[0, 0]).all():
        return False
    mean = stamps.mean(axis=(0, 1), dtype=np.float64)
    turns = (-1.0) ** np.arange(len(mean))
    finest = max(abs(float((mean.sum(axis=axis) * turns).sum())) for axis in (0, 1))
    return finest > _SHARP * abs(float(mean.sum()))


def _relative(stamp: Plane, changes: Plane, size: int) -> Complex:
    """Transforms of changes over that of a kernel ``(5, n, n // 2 + 1)``."""
    kernel = spectrum(stamp, (size, size))
    power = np.square(kernel.real) + np.square(kernel.imag)
    per_light = np.conj(kernel) / (power + np.float32(_NO_POWER) * power.max())
    return np.stack([per_light * spectrum(each, (size, size)) for each in changes])


def _changes(grid: PsfGrid) -> Plane:
    """Parabolas through neighbours in a net: coefficients ``(5, rows, columns, k, k)``."""
    along_x, along_y = _slope(grid.stamps, grid.x, 1), _slope(grid.stamps, grid.y, 0)
    twice = (
        _slope(along_x, grid.x, 1) / 2,
        _slope(along_x, grid.y, 0),
        _slope(along_y, grid.y, 0) / 2,
    )
    return np.stack([along_x, along_y, *twice]).astype(np.float32)


def _slope(stamps: Plane, nodes: Floats, axis: int) -> Plane:
    """Change for each pixel along an axis of the net; at its ends by parabolas."""
    if len(nodes) < 2:
        return np.zeros_like(stamps)
    if len(nodes) == 2:
        return np.asarray(np.gradient(stamps, nodes, axis=axis))
    return np.asarray(np.gradient(stamps, nodes, axis=axis, edge_order=2))


@njit(cache=True, nogil=True, fastmath=True)
def _spread(reference, bright, away, kernels):  # type: ignore[no-untyped-def] # compiled
    """Add to each bright pixel's surroundings what its light is to change by."""
    ny, nx = reference.shape
    places, light = bright
    side, across = kernels.shape[1], -(-nx // _CELL)
    half = side // 2
    cells, own = np.empty((across, side, side), np.float32), np.full(across, -1)
    for n in range(light.size):
        y, x = places[n, 0], places[n, 1]
        row, cell = y // _CELL, x // _CELL
        if own[cell] != row:
            own[cell] = row
            v = away[0][min(row * _CELL + _CELL // 2, ny - 1)]
            u = away[1][min(cell * _CELL + _CELL // 2, nx - 1)]
            ways = np.array((u, v, u * u, u * v, v * v), np.float32)
            cells[cell] = 0.0
            for k in range(5):
                cells[cell] += ways[k] * kernels[k]
        left, right = max(x - half, 0), min(x + half + 1, nx)
        for j in range(max(y - half, 0), min(y + half + 1, ny)):
            line = cells[cell, j - y + half, left - x + half : right - x + half]
            target = reference[j, left:right]
            for i in range(right - left):
                target[i] += light[n] * line[i]
