"""Candidates of other surveys, of which only three cut-outs are known: those of alerts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from firstlight.algorithms.candidates.measures import Measures, measure_candidates
from firstlight.algorithms.candidates.stamps import DIFFERENCE, NEW, REFERENCE, CandidateStamps
from firstlight.algorithms.flags import Flag
from firstlight.algorithms.sources.moments import FWHM_OF_SIGMA, adaptive_shapes

__all__ = ["measure_cutouts", "moffat_psfs", "shapes_of_cutouts", "stamps_of_cutouts"]

Floats = NDArray[np.float64]

Shape = tuple[float, float, float]

_PSF_ERROR = 0.1  # the profile is a guess
# Moments of a Moffat profile say more than its FWHM, and where the reference is the sharper image
# the difference is sharper, too: of these the width that fits best counts.
_SCALES = (1.0, 0.9, 0.8, 0.7)
_WIDER = 1.4  # than usual is no star, but a galaxy
_STEPS = 2  # of the place, from the middle of the stamp to the source
_FARTHEST = 2.0  # pixels from that middle that a source may be
_QUARTILES = 1.349  # of a normal variate, apart, in sigma
_POWER = 3.5
_FILLER = 0.03  # of the pixels of a stamp that cannot have the same value by chance
_BRIGHT = 15.0  # sigma of the pixel that a star stands out by
_MOST = 12  # stars of a stamp that are looked at
_APART = 4  # pixels from the candidate and from the edge
_SIGMAS = (0.6, 6.0)  # pixels, of what can be a star


def stamps_of_cutouts(pixels: NDArray[np.float32]) -> CandidateStamps:
    """Stamps that came without noise and flags, as in alerts of other surveys.

    The sky of each image, and the noise of the difference, are taken from the quartiles of the
    pixels outside the middle half of the stamp. A value that many pixels of the difference share
    was put where there is none.

    Parameters
    ----------
    pixels
        New image, reference, difference ``(n, 3, k, k)``, k odd; NaN where there is no value.
    """
    count, _, side, _ = pixels.shape
    pixels = pixels.copy()
    for difference in pixels[:, DIFFERENCE]:
        values, numbers = np.unique(difference, return_counts=True)
        filler = values[numbers > _FILLER * side**2]
        difference[np.isin(difference, filler)] = np.nan
    offset = np.abs(np.arange(side) - side // 2)
    outer = np.maximum(offset[:, None], offset) > side // 4
    level, sigma = _levels(np.where(outer, pixels, np.nan))
    known = np.isfinite(pixels[:, DIFFERENCE]) & np.isfinite(sigma[:, DIFFERENCE, None, None])
    spread = (sigma[:, DIFFERENCE] ** 2)[:, None, None]
    variance = np.where(known, spread, np.nan).astype(np.float32)
    flags = np.where(known, np.uint16(0), np.uint16(Flag.NO_DATA))
    corner = np.zeros(count, np.int64)
    without = (pixels - level[:, :, None, None]).astype(np.float32)
    return CandidateStamps(without, variance, flags, corner, corner)


def _levels(pixels: NDArray[np.floating]) -> tuple[Floats, Floats]:
    """Median and sigma of each image by quartiles, ``(n, 3)``; NaN where nothing is known."""
    level, sigma = np.full(pixels.shape[:2], np.nan), np.full(pixels.shape[:2], np.nan)
    for place in np.ndindex(*level.shape):
        values = pixels[place][np.isfinite(pixels[place])]
        if values.size:
            low, level[place], high = np.percentile(values, (25, 50, 75))
            sigma[place] = (high - low) / _QUARTILES
    return level, sigma


def shapes_of_cutouts(pixels: NDArray[np.float32], usual: Floats) -> list[Shape]:
    """How stars look in the new images: sigma along the axes and angle, `adaptive_shapes`.

    Of the stars of a stamp, the candidate left out, the one at the lower quartile of the sizes:
    galaxies are wider. Those of the reference stand for them where the new image shows none, and
    what is usual where all are much wider than that.

    Parameters
    ----------
    pixels
        As for `stamps_of_cutouts`.
    usual
        FWHM of the round stars that are taken where neither image shows any, pixels, ``(n,)``.
    """
    shapes = []
    for images, width in zip(pixels, usual, strict=True):
        sigma = float(width) / FWHM_OF_SIGMA
        shape = (sigma, sigma, 0.0)
        for image in (images[NEW], images[REFERENCE]):
            told = _star_shape(image)
            if told and told[0] * told[1] < (_WIDER * sigma) ** 2:
                shape = told
                break
        shapes.append(shape)
    return shapes


def _star_shape(image: NDArray[np.float32]) -> Shape | None:
    known = np.isfinite(image)
    level, sigma = _levels(image[None, None])
    if not (known.any() and sigma[0, 0] > 0):
        return None
    light = np.where(known, image - level[0, 0], 0.0).astype(np.float32)
    top = (light == maximum_filter(light, 5)) & (light > _BRIGHT * sigma[0, 0])
    side = len(light)
    away = np.abs(np.arange(side) - side // 2)
    top &= np.maximum(away[:, None], away) > _APART
    top &= np.maximum(away[:, None], away) < side // 2 - _APART
    y, x = np.nonzero(top)
    brightest = np.argsort(-light[y, x], kind="stable")[:_MOST]
    variance = np.where(known, sigma[0, 0] ** 2, np.inf).astype(np.float32)
    places = x[brightest].astype(np.float64), y[brightest].astype(np.float64)
    found = adaptive_shapes(light, variance, *places, 1.2, side / 8)
    good = np.isfinite(found.a) & (found.b > _SIGMAS[0]) & (found.a < _SIGMAS[1])
    if not good.any():
        return None
    chosen = np.flatnonzero(good)
    one = chosen[np.argsort(found.a[good] * found.b[good])[len(chosen) // 4]]
    return float(found.a[one]), float(found.b[one]), float(found.theta[one])


def moffat_psfs(shapes: list[Shape], radius: int, power: float = _POWER) -> Floats:
    """Sources with elliptical Moffat profiles, ``(n, 2 radius + 1, 2 radius + 1)``.

    Parameters
    ----------
    shapes
        Sigma along the axes and angle of the Gaussian of the same FWHM; the pixel is part of it.
    """
    steps = np.arange(-radius, radius + 1)
    a, b, theta = np.array(shapes).reshape(-1, 3).T[:, :, None, None]
    along = steps * np.cos(theta) + steps[:, None] * np.sin(theta)
    across = steps[:, None] * np.cos(theta) - steps * np.sin(theta)
    core = FWHM_OF_SIGMA / (2 * np.sqrt(2 ** (1 / power) - 1))
    light = (1 + ((along / a) ** 2 + (across / b) ** 2) / core**2) ** -power
    return np.asarray(light / light.sum(axis=(1, 2), keepdims=True))


def measure_cutouts(pixels: NDArray[np.float32], usual: Floats, sign: Floats) -> Measures:
    """Measure candidates on their cut-outs alone.

    Parameters
    ----------
    pixels
        New image, reference, difference ``(n, 3, k, k)``, k odd, the candidate within two pixels
        of the middle; NaN where there is no value. In any unit of light.
    usual
        FWHM of stars in images of this survey, pixels, ``(n,)``.
    sign
        1 for a source that has become brighter, -1 for one that has faded, ``(n,)``.
    """
    stamps = stamps_of_cutouts(pixels)
    shapes = shapes_of_cutouts(pixels, usual)
    told = [_measured(stamps, shapes, scale, sign) for scale in _SCALES]
    best = np.argmin([measures.misfit for measures in told], axis=0)
    columns = [measures.columns() for measures in told]
    rows = np.arange(len(best))
    return Measures(
        **{name: np.stack([c[name] for c in columns])[best, rows] for name in columns[0]}
    )


def _measured(stamps: CandidateStamps, shapes: list[Shape], scale: float, sign: Floats) -> Measures:
    """With PSFs of the shapes times a factor, at the most probable place near the middle."""
    fwhm = scale * np.array([FWHM_OF_SIGMA * np.sqrt(a * b) for a, b, _ in shapes])
    psfs = moffat_psfs([(scale * a, scale * b, theta) for a, b, theta in shapes], stamps.radius)
    middle = np.full(len(fwhm), float(stamps.radius))
    x, y = middle, middle
    for _ in range(_STEPS):
        measures = measure_candidates(stamps, psfs, (x, y), sign, fwhm, psf_error=_PSF_ERROR)
        x, y = (
            middle + np.clip(np.nan_to_num(place - middle), -_FARTHEST, _FARTHEST)
            for place in (measures.x, measures.y)
        )
    return measure_candidates(stamps, psfs, (x, y), sign, fwhm, psf_error=_PSF_ERROR)
