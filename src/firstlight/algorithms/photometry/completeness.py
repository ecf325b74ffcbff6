"""How faint an image goes: artificial stars put into it, and how many of them are found again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize
from scipy.spatial import cKDTree
from scipy.special import erf

from firstlight.algorithms.psf.fit import PsfModel

__all__ = ["Completeness", "Find", "fit_completeness", "inject", "measure_completeness"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

Find = Callable[[NDArray[np.float32]], tuple[Floats, Floats]]
"""From sky-subtracted electrons to the x and y of everything found, by the same rules as ever."""

_CELL = 10.0  # FWHM between artificial stars: they must not disturb each other
_WIDE, _NARROW = 1.5, 0.7  # magnitudes around the guess, first and later
_MATCH = 0.75  # FWHM
_BINS = 12
_MOST_AT_ONCE = 1000  # stars in one image, unless more are asked for
_PASSES = 10


@dataclass(frozen=True)
class Completeness:
    """Share of stars found, against magnitude.

    Attributes
    ----------
    limit
        Magnitude at which half of all stars are found; NaN where even bright ones are lost that
        often.
    limit_err
        One sigma.
    plateau, middle, width
        Of the fitted curve ``plateau / 2 (1 - erf((m - middle) / width / sqrt(2)))``.
    magnitude, found
        Of every artificial star, ``(n,)``.
    """

    limit: float
    limit_err: float
    plateau: float
    middle: float
    width: float
    magnitude: Floats
    found: Bools

    def share(self, magnitude: Floats) -> Floats:
        """The fitted curve."""
        return _curve(magnitude, self.plateau, self.middle, self.width)

    def binned(self) -> tuple[Floats, Floats, Floats]:
        """Middle of bins of magnitude, share found there, and its binomial error."""
        edges = np.quantile(self.magnitude, np.linspace(0, 1, _BINS + 1))
        place = np.clip(np.searchsorted(edges, self.magnitude, side="right") - 1, 0, _BINS - 1)
        count = np.maximum(np.bincount(place, minlength=_BINS), 1)
        share = np.bincount(place, weights=self.found, minlength=_BINS) / count
        at = np.bincount(place, weights=self.magnitude, minlength=_BINS) / count
        # Wilson's interval: no bin is certain.
        error = np.sqrt(share * (1 - share) / count + 0.25 / count**2) / (1 + 1 / count)
        return at, share, error


def measure_completeness(
    image: tuple[NDArray[np.float32], Bools],
    psf: PsfModel,
    find: Find,
    *,
    zero: Callable[[Floats, Floats], Floats],
    fwhm: float,
    guess: float,
    stars: int = 1200,
    seed: int = 0,
) -> Completeness:
    """Put stars into an image and find them.

    Parameters
    ----------
    image
        Sky-subtracted electrons, and True on pixels where no star can be put, each ``(ny, nx)``.
    psf
        Shape of a star; magnitudes are those of its whole light.
    find
        What finds sources. It must take the noise from the pixels as for any image: a variance
        that knew of the artificial stars would make them harder to find than real ones.
    zero
        Magnitude of one electron at places x, y.
    fwhm
        Pixels.
    guess
        Where the limit may be, magnitudes.
    stars
        Goes on until so many are tried, or ten images searched.
    seed
        Of places, magnitudes and noise: the same seed gives the same limit.

    Notes
    -----
    Places are uniform over the image, on other sources as well. A star counts as found if a
    source is found near it where none was before.
    """
    data, hidden = image
    rng = np.random.default_rng(seed)
    before = find(data)
    magnitude, found = np.zeros(0), np.zeros(0, dtype=np.bool_)
    middle, spread = guess, _WIDE
    for number in range(_PASSES):
        x, y = _fewer(rng, *_places(rng, data.shape, hidden, fwhm), max(stars, _MOST_AT_ONCE))
        mag = middle + rng.uniform(-spread, spread, len(x))
        light = 10.0 ** (-0.4 * (mag - zero(x, y)))
        changed = inject(data, psf, (x, y, light), rng)
        seen = _is_near(find(changed), (x, y), _MATCH * fwhm)
        taken = _is_near(before, (x, y), _MATCH * fwhm)
        magnitude, found = np.append(magnitude, mag), np.append(found, seen & ~taken)
        if number == 0:
            rough = fit_completeness(magnitude, found)
            if np.isfinite(rough.limit) and abs(rough.limit - guess) < 2.0 * _WIDE:
                middle, spread = rough.limit, _NARROW
        if number > 0 and len(magnitude) >= stars:
            break
    return fit_completeness(magnitude, found)


def inject(
    data: NDArray[np.float32],
    psf: PsfModel,
    stars: tuple[Floats, Floats, Floats],
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """A copy of an image with stars (x, y, electrons) and their photon noise."""
    image = data.copy()
    shape = (data.shape[0], data.shape[1])
    for x, y, flux in zip(*stars, strict=True):
        stamp = psf.at(float(x), float(y), shape)
        if stamp is not None:
            light = rng.poisson(flux * np.maximum(stamp.psf, 0.0))
            image[stamp.where] += light.astype(np.float32)
    return image


def fit_completeness(magnitude: Floats, found: Bools) -> Completeness:
    """Fit the curve by maximum likelihood; NaN limits where it never reaches one half."""
    if len(magnitude) < _BINS or not found.any():
        nothing = float("nan")
        return Completeness(nothing, nothing, nothing, nothing, nothing, magnitude, found)

    def unlikely(p: Floats) -> float:
        share = np.clip(_curve(magnitude, *_unpack(p)), 1e-6, 1 - 1e-6)
        return -float(np.log(np.where(found, share, 1 - share)).sum())

    start = np.array([float(np.median(magnitude)), np.log(0.25), 3.0])
    best = minimize(unlikely, start, method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-4})
    plateau, middle, width = _unpack(best.x)
    limit = error = float("nan")
    if plateau > 0.5:
        limit = _crossing(plateau, middle, width)
        sides = _curve(np.array([limit - 0.01, limit + 0.01]), plateau, middle, width)
        near = max(int((np.abs(magnitude - limit) < 2.0 * width).sum()), 1)
        # Half a standard deviation a star; the other parameters take their part of it.
        error = 1.5 * 0.5 / np.sqrt(near) / max(float(sides[0] - sides[1]) / 0.02, 1e-6)
    return Completeness(limit, float(error), plateau, middle, width, magnitude, found)


def _unpack(p: Floats) -> tuple[float, float, float]:
    """Plateau, middle, width of unbounded parameters."""
    return float(1.0 / (1.0 + np.exp(-p[2]))), float(p[0]), float(np.exp(np.clip(p[1], -4, 1)))


def _curve(magnitude: Floats, plateau: float, middle: float, width: float) -> Floats:
    return np.asarray(0.5 * plateau * (1.0 - erf((magnitude - middle) / width / np.sqrt(2.0))))


def _crossing(plateau: float, middle: float, width: float) -> float:
    def above(m: float) -> float:
        return float(_curve(np.array([m]), plateau, middle, width)[0]) - 0.5

    return float(brentq(above, middle - 10 * width, middle + 10 * width))


def _places(
    rng: np.random.Generator, shape: tuple[int, ...], hidden: Bools, fwhm: float
) -> tuple[Floats, Floats]:
    """One place in each cell of a net at a random offset, half a cell from all the others."""
    ny, nx = shape
    cell = _CELL * fwhm
    x0, y0 = rng.uniform(-cell, 0.0, 2)
    x, y = np.meshgrid(np.arange(x0, nx, cell), np.arange(y0, ny, cell))
    x, y = (g.ravel() + rng.uniform(0.0, 0.5 * cell, g.size) for g in (x, y))
    margin = fwhm
    inside = (x > margin) & (x < nx - 1 - margin) & (y > margin) & (y < ny - 1 - margin)
    x, y = x[inside], y[inside]
    free = ~hidden[np.rint(y).astype(int), np.rint(x).astype(int)]
    return x[free], y[free]


def _fewer(rng: np.random.Generator, x: Floats, y: Floats, most: int) -> tuple[Floats, Floats]:
    """At most so many of the places, all over the image: more would cost time and tell little."""
    if len(x) <= most:
        return x, y
    chosen = rng.choice(len(x), most, replace=False)
    return x[chosen], y[chosen]


def _is_near(sources: tuple[Floats, Floats], places: tuple[Floats, Floats], radius: float) -> Bools:
    """Whether a source is within `radius` pixels of each place."""
    if not len(sources[0]) or not len(places[0]):
        return np.zeros(len(places[0]), dtype=np.bool_)
    apart, _ = cKDTree(np.column_stack(sources)).query(np.column_stack(places))
    return np.asarray(apart <= radius, dtype=np.bool_)
