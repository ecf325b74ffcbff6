"""How wide and how long the stars of an image are, from its stars alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.flags import UNUSABLE, Flag

__all__ = ["POINTLIKE", "ImageQuality", "half_sample_mode", "image_quality", "point_sources"]

POINTLIKE = 0.2
"""By how much the logarithm of a point source's width may differ from that of most."""

_LIKE = 0.1  # by which logarithm of the width and ellipticities of neighbours in shape differ
_LIKE_MOST = 0.25  # by which ellipticities of a star may differ from those of most
_COMPARED = 200  # sources, evenly among them; more tell no better which shape is common
_MOST = 200  # stars in a profile; more gain nothing
_LEAST_SNR = 20.0
_RINGS = 12


@dataclass(frozen=True, slots=True)
class ImageQuality:
    """What point sources look like in one image.

    Attributes
    ----------
    fwhm
        Full width at half maximum of the mean star, pixels (the pixel is part of it); NaN
        without stars.
    moment_fwhm
        The same from second moments, which wide wings make larger.
    elongation
        Median long over short axis.
    stars
        Number of stars used.
    """

    fwhm: float
    moment_fwhm: float
    elongation: float
    stars: int


def point_sources(
    columns: Mapping[str, NDArray[Any]], *, struck: bool = False
) -> NDArray[np.bool_]:
    """Select bright, single, unsaturated sources of the width that most of them share.

    The median width of everything found is that of galaxies, blends, saturated stars and cosmic
    rays as well. These come in many shapes and stars in one, so that even where stars are few,
    theirs is the shape with the most neighbours in width and ellipticity.

    Parameters
    ----------
    columns
        Of `detect.Sources`: fwhm, snr, flags, blended, elongation, theta.
    struck
        Cosmic rays are among them: what is drawn out in another way than most is left out, for
        rays of the width of stars are tracks.
    """
    width = np.asarray(columns["fwhm"], dtype=np.float64)
    snr = np.asarray(columns["snr"], dtype=np.float64)
    flags = np.asarray(columns["flags"]).astype(np.int64)
    with np.errstate(invalid="ignore"):
        good = np.isfinite(width) & (flags & int(UNUSABLE | Flag.EDGE | Flag.NONLINEAR) == 0)
        single = good & ~np.asarray(columns["blended"], dtype=bool)
        if np.count_nonzero(single & (snr > _LEAST_SNR)) >= 5:
            good = single
        bright = good & (snr > _LEAST_SNR)
        # A cosmic ray or a hot pixel is narrower than any star that the pixels can hold.
        bright &= width > 1.0
    bright = np.asarray(bright, dtype=np.bool_)
    if not bright.any():
        return bright
    shapes = _shapes(columns)
    common = _most_alike(shapes[bright])
    mode = half_sample_mode(common[:, 0])
    with np.errstate(invalid="ignore"):
        near = np.abs(shapes[:, 0] - mode) < POINTLIKE
        if struck:
            apart = shapes[:, 1:] - np.median(common[:, 1:], axis=0)
            near &= np.hypot(*apart.T) < _LIKE_MOST
    return np.asarray(bright & near, dtype=np.bool_)


def _shapes(columns: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
    """Logarithm of the width, and the two ellipticities of moments, ``(n, 3)``."""
    width, long, theta = (
        np.asarray(columns[name], np.float64) for name in ("fwhm", "elongation", "theta")
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        length = 1.0 - 2.0 / (long**2 + 1.0)
        return np.stack(
            [np.log(width), length * np.cos(2 * theta), length * np.sin(2 * theta)], axis=1
        )


def _most_alike(shapes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Those with at least half as many neighbours as the one that has the most, of finite ones."""
    known = shapes[np.isfinite(shapes).all(axis=1)]
    if not len(known):
        return shapes
    known = known[:: max(1, len(known) // _COMPARED)]
    near = np.ones((len(known), len(known)), np.bool_)
    for own in known.T:
        near &= np.abs(own[:, None] - own) < _LIKE
    count = near.sum(axis=1)
    return np.asarray(known[2 * count >= count.max()])


def image_quality(
    image: NDArray[np.float32],
    variance: NDArray[np.float32],
    columns: Mapping[str, NDArray[Any]],
    *,
    struck: bool = False,
) -> ImageQuality:
    """Measure width and elongation on the point sources of an image.

    Parameters
    ----------
    image, variance
        Sky-subtracted, ``(ny, nx)``; variance infinite where there is no value.
    columns
        Of `detect.Sources`.
    struck
        Cosmic rays are among them: see `point_sources`.
    """
    chosen = np.flatnonzero(point_sources(columns, struck=struck))
    if chosen.size == 0:
        return ImageQuality(float("nan"), float("nan"), float("nan"), 0)
    snr = np.asarray(columns["snr"], dtype=np.float64)[chosen]
    chosen = chosen[np.argsort(-snr, kind="stable")[:_MOST]]
    moment = float(np.median(np.asarray(columns["fwhm"])[chosen]))
    elongation = float(np.median(np.asarray(columns["elongation"])[chosen]))
    x = np.asarray(columns["x_win"], dtype=np.float64)[chosen]
    y = np.asarray(columns["y_win"], dtype=np.float64)[chosen]
    flux = np.asarray(columns["flux"], dtype=np.float64)[chosen]
    fwhm = _profile_fwhm(image, variance, (x, y, flux), moment)
    return ImageQuality(fwhm if np.isfinite(fwhm) else moment, moment, elongation, chosen.size)


def half_sample_mode(values: NDArray[np.float64]) -> float:
    """Mode by halving: keep the half with the smallest range until three are left.

    Bickel & Fruehwirth 2006, Computational Statistics & Data Analysis 50, 3500.
    """
    kept = np.sort(values)
    while kept.size > 3:
        half = (kept.size + 1) // 2
        widths = kept[half - 1 :] - kept[: kept.size - half + 1]
        start = int(np.argmin(widths))
        kept = kept[start : start + half]
    return float(np.median(kept))


def _profile_fwhm(
    image: NDArray[np.float32],
    variance: NDArray[np.float32],
    stars: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
    width: float,
) -> float:
    """FWHM of the mean profile of stars; NaN if it cannot be told.

    The pixels of many stars sample the profile finely even where one star is undersampled. They
    are averaged in rings of equal area first: a logarithm of noisy pixels would be biased. The
    core then follows ``ln I = c0 + c1 r^2 + c2 r^4`` out to the half maximum.
    """
    x, y, flux = stars
    reach = max(1, int(np.ceil(0.8 * width)))
    usable = np.isfinite(flux) & (flux > 0) & (x >= reach) & (y >= reach)
    usable &= (x <= image.shape[1] - 1 - reach) & (y <= image.shape[0] - 1 - reach)
    if not usable.any():
        return float("nan")
    x, y, flux = x[usable], y[usable], flux[usable]
    offset = np.arange(-reach, reach + 1)
    columns = np.rint(x).astype(int)[:, None] + offset
    rows = np.rint(y).astype(int)[:, None] + offset
    at = rows[:, :, None], columns[:, None, :]
    r2 = (columns - x[:, None])[:, None, :] ** 2 + (rows - y[:, None])[:, :, None] ** 2
    # Bright stars count for more, but no single one for everything.
    scale = np.minimum(1.0, 3.0 * np.median(flux) / flux)[:, None, None]
    good = np.isfinite(variance[at]) & (r2 < (0.75 * width) ** 2)
    ring = np.minimum((r2 / (0.75 * width) ** 2 * _RINGS).astype(int), _RINGS - 1)[good]
    light = np.bincount(ring, (image[at] * scale)[good], _RINGS)
    total = np.bincount(ring, np.broadcast_to(flux[:, None, None] * scale, r2.shape)[good], _RINGS)
    place = np.bincount(ring, r2[good], _RINGS) / np.maximum(np.bincount(ring, None, _RINGS), 1)
    full = (total > 0) & (light > 0)
    if np.count_nonzero(full) < 4:
        return float("nan")
    s, v = place[full] / width**2, light[full] / total[full]
    terms = np.polynomial.polynomial.polyfit(s, np.log(v), 2, w=v / v.max())
    roots = np.polynomial.polynomial.polyroots([np.log(2.0), terms[1], terms[2]])
    real = roots[np.isreal(roots)].real
    real = real[real > 0]
    return float(2.0 * width * np.sqrt(real.min())) if real.size else float("nan")
