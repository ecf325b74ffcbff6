"""What the image without the source shows where a candidate is: light, sky, or less than that."""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from firstlight.algorithms.candidates.window import Window

__all__ = ["below_sky"]

Floats = NDArray[np.float64]

_AWAY = 1.5  # FWHM from the place, at least, of what tells the noise
_RIM = 1.0  # FWHM along the edges of a stamp, where the PSF is cut
_ONE_SIGMA = 15.865  # per cent of a normal variate below its mean less one sigma
_FEWEST = 3.0  # squares of one FWHM a side, of what tells the noise
_AT_ONCE = 256  # candidates whose transforms are held


def below_sky(window: Window) -> Floats:
    """How far the image without the source is below the sky, in sigma, ``(n,)``; 0 if unknown.

    That image is the reference for what is new, and the new image for what has faded. It holds
    whatever was there before or is left, and that is never less than nothing. Noise is: a peak of
    a difference by noise alone has its share in each image, and is as negative in the one as it
    is positive in the other.

    Parameters
    ----------
    window
        Around candidates, turned so that they are positive.

    Notes
    -----
    Light is that in the shape of the difference's PSF, and the noise the lower half of what the
    same shape holds at all places around, so that noise which neighbouring pixels share is in it.
    Neighbours add to the upper half; sky that was taken too high lowers both the place and what
    is around it, which counts, but light around it does not. So neighbours and errors of the sky
    may hide that a place is dark, and make none dark.
    """
    values = np.zeros(len(window.light))
    for start in range(0, len(values), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        image = np.where(window.usable[part], window.reference[part], 0.0)
        here = (image * window.psf[part]).sum(axis=(1, 2))
        around = _filtered(image, window.centred[part])
        side = image.shape[-1]
        steps = np.abs(np.arange(side) - side // 2)
        for k, light in enumerate(around):
            n, fwhm = start + k, window.fwhm[start + k]
            inner = steps <= side // 2 - _RIM * fwhm
            told = light[(window.distance[n] > _AWAY) & (inner[:, None] & inner)]
            if told.size < _FEWEST * fwhm**2:
                continue
            low, middle = np.percentile(told, (_ONE_SIGMA, 50.0))
            if middle > low:
                values[n] = (min(middle, 0.0) - here[k]) / (middle - low)
    return values


def _filtered(images: Floats, psfs: Floats) -> Floats:
    """Light in the shape of the PSF at each pixel; wrong along the edges."""
    size = scipy.fft.next_fast_len(images.shape[-1], real=True)
    waves = scipy.fft.rfft2(images, (size, size))
    shape = scipy.fft.rfft2(psfs, (size, size))
    turned = scipy.fft.irfft2(waves * shape.conj(), (size, size))
    middle = psfs.shape[-1] // 2
    side = images.shape[-1]
    return np.asarray(np.roll(turned, (middle, middle), axis=(1, 2))[:, :side, :side])
