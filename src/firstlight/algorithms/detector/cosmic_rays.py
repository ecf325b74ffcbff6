"""Cosmic rays in a single exposure: light that did not come through the optics.

Pixels that stand out of their neighbours (the clipped Laplacian of van Dokkum 2001, PASP 113,
1420, is the cheap look over the whole image) are put to filters that no sum of point spread
functions can excite (`cosmic_ray_shapes`). What passes is taken out, strongest first, and each
hit is followed from pixel to pixel with a lower threshold while its pixels are replaced by what
their surroundings predict: so a bright pixel does not hide the faint one beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from firstlight.algorithms.background import estimate_background
from firstlight.algorithms.detector.cosmic_ray_shapes import REACH, SIDE, RayShapes, ray_shapes
from firstlight.algorithms.detector.growth import grown
from firstlight.algorithms.flags import Flag
from firstlight.algorithms.order_statistics import median_in_place
from firstlight.algorithms.sources.aperture import REPLACED
from firstlight.errors import InvalidInput

__all__ = ["CosmicRays", "find_cosmic_rays"]

_BORDER = 4  # pixels of mirrored image on each side: no neighbourhood needs a test for the edge
_UNKNOWN_WIDTH = 2.0  # FWHM, pixels: nearly as sharp as stars come
_MANY = 0.7  # sigma more for patterns of several pixels: there are forty of them
_MANY_GROWTH = 1.0
_LOOK = 0.7  # of the threshold, for the Laplacian
_KEPT = 1.0  # of the limit for growth, by which each pixel must exceed the prediction
_STRONG = 0.6  # of the strongest neighbour of a hit: weaker ones wait until it is gone
_DEEPEST = np.float32(2.0)  # sigma below the sky that a pixel may pull its neighbours up
_FREE, _CLOSED, _HIT, _WAITING = 0, 1, 2, 3
_MOST = 4000  # pixels of one hit
_SWEEPS = 3
_STAR = 3.0  # sigma of the median around a hit, above which it lies on a star
_RECENT = 48  # pixels of a hit that are predicted anew when it grows


@dataclass(frozen=True, slots=True)
class CosmicRays:
    """Pixels hit by cosmic rays.

    Attributes
    ----------
    mask
        True where hit, ``(ny, nx)``.
    cleaned
        The image with hit pixels replaced by what their surroundings predict.
    """

    mask: NDArray[np.bool_]
    cleaned: NDArray[np.float32]


class _Limits(NamedTuple):
    """In sigma: single pixels and patterns, to begin a hit and to continue it."""

    single: np.float32
    many: np.float32
    single_growth: np.float32
    many_growth: np.float32
    kept: np.float32


class _Bank(NamedTuple):
    """`RayShapes` for the kernels, with room for one window.

    What depends on the width of stars has a first axis for it; `tiles` tells which of them each
    of the equal tiles of the image has, ``(rows, columns)``, and `tile` how large these are.
    """

    filters: NDArray[np.float32]
    hit: NDArray[np.bool_]
    gain: NDArray[np.float32]
    leak: NDArray[np.float32]
    single: NDArray[np.bool_]
    on_sky: NDArray[np.float32]
    on_stars: NDArray[np.float32]
    window: NDArray[np.float32]
    tiles: NDArray[np.int64]
    tile: tuple[int, int]


def find_cosmic_rays(
    data: NDArray[np.floating],
    variance: NDArray[np.floating],
    flags: NDArray[np.uint16] | None = None,
    *,
    fwhm: float | NDArray[np.floating] | None = None,
    sky: NDArray[np.floating] | float | None = None,
    threshold: float = 4.7,
    growth: float = 3.4,
) -> CosmicRays:
    """Find cosmic rays in an image.

    Parameters
    ----------
    data
        Electrons ``(ny, nx)``.
    variance
        Electrons squared. A hit raises its own variance, which is allowed for.
    flags
        Flags plane. Unusable pixels are bridged and never flagged; neither is anything within
        two pixels of a saturated one.
    fwhm
        Of stars as measured (`detect.Detection.fwhm`), pixels, along their narrow axis: what
        tells stars from hits. Without it, stars are taken to be as sharp as they come. An array
        ``(rows, columns)`` tells it for equal tiles of the image: see `star_widths`.
    sky
        Level of the sky in `data`, a map or a number (0 where it is taken off already); by
        default it is measured.
    threshold
        In sigma, for a single pixel that starts a hit; 0.7 more for several pixels together.
    growth
        In sigma, for a pixel next to a hit; one more for several together.

    Raises
    ------
    InvalidInput
        The planes do not fit.
    """
    image = np.array(data, dtype=np.float32, order="C")
    noise = np.ascontiguousarray(variance, dtype=np.float32)
    for name, plane in (("variance", noise), ("flags", flags)):
        if plane is not None and plane.shape != image.shape:
            raise InvalidInput(
                "The planes do not fit.", field=name, found=plane.shape, expected=image.shape
            )
    closed = _closed(image, noise, flags)
    if min(image.shape) <= _BORDER or closed.all():
        return CosmicRays(np.zeros(image.shape, dtype=np.bool_), image)
    level = estimate_background(image, closed).level if sky is None else np.float32(sky)
    widths = np.atleast_2d(np.asarray(np.nan if fwhm is None else fwhm, dtype=np.float64))
    widths = np.where(np.isfinite(widths), widths, _UNKNOWN_WIDTH)
    limits = (threshold, threshold + _MANY, growth, growth + _MANY_GROWTH, _KEPT * growth)
    left = image - level
    state = np.where(closed | _near_saturated(flags, image.shape), _CLOSED, _FREE)
    mask, filled = _search(
        left, noise, closed, state.astype(np.uint8), _bank(widths, image.shape), limits
    )
    image[mask] = (filled + level)[mask]
    return CosmicRays(mask, image)


def _search(
    left: NDArray[np.float32],
    noise: NDArray[np.float32],
    closed: NDArray[np.bool_],
    state: NDArray[np.uint8],
    bank: _Bank,
    limits: tuple[float, ...],
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Hit pixels, and the sky-subtracted image with them replaced."""
    image, noise = (np.pad(plane, _BORDER, mode="symmetric") for plane in (left, noise))
    gaps = np.pad(closed, _BORDER, mode="symmetric")
    if closed.any():
        _bridge(image, gaps, np.argwhere(gaps))
        noise[gaps] = np.inf
    state = np.pad(state, _BORDER, constant_values=_CLOSED)
    bounds = _Limits(*(np.float32(value) for value in limits))
    candidates = _screen(image, noise, state, np.float32(_LOOK * limits[0]))
    scores = _scores(image, noise, bank, (bounds.single, bounds.many), candidates)
    passed = np.flatnonzero(scores > 1)
    seeds = candidates[passed[np.argsort(-scores[passed], kind="stable")]]
    _take_out(image, noise, state, bank, bounds, seeds)
    inner = np.s_[_BORDER:-_BORDER, _BORDER:-_BORDER]
    return state[inner] == _HIT, image[inner]


def _bank(widths: NDArray[np.float64], shape: tuple[int, ...]) -> _Bank:
    different, which = np.unique(widths, return_inverse=True)
    shapes: list[RayShapes] = [ray_shapes(float(width)) for width in different]
    return _Bank(
        np.stack([each.filters for each in shapes]),
        shapes[0].hit,
        np.stack([each.gain for each in shapes]),
        np.stack([each.leak for each in shapes]),
        shapes[0].single,
        np.stack([each.on_sky for each in shapes]),
        np.stack([each.on_stars for each in shapes]),
        np.empty(SIDE * SIDE, dtype=np.float32),
        which.reshape(widths.shape),
        (-(-shape[0] // widths.shape[0]), -(-shape[1] // widths.shape[1])),
    )


def _closed(
    image: NDArray[np.float32], noise: NDArray[np.float32], flags: NDArray[np.uint16] | None
) -> NDArray[np.bool_]:
    closed = ~(np.isfinite(image) & np.isfinite(noise) & (noise > 0))
    if flags is not None:
        closed |= (flags & REPLACED) != 0
    return closed


def _near_saturated(flags: NDArray[np.uint16] | None, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    if flags is None:
        return np.zeros(shape, dtype=np.bool_)
    saturated = (flags & int(Flag.SATURATED | Flag.BLEED)) != 0
    return grown(saturated, np.ones((5, 5), dtype=np.bool_))


@njit(cache=True, nogil=True)
def _screen(image, noise, state, threshold):  # type: ignore[no-untyped-def] # compiled
    """Pixels whose Laplacian could be significant, with a margin for their own Poisson noise."""
    ny, nx = image.shape
    found = np.empty((ny * nx // 4 + 1, 2), dtype=np.int64)
    count = 0
    t2, zero = threshold * threshold, np.float32(0.0)
    score = np.empty(nx, dtype=np.float32)
    for y in range(_BORDER, ny - _BORDER):
        for x in range(_BORDER, nx - _BORDER):
            two = image[y, x] + image[y, x]
            up, down, left, right = (
                image[y - 1, x],
                image[y + 1, x],
                image[y, x - 1],
                image[y, x + 1],
            )
            total = max(two - up - left, zero) + max(two - up - right, zero)
            total += max(two - down - left, zero) + max(two - down - right, zero)
            half = np.float32(0.125) * total
            # The hit's own charge may be part of the variance: take most of it out.
            score[x] = half * half + t2 * (np.float32(0.8) * half - noise[y, x])
        for x in range(_BORDER, nx - _BORDER):
            if score[x] > 0 and state[y, x] == _FREE and count < found.shape[0]:
                found[count, 0], found[count, 1] = y, x
                count += 1
    return found[:count].copy()


@njit(cache=True, nogil=True)
def _least(noise, y, x):  # type: ignore[no-untyped-def] # compiled
    """Least variance around a pixel: that of the sky or of the faintest light there."""
    least = np.float32(np.inf)
    for j in range(y - REACH, y + REACH + 1):
        for i in range(x - REACH, x + REACH + 1):
            least = min(least, noise[j, i])
    return least


@njit(cache=True, nogil=True)
def _surroundings(image, least, window, y, x):  # type: ignore[no-untyped-def] # compiled
    """Copy the window; its largest value."""
    top = np.float32(0.0)
    # Dead pixels and dark columns would make their neighbours look bright.
    deepest = -_DEEPEST * np.sqrt(least)
    for j in range(SIDE):
        for i in range(SIDE):
            value = max(image[y + j - REACH, x + i - REACH], deepest)
            window[j * SIDE + i], top = value, max(top, value)
    return top


@njit(cache=True, nogil=True)
def _width_at(bank, y, x):  # type: ignore[no-untyped-def] # compiled
    """Which width stars have at a pixel of the image with its border."""
    j = min(max(y - _BORDER, 0) // bank.tile[0], bank.tiles.shape[0] - 1)
    i = min(max(x - _BORDER, 0) // bank.tile[1], bank.tiles.shape[1] - 1)
    return bank.tiles[j, i]


@njit(cache=True, nogil=True)
def _score(image, noise, bank, limits, y, x):  # type: ignore[no-untyped-def] # compiled
    """The best pattern of hits at a pixel: its significance over the limit, and its number."""
    least = _least(noise, y, x)
    best, which = np.float32(0.0), -1
    if not np.isfinite(least):
        return best, which
    sigma, top = np.sqrt(least), _surroundings(image, least, bank.window, y, x)
    width = _width_at(bank, y, x)
    filters, gain, leak = bank.filters[width], bank.gain[width], bank.leak[width]
    for k in range(gain.size):
        limit = limits[0] if bank.single[k] else limits[1]
        charge = np.float32(0.0)
        for c in range(SIDE * SIDE):
            charge += filters[k, c] * bank.window[c]
        # No variance is below the least, so most patterns need no further look.
        if charge <= max(best * limit * gain[k] * sigma, leak[k] * top):
            continue
        spread = _spread(noise, (filters[k], bank.hit[k], bank.window), (charge, least), y, x)
        score = charge / (np.sqrt(spread) * limit)
        if score > best:
            best, which = score, k
    return best, which


@njit(cache=True, nogil=True)
def _spread(noise, pattern, known, y, x):  # type: ignore[no-untyped-def] # compiled
    """Variance of a filtered value were there no hit."""
    charge, least = known
    weights, hit, window = pattern
    total, zero = np.float32(0.0), np.float32(0.0)
    for c in range(SIDE * SIDE):
        value = noise[y + c // SIDE - REACH, x + c % SIDE - REACH]
        # What was bridged has no noise of its own.
        if np.isfinite(value):
            light = window[c] - (charge if hit[c] else zero)
            # A variance that was smoothed may hold the charge of neighbours.
            total += weights[c] ** 2 * min(value, least + max(light, zero))
    return total


@njit(cache=True, nogil=True)
def _scores(image, noise, bank, limits, candidates):  # type: ignore[no-untyped-def] # compiled
    found = np.empty(candidates.shape[0], dtype=np.float32)
    for k in range(candidates.shape[0]):
        found[k] = _score(image, noise, bank, limits, candidates[k, 0], candidates[k, 1])[0]
    return found


@njit(cache=True, nogil=True)
def _take_out(image, noise, state, bank, limits, seeds):  # type: ignore[no-untyped-def] # compiled
    """Mark and replace the hits at the seeds, in place."""
    members, before = np.empty((_MOST, 2), dtype=np.int64), np.empty(_MOST, dtype=np.float32)
    waiting = np.empty((_MOST, 2), dtype=np.int64)
    begin = (limits.single, limits.many)
    hit = (members, before, waiting)
    for k in range(seeds.shape[0]):
        y, x = seeds[k]
        if state[y, x] != _FREE:
            continue
        score, which = _score(image, noise, bank, begin, y, x)
        if score <= 1:
            continue
        count = 0
        for c in range(SIDE * SIDE):
            j, i = y + c // SIDE - REACH, x + c % SIDE - REACH
            if bank.hit[which, c] and state[j, i] == _FREE:
                count = _claim(image, state, hit, count, j, i)
        _predict(image, noise, state, bank, members, 0, count)
        count = _release(image, noise, state, hit, count, limits.kept)
        if count > 0:
            count = _follow(image, noise, state, bank, limits, hit, count)
            _release(image, noise, state, hit, count, limits.kept)


@njit(cache=True, nogil=True)
def _claim(image, state, hit, count, y, x):  # type: ignore[no-untyped-def] # compiled
    """Take a pixel into the hit: its value is kept and replaced by a first guess."""
    members, before, _ = hit
    members[count, 0], members[count, 1] = y, x
    before[count] = image[y, x]
    state[y, x] = _HIT
    image[y, x] = _median_around(image, state, y, x)
    return count + 1


@njit(cache=True, nogil=True)
def _median_around(image, state, y, x):  # type: ignore[no-untyped-def] # compiled
    """Median of the pixels within two that are not hit, or of all if there are few."""
    values = np.empty(SIDE * SIDE, dtype=np.float32)
    count = 0
    for fewest in (5, 0):
        for c in range(SIDE * SIDE):
            j, i = y + c // SIDE - REACH, x + c % SIDE - REACH
            if fewest == 0 or state[j, i] != _HIT:
                values[count] = image[j, i]
                count += 1
        if count >= max(fewest, 1):
            break
        count = 0
    return median_in_place(values, count)


@njit(cache=True, nogil=True)
def _predict(image, noise, state, bank, members, first, count):  # type: ignore[no-untyped-def] # compiled
    """Replace hit pixels by what the others predict, within the range of those not hit.

    Each is predicted from the present values of the others, in turn: a few sweeps come close to
    the joint prediction of all. On the sky the median bounds it, since what is still unmarked of
    the hit lifts the prediction; on a star that would flatten the core.
    """
    for _ in range(_SWEEPS):
        for m in range(first, count):
            y, x = members[m]
            middle, sigma = _median_around(image, state, y, x), np.sqrt(_least(noise, y, x))
            on_star, deepest = middle > _STAR * sigma, -_DEEPEST * sigma
            weights = (bank.on_stars if on_star else bank.on_sky)[_width_at(bank, y, x)]
            value, low, high = np.float32(0.0), np.float32(np.inf), np.float32(-np.inf)
            for c in range(SIDE * SIDE):
                j, i = y + c // SIDE - REACH, x + c % SIDE - REACH
                value += weights[c] * max(image[j, i], deepest)
                if state[j, i] != _HIT:
                    low, high = min(low, image[j, i]), max(high, image[j, i])
            if low <= high:
                image[y, x] = min(max(value, low), high if on_star else middle)


@njit(cache=True, nogil=True)
def _release(image, noise, state, hit, count, limit):  # type: ignore[no-untyped-def] # compiled
    """Give back pixels of a hit that exceed the prediction by less than `limit` sigma."""
    members, before, _ = hit
    kept = 0
    for m in range(count):
        y, x = members[m]
        light = _least(noise, y, x) + max(image[y, x], np.float32(0.0))
        if before[m] - image[y, x] > limit * np.sqrt(min(noise[y, x], light)):
            members[kept, 0], members[kept, 1], before[kept] = y, x, before[m]
            kept += 1
        else:
            image[y, x], state[y, x] = before[m], _FREE
    return kept


@njit(cache=True, nogil=True)
def _follow(image, noise, state, bank, limits, hit, count):  # type: ignore[no-untyped-def] # compiled
    """Take in neighbours that stand out, the strongest first, until none is left."""
    members, _, waiting = hit
    low = (limits.single_growth, limits.many_growth)
    scores = np.empty(_MOST, dtype=np.float32)
    queued, looked = 0, 0
    while looked < count < _MOST:
        queued = _queue(state, members, looked, count, waiting, queued)
        looked, best, kept = count, np.float32(0.0), 0
        for k in range(queued):
            y, x = waiting[k]
            score = _score(image, noise, bank, low, y, x)[0]
            state[y, x] = _FREE
            if score > 1:
                waiting[kept, 0], waiting[kept, 1], scores[kept] = y, x, score
                best, kept = max(best, score), kept + 1
        queued = 0
        for k in range(kept):
            y, x = waiting[k]
            if scores[k] >= _STRONG * best and count < _MOST:
                count = _claim(image, state, hit, count, y, x)
            else:
                waiting[queued, 0], waiting[queued, 1], state[y, x] = y, x, _WAITING
                queued += 1
        _predict(image, noise, state, bank, members, max(0, count - _RECENT), count)
    for k in range(queued):
        state[waiting[k, 0], waiting[k, 1]] = _FREE
    return count


@njit(cache=True, nogil=True)
def _queue(state, members, first, last, waiting, queued):  # type: ignore[no-untyped-def] # compiled
    """Put the free neighbours of new pixels of a hit in line."""
    for m in range(first, last):
        for c in range(9):
            y, x = members[m, 0] + c // 3 - 1, members[m, 1] + c % 3 - 1
            if state[y, x] == _FREE and queued < _MOST:
                waiting[queued, 0], waiting[queued, 1], state[y, x] = y, x, _WAITING
                queued += 1
    return queued


@njit(cache=True, nogil=True)
def _bridge(image, hidden, positions):  # type: ignore[no-untyped-def] # compiled
    """Replace pixels by the median of the good ones in a box that grows until it has some."""
    ny, nx = image.shape
    values = np.empty(15 * 15, dtype=np.float32)
    for k in range(positions.shape[0]):
        y, x = positions[k]
        image[y, x] = np.float32(0.0)
        for reach in range(2, 8):
            count = 0
            for j in range(max(y - reach, 0), min(y + reach + 1, ny)):
                for i in range(max(x - reach, 0), min(x + reach + 1, nx)):
                    if not hidden[j, i]:
                        values[count] = image[j, i]
                        count += 1
            if count >= 5:
                image[y, x] = median_in_place(values, count)
                break
