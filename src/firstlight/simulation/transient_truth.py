"""New sources of a simulated pair, how well they can be measured at best, and cosmic rays."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from firstlight.errors import BadSettings
from firstlight.simulation.streams import Purpose, stream
from firstlight.simulation.transient_settings import PairSettings
from firstlight.simulation.transient_sky import GalaxyTruth, PairSky, SourceTruth

__all__ = [
    "TransientTruth",
    "cosmic_ray_charge",
    "flux_sigma",
    "place_transients",
    "transient_significance",
]

Floats = NDArray[np.float64]
Plane = NDArray[np.float32]
Bools = NDArray[np.bool_]

_APART, _FROM_EDGE, _FROM_SATURATED = 30.0, 20.0, 12.0  # pixels
_DEPTH = 1.5  # half-light radii, out to which a host's transients lie
_TRIALS = 400
_STEP = 0.1  # pixels along a track
_STRAIGHT = 0.7  # share of the tracks; electrons scatter on the others
_SCATTER = 0.15  # radians a step
_DIFFUSION = 0.3  # pixels, one sigma


@dataclass(frozen=True)
class TransientTruth(SourceTruth):
    """Sources that are in the new image only, brightest S/N first. Arrays of shape ``(n,)``.

    Attributes
    ----------
    snr
        Flux over the smallest one-sigma error that any use of both images can have with known
        PSFs, where the scene beneath is known from the reference alone (Zackay, Ofek & Gal-Yam
        2016, ApJ 830, 27). Noise of sky, readout and every other source is in it; the photons
        of the transient itself are not, so it is the significance against "nothing new".
    snr_perfect
        Likewise with a reference without noise: what the new image alone allows.
    flux_err
        One sigma of the best measurement, now with the transient's own photons.
    host
        Index of the galaxy, or -1.
    """

    snr: Floats
    snr_perfect: Floats
    flux_err: Floats
    host: NDArray[np.int64]


def flux_sigma(
    psf: Floats,
    reference_psf: Floats,
    variance: Floats,
    reference_variance: Floats | None,
) -> float:
    """One-sigma error of a flux on the difference of two images, at best.

    Parameters
    ----------
    psf, reference_psf
        Centred alike, shape ``(n, n)``.
    variance
        Of the new image's pixels there, ``(n, n)``.
    reference_variance
        Of the reference's, on the flux scale of the new image; None where it has no noise.

    Notes
    -----
    ``1 / sigma² = sum |Pn|² |Pr|² / (vn |Pr|² + vr |Pn|²)`` over spatial frequencies, with each
    variance that of an even noise which would spoil a PSF measurement as much.
    """
    power = np.abs(np.fft.rfft2(psf)) ** 2
    reference_power = np.abs(np.fft.rfft2(reference_psf)) ** 2
    even = _even(psf, variance)
    reference_even = 0.0
    if reference_variance is not None:
        reference_even = _even(reference_psf, reference_variance)
    # Where both lose all power there is nothing to gain, and nothing to divide by.
    noise = even * reference_power + reference_even * power
    share = power * reference_power / np.maximum(noise, 1e-300)
    # All columns of a real transform but the first (and the last of an even side) count twice.
    share[:, 1 : (psf.shape[1] + 1) // 2] *= 2
    return float(np.sqrt(psf.size / share.sum()))


def place_transients(
    settings: PairSettings, sky: PairSky, saturated: Bools
) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Pixels of the new image, and the host of each or -1.

    Parameters
    ----------
    saturated
        True where either image is saturated, on the new image's pixels ``(ny, nx)``.

    Raises
    ------
    BadSettings
        There is no room for so many.
    """
    random = stream(settings.seed, Purpose.TRANSIENTS)
    ny, nx = settings.shape
    burnt = np.argwhere(saturated)[:, ::-1]
    away = cKDTree(burnt) if len(burnt) else None
    free = _hosts(settings.shape, sky.galaxies)
    with_host = min(round(settings.transients * settings.hosted), len(free))
    places: list[tuple[float, float]] = []
    hosts: list[int] = []
    for number in range(settings.transients):
        for _ in range(_TRIALS):
            host = int(random.choice(free)) if number < with_host else -1
            x, y = _place(random, settings.shape, sky.galaxies, host)
            inside = min(x, y, nx - 1 - x, ny - 1 - y) >= _FROM_EDGE
            alone = all(np.hypot(x - i, y - j) >= _APART for i, j in places)
            clear = away is None or away.query((x, y))[0] >= _FROM_SATURATED
            if inside and alone and clear:
                places.append((x, y))
                hosts.append(host)
                free = free[free != host]
                break
        else:
            raise BadSettings(
                "There is no room for so many transients.",
                subject="PairSettings",
                field="transients",
                found=settings.transients,
                hint="fewer of them or fewer hosted ones, a larger image, or more galaxies",
            )
    found = np.array(places, np.float64).reshape(-1, 2)
    return found[:, 0], found[:, 1], np.array(hosts, np.int64)


def transient_significance(settings: PairSettings) -> Floats:
    """The signal-to-noise ratios of the transients in the order of their places."""
    random = stream(settings.seed, Purpose.TRANSIENTS, 1)
    low, high = (float(np.log(limit)) for limit in settings.transient_snr)
    return np.asarray(np.exp(random.uniform(low, high, settings.transients)))


def cosmic_ray_charge(settings: PairSettings) -> Plane:
    """Electrons that cosmic rays leave in the new image, ``(ny, nx)``.

    Straight tracks of heavy particles and crooked ones of electrons, of exponential length;
    the charge a pixel of path is log-uniform from 150 to 6000 electrons, fluctuates along the
    track and diffuses by a third of a pixel.
    """
    random = stream(settings.seed, Purpose.COSMIC_RAYS)
    ny, nx = settings.shape
    charge = np.zeros((ny, nx))
    for _ in range(settings.cosmic_rays):
        count = int(np.ceil(min(0.8 + random.exponential(3.5), 80.0) / _STEP))
        angle = np.full(count, random.uniform(0, 2 * np.pi))
        if random.uniform() > _STRAIGHT:
            angle += np.cumsum(random.normal(0, _SCATTER, count))
        x = random.uniform(-0.5, nx - 0.5) + _STEP * np.cumsum(np.cos(angle))
        y = random.uniform(-0.5, ny - 0.5) + _STEP * np.cumsum(np.sin(angle))
        level = np.exp(random.uniform(np.log(150.0), np.log(6000.0)))
        _deposit(charge, x, y, level * _STEP * random.gamma(2.0, 0.5, count), _DIFFUSION)
    return charge.astype(np.float32)


def _even(psf: Floats, variance: Floats) -> float:
    return float((psf**2).sum() / (psf**2 / variance).sum())


def _hosts(shape: tuple[int, int], galaxies: GalaxyTruth) -> NDArray[np.int64]:
    """Galaxies that are well inside the image."""
    ny, nx = shape
    margin = _FROM_EDGE + 5.0
    fit = (galaxies.x > margin) & (galaxies.x < nx - margin)
    fit &= (galaxies.y > margin) & (galaxies.y < ny - margin)
    return np.flatnonzero(fit)


def _place(
    random: np.random.Generator, shape: tuple[int, int], galaxies: GalaxyTruth, host: int
) -> tuple[float, float]:
    if host < 0:
        return float(random.uniform(0, shape[1] - 1)), float(random.uniform(0, shape[0] - 1))
    # Uniform in radius, so as many at the nucleus as in the outskirts.
    radius, turn = galaxies.radius[host] * random.uniform(0, _DEPTH), random.uniform(0, 2 * np.pi)
    u, v = radius * np.cos(turn), radius * np.sin(turn) * galaxies.axis_ratio[host]
    c, s = np.cos(galaxies.angle[host]), np.sin(galaxies.angle[host])
    return float(galaxies.x[host] + c * u - s * v), float(galaxies.y[host] + s * u + c * v)


@numba.njit(cache=True)
def _deposit(charge: Floats, x: Floats, y: Floats, electrons: Floats, sigma: float) -> None:
    """Add little clouds of charge: Gaussians, sampled on the pixels around each."""
    ny, nx = charge.shape
    share = np.empty((5, 5))
    for k in range(len(x)):
        i0, j0 = int(np.rint(x[k])), int(np.rint(y[k]))
        total = 0.0
        for j in range(5):
            for i in range(5):
                u, v = i0 + i - 2 - x[k], j0 + j - 2 - y[k]
                share[j, i] = np.exp(-(u * u + v * v) / (2 * sigma * sigma + 1 / 6))
                total += share[j, i]
        for j in range(5):
            for i in range(5):
                jj, ii = j0 + j - 2, i0 + i - 2
                if 0 <= jj < ny and 0 <= ii < nx:
                    charge[jj, ii] += electrons[k] * share[j, i] / total
