"""Numbers measured on the stamps of candidates, for all of them at once."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from firstlight.algorithms.candidates.darkness import below_sky
from firstlight.algorithms.candidates.fits import (
    companions,
    fit_points,
    narrowest,
    streak,
)
from firstlight.algorithms.candidates.stamps import CandidateStamps
from firstlight.algorithms.candidates.window import Window, look_at
from firstlight.algorithms.flags import Flag
from firstlight.algorithms.sources.moments import FWHM_OF_SIGMA

__all__ = ["KnownStars", "Measures", "measure_candidates", "saturated_pixels"]

Floats = NDArray[np.float64]

PSF_ERROR = 0.02
_APERTURE = 1.0  # FWHM, radius
_CORE = 1.25  # FWHM
_STANDS_OUT = 2.0  # sigma of a pixel that counts as negative or positive
_RINGS = (0.25, 0.75, 1.25, 1.75)  # FWHM, middles of the rings of profiles
_FULL = np.uint16(Flag.SATURATED | Flag.BLEED)
_RAY = np.uint16(Flag.COSMIC_RAY)


@dataclass(frozen=True, slots=True)
class KnownStars:
    """What stands near candidates; pixels of the image.

    Attributes
    ----------
    x, y, flux
        Of the stars, electrons, ``(m,)``.
    full_x, full_y
        Pixels that are saturated or bled, ``(p,)``; from `saturated_pixels`.
    """

    x: Floats
    y: Floats
    flux: Floats
    full_x: Floats
    full_y: Floats


@dataclass(frozen=True, slots=True)
class Measures:
    """One number a candidate, columns ``(n,)`` unless said otherwise.

    What is said of light is said of the candidate as if it were positive: for a source that has
    faded, new image and reference have changed places.

    Attributes
    ----------
    flux, flux_error
        Of the PSF fitted at the candidate's place, electrons in the new image, with sign.
    aperture, aperture_error
        In a circle of one FWHM radius, with what a point source has outside it.
    x, y
        Most probable place of a point source, pixels of the image; the place of the candidate
        itself where that would be more than one FWHM away.
    xx, yy, xy
        Its covariance, pixels squared.
    offset
        From the peak of the score to it, in sigma.
    chi2, misfit, worst
        Of the fit, per degree of freedom; how far that is beyond chance, in sigma; and the
        largest residual, in sigma.
    width
        FWHM over that of a point source, by moments in a window of the PSF's size.
    elongation
        Long over short axis, by the same moments, those of the PSF taken as round.
    spill
        Flux in the circle over that of the fit, less one, in sigma.
    dipole, balance, extended
        A second source beside it: `Companions`.
    streak
        Sigma of light along a line through it, beside it.
    narrow
        Signal-to-noise ratio of the best shape of a few pixels, over that of the PSF.
    bad
        Share of the information on the flux that fell on unusable pixels.
    struck
        Share of the pixels within 1.25 FWHM that a cosmic ray hit.
    filled
        Share of those that were filled in.
    negative
        Share of the pixels beyond two sigma within 1.25 FWHM that are negative.
    agreement
        Score less the signal-to-noise ratio of the fit.
    new_light, reference_light
        Flux in the circle in either image, in units of the error of `aperture`.
    below_sky
        How far the reference is below the sky at the place, in sigma of its own noise: no source
        makes it darker. From `darkness.below_sky`.
    change
        Flux over that in the reference's circle; at most 100.
    profiles
        Mean light in four rings of new image, reference and difference, over what a point source
        of the fitted flux has in the middle, ``(n, 3, 4)``.
    star_distance, star_flux
        Of the nearest star, pixels and electrons; infinite and 0 without.
    full_distance, full_widths
        To the nearest saturated pixel, pixels and FWHM; infinite without.
    """

    flux: Floats
    flux_error: Floats
    aperture: Floats
    aperture_error: Floats
    x: Floats
    y: Floats
    xx: Floats
    yy: Floats
    xy: Floats
    offset: Floats
    chi2: Floats
    misfit: Floats
    worst: Floats
    width: Floats
    elongation: Floats
    spill: Floats
    dipole: Floats
    balance: Floats
    extended: Floats
    streak: Floats
    narrow: Floats
    bad: Floats
    struck: Floats
    filled: Floats
    negative: Floats
    agreement: Floats
    new_light: Floats
    reference_light: Floats
    below_sky: Floats
    change: Floats
    profiles: Floats
    star_distance: Floats
    star_flux: Floats
    full_distance: Floats
    full_widths: Floats

    def __len__(self) -> int:
        return len(self.flux)

    def columns(self) -> dict[str, Floats]:
        """Every column by its name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def select(self, which: NDArray[np.bool_] | NDArray[np.intp]) -> Measures:
        """Some of them, by a mask or by numbers."""
        return Measures(**{name: column[which] for name, column in self.columns().items()})


def saturated_pixels(flags: NDArray[np.uint16]) -> tuple[Floats, Floats]:
    """Places x, y of the saturated and bled pixels of a flags plane."""
    rows, columns = np.nonzero(flags & _FULL)
    return columns.astype(np.float64), rows.astype(np.float64)


def measure_candidates(
    stamps: CandidateStamps,
    psfs: Floats,
    places: tuple[Floats, Floats],
    score: Floats,
    fwhm: float | Floats,
    known: KnownStars | None = None,
    psf_error: float = PSF_ERROR,
    points: int = 1,
) -> Measures:
    """Measure candidates.

    Parameters
    ----------
    stamps
        Around the places.
    psfs
        Of the difference, ``(n, m, m)``, m odd, centred on their middle pixel or point: a source
        of one electron in the new image.
    places
        x and y, pixels of the image, ``(n,)`` each.
    score
        With sign, ``(n,)``.
    fwhm
        Of stars in the new image, pixels; one number or ``(n,)``.
    known
        Stars and saturated pixels of the image.
    psf_error
        What the PSF is not trusted to, as a share of the light that it puts into a pixel: what
        is left of a bright source tells of a second one only beyond it.
    points
        Of `psfs` a pixel, along each axis: two where stars are undersampled.
    """
    sign = np.where(score < 0, -1.0, 1.0)
    widths = np.broadcast_to(np.asarray(fwhm, np.float64), score.shape)
    x, y = places
    middle = stamps.column + stamps.radius, stamps.row + stamps.radius
    off = x - middle[0], y - middle[1]
    window = look_at(stamps, psfs, off, sign, widths, psf_error, points)
    fitted = fit_points(window)
    near = np.hypot(fitted.dx, fitted.dy) <= widths
    second = companions(window, fitted.flux)
    aperture, aperture_error, light = _apertures(window)
    width, elongation = _shapes(window)
    with np.errstate(divide="ignore", invalid="ignore"):
        offset = np.hypot(fitted.dx, fitted.dy) / np.sqrt((fitted.xx + fitted.yy) / 2)
        significance = fitted.flux / fitted.flux_error
        # The fit is the best that can be done: its errors are part of those of the circle.
        beyond = np.maximum((aperture_error / fitted.flux_error) ** 2 - 1, 1e-2)
        spill = (aperture - fitted.flux) / (fitted.flux_error * np.sqrt(beyond))
        change = fitted.flux / np.maximum(light[1], aperture_error)
    return Measures(
        flux=sign * fitted.flux,
        flux_error=fitted.flux_error,
        aperture=sign * aperture,
        aperture_error=aperture_error,
        x=x + np.where(near, fitted.dx, 0.0),
        y=y + np.where(near, fitted.dy, 0.0),
        xx=fitted.xx,
        yy=fitted.yy,
        xy=fitted.xy,
        offset=np.nan_to_num(offset),
        chi2=fitted.chi2,
        misfit=fitted.misfit,
        worst=fitted.worst,
        width=width,
        elongation=elongation,
        spill=np.nan_to_num(spill),
        dipole=second.dipole,
        balance=second.balance,
        extended=second.extended,
        streak=streak(window, fitted.flux),
        narrow=narrowest(window) / np.maximum(significance, 1.0),
        **_shares(window, stamps.flags),
        agreement=np.abs(score) - significance,
        new_light=np.nan_to_num(light[0] / aperture_error),
        reference_light=np.nan_to_num(light[1] / aperture_error),
        below_sky=below_sky(window),
        change=np.clip(np.nan_to_num(change), -100.0, 100.0),
        profiles=_profiles(window, fitted.flux),
        **_neighbours(x, y, widths, known),
    )


def _apertures(window: Window) -> tuple[Floats, Floats, tuple[Floats, Floats]]:
    """Flux in a circle of the difference, its error, and the flux in the other two images.

    Pixels that are not usable are taken to hold what the PSF says of the others.
    """
    circle = window.within(_APERTURE)
    held = (circle * window.usable * window.psf).sum(axis=(1, 2))
    inside = (circle * window.psf).sum(axis=(1, 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        flux = (circle * window.light).sum(axis=(1, 2)) / held
        noise = np.divide(circle**2, window.weight, out=np.zeros_like(circle), where=window.usable)
        error = np.sqrt(noise.sum(axis=(1, 2))) / held
        known = held > 0.2 * inside
        others = tuple(
            (circle * image).sum(axis=(1, 2)) / inside for image in (window.new, window.reference)
        )
    return np.where(known, flux, 0.0), np.where(known, error, np.inf), (others[0], others[1])


def _shapes(window: Window) -> tuple[Floats, Floats]:
    """Width over that of the PSF, and elongation, by moments in a Gaussian of the PSF's size."""
    side = window.light.shape[-1]
    steps = np.arange(side) - side // 2
    weight = np.exp(-0.5 * (window.distance * FWHM_OF_SIGMA) ** 2) * (window.distance < _CORE)
    light = np.where(window.usable, window.light, 0.0)
    # About the middle of what is seen, for a ray has no reason to be where the PSF fits best.
    moments = [_moments(weight * plane, steps) for plane in (light, window.psf * window.usable)]
    (xx, yy, xy), (pxx, pyy, pxy) = moments
    size, expected = xx + yy, pxx + pyy
    with np.errstate(divide="ignore", invalid="ignore"):
        width = np.sqrt(np.clip(size / expected, 0.05, 9.0))
        stretch = np.hypot(
            (xx - yy) / size - (pxx - pyy) / expected, 2 * (xy / size - pxy / expected)
        )
        stretch = np.clip(stretch, 0.0, 0.98)
        elongation = np.sqrt((1 + stretch) / (1 - stretch))
    return np.nan_to_num(width, nan=1.0), np.nan_to_num(elongation, nan=1.0)


def _moments(light: Floats, steps: NDArray[np.int64]) -> tuple[Floats, Floats, Floats]:
    total = light.sum(axis=(1, 2))
    total = np.where(total > 0, total, np.nan)
    x = (light * steps).sum(axis=(1, 2)) / total
    y = (light * steps[:, None]).sum(axis=(1, 2)) / total
    xx = (light * steps**2).sum(axis=(1, 2)) / total - x**2
    yy = (light * steps[:, None] ** 2).sum(axis=(1, 2)) / total - y**2
    xy = (light * steps * steps[:, None]).sum(axis=(1, 2)) / total - x * y
    return xx, yy, xy


def _shares(window: Window, flags: NDArray[np.uint16]) -> dict[str, Floats]:
    near = window.distance <= _CORE
    count = np.maximum(near.sum(axis=(1, 2)), 1)
    sharp = window.psf**2
    sigmas = window.light * np.sqrt(window.weight)
    below = (near & (sigmas < -_STANDS_OUT)).sum(axis=(1, 2))
    above = (near & (sigmas > _STANDS_OUT)).sum(axis=(1, 2))
    return {
        "bad": (sharp * ~window.usable).sum(axis=(1, 2)) / sharp.sum(axis=(1, 2)),
        "struck": (near & ((flags & _RAY) != 0)).sum(axis=(1, 2)) / count,
        "filled": (near & ((flags & np.uint16(Flag.INTERPOLATED)) != 0)).sum(axis=(1, 2)) / count,
        "negative": below / np.maximum(below + above, 1),
    }


def _profiles(window: Window, flux: Floats) -> Floats:
    """Rings of the three images, over the middle of the fitted source."""
    peak = np.maximum(flux, 1.0) * window.psf.max(axis=(1, 2))
    rings = []
    for middle in _RINGS:
        ring = np.abs(window.distance - middle) <= 0.25
        seen = np.maximum(ring.sum(axis=(1, 2)), 1)
        rings.append(
            [
                (ring * image).sum(axis=(1, 2)) / seen / peak
                for image in (window.new, window.reference, window.light)
            ]
        )
    return np.clip(np.array(rings).transpose(2, 1, 0), -100.0, 100.0)


def _neighbours(x: Floats, y: Floats, fwhm: Floats, known: KnownStars | None) -> dict[str, Floats]:
    away = np.full(len(x), np.inf)
    flux, full = np.zeros(len(x)), away.copy()
    places = np.column_stack([x, y])
    if known is not None and len(known.x):
        away, nearest = cKDTree(np.column_stack([known.x, known.y])).query(places)
        flux = known.flux[nearest]
    if known is not None and len(known.full_x):
        full, _ = cKDTree(np.column_stack([known.full_x, known.full_y])).query(places)
    return {
        "star_distance": away,
        "star_flux": flux,
        "full_distance": full,
        "full_widths": full / fwhm,
    }
