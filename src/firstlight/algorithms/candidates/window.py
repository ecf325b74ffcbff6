"""What is known around candidates, put so that every measure is a sum over pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from firstlight.algorithms.candidates.stamps import DIFFERENCE, NEW, REFERENCE, CandidateStamps

__all__ = ["Window", "look_at"]

Floats = NDArray[np.float64]

_SMOOTH = 5  # pixels, side of the square over which a variance is averaged


@dataclass(frozen=True, slots=True)
class Window:
    """Pixels around candidates, ``(n, k, k)`` where nothing else is said.

    Attributes
    ----------
    light
        Difference, turned so that the candidate is positive; 0 where not usable.
    new, reference
        Electrons, 0 outside the image. For a source that has faded they have changed places:
        it is new in the reference.
    weight
        One over the variance, smoothed, 0 where not usable.
    usable
        Where the difference says something.
    psf
        A source of one electron at the candidate's place.
    slopes
        Derivatives of `psf` with x and y of the place, ``(2, n, k, k)``.
    centred
        The same source at the middle of the middle pixel, 0 outside its stamp.
    distance
        Of each pixel from the place, in FWHM.
    fwhm
        Pixels, ``(n,)``.
    psf_error
        What the PSF is not trusted to, as a share of the light that it puts into a pixel.
    """

    light: Floats
    new: Floats
    reference: Floats
    weight: Floats
    usable: NDArray[np.bool_]
    psf: Floats
    slopes: Floats
    centred: Floats
    distance: Floats
    fwhm: Floats
    psf_error: float

    def within(self, reach: float) -> Floats:
        """1 on pixels within so many FWHM of the place, 0 beyond, in between at the rim."""
        inner = (reach - self.distance) * self.fwhm[:, None, None] + 0.5
        return np.clip(inner, 0.0, 1.0)

    def without(self, flux: Floats) -> tuple[Floats, Floats]:
        """What a source of some flux ``(n,)`` leaves, and weights with the PSF's own error."""
        model = flux[:, None, None] * self.psf
        softened = self.weight / (1.0 + self.weight * (self.psf_error * model) ** 2)
        return np.where(self.usable, self.light - model, 0.0), softened


def look_at(
    stamps: CandidateStamps,
    psfs: Floats,
    places: tuple[Floats, Floats],
    sign: Floats,
    fwhm: Floats,
    psf_error: float,
    points: int = 1,
) -> Window:
    """Gather what the measures need.

    Parameters
    ----------
    psfs
        Of the difference, ``(n, m, m)``, m odd, centred on their middle pixel or point.
    places
        x and y of the candidates, ``(n,)`` each, pixels from the middle of the stamps.
    sign
        1 or -1, ``(n,)``.
    fwhm
        Pixels, ``(n,)``.
    psf_error
        Relative.
    points
        Of `psfs` a pixel, along each axis.
    """
    side = stamps.pixels.shape[-1]
    rose = (sign > 0)[:, None, None]
    bright, other = (np.nan_to_num(stamps.pixels[:, i]) for i in (NEW, REFERENCE))
    usable = stamps.usable
    light = sign[:, None, None] * np.where(usable, stamps.pixels[:, DIFFERENCE], 0.0)
    variance = _smoothed(stamps.variance, usable)
    weight = np.divide(1.0, variance, out=np.zeros_like(light), where=usable)
    x, y = places
    steps = np.arange(side) - side // 2
    distance = np.hypot(steps - x[:, None, None], steps[:, None] - y[:, None, None])
    psf, across, along = _moved(psfs, x, y, points)
    return Window(
        light=light,
        new=np.where(rose, bright, other).astype(np.float64),
        reference=np.where(rose, other, bright).astype(np.float64),
        weight=weight,
        usable=usable,
        psf=_sized(psf, side),
        slopes=np.stack([_sized(across, side), _sized(along, side)]),
        centred=_sized(psfs[:, ::points, ::points], side),
        distance=distance / fwhm[:, None, None],
        fwhm=fwhm,
        psf_error=psf_error,
    )


def _smoothed(variance: NDArray[np.float32], usable: NDArray[np.bool_]) -> Floats:
    """Mean variance of the usable pixels of the 25 around each.

    A variance made of the pixel's own photons is low where the pixel is: weights from it make
    every flux too small, by an electron a pixel.
    """
    box = (1, _SMOOTH, _SMOOTH)
    known = np.where(usable, variance, 0.0)
    total, share = (uniform_filter(each, box) for each in (known, usable.astype(np.float64)))
    return np.asarray(total / np.maximum(share, 0.5 / _SMOOTH**2))


def _moved(psfs: Floats, x: Floats, y: Floats, points: int) -> tuple[Floats, Floats, Floats]:
    """PSFs moved by parts of a pixel, and their derivatives with the place: phases in Fourier."""
    side = psfs.shape[-1]
    size = scipy.fft.next_fast_len(side + 4 * points, real=True)
    waves = scipy.fft.rfft2(psfs, (size, size))
    u = 2 * np.pi * points * scipy.fft.rfftfreq(size)
    v = 2 * np.pi * points * scipy.fft.fftfreq(size)[:, None]
    if size % 2 == 0:
        # A wave of two points can be moved neither way.
        u = np.where(np.arange(u.size) == size // 2, 0.0, u)
        v = np.where(np.arange(size)[:, None] == size // 2, 0.0, v)
    waves = waves * np.exp(-1j * (u * x[:, None, None] + v * y[:, None, None]))
    moved, across, along = (
        scipy.fft.irfft2(each, (size, size))[:, :side:points, :side:points]
        for each in (waves, -1j * u * waves, -1j * v * waves)
    )
    return moved, across, along


def _sized(stamps: Floats, side: int) -> Floats:
    """Cropped, or filled up with zeros, around the middle."""
    own = stamps.shape[-1]
    if own >= side:
        start = (own - side) // 2
        return stamps[:, start : start + side, start : start + side]
    margin = (side - own) // 2
    return np.pad(stamps, ((0, 0), (margin, margin), (margin, margin)))
