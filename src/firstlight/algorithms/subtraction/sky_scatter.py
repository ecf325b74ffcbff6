"""Noise of a difference on the scale of a star, where that of single pixels does not tell it.

Images that were resampled before have noise that neighbouring pixels share: each pixel scatters
less than the sky does over the area of a star, and errors made from the scatter of pixels are
too small (Fruchter & Hook 2002, PASP 114, 144, section 7). So have those of cameras whose rows
differ from read-out to read-out. Where sources crowd, the faintest of them count as noise of the
pixels between them, and errors are too large. In one image faint sources look the same as shared
noise; in the difference of two there are none of them left, so it is there that it is measured.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numba import njit
from numpy.typing import NDArray

from firstlight.algorithms.median_deviation import MAD_TO_SIGMA
from firstlight.algorithms.subtraction.empty_sky import empty_sky
from firstlight.algorithms.subtraction.subtract import Subtraction

__all__ = ["sky_scatter", "with_sky_scatter"]

Plane = NDArray[np.float32]

_QUIET = 1.05  # of the median error
_ENOUGH = 1_000_000  # pixels tell a width to a few thousandths
_FEWEST = 2000  # pixels
_BEYOND_CHANCE = 3.0  # sigma of a width, from which errors are taken to be too large
_SLIGHT = 0.005  # too large by less is not worth a look at every pixel
_LEAST = 0.95  # below it, both images rather have noise in common: one is a part of the other


def sky_scatter(found: Subtraction) -> float:
    """Width of the score in empty sky: 1 where the errors are right, above where they are small.

    1 where there is hardly any empty sky, and where it is smaller by chance or hardly at all.
    """
    score = _in_empty_sky(found, found.score)
    if len(score) < _FEWEST:
        return 1.0
    width = MAD_TO_SIGMA * float(np.median(np.abs(score)))
    # Places a star's area apart have hardly any noise in common.
    stars = len(score) * _step(found) ** 2 * float(np.square(found.psfs.stamps[0, 0]).sum())
    chance = _BEYOND_CHANCE / float(np.sqrt(stars))
    return 1.0 if max(chance, _SLIGHT) > 1.0 - width > 0.0 else width


def with_sky_scatter(found: Subtraction, scatter: float) -> Subtraction:
    """The same with the sky's part of the errors larger by a factor, and the scores smaller.

    Photons of sources have the noise that they have: only the sky's is measured by pixels. Errors
    become smaller by a twentieth at most.
    """
    scatter = max(scatter, _LEAST)
    if scatter == 1.0:
        return found
    added = float(np.median(_in_empty_sky(found, found.flux_error))) ** 2 * (scatter**2 - 1.0)
    error, score = np.empty_like(found.flux_error), np.empty_like(found.score)
    _add((found.flux_error, found.score), (added, min(scatter, 1.0)), error, score)
    return replace(found, flux_error=error, score=score, scatter=scatter * found.scatter)


@njit(cache=True, nogil=True)
def _add(known, change, error, score):  # type: ignore[no-untyped-def] # compiled
    """The variance that is added may be negative; no error becomes smaller than all of it would."""
    before, significance = known
    more, least = np.float32(change[0]), np.float32(change[1] * change[1])
    nothing = np.float32(0.0)
    for y in range(error.shape[0]):
        for x in range(error.shape[1]):
            own = before[y, x]
            right = np.sqrt(max(own * own + more, least * own * own))
            error[y, x] = right
            score[y, x] = significance[y, x] * (own / right) if np.isfinite(own) else nothing


def _in_empty_sky(found: Subtraction, plane: Plane) -> Plane:
    """Values of one of its planes in empty sky ``(n,)``: of large images those of some pixels."""
    step = _step(found)
    return plane[::step, ::step][empty_sky(found, step, _QUIET)]


def _step(found: Subtraction) -> int:
    """One pixel in so many is looked at along either axis."""
    return max(1, round(float(np.sqrt(found.score.size / _ENOUGH))))
