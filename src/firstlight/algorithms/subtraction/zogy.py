"""Proper image subtraction: the kernels are the two PSFs themselves.

Zackay, Ofek & Gal-Yam 2016 (ApJ 830, 27). For two images of one sky T, ``N = F_n P_n * T`` and
``R = F_r P_r * T`` with white noise of variance ``v_n`` and ``v_r``, the difference with all the
information on what changed is, in Fourier space (equation 13),

    D = (F_r P_r N - F_n P_n R) / sqrt(v_n F_r^2 |P_r|^2 + v_r F_n^2 |P_n|^2),

and the score of a point source is its matched filter (equation 12),

    S = conj(F_r P_r F_n P_n) (F_r P_r N - F_n P_n R) / (v_n F_r^2 |P_r|^2 + v_r F_n^2 |P_n|^2).

Neither image is deconvolved: whichever has the better seeing.
"""

from __future__ import annotations

import numpy as np

from firstlight.algorithms.resampling.image_pair import (
    AlignedImage,
    Matching,
    PsfGrid,
    hidden_pixels,
    tile_centres,
)
from firstlight.algorithms.subtraction.flux_ratio import FluxRatio, measure_ratio
from firstlight.algorithms.subtraction.residual_noise import ResidualNoise
from firstlight.algorithms.subtraction.subtract import Subtraction, subtract

__all__ = ["zogy", "zogy_matching"]

# Of a source's light, added to the middle pixel of both PSFs: where neither has power the ratio of
# the two, and with it the difference, would be made of what is not known of them. Ragged kernels
# ring around every saturated star. No source is so bright that its light shows there.
_SPECK = 1e-5


def zogy(
    new: AlignedImage,
    reference: AlignedImage,
    *,
    tiles: tuple[int, int] | None = None,
    ratio: FluxRatio | None = None,
    residual: ResidualNoise | None = None,
) -> Subtraction:
    """Subtract the reference from the new image.

    Parameters
    ----------
    new, reference
        On the same pixels.
    tiles
        Rows and columns of the tiles within which the PSFs are constant; of about 512 pixels on
        a side unless told.
    ratio
        Light in the new image over that in the reference; from the stars where None.
    residual
        What is uncertain at static sources; from these where None.
    """
    hidden = hidden_pixels(new, reference)
    if ratio is None:
        ratio = measure_ratio(new, reference, hidden)
    matching = zogy_matching(new, reference, ratio, tiles)
    return subtract(new, reference, hidden, matching, ratio=ratio, residual=residual, scaled=True)


def zogy_matching(
    new: AlignedImage,
    reference: AlignedImage,
    ratio: FluxRatio,
    tiles: tuple[int, int] | None = None,
) -> Matching:
    """``a = P_r / ratio`` and ``b = P_n``, so that ``a * new = b * reference``."""
    x, y = tile_centres(new.shape, tiles)
    of_new, of_reference = new.psfs.on(x, y), reference.psfs.on(x, y)
    factors = [[1.0 / ratio.at(i, j) for i in x] for j in y]
    source = _with_speck(of_new, [[1.0]])
    steady = None if reference.steady is None else reference.steady.on(x, y)
    return Matching(
        new=_with_speck(of_reference, factors),
        reference=source,
        psf=source,
        steady=None if steady is None else _with_speck(steady, factors),
    )


def _with_speck(grid: PsfGrid, factors: list[list[float]]) -> PsfGrid:
    stamps = grid.stamps.copy()
    stamps[:, :, grid.radius, grid.radius] += np.float32(_SPECK)
    return PsfGrid(stamps * np.array(factors, np.float32)[:, :, None, None], grid.x, grid.y)
