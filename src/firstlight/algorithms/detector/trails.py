"""Straight trails of satellites, aircraft and meteors across an image.

The image is averaged in blocks, each pixel clipped so that no star counts much, and summed along
every straight line (a Radon transform). A line that stands out, and does so along most of its
length and not at a few places, is a trail. Its course and width are then measured in the profile
across it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numba import njit
from numpy.typing import NDArray

from firstlight.algorithms.median_deviation import scatter_about_median
from firstlight.errors import InvalidInput

__all__ = ["Trail", "find_trails"]

Floats = NDArray[np.float64]

_LEAST_BLOCK, _MOST_BLOCK = 4, 16  # pixels
_BLOCKS = 128  # across the shorter side
_CLIP = 2.0  # sigma of a pixel
_BLOCK_CLIP = 4.0  # sigma of a block
_PARTS = 12  # of a line
_PART = 2.5  # sigma, for a part that shows the trail
_MOST_PARTS = 0.75
_SHORTEST = 24  # blocks
_MOST = 5
_ACROSS = 24  # pixels on each side of a trail in which its profile is measured
_EDGE = 0.05  # of the profile's peak, at which a trail ends
_WIDEST = 16
_CENTROID = 6
_FAINTEST = 4.0  # sigma of a median along the trail, where the profile ends
_LEAST_HALF_WIDTH = 2.0  # pixels
_SEAM_TURN = 0.01  # radians
_SEAM_WIDTH = 40.0  # pixels; a step in the sky is smeared by the map that was taken off


@dataclass(frozen=True, slots=True)
class Trail:
    """A straight band across the whole image.

    Attributes
    ----------
    angle
        Of the normal, radians from +x to +y, in [0, pi).
    distance
        Pixels from pixel (0, 0) along the normal: ``x cos + y sin = distance``.
    half_width
        Of the band, pixels.
    significance
        Of the sum along the line, sigma.
    """

    angle: float
    distance: float
    half_width: float
    significance: float


def find_trails(
    data: NDArray[np.floating],
    variance: NDArray[np.floating],
    hidden: NDArray[np.bool_] | None = None,
    *,
    threshold: float = 12.0,
    seams: Sequence[tuple[float, float]] = (),
) -> tuple[NDArray[np.bool_], list[Trail]]:
    """Find trails that cross the image.

    Parameters
    ----------
    data
        Sky-subtracted electrons ``(ny, nx)``.
    variance
        Electrons squared.
    hidden
        True where a pixel cannot be used.
    threshold
        In sigma of the sum along the line.
    seams
        Lines, as angle and distance of a `Trail`, along which amplifiers meet: what runs beside
        one is their difference, and no trail.

    Returns
    -------
    A mask ``(ny, nx)``, True on trails, and the trails, most significant first, at most five.

    Raises
    ------
    InvalidInput
        The planes do not fit.
    """
    for name, plane in (("variance", variance), ("hidden", hidden)):
        if plane is not None and plane.shape != data.shape:
            raise InvalidInput(
                "The planes do not fit.", field=name, found=plane.shape, expected=data.shape
            )
    mask = np.zeros(data.shape, dtype=np.bool_)
    found: list[Trail] = []
    side = int(np.clip(min(data.shape) // _BLOCKS, _LEAST_BLOCK, _MOST_BLOCK))
    if min(data.shape) < _SHORTEST * side:
        return mask, found
    light = np.ascontiguousarray(data, np.float32)
    noise = np.ascontiguousarray(variance, np.float32)
    lost = np.zeros(data.shape, dtype=np.bool_) if hidden is None else hidden
    blocks = _blocks(light, noise, np.ascontiguousarray(lost), side)
    blocks -= np.median(blocks)
    scatter = scatter_about_median(blocks) or 1.0
    blocks = np.clip(blocks / scatter, -_BLOCK_CLIP, _BLOCK_CLIP)
    blocks -= blocks.mean()
    blocks /= blocks.std() or 1.0
    for _ in range(_MOST + len(seams)):
        line = _strongest(blocks, threshold)
        if line is None:
            break
        trail = _refined(light, noise, _on_pixels(line, side))
        if not any(_runs_beside(trail, seam) for seam in seams):
            found.append(trail)
            _paint(mask, trail.angle, trail.distance, trail.half_width)
        blocks[_shadow(blocks.shape, trail, side)] = 0.0
    return mask, found


def _runs_beside(trail: Trail, seam: tuple[float, float]) -> bool:
    angle, distance = seam
    turn = (trail.angle - angle + np.pi / 2) % np.pi - np.pi / 2
    # Half a turn of the normal changes the sign of the distance.
    same = np.cos(trail.angle - angle) > 0
    off = trail.distance - (distance if same else -distance)
    return bool(abs(turn) < _SEAM_TURN and abs(off) < _SEAM_WIDTH)


def _on_pixels(line: Trail, side: int) -> Trail:
    """A line on blocks, on pixels: the middle of block 0 is not pixel 0."""
    middle = (side - 1) / 2 * float(np.cos(line.angle) + np.sin(line.angle))
    return replace(line, distance=line.distance * side + middle)


def _strongest(blocks: NDArray[np.float32], threshold: float) -> Trail | None:
    """The line with the most significant sum that holds along its length."""
    ny, nx = blocks.shape
    reach = int(np.ceil(np.hypot(ny, nx)))
    angles = np.linspace(0, np.pi, 2 * reach, endpoint=False)
    sums, counts = _line_sums(blocks, np.cos(angles), np.sin(angles), reach)
    score = np.where(counts >= _SHORTEST, sums / np.sqrt(np.maximum(counts, 1)), 0.0)
    for place in np.argsort(-score, axis=None)[:20]:
        at, bin_ = np.unravel_index(place, score.shape)
        if score[at, bin_] < threshold:
            return None
        angle, distance = float(angles[at]), float(bin_ - reach)
        if _holds(blocks, angle, distance):
            return Trail(angle, distance, 0.0, float(score[at, bin_]))
    return None


def _holds(blocks: NDArray[np.float32], angle: float, distance: float) -> bool:
    """Whether most parts of the line stand out by themselves."""
    y, x = np.indices(blocks.shape)
    off = x * np.cos(angle) + y * np.sin(angle) - distance
    near = np.abs(off) <= 0.5
    along = (y * np.cos(angle) - x * np.sin(angle))[near]
    order = np.argsort(along)
    parts = np.array_split(blocks[near][order], _PARTS)
    shown = [part.sum() > _PART * np.sqrt(max(part.size, 1)) for part in parts]
    return float(np.mean(shown)) >= _MOST_PARTS


def _refined(light: NDArray[np.float32], noise: NDArray[np.float32], trail: Trail) -> Trail:
    """Course from the centroids of the profile in parts of the line; width from all of it."""
    t, strip = _strip(light, noise, trail)
    across = np.arange(-_ACROSS, _ACROSS + 1)
    centres, places = [], []
    for part in np.array_split(np.arange(len(t)), _PARTS):
        profile = np.median(strip[part], axis=0)
        profile = np.clip(profile - np.median(profile), 0, None)
        peak = int(np.argmax(np.convolve(profile, np.ones(3), "same")))
        near = np.abs(across - across[peak]) <= _CENTROID
        if profile[near].sum() > 0:
            centres.append(float((profile * across)[near].sum() / profile[near].sum()))
            places.append(float(t[part].mean()))
    slope, offset = _robust_line(np.array(places), np.array(centres))
    half = _half_width(strip, np.asarray(offset + slope * t, np.float64))
    # What moves across along the line turns its normal.
    angle = trail.angle - float(np.arctan(slope))
    aside = trail.distance + offset
    distance = aside * float(np.cos(angle - trail.angle))
    if angle < 0 or angle >= np.pi:
        angle, distance = angle % np.pi, -distance
    return Trail(angle, distance, half, trail.significance)


def _strip(
    light: NDArray[np.float32], noise: NDArray[np.float32], trail: Trail
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Steps along the line, and the significance of the pixels across it at each, ``(n, p)``."""
    cos, sin = np.cos(trail.angle), np.sin(trail.angle)
    ny, nx = light.shape
    reach = int(np.hypot(ny, nx))
    t = np.arange(-reach, reach + 1)
    y, x = trail.distance * sin + t * cos, trail.distance * cos - t * sin
    inside = (x > 0) & (x < nx - 1) & (y > 0) & (y < ny - 1)
    across = np.arange(-_ACROSS, _ACROSS + 1)
    rows = np.clip(np.rint(y[inside, None] + across * sin).astype(int), 0, ny - 1)
    columns = np.clip(np.rint(x[inside, None] + across * cos).astype(int), 0, nx - 1)
    value = light[rows, columns] / np.sqrt(noise[rows, columns])
    return t[inside], np.where(np.isfinite(value), value, np.float32(0.0))


def _half_width(strip: NDArray[np.float32], centres: Floats) -> float:
    """Pixels from the middle of the band to where its profile ends."""
    shifts = np.rint(centres).astype(int)[:, None] + np.arange(-_WIDEST, _WIDEST + 1)
    straight = np.take_along_axis(strip, np.clip(shifts + _ACROSS, 0, 2 * _ACROSS), axis=1)
    profile = np.median(straight, axis=0)
    profile -= np.median(np.concatenate([profile[:6], profile[-6:]]))
    low = max(_EDGE * float(profile.max()), _FAINTEST / np.sqrt(len(strip)))
    faint = profile <= low
    ends = [int(np.argmax(np.append(side, True))) for side in (faint[_WIDEST::-1], faint[_WIDEST:])]
    return max(_LEAST_HALF_WIDTH, float(max(ends)))


def _robust_line(places: Floats, centres: Floats) -> tuple[float, float]:
    """Slope and offset through points, without those far off (Theil-Sen)."""
    if len(places) < 3:
        return 0.0, float(np.median(centres)) if len(centres) else 0.0
    i, j = np.triu_indices(len(places), 1)
    slope = float(np.median((centres[j] - centres[i]) / (places[j] - places[i])))
    return slope, float(np.median(centres - slope * places))


def _shadow(shape: tuple[int, ...], trail: Trail, side: int) -> NDArray[np.bool_]:
    """Blocks that hold some of the trail."""
    shadow = np.zeros(shape, dtype=np.bool_)
    middle = (side - 1) / 2 * float(np.cos(trail.angle) + np.sin(trail.angle))
    _paint(shadow, trail.angle, (trail.distance - middle) / side, trail.half_width / side + 2.0)
    return shadow


@njit(cache=True, nogil=True)
def _blocks(light, noise, hidden, side):  # type: ignore[no-untyped-def] # compiled
    """Mean of the clipped significance of the pixels of each block."""
    rows, columns = light.shape[0] // side, light.shape[1] // side
    total = np.zeros((rows, columns), dtype=np.float32)
    clip = np.float32(_CLIP)
    for y in range(rows * side):
        for x in range(columns * side):
            value = light[y, x] / np.sqrt(noise[y, x])
            if not hidden[y, x] and np.isfinite(value):
                total[y // side, x // side] += min(max(value, -clip), clip)
    return total / np.float32(side * side)


@njit(cache=True, nogil=True)
def _line_sums(blocks, cos, sin, reach):  # type: ignore[no-untyped-def] # compiled
    """Sum of blocks along each line, and how many there are."""
    ny, nx = blocks.shape
    sums = np.zeros((cos.size, 2 * reach + 1), dtype=np.float32)
    counts = np.zeros((cos.size, 2 * reach + 1), dtype=np.float32)
    for k in range(cos.size):
        for y in range(ny):
            start = y * sin[k] + reach + 0.5
            for x in range(nx):
                at = int(start + x * cos[k])
                sums[k, at] += blocks[y, x]
                counts[k, at] += 1
    return sums, counts


@njit(cache=True, nogil=True)
def _paint(mask, angle, distance, half_width):  # type: ignore[no-untyped-def] # compiled
    """Mark the band."""
    cos, sin = np.cos(angle), np.sin(angle)
    for y in range(mask.shape[0]):
        for x in range(mask.shape[1]):
            if abs(x * cos + y * sin - distance) <= half_width:
                mask[y, x] = True
