"""Candidates: places of a difference where something came or went.

A candidate is a maximum of the score, of either sign, above a threshold in sigma. What one thing
leaves behind is one candidate: the two lobes of a star that does not quite fall onto itself, and
the rings that the filter draws around something bright.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import scipy.fft
from numba import njit
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from firstlight.algorithms.candidates.fits import FIT_REACH, fit_points
from firstlight.algorithms.candidates.stamps import cut_candidates, difference_psfs
from firstlight.algorithms.candidates.window import look_at
from firstlight.algorithms.resampling.image_pair import PsfGrid
from firstlight.algorithms.subtraction.between_pixels import POINTS
from firstlight.algorithms.subtraction.subtract import Subtraction
from firstlight.errors import InvalidInput

__all__ = ["Candidates", "find_candidates"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

THRESHOLD = 5.0
_BETWEEN = 0.92  # of a peak's height, at least, is left on the pixel nearest to it
_JOINED = 1.0  # FWHM within which two peaks of one sign are one
# FWHM, of opposite ones: the score of a slight shift has its lobes 1.2 FWHM apart where the PSF is
# a Gaussian, and farther where it has wings.
_LOBES = 1.75
_COUNTS = 1.0  # FWHM, radius of the pixels whose flags a candidate has
_UPHILL = 1.0  # FWHM from the highest score to the highest flux
_NOISIER = 3.0  # times the error, at most, on that way: beside holes fluxes mean nothing
_FARTHEST = 1.0  # pixels that a peak may be from the pixel that is the highest
_FITS, _LONGEST = 2, 0.3  # steps to the place of a sharp star, and pixels of one of them


@dataclass(frozen=True, slots=True)
class Candidates:
    """What stands out of the noise of a difference, a column an array ``(n,)``.

    Sorted by falling significance, whatever the sign.

    Attributes
    ----------
    x, y
        Pixels of the new image, 0-based, between pixels.
    score
        Signal-to-noise ratio of a point source there; negative where light is missing.
    flux, flux_error
        Of that point source, electrons in the new image, and one sigma.
    flags
        OR of the flags plane within one FWHM.
    opposite
        Score of the strongest peak of the other sign that was joined to it, else 0.
    peaks
        How many peaks were joined, itself included.
    """

    x: Floats
    y: Floats
    score: Floats
    flux: Floats
    flux_error: Floats
    flags: NDArray[np.uint16]
    opposite: Floats
    peaks: Integers

    def __len__(self) -> int:
        return int(self.x.size)

    def columns(self) -> dict[str, NDArray[Any]]:
        """Every column by its name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def select(self, which: NDArray[np.bool_] | NDArray[np.intp]) -> Candidates:
        """Some of them, by a mask or by numbers."""
        return Candidates(**{name: column[which] for name, column in self.columns().items()})


def find_candidates(
    subtraction: Subtraction, fwhm: float, *, threshold: float = THRESHOLD
) -> Candidates:
    """Find what changed, brighter or fainter.

    Parameters
    ----------
    subtraction
        Its score has unit variance where nothing changed.
    fwhm
        Of stars in the new image, pixels.
    threshold
        Of the score at the peak between the pixels, sigma.

    Raises
    ------
    InvalidInput
        When width or threshold are not finite and positive.

    Notes
    -----
    The map is smooth on the scale of the PSF, so that its height between the pixels is that of
    the paraboloid through the nine around its highest pixel. The place is that of the highest
    flux that is uphill of there, the most probable one of a point source in white noise, with an
    error of about ``0.6 FWHM / score`` along each axis: that of the highest score is pushed away
    from the middle of a galaxy, where the noise is larger, by as much as the size of a star.

    Where the map ends, at the rim of a hole, its highest pixel is a peak only if it would be one
    were the map to go on.

    Of undersampled stars the maps are not so smooth, and the place is that where the PSF, as the
    pixels show it at each part of a pixel, fits the difference best.
    """
    for name, value in (("fwhm", fwhm), ("threshold", threshold)):
        if not (np.isfinite(value) and value > 0):
            raise InvalidInput(
                "Candidates need the width of the stars and a threshold.",
                field=name,
                found=value,
                expected="a positive number",
            )
    reach = max(1, round(fwhm / 2))
    rows, columns = _peaks(subtraction.score, np.float32(threshold * _BETWEEN), reach)
    score = _between_pixels(subtraction.score, rows, columns)[2]
    _climb(subtraction.flux, subtraction.flux_error, rows, columns, _UPHILL * fwhm)
    x, y, _ = _between_pixels(subtraction.flux, rows, columns)
    order = np.argsort(-np.abs(score), kind="stable")
    order = order[np.abs(score[order]) >= threshold]
    x, y, score = x[order], y[order], score[order]
    head, lobe = _joined(x, y, score, subtraction.psfs, (threshold, _JOINED * fwhm, _LOBES * fwhm))
    peaks = np.bincount(lobe, minlength=len(lobe))[head]
    opposite = _strongest_opposite(lobe, score, head)
    x, y, score = x[head], y[head], score[head]
    if subtraction.between is not None:
        x, y = _fitted(subtraction, subtraction.between, (x, y), np.sign(score), fwhm)
    flux, error = subtraction.flux_at(x, y)
    flags = np.zeros(len(x), np.uint16)
    _gather_flags(subtraction.flags, x, y, _COUNTS * fwhm, flags)
    return Candidates(x, y, score, flux, error, flags, opposite, peaks)


def _between_pixels(
    plane: NDArray[np.float32], rows: Integers, columns: Integers
) -> tuple[Floats, Floats, Floats]:
    """Place and height of the paraboloid through a peak and its eight neighbours."""
    ny, nx = plane.shape
    steps = np.arange(-1, 2)
    j = np.clip(rows[:, None, None] + steps[:, None], 0, ny - 1)
    i = np.clip(columns[:, None, None] + steps, 0, nx - 1)
    near = plane[j, i].astype(np.float64)
    middle = near[:, 1, 1]
    across, along = (near[:, 1, 2] - near[:, 1, 0]) / 2, (near[:, 2, 1] - near[:, 0, 1]) / 2
    xx = near[:, 1, 2] + near[:, 1, 0] - 2 * middle
    yy = near[:, 2, 1] + near[:, 0, 1] - 2 * middle
    xy = (near[:, 2, 2] + near[:, 0, 0] - near[:, 2, 0] - near[:, 0, 2]) / 4
    # Beside pixels without a value there is no paraboloid: the pixel itself stands.
    whole = (near != 0).all(axis=(1, 2))
    whole &= (rows > 0) & (rows < ny - 1) & (columns > 0) & (columns < nx - 1)
    curved = xx * yy - xy**2
    whole &= (curved > 0) & (xx * middle < 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        dx = np.where(whole, (xy * along - yy * across) / curved, 0.0)
        dy = np.where(whole, (xy * across - xx * along) / curved, 0.0)
    whole &= (np.abs(dx) <= _FARTHEST) & (np.abs(dy) <= _FARTHEST)
    dx, dy = np.where(whole, dx, 0.0), np.where(whole, dy, 0.0)
    height = np.asarray(middle + 0.5 * (across * dx + along * dy))
    return np.asarray(columns + dx), np.asarray(rows + dy), height


def _fitted(
    subtraction: Subtraction,
    between: PsfGrid,
    places: tuple[Floats, Floats],
    sign: Floats,
    fwhm: float,
) -> tuple[Floats, Floats]:
    """Places where the PSF fits the difference best.

    Those given where that is too far away, outside the image, or where nothing was measured.
    """
    if not len(sign):
        return places
    radius = int(np.ceil(FIT_REACH * fwhm)) + 1
    planes = subtraction.difference, subtraction.difference
    stamps = cut_candidates(*planes, subtraction, places, radius)
    psfs, widths = difference_psfs(between, *places), np.full(len(sign), fwhm)
    middle = np.stack([stamps.column + radius, stamps.row + radius])
    first = np.stack(places) - middle
    off = first.copy()
    for _ in range(_FITS):
        told = fit_points(look_at(stamps, psfs, (off[0], off[1]), sign, widths, 0.0, POINTS))
        # One step of a fit is not to be trusted farther than that.
        off += np.clip(np.stack([told.dx, told.dy]), -_LONGEST, _LONGEST)
    there = np.isfinite(subtraction.flux_at(*(off + middle))[1])
    there &= np.hypot(*(off - first)) <= _FARTHEST
    x, y = np.where(there, off, first) + middle
    return x, y


def _joined(
    x: Floats, y: Floats, score: Floats, psfs: PsfGrid, limits: tuple[float, float, float]
) -> tuple[Integers, Integers]:
    """Numbers of the peaks that stand for themselves, and the one each peak belongs to.

    Peaks come by falling significance. One belongs to a stronger peak when it is as near as the
    second of the `limits`, or the third where their signs differ, or when what the stronger ones
    would show there, were they point sources, leaves less of it than the first.
    """
    lobe = np.arange(len(x))
    responses = _responses(psfs)
    half = responses.shape[-1] // 2
    places = np.column_stack([x, y])
    pairs = cKDTree(places).query_pairs(half - 1.0, output_type="ndarray") if len(x) else ()
    if len(pairs):
        pairs = np.sort(pairs, axis=1)
        pairs = pairs[np.lexsort((pairs[:, 0], pairs[:, 1]))]
        column, row = (
            np.abs(place[:, None] - nodes).argmin(axis=1)
            for place, nodes in ((x, psfs.x), (y, psfs.y))
        )
        tile = row * len(psfs.x) + column
        _join(places, score, (pairs, tile, responses), limits, lobe)
    return np.flatnonzero(lobe == np.arange(len(x))), lobe


def _responses(psfs: PsfGrid) -> Floats:
    """Score around a point source of score one, ``(tiles, m, m)``."""
    side = psfs.stamps.shape[-1]
    size = scipy.fft.next_fast_len(2 * side, real=True)
    power = np.abs(scipy.fft.rfft2(psfs.stamps, (size, size))) ** 2
    whole = scipy.fft.fftshift(scipy.fft.irfft2(power, (size, size)), axes=(-2, -1))
    middle, half = size // 2, psfs.radius
    near = whole[..., middle - half : middle + half + 1, middle - half : middle + half + 1]
    near = near / near[..., half : half + 1, half : half + 1]
    return np.asarray(near, np.float64).reshape(-1, side, side)


def _strongest_opposite(lobe: Integers, score: Floats, head: Integers) -> Floats:
    """Score of the strongest member of the other sign of each group, 0 where there is none."""
    strongest = np.zeros(len(score))
    other = score * score[lobe] < 0
    np.maximum.at(strongest, lobe[other], np.abs(score[other]))
    return np.asarray(-np.sign(score[head]) * strongest[head])


@njit(cache=True, nogil=True)
def _peaks(score, low, reach):  # type: ignore[no-untyped-def] # compiled
    """Rows and columns of the pixels that are the highest of their sign around."""
    ny, nx = score.shape
    count = 0
    for y in range(ny):
        for x in range(nx):
            count += abs(score[y, x]) >= low
    rows, columns = np.empty(count, np.int64), np.empty(count, np.int64)
    found = 0
    for y in range(ny):
        for x in range(nx):
            high = abs(score[y, x]) >= low and _is_highest(score, y, x, reach)
            if high and not _rises_on(score, y, x):
                rows[found], columns[found] = y, x
                found += 1
    return rows[:found], columns[:found]


@njit(cache=True, nogil=True)
def _is_highest(score, y, x, reach):  # type: ignore[no-untyped-def] # compiled
    ny, nx = score.shape
    sign = np.float32(1.0) if score[y, x] > 0 else np.float32(-1.0)
    own = sign * score[y, x]
    for j in range(max(y - reach, 0), min(y + reach + 1, ny)):
        for i in range(max(x - reach, 0), min(x + reach + 1, nx)):
            other = sign * score[j, i]
            # Of equal pixels the first one is the peak.
            if other > own or (other == own and (j < y or (j == y and i < x))):
                # Beside a hole that something rises into there may be a peak of its own.
                if max(abs(j - y), abs(i - x)) > 1 and _rises_on(score, j, i):
                    continue
                return False
    return True


@njit(cache=True, nogil=True)
def _rises_on(score, y, x):  # type: ignore[no-untyped-def] # compiled
    """Whether a peak beside pixels without a value would be higher on one of them.

    By the parabola through it and two pixels on its other side. What the filling of a hole leaves
    rises towards it, and is highest where the map is cut off: there is no source.
    """
    ny, nx = score.shape
    sign = np.float32(1.0) if score[y, x] > 0 else np.float32(-1.0)
    for dy in range(-1, 2):
        for dx in range(-1, 2):
            inside = min(y + dy, y - 2 * dy) >= 0 and max(y + dy, y - 2 * dy) < ny
            inside = inside and min(x + dx, x - 2 * dx) >= 0 and max(x + dx, x - 2 * dx) < nx
            if not inside or score[y + dy, x + dx] != 0:
                continue
            near, far = sign * score[y - dy, x - dx], sign * score[y - 2 * dy, x - 2 * dx]
            if near != 0 and far != 0 and 2 * sign * score[y, x] - 3 * near + far > 0:
                return True
    return False


@njit(cache=True, nogil=True)
def _climb(flux, error, rows, columns, farthest):  # type: ignore[no-untyped-def] # compiled
    """Move each peak uphill to the next maximum of the flux of its sign, in place."""
    ny, nx = flux.shape
    for k in range(rows.size):
        row, column = rows[k], columns[k]
        sign = np.float32(1.0) if flux[row, column] > 0 else np.float32(-1.0)
        most = np.float32(_NOISIER) * error[row, column]
        y, x, moved = row, column, True
        while moved:
            moved, best = False, sign * flux[y, x]
            j0, j1, i0, i1 = max(y - 1, 0), min(y + 2, ny), max(x - 1, 0), min(x + 2, nx)
            for j in range(j0, j1):
                for i in range(i0, i1):
                    near = (j - row) ** 2 + (i - column) ** 2 <= farthest**2
                    if near and error[j, i] <= most and sign * flux[j, i] > best:
                        best, y, x, moved = sign * flux[j, i], j, i, True
        rows[k], columns[k] = y, x


@njit(cache=True, nogil=True)
def _join(places, score, knowledge, limits, lobe):  # type: ignore[no-untyped-def] # compiled
    """Let weak peaks belong to strong ones; `knowledge` is pairs, tiles and responses."""
    pairs, tile, responses = knowledge
    first, count = 0, len(pairs)
    while first < count:
        own = pairs[first, 1]
        expected, most, parent, near = 0.0, 0.0, own, own
        last = first
        while last < count and pairs[last, 1] == own:
            other = pairs[last, 0]
            last += 1
            if lobe[other] != other:
                continue
            dx, dy = places[own, 0] - places[other, 0], places[own, 1] - places[other, 1]
            joined = limits[1] if score[own] * score[other] > 0 else limits[2]
            if near == own and dx * dx + dy * dy <= joined**2:
                near = other
            share = score[other] * _look_up(responses[tile[other]], dx, dy)
            expected += share
            if abs(share) > most:
                most, parent = abs(share), other
        if near != own:
            lobe[own] = near
        elif abs(score[own] - expected) < limits[0]:
            lobe[own] = parent
        first = last


@njit(cache=True, nogil=True)
def _look_up(response, dx, dy):  # type: ignore[no-untyped-def] # compiled
    """Bilinear, 0 outside."""
    half = response.shape[0] // 2
    i, j = int(np.floor(dx)), int(np.floor(dy))
    if i < -half or j < -half or i >= half or j >= half:
        return 0.0
    u, v = dx - i, dy - j
    i, j = i + half, j + half
    upper = (1 - u) * response[j, i] + u * response[j, i + 1]
    return (1 - v) * upper + v * ((1 - u) * response[j + 1, i] + u * response[j + 1, i + 1])


@njit(cache=True, nogil=True)
def _gather_flags(plane, x, y, radius, flags):  # type: ignore[no-untyped-def] # compiled
    ny, nx = plane.shape
    for k in range(x.size):
        for j in range(max(0, int(y[k] - radius)), min(ny, int(y[k] + radius) + 2)):
            for i in range(max(0, int(x[k] - radius)), min(nx, int(x[k] + radius) + 2)):
                if (i - x[k]) ** 2 + (j - y[k]) ** 2 <= radius**2:
                    flags[k] |= plane[j, i]
