"""Find sources: matched filter, deblending, windowed positions, shapes and flags."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import sep
from numba import njit
from numpy.typing import NDArray

from firstlight.algorithms.flags import DTYPE, Flag
from firstlight.algorithms.sources.aperture import REPLACED, aperture_fluxes
from firstlight.algorithms.sources.deblend import extract
from firstlight.algorithms.sources.matched_filter import matched_filter, sky_variance
from firstlight.algorithms.sources.moments import FWHM_OF_SIGMA, adaptive_shapes, windowed_positions
from firstlight.algorithms.sources.sharpest_stars import ImageQuality, image_quality
from firstlight.errors import InvalidInput

__all__ = ["Detection", "Sources", "find_sources", "star_width"]

_FIRST_SIGMA = 1.3  # pixels; serves to see bright stars of any width before the width is known
_FIRST_SNR = 15.0
_FIRST_PIXELS = 1 << 20  # enough stars for a width, on most skies
_FIRST_STARS = 12
_FIRST_MOST = 400
_APERTURE = 1.5  # radius of the flux column in FWHM


@dataclass(frozen=True, slots=True)
class Sources:
    """What was found in one image, a column an array, sorted by falling `flux`.

    Attributes
    ----------
    x, y
        Isophotal centre, pixels, 0-based.
    x_win, y_win, x_err, y_err
        Windowed position and its error; the isophotal centre and NaN where the window failed.
    flux, flux_err
        In a circle of 1.5 FWHM of the image around the windowed position; NaN at the edge.
    peak
        Highest pixel, sky-subtracted.
    snr
        Of the matched filter at its peak.
    a, b, theta
        Sigma along the axes (pixels), angle of the long axis from +x to +y (radians).
    fwhm
        Of this source, pixels, on the scale of `Detection.fwhm`; NaN without a shape.
    elongation
        a / b.
    sharpness
        Contrast of the brightest pixel over that of a point source: near 1 for stars, larger for
        cosmic rays and hot pixels, smaller for galaxies and trails.
    npix
        Pixels above the threshold in the filtered image.
    flags
        OR of the flags plane over those pixels, with EDGE where they or the window meet the
        border.
    blended
        True where the source was separated from, or overlaps, another one.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    x_win: NDArray[np.float64]
    y_win: NDArray[np.float64]
    x_err: NDArray[np.float64]
    y_err: NDArray[np.float64]
    flux: NDArray[np.float64]
    flux_err: NDArray[np.float64]
    peak: NDArray[np.float64]
    snr: NDArray[np.float64]
    a: NDArray[np.float64]
    b: NDArray[np.float64]
    theta: NDArray[np.float64]
    fwhm: NDArray[np.float64]
    elongation: NDArray[np.float64]
    sharpness: NDArray[np.float64]
    npix: NDArray[np.int64]
    flags: NDArray[np.uint16]
    blended: NDArray[np.bool_]

    def __len__(self) -> int:
        return int(self.x.size)

    def columns(self) -> dict[str, NDArray[Any]]:
        """Every column by its name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def select(self, index: NDArray[np.bool_] | NDArray[np.intp]) -> Sources:
        """Keep some rows, by mask or in the order of an index."""
        return Sources(**{name: column[index] for name, column in self.columns().items()})


@dataclass(frozen=True, slots=True)
class Detection:
    """The sources of one image and what they say of it.

    Attributes
    ----------
    sources
        At most the number asked for.
    fwhm
        Of point sources in this image, pixels; NaN if no star is clear enough to tell.
    elongation
        Median of point sources; well above 1 in a trailed image; NaN likewise.
    stars
        How many stars `fwhm` and `elongation` rest on.
    filter_fwhm
        Of the matched filter that was used.
    noise_scale
        Measured noise of the filtered image over that expected of the variance; the threshold
        was raised by it where it is above 1 (correlated noise, or a variance too small).
    found
        Number of sources before the limit.
    footprints
        int32 ``(ny, nx)``: 0, or a number for each detected region. For masks.
    """

    sources: Sources
    fwhm: float
    elongation: float
    stars: int
    filter_fwhm: float
    noise_scale: float
    found: int
    footprints: NDArray[np.int32]


def find_sources(
    data: NDArray[np.float32],
    variance: NDArray[np.float32] | float,
    flags: NDArray[np.uint16] | None = None,
    *,
    threshold: float = 4.5,
    fwhm: float | None = None,
    limit: int = 50_000,
    min_pixels: int = 1,
    contrast: float = 0.001,
) -> Detection:
    """Find and measure sources in a sky-subtracted image.

    The image is filtered with a Gaussian of the width of its own stars; a source is where that
    exceeds `threshold` times the noise *of the filtered image*, so `threshold` is the
    signal-to-noise ratio of a point source at which half are found.

    Parameters
    ----------
    data
        Sky-subtracted image ``(ny, nx)``.
    variance
        Plane in the squared unit of the image, infinite where there is no value. Where none is
        known, the square of the rms map or number of the background.
    flags
        Flags plane; the bits of `aperture.REPLACED` hide a pixel. Saturated stars are found.
    threshold
        In sigma of the filtered noise.
    fwhm
        Of the filter, pixels; measured on the brightest stars if None.
    limit
        The brightest so many are kept.
    min_pixels
        Smallest number of connected filtered pixels above the threshold.
    contrast
        Of a branch to its whole for deblending (source-extractor's DEBLEND_MINCONT).

    Raises
    ------
    InvalidInput
        The planes do not fit, or nothing in them can be used.
    """
    image, noise, hidden = _prepare(data, variance, flags)
    _refuse_nothing(hidden)
    quiet = sky_variance(image, noise, hidden)
    width, seen = fwhm, None
    if width is None:
        seen = _first_look(image, noise, quiet, flags, hidden)
        width = seen.fwhm if seen.stars else FWHM_OF_SIGMA * _FIRST_SIGMA
    width = float(np.clip(width, 1.2, 25.0))
    snr_map = matched_filter(image, quiet, hidden, width / FWHM_OF_SIGMA)
    scale = _noise_scale(snr_map)
    objects, footprints = extract(
        snr_map, threshold * max(scale, 1.0), min_pixels=min_pixels, contrast=contrast
    )
    found = objects.size
    if found > limit:
        brightest = np.argsort(-objects["cflux"], kind="stable")[:limit]
        objects = objects[np.sort(brightest)]
    planes = image, noise, flags
    bits = np.zeros(int(footprints.max()) + 1, dtype=DTYPE)
    if flags is not None:
        _collect_flags(footprints, flags, bits)
    sources = _measure(planes, objects, footprints, bits, width)
    final = image_quality(image, noise, sources.columns())
    if final.stars == 0 and seen is not None:
        final = seen
    sources = _with_fwhm(sources, final)
    order = np.argsort(-np.nan_to_num(sources.flux, nan=-np.inf), kind="stable")
    return Detection(
        sources.select(order),
        final.fwhm,
        final.elongation,
        final.stars,
        width,
        scale,
        found,
        footprints,
    )


def star_width(
    data: NDArray[np.float32],
    variance: NDArray[np.float32] | float,
    flags: NDArray[np.uint16] | None = None,
) -> ImageQuality:
    """Width of the bright stars of a sky-subtracted image: the first look of `find_sources`."""
    quality = None
    for window in _first_windows(data.shape):
        spread = variance if np.ndim(variance) == 0 else np.asarray(variance)[window]
        bits = None if flags is None else np.ascontiguousarray(flags[window])
        image, noise, hidden = _prepare(data[window], spread, bits)
        quiet = sky_variance(image, noise, hidden)
        quality = _bright_quality(image, noise, quiet, bits, hidden)
        if quality.stars >= _FIRST_STARS:
            return quality
    assert quality is not None  # noqa: S101 # the loop ran
    _refuse_nothing(hidden)
    return quality


def _prepare(
    data: NDArray[np.floating],
    variance: NDArray[np.floating] | float,
    flags: NDArray[np.uint16] | None,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_] | None]:
    """Contiguous float32 planes: hidden pixels are 0 with infinite variance."""
    image = np.ascontiguousarray(data, dtype=np.float32)
    noise = np.asarray(variance, dtype=np.float32)
    if noise.ndim == 0:
        noise = np.full(image.shape, noise, dtype=np.float32)
    for name, plane in (("variance", noise), ("flags", flags)):
        if plane is not None and plane.shape != image.shape:
            raise InvalidInput(
                "The planes do not fit.", field=name, found=plane.shape, expected=image.shape
            )
    bits = np.zeros((1, 1), DTYPE) if flags is None else flags
    noise = np.ascontiguousarray(noise)
    lost = np.empty(image.shape, np.bool_)
    count = _find_lost(image, noise, bits, lost)
    if not count:
        return image, noise, None
    shown, spread = np.empty_like(image), np.empty_like(image)
    _hide(image, noise, lost, shown, spread)
    return shown, spread, lost


def _refuse_nothing(hidden: NDArray[np.bool_] | None) -> None:
    if hidden is not None and hidden.all():
        raise InvalidInput("No pixel of the image can be used.", found=hidden.shape)


@njit(cache=True, nogil=True)
def _find_lost(image, noise, flags, lost):  # type: ignore[no-untyped-def] # compiled
    """Pixels without a value, and how many."""
    most = np.float32(np.finfo(np.float32).max)
    flagged, replaced = flags.shape == image.shape, np.uint16(REPLACED)
    count = 0
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            # Comparisons with NaN are false.
            good = abs(image[y, x]) <= most and noise[y, x] > 0 and noise[y, x] <= most
            lost[y, x] = not good
        if flagged:
            for x in range(image.shape[1]):
                lost[y, x] |= (flags[y, x] & replaced) != 0
        for x in range(image.shape[1]):
            count += lost[y, x]
    return count


@njit(cache=True, nogil=True)
def _hide(image, noise, lost, shown, spread):  # type: ignore[no-untyped-def] # compiled
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            shown[y, x] = np.float32(0.0) if lost[y, x] else image[y, x]
            spread[y, x] = np.float32(np.inf) if lost[y, x] else noise[y, x]


def _first_windows(shape: tuple[int, ...]) -> list[tuple[slice, slice]]:
    """The middle of a large image, and all of it."""
    ny, nx = shape
    side = int(np.sqrt(_FIRST_PIXELS))
    whole = slice(0, ny), slice(0, nx)
    middle = (
        slice(max((ny - side) // 2, 0), min((ny + side) // 2, ny)),
        slice(max((nx - side) // 2, 0), min((nx + side) // 2, nx)),
    )
    return [whole] if middle == whole else [middle, whole]


def _first_look(
    image: NDArray[np.float32],
    noise: NDArray[np.float32],
    quiet: NDArray[np.float32],
    flags: NDArray[np.uint16] | None,
    hidden: NDArray[np.bool_] | None,
) -> ImageQuality:
    """Width of the bright stars, from the middle of a large image if that is enough."""
    quality = None
    for window in _first_windows(image.shape):
        part = np.ascontiguousarray(image[window])
        spread = np.ascontiguousarray(noise[window])
        calm = np.ascontiguousarray(quiet[window])
        masked = None if hidden is None else np.ascontiguousarray(hidden[window])
        bits = None if flags is None else np.ascontiguousarray(flags[window])
        quality = _bright_quality(part, spread, calm, bits, masked)
        if quality.stars >= _FIRST_STARS:
            break
    assert quality is not None  # noqa: S101 # the loop ran
    return quality


def _bright_quality(
    image: NDArray[np.float32],
    noise: NDArray[np.float32],
    quiet: NDArray[np.float32],
    flags: NDArray[np.uint16] | None,
    hidden: NDArray[np.bool_] | None,
) -> ImageQuality:
    snr_map = matched_filter(image, quiet, hidden, _FIRST_SIGMA)
    limit = _FIRST_SNR * max(_noise_scale(snr_map), 1.0)
    objects, footprints = extract(snr_map, limit, min_pixels=1, contrast=0.01)
    bits = np.zeros(int(footprints.max()) + 1, dtype=DTYPE)
    if flags is not None:
        _collect_flags(footprints, flags, bits)
    brightest = np.sort(np.argsort(-objects["cpeak"], kind="stable")[:_FIRST_MOST])
    guess = FWHM_OF_SIGMA * _FIRST_SIGMA
    planes = image, noise, flags
    sources = _measure(planes, objects[brightest], footprints, bits, guess)
    return image_quality(image, noise, sources.columns(), struck=True)


def _noise_scale(snr_map: NDArray[np.float32]) -> float:
    """Scatter of the filtered image from its lower tail, which sources hardly touch."""
    step = max(1, int(np.sqrt(snr_map.size / 250_000)))
    sample = snr_map[::step, ::step]
    sample = sample[sample != 0]
    if sample.size < 100:
        return 1.0
    # One and two sigma below the mean of a Gaussian; sources shift both, and so not the difference.
    lower, low = np.percentile(sample, [2.275, 15.866])
    return float(low - lower)


@njit(cache=True, nogil=True)
def _collect_flags(footprints, flags, bits):  # type: ignore[no-untyped-def] # compiled
    for y in range(flags.shape[0]):
        for x in range(flags.shape[1]):
            if flags[y, x] != 0 and footprints[y, x] > 0:
                bits[footprints[y, x]] |= flags[y, x]


def _measure(
    planes: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint16] | None],
    objects: NDArray[np.void],
    footprints: NDArray[np.int32],
    bits: NDArray[np.uint16],
    width: float,
) -> Sources:
    image, noise, flags = planes
    sigma = width / FWHM_OF_SIGMA
    peak_x, peak_y = objects["xcpeak"].astype(np.int64), objects["ycpeak"].astype(np.int64)
    position = windowed_positions(
        image, noise, peak_x.astype(np.float64), peak_y.astype(np.float64), sigma
    )
    x, y = position.x, position.y
    shapes = adaptive_shapes(image, noise, x, y, sigma, 6.0 * max(sigma, 1.0))
    circles = aperture_fluxes(
        image,
        x,
        y,
        _APERTURE * width,
        variance=noise,
        flags=flags,
    )
    at_edge = _at_edge(objects, (x, y), 2.0 * sigma, image.shape)
    source_flags = bits[footprints[peak_y, peak_x]]
    source_flags |= np.where(at_edge, DTYPE(Flag.EDGE), DTYPE(0))
    with np.errstate(invalid="ignore", divide="ignore"):
        elongation = shapes.a / shapes.b
    peak = _highest(image, peak_x, peak_y)
    return Sources(
        x=objects["x"].astype(np.float64),
        y=objects["y"].astype(np.float64),
        x_win=np.where(position.converged, x, objects["x"]),
        y_win=np.where(position.converged, y, objects["y"]),
        x_err=position.x_error,
        y_err=position.y_error,
        flux=circles.flux[:, 0],
        flux_err=circles.error[:, 0],
        peak=peak[0],
        snr=objects["cpeak"].astype(np.float64),
        a=shapes.a,
        b=shapes.b,
        theta=shapes.theta,
        fwhm=FWHM_OF_SIGMA * np.sqrt(shapes.a * shapes.b),
        elongation=elongation,
        sharpness=_sharpness(image, (x, y), peak, sigma),
        npix=objects["npix"].astype(np.int64),
        flags=source_flags,
        blended=(objects["flag"] & sep.OBJ_MERGED) != 0,
    )


def _at_edge(
    objects: NDArray[np.void],
    centre: tuple[NDArray[np.float64], NDArray[np.float64]],
    reach: float,
    shape: tuple[int, ...],
) -> NDArray[np.bool_]:
    x, y = centre
    ny, nx = shape
    cut = (x < reach) | (y < reach) | (x > nx - 1 - reach) | (y > ny - 1 - reach)
    cut |= (objects["xmin"] == 0) | (objects["ymin"] == 0)
    cut |= (objects["xmax"] == nx - 1) | (objects["ymax"] == ny - 1)
    return np.asarray(cut, dtype=np.bool_)


def _highest(
    image: NDArray[np.float32], x: NDArray[np.int64], y: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Brightest pixel within one pixel of the filter's peak: value, x, y."""
    ny, nx = image.shape
    steps = np.array([(j, i) for j in (-1, 0, 1) for i in (-1, 0, 1)])
    yy = np.clip(y[:, None] + steps[:, 0], 0, ny - 1)
    xx = np.clip(x[:, None] + steps[:, 1], 0, nx - 1)
    values = image[yy, xx]
    best = np.argmax(values, axis=1)[:, None]
    picked = [np.take_along_axis(v, best, axis=1)[:, 0] for v in (values, xx, yy)]
    return picked[0].astype(np.float64), picked[1], picked[2]


def _sharpness(
    image: NDArray[np.float32],
    centre: tuple[NDArray[np.float64], NDArray[np.float64]],
    peak: tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]],
    sigma: float,
) -> NDArray[np.float64]:
    """Brightest pixel less its eight neighbours over the same of the best-fitting point source."""
    ny, nx = image.shape
    reach = max(2, int(np.ceil(2 * sigma)))
    offset = np.arange(-reach, reach + 1)
    value, px, py = peak
    if value.size == 0:
        return np.zeros(0)
    rows = np.clip(py[:, None] + offset, 0, ny - 1)
    columns = np.clip(px[:, None] + offset, 0, nx - 1)
    stamps = image[rows[:, :, None], columns[:, None, :]].astype(np.float64)
    wide = np.hypot(sigma, 0.29)  # a pixel widens a star by 1/12 in variance
    gx = np.exp(-0.5 * ((px[:, None] + offset - centre[0][:, None]) / wide) ** 2)
    gy = np.exp(-0.5 * ((py[:, None] + offset - centre[1][:, None]) / wide) ** 2)
    model = gy[:, :, None] * gx[:, None, :]
    amplitude = (stamps * model).sum((1, 2)) / (model**2).sum((1, 2))
    inner = np.s_[:, reach - 1 : reach + 2, reach - 1 : reach + 2]

    def contrast(stack: NDArray[np.float64]) -> NDArray[np.float64]:
        middle = stack[:, reach, reach]
        around = (stack[inner].sum((1, 2)) - middle) / 8
        return np.asarray(middle - around)

    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = contrast(stamps) / (amplitude * contrast(model))
    return np.where(amplitude > 0, ratio, np.nan)


def _with_fwhm(sources: Sources, quality: ImageQuality) -> Sources:
    """Put each source's width on the scale of the image's: half-maximum, not second moments."""
    scale = quality.fwhm / quality.moment_fwhm if quality.stars else 1.0
    columns = sources.columns()
    columns["fwhm"] = sources.fwhm * (scale if np.isfinite(scale) else 1.0)
    return Sources(**columns)
