"""How one frame lies on another, from their stars alone.

The second frame serves as the catalogue: its pixels are laid on a small patch of an imaginary
sky, one arcsecond each, and the first is found on it, with the odds of plate solving. Frames of
one night mostly differ by a shift, or a shift and half a turn after the telescope has crossed
the meridian: the differences of all bright pairs vote for these first. Any other turn is left to
quads. They need the same stars to be each other's neighbours in both frames, which near the
limit of detection is a matter of luck, so they are tried both ways round.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import uniform_filter

from firstlight.algorithms.plate.plate_solve import (
    NotSolved,
    PlateSolution,
    Prior,
    SolveOptions,
    StarsNear,
    plate_solve,
    stars_from_arrays,
    verify_projection,
)
from firstlight.algorithms.sky.projection import Projection, from_tangent_plane

__all__ = ["NotRegistered", "Registration", "register"]

Floats = NDArray[np.float64]

_PIXEL = 1.0 / 3600.0
_SCALE = (0.95, 1.05)
_FEWEST = 5
_VOTERS = 200  # the brightest of either frame
_CELL = 0.004  # of the frame's size: as far as a small turn may carry a star
_SHIFTS_TRIED = 3
_WHOLE = 0.5  # of the stars expected, for a shift that holds over the whole frame
_TURN = 0.02  # radians by which frames that differ by a shift may be turned

Stars = tuple[Floats, Floats, Floats]


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
    chosen = replace(options or SolveOptions(), max_order=1)
    usable = [np.flatnonzero(_usable(*stars)) for stars in ((x1, y1, flux1), (x2, y2, flux2))]
    answer = _lay(first, (px, py, light), chosen, mirrored=mirrored, by_shift=True)
    if isinstance(answer, NotRegistered):
        swapped = _lay((px, py, light), first, chosen, mirrored=mirrored, by_shift=False)
        answer = _inverse(swapped) if isinstance(swapped, Registration) else answer
    if isinstance(answer, Registration):
        pairs = np.column_stack([usable[k][answer.matched[:, k]] for k in range(2)])
        answer = replace(answer, matched=pairs)
    return answer


def _lay(
    first: Stars, second: Stars, options: SolveOptions, *, mirrored: bool, by_shift: bool
) -> Registration | NotRegistered:
    """Find the first frame on the second, by shifts if wanted, else by quads."""
    px, py, light = second
    middle = float(np.mean(px)), float(np.mean(py))
    # East is left, so that the second frame shows its imaginary sky as seen.
    ra, dec = from_tangent_plane(-(px - middle[0]) * _PIXEL, (py - middle[1]) * _PIXEL, 0.0, 0.0)
    # Magnitudes are ranks, which tell each star of the second frame.
    order = np.argsort(-light, kind="stable")
    sky = stars_from_arrays(ra, dec, np.argsort(order, kind="stable").astype(float))
    # A frame begins at zero; lists that were turned or mirrored need not.
    places = first[0] - min(np.min(first[0]), 0.0), first[1] - min(np.min(first[1]), 0.0)
    whole = (*places, first[2])
    shape = (int(np.max(places[1])) + 2, int(np.max(places[0])) + 2)
    answer: PlateSolution | NotSolved | None = None
    if by_shift:
        answer = _by_shift(whole, second, shape, sky, options, mirrored=mirrored)
    if answer is None:
        radius = float(np.max(np.hypot(px - middle[0], py - middle[1]))) * _PIXEL
        prior = Prior(0.0, 0.0, radius, *_SCALE, parity=-1 if mirrored else 1)
        answer = plate_solve(*whole, shape, sky, prior=prior, options=options)
    if isinstance(answer, NotSolved):
        return NotRegistered(_of_frames(answer.reason), answer.code)
    there = order[answer.star_mag.astype(int)]
    here = answer.detected
    matrix, off = _affine(first[0][here], first[1][here], px[there], py[there])
    return Registration(
        matrix=matrix,
        matched=np.column_stack([here, there]),
        rms=float(np.sqrt(np.mean(off**2))),
        log_odds=answer.log_odds,
    )


def _by_shift(
    first: Stars,
    second: Stars,
    shape: tuple[int, int],
    sky: StarsNear,
    options: SolveOptions,
    *,
    mirrored: bool,
) -> PlateSolution | None:
    """The first shift, as it is or after half a turn, that passes the odds."""
    middle = float(np.mean(second[0])), float(np.mean(second[1]))
    for half_turn in (1, -1):
        along_x, along_y = (-half_turn if mirrored else half_turn), half_turn
        for dx, dy in _voted_shifts(first, second, (along_x, along_y), max(shape)):
            start = Projection(
                (0.0, 0.0),
                (along_x * (middle[0] - dx), along_y * (middle[1] - dy)),
                _PIXEL * np.diag([-along_x, along_y]).astype(np.float64),
            )
            answer = verify_projection(*first, shape, sky, projection=start, options=options)
            # Near a turn that no shift follows, a part of the frame agrees by itself.
            if (
                isinstance(answer, PlateSolution)
                # A deeper frame expects stars of which the other one knows nothing.
                and answer.n_matched > _WHOLE * min(answer.n_expected, len(first[0]))
                and abs(np.sin(np.radians(answer.projection.rotation - start.rotation))) < _TURN
            ):
                return answer
    return None


def _voted_shifts(
    first: Stars, second: Stars, signs: tuple[int, int], size: int
) -> Iterator[tuple[float, float]]:
    """Shifts that most pairs of bright stars have in common, best first, pixels."""
    one, two = (
        np.column_stack(stars[:2])[np.argsort(-stars[2], kind="stable")[:_VOTERS]]
        for stars in (first, second)
    )
    apart = (two[np.newaxis] - one[:, np.newaxis] * np.array(signs)).reshape(-1, 2)
    cell = max(2.0, _CELL * size)
    low = apart.min(axis=0)
    place = ((apart - low) / cell).astype(np.int64)
    votes = np.zeros(place.max(axis=0) + 1)
    np.add.at(votes, tuple(place.T), 1.0)
    # A shift near the border of a cell has its votes in both.
    votes = uniform_filter(votes, 3, mode="constant")
    for _ in range(_SHIFTS_TRIED):
        x, y = np.unravel_index(int(np.argmax(votes)), votes.shape)
        near = np.abs(place - (x, y)).max(axis=1) <= 1
        dx, dy = np.median(apart[near], axis=0)
        yield float(dx), float(dy)
        votes[max(x - 2, 0) : x + 3, max(y - 2, 0) : y + 3] = 0.0


def _inverse(answer: Registration) -> Registration:
    """The same seen from the other frame."""
    turn = np.linalg.inv(answer.matrix[:, :2])
    scale = float(np.sqrt(abs(np.linalg.det(turn))))
    return Registration(
        matrix=np.column_stack([turn, -turn @ answer.matrix[:, 2]]),
        matched=answer.matched[:, ::-1],
        rms=answer.rms * scale,
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
