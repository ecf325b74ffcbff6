"""Learn the shape of a point source from an image's own stars, as it changes over the image.

First one Moffat profile through all stars; then the width and the ellipticity of each star by
itself, and a polynomial of the place through them, of the degree that best predicts stars left
out; last what all stars have in common beyond that, on a net of B-splines by linear least
squares. How far the net may go from zero, and whether it changes over the image, is again what
best predicts the stars left out. Sharp stars are put where the PSF fits them, once with the
profile alone and once with all of it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.psf.bending import MOST_BENT, bend_profile, terms_of_degree
from firstlight.algorithms.psf.model import MARGIN, PsfModel, Stamp, place_terms
from firstlight.algorithms.psf.net import learn_net
from firstlight.algorithms.psf.placing import place_stars
from firstlight.algorithms.psf.star_sample import (
    FEWEST,
    StarSample,
    compare,
    cut_stars,
    well_fitted,
)

__all__ = ["PsfModel", "Stamp", "fit_psf"]

Floats = NDArray[np.float64]

_REACH = 3.0  # half the side of a stamp, FWHM
_CORRECTED = 2.0  # radius within which the profile is corrected, FWHM
_NODES_PER_FWHM = 3.0
_SHARP = 2.5  # pixels, FWHM: of wider stars centroids are as good as fits
_TURNS_PLACE = 2
_POWERS = (1.25, 15.0)
_IN_PROFILE = 60  # stars
_TURNS_PROFILE = 14
_TURNS_STAR = 3
_DAMPING = 0.003


def fit_psf(
    data: NDArray[np.float32],
    variance: NDArray[np.float32],
    flags: NDArray[np.uint16],
    stars: tuple[Floats, Floats, Floats],
    fwhm: float,
) -> PsfModel | None:
    """Learn the PSF.

    Parameters
    ----------
    data
        Sky-subtracted electrons ``(ny, nx)``.
    variance
        Of the sky alone, electrons squared.
    flags
        Flags plane; unusable pixels are left out.
    stars
        x, y and flux of single unsaturated stars, best first, each ``(n,)``.
    fwhm
        Of the image, pixels.

    Returns
    -------
    The model, or None with fewer than three usable stars.
    """
    half = int(np.ceil(_REACH * fwhm))
    sample = cut_stars(data, variance, flags, stars, half)
    if len(sample) < FEWEST:
        return None
    ny, nx = data.shape
    model = _bare(fwhm, half, ((nx - 1) / 2, (ny - 1) / 2), (max(nx / 2, 1.0), max(ny / 2, 1.0)))
    model = _common_profile(model, sample)
    if sharp := fwhm < _SHARP:
        sample = place_stars(model, sample, _TURNS_PLACE)
        model = _common_profile(model, sample)
    for turns, may_vary in ((_TURNS_STAR, False), (1, True)):
        model, sample = bend_profile(model, sample, turns)
        if len(sample) < FEWEST:
            return None
        if not may_vary:
            # Once more, without the galaxies that the first look took for stars.
            model = _common_profile(model, sample)
        model = learn_net(model, sample, may_vary=may_vary)
        if sharp and not may_vary:
            sample = place_stars(model, sample, 1)
    model = replace(model, stars=len(sample))
    return replace(model, totals=_totals(model))


def _bare(
    fwhm: float, half: int, middle: tuple[float, float], reach: tuple[float, float]
) -> PsfModel:
    """A round profile of this width, before any star is looked at."""
    power = 3.0
    spacing = float(np.clip(fwhm / _NODES_PER_FWHM, 0.5, 4.0))
    count = int(np.ceil(_CORRECTED * fwhm / spacing)) + MARGIN
    return PsfModel(
        profile=(0.5 * fwhm / float(np.sqrt(2 ** (1 / power) - 1)), 0.0, 0.0, power),
        bends=np.zeros((3, 1)),
        nets=np.zeros((1, 2 * count + 1, 2 * count + 1)),
        spacing=spacing,
        middle=middle,
        reach=reach,
        totals=np.ones(1),
        radius=half,
        stars=0,
    )


def _common_profile(model: PsfModel, sample: StarSample) -> PsfModel:
    """One Moffat through the best stars, without those that it does not fit."""
    some = sample.pick(np.arange(min(len(sample), _IN_PROFILE)))
    for turn in range(_TURNS_PROFILE):
        pull = compare(model, some, clipped=False)
        kept = well_fitted(pull.chi) if turn in (3, 6) else np.arange(len(some))
        some = replace(some, flux=pull.flux).pick(kept)
        square, side = pull.square[kept].sum(axis=0), pull.side[kept].sum(axis=0)
        # Core and power can stand in for each other: damped, neither runs away.
        square += _DAMPING * np.diag(np.diag(square))
        step = np.clip(np.linalg.solve(square, side), -0.3, 0.3)
        model = replace(model, profile=_moved(model.profile, step))
        if turn > 6 and np.abs(step[:3]).max() < 1e-4:
            break
    return model


def _moved(
    profile: tuple[float, float, float, float], step: Floats
) -> tuple[float, float, float, float]:
    core, e1, e2, power = profile
    e1, e2 = e1 + float(step[1]), e2 + float(step[2])
    shrink = min(1.0, 0.9 / max(float(np.hypot(e1, e2)), 1e-9))
    wings = float(np.clip(1.0 + (power - 1.0) * np.exp(step[3]), *_POWERS))
    return core * float(np.exp(step[0])), e1 * shrink, e2 * shrink, wings


def _totals(model: PsfModel) -> Floats:
    """Sum over a whole stamp, as a polynomial of the place."""
    degree = next(d for d in range(MOST_BENT + 1) if terms_of_degree(d) >= model.bends.shape[1])
    degree = max(2 * degree, len(model.nets) // 2)
    steps = np.linspace(-1.0, 1.0, degree + 2)
    u, v = (g.ravel() for g in np.meshgrid(steps, steps))
    x = np.rint(model.middle[0] + u * model.reach[0])
    y = np.rint(model.middle[1] + v * model.reach[1])
    sums = replace(model, totals=np.ones(1)).stamps(x, y).sum(axis=(1, 2))
    terms = place_terms(*model.scaled(x, y), terms_of_degree(degree))
    return np.asarray(np.linalg.lstsq(terms, sums, rcond=None)[0])
