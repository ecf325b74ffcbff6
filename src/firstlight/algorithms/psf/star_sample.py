"""Stars cut out of an image, and how their light departs from a model of the PSF."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from firstlight.algorithms.flags import UNUSABLE
from firstlight.algorithms.psf.model import (
    RELAXED,
    PsfModel,
    draw_stars,
    place_terms,
    profiles_at,
)

__all__ = [
    "FEWEST",
    "FOR_LINEAR",
    "MODEL_ERROR",
    "NO_LIMIT",
    "OUTLIER",
    "SKY_ERROR",
    "Pull",
    "StarSample",
    "compare",
    "cut_stars",
    "drawn_stars",
    "well_fitted",
]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

FEWEST = 3
"""Stars that tell a PSF at all."""

FOR_LINEAR = 15
"""The same, that tell how it changes over the image."""

MODEL_ERROR = 0.01
"""Of a star's light in a pixel: no bright star shall rule alone."""

OUTLIER = 5.0
"""Sigma, for a pixel with light that is not the star's."""

SKY_ERROR = 0.1
"""Of a pixel's noise: what the map of the sky may leave under a star."""

NO_LIMIT = 1e15
"""The same where every pixel counts."""

_WHOLE = 0.97  # of a stamp's pixels, for a star that is used
_MOST = 400
_MOST_PIXELS = 4_000_000  # of all stamps together
_WORST = 5.0  # times the median misfit, for a star that is none


@dataclass(frozen=True)
class StarSample:
    """Stars cut out around the pixel nearest to each; the first axis is the star.

    Attributes
    ----------
    light
        Electrons without sky ``(n, side, side)``, side odd.
    weight
        One over the variance of the sky, zero where a pixel cannot be used, of the same shape.
    offsets
        Of the star from the middle of its stamp, x and y, pixels ``(n, 2)``.
    x, y
        Places in the image, pixels ``(n,)``.
    flux, sky
        Electrons, and electrons a pixel that are left of the sky ``(n,)``.
    """

    light: Floats
    weight: Floats
    offsets: Floats
    x: Floats
    y: Floats
    flux: Floats
    sky: Floats

    def __len__(self) -> int:
        return len(self.x)

    def pick(self, kept: Indices) -> StarSample:
        """Some of them, by number."""
        columns = (self.light, self.weight, self.offsets, self.x, self.y, self.flux, self.sky)
        return StarSample(*(column[kept] for column in columns))


@dataclass(frozen=True)
class Pull:
    """How the light of each star departs from its model, to first order.

    Attributes
    ----------
    flux, sky
        Best for the model as it is, ``(n,)``.
    square, side
        Normal equations of steps in ln(core), e1, e2 and ln(power - 1), with flux and sky
        free, ``(n, 4, 4)`` and ``(n, 4)``.
    chi
        Reduced chi-square, ``(n,)``.
    """

    flux: Floats
    sky: Floats
    square: Floats
    side: Floats
    chi: Floats


def cut_stars(
    data: NDArray[np.float32],
    variance: NDArray[np.float32],
    flags: NDArray[np.uint16],
    stars: tuple[Floats, Floats, Floats],
    half: int,
) -> StarSample:
    """Cut out the first so many stars whose stamps lie in the image and are nearly whole.

    Parameters
    ----------
    data
        Sky-subtracted electrons ``(ny, nx)``.
    variance
        Of the sky alone, electrons squared.
    flags
        Flags plane; unusable pixels are left out.
    stars
        x, y and flux of the stars, best first, each ``(n,)``.
    half
        Half the side of a stamp, pixels.
    """
    x, y, flux = (np.asarray(column, np.float64) for column in stars)
    ny, nx = data.shape
    with np.errstate(invalid="ignore"):
        inside = (x > half) & (x < nx - half - 1) & (y > half) & (y < ny - half - 1) & (flux > 0)
    most = min(_MOST, max(FEWEST, _MOST_PIXELS // (2 * half + 1) ** 2))
    kept = np.flatnonzero(inside)[: most + most // 4]
    x, y, flux = x[kept], y[kept], flux[kept]
    i, j = np.rint(x).astype(np.intp), np.rint(y).astype(np.intp)
    steps = np.arange(-half, half + 1)
    at = (j[:, None] + steps)[:, :, None], (i[:, None] + steps)[:, None, :]
    light, spread = data[at].astype(np.float64), variance[at].astype(np.float64)
    good = ((flags[at] & int(UNUSABLE)) == 0) & np.isfinite(spread) & (spread > 0)
    good &= np.isfinite(light)
    weight = np.where(good, 1.0 / np.where(good, spread, 1.0), 0.0)
    light[~good] = 0.0
    whole = np.flatnonzero(good.mean(axis=(1, 2)) >= _WHOLE)[:most]
    offsets = np.stack([x - i, y - j], axis=1)
    return StarSample(light, weight, offsets, x, y, flux, np.zeros(len(x))).pick(whole)


def compare(
    model: PsfModel, sample: StarSample, local: Floats | None = None, *, clipped: bool = True
) -> Pull:
    """Compare every star with the model, or with profiles `local` ``(n, 4)`` of its own."""
    u, v = model.scaled(sample.x, sample.y)
    profiles = profiles_at(model, u, v) if local is None else local
    drawn = drawn_stars(model, sample, profiles)
    normal, right = np.zeros((len(sample), 6, 6)), np.zeros((len(sample), 6))
    chi = np.zeros((len(sample), 2))
    planes = sample.light, sample.weight, drawn
    limit = OUTLIER if clipped else NO_LIMIT
    _gather(planes, (sample.offsets, profiles, sample.flux), limit, normal, right, chi)
    # Flux and sky are of no interest: what is left of the rest without them.
    own = np.linalg.inv(normal[:, :2, :2])
    levels = (own @ right[:, :2, None])[..., 0]
    mixed = normal[:, 2:, :2] @ own
    return Pull(
        flux=np.maximum(sample.flux + levels[:, 0], 1.0),
        sky=levels[:, 1],
        square=normal[:, 2:, 2:] - mixed @ normal[:, :2, 2:],
        side=right[:, 2:] - (mixed @ right[:, :2, None])[..., 0],
        chi=(chi[:, 0] - (levels * right[:, :2]).sum(axis=1)) / np.maximum(chi[:, 1], 1.0),
    )


def drawn_stars(model: PsfModel, sample: StarSample, profiles: Floats | None = None) -> Floats:
    """The model of each star, total light one, ``(n, side, side)``."""
    u, v = model.scaled(sample.x, sample.y)
    own = profiles_at(model, u, v) if profiles is None else profiles
    drawn = np.empty(sample.light.shape)
    stars = sample.offsets, own, place_terms(u, v, len(model.nets))
    draw_stars(stars, model.nets, model.spacing, drawn)
    return drawn


def well_fitted(chi: Floats) -> Indices:
    """Stars that are fitted not much worse than most."""
    return np.flatnonzero(chi <= _WORST * max(float(np.median(chi)), 1.0))


@njit(cache=True, nogil=True, error_model="numpy", fastmath=RELAXED)
def _slopes(dx, dy, profile, out):  # type: ignore[no-untyped-def] # compiled
    """Moffat's relative change with ln(core), e1, e2 and ln(power - 1)."""
    core, e1, e2, power = profile[0], profile[1], profile[2], profile[3]
    per_area = 1.0 / (core * core)
    squared = ((1 + e1) * dx * dx + 2 * e2 * dx * dy + (1 - e1) * dy * dy) * per_area
    inner, rest = 1.0 / (1.0 + squared), 1.0 - e1 * e1 - e2 * e2
    out[0] = -2.0 + 2.0 * power * squared * inner
    out[1] = -e1 / rest - power * (dx * dx - dy * dy) * per_area * inner
    out[2] = -e2 / rest - power * 2.0 * dx * dy * per_area * inner
    grown = np.log(1.0 + squared)
    out[3] = 1.0 - (power - 1.0) * grown
    return (power - 1) * np.sqrt(rest) / np.pi * per_area * np.exp(-power * grown)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=RELAXED)
def _gather(planes, stars, limit, normal, right, chi):  # type: ignore[no-untyped-def] # compiled
    """Normal equations of flux, sky and the four numbers of the profile, star by star."""
    light, weight, drawn = planes
    offsets, profiles, flux = stars
    n, side = light.shape[0], light.shape[1]
    half = side // 2
    column = np.empty(6)
    for s in range(n):
        noise = 0.0
        for j in range(side):
            for i in range(side):
                if weight[s, j, i] <= 0.0:
                    continue
                spread = 1.0 / weight[s, j, i]
                noise = max(noise, spread)
                model = flux[s] * drawn[s, j, i]
                own = max(model, 0.0)
                w = 1.0 / (spread + own + (MODEL_ERROR * own) ** 2)
                off = light[s, j, i] - model
                if off * off * w > limit * limit:
                    # It says nothing of the shape, but that this may be no star.
                    chi[s, 0] += limit * limit
                    chi[s, 1] += 1.0
                    continue
                dx, dy = i - half - offsets[s, 0], j - half - offsets[s, 1]
                plain = flux[s] * _slopes(dx, dy, profiles[s], column[2:])
                column[0], column[1] = drawn[s, j, i], 1.0
                for a in range(2, 6):
                    column[a] *= plain
                for a in range(6):
                    part = w * column[a]
                    right[s, a] += part * off
                    for b in range(a + 1):
                        normal[s, a, b] += part * column[b]
                chi[s, 0] += w * off * off
                chi[s, 1] += 1.0
        normal[s, 1, 1] += 1.0 / max(noise * SKY_ERROR * SKY_ERROR, 1e-12)
        normal[s, 0, 0] += 1e-12
        for a in range(6):
            for b in range(a):
                normal[s, b, a] = normal[s, a, b]
