"""Where the stars that tell a PSF are: by the PSF itself, not by their centroids.

The centroid of a star hardly wider than a pixel depends on where in its pixel the star lies, by
a hundredth of a pixel at a FWHM of 1.5. A PSF of stars that are put there is smeared, and that of
a star on the edge of a pixel is off by as much. A fit of the PSF has no such bias, and the PSF
and the places of its stars are found in turns (Anderson & King 2000, PASP 112, 1360).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.psf.model import PsfModel, place_terms, profiles_at
from firstlight.algorithms.psf.star_sample import (
    FOR_LINEAR,
    MODEL_ERROR,
    NO_LIMIT,
    OUTLIER,
    SKY_ERROR,
    StarSample,
    drawn_stars,
)

__all__ = ["place_stars"]

Floats = NDArray[np.float64]

_FARTHEST = 0.3  # pixels: a centroid that is farther off is that of more than the star
_CERTAIN = 0.02  # pixels: of better places none counts for more than another


def place_stars(model: PsfModel, sample: StarSample, turns: int) -> StarSample:
    """Fit place, flux and sky of each star with the PSF as known so far.

    What the PSF calls the place of a star stays what the given places are on average, and as
    they change linearly over the image where there are fifteen stars: an image's astrometry is
    that of its centroids.

    Parameters
    ----------
    model
        PSF.
    sample
        Its stars, at their centroids or where a turn before has put them.
    turns
        Steps of the fit; in the last, light that is not the star's counts for less.

    Returns
    -------
    The stars with new offsets, fluxes and skies; one that would go far stays where it is.
    """
    fitted, spread = sample, np.zeros(len(sample))
    for turn in range(turns):
        fitted, spread = _stepped(model, fitted, OUTLIER if turn == turns - 1 else NO_LIMIT)
    moved = fitted.offsets - sample.offsets
    near = np.hypot(moved[:, 0], moved[:, 1]) <= _FARTHEST
    design = place_terms(*model.scaled(sample.x, sample.y), 3 if near.sum() >= FOR_LINEAR else 1)
    root = np.where(near, 1.0 / np.sqrt(spread + _CERTAIN**2), 0.0)[:, None]
    common = design @ np.linalg.lstsq(design * root, moved * root, rcond=None)[0]
    moved = np.where(near[:, None], moved - common, 0.0)
    return replace(fitted, offsets=sample.offsets + moved)


def _stepped(model: PsfModel, sample: StarSample, limit: float) -> tuple[StarSample, Floats]:
    """One step of each star, and the variance of its place along an axis, pixels squared."""
    flux = sample.flux[:, None, None]
    drawn = drawn_stars(model, sample)
    own = flux * np.maximum(drawn, 0.0)
    off = sample.light - flux * drawn
    known = sample.weight > 0
    noise = np.divide(1.0, sample.weight, out=np.zeros_like(off), where=known)
    spread = noise + own + (MODEL_ERROR * own) ** 2 + (off / limit) ** 2
    weight = np.divide(1.0, spread, out=np.zeros_like(off), where=known)
    columns = [drawn, np.ones_like(drawn), *(flux * slope for slope in _slopes(model, sample))]
    design = np.stack(columns, axis=1).reshape(len(sample), 4, -1)
    loaded = design * weight.reshape(len(sample), 1, -1)
    normal = loaded @ design.transpose(0, 2, 1)
    normal[:, 1, 1] += 1.0 / np.maximum(SKY_ERROR**2 * noise.max(axis=(1, 2)), 1e-12)
    normal += 1e-12 * np.eye(4)
    errors = np.linalg.inv(normal)
    step = (errors @ (loaded @ off.reshape(len(sample), -1, 1)))[..., 0]
    moved = replace(
        sample,
        flux=np.maximum(sample.flux + step[:, 0], 1.0),
        sky=step[:, 1],
        offsets=sample.offsets + np.clip(step[:, 2:], -_FARTHEST, _FARTHEST),
    )
    return moved, (errors[:, 2, 2] + errors[:, 3, 3]) / 2.0


def _slopes(model: PsfModel, sample: StarSample) -> tuple[Floats, Floats]:
    """How the profile of each star changes with its place, x and y, ``(n, side, side)`` each.

    Without the net: a step that is a little too long or too short still ends at the same place.
    """
    own = profiles_at(model, *model.scaled(sample.x, sample.y))
    core, e1, e2, power = own.T[:, :, None, None]
    steps = np.arange(sample.light.shape[-1]) - sample.light.shape[-1] // 2
    dx = steps - sample.offsets[:, 0, None, None]
    dy = steps[:, None] - sample.offsets[:, 1, None, None]
    across, along = (1.0 + e1) * dx + e2 * dy, e2 * dx + (1.0 - e1) * dy
    inner = 1.0 / (1.0 + (across * dx + along * dy) / core**2)
    norm = (power - 1.0) * np.sqrt(1.0 - e1**2 - e2**2) / (np.pi * core**2)
    steep = 2.0 * power / core**2 * norm * inner ** (power + 1.0)
    return steep * across, steep * along
