"""Learn the shape of a point source from an image's own stars, as it changes over the image.

First one Moffat profile through all stars; then the width and the ellipticity of each star by
itself, and a polynomial of the place through them, of the degree that best predicts stars left
out; last what all stars have in common beyond that, on a net of B-splines by linear least
squares. How far the net may go from zero, and whether it changes over the image, is again what
best predicts the stars left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numba import njit
from numpy.typing import NDArray

from firstlight.algorithms.flags import UNUSABLE
from firstlight.algorithms.median_deviation import MAD_TO_SIGMA
from firstlight.algorithms.psf.model import (
    MARGIN,
    RELAXED,
    PsfModel,
    Stamp,
    draw_stars,
    nodes_near,
    place_terms,
    profiles_at,
)
from firstlight.algorithms.sources.sharpest_stars import half_sample_mode

__all__ = ["PsfModel", "Stamp", "fit_psf"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Indices = NDArray[np.intp]

_REACH = 3.0  # half the side of a stamp, FWHM
_CORRECTED = 2.0  # radius within which the profile is corrected, FWHM
_NODES_PER_FWHM = 3.0
_WHOLE = 0.97  # of a stamp's pixels, for a star that is used
_FEWEST = 3
_MOST = 400
_MOST_PIXELS = 4_000_000  # of all stamps together
_FOR_LINEAR = 15  # stars, for a shape that changes over the image
_FOR_FOLDS = 10  # stars, to leave some out
_STARS_PER_TERM = 4
_MOST_BENT = 3  # degree of the polynomials of the place
_FOLDS = 5
_PRIORS = (0.003, 0.01, 0.03, 0.10, 0.3)
_MODEL_ERROR = 0.01  # of a star's light in a pixel: no bright star shall rule alone
_SKY_ERROR = 0.1  # of a pixel's noise: what the map of the sky may leave under a star
_NO_LIMIT = 1e15
_OUTLIER = 5.0  # sigma, for a pixel with light that is not the star's
_WORST = 5.0  # times the median misfit, for a star that is none
_POWERS = (1.25, 15.0)
_IN_PROFILE = 60  # stars
_TURNS_PROFILE = 14
_TURNS_STAR = 3
_DAMPING = 0.003
_STRAY = 5.0  # sigma of the others, for a star of another width or shape
_LEAST_SCATTER = 0.01  # of width and ellipticity among stars
_DOUBT = 2.0  # chi-square that each more number must gain at stars left out
_PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


@dataclass(frozen=True)
class _Sample:
    """Stars cut out around the pixel nearest to each; the first axis is the star.

    `weight` is one over the variance of the sky, zero where a pixel cannot be used.
    """

    light: Floats  # (n, side, side)
    weight: Floats
    offsets: Floats  # (n, 2)
    x: Floats
    y: Floats
    flux: Floats
    sky: Floats

    def __len__(self) -> int:
        return len(self.x)

    def pick(self, kept: Indices) -> _Sample:
        columns = (self.light, self.weight, self.offsets, self.x, self.y, self.flux, self.sky)
        return _Sample(*(column[kept] for column in columns))


@dataclass(frozen=True)
class _Pull:
    """How the light of each star departs from its model, to first order.

    Attributes
    ----------
    flux, sky
        Best for the model as it is, ``(n,)``.
    square, side
        Normal equations of steps in ln(core), e1, e2 and ln(power - 1), with flux and sky
        free, ``(n, 4, 4)`` and ``(n, 4)``.
    chi
        Reduced chi-square, ``(n,)``.
    """

    flux: Floats
    sky: Floats
    square: Floats
    side: Floats
    chi: Floats


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
    sample = _cut(data, variance, flags, stars, half)
    if len(sample) < _FEWEST:
        return None
    ny, nx = data.shape
    model = _bare(fwhm, half, ((nx - 1) / 2, (ny - 1) / 2), (max(nx / 2, 1.0), max(ny / 2, 1.0)))
    model = _common_profile(model, sample)
    for turns, may_vary in ((_TURNS_STAR, False), (1, True)):
        model, sample = _bend(model, sample, turns)
        if len(sample) < _FEWEST:
            return None
        if not may_vary:
            # Once more, without the galaxies that the first look took for stars.
            model = _common_profile(model, sample)
        model = _correct(model, sample, may_vary=may_vary)
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


def _cut(
    data: NDArray[np.float32],
    variance: NDArray[np.float32],
    flags: NDArray[np.uint16],
    stars: tuple[Floats, Floats, Floats],
    half: int,
) -> _Sample:
    """The first so many stars whose stamps lie in the image and are nearly whole."""
    x, y, flux = (np.asarray(column, np.float64) for column in stars)
    ny, nx = data.shape
    with np.errstate(invalid="ignore"):
        inside = (x > half) & (x < nx - half - 1) & (y > half) & (y < ny - half - 1) & (flux > 0)
    most = min(_MOST, max(_FEWEST, _MOST_PIXELS // (2 * half + 1) ** 2))
    kept = np.flatnonzero(inside)[: most + most // 4]
    x, y, flux = x[kept], y[kept], flux[kept]
    i, j = np.rint(x).astype(np.intp), np.rint(y).astype(np.intp)
    steps = np.arange(-half, half + 1)
    at = (j[:, None] + steps)[:, :, None], (i[:, None] + steps)[:, None, :]
    light, spread = data[at].astype(np.float64), variance[at].astype(np.float64)
    good = ((flags[at] & int(UNUSABLE)) == 0) & np.isfinite(spread) & (spread > 0)
    good &= np.isfinite(light)
    weight = np.where(good, 1.0 / np.where(good, spread, 1.0), 0.0)
    light[~good] = 0.0
    whole = np.flatnonzero(good.mean(axis=(1, 2)) >= _WHOLE)[:most]
    offsets = np.stack([x - i, y - j], axis=1)
    return _Sample(light, weight, offsets, x, y, flux, np.zeros(len(x))).pick(whole)


def _pull(
    model: PsfModel, sample: _Sample, local: Floats | None = None, *, clipped: bool = True
) -> _Pull:
    """Compare every star with the model, or with profiles `local` ``(n, 4)`` of its own."""
    u, v = model.scaled(sample.x, sample.y)
    profiles = profiles_at(model, u, v) if local is None else local
    drawn = _drawn(model, sample, profiles)
    normal, right = np.zeros((len(sample), 6, 6)), np.zeros((len(sample), 6))
    chi = np.zeros((len(sample), 2))
    planes = sample.light, sample.weight, drawn
    limit = _OUTLIER if clipped else _NO_LIMIT
    _compare(planes, (sample.offsets, profiles, sample.flux), limit, normal, right, chi)
    # Flux and sky are of no interest: what is left of the rest without them.
    own = np.linalg.inv(normal[:, :2, :2])
    levels = (own @ right[:, :2, None])[..., 0]
    mixed = normal[:, 2:, :2] @ own
    return _Pull(
        flux=np.maximum(sample.flux + levels[:, 0], 1.0),
        sky=levels[:, 1],
        square=normal[:, 2:, 2:] - mixed @ normal[:, :2, 2:],
        side=right[:, 2:] - (mixed @ right[:, :2, None])[..., 0],
        chi=(chi[:, 0] - (levels * right[:, :2]).sum(axis=1)) / np.maximum(chi[:, 1], 1.0),
    )


def _drawn(model: PsfModel, sample: _Sample, profiles: Floats | None = None) -> Floats:
    """The model of each star, total light one, ``(n, side, side)``."""
    u, v = model.scaled(sample.x, sample.y)
    own = profiles_at(model, u, v) if profiles is None else profiles
    drawn = np.empty(sample.light.shape)
    stars = sample.offsets, own, place_terms(u, v, len(model.nets))
    draw_stars(stars, model.nets, model.spacing, drawn)
    return drawn


def _common_profile(model: PsfModel, sample: _Sample) -> PsfModel:
    """One Moffat through the best stars, without those that it does not fit."""
    some = sample.pick(np.arange(min(len(sample), _IN_PROFILE)))
    for turn in range(_TURNS_PROFILE):
        pull = _pull(model, some, clipped=False)
        kept = _fitting(pull.chi) if turn in (3, 6) else np.arange(len(some))
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


def _fitting(chi: Floats) -> Indices:
    """Stars that are fitted not much worse than most."""
    return np.flatnonzero(chi <= _WORST * max(float(np.median(chi)), 1.0))


def _bend(model: PsfModel, sample: _Sample, turns: int) -> tuple[PsfModel, _Sample]:
    """Width and ellipticity of each star by itself, and a polynomial of the place through them.

    Stars that are not like the others, or that the result does not fit, are left out of the
    sample that comes back; with fewer than three the model is as before.
    """
    u, v = model.scaled(sample.x, sample.y)
    local = profiles_at(model, u, v)
    for turn in range(turns):
        pull = _pull(model, sample, local, clipped=turn > 0 or turns == 1)
        sample = replace(sample, flux=pull.flux, sky=pull.sky)
        local = _stepped(local, pull)
    spread = np.diagonal(np.linalg.inv(_firm(pull.square)), axis1=1, axis2=2)
    spread = spread * np.maximum(pull.chi, 1.0)[:, None]
    core, e1, e2, _ = model.profile
    own = np.stack([np.log(local[:, 0] / core), local[:, 1] - e1, local[:, 2] - e2], axis=1)
    kept = _fitting(pull.chi)
    kept = kept[_alike(own[kept], np.ones((len(kept), 1)), spread[kept])]
    kept = kept[_narrow(own[kept, 0], spread[kept, 0])]
    if len(kept) < _FEWEST:
        return model, sample.pick(kept)
    bends = _through(own[kept], spread[kept], (u[kept], v[kept]))
    model, sample = replace(model, bends=bends), sample.pick(kept)
    pull = _pull(model, sample)
    return model, replace(sample, flux=pull.flux, sky=pull.sky).pick(_fitting(pull.chi))


def _firm(square: Floats) -> Floats:
    """Normal equations of width and ellipticity, which can be solved even where nothing is said."""
    return np.asarray(square[:, :3, :3] + 1e-9 * np.eye(3))


def _stepped(local: Floats, pull: _Pull) -> Floats:
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


def _narrow(width: Floats, spread: Floats) -> Bools:
    """Leave out what is wider than the stars, which are the narrow edge of all widths.

    Galaxies are on one side only: the scatter of the stars shows on the other.
    """
    clear = spread <= np.median(spread)
    middle = half_sample_mode(width[clear])
    below = middle - width[clear & (width <= middle)]
    scatter = max(MAD_TO_SIGMA * float(np.median(below)), _LEAST_SCATTER)
    return np.asarray(width - middle <= _STRAY * np.sqrt(scatter**2 + spread))


def _through(own: Floats, spread: Floats, place: tuple[Floats, Floats]) -> Floats:
    """Coefficients ``(3, n)`` of the degree that predicts left-out stars best, beyond doubt."""
    most = 0
    if len(own) >= _FOR_LINEAR:
        most = max(d for d in range(_MOST_BENT + 1) if _STARS_PER_TERM * _terms(d) <= len(own))
    design = place_terms(*place, _terms(most))
    alike = _alike(own, design, spread) if most else np.ones(len(own), dtype=np.bool_)
    design, own, spread = design[alike], own[alike], spread[alike]
    weight = 1.0 / (spread + _excess(design, own, spread) ** 2)
    best, missed = _left_out(design[:, :1], own, weight)
    for degree in range(1, most + 1):
        found, misses = _left_out(design[:, : _terms(degree)], own, weight)
        doubt = _DOUBT * 3.0 * (found.shape[1] - best.shape[1])
        if misses + doubt < missed:
            best, missed = found, misses
    return best


def _terms(degree: int) -> int:
    return (degree + 1) * (degree + 2) // 2


def _excess(design: Floats, own: Floats, spread: Floats) -> Floats:
    """Scatter of stars beyond their errors around the most that the place can explain."""
    off = own - design @ np.linalg.lstsq(design, own, rcond=None)[0]
    freedom = max(len(own) - design.shape[1], 1) / len(own)
    total = (MAD_TO_SIGMA * np.median(np.abs(off), axis=0)) ** 2 / freedom
    return np.asarray(np.sqrt(np.maximum(total - np.median(spread, axis=0), 0.0)) + 1e-4)


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


def _correct(model: PsfModel, sample: _Sample, *, may_vary: bool) -> PsfModel:
    """What the stars have in common beyond the profile, on the net."""
    u, v = model.scaled(sample.x, sample.y)
    bare = replace(model, nets=np.zeros_like(model.nets[:1]))
    index = _kept_nodes(model)
    count = int(index.max()) + 1
    folds = _FOLDS if len(sample) >= _FOR_FOLDS else 1
    basis = place_terms(u, v, 3 if may_vary and len(sample) >= _FOR_LINEAR else 1)
    n = basis.shape[1]
    square = np.zeros((folds, n * (n + 1) // 2, count, count))
    side = np.zeros((folds, n, count))
    planes = sample.light, sample.weight, _drawn(bare, sample), _drawn(model, sample)
    stars = sample.offsets, sample.flux, sample.sky, basis
    # While there is no net yet, what the profile misses is not another thing's light.
    limit = _OUTLIER if model.nets.any() else _NO_LIMIT
    _load(planes, stars, (model.spacing, limit), index, square, side)
    peak = (model.profile[3] - 1.0) / (np.pi * model.profile[0] ** 2)
    terms = _solved(square, side, peak)
    nets = np.where(index >= 0, terms[:, index], 0.0)
    return replace(model, nets=np.asarray(nets))


def _kept_nodes(model: PsfModel) -> NDArray[np.int64]:
    """Number of each node within the corrected radius, -1 for the others, ``(m, m)``."""
    m = model.nets.shape[1]
    steps = np.arange(m) - m // 2
    far = np.hypot(steps[:, None], steps[None, :])
    kept = far <= (m // 2 - MARGIN)
    return np.where(kept, np.cumsum(kept).reshape(m, m) - 1, -1)


def _solved(square: Floats, side: Floats, peak: float) -> Floats:
    """Corrections ``(n_net, n_node)`` with the prior that predicts left-out stars best."""
    mean, right = np.ascontiguousarray(square[:, 0]), side[:, 0]
    prior = _PRIORS[-2]
    if len(square) > 1:
        scores = [_missed(mean, right, _stiff(peak, each, side)) for each in _PRIORS]
        prior = _PRIORS[int(np.argmin(scores))]
        if side.shape[1] == 3:
            varying = _varying(square, side, (peak, prior, min(scores)))
            if varying is not None:
                return varying
    stiff = _stiff(peak, prior, side)
    return np.asarray(np.linalg.solve(mean.sum(axis=0) + stiff, right.sum(axis=0)))[np.newaxis]


def _varying(square: Floats, side: Floats, mean: tuple[float, float, float]) -> Floats | None:
    """The same with a net that changes over the image, if that predicts better beyond doubt."""
    peak, level, score = mean
    count = side.shape[2]
    whole = np.empty((len(square), 3 * count, 3 * count))
    for k, (a, b) in enumerate(_PAIRS):
        rows, columns = (slice(c * count, (c + 1) * count) for c in (a, b))
        whole[:, rows, columns] = whole[:, columns, rows] = square[:, k]
    right = side.reshape(len(side), -1)
    best: Floats | None = None
    for prior in _PRIORS[:-1]:
        loose = np.kron(np.diag(np.array([0.0, 1.0, 1.0])), _stiff(peak, prior, side))
        stiff = np.asarray(loose, np.float64)
        stiff[:count, :count] = _stiff(peak, level, side)
        missed = _missed(whole, right, stiff)
        if missed < score - _DOUBT * np.sqrt(count):
            best, score = stiff, missed
    if best is None:
        return None
    return np.linalg.solve(whole.sum(axis=0) + best, right.sum(axis=0)).reshape(3, count)


def _stiff(peak: float, prior: float, side: Floats) -> Floats:
    return np.asarray(np.eye(side.shape[-1]) * (prior * peak) ** -2.0)


def _missed(square: Floats, side: Floats, stiff: Floats) -> float:
    """Chi-square of the stars of each fold against what the others say, less a constant."""
    whole, right = square.sum(axis=0) + stiff, side.sum(axis=0)
    total = 0.0
    for own, wanted in zip(square, side, strict=True):
        found = np.linalg.solve(whole - own, right - wanted)
        total += float(found @ (own @ found) - 2.0 * wanted @ found)
    return total


def _totals(model: PsfModel) -> Floats:
    """Sum over a whole stamp, as a polynomial of the place."""
    degree = next(d for d in range(_MOST_BENT + 1) if _terms(d) >= model.bends.shape[1])
    degree = max(2 * degree, len(model.nets) // 2)
    steps = np.linspace(-1.0, 1.0, degree + 2)
    u, v = (g.ravel() for g in np.meshgrid(steps, steps))
    x = np.rint(model.middle[0] + u * model.reach[0])
    y = np.rint(model.middle[1] + v * model.reach[1])
    sums = replace(model, totals=np.ones(1)).stamps(x, y).sum(axis=(1, 2))
    terms = place_terms(*model.scaled(x, y), _terms(degree))
    return np.asarray(np.linalg.lstsq(terms, sums, rcond=None)[0])


@njit(cache=True, nogil=True, error_model="numpy", fastmath=RELAXED)
def _slopes(dx, dy, profile, out):  # type: ignore[no-untyped-def] # compiled
    """Moffat's relative change with ln(core), e1, e2 and ln(power - 1)."""
    core, e1, e2, power = profile[0], profile[1], profile[2], profile[3]
    per_area = 1.0 / (core * core)
    squared = ((1 + e1) * dx * dx + 2 * e2 * dx * dy + (1 - e1) * dy * dy) * per_area
    inner, rest = 1.0 / (1.0 + squared), 1.0 - e1 * e1 - e2 * e2
    out[0] = -2.0 + 2.0 * power * squared * inner
    out[1] = -e1 / rest - power * (dx * dx - dy * dy) * per_area * inner
    out[2] = -e2 / rest - power * 2.0 * dx * dy * per_area * inner
    grown = np.log(1.0 + squared)
    out[3] = 1.0 - (power - 1.0) * grown
    return (power - 1) * np.sqrt(rest) / np.pi * per_area * np.exp(-power * grown)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=RELAXED)
def _compare(planes, stars, limit, normal, right, chi):  # type: ignore[no-untyped-def] # compiled
    """Normal equations of flux, sky and the four numbers of the profile, star by star."""
    light, weight, drawn = planes
    offsets, profiles, flux = stars
    n, side = light.shape[0], light.shape[1]
    half = side // 2
    column = np.empty(6)
    for s in range(n):
        noise = 0.0
        for j in range(side):
            for i in range(side):
                if weight[s, j, i] <= 0.0:
                    continue
                spread = 1.0 / weight[s, j, i]
                noise = max(noise, spread)
                model = flux[s] * drawn[s, j, i]
                own = max(model, 0.0)
                w = 1.0 / (spread + own + (_MODEL_ERROR * own) ** 2)
                off = light[s, j, i] - model
                if off * off * w > limit * limit:
                    # It says nothing of the shape, but that this may be no star.
                    chi[s, 0] += limit * limit
                    chi[s, 1] += 1.0
                    continue
                dx, dy = i - half - offsets[s, 0], j - half - offsets[s, 1]
                plain = flux[s] * _slopes(dx, dy, profiles[s], column[2:])
                column[0], column[1] = drawn[s, j, i], 1.0
                for a in range(2, 6):
                    column[a] *= plain
                for a in range(6):
                    part = w * column[a]
                    right[s, a] += part * off
                    for b in range(a + 1):
                        normal[s, a, b] += part * column[b]
                chi[s, 0] += w * off * off
                chi[s, 1] += 1.0
        normal[s, 1, 1] += 1.0 / max(noise * _SKY_ERROR * _SKY_ERROR, 1e-12)
        normal[s, 0, 0] += 1e-12
        for a in range(6):
            for b in range(a):
                normal[s, b, a] = normal[s, a, b]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=RELAXED)
def _load(planes, stars, rule, index, square, side):  # type: ignore[no-untyped-def] # compiled
    """Normal equations of the net, each star's in the fold of its number."""
    light, weight, shape, whole = planes
    offsets, flux, sky, basis = stars
    spacing, limit = rule
    n, size, m = light.shape[0], light.shape[1], index.shape[0]
    half, first, count = size // 2, -(m // 2), side.shape[2]
    own, right = np.empty((count, count)), np.empty(count)
    across, along = np.empty((size, 4)), np.empty(4)
    left, who, value = np.empty(size, np.int64), np.empty(16, np.int64), np.empty(16)
    for s in range(n):
        own[:] = 0.0
        right[:] = 0.0
        for i in range(size):
            left[i] = nodes_near((i - half - offsets[s, 0]) / spacing, across[i]) - first
        for j in range(size):
            top = nodes_near((j - half - offsets[s, 1]) / spacing, along) - first
            if top < 0 or top + 4 > m:
                continue
            for i in range(size):
                if weight[s, j, i] <= 0.0 or left[i] < 0 or left[i] + 4 > m:
                    continue
                model = max(flux[s] * whole[s, j, i], 0.0)
                spread = 1.0 / weight[s, j, i] + model + (_MODEL_ERROR * model) ** 2
                above = light[s, j, i] - sky[s]
                off = above - flux[s] * shape[s, j, i]
                # Light of another thing is far off: the farther, the less it may say.
                far = (above - flux[s] * whole[s, j, i]) / limit
                w = flux[s] * flux[s] / (spread + far * far)
                known = _nodes_of_pixel((top, left[i]), (along, across[i]), index, who, value)
                for a in range(known):
                    part = w * value[a]
                    right[who[a]] += part * off / flux[s]
                    for b in range(a + 1):
                        own[who[a], who[b]] += part * value[b]
        for a in range(count):
            for b in range(a):
                own[b, a] = own[a, b]
        _add_star(own, right, basis[s], square[s % square.shape[0]], side[s % square.shape[0]])


@njit(cache=True, nogil=True, error_model="numpy", fastmath=RELAXED)
def _nodes_of_pixel(corner, weights, index, who, value):  # type: ignore[no-untyped-def] # compiled
    known = 0
    for a in range(4):
        for b in range(4):
            k = index[corner[0] + a, corner[1] + b]
            if k >= 0:
                who[known], value[known] = k, weights[0][a] * weights[1][b]
                known += 1
    return known


@njit(cache=True, nogil=True, error_model="numpy", fastmath=RELAXED)
def _add_star(own, right, basis, square, side):  # type: ignore[no-untyped-def] # compiled
    pair = 0
    for a in range(basis.size):
        for k in range(right.size):
            side[a, k] += basis[a] * right[k]
        for b in range(a, basis.size):
            part = basis[a] * basis[b]
            for k in range(right.size):
                for m in range(right.size):
                    square[pair, k, m] += part * own[k, m]
            pair += 1
