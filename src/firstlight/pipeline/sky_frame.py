"""An image without sky, as a comparison with another one takes it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.candidates.measures import KnownStars, saturated_pixels
from firstlight.algorithms.flags import Flag
from firstlight.algorithms.plate.star_alignment import FrameStars
from firstlight.algorithms.psf.model import PsfModel
from firstlight.algorithms.resampling.image_pair import AlignedImage
from firstlight.algorithms.sources.sharpest_stars import POINTLIKE
from firstlight.algorithms.subtraction.subtract import Subtraction

__all__ = ["SkyFrame", "Subtracted", "star_errors"]

Floats = NDArray[np.float64]
Plane = NDArray[np.float32]

POSITION_ERROR = 0.6  # FWHM over the signal-to-noise ratio: what a star's image allows
EXTENT_ERROR = 0.1  # of what a source is wider: where its middle seems to be depends on the seeing


@dataclass(frozen=True, eq=False)
class SkyFrame:
    """One image with all that a comparison takes of it.

    Attributes
    ----------
    name
        For messages.
    pixels
        Electrons without sky, ``(ny, nx)``.
    variance
        Of the sky, and of what stands out of it, electrons squared; infinite without a value.
    flags
        See `algorithms.flags`.
    fwhm
        Of the stars, pixels.
    sources
        All detections, to lay the images on each other.
    clear
        Numbers of those that are clear stars.
    """

    name: str
    pixels: Plane
    variance: Plane
    flags: NDArray[np.uint16]
    psf: PsfModel
    fwhm: float
    sources: FrameStars
    clear: NDArray[np.intp]

    @property
    def shape(self) -> tuple[int, int]:
        """``(ny, nx)``."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def known_stars(self) -> KnownStars:
        """Clear stars and saturated pixels, for what lies near them."""
        stars, here = self.sources, self.clear
        return KnownStars(
            stars.x[here], stars.y[here], stars.flux[here], *saturated_pixels(self.flags)
        )


@dataclass(frozen=True, eq=False)
class Subtracted:
    """A new image, the reference on its pixels, and what is left of their difference."""

    new: SkyFrame
    reference: AlignedImage
    subtraction: Subtraction


def star_errors(
    snr: Floats, fwhm: float, flags: NDArray[np.uint16], width: Floats, clear: NDArray[np.intp]
) -> Floats:
    """One sigma of positions along one axis, pixels ``(n,)``; NaN for saturated stars.

    Parameters
    ----------
    snr, flags, width
        Of the sources ``(n,)``; the width is the FWHM in pixels.
    fwhm
        Of the image.
    clear
        Numbers of the sources that are clear stars.

    Notes
    -----
    Galaxies and blends that are bright would tell their places as well as stars do, and they
    do not: asymmetric things move with the seeing. A tenth of what they are wider than a star
    is uncertain.
    """
    full = (flags & np.uint16(Flag.SATURATED)) != 0
    star = float(np.exp(POINTLIKE) * np.median(width[clear])) if len(clear) else np.inf
    extent = np.sqrt(np.maximum(np.square(np.nan_to_num(width)) - star**2, 0.0))
    noise = POSITION_ERROR * fwhm / np.maximum(snr, 1.0)
    return np.where(full, np.nan, np.hypot(noise, EXTENT_ERROR * extent))
