"""The shape of a point source, learned from an image's own stars, as it changes over the image.

The effective PSF (Anderson & King 2000, PASP 112, 1360) is what a pixel sees of a star at some
distance: the pixel is part of it, so a stamp is made by looking it up at the pixel centres. Here
it is an elliptical Moffat profile (A&A 3, 455) plus a correction on a net of cubic B-splines,
whose coefficients may change linearly with the place. The correction is linear least squares on
the stamps of all stars at once; a prior keeps it small where the stars say little.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from firstlight.algorithms.flags import UNUSABLE

__all__ = ["PsfModel", "Stamp", "fit_psf"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_REACH = 3.0  # half the side of a stamp, FWHM
_CORRECTED = 2.0  # radius within which the profile is corrected, FWHM
_NODES_PER_FWHM = 3.0
_FEWEST = 3
_MOST = 80
_FOR_LINEAR = 15  # stars, for a shape that changes over the image
_STARS_IN_PROFILE = 30
_PRIOR = 0.10  # one sigma of a node's correction, of the profile's peak
_PRIOR_SLOPE = 0.10
_MODEL_ERROR = 0.01  # of a star's light in a pixel: no bright star shall rule alone
_TURNS = 3
_WORST = 5.0  # times the median misfit, for a star that is none


@dataclass(frozen=True)
class Stamp:
    """A piece of an image and the PSF there.

    Attributes
    ----------
    rows, columns
        Where it is in the image.
    psf
        Share of the star's light in each pixel, of the shape of the piece.
    """

    rows: slice
    columns: slice
    psf: Floats

    @property
    def where(self) -> tuple[slice, slice]:
        """Index of the piece in the image."""
        return self.rows, self.columns


@dataclass(frozen=True)
class PsfModel:
    """Effective PSF over an image.

    Attributes
    ----------
    profile
        Of the Moffat: core radius (pixels), two ellipticities, power.
    nodes
        Places of the B-splines' centres, pixels from the star, ``(n_node, 2)``.
    spacing
        Of the nodes, pixels.
    terms
        Corrections: mean, and change with the scaled x and y, ``(n_term, n_node)``.
    middle, reach
        Scaled place is ``(pixels - middle) / reach``, limited to ±1.
    total
        Sum of the uncorrected and corrected model over its stamp, in the middle: stamps are
        divided by it.
    radius
        Half the side of a full stamp, pixels.
    stars
        How many it rests on.
    """

    profile: tuple[float, float, float, float]
    nodes: Floats
    spacing: float
    terms: Floats
    middle: tuple[float, float]
    reach: tuple[float, float]
    total: float
    radius: int
    stars: int

    @property
    def varies(self) -> bool:
        """Whether it changes over the image."""
        return len(self.terms) > 1

    def at(
        self, x: float, y: float, shape: tuple[int, int], radius: int | None = None
    ) -> Stamp | None:
        """The PSF of a star at (x, y) on the pixels of an image of `shape` ``(ny, nx)``.

        None where no pixel of the stamp is in the image.
        """
        half = self.radius if radius is None else radius
        i, j = int(np.rint(x)), int(np.rint(y))
        rows = slice(max(j - half, 0), min(j + half + 1, shape[0]))
        columns = slice(max(i - half, 0), min(i + half + 1, shape[1]))
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return None
        dx = np.arange(columns.start, columns.stop, dtype=np.float64) - x
        dy = np.arange(rows.start, rows.stop, dtype=np.float64) - y
        return Stamp(rows, columns, self._look_up(dx, dy, x, y) / self.total)

    def light_within(self, x: float, y: float, radius: int) -> float:
        """Share of the light in a whole square of `radius` pixels around a star at (x, y)."""
        steps = np.arange(-radius, radius + 1, dtype=np.float64)
        inner = self._look_up(steps + np.rint(x) - x, steps + np.rint(y) - y, x, y)
        return float(inner.sum() / self.total)

    def _look_up(self, dx: Floats, dy: Floats, x: float, y: float) -> Floats:
        model = _moffat(dx[None, :], dy[:, None], self.profile)
        u = np.clip((x - self.middle[0]) / self.reach[0], -1.0, 1.0)
        v = np.clip((y - self.middle[1]) / self.reach[1], -1.0, 1.0)
        weights = np.array([1.0, u, v])[: len(self.terms)] @ self.terms
        across = _cubic((dx[:, None] - self.nodes[:, 0]) / self.spacing)
        along = _cubic((dy[:, None] - self.nodes[:, 1]) / self.spacing)
        return np.asarray(model + (along * weights) @ across.T)


@dataclass
class _Star:
    """One star of the sample: pixels from its centre, its light, its weights."""

    dx: Floats
    dy: Floats
    light: Floats
    sky_variance: Floats
    design: Floats  # (n_pixel, n_node)
    place: tuple[float, float]
    flux: float


def fit_psf(
    data: NDArray[np.float32],
    variance: NDArray[np.float32],
    flags: NDArray[np.uint16],
    stars: tuple[Floats, Floats, Floats],
    fwhm: float,
) -> PsfModel | None:
    """Learn the PSF.

    Parameters
    ----------
    data
        Sky-subtracted electrons ``(ny, nx)``.
    variance
        Of the sky alone, electrons squared.
    flags
        Flags plane; unusable pixels are left out.
    stars
        x, y and flux of single unsaturated stars, best first, each ``(n,)``.
    fwhm
        Of the image, pixels.

    Returns
    -------
    The model, or None with fewer than three usable stars.
    """
    spacing = float(np.clip(fwhm / _NODES_PER_FWHM, 0.5, 4.0))
    nodes = _net(_CORRECTED * fwhm, spacing)
    half = int(np.ceil(_REACH * fwhm))
    sample = _cut(data, variance, flags, stars, (half, nodes, spacing))
    if len(sample) < _FEWEST:
        return None
    profile = _fit_profile(sample[:_STARS_IN_PROFILE], fwhm)
    ny, nx = data.shape
    model = PsfModel(
        profile=profile,
        nodes=nodes,
        spacing=spacing,
        terms=np.zeros((3 if len(sample) >= _FOR_LINEAR else 1, len(nodes))),
        middle=((nx - 1) / 2, (ny - 1) / 2),
        reach=(max(nx / 2, 1.0), max(ny / 2, 1.0)),
        total=1.0,
        radius=half,
        stars=len(sample),
    )
    for _ in range(_TURNS):
        sample = _refit(model, sample)
        if len(sample) < _FEWEST:
            return None
        model = replace(model, terms=_solve(model, sample), stars=len(sample))
    x, y = (float(np.rint(middle)) for middle in model.middle)
    return replace(model, total=model.light_within(x, y, half))


def _cut(
    data: NDArray[np.float32],
    variance: NDArray[np.float32],
    flags: NDArray[np.uint16],
    stars: tuple[Floats, Floats, Floats],
    net: tuple[int, Floats, float],
) -> list[_Star]:
    half, nodes, spacing = net
    ny, nx = data.shape
    sample: list[_Star] = []
    for x, y, flux in zip(*stars, strict=True):
        i, j = int(np.rint(x)), int(np.rint(y))
        inside = half <= i < nx - half and half <= j < ny - half
        if not inside or not flux > 0 or len(sample) >= _MOST:
            continue
        piece = np.s_[j - half : j + half + 1, i - half : i + half + 1]
        good = (flags[piece] & int(UNUSABLE)) == 0
        good &= np.isfinite(variance[piece])
        if good.mean() < 0.97:
            continue
        dy, dx = (g[good].astype(np.float64) for g in np.mgrid[piece])
        dx, dy = dx - x, dy - y
        design = _cubic((dx[:, None] - nodes[:, 0]) / spacing)
        design *= _cubic((dy[:, None] - nodes[:, 1]) / spacing)
        light = data[piece][good].astype(np.float64)
        spread = variance[piece][good].astype(np.float64)
        sample.append(_Star(dx, dy, light, spread, design, (x, y), float(flux)))
    return sample


def _net(radius: float, spacing: float) -> Floats:
    count = int(np.ceil(radius / spacing))
    steps = spacing * np.arange(-count, count + 1)
    x, y = np.meshgrid(steps, steps)
    kept = np.hypot(x, y) <= radius
    return np.stack([x[kept], y[kept]], axis=1)


def _cubic(t: Floats) -> Floats:
    """Cubic B-spline of unit spacing, zero beyond two."""
    a = np.abs(t)
    near = 2.0 / 3.0 - a**2 + 0.5 * a**3
    far = np.maximum(2.0 - a, 0.0) ** 3 / 6.0
    return np.where(a < 1.0, near, far)


def _moffat(dx: Floats, dy: Floats, profile: tuple[float, float, float, float]) -> Floats:
    """Total one over the plane."""
    core, e1, e2, power = profile
    # The matrix (1 + e1, e2; e2, 1 - e1) has determinant 1 - |e|^2.
    squared = (1 + e1) * dx**2 + 2 * e2 * dx * dy + (1 - e1) * dy**2
    norm = (power - 1) * np.sqrt(max(1 - e1**2 - e2**2, 1e-6)) / (np.pi * core**2)
    return np.asarray(norm * (1 + squared / core**2) ** -power)


def _fit_profile(sample: list[_Star], fwhm: float) -> tuple[float, float, float, float]:
    """Moffat through all stars together, the flux of each by linear least squares."""

    def unpack(p: Floats) -> tuple[float, float, float, float]:
        round_off = 0.9 / np.sqrt(1 + p[1] ** 2 + p[2] ** 2)
        return float(np.exp(p[0])), p[1] * round_off, p[2] * round_off, 1.2 + float(np.exp(p[3]))

    def misfit(p: Floats) -> Floats:
        profile = unpack(p)
        parts = []
        for star in sample:
            weight = _weight(star, np.maximum(star.light, 0.0))
            shape = _moffat(star.dx, star.dy, profile)
            flux = (weight * shape * star.light).sum() / (weight * shape**2).sum()
            parts.append(np.sqrt(weight) * (star.light - flux * shape))
        return np.concatenate(parts)

    power = 3.0
    start = np.array(
        [np.log(0.5 * fwhm / np.sqrt(2 ** (1 / power) - 1)), 0.0, 0.0, np.log(power - 1.2)]
    )
    low, high = start - np.array([2, 3, 3, 3]), start + np.array([2, 3, 3, 2])
    found = least_squares(misfit, start, bounds=(low, high), max_nfev=40)
    return unpack(found.x)


def _weight(star: _Star, light: Floats) -> Floats:
    return np.asarray(1.0 / (star.sky_variance + light + (_MODEL_ERROR * light) ** 2))


def _shape(model: PsfModel, star: _Star) -> Floats:
    terms = _scaled(model, star) @ model.terms
    return np.asarray(_moffat(star.dx, star.dy, model.profile) + star.design @ terms)


def _scaled(model: PsfModel, star: _Star) -> Floats:
    u, v = ((p - m) / r for p, m, r in zip(star.place, model.middle, model.reach, strict=True))
    return np.array([1.0, u, v])[: len(model.terms)]


def _refit(model: PsfModel, sample: list[_Star]) -> list[_Star]:
    """Fluxes with the present shape, without stars that it does not fit."""
    misfit = []
    for star in sample:
        shape = np.maximum(_shape(model, star), 0.0)
        flux = max(star.flux, 1.0)
        for _ in range(2):
            weight = _weight(star, flux * shape)
            flux = max(float((weight * shape * star.light).sum() / (weight * shape**2).sum()), 1.0)
        star.flux = flux
        misfit.append(
            float(np.mean(_weight(star, flux * shape) * (star.light - flux * shape) ** 2))
        )
    limit = _WORST * max(float(np.median(misfit)), 1.0)
    return [star for star, chi in zip(sample, misfit, strict=True) if chi <= limit]


def _solve(model: PsfModel, sample: list[_Star]) -> Floats:
    """Corrections to the Moffat profile from all stars, with the prior."""
    n_term, n_node = model.terms.shape
    peak = float(_moffat(np.zeros(1), np.zeros(1), model.profile)[0])
    prior = np.array([_PRIOR, _PRIOR_SLOPE, _PRIOR_SLOPE])[:n_term] * peak
    normal = np.diag(np.repeat(prior**-2, n_node))
    right = np.zeros(n_term * n_node)
    for star in sample:
        expected = star.flux * np.maximum(_shape(model, star), 0.0)
        weight = _weight(star, expected) * star.flux**2
        rest = star.light / star.flux - _moffat(star.dx, star.dy, model.profile)
        loaded = star.design * weight[:, None]
        square, side = loaded.T @ star.design, loaded.T @ rest
        place = _scaled(model, star)
        normal += np.kron(np.outer(place, place), square)
        right += np.kron(place, side)
    return np.asarray(np.linalg.solve(normal, right).reshape(n_term, n_node))
