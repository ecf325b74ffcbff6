"""How faint an image goes, and what gain and read noise its detector has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.flags import UNUSABLE
from firstlight.algorithms.median_deviation import scatter_about_median
from firstlight.algorithms.sources.aperture import aperture_fluxes
from firstlight.errors import InvalidInput

__all__ = ["Depth", "PhotonTransfer", "image_depth", "limiting_magnitude", "photon_transfer"]


@dataclass(frozen=True, slots=True)
class Depth:
    """Scatter of the flux in empty circles.

    Attributes
    ----------
    radius
        Of the circles, pixels.
    measured
        One-sigma scatter of their sums; NaN with fewer than ten.
    expected
        The same from the variance plane. A ratio well above one means correlated noise, unseen
        sources, or a variance that is too small.
    apertures
        How many were empty.
    """

    radius: float
    measured: float
    expected: float
    apertures: int


@dataclass(frozen=True, slots=True)
class PhotonTransfer:
    """Detector properties from pairs of frames.

    Attributes
    ----------
    gain, gain_error
        Electrons per ADU.
    read_noise
        Electrons.
    """

    gain: float
    gain_error: float
    read_noise: float


def image_depth(
    data: NDArray[np.float32],
    variance: NDArray[np.float32],
    radius: float,
    *,
    occupied: NDArray[np.bool_] | None = None,
    flags: NDArray[np.uint16] | None = None,
    apertures: int = 1000,
    seed: int = 0,
) -> Depth:
    """Measure how much the sum in an empty circle scatters.

    Parameters
    ----------
    data, variance
        Sky-subtracted image and its variance ``(ny, nx)``.
    radius
        Pixels.
    occupied
        True on sources (`detect.Detection.footprints` > 0); circles that touch one are left out.
    flags
        Flags plane; circles on unusable pixels are left out.
    apertures
        How many places to try.
    seed
        Of the places: the same seed gives the same answer.
    """
    ny, nx = data.shape
    rng = np.random.default_rng(seed)
    margin = min(radius + 1, (min(ny, nx) - 1) / 2)
    x = rng.uniform(margin, nx - 1 - margin, apertures)
    y = rng.uniform(margin, ny - 1 - margin, apertures)
    used = np.zeros(data.shape, dtype=np.float32) if occupied is None else occupied
    busy = np.asarray(used != 0)
    if flags is not None:
        busy = busy | ((flags & int(UNUSABLE)) != 0)
    touched = aperture_fluxes(busy.astype(np.float32), x, y, radius).flux[:, 0]
    empty = touched == 0
    sums = aperture_fluxes(data, x[empty], y[empty], radius, variance=variance)
    flux = sums.flux[:, 0]
    if flux.size < 10:
        return Depth(radius, float("nan"), float("nan"), int(flux.size))
    # The lower half only: faint sources below the threshold widen the upper one.
    low, centre = np.percentile(flux, [15.866, 50.0])
    return Depth(radius, float(centre - low), float(np.median(sums.error[:, 0])), int(flux.size))


def limiting_magnitude(
    flux_error: float, zero_point: float, *, sigma: float = 5.0, held: float = 1.0
) -> float:
    """Magnitude of a point source at `sigma` times the error of its aperture flux.

    Parameters
    ----------
    flux_error
        One sigma, electrons (`Depth.measured`).
    zero_point
        Magnitude of a source that gives one electron.
    held
        Fraction of a point source's light inside the aperture.
    """
    if not flux_error > 0:
        return float("nan")
    return float(zero_point - 2.5 * np.log10(sigma * flux_error / held))


def photon_transfer(
    flats: tuple[NDArray[np.generic], NDArray[np.generic]],
    biases: tuple[NDArray[np.generic], NDArray[np.generic]],
    tile: int = 64,
) -> PhotonTransfer:
    """Gain and read noise from two flats and two biases of the same settings.

    Differences of a pair hold no structure of the detector. In each tile
    ``gain = (signal a + signal b) / (var(flat a - flat b) - var(bias a - bias b))`` after scaling
    the flats to one level (Janesick 2007, Photon Transfer); the median over tiles is kept.

    Parameters
    ----------
    flats, biases
        Raw ADU, all of one shape ``(ny, nx)``.
    tile
        Side of a tile, pixels.

    Raises
    ------
    InvalidInput
        Shapes differ, or the flats are not brighter than the biases.
    """
    flat_a, flat_b, bias_a, bias_b = (
        np.asarray(frame, dtype=np.float64) for frame in (*flats, *biases)
    )
    if len({frame.shape for frame in (flat_a, flat_b, bias_a, bias_b)}) != 1:
        raise InvalidInput("The frames differ in shape.", found=flat_a.shape)
    level = (np.median(bias_a) + np.median(bias_b)) / 2
    signal_a, signal_b = np.median(flat_a) - level, np.median(flat_b) - level
    if not min(signal_a, signal_b) > 0:
        raise InvalidInput("The flats are not brighter than the biases.", found=signal_a)
    ratio = signal_a / signal_b
    bias_variance = _clipped_variance(bias_a - bias_b)
    difference = (flat_a - level) - ratio * (flat_b - level)
    mean = (flat_a - level) + ratio**2 * (flat_b - level)
    gains = []
    for y in range(0, flat_a.shape[0], tile):
        for x in range(0, flat_a.shape[1], tile):
            part = np.s_[y : y + tile, x : x + tile]
            spread = _clipped_variance(difference[part]) - bias_variance * (1 + ratio**2) / 2
            if difference[part].size >= tile and spread > 0:
                gains.append(float(np.median(mean[part])) / spread)
    if not gains:
        raise InvalidInput("The flats have no photon noise.", found=bias_variance)
    gain = float(np.median(gains))
    scatter = scatter_about_median(np.array(gains))
    error = 1.2533 * scatter / np.sqrt(len(gains))
    return PhotonTransfer(gain, float(error), gain * float(np.sqrt(bias_variance / 2)))


def _clipped_variance(values: NDArray[np.float64]) -> float:
    """Variance within four sigma, which leaves out cosmic rays and hardly any noise."""
    kept = values - np.median(values)
    for _ in range(3):
        kept = kept[np.abs(kept - kept.mean()) <= 4 * max(kept.std(), 1e-9)]
    return float(kept.var())
