"""How the width and the ellipticity of stars change over an image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.median_deviation import MAD_TO_SIGMA
from firstlight.algorithms.psf.model import PsfModel, place_terms, profiles_at
from firstlight.algorithms.psf.star_sample import (
    FEWEST,
    FOR_LINEAR,
    Pull,
    StarSample,
    compare,
    well_fitted,
)
from firstlight.algorithms.psf.stars_by_width import STARS_PER_TERM, stars_by_width, weighted_fit

__all__ = ["MOST_BENT", "bend_profile", "terms_of_degree"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

MOST_BENT = 3
"""Degree of the polynomials of the place."""

_STRAY = 5.0  # sigma of the others, for a star of another width or shape
_LEAST_SCATTER = 0.01  # of width and ellipticity among stars
_EXCESSES = np.geomspace(1e-4, 0.05, 10)  # of stars beyond their errors, that are tried
_FAR = 4.0  # sigma: a star that is farther off says no more than that
_TURNS_FIT = 3
_DOUBT = 2.0  # chi-square that each more number must gain at stars left out


def bend_profile(model: PsfModel, sample: StarSample, turns: int) -> tuple[PsfModel, StarSample]:
    """Width and ellipticity of each star by itself, and a polynomial of the place through them.

    Parameters
    ----------
    model
        As known so far; its profile and its net stay.
    sample
        Of all that may be stars.
    turns
        Steps of the fit to each star.

    Returns
    -------
    The model, and the sample without stars that are not like the others or that the result does
    not fit; with fewer than three the model is as before.
    """
    u, v = model.scaled(sample.x, sample.y)
    local = profiles_at(model, u, v)
    for turn in range(turns):
        pull = compare(model, sample, local, clipped=turn > 0 or turns == 1)
        sample = replace(sample, flux=pull.flux, sky=pull.sky)
        local = _stepped(local, pull)
    spread = np.diagonal(np.linalg.inv(_firm(pull.square)), axis1=1, axis2=2)
    spread = spread * np.maximum(pull.chi, 1.0)[:, None]
    core, e1, e2, _ = model.profile
    own = np.stack([np.log(local[:, 0] / core), local[:, 1] - e1, local[:, 2] - e2], axis=1)
    kept = well_fitted(pull.chi)
    kept = kept[_alike(own[kept], np.ones((len(kept), 1)), spread[kept])]
    design = place_terms(u[kept], v[kept], terms_of_degree(MOST_BENT))
    designs = [design[:, : terms_of_degree(degree)] for degree in range(MOST_BENT + 1)]
    kept = kept[stars_by_width(own[kept, 0], spread[kept, 0], designs)]
    if len(kept) < FEWEST:
        return model, sample.pick(kept)
    bends = _through(own[kept], spread[kept], (u[kept], v[kept]))
    model, sample = replace(model, bends=bends), sample.pick(kept)
    pull = compare(model, sample)
    return model, replace(sample, flux=pull.flux, sky=pull.sky).pick(well_fitted(pull.chi))


def _firm(square: Floats) -> Floats:
    """Normal equations of width and ellipticity, which can be solved even where nothing is said."""
    return np.asarray(square[:, :3, :3] + 1e-9 * np.eye(3))


def _stepped(local: Floats, pull: Pull) -> Floats:
    """Profiles of single stars one step on; the power stays that of all stars."""
    step = np.linalg.solve(_firm(pull.square), pull.side[:, :3, None])[..., 0]
    step = np.clip(step, -0.2, 0.2)
    moved = local.copy()
    moved[:, 0] *= np.exp(step[:, 0])
    moved[:, 1:3] += step[:, 1:]
    size = np.hypot(moved[:, 1], moved[:, 2])
    moved[:, 1:3] *= np.minimum(1.0, 0.9 / np.maximum(size, 1e-9))[:, None]
    return moved


def _alike(own: Floats, design: Floats, spread: Floats) -> Bools:
    """Whether each star lies with the others around what the design explains, all columns."""
    smooth = design @ np.linalg.lstsq(design, own, rcond=None)[0]
    off = own - smooth
    off = np.abs(off - np.median(off, axis=0))
    scatter = np.maximum(MAD_TO_SIGMA * np.median(off, axis=0), _LEAST_SCATTER)
    return np.asarray((off <= _STRAY * np.sqrt(scatter**2 + spread)).all(axis=1))


def _through(own: Floats, spread: Floats, place: tuple[Floats, Floats]) -> Floats:
    """Coefficients ``(3, n)`` of the degree that predicts left-out stars best, beyond doubt."""
    most = 0
    if len(own) >= FOR_LINEAR:
        most = max(
            d for d in range(MOST_BENT + 1) if STARS_PER_TERM * terms_of_degree(d) <= len(own)
        )
    design = place_terms(*place, terms_of_degree(most))
    alike = _alike(own, design, spread) if most else np.ones(len(own), dtype=np.bool_)
    design, own, spread = design[alike], own[alike], spread[alike]
    totals, left = _excess(design, own, spread)
    near = (np.abs(left) <= _STRAY * np.sqrt(totals)).all(axis=1)
    design, own, weight = design[near], own[near], 1.0 / totals[near]
    best, missed = _left_out(design[:, :1], own, weight)
    for degree in range(1, most + 1):
        found, misses = _left_out(design[:, : terms_of_degree(degree)], own, weight)
        doubt = _DOUBT * 3.0 * (found.shape[1] - best.shape[1])
        if misses + doubt < missed:
            best, missed = found, misses
    return best


def terms_of_degree(degree: int) -> int:
    """How many powers of x and y a polynomial of this degree has."""
    return (degree + 1) * (degree + 2) // 2


def _excess(design: Floats, own: Floats, spread: Floats) -> tuple[Floats, Floats]:
    """Variance of each star around the most that the place can explain, and what is left of it.

    What stars scatter beyond their errors is the most probable scatter of each column (restricted
    likelihood: Patterson & Thompson 1971, Biometrika 58, 545): faint stars, which are most of
    them, have little to say of it. Stars that are far off have no more to say than others.
    """
    totals, left = np.empty_like(own), np.empty_like(own)
    for k in range(own.shape[1]):
        found, best = _left_of(design, own[:, k], spread[:, k] + _EXCESSES[-1] ** 2), np.inf
        for excess in _EXCESSES:
            total = spread[:, k] + excess**2
            rest = _left_of(design, own[:, k], total, found)
            size = np.linalg.slogdet(design.T @ (design / total[:, None]))[1]
            score = np.log(total).sum() + size + np.minimum(rest**2 / total, _FAR**2).sum()
            if score < best:
                best, totals[:, k], left[:, k] = score, total, rest
    return totals, left


def _left_of(design: Floats, own: Floats, total: Floats, rest: Floats | None = None) -> Floats:
    """What a fit leaves in which stars that are far off count for less, from a first guess."""
    for _ in range(_TURNS_FIT):
        weight = 1.0 / (total if rest is None else total + (rest / _FAR) ** 2)
        rest = own - design @ weighted_fit(design, own, weight)
    return np.asarray(rest)


def _left_out(design: Floats, own: Floats, weight: Floats) -> tuple[Floats, float]:
    """Weighted fit of each column, and how badly it predicts each star from all others."""
    found, missed = np.empty((own.shape[1], design.shape[1])), 0.0
    for k in range(own.shape[1]):
        root = np.sqrt(weight[:, k])
        q, r = np.linalg.qr(design * root[:, None])
        value = own[:, k] * root
        found[k] = np.linalg.lstsq(r, q.T @ value, rcond=None)[0]
        leverage = np.minimum((q**2).sum(axis=1), 0.999)
        missed += float((((value - q @ (q.T @ value)) / (1.0 - leverage)) ** 2).sum())
    return found, missed
