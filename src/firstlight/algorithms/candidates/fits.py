"""One point source against what else it may be: fits to the pixels around candidates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from firstlight.algorithms.candidates.window import Window

__all__ = ["Companions", "Points", "companions", "fit_points", "narrowest", "streak"]

Floats = NDArray[np.float64]

FIT_REACH = 2.0  # FWHM, of the pixels that a flux is fitted to
JUDGED = 1.25  # FWHM, of those that tell whether a source has the PSF's shape
_NEAREST, _FARTHEST = 0.4, 2.0  # FWHM, of a second source
_MOST_ALIKE = 0.9  # correlation of two sources above which they are not told apart
_ANGLES = 12
_ALONG = (0.75, 1.5, 2.25)  # FWHM, where a streak is looked for on both sides
_LINES = (  # steps (down, right) to the other pixels of the shapes that rays have
    (),
    ((0, 1),),
    ((1, 0),),
    ((1, 1),),
    ((1, -1),),
    ((0, 1), (0, 2)),
    ((1, 0), (2, 0)),
    ((1, 1), (2, 2)),
    ((1, -1), (2, -2)),
    ((0, 1), (1, 0), (1, 1)),
)


@dataclass(frozen=True, slots=True)
class Points:
    """Point sources fitted to differences, a column ``(n,)``.

    Attributes
    ----------
    flux, flux_error
        Electrons at the place that was given.
    dx, dy
        From that place to the most probable one, pixels.
    xx, yy, xy
        Covariance of the position, pixels squared.
    chi2, misfit
        Of the pixels within 1.25 FWHM, per degree of freedom; and how far beyond chance that is,
        in sigma.
    worst
        Largest residual of them, sigma, with its sign.
    """

    flux: Floats
    flux_error: Floats
    dx: Floats
    dy: Floats
    xx: Floats
    yy: Floats
    xy: Floats
    chi2: Floats
    misfit: Floats
    worst: Floats


@dataclass(frozen=True, slots=True)
class Companions:
    """A second source beside the first, a column ``(n,)``.

    Attributes
    ----------
    dipole
        Sigma by which two sources of opposite sign fit better than one.
    balance
        Flux of that second source over that of the first, both fitted together; 0 where none is.
    extended
        Sigma by which two sources of one sign fit better than one.
    """

    dipole: Floats
    balance: Floats
    extended: Floats


def fit_points(window: Window) -> Points:
    """Flux at the place by weighted least squares, and the next step of the place.

    The errors are those of white noise: ``C^-1 = sum(w g g^T)`` with the gradient g of the model
    with the flux and the position. Where no pixel is usable, flux and place are 0 and all errors
    infinite.
    """
    weight = window.weight * window.within(FIT_REACH)
    both = np.stack([window.psf, *window.slopes])
    normal = np.einsum("inyx,nyx,jnyx->nij", both, weight, both, optimize=True)
    right = np.einsum("inyx,nyx,nyx->ni", both, weight, window.light, optimize=True)
    power = normal[:, 0, 0]
    known = power > 0
    flux = np.divide(right[:, 0], power, out=np.zeros_like(power), where=known)
    error = np.divide(1.0, np.sqrt(power), out=np.full_like(power, np.inf), where=known)
    # A source of no light has no place: its error stands for the smallest flux.
    light = np.maximum(flux, error, where=known, out=np.ones_like(flux))
    normal *= _outer(light)
    right[:, 1:] *= light[:, None]
    covariance = np.full_like(normal, np.inf)
    step = np.zeros_like(right)
    solid = known & (np.linalg.det(normal) > 0)
    covariance[solid] = np.linalg.inv(normal[solid])
    step[solid] = np.einsum("nij,nj->ni", covariance[solid], right[solid])
    told = _left_over(window, flux)
    xx, yy, xy = covariance[:, 1, 1], covariance[:, 2, 2], covariance[:, 1, 2]
    return Points(flux, error, step[:, 1], step[:, 2], xx, yy, xy, *told)


def _outer(light: Floats) -> Floats:
    """Factors of a normal matrix whose last two rows are derivatives of a source's place."""
    each = np.stack([np.ones_like(light), light, light], axis=1)
    return each[:, :, None] * each[:, None, :]


def _left_over(window: Window, flux: Floats) -> tuple[Floats, Floats, Floats]:
    """Chi squared near the place, its excess, and the residual that stands out most.

    Wilson & Hilferty 1931 (PNAS 17, 684): the cube root of a reduced chi squared with k degrees
    of freedom is normal with the mean ``1 - 2 / 9k`` and the variance ``2 / 9k``.
    """
    rest, weight = window.without(flux)
    near = window.distance <= JUDGED
    sigmas = np.where(near, rest * np.sqrt(weight), 0.0).reshape(_rows(window))
    pixels = np.count_nonzero(near & window.usable, axis=(1, 2))
    freedom = np.maximum(pixels - 1, 1)
    chi2 = (sigmas**2).sum(axis=1) / freedom
    spread = 2.0 / (9.0 * freedom)
    misfit = (np.cbrt(chi2) - (1.0 - spread)) / np.sqrt(spread)
    place = np.abs(sigmas).argmax(axis=1)[:, None]
    return chi2, misfit, np.take_along_axis(sigmas, place, axis=1)[:, 0]


def companions(window: Window, flux: Floats) -> Companions:
    """Look for the second source that improves the fit most, on all pixels around the first.

    With the first one taken away, a source at b has the signal-to-noise ratio
    ``r = sum(w P_b rest) / sqrt(sum(w P_b^2))``. Fitted together with the first, whose
    correlation with it is c, it improves chi squared by ``r^2 / (1 - c^2)``.
    """
    rest, weight = window.without(flux)
    match, power = (
        _correlated(rest * weight, window.centred),
        _correlated(weight, window.centred**2),
    )
    overlap = _correlated(weight * window.psf, window.centred)
    own = (weight * window.psf**2).sum(axis=(1, 2))[:, None, None]
    power = np.maximum(power, 0.05 * own)
    with np.errstate(divide="ignore", invalid="ignore"):
        alike = np.clip(np.nan_to_num(overlap / np.sqrt(power * own)), -1.0, 1.0)
        gain = np.nan_to_num(match / np.sqrt(power * (1.0 - np.minimum(alike**2, _MOST_ALIKE**2))))
    ring = (window.distance > _NEAREST) & (window.distance < _FARTHEST) & (alike < _MOST_ALIKE)
    gain = np.where(ring, gain, 0.0).reshape(_rows(window))
    lowest = gain.argmin(axis=1)[:, None]
    dipole, extended = -np.take_along_axis(gain, lowest, axis=1)[:, 0], gain.max(axis=1)

    def there(plane: Floats) -> Floats:
        return np.take_along_axis(plane.reshape(_rows(window)), lowest, axis=1)[:, 0]

    c, scale = there(alike), np.sqrt(np.maximum(own[:, 0, 0], np.finfo(float).tiny))
    second = dipole / np.sqrt(np.maximum(1.0 - c**2, 1.0 - _MOST_ALIKE**2))
    first = np.maximum(flux * scale + c * second, 1.0)
    return Companions(dipole, np.clip(second / first, 0.0, 2.0), extended)


def streak(window: Window, flux: Floats) -> Floats:
    """Sigma of light along the best of twelve lines through the place, the source taken away."""
    rest, weight = window.without(flux)
    match, power = (
        _correlated(rest * weight, window.centred),
        _correlated(weight, window.centred**2),
    )
    own = (weight * window.psf**2).sum(axis=(1, 2))[:, None, None]
    sigmas = np.where(
        power > 0.2 * own, match / np.sqrt(np.maximum(power, np.finfo(float).tiny)), 0.0
    )
    half = sigmas.shape[-1] // 2
    angles = np.arange(_ANGLES) * np.pi / _ANGLES
    sides = np.array([side * step for step in _ALONG for side in (1, -1)])
    along = window.fwhm[:, None, None] * sides
    i = np.rint(along * np.cos(angles)[:, None]).astype(int) + half
    j = np.rint(along * np.sin(angles)[:, None]).astype(int) + half
    seen = (i >= 0) & (i <= 2 * half) & (j >= 0) & (j <= 2 * half)
    numbers = np.arange(len(flux))[:, None, None]
    values = sigmas[numbers, np.clip(j, 0, 2 * half), np.clip(i, 0, 2 * half)]
    # Neighbouring places share half of their pixels: of six, about three are independent.
    lines = np.where(seen, values, 0.0).sum(axis=2) / np.sqrt(2 * np.maximum(seen.sum(axis=2), 1))
    return np.asarray(lines.max(axis=1))


def narrowest(window: Window) -> Floats:
    """Signal-to-noise ratio of the best shape of one to four pixels near the place."""
    half = window.light.shape[-1] // 2
    reach = min(half, int(np.ceil(JUDGED * window.fwhm.max(initial=1.0))) + 1)
    core = np.s_[:, half - reach : half + reach + 1, half - reach : half + reach + 1]
    near = window.distance[core] <= JUDGED
    sigmas = np.where(near, (window.light * np.sqrt(window.weight))[core], 0.0)
    best = np.zeros(len(sigmas))
    for steps in _LINES:
        total = sigmas.copy()
        for down, right in steps:
            total += np.roll(sigmas, (down, right), axis=(1, 2))
        np.maximum(best, total.max(axis=(1, 2)) / np.sqrt(1 + len(steps)), out=best)
    return best


def _rows(window: Window) -> tuple[int, int]:
    """Shape of a plane with one row for each candidate, if there is any."""
    return len(window.light), window.light.shape[-1] ** 2


def _correlated(planes: Floats, kernels: Floats) -> Floats:
    """``sum over pixels of plane(p) kernel(p - b)`` for each pixel b, plane by plane."""
    side = planes.shape[-1]
    half = side // 2
    size = scipy.fft.next_fast_len(side + half + 1, real=True)
    spectrum = scipy.fft.rfft2(planes.astype(np.float32), (size, size))
    spectrum *= np.conj(scipy.fft.rfft2(kernels.astype(np.float32), (size, size)))
    whole = scipy.fft.irfft2(spectrum, (size, size))
    return np.asarray(np.roll(whole, (half, half), axis=(1, 2))[:, :side, :side], np.float64)
