"""Cosmic rays that show in the difference only: faint tracks, and the rims of bright ones.

In one exposure a faint track has to be told from anything that may stand in the sky. In a
difference what stands there is gone, and whatever is new has the known shape of a point source.
So each peak of the score is fitted with a point source, and pixels that stand out of the fit as
no source can are taken out of it, the strongest first, until the rest agrees. Then the source
has to explain what is left better than single pixels that are hit would, and better than a
straight track would, each of them at a price (as in the criterion of Schwarz 1978, Annals of
Statistics 6, 461). What pixels that are hit add to the maps of flux and score around them is
taken away again, and they count as unusable: a new source that was hit stays, with what is left
of its light.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from firstlight.algorithms.flags import Flag
from firstlight.algorithms.resampling.image_pair import PsfGrid
from firstlight.algorithms.sources.moments import FWHM_OF_SIGMA
from firstlight.algorithms.subtraction.between_pixels import drawn_between
from firstlight.algorithms.subtraction.interpolation import SINE_REACH, sine_taps
from firstlight.algorithms.subtraction.ray_light import count_lost, nearest, take_out
from firstlight.algorithms.subtraction.ray_tracks import STEP_COUNTS, STEPS, TRACKS

__all__ = ["Maps", "clear_rays", "peaks"]

Plane = NDArray[np.float32]

_LEAST_SCORE = 4.0  # of a peak that is looked at
_BEGIN = 4.2  # sigma of pixels together that begin a hit: one source in a hundred shows such
_GO_ON = 2.5  # sigma of one that touches a pixel that is hit
_PSF_ERROR = 0.1  # of a source's light in a pixel
_WIDE = 1.5  # FWHM around a peak that are looked at
# What a free pixel must gain in chi squared. So dear, one source of 5 sigma in a thousand is
# better explained by pixels; beside a pixel that is known to be hit charge has spilled. All such
# limits are for sources of four pixels: in wider ones there are more pixels for chance.
_PRICE, _PRICE_BESIDE = 4.7, 1.0
_LIMITS_FOR = 4.6  # pixels, FWHM as `_width` has it
# What a track must gain over the source in chi squared; one that goes on from a hit, less.
_TRACK_PRICE, _TRACK_PRICE_BESIDE = 11.0, 5.0
_TRACK_HIGHEST = 30.0  # score of a peak in which it is sought: brighter pixels stand out singly
_HIT = 1.0  # sigma of a track's pixel that is taken out
_MOST = 40  # pixels of one peak
_FLANK = 2.0  # FWHM around a source, within which other peaks are its own
_RAY, _FILLED = int(Flag.COSMIC_RAY), int(Flag.INTERPOLATED)


class Maps(NamedTuple):
    """What a difference tells, ``(ny, nx)`` each; changed in place.

    Attributes
    ----------
    difference, variance
        Electrons in the new image, with white noise; these stay as they are.
    flags
        INTERPOLATED where either image had no value.
    flux, error, score
        Of a point source centred on each pixel.
    """

    difference: Plane
    variance: Plane
    flags: NDArray[np.uint16]
    flux: Plane
    error: Plane
    score: Plane


def clear_rays(
    maps: Maps,
    psfs: PsfGrid,
    hidden: NDArray[np.uint8],
    between: PsfGrid | None = None,
) -> int:
    """Flag what is too sharp for a source, and take it out of the maps, in place.

    Parameters
    ----------
    psfs
        Of the difference: a source of one electron.
    hidden
        1, 2 or 3 where the new image, the reference or both have no value, else 0.
    between
        `psfs` at two points a pixel, of stars too sharp for pixels to tell what is between them.

    Returns
    -------
    Pixels that were flagged COSMIC_RAY, of either image: those of the reference leave holes.
    """
    rows, columns = peaks(maps.score, np.float32(_LEAST_SCORE))
    if not len(rows):
        return 0
    stamps = psfs.stamps.reshape(-1, *psfs.stamps.shape[2:])
    net = (np.asarray(psfs.y, np.float64), np.asarray(psfs.x, np.float64))
    order = np.argsort(-np.abs(maps.score[rows, columns]), kind="stable")
    places = np.stack([rows[order], columns[order]], axis=1)
    # Pages that nothing is written to cost nothing.
    hit = np.zeros(maps.score.shape, np.uint8)
    points = np.zeros((len(stamps), 0, 0), np.float32)
    if between is not None:
        points = between.stamps.reshape(-1, *between.stamps.shape[2:])
    found = _search(tuple(maps), (stamps, points), net, places, hit)
    lost = np.zeros(maps.score.shape, np.float32)
    count_lost(hidden, stamps, net, found, (hit, lost))
    take_out(tuple(maps), stamps, net, found, lost)
    return len(found)


@njit(cache=True, nogil=True)
def peaks(score, least):  # type: ignore[no-untyped-def] # compiled
    """Rows and columns of the pixels that are the highest of their sign among nine."""
    ny, nx = score.shape
    rows, columns = [0], [0]
    rows.pop()
    columns.pop()
    for y in range(ny):
        for x in range(nx):
            if abs(score[y, x]) < least:
                continue
            own = abs(score[y, x])
            highest = True
            for j in range(max(y - 1, 0), min(y + 2, ny)):
                for i in range(max(x - 1, 0), min(x + 2, nx)):
                    if score[j, i] * score[y, x] > 0 and abs(score[j, i]) > own:
                        highest = False
            if highest:
                rows.append(y)
                columns.append(x)
    return np.array(rows), np.array(columns)


@njit(cache=True, nogil=True)
def _search(maps, shapes, net, places, hit):  # type: ignore[no-untyped-def] # compiled
    """Pixels that are hit ``(n, 2)``, marked in `hit` as well; the strongest peaks come first."""
    found = [(0, 0)]
    found.pop()
    # Place, flux with its sign, and the part of a pixel that a source is off.
    sources, count = np.zeros((places.shape[0], 5)), 0
    for n in range(places.shape[0]):
        y, x = places[n]
        tile = nearest(net[0], y) * net[1].size + nearest(net[1], x)
        psf = shapes[0][tile], shapes[1][tile]
        apart, near = (_FLANK * _width(psf[0])) ** 2, False
        for k in range(count):
            near = near or (sources[k, 0] - y) ** 2 + (sources[k, 1] - x) ** 2 < apart
        # On the flank of a source there are peaks that no source of their own explains.
        if near:
            continue
        sign = 1.0 if maps[5][y, x] > 0 else -1.0
        planes = maps[0], maps[1], maps[2]
        peak = y, x, sign, float(maps[4][y, x])
        told, height, source = _hits(planes, psf, hit, sources[:count], peak)
        if height >= _LEAST_SCORE:
            for k in range(5):
                sources[count, k] = source[k]
            count += 1
        for place in told:
            hit[place[0], place[1]] = 1
            found.append(place)
    result = np.empty((len(found), 2), np.int64)
    for n in range(len(found)):
        result[n, 0], result[n, 1] = found[n]
    return result


@njit(cache=True, nogil=True)
def _hits(planes, psf, hit, sources, peak):  # type: ignore[no-untyped-def] # compiled
    """Pixels around a peak that no point source explains; what is left of it, and the source.

    `planes` are light, variance and flags, and `peak` its row, column, sign, and the error of
    its flux.
    """
    y, x, sign, error = peak
    width, power = _width(psf[0]), np.sum(psf[0].astype(np.float64) ** 2)
    near, half = max(1, int(width / 2 + 0.5)), max(3, int(np.ceil(2 * width)))
    side = 2 * half + 1
    light, spread = np.zeros((side, side)), np.ones((side, side))
    good, ray = np.zeros((side, side), np.bool_), np.zeros((side, side), np.bool_)
    _look(planes, hit, (y, x), sign, (light, spread, good, ray))
    # What a flux is uncertain by beside the noise of pixels makes their residuals uncertain, too.
    noise = spread[half, half] / power
    spread *= max(1.0, error**2 / noise)
    for k in range(sources.shape[0]):
        _take_away(light, spread, psf, (y - half, x - half), sources[k], sign)
    found = [(0, 0)]
    found.pop()
    model, height, source = np.zeros((side, side)), 0.0, np.zeros(5)
    while len(found) < _MOST:
        height = _fit(light, spread, good, psf, near, model, source)
        if height < _LEAST_SCORE - 1.0:
            break
        which, top, left = _strongest(light, spread, good, ray, model, width)
        if which < 0:
            rest = np.zeros((0, 2), np.int64)
            if _is_ray(light, spread, good, ray, model, width):
                rest = _all_free(light, spread, good, ray, width)
            elif height < _TRACK_HIGHEST:
                rest = _track(light, spread, good, ray, near, height)
            if not rest.size:
                break
            for k in range(rest.shape[0]):
                j, i = rest[k]
                good[j, i], ray[j, i] = False, True
                found.append((y + j - half, x + i - half))
            continue
        for step in range(-1, STEP_COUNTS[which]):
            j = top + (STEPS[which, step, 0] if step >= 0 else 0)
            i = left + (STEPS[which, step, 1] if step >= 0 else 0)
            if good[j, i]:
                good[j, i], ray[j, i] = False, True
                found.append((y + j - half, x + i - half))
    source[0], source[1], source[2] = source[0] + y, source[1] + x, source[2] * sign
    return found, height, source


@njit(cache=True, nogil=True)
def _look(planes, hit, place, sign, window):  # type: ignore[no-untyped-def] # compiled
    """Fill the planes of a window around a place."""
    difference, variance, flags = planes
    light, spread, good, ray = window
    ny, nx = difference.shape
    half = light.shape[0] // 2
    for j in range(light.shape[0]):
        for i in range(light.shape[0]):
            y, x = place[0] + j - half, place[1] + i - half
            if 0 <= y < ny and 0 <= x < nx:
                ray[j, i] = (flags[y, x] & _RAY) != 0 or hit[y, x] == 1
                good[j, i] = (flags[y, x] & _FILLED) == 0 and hit[y, x] != 1
                light[j, i], spread[j, i] = sign * difference[y, x], variance[y, x]


@njit(cache=True, nogil=True)
def _take_away(light, spread, psf, corner, source, sign):  # type: ignore[no-untyped-def] # compiled
    """Take a source that is known already out of a window."""
    side, middle = light.shape[0], psf[0].shape[0] // 2
    top, left = int(source[0]) - corner[0], int(source[1]) - corner[1]
    reach = side + middle
    if abs(top - side // 2) > reach or abs(left - side // 2) > reach:
        return
    moved = _moved(psf, source[3], source[4])
    for j in range(max(0, top - middle), min(side, top + middle + 1)):
        for i in range(max(0, left - middle), min(side, left + middle + 1)):
            model = sign * source[2] * moved[j - top + middle, i - left + middle]
            light[j, i] -= model
            spread[j, i] += (_PSF_ERROR * model) ** 2


@njit(cache=True, nogil=True)
def _width(psf):  # type: ignore[no-untyped-def] # compiled
    """FWHM of the Gaussian that is spread over as many pixels."""
    total, power = 0.0, 0.0
    for j in range(psf.shape[0]):
        for i in range(psf.shape[0]):
            total, power = total + psf[j, i], power + psf[j, i] ** 2
    return FWHM_OF_SIGMA * np.sqrt(total**2 / power / (4 * np.pi))


@njit(cache=True, nogil=True)
def _fit(light, spread, good, psf, near, model, source):  # type: ignore[no-untyped-def] # compiled
    """Put the best point source near the middle into `model`; its signal-to-noise ratio.

    Its place, flux and part of a pixel go into `source`.
    """
    side, middle = light.shape[0], psf[0].shape[0] // 2
    half = side // 2
    best, down, right = -np.inf, 0, 0
    heights = np.full((2 * near + 3, 2 * near + 3), -np.inf)
    for b in range(-near - 1, near + 2):
        for a in range(-near - 1, near + 2):
            flux, noise = _amplitude(light, spread, good, psf[0], b, a)
            heights[b + near + 1, a + near + 1] = flux
            inside = abs(a) <= near and abs(b) <= near
            if noise > 0 and inside and flux / noise > best:
                best, down, right = flux / noise, b, a
    j, i = down + near + 1, right + near + 1
    dy = _vertex(heights[j - 1, i], heights[j, i], heights[j + 1, i])
    dx = _vertex(heights[j, i - 1], heights[j, i], heights[j, i + 1])
    moved = _moved(psf, dy, dx)
    flux, noise = _amplitude(light, spread, good, moved, down, right)
    source[0], source[1], source[2], source[3], source[4] = down, right, flux, dy, dx
    for row in range(side):
        for column in range(side):
            v, u = row - half - down + middle, column - half - right + middle
            known = 0 <= v < moved.shape[0] and 0 <= u < moved.shape[0]
            model[row, column] = flux * moved[v, u] if known else 0.0
    return flux / noise if noise > 0 else 0.0


@njit(cache=True, nogil=True)
def _amplitude(light, spread, good, psf, down, right):  # type: ignore[no-untyped-def] # compiled
    """Flux of a source so far off the middle, and one sigma; 0 where nothing is known."""
    side, middle = light.shape[0], psf.shape[0] // 2
    half = side // 2
    match, power, noise = 0.0, 0.0, 0.0
    for j in range(side):
        v = j - half - down + middle
        if v < 0 or v >= psf.shape[0]:
            continue
        for i in range(side):
            u = i - half - right + middle
            if good[j, i] and 0 <= u < psf.shape[0]:
                share = psf[v, u]
                match += share * light[j, i]
                power += share * share
                noise += share * share * spread[j, i]
    if power <= 0:
        return 0.0, 0.0
    return match / power, np.sqrt(noise) / power


@njit(cache=True, nogil=True)
def _vertex(before, here, after):  # type: ignore[no-untyped-def] # compiled
    """Where a peak is between three values: that of a Gaussian, where they are positive."""
    if before > 0 and here > 0 and after > 0:
        before, here, after = np.log(before), np.log(here), np.log(after)
    bend = before + after - 2 * here
    if not bend < 0:
        return 0.0
    return min(max(0.5 * (before - after) / bend, -0.5), 0.5)


@njit(cache=True, nogil=True)
def _moved(psf, dy, dx):  # type: ignore[no-untyped-def] # compiled
    """The stamp, which comes with its points between the pixels, moved by part of a pixel."""
    if psf[1].size:
        return drawn_between(psf[1], dy, dx)
    across = _slid(psf[0].astype(np.float64), dx)
    return _slid(across.T.copy(), dy).T.copy()


@njit(cache=True, nogil=True)
def _slid(plane, step):  # type: ignore[no-untyped-def] # compiled
    """Columns moved by part of a pixel, by a windowed sine cardinal through eight of them.

    A polynomial through four makes a star of two pixels a tenth lower and wider than it is.
    """
    if step == 0.0:
        return plane.copy()
    first = -SINE_REACH if step <= 0 else -SINE_REACH - 1
    taps = sine_taps(first, 2 * SINE_REACH + 1, step)
    result = np.zeros_like(plane)
    last = plane.shape[1] - 1
    for j in range(plane.shape[0]):
        for i in range(plane.shape[1]):
            for k in range(taps.size):
                result[j, i] += taps[k] * plane[j, min(max(i + first + k, 0), last)]
    return result


@njit(cache=True, nogil=True)
def _strongest(light, spread, good, ray, model, width):  # type: ignore[no-untyped-def] # compiled
    """The pattern that stands out most over its limit: its number, or -1, and first pixel."""
    side = light.shape[0]
    half, reach = side // 2, (_WIDE * width) ** 2
    power, begin = 0.0, np.sqrt(_BEGIN**2 + _chance(width))
    for j in range(side):
        for i in range(side):
            power += model[j, i] ** 2 if good[j, i] else 0.0
    best, which, top, left = 1.0, -1, 0, 0
    for j in range(1, side - 1):
        for i in range(1, side - 1):
            if (j - half) ** 2 + (i - half) ** 2 > reach or not good[j, i]:
                continue
            limit = _GO_ON if ray[j - 1 : j + 2, i - 1 : i + 2].any() else begin
            for k in range(STEP_COUNTS.size):
                height = _stands_out(light, spread, good, model, power, k, j, i)
                if height > best * limit:
                    best, which, top, left = height / limit, k, j, i
                # Patterns begin a hit; it grows by single pixels.
                limit = begin
    return which, top, left


@njit(cache=True, nogil=True)
def _stands_out(light, spread, good, model, power, k, j, i):  # type: ignore[no-untyped-def] # compiled
    """Sigma of the pixels of a pattern together over the fit; 0 where one is not known."""
    side = light.shape[0]
    rest, noise, told = light[j, i] - model[j, i], spread[j, i], model[j, i]
    for step in range(STEP_COUNTS[k]):
        row, column = j + STEPS[k, step, 0], i + STEPS[k, step, 1]
        if column < 0 or max(row, column) >= side or not good[row, column]:
            return 0.0
        rest += light[row, column] - model[row, column]
        noise += spread[row, column]
        told += model[row, column]
    # The fit has followed the pixels in part.
    taken = told * told / max(power, 1e-30) / (STEP_COUNTS[k] + 1)
    noise = noise * max(1.0 - taken, 0.1) + (_PSF_ERROR * told) ** 2
    return rest / np.sqrt(noise)


@njit(cache=True, nogil=True)
def _chance(width):  # type: ignore[no-untyped-def] # compiled
    """By how much the largest square among a source's pixels grows with their number."""
    return max(0.0, 4.0 * np.log(width / _LIMITS_FOR))


@njit(cache=True, nogil=True)
def _gain(light, spread, good, ray, width, j, i):  # type: ignore[no-untyped-def] # compiled
    """Chi squared that a pixel gains when it is free, less its price."""
    half = light.shape[0] // 2
    if (j - half) ** 2 + (i - half) ** 2 > (_WIDE * width) ** 2 or not good[j, i]:
        return 0.0
    beside = ray[j - 1 : j + 2, i - 1 : i + 2].any()
    height = max(light[j, i], 0.0) ** 2 / spread[j, i]
    # The more a pixel tells, the less it is by chance that a source would tell the same: without
    # that, bright sources beside hits are explained by free pixels as well as by themselves.
    price = max(_PRICE_BESIDE, np.log(max(height, 1.0))) if beside else _PRICE + _chance(width)
    return max(height - price, 0.0)


@njit(cache=True, nogil=True)
def _all_free(light, spread, good, ray, width):  # type: ignore[no-untyped-def] # compiled
    """Pixels that are worth their price ``(n, 2)``."""
    gain = np.zeros(light.shape)
    for j in range(1, light.shape[0] - 1):
        for i in range(1, light.shape[1] - 1):
            gain[j, i] = _gain(light, spread, good, ray, width, j, i)
    return np.argwhere(gain > 0)


@njit(cache=True, nogil=True)
def _track(light, spread, good, ray, near, height):  # type: ignore[no-untyped-def] # compiled
    """Pixels ``(n, 2)`` of the track that explains more than the source does; none if none does."""
    half = light.shape[0] // 2
    best, which, top, left = height * height, -1, 0, 0
    for j in range(half - near, half + near + 1):
        for i in range(half - near, half + near + 1):
            for k in range(TRACKS.sizes.size):
                told = _track_gain(light, spread, good, ray, k, (j, i))
                if told > best:
                    best, which, top, left = told, k, j, i
    found = np.empty((TRACKS.most, 2), np.int64)
    count = 0
    for n in range(TRACKS.sizes[which] if which >= 0 else 0):
        v, u = top + TRACKS.rows[which, n], left + TRACKS.columns[which, n]
        if _seen(good, v, u) and light[v, u] > _HIT * np.sqrt(spread[v, u]):
            found[count, 0], found[count, 1] = v, u
            count += 1
    return found[:count]


@njit(cache=True, nogil=True)
def _track_gain(light, spread, good, ray, which, place):  # type: ignore[no-untyped-def] # compiled
    """Chi squared that a track explains, less its price."""
    match, power, beside = 0.0, 0.0, False
    for n in range(TRACKS.sizes[which]):
        v, u = place[0] + TRACKS.rows[which, n], place[1] + TRACKS.columns[which, n]
        if _seen(good, v, u):
            told = TRACKS.weight[which, n] / spread[v, u]
            match += told * light[v, u]
            power += told * TRACKS.weight[which, n]
        elif 0 <= v < ray.shape[0] and 0 <= u < ray.shape[1]:
            beside = beside or ray[v, u]
    if match <= 0.0 or power <= 0.0:
        return 0.0
    return match * match / power - (_TRACK_PRICE_BESIDE if beside else _TRACK_PRICE)


@njit(cache=True, nogil=True)
def _seen(good, row, column):  # type: ignore[no-untyped-def] # compiled
    side = good.shape[0]
    return 0 <= row < side and 0 <= column < side and good[row, column]


@njit(cache=True, nogil=True)
def _is_ray(light, spread, good, ray, model, width):  # type: ignore[no-untyped-def] # compiled
    """Whether free pixels explain what is there better than the source does."""
    side = light.shape[0]
    half = side // 2
    pixels, source = 0.0, 0.0
    for j in range(1, side - 1):
        for i in range(1, side - 1):
            if (j - half) ** 2 + (i - half) ** 2 > (_WIDE * width) ** 2 or not good[j, i]:
                continue
            pixels += _gain(light, spread, good, ray, width, j, i)
            rest = light[j, i] - model[j, i]
            softened = spread[j, i] + (_PSF_ERROR * model[j, i]) ** 2
            source += light[j, i] ** 2 / spread[j, i] - rest * rest / softened
    return pixels > source
