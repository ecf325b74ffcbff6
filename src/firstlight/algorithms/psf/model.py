"""The shape of a point source at any place of an image.

The effective PSF (Anderson & King 2000, PASP 112, 1360) is what a pixel sees of a star at some
distance: the pixel is part of it, so a stamp is made by looking it up at the pixel centres. Here
it is an elliptical Moffat profile (A&A 3, 455) whose width and ellipticity are polynomials of the
place, plus a correction on a net of cubic B-splines, whose coefficients may change linearly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

__all__ = ["MARGIN", "RELAXED", "PsfModel", "Stamp", "draw_stars", "place_terms", "profiles_at"]

Floats = NDArray[np.float64]

MARGIN = 2
"""Rows of zeros around the net, so that every look-up finds four nodes."""

RELAXED = {"contract", "reassoc", "arcp"}
"""How compiled arithmetic may be changed: infinities and NaN keep their meaning."""

_MOST_ELLIPTIC = 0.9


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
    bends
        What a place adds to the logarithm of the core radius and to the ellipticities:
        coefficients of `place_terms`, ``(3, n_bend)``.
    nets
        Corrections at the nodes of the B-splines, share of the light per pixel: mean, and change
        with the scaled x and y, ``(n_net, m, m)``, rows along y, with `MARGIN` of zeros.
    spacing
        Of the nodes, pixels.
    middle, reach
        Scaled place is ``(pixels - middle) / reach``, limited to ±1.
    totals
        Sum of the model over a whole stamp centred on a pixel: coefficients of `place_terms`.
        Stamps are divided by it.
    radius
        Half the side of a full stamp, pixels.
    stars
        How many it rests on.
    """

    profile: tuple[float, float, float, float]
    bends: Floats
    nets: Floats
    spacing: float
    middle: tuple[float, float]
    reach: tuple[float, float]
    totals: Floats
    radius: int
    stars: int

    @property
    def varies(self) -> bool:
        """Whether it changes over the image."""
        return len(self.nets) > 1 or self.bends.shape[1] > 1

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
        whole = self.stamps(x, y, half)[0]
        left, top = half - i, half - j
        return Stamp(
            rows,
            columns,
            whole[rows.start + top : rows.stop + top, columns.start + left : columns.stop + left],
        )

    def stamps(self, x: ArrayLike, y: ArrayLike, radius: int | None = None) -> Floats:
        """The PSF of many stars, each centred on the pixel nearest to it.

        Parameters
        ----------
        x, y
            Places, pixels, ``(n,)``; they may be outside the image, where the shape is that of
            its border.
        radius
            Half the side of a stamp, pixels; `PsfModel.radius` if None.

        Returns
        -------
        Share of the light in each pixel, ``(n, 2 radius + 1, 2 radius + 1)``.
        """
        half = self.radius if radius is None else radius
        at = np.stack([np.atleast_1d(np.asarray(v, np.float64)) for v in (x, y)], axis=1)
        u, v = self.scaled(at[:, 0], at[:, 1])
        drawn = np.empty((len(at), 2 * half + 1, 2 * half + 1))
        stars = at - np.rint(at), profiles_at(self, u, v), place_terms(u, v, len(self.nets))
        draw_stars(stars, self.nets, self.spacing, drawn)
        drawn /= self._total(u, v)[:, None, None]
        return drawn

    def add_to(
        self,
        image: NDArray[np.float32],
        x: Floats,
        y: Floats,
        light: Floats,
        radii: NDArray[np.int64],
    ) -> None:
        """Add stars of some light to an image ``(ny, nx)``, in place.

        Parameters
        ----------
        x, y
            Finite places, pixels, ``(n,)``; what falls outside the image is not drawn.
        light
            Of the whole stamp of `PsfModel.radius`, ``(n,)``.
        radii
            Half the side of what is drawn, pixels, ``(n,)``.
        """
        u, v = self.scaled(x, y)
        mix = place_terms(u, v, len(self.nets))
        places = np.stack([x, y], axis=1)
        stars = places, profiles_at(self, u, v), mix, light / self._total(u, v), radii
        add_stars(image, stars, self.nets, self.spacing)

    def light_within(self, x: float, y: float, radius: int) -> float:
        """Share of the light in a whole square of `radius` pixels around a star at (x, y)."""
        return float(self.stamps(x, y, radius).sum())

    def reach_of(self, share: float) -> float:
        """Pixels from the middle of a star beyond which no pixel holds so much of its light."""
        core, _, _, power = self.profile
        middle = (power - 1.0) / (np.pi * core**2)
        return float(core * np.sqrt(max((middle / share) ** (1.0 / power) - 1.0, 0.0)))

    def scaled(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Places on the scale on which the shape changes, limited to ±1."""
        u = np.clip((x - self.middle[0]) / self.reach[0], -1.0, 1.0)
        v = np.clip((y - self.middle[1]) / self.reach[1], -1.0, 1.0)
        return np.asarray(u), np.asarray(v)

    def _total(self, u: Floats, v: Floats) -> Floats:
        return np.asarray(place_terms(u, v, len(self.totals)) @ self.totals)


def place_terms(u: Floats, v: Floats, count: int) -> Floats:
    """The first `count` powers u^p v^q by rising degree, ``(n, count)``."""
    powers: list[tuple[int, int]] = []
    degree = 0
    while len(powers) < count:
        powers += [(degree - q, q) for q in range(degree + 1)]
        degree += 1
    return np.stack([u**p * v**q for p, q in powers[:count]], axis=-1)


def profiles_at(model: PsfModel, u: Floats, v: Floats) -> Floats:
    """Core radius, ellipticities and power of the Moffat at scaled places, ``(n, 4)``."""
    added = place_terms(u, v, model.bends.shape[1]) @ model.bends.T
    core, e1, e2, power = model.profile
    first, second = e1 + added[:, 1], e2 + added[:, 2]
    # A polynomial may run away where there was no star; a profile must stay one.
    shrink = np.minimum(1.0, _MOST_ELLIPTIC / np.maximum(np.hypot(first, second), 1e-9))
    wide = core * np.exp(np.clip(added[:, 0], -1.0, 1.0))
    return np.stack([wide, first * shrink, second * shrink, np.full(len(u), power)], axis=1)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=RELAXED)
def moffat(dx, dy, profile):  # type: ignore[no-untyped-def] # compiled
    """Total one over the plane. The matrix (1 + e1, e2; e2, 1 - e1) has determinant 1 - |e|^2."""
    core, e1, e2, power = profile[0], profile[1], profile[2], profile[3]
    squared = ((1 + e1) * dx * dx + 2 * e2 * dx * dy + (1 - e1) * dy * dy) / (core * core)
    norm = (power - 1) * np.sqrt(1 - e1 * e1 - e2 * e2) / (np.pi * core * core)
    return norm * np.exp(-power * np.log(1.0 + squared))


@njit(cache=True, nogil=True, error_model="numpy", fastmath=RELAXED)
def nodes_near(t, weights):  # type: ignore[no-untyped-def] # compiled
    """The lowest of the four cubic B-splines that reach `t`, and their values there."""
    low = int(np.floor(t))
    f = t - low
    g = 1.0 - f
    weights[0] = g * g * g / 6.0
    weights[1] = 2.0 / 3.0 - f * f + 0.5 * f * f * f
    weights[2] = 2.0 / 3.0 - g * g + 0.5 * g * g * g
    weights[3] = f * f * f / 6.0
    return low - 1


@njit(cache=True, nogil=True, error_model="numpy", fastmath=RELAXED)
def mixed_net(nets, mix, out):  # type: ignore[no-untyped-def] # compiled
    """The net at one place: `out` = sum of `mix` times `nets`."""
    out[:] = 0.0
    for k in range(nets.shape[0]):
        for a in range(out.shape[0]):
            for b in range(out.shape[1]):
                out[a, b] += mix[k] * nets[k, a, b]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=RELAXED)
def draw_one(offset, profile, net, spacing, out):  # type: ignore[no-untyped-def] # compiled
    """Draw one star around the middle pixel of `out` ``(side, side)``."""
    side, m = out.shape[0], net.shape[0]
    half, first = side // 2, -(m // 2)
    across = np.empty((side, 4))
    left = np.empty(side, np.int64)
    along, row = np.empty(4), np.empty(m)
    for i in range(side):
        left[i] = nodes_near((i - half - offset[0]) / spacing, across[i]) - first
    for j in range(side):
        dy = j - half - offset[1]
        top = nodes_near(dy / spacing, along) - first
        corrected = top >= 0 and top + 4 <= m
        row[:] = 0.0
        if corrected:
            for a in range(4):
                for b in range(m):
                    row[b] += along[a] * net[top + a, b]
        for i in range(side):
            value = moffat(i - half - offset[0], dy, profile)
            if corrected and left[i] >= 0 and left[i] + 4 <= m:
                for b in range(4):
                    value += across[i, b] * row[left[i] + b]
            out[j, i] = value


@njit(cache=True, nogil=True, error_model="numpy", fastmath=RELAXED)
def draw_stars(stars, nets, spacing, drawn):  # type: ignore[no-untyped-def] # compiled
    """Draw each star around the middle pixel of its stamp in `drawn` ``(n, side, side)``.

    `stars` are offsets from the middle ``(n, 2)``, profiles ``(n, 4)`` and shares of the nets
    ``(n, n_net)``.
    """
    offsets, profiles, mix = stars
    net = np.empty(nets.shape[1:])
    for s in range(offsets.shape[0]):
        mixed_net(nets, mix[s], net)
        draw_one(offsets[s], profiles[s], net, spacing, drawn[s])


@njit(cache=True, nogil=True, error_model="numpy", fastmath=RELAXED)
def add_stars(image, stars, nets, spacing):  # type: ignore[no-untyped-def] # compiled
    """Add stars to `image` ``(ny, nx)``.

    `stars` are places ``(n, 2)``, profiles, shares of the nets, light and radii of the stamps.
    """
    places, profiles, mix, light, radii = stars
    ny, nx = image.shape
    net = np.empty(nets.shape[1:])
    offset = np.empty(2)
    for s in range(places.shape[0]):
        i, j, half = int(np.rint(places[s, 0])), int(np.rint(places[s, 1])), radii[s]
        offset[0], offset[1] = places[s, 0] - i, places[s, 1] - j
        out = np.empty((2 * half + 1, 2 * half + 1))
        mixed_net(nets, mix[s], net)
        draw_one(offset, profiles[s], net, spacing, out)
        for y in range(max(j - half, 0), min(j + half + 1, ny)):
            for x in range(max(i - half, 0), min(i + half + 1, nx)):
                image[y, x] += light[s] * out[y - j + half, x - i + half]
