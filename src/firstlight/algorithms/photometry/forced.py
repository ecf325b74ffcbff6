"""Light at given places, whether or not anything was found there: in a circle and by the PSF."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.flags import Flag
from firstlight.algorithms.psf.fit import PsfModel
from firstlight.algorithms.sources.aperture import REPLACED, aperture_fluxes

__all__ = ["ForcedFluxes", "LocalSky", "forced_aperture", "forced_psf", "local_sky"]

Floats = NDArray[np.float64]

_HIDDEN = int(REPLACED | Flag.SATURATED | Flag.BLEED)
_FIT_RADIUS = 1.5  # FWHM: beyond it pixels say more of the sky than of the star
_LEAST_SHARE = 0.6  # of the light of a star on pixels that can be used, for a fit
_TURNS = 3
_NEGLIGIBLE = 1e-3  # of a stamp's light: what a neighbour may leave there without being fitted


@dataclass(frozen=True)
class LocalSky:
    """Sky around places, above the map that was subtracted.

    Attributes
    ----------
    level, error
        Electrons per pixel and one sigma, ``(n,)``; NaN where the ring has too few pixels.
    """

    level: Floats
    error: Floats


@dataclass(frozen=True)
class ForcedFluxes:
    """Light at places.

    Attributes
    ----------
    flux, error
        Electrons, ``(n,)``; NaN where it cannot be measured. The error holds the noise of the
        sky, of the star's own light, and of the local sky's level.
    faint_error
        The same for a star of no light, ``(n,)``.
    flags
        OR of the flags of the pixels used, ``(n,)``.
    quality
        Reduced chi-square of a PSF fit; NaN for apertures, ``(n,)``.
    """

    flux: Floats
    error: Floats
    faint_error: Floats
    flags: NDArray[np.uint16]
    quality: Floats


def local_sky(
    data: NDArray[np.float32],
    flags: NDArray[np.uint16],
    footprints: NDArray[np.int32],
    places: tuple[Floats, Floats],
    ring: tuple[float, float],
) -> LocalSky:
    """Clipped mean of a ring around each place, without the pixels of detected sources.

    Parameters
    ----------
    data
        Electrons, sky-subtracted ``(ny, nx)``.
    flags
        Flags plane.
    footprints
        Number of the source a pixel belongs to, 0 for none.
    places
        x and y, pixels, each ``(n,)``.
    ring
        Inner and outer radius, pixels.
    """
    hidden = flags | np.where(footprints > 0, np.uint16(Flag.BAD), np.uint16(0))
    measured = aperture_fluxes(data, *places, 1.0, flags=hidden, annulus=ring)
    return LocalSky(measured.sky, measured.sky_error)


def forced_aperture(
    data: NDArray[np.float32],
    variance: NDArray[np.float32],
    flags: NDArray[np.uint16],
    places: tuple[Floats, Floats],
    *,
    radius: float,
    sky: LocalSky,
) -> ForcedFluxes:
    """Sum of a circle around each place.

    Parameters
    ----------
    data
        Electrons, sky-subtracted ``(ny, nx)``.
    variance
        Of the sky alone: the noise of the star is taken from its own sum.
    radius
        Pixels.
    sky
        What the map of the sky left at each place.
    """
    circle = aperture_fluxes(data, *places, radius, variance=variance, flags=flags)
    area = np.pi * radius**2
    flux = circle.flux[:, 0] - area * sky.level
    faint = circle.error[:, 0] ** 2 + (area * sky.error) ** 2
    error = np.sqrt(faint + np.maximum(flux, 0.0))
    nothing = np.full(len(flux), np.nan)
    return ForcedFluxes(flux, error, np.sqrt(faint), circle.flags[:, 0], nothing)


def forced_psf(
    planes: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint16]],
    psf: PsfModel,
    places: tuple[Floats, Floats],
    *,
    fwhm: float,
    sky: LocalSky,
    neighbours: tuple[Floats, Floats] | None = None,
) -> ForcedFluxes:
    """Flux of a point source at each place, by weighted linear least squares.

    Parameters
    ----------
    planes
        Sky-subtracted electrons, variance of the sky alone, flags; each ``(ny, nx)``.
    psf
        Of this image.
    places
        x and y, pixels, each ``(n,)``; they are not moved.
    fwhm
        Pixels.
    sky
        What the map of the sky left at each place.
    neighbours
        x and y of other point sources, whose light is fitted together with each place's where
        they reach into its stamp. Those within half a FWHM are taken to be the star itself.

    Notes
    -----
    Weights are those of the sky and of the fitted star, not of the observed pixels: noise that
    lowers a pixel would otherwise raise its weight, and every flux would come out too low.
    """
    count = len(places[0])
    told = np.full((count, 4), np.nan)
    bits = np.zeros(count, np.uint16)
    radius = int(np.ceil(_FIT_RADIUS * fwhm))
    for k in range(count):
        x, y = float(places[0][k]), float(places[1][k])
        if not (np.isfinite(x) and np.isfinite(y) and np.isfinite(sky.level[k])):
            continue
        own = (float(sky.level[k]), float(sky.error[k]))
        told[k], bits[k] = _fit_one(planes, psf, (x, y), own, (radius, neighbours))
    return ForcedFluxes(told[:, 0], told[:, 1], told[:, 2], bits, told[:, 3])


def _fit_one(
    planes: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint16]],
    psf: PsfModel,
    place: tuple[float, float],
    sky: tuple[float, float],
    around: tuple[int, tuple[Floats, Floats] | None],
) -> tuple[tuple[float, float, float, float], int]:
    """Flux, error, error without light, reduced chi-square; and the flags."""
    data, variance, flags = planes
    radius, neighbours = around
    shape = (data.shape[0], data.shape[1])
    nothing = (float("nan"), float("nan"), float("nan"), float("nan"))
    stamp = psf.at(*place, shape, radius)
    if stamp is None:
        return nothing, int(Flag.EDGE)
    bits = int(np.bitwise_or.reduce(flags[stamp.where], axis=None))
    good = (flags[stamp.where] & _HIDDEN) == 0
    good &= np.isfinite(variance[stamp.where])
    if stamp.psf[good].sum() < _LEAST_SHARE * psf.light_within(*place, radius):
        return nothing, bits
    if stamp.psf.size < (2 * radius + 1) ** 2:
        bits |= int(Flag.EDGE)
    piece = (stamp.where, shape, good)
    columns = [stamp.psf[good], *_others(psf, place, neighbours, piece, radius / 3.0)]
    design = np.stack(columns, axis=1)
    value = data[stamp.where][good].astype(np.float64) - sky[0]
    spread = variance[stamp.where][good].astype(np.float64)
    model = np.zeros(len(value))
    for _ in range(_TURNS):
        weight = 1.0 / (spread + np.maximum(model, 0.0))
        loaded = design * weight[:, None]
        covariance = np.linalg.pinv(loaded.T @ design)
        solution = covariance @ (loaded.T @ value)
        model = design @ solution
    leverage = float((covariance @ loaded.sum(axis=0))[0])
    freedom = max(len(value) - design.shape[1], 1)
    chi = float((weight * (value - model) ** 2).sum()) / freedom
    error = float(np.sqrt(covariance[0, 0] + (leverage * sky[1]) ** 2))
    dark = design / spread[:, None]
    alone = np.linalg.pinv(dark.T @ design)
    faint = float(np.hypot(np.sqrt(alone[0, 0]), (alone @ dark.sum(axis=0))[0] * sky[1]))
    return (float(solution[0]), error, faint, chi), bits


def _others(
    psf: PsfModel,
    place: tuple[float, float],
    neighbours: tuple[Floats, Floats] | None,
    piece: tuple[tuple[slice, slice], tuple[int, int], NDArray[np.bool_]],
    own: float,
) -> list[Floats]:
    """The PSF of each neighbour on the good pixels of a stamp, where it leaves light there."""
    if neighbours is None:
        return []
    (rows, columns), shape, good = piece
    apart = np.hypot(neighbours[0] - place[0], neighbours[1] - place[1])
    near = (apart < 2.0 * psf.radius) & (apart > own)
    found = []
    for x, y in zip(neighbours[0][near], neighbours[1][near], strict=True):
        stamp = psf.at(float(x), float(y), shape)
        if stamp is None:
            continue
        canvas = np.zeros((rows.stop - rows.start, columns.stop - columns.start))
        top, left = max(rows.start, stamp.rows.start), max(columns.start, stamp.columns.start)
        low, right = min(rows.stop, stamp.rows.stop), min(columns.stop, stamp.columns.stop)
        if top >= low or left >= right:
            continue
        there = stamp.psf[
            top - stamp.rows.start : low - stamp.rows.start,
            left - stamp.columns.start : right - stamp.columns.start,
        ]
        canvas[
            top - rows.start : low - rows.start, left - columns.start : right - columns.start
        ] = there
        if canvas.sum() > _NEGLIGIBLE:
            found.append(canvas[good])
    return found
