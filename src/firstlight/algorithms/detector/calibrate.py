"""From raw counts to electrons: overscan, bias, dark, flat, variance and flags in one go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter1d

from firstlight.algorithms.detector.growth import disc, grown
from firstlight.algorithms.detector.linearity import Linearity
from firstlight.algorithms.flags import DTYPE, Flag
from firstlight.algorithms.order_statistics import kth_smallest
from firstlight.errors import InvalidInput

__all__ = [
    "CalibratedImage",
    "Detector",
    "Masters",
    "OverscanLevel",
    "ShapeMismatch",
    "calibrate",
    "overscan_level",
]

_BAD = int(Flag.BAD)
_SATURATED = int(Flag.SATURATED)
_NO_DATA = int(Flag.NO_DATA)
_LOW_FLAT = int(Flag.LOW_FLAT)
_NONLINEAR = int(Flag.NONLINEAR)
_LOW_FLAT_AT = 0.1
_TILE = 32  # pixels; small against vignetting, large enough that a tile's mean has little noise


class ShapeMismatch(InvalidInput):
    """Two planes that belong together have different shapes."""

    code = "input.shape"


@dataclass(frozen=True, slots=True)
class OverscanLevel:
    """What the amplifier adds to every pixel, as seen in its overscan.

    Attributes
    ----------
    level
        ADU, shape ``(ny, 1)``, ``(1, nx)`` or ``(1, 1)``: it broadcasts over the section's rows
        and columns.
    error
        One-sigma error of `level`, ADU, one number.
    read_noise
        Scatter of single overscan pixels, ADU.
    """

    level: NDArray[np.float32]
    error: float
    read_noise: float


@dataclass(frozen=True, slots=True)
class Detector:
    """What is known of the detector section.

    Attributes
    ----------
    gain
        Electrons per ADU: a number, or an array that broadcasts to the section (several
        amplifiers).
    read_noise
        Electrons, one sigma, as measured on bias frames (so it contains the digitisation).
    saturation
        Raw ADU at and above which a pixel is saturated, None if not known.
    linear_limit
        Raw ADU above which a pixel is flagged as nonlinear.
    saturation_growth
        Neighbours of saturated pixels within this many pixels are flagged as bleed.
    linearity
        What makes the counts above zero light linear; pixels above the end of its table are
        flagged as nonlinear. None leaves the counts as they are.
    """

    gain: ArrayLike = 1.0
    read_noise: ArrayLike = 0.0
    saturation: float | None = None
    linear_limit: float | None = None
    saturation_growth: int = 0
    linearity: Linearity | None = None


@dataclass(frozen=True, slots=True)
class Masters:
    """Master calibrations; each may be missing, each may bring its variance.

    Attributes
    ----------
    bias
        ADU, after its own overscan subtraction if the science frame has one.
    dark
        Rate per second in the unit of `dark_unit`.
    flat
        Relative response with median one.
    bad
        Boolean (True is bad) or a uint16 flags plane.
    bias_variance, dark_variance, flat_variance
        Squared errors in the squared units of the masters.
    dark_unit
        Of `dark`.
    bias_in_dark
        Per second: how much of the bias master's own error the dark holds with opposite sign,
        where the same master was taken off the dark frames (the weighted mean of one over their
        exposure times). 1 over the exposure time cancels that error: the dark then brings its
        bias with it.
    """

    bias: NDArray[np.floating] | None = None
    dark: NDArray[np.floating] | None = None
    flat: NDArray[np.floating] | None = None
    bad: NDArray[np.bool_] | NDArray[np.uint16] | None = None
    bias_variance: NDArray[np.floating] | None = None
    dark_variance: NDArray[np.floating] | None = None
    flat_variance: NDArray[np.floating] | None = None
    dark_unit: Literal["electron/s", "adu/s"] = "electron/s"
    bias_in_dark: float = 0.0


@dataclass(frozen=True, slots=True)
class CalibratedImage:
    """One section in electrons.

    Attributes
    ----------
    data
        Electrons, flat-fielded, float32 ``(ny, nx)``; 0 where there is no value.
    variance
        Electrons squared, float32; infinite where there is no value.
    flags
        uint16 bits of `firstlight.algorithms.flags.Flag`.
    """

    data: NDArray[np.float32]
    variance: NDArray[np.float32]
    flags: NDArray[np.uint16]


class _Planes(NamedTuple):
    """Everything the kernels need, each float32 and ``(1, nx)`` or ``(ny, nx)``."""

    row_level: NDArray[np.float32]  # (ny,)
    bias: NDArray[np.float32]
    dark: NDArray[np.float32]
    flat: NDArray[np.float32]
    gain: NDArray[np.float32]
    read_variance: NDArray[np.float32]
    bias_variance: NDArray[np.float32]
    dark_variance: NDArray[np.float32]
    flat_variance: NDArray[np.float32]


def overscan_level(
    raw: NDArray[np.generic],
    section: tuple[slice, slice],
    *,
    along: Literal["rows", "columns", "constant"] = "rows",
    smooth: float = 0.0,
    clip: float = 3.0,
) -> OverscanLevel:
    """Estimate the electronic level from an overscan section.

    The centre is the mean of what lies within `clip` sigma (from the median absolute deviation)
    of the median. A plain median would be quantised to whole ADU.

    Parameters
    ----------
    raw
        The raw frame ``(ny, nx)`` in ADU.
    section
        Rows and columns of the overscan.
    along
        "rows": a level for each row, for a strip beside the image; "columns": one for each
        column, for a strip above or below it; "constant": one number.
    smooth
        Sigma, in rows or columns, of the Gaussian that smooths the levels.
    clip
        In units of sigma.
    """
    strip = np.asarray(raw[section], dtype=np.float32)
    strip = np.where(np.isfinite(strip), strip, np.nan)
    if strip.size == 0 or not np.isfinite(strip).any():
        raise InvalidInput("The overscan section holds no pixels.", found=strip.shape)
    axis = {"rows": 1, "columns": 0, "constant": None}[along]
    centre = np.nanmedian(strip, axis=axis, keepdims=True)
    # The noise of an amplifier does not change from row to row, so one number serves all rows.
    distance = np.abs(strip - centre)
    # Whole ADU make the median deviation too small by up to half a step: begin wide.
    scatter = 1.4826 * (float(np.nanmedian(distance)) + 0.5)
    for _ in range(2):
        kept = distance <= clip * scatter
        scatter = max(float(np.sqrt(np.mean(distance[kept] ** 2))), 0.3)
    kept = distance <= clip * scatter
    count = np.maximum(kept.sum(axis=axis, keepdims=True), 1)
    residual = np.where(kept, strip - centre, 0.0)
    level = centre + residual.sum(axis=axis, keepdims=True) / count
    noise = float(np.std((strip - level)[kept]))
    error = noise / float(np.sqrt(np.median(count)))
    if smooth > 0 and along != "constant":
        length_axis = 1 - (axis or 0)
        level = gaussian_filter1d(level, smooth, axis=length_axis, mode="nearest")
        error /= float(np.sqrt(max(2.0 * np.sqrt(np.pi) * smooth, 1.0)))
    return OverscanLevel(level.astype(np.float32), error, noise)


def calibrate(
    raw: NDArray[np.generic],
    detector: Detector,
    masters: Masters | None = None,
    *,
    overscan: OverscanLevel | ArrayLike | None = None,
    data_section: tuple[slice, slice] | None = None,
    exposure_time: float = 0.0,
    ghosts: NDArray[np.float32] | None = None,
) -> CalibratedImage:
    """Turn a raw section into electrons with an honest variance and flags.

    ``data = (linear(raw - overscan - ghosts - bias) * gain - dark * t) / flat``. The variance is
    read noise, Poisson noise of everything collected, and the errors of the masters. Saturation
    is judged by the raw value, before anything is taken off.

    The Poisson term is taken from an *estimate of the expectation*, not from the pixel's own
    noisy value: using the latter gives low pixels small errors and so a chi-square that is tens
    of per cent too high on faint sky. The expectation is the coarsest of three scales that the
    pixel does not contradict at 3 sigma: a clipped tile mean, the mean of the eight neighbours
    (without the pixel itself), or the pixel.

    Parameters
    ----------
    raw
        ADU ``(ny, nx)``, any real type; NaN marks pixels without a value.
    detector, masters
        What is known; masters have the shape of `raw` or of its data section.
    overscan
        Level in ADU: an `OverscanLevel`, a number, or an array broadcasting to the data section
        or, if it has a value for each raw row or column, to `raw`.
    data_section
        Rows and columns that see the sky; the result has this shape.
    exposure_time
        Seconds, multiplies the dark rate.
    ghosts
        ADU that other amplifiers left in these pixels (crosstalk), the shape of the result.

    Notes
    -----
    Pixels whose flat is at or below 0.1 are flagged and get no value.

    Raises
    ------
    ShapeMismatch
        A master fits neither `raw` nor its data section.
    """
    masters = masters or Masters()
    full_shape = raw.shape
    trimmed = raw if data_section is None else raw[data_section]
    pixels = _native(trimmed)
    if masters.dark is None:
        exposure_time = 0.0
    left_of_bias = 1.0 - masters.bias_in_dark * exposure_time
    planes = _gather(
        pixels.shape, full_shape, data_section, detector, masters, overscan, left_of_bias
    )
    if ghosts is not None:
        planes = planes._replace(bias=planes.bias + _fitting(ghosts, pixels.shape, "ghosts"))
    flags = _initial_flags(masters.bad, pixels.shape, full_shape, data_section)
    saturation = np.inf if detector.saturation is None else detector.saturation
    linear = np.inf if detector.linear_limit is None else detector.linear_limit
    electrons = np.empty(pixels.shape, dtype=np.float32)
    variance = np.empty(pixels.shape, dtype=np.float32)
    limits = (float(saturation), float(linear))
    _to_electrons(pixels, planes, limits, _table(detector.linearity), electrons, flags)
    if detector.saturation_growth > 0:
        _grow_saturation(flags, detector.saturation_growth)
    read_variance = float(np.median(planes.read_variance))
    sky = _tile_means(electrons, flags, np.float32(read_variance), _TILE)
    settings = (np.float32(exposure_time), np.float32(_LOW_FLAT_AT))
    _finish(electrons, variance, flags, sky, planes, settings)
    return CalibratedImage(electrons, variance, flags)


def _fitting(plane: NDArray[np.float32], shape: tuple[int, ...], name: str) -> NDArray[np.float32]:
    if plane.shape != shape:
        raise ShapeMismatch(field=name, found=plane.shape, expected=shape)
    return np.ascontiguousarray(plane, dtype=np.float32)


def _table(linearity: Linearity | None) -> tuple[np.float32, np.float32, NDArray[np.float32]]:
    """Start, entries per ADU and corrections; no entry where nothing is to be corrected."""
    if linearity is None:
        return np.float32(0), np.float32(1), np.empty(0, np.float32)
    inverse = np.float32(1.0 / linearity.step)
    return np.float32(linearity.start), inverse, linearity.correction


def _native(raw: NDArray[np.generic]) -> NDArray[np.generic]:
    """uint16 stays; everything else becomes float32, so that two compiled versions are enough."""
    kind = np.uint16 if raw.dtype.kind == "u" and raw.dtype.itemsize == 2 else np.float32
    return np.ascontiguousarray(raw, dtype=kind)


def _plane(
    value: ArrayLike,
    shape: tuple[int, ...],
    full_shape: tuple[int, ...],
    section: tuple[slice, slice] | None,
    name: str,
) -> NDArray[np.float32]:
    """One row if the value does not change with y, else the whole plane; contiguous float32."""
    array = np.atleast_2d(np.asarray(value, dtype=np.float32))
    if section is not None and array.shape != shape:
        rows = section[0] if array.shape[0] == full_shape[0] else slice(None)
        columns = section[1] if array.shape[1] == full_shape[1] else slice(None)
        array = array[rows, columns]
    if array.shape[0] not in (1, shape[0]) or array.shape[1] not in (1, shape[1]):
        raise ShapeMismatch(
            "A calibration does not fit the image.", field=name, found=array.shape, expected=shape
        )
    return np.ascontiguousarray(np.broadcast_to(array, (array.shape[0], shape[1])))


def _gather(
    shape: tuple[int, ...],
    full_shape: tuple[int, ...],
    section: tuple[slice, slice] | None,
    detector: Detector,
    masters: Masters,
    overscan: OverscanLevel | ArrayLike | None,
    left_of_bias: float,
) -> _Planes:
    """Planes for the kernels; `left_of_bias` is the share of the bias's error that stays."""

    def plane(value: ArrayLike | None, name: str, missing: float = 0.0) -> NDArray[np.float32]:
        given = missing if value is None else value
        return _plane(given, shape, full_shape, section, name)

    gain = plane(detector.gain, "gain")
    bias = plane(masters.bias, "bias")
    bias_variance = plane(masters.bias_variance, "bias_variance") * np.float32(left_of_bias**2)
    level: ArrayLike = 0.0 if overscan is None else overscan  # type: ignore[assignment] # narrowed next
    if isinstance(overscan, OverscanLevel):
        level = overscan.level
        bias_variance = bias_variance + np.float32(overscan.error**2)
    levels = np.atleast_2d(np.asarray(level, dtype=np.float32))
    row_level = np.zeros(shape[0], dtype=np.float32)
    if levels.shape[1] == 1:
        if section is not None and levels.shape[0] == full_shape[0]:
            levels = levels[section[0]]
        if levels.shape[0] not in (1, shape[0]):
            raise ShapeMismatch(field="overscan", found=levels.shape, expected=shape)
        row_level[:] = levels[:, 0]
    else:
        bias = bias + plane(levels, "overscan")
    dark, dark_variance = plane(masters.dark, "dark"), plane(masters.dark_variance, "dark_variance")
    if masters.dark_unit == "adu/s":
        dark, dark_variance = dark * gain, dark_variance * gain**2
    return _Planes(
        row_level,
        bias,
        dark,
        plane(masters.flat, "flat", 1.0),
        gain,
        plane(np.square(np.asarray(detector.read_noise, dtype=np.float32)), "read_noise"),
        bias_variance,
        dark_variance,
        plane(masters.flat_variance, "flat_variance"),
    )


def _initial_flags(
    bad: NDArray[np.generic] | None,
    shape: tuple[int, ...],
    full_shape: tuple[int, ...],
    section: tuple[slice, slice] | None,
) -> NDArray[np.uint16]:
    if bad is None:
        return np.zeros(shape, dtype=DTYPE)
    if section is not None and bad.shape == full_shape:
        bad = bad[section]
    if bad.shape != shape:
        raise ShapeMismatch(field="bad", found=bad.shape, expected=shape)
    if bad.dtype == np.bool_:
        return np.where(bad, DTYPE(_BAD), DTYPE(0))
    return bad.astype(DTYPE, order="C")


def _grow_saturation(flags: NDArray[np.uint16], radius: int) -> None:
    """Flag the neighbours of saturated pixels as bleed, in place."""
    saturated = (flags & _SATURATED) != 0
    flags[grown(saturated, disc(radius)) & ~saturated] |= DTYPE(Flag.BLEED)


@njit(cache=True, nogil=True)
def _correction(counts, table):  # type: ignore[no-untyped-def] # compiled
    """What makes counts linear, that of the nearest end outside of the table."""
    start, inverse, entries = table
    place = (counts - start) * inverse
    if place <= 0:
        return entries[0]
    last = entries.size - 1
    if place >= last:
        return entries[last]
    k = int(place)
    return entries[k] + (place - np.float32(k)) * (entries[k + 1] - entries[k])


@njit(cache=True, nogil=True)
def _to_electrons(raw, planes, limits, table, electrons, flags):  # type: ignore[no-untyped-def] # compiled
    """Collected electrons before dark and flat; flags of the raw values."""
    ny, nx = raw.shape
    saturation, linear = limits
    start, inverse, entries = table
    top = start + np.float32(entries.size - 1) / inverse
    for y in range(ny):
        level = planes.row_level[y]
        bias, gain = _row(planes.bias, y), _row(planes.gain, y)
        kept = np.float32(0)
        for x in range(nx):
            value = np.float32(raw[y, x])
            if np.isfinite(value):
                counts = value - level - bias[x]
                if entries.size > 0:
                    flags[y, x] |= np.uint16(_NONLINEAR if counts > top else 0)
                    counts += _correction(counts, table)
                kept = counts * gain[x]
            else:
                flags[y, x] |= _NO_DATA
            # A missing pixel stands in with its neighbour's value for the local means only.
            electrons[y, x] = kept
            if value >= saturation:
                flags[y, x] |= _SATURATED
            if value > linear:
                flags[y, x] |= _NONLINEAR


@njit(cache=True, nogil=True)
def _tile_means(electrons, flags, read_variance, tile):  # type: ignore[no-untyped-def] # compiled
    """Clipped mean of each tile: the expectation of a pixel that holds only sky."""
    ny, nx = electrons.shape
    rows, columns = (ny + tile - 1) // tile, (nx + tile - 1) // tile
    means = np.zeros((rows, columns), dtype=np.float32)
    sample = np.empty(tile * tile, dtype=np.float32)
    for j in range(rows):
        for i in range(columns):
            count = 0
            for y in range(j * tile, min((j + 1) * tile, ny), 4):
                for x in range(i * tile, min((i + 1) * tile, nx), 2):
                    if flags[y, x] == 0:
                        sample[count] = electrons[y, x]
                        count += 1
            if count == 0:
                continue
            low = kth_smallest(sample, count, (count * 16) // 100)
            high = kth_smallest(sample, count, (count * 84) // 100)
            centre = kth_smallest(sample, count, count // 2)
            # Half the width between two percentiles: safe when the read noise is not known.
            width = (high - low) / 2
            limit = 3.0 * max(np.sqrt(read_variance + max(centre, np.float32(0.0))), width)
            total, kept = 0.0, 0
            for y in range(j * tile, min((j + 1) * tile, ny)):
                for x in range(i * tile, min((i + 1) * tile, nx)):
                    value = electrons[y, x]
                    if flags[y, x] == 0 and abs(value - centre) <= limit:
                        total += value
                        kept += 1
            means[j, i] = total / max(kept, 1)
    return means


@njit(cache=True, nogil=True)
def _expected_row(above, here, below, sky, read, expected):  # type: ignore[no-untyped-def] # compiled
    """Electrons expected in each pixel of a row: the coarsest scale that it does not contradict.

    The three rows carry one pixel more at each end.
    """
    zero = np.float32(0.0)
    # The weighted mean of the eight neighbours has 20/144 of a pixel's variance.
    near_limit, own_limit = np.float32(9.0 * 20 / 144), np.float32(12.25 * 164 / 144)
    for x in range(expected.size):
        near = above[x + 1] + below[x + 1] + here[x] + here[x + 2]
        corners = above[x] + above[x + 2] + below[x] + below[x + 2]
        around = (near + near + corners) * np.float32(1.0 / 12.0)
        off_sky = around - sky[x]
        best = sky[x] if off_sky * off_sky <= near_limit * (read[x] + max(sky[x], zero)) else around
        off_best = here[x + 1] - best
        keeps = off_best * off_best <= own_limit * (read[x] + max(best, zero))
        # On a source, half of the pixel itself: neighbours alone would flatten its peak.
        if keeps and best != sky[x]:
            best += np.float32(0.5) * off_best
        expected[x] = max(best if keeps else here[x + 1], zero)


@njit(cache=True, nogil=True)
def _row(plane, y):  # type: ignore[no-untyped-def] # compiled
    """Row y of a plane that may be one row standing for all."""
    return plane[y if plane.shape[0] > 1 else 0]


@njit(cache=True, nogil=True)
def _pad(row, padded):  # type: ignore[no-untyped-def] # compiled
    padded[1:-1] = row
    padded[0], padded[-1] = row[0], row[-1]


@njit(cache=True, nogil=True)
def _finish(electrons, variance, flags, sky, planes, settings):  # type: ignore[no-untyped-def] # compiled
    """Variance from the expectation, then dark and flat, in place."""
    ny, nx = electrons.shape
    time, low_flat = settings
    rows = np.empty((3, nx + 2), dtype=np.float32)
    expected, row_sky = np.empty(nx, dtype=np.float32), np.empty(nx, dtype=np.float32)
    _pad(electrons[0], rows[0])
    _pad(electrons[0], rows[1])
    for y in range(ny):
        above, here, below = rows[y % 3], rows[(y + 1) % 3], rows[(y + 2) % 3]
        # Row y is about to be overwritten; the row below still holds raw electrons.
        _pad(electrons[y + 1] if y + 1 < ny else here[1:-1], below)
        for x in range(nx):
            row_sky[x] = sky[y // _TILE, x // _TILE]
        bias_var, dark = _row(planes.bias_variance, y), _row(planes.dark, y)
        dark_var, flat_var = _row(planes.dark_variance, y), _row(planes.flat_variance, y)
        flat, gain = _row(planes.flat, y), _row(planes.gain, y)
        read = _row(planes.read_variance, y)
        _expected_row(above, here, below, row_sky, read, expected)
        for x in range(nx):
            total = read[x] + expected[x]
            total += gain[x] * gain[x] * bias_var[x] + time * time * dark_var[x]
            low = flat[x] <= low_flat or not np.isfinite(flat[x])
            inverse = np.float32(1.0) / (np.float32(1.0) if low else flat[x])
            value = (here[x + 1] - time * dark[x]) * inverse
            flags[y, x] |= np.uint16(_LOW_FLAT if low else 0)
            lost = (flags[y, x] & (_NO_DATA | _LOW_FLAT)) != 0
            error2 = (total + value * value * flat_var[x]) * inverse * inverse
            electrons[y, x] = np.float32(0.0) if lost else value
            variance[y, x] = np.float32(np.inf) if lost else error2
