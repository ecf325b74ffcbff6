"""Reference stars that look like a target: on the same colours, at the same place of a pixel.

On a colour mosaic a star's light falls on a red, green or blue pixel according to where in the
superpixel it is, and it drifts. What a star of constant light would have given in each frame is
told by stars that drifted through the same places of their own superpixels: their stamps, divided
by their sums, are alike. This is the method of the PANOPTES project (Guyon et al. 2014; its
``piaa`` code), with three differences. A reference's stamp is cut with the target's rounding,
shifted by a superpixel where need be, so that a star just across the border of a superpixel from
the target is as good as one on this side. Each reference is divided by its own mean brightness
before the coefficients, found on normalised stamps, are applied, so that the combination is the
one that was fitted. And the fit knows how noisy each reference is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from firstlight.algorithms.light_curves.stamps import MARGIN

__all__ = ["StampStack", "combination", "similarity", "windows"]

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Bools = NDArray[np.bool_]
Integers = NDArray[np.int64]

_SHIFTS = 3  # a superpixel down or left, none, a superpixel up or right
_PENALTY = 10.0


@dataclass(frozen=True)
class StampStack:
    """Stamps of all stars in all frames, above the sky, and what comparisons need of them.

    Attributes
    ----------
    pixels
        Electrons above the sky, ``(n_star, n_frame, side, side)``; zero where not `usable`.
    row, column
        The star's place in its stamp, pixels, ``(n_star, n_frame)``.
    usable
        Whether the stamp is whole, unsaturated and unflagged, ``(n_star, n_frame)``.
    total, square
        Sum, and sum of squares, in the windows of each shift, ``(n_star, n_frame, 3, 3)``.
    """

    pixels: Singles
    row: Singles
    column: Singles
    usable: Bools
    total: Singles
    square: Singles

    @classmethod
    def prepare(cls, pixels: Singles, row: Floats, column: Floats, usable: Bools) -> StampStack:
        """Stack of stamps with a margin for shifts around the windows that are compared.

        A stamp whose light within some window is not positive cannot be normalised and becomes
        unusable.
        """
        n_star, n_frame, side, _ = pixels.shape
        clean = np.where(usable[:, :, None, None], pixels, np.float32(0)).astype(np.float32)
        width = side - 2 * MARGIN
        total = np.empty((n_star, n_frame, _SHIFTS, _SHIFTS), dtype=np.float32)
        square = np.empty_like(total)
        for a in range(_SHIFTS):
            for b in range(_SHIFTS):
                view = clean[:, :, MARGIN * a : MARGIN * a + width, MARGIN * b : MARGIN * b + width]
                total[:, :, a, b] = view.sum(axis=(2, 3), dtype=np.float64)
                square[:, :, a, b] = np.einsum("ijkl,ijkl->ij", view, view)
        positive = usable & (total > 0).all(axis=(2, 3))
        return cls(
            pixels=np.ascontiguousarray(clean),
            row=np.where(usable, row, (side - 1) / 2).astype(np.float32),
            column=np.where(usable, column, (side - 1) / 2).astype(np.float32),
            usable=positive,
            total=total,
            square=square,
        )

    @property
    def width(self) -> int:
        """Side of the windows that are compared."""
        return int(self.pixels.shape[2] - 2 * MARGIN)


def similarity(stack: StampStack, target: int, candidates: Integers) -> Floats:
    """How unlike the target the candidates are, ``(n_candidate,)``; small is alike.

    The mean, over the frames in which both are usable, of the sum over pixels of the squared
    difference of normalised stamps. Infinite where there is no such frame.
    """
    score = np.empty(len(candidates))
    _score(
        stack.pixels,
        (stack.row, stack.column),
        stack.usable,
        (stack.total, stack.square),
        target,
        candidates,
        score,
    )
    return score


def windows(stack: StampStack, target: int, stars: Integers) -> Singles:
    """Stamps of `stars` cut with the rounding of `target`, ``(n, n_frame, width, width)``.

    In every frame each star's place in its window is within one pixel of the target's place in
    its own. Electrons above the sky; zero where not usable.
    """
    n_frame, width = stack.usable.shape[1], stack.width
    out = np.empty((len(stars), n_frame, width, width), dtype=np.float32)
    _gather(stack.pixels, (stack.row, stack.column), target, stars, out)
    return out


def combination(target: Singles, references: Singles, seen: Bools, noise: Floats) -> Floats:
    """Combination of reference stamps that is nearest to the target's.

    Least squares of the coefficients, which sum to one: the misfit to the target's normalised
    stamps, over pixels and frames, plus ten times the noise that the references bring in. Once
    would be right if only single pixels mattered; what is used is their sum over an aperture, to
    which the misfit of many pixels adds up less than the noise of a reference. Ten is the middle
    of a broad minimum (three to thirty) of the scatter of constant stars, and it keeps the fit
    from following the target's own noise.

    Parameters
    ----------
    target
        Normalised stamps ``(n_frame, n_pixel)``, of the frames in which it is usable.
    references
        Normalised stamps ``(n_reference, n_frame, n_pixel)``; anything where not seen.
    seen
        Which references are usable in which frame, ``(n_reference, n_frame)``; each in some.
    noise
        Variance of each reference's normalised stamps, summed over pixels, mean over frames,
        ``(n_reference,)``; positive.

    Returns
    -------
    Coefficients ``(n_frame, n_reference)``: zero where a reference is not seen, and found anew
    without it for that frame; NaN in frames in which none is seen.
    """
    n, n_frame = seen.shape
    # A reference that is not seen in a frame has no misfit there, and as much more elsewhere.
    stretch = np.sqrt(n_frame / seen.sum(axis=1)).astype(np.float32)
    away = np.where(seen[:, :, None], references - target, 0) * stretch[:, None, None]
    flat = away.reshape(n, -1)
    normal = (flat @ flat.T).astype(np.float64)
    normal[np.diag_indices(n)] += _PENALTY * noise * n_frame
    if seen.all():
        return np.broadcast_to(_weights(normal), (n_frame, n)).copy()
    coefficients = np.full((n_frame, n), np.nan)
    patterns, which = np.unique(seen, axis=1, return_inverse=True)
    for k in range(patterns.shape[1]):
        there = np.flatnonzero(patterns[:, k])
        if len(there):
            row = np.zeros(n)
            row[there] = _weights(normal[np.ix_(there, there)])
            coefficients[which.ravel() == k] = row
    return coefficients


def _weights(normal: Floats) -> Floats:
    """Weights of sum one that make the least of the quadratic form `normal`."""
    free = cho_solve(cho_factor(normal), np.ones(len(normal)))
    return np.asarray(free / free.sum())


@njit(cache=True, nogil=True)
def _shift(place, other):  # type: ignore[no-untyped-def] # compiled
    """Which window of `other` has its star where the target's middle window has it: 0, 1, 2."""
    step = int(np.rint((other - place) / 2.0)) + 1
    return min(max(step, 0), 2)


@njit(cache=True, nogil=True, fastmath=True)
def _product(first, second, a, b, margin):  # type: ignore[no-untyped-def] # compiled
    """Sum over the target's middle window of the product with another stamp's shifted one."""
    side = first.shape[0]
    total = np.float32(0.0)
    for j in range(margin, side - margin):
        for i in range(margin, side - margin):
            total += first[j, i] * second[j + (a - 1) * margin, i + (b - 1) * margin]
    return total


@njit(cache=True, nogil=True)
def _score(pixels, places, usable, sums, target, candidates, score):  # type: ignore[no-untyped-def] # compiled
    row, column = places
    total, square = sums
    n_frame = pixels.shape[1]
    for k in range(candidates.size):
        star = candidates[k]
        count, away = 0, 0.0
        for f in range(n_frame):
            if not (usable[target, f] and usable[star, f]):
                continue
            a = _shift(row[target, f], row[star, f])
            b = _shift(column[target, f], column[star, f])
            own, other = float(total[target, f, 1, 1]), float(total[star, f, a, b])
            both = float(_product(pixels[target, f], pixels[star, f], a, b, MARGIN))
            away += square[target, f, 1, 1] / own**2 + square[star, f, a, b] / other**2
            away -= 2.0 * both / (own * other)
            count += 1
        score[k] = away / count if count else np.inf


@njit(cache=True, nogil=True)
def _gather(pixels, places, target, stars, out):  # type: ignore[no-untyped-def] # compiled
    row, column = places
    width = out.shape[2]
    for k in range(stars.size):
        star = stars[k]
        for f in range(out.shape[1]):
            a = MARGIN * _shift(row[target, f], row[star, f])
            b = MARGIN * _shift(column[target, f], column[star, f])
            out[k, f] = pixels[star, f, a : a + width, b : b + width]
