"""Connected pixels above a threshold, and those of them that are several sources in one.

``sep`` looks for branches of every region at 32 levels, which costs more than all the rest of it;
but a region with one peak alone has none. So only those with several are looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import numpy as np
import sep
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import label, maximum_filter

from firstlight.errors import InvalidInput

__all__ = ["extract"]

Plane = NDArray[np.float32]
Labels = NDArray[np.int32]
Objects = NDArray[np.void]

_ALONG_X, _ALONG_Y = ("x", "xcpeak", "xmin", "xmax"), ("y", "ycpeak", "ymin", "ymax")
# The size of sep's buffer holds for the whole process.
_BUFFER = Lock()
_PLACES = (*_ALONG_X, *_ALONG_Y)
_COLUMNS = np.dtype(
    [(name, np.float64) for name in (*_PLACES, "cpeak", "cflux")]
    + [("npix", np.int64), ("flag", np.int64)]
)


def extract(
    snr_map: Plane, threshold: float, *, min_pixels: int, contrast: float
) -> tuple[Objects, Labels]:
    """Find and deblend what is above a threshold.

    Parameters
    ----------
    snr_map
        Filtered image ``(ny, nx)``.
    min_pixels
        Fewest connected pixels.
    contrast
        Of a branch to its whole.

    Returns
    -------
    tuple
        A row for each object ``(n,)``, with the columns x, y (isophotal centre), xcpeak, ycpeak
        (highest pixel), xmin, xmax, ymin, ymax, cpeak and cflux (highest value and sum), npix and
        flag (of ``sep``); and the number, from one on, of the object or region that each pixel
        belongs to ``(ny, nx)``.

    Raises
    ------
    InvalidInput
        ``sep`` failed.
    """
    whole = _sep(snr_map, threshold, min_pixels, levels=1)
    if whole is None:
        return _peaks(snr_map, threshold)
    objects, footprints = whole
    crowded = np.flatnonzero(_count_tops(snr_map, footprints, len(objects)) > 1)
    others: list[Objects] = []
    count = len(objects)
    for number in crowded:
        window = _window(objects[number])
        own = footprints[window] == number + 1
        found, pieces = _split(snr_map[window], own, threshold, min_pixels, contrast)
        for name in _PLACES:
            found[name] += window[1].start if name in _ALONG_X else window[0].start
        # The first of them takes the place of the whole.
        objects[number] = found[0]
        others.append(found[1:])
        pieces[pieces > 1] += count - 1
        pieces[pieces == 1] = number + 1
        footprints[window][own] = pieces[own]
        count += len(found) - 1
    return np.concatenate([objects, *others]), footprints


def _window(region: np.void) -> tuple[slice, slice]:
    """The rows and columns that an object is in."""
    (top, bottom), (left, right) = (
        (int(region[f"{axis}min"]), int(region[f"{axis}max"]) + 1) for axis in "yx"
    )
    return slice(top, bottom), slice(left, right)


def _split(
    snr_map: Plane, own: NDArray[np.bool_], threshold: float, min_pixels: int, contrast: float
) -> tuple[Objects, Labels]:
    """Objects and labels of one region of a window, alone."""
    # A rim, since what touches a border is not what it would be within a larger image.
    alone = np.zeros((own.shape[0] + 2, own.shape[1] + 2), np.float32)
    inner = np.s_[1:-1, 1:-1]
    alone[inner][own] = snr_map[own]
    found = _sep(alone, threshold, min_pixels, contrast=contrast)
    objects, labels = found or _peaks(alone, threshold)
    for name in _PLACES:
        objects[name] -= 1.0
    return objects, labels[inner]


def _sep(
    snr_map: Plane,
    threshold: float,
    min_pixels: int,
    *,
    contrast: float = 1.0,
    levels: int = 32,
) -> tuple[Objects, Labels] | None:
    """Objects and labels, never short of buffers; None with more objects than ``sep`` can hold."""
    above = int(np.count_nonzero(snr_map > threshold))
    try:
        with _buffer_of(above + 1000):
            found, labels = sep.extract(
                snr_map,
                threshold,
                filter_kernel=None,
                minarea=min_pixels,
                clean=False,
                deblend_nthresh=levels,
                deblend_cont=contrast,
                segmentation_map=True,
            )
    except Exception as error:  # sep raises no narrower class
        if "overflow" not in str(error):
            raise InvalidInput(f"Extraction failed: {error}") from error
        # Raising its limit of sub-objects has crashed the process.
        return None
    objects = np.zeros(len(found), _COLUMNS)
    for name in _COLUMNS.names or ():
        objects[name] = found[name]
    return objects, labels


@contextmanager
def _buffer_of(pixels: int) -> Iterator[None]:
    """While inside, ``sep`` has room for so many pixels; others find its buffer as it was.

    ``sep`` keeps every pixel of unfinished objects there and fails when it is full. To make a
    large one costs more than to search a small image.
    """
    with _BUFFER:
        before = sep.get_extract_pixstack()
        sep.set_extract_pixstack(pixels)
        try:
            yield
        finally:
            sep.set_extract_pixstack(before)


def _peaks(snr_map: Plane, threshold: float) -> tuple[Objects, Labels]:
    """Every local maximum above the threshold, for fields where all sources are one region."""
    regions, _ = label(snr_map > threshold)
    top = (snr_map == maximum_filter(snr_map, 3)) & (regions > 0)
    y, x = np.nonzero(top)
    objects = np.zeros(x.size, _COLUMNS)
    for name in _PLACES:
        objects[name] = x if name in _ALONG_X else y
    objects["cpeak"] = objects["cflux"] = snr_map[y, x]
    objects["npix"] = 1
    objects["flag"] = sep.OBJ_MERGED
    return objects, regions.astype(np.int32)


@njit(cache=True, nogil=True)
def _count_tops(snr_map, footprints, count):  # type: ignore[no-untyped-def] # compiled
    """Pixels of each object that none of their neighbours is above ``(n,)``."""
    ny, nx = snr_map.shape
    tops = np.zeros(count, np.int64)
    for y in range(ny):
        for x in range(nx):
            number = footprints[y, x]
            if number == 0:
                continue
            value = snr_map[y, x]
            highest = True
            for j in range(max(y - 1, 0), min(y + 2, ny)):
                for i in range(max(x - 1, 0), min(x + 2, nx)):
                    highest = highest and not snr_map[j, i] > value
            if highest:
                tops[number - 1] += 1
    return tops
