"""How one frame lies on another, from their stars alone.

The second frame serves as the catalogue: its pixels are laid on a small patch of an imaginary
sky, one arcsecond each, and the first is plate-solved against it, with the same odds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from firstlight.algorithms.plate_solve import (
    NotSolved,
    Prior,
    SolveOptions,
    plate_solve,
    stars_from_arrays,
)
from firstlight.algorithms.projection import from_tangent_plane

__all__ = ["NotRegistered", "Registration", "register"]

Floats = NDArray[np.float64]

_PIXEL = 1.0 / 3600.0
_SCALE = (0.95, 1.05)
_FEWEST = 5


@dataclass(frozen=True, eq=False)
class Registration:
    """Where pixels of the first frame are on the second.

    Attributes
    ----------
    matrix
        ``[x2, y2] = matrix @ [x1, y1, 1]``, 0-based pixels, shape ``(2, 3)``: an affine map.
    matched
        Indices of the pairs in the first and the second list, shape ``(n, 2)``.
    rms
        Root mean square distance of the pairs, pixels of the second frame.
    log_odds
        Natural log of the odds against a chance coincidence.
    """

    matrix: Floats
    matched: NDArray[np.intp]
    rms: float
    log_odds: float


@dataclass(frozen=True)
class NotRegistered:
    """The frames do not show the same stars, or too few.

    Attributes
    ----------
    reason
        For people.
    code
        For programs, as in `NotSolved`.
    """

    reason: str
    code: str


def register(
    x1: ArrayLike,
    y1: ArrayLike,
    flux1: ArrayLike,
    x2: ArrayLike,
    y2: ArrayLike,
    flux2: ArrayLike,
    *,
    mirrored: bool = False,
    options: SolveOptions | None = None,
) -> Registration | NotRegistered:
    """Find how frame 1 lies on frame 2: any shift and turn, scales alike to five per cent.

    Parameters
    ----------
    x1, y1, flux1, x2, y2, flux2
        Detections of either frame: 0-based pixels and any measure that grows with brightness.
    mirrored
        Whether one frame is a mirror image of the other.
    options
        As in `plate_solve`; the order of distortion is not used.

    Returns
    -------
    `Registration`, or `NotRegistered` where no match passes the odds.
    """
    first, (px, py, light) = _finite(x1, y1, flux1), _finite(x2, y2, flux2)
    for which, stars in (("first", first[0]), ("second", px)):
        if len(stars) < _FEWEST:
            reason = f"only {len(stars)} stars in the {which} frame"
            return NotRegistered(reason, "few_detections")
    middle = float(np.mean(px)), float(np.mean(py))
    # East is left, so that the second frame shows its imaginary sky as seen.
    ra, dec = from_tangent_plane(-(px - middle[0]) * _PIXEL, (py - middle[1]) * _PIXEL, 0.0, 0.0)
    radius = float(np.max(np.hypot(px - middle[0], py - middle[1]))) * _PIXEL
    mag = np.argsort(np.argsort(-light, kind="stable")).astype(float)
    chosen = options or SolveOptions()
    answer = plate_solve(
        *first,
        (int(np.max(first[1])) + 2, int(np.max(first[0])) + 2),
        stars_from_arrays(ra, dec, mag),
        prior=Prior(0.0, 0.0, radius, *_SCALE, parity=-1 if mirrored else 1),
        options=SolveOptions(chosen.min_log_odds, 1, chosen.noise, chosen.distortion),
    )
    if isinstance(answer, NotSolved):
        return NotRegistered(_of_frames(answer.reason), answer.code)
    # Magnitudes are ranks, which tell each star of the second frame.
    second = np.argsort(-light, kind="stable")[answer.star_mag.astype(int)]
    places = np.flatnonzero(_usable(x1, y1, flux1))[answer.detected]
    others = np.flatnonzero(_usable(x2, y2, flux2))[second]
    matrix, off = _affine(
        first[0][answer.detected], first[1][answer.detected], px[second], py[second]
    )
    return Registration(
        matrix=matrix,
        matched=np.column_stack([places, others]),
        rms=float(np.sqrt(np.mean(off**2))),
        log_odds=answer.log_odds,
    )


def _of_frames(reason: str) -> str:
    """A reason of `plate_solve` in the words of two frames."""
    return reason.replace("catalogue stars in the field", "stars in the second frame")


def _usable(x: ArrayLike, y: ArrayLike, flux: ArrayLike) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(np.array([x, y, flux], np.float64)).all(axis=0))


def _finite(x: ArrayLike, y: ArrayLike, flux: ArrayLike) -> tuple[Floats, Floats, Floats]:
    usable = _usable(x, y, flux)
    px, py, light = (np.asarray(a, np.float64)[usable] for a in (x, y, flux))
    return px, py, light


def _affine(x: Floats, y: Floats, to_x: Floats, to_y: Floats) -> tuple[Floats, Floats]:
    """Cauchy-weighted affine map through pairs, and the distances that are left."""
    design = np.column_stack([x, y, np.ones(len(x))])
    target = np.column_stack([to_x, to_y])
    weight = np.ones((len(x), 1))
    matrix, off = np.zeros((3, 2)), np.zeros(len(x))
    for _ in range(6):
        matrix = np.asarray(np.linalg.lstsq(design * weight, target * weight, rcond=None)[0])
        off = np.hypot(*(target - design @ matrix).T)
        core = 2.5 * float(np.median(off)) + 1e-12
        weight = 1.0 / np.sqrt(1.0 + (off[:, np.newaxis] / core) ** 2)
    return matrix.T.copy(), off
