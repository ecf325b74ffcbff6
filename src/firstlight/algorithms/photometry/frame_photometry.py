"""Point-source photometry of a whole frame: all sources at once, overlapping ones included.

The light of every source and its place are fitted together by weighted least squares, as in
DAOPHOT and ALLSTAR (Stetson 1987, PASP 99, 191), but as one sparse system for the frame: each
turn draws all sources and solves for what is left. So there are no groups to cut, and a faint
star on the wing of a bright one is measured on what the bright one leaves.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import binary_dilation
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import cg
from scipy.spatial import cKDTree

from firstlight.algorithms.background import estimate_background
from firstlight.algorithms.flags import UNUSABLE, Flag
from firstlight.algorithms.psf.model import PsfModel
from firstlight.algorithms.sources.aperture import aperture_fluxes
from firstlight.algorithms.sources.matched_filter import matched_filter
from firstlight.algorithms.sources.moments import FWHM_OF_SIGMA

__all__ = ["FrameFluxes", "frame_photometry", "hidden_sources", "light_in_circles"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Plane = NDArray[np.float32]
Planes = tuple[Plane, Plane, NDArray[np.uint16]]
Frame = tuple[Plane, Plane, Plane, NDArray[np.uint16]]  # with the model before the flags

_FIT_RADIUS = 1.5  # FWHM: beyond it pixels say more of the sky than of the star
_UNSEEN = 0.05  # of a pixel's noise: where a star's wing ends
_LARGEST = 4  # times the PSF's own radius, for the wings of the brightest
_TURNS = 4
_STEP = 0.3  # pixels that a source may move in a turn
_FREE = 0.15  # FWHM: how far a place may be wrong beyond its noise
_MODEL_ERROR = 0.005  # of the light in a pixel
_ENOUGH = 0.6  # of a source's light on pixels that can be used, for a place to be fitted
_LEAST = 0.05  # the same, for a flux at all
_MISDRAWN = 0.03  # of the light in a pixel, where others are sought below it
_BEHIND = 2.0  # FWHM: light this near to a source is what it was wrong about
_COUPLED = 0.01  # correlation of two fluxes that is told in their errors
_GROUP = 12  # sources whose errors are found together
_EDGE = int(Flag.EDGE)


@dataclass(frozen=True)
class FrameFluxes:
    """What the sources of a frame are as points of light, in the order in which they were given.

    Attributes
    ----------
    x, y, x_err, y_err
        Fitted place and its error, pixels, ``(n,)``; the place given, and NaN, where it could
        not be fitted.
    flux, flux_err
        Electrons in the PSF's stamp, ``(n,)``; NaN where too few pixels can be used. The error
        holds the photons of the source and of its neighbours, and what overlap leaves unsure.
    chi
        Reduced chi-square within one FWHM, ``(n,)``: well above one for what is no point.
    share
        Of the source's light, how much fell on usable pixels, ``(n,)``.
    crowding
        Of the light in the source's core, how much is its neighbours', ``(n,)``.
    flags
        OR of the flags within one FWHM, with EDGE where the border is nearer.
    model
        Light of all sources, electrons, float32 ``(ny, nx)``.
    sky
        What was found below the sources beside the sky given, of the same shape.
    """

    x: Floats
    y: Floats
    x_err: Floats
    y_err: Floats
    flux: Floats
    flux_err: Floats
    chi: Floats
    share: Floats
    crowding: Floats
    flags: NDArray[np.uint16]
    model: NDArray[np.float32]
    sky: NDArray[np.float32]


@dataclass(frozen=True)
class _State:
    """Places, light, and where each source was first."""

    x: Floats
    y: Floats
    flux: Floats
    x0: Floats
    y0: Floats
    loose: Floats  # pixels, one sigma of the place


@dataclass(frozen=True)
class _System:
    """Normal equations of flux, x and y of each source, and of each pair that overlaps."""

    own: Floats  # (n, 3, 3)
    right: Floats  # (n, 3)
    pairs: Ints  # (m, 2)
    mixed: Floats  # (m, 3, 3)
    told: Floats  # (n, 5): chi-square, pixels, share, light in the core, all light there
    bits: NDArray[np.uint16]


def frame_photometry(
    planes: Planes,
    psf: PsfModel,
    sources: tuple[ArrayLike, ArrayLike],
    *,
    fwhm: float,
    fit_places: bool = True,
    fit_sky: bool = True,
) -> FrameFluxes:
    """Fit all sources of a frame as points of light.

    Parameters
    ----------
    planes
        Sky-subtracted electrons, variance of the sky alone, flags; each ``(ny, nx)``.
    psf
        Of this frame.
    sources
        x and y of all that was found, pixels, ``(n,)`` each, finite.
    fwhm
        Pixels.
    fit_places
        Whether places are improved; else fluxes are fitted where told.
    fit_sky
        Whether the sky is mapped again once the sources are known: the wings of all the stars
        raise the first map.
    """
    x, y = (np.array(column, np.float64, ndmin=1) for column in sources)
    data, variance, flags = planes
    usable = (flags & int(UNUSABLE)) == 0
    usable &= np.isfinite(variance) & np.isfinite(data)
    work = np.where(usable, data, np.float32(0.0))
    spread = np.where(usable & (variance > 0), variance, np.float32(0.0))
    sky = np.zeros_like(work)
    state = _State(x, y, np.zeros(len(x)), x, y, np.full(len(x), _FREE * fwhm))
    model = np.zeros_like(work)
    for turn in range(_TURNS):
        frame = work, spread, model, flags
        move = fit_places and turn > 0
        system = _system(frame, psf, state, fwhm, move=move)
        state = _stepped(state, system, fwhm, move=move)
        model = _drawn(psf, state, variance, fwhm)
        if fit_sky and turn == 1 and usable.mean() > _ENOUGH:
            sky = estimate_background(data - model, ~usable).level
            work = np.where(usable, data - sky, np.float32(0.0))
    system = _system((work, spread, model, flags), psf, state, fwhm, move=fit_places)
    return _result(state, system, model, sky, move=fit_places)


def hidden_sources(
    planes: Planes,
    fit: FrameFluxes,
    *,
    fwhm: float,
    threshold: float = 5.0,
    among: NDArray[np.bool_] | None = None,
) -> tuple[Floats, Floats]:
    """Sources that show only once those known are taken off: the fainter ones of close pairs.

    Parameters
    ----------
    planes
        As for `frame_photometry`.
    fit
        What it found.
    fwhm
        Pixels.
    threshold
        In sigma of the filtered noise; where there is light, that holds its photons and what the
        PSF may be wrong.
    among
        Which of the sources may hide others, ``(n,)``: stars, since what is left of a galaxy is
        no hidden star. All if None.

    Returns
    -------
    x and y of the new ones, pixels, at most one at each source. Fit them and the known ones
    together; what is hidden still shows when this is asked again.
    """
    data, variance, flags = planes
    lost = ((flags & int(UNUSABLE)) != 0) | ~np.isfinite(data) | ~np.isfinite(variance)
    # Charge of a saturated core is missing as far as its neighbours.
    full = (flags & int(Flag.SATURATED | Flag.BLEED)) != 0
    if full.any():
        lost |= binary_dilation(full, iterations=int(np.ceil(fwhm)))
    light = np.maximum(fit.model, np.float32(0.0))
    left = np.where(lost, np.float32(0.0), data - fit.sky - fit.model)
    spread = np.where(lost, np.float32(np.inf), variance) + light
    spread += np.square(np.float32(_MISDRAWN) * light)
    snr = matched_filter(left, spread, lost, fwhm / FWHM_OF_SIGMA)
    rows, columns = np.nonzero((snr > threshold) & ~lost)
    top = _highest(snr, rows, columns, int(np.ceil(0.5 * fwhm)))
    x, y = columns[top].astype(np.float64), rows[top].astype(np.float64)
    kept = _one_behind_each(fit, (x, y, snr[rows[top], columns[top]]), fwhm, among)
    return x[kept], y[kept]


def _one_behind_each(
    fit: FrameFluxes,
    peaks: tuple[Floats, Floats, NDArray[np.float32]],
    fwhm: float,
    among: NDArray[np.bool_] | None,
) -> NDArray[np.bool_]:
    """The highest peak at each source: a pair fitted as one leaves light on both sides of it."""
    x, y, height = peaks
    kept = np.ones(len(x), dtype=np.bool_)
    if not len(x) or not len(fit.x):
        return kept
    apart, nearest = cKDTree(np.column_stack([fit.x, fit.y])).query(np.column_stack([x, y]))
    highest = np.zeros(len(fit.x), np.float32)
    behind = apart < _BEHIND * fwhm
    np.maximum.at(highest, nearest[behind], height[behind])
    kept = ~behind | (height == highest[nearest])
    if among is not None:
        # Far from all that is known it hides behind none.
        kept &= among[nearest] | (apart > 2.0 * _BEHIND * fwhm)
    return np.asarray(kept)


def light_in_circles(psf: PsfModel, x: ArrayLike, y: ArrayLike, radii: ArrayLike) -> Floats:
    """Share of a star's light within circles, at places of the image: aperture corrections.

    Parameters
    ----------
    psf
        Of the image.
    x, y
        Places, pixels, ``(n,)``.
    radii
        Pixels, ``(k,)``, ascending.

    Returns
    -------
    ``(n, k)``. A sum in a circle over this is on the scale of PSF fluxes.
    """
    at_x, at_y = (np.array(column, np.float64, ndmin=1) for column in (x, y))
    circles = np.atleast_1d(np.asarray(radii, np.float64))
    half = max(int(np.ceil(circles.max())) + 2, psf.radius)
    stamps = psf.stamps(at_x, at_y, half)
    shares = np.empty((len(at_x), len(circles)))
    for k, stamp in enumerate(stamps):
        centre = at_x[k] - np.rint(at_x[k]) + half, at_y[k] - np.rint(at_y[k]) + half
        shares[k] = aperture_fluxes(stamp.astype(np.float32), *centre, circles).flux[0]
    return shares


def _drawn(
    psf: PsfModel, state: _State, variance: NDArray[np.float32], fwhm: float
) -> NDArray[np.float32]:
    """The light of all sources; each is drawn as far as its wings can be seen."""
    image = np.zeros(variance.shape, np.float32)
    seen = np.isfinite(state.flux) & (state.flux != 0)
    step = max(1, int(np.sqrt(variance.size / 1e5)))
    some = variance[::step, ::step]
    noise = float(np.sqrt(np.median(some[np.isfinite(some)]))) if np.isfinite(some).any() else 1.0
    core, _, _, power = psf.profile
    far = np.abs(state.flux[seen]) * (power - 1.0) / np.pi / core**2 / (_UNSEEN * noise)
    reach = core * np.maximum(far, 1.0) ** (0.5 / power)
    radii = np.clip(np.ceil(reach), np.ceil(_FIT_RADIUS * fwhm), _LARGEST * psf.radius)
    psf.add_to(image, state.x[seen], state.y[seen], state.flux[seen], radii.astype(np.int64))
    return image


def _system(
    frame: Frame,
    psf: PsfModel,
    state: _State,
    fwhm: float,
    *,
    move: bool,
) -> _System:
    n = len(state.x)
    half = int(np.ceil(_FIT_RADIUS * fwhm))
    # One more pixel all round, for the slopes.
    stamps = psf.stamps(state.x, state.y, half + 1).astype(np.float32)
    middles = np.stack([np.rint(state.x), np.rint(state.y)], axis=1).astype(np.int64)
    pairs = np.empty((0, 2), np.int64)
    if n:
        found = cKDTree(middles).query_pairs(2.0 * half, p=np.inf, output_type="ndarray")
        pairs = np.asarray(found, np.int64)
    own: Floats = np.zeros((n, 3, 3))
    right: Floats = np.zeros((n, 3))
    mixed, told = np.zeros((len(pairs), 3, 3)), np.zeros((n, 5))
    bits = np.zeros(n, np.uint16)
    light = state.flux if move else np.zeros(n)
    _gather(frame, (stamps, middles, state.flux, light), fwhm, own, right, told, bits)
    _overlaps(frame, (stamps, middles, light), pairs, mixed)
    tight = state.loose**-2.0
    own[:, 1, 1] += tight
    own[:, 2, 2] += tight
    right[:, 1] -= (state.x - state.x0) * tight
    right[:, 2] -= (state.y - state.y0) * tight
    own[:, 0, 0] += 1e-12
    if not move:
        right[:, 1:] = 0.0
    return _System(own, right, pairs, mixed, told, bits)


def _stepped(state: _State, system: _System, fwhm: float, *, move: bool) -> _State:
    """One step of Gauss and Newton for all sources together."""
    n = len(state.x)
    if n == 0:
        return state
    index = np.arange(3 * n).reshape(n, 3)
    first, second = index[system.pairs[:, 0]], index[system.pairs[:, 1]]
    shape = system.mixed.shape
    rows = [
        np.broadcast_to(index[:, :, None], (n, 3, 3)),
        np.broadcast_to(first[:, :, None], shape),
    ]
    columns = [
        np.broadcast_to(index[:, None, :], (n, 3, 3)),
        np.broadcast_to(second[:, None, :], shape),
    ]
    values = [system.own, system.mixed]
    scale = 1.0 / np.sqrt(np.maximum(np.einsum("nkk->nk", system.own).ravel(), 1e-30))
    row, column, value = (
        np.concatenate([p.ravel() for p in part]) for part in (rows, columns, values)
    )
    beside = slice(system.own.size, None)
    row, column, value = (
        np.append(row, column[beside]),
        np.append(column, row[beside]),
        np.append(value, value[beside]),
    )
    matrix = coo_array((value * scale[row] * scale[column], (row, column)), shape=(3 * n, 3 * n))
    found, _ = cg(matrix.tocsr(), system.right.ravel() * scale, rtol=1e-5, maxiter=300)
    step = (found * scale).reshape(n, 3)
    flux = state.flux + step[:, 0]
    if not move:
        error = 1.0 / np.sqrt(np.maximum(system.own[:, 0, 0], 1e-30))
        snr = np.maximum(flux / error, 1.0)
        # A faint source is near where it was found, to its own noise.
        loose = np.hypot(fwhm / snr, _FREE * fwhm)
        return replace(state, flux=flux, loose=np.minimum(loose, 0.5 * fwhm))
    may = (system.told[:, 2] >= _ENOUGH) & (state.flux > 0)
    dx, dy = (np.where(may, np.clip(step[:, k], -_STEP, _STEP), 0.0) for k in (1, 2))
    far = 0.5 * fwhm
    x = np.clip(state.x + dx, state.x0 - far, state.x0 + far)
    y = np.clip(state.y + dy, state.y0 - far, state.y0 + far)
    return replace(state, x=x, y=y, flux=flux)


def _result(
    state: _State,
    system: _System,
    model: NDArray[np.float32],
    sky: NDArray[np.float32],
    *,
    move: bool,
) -> FrameFluxes:
    chi, pixels, share, core, light = system.told.T
    errors = _errors(system)
    known = share >= _LEAST
    placed = known & (share >= _ENOUGH) & (state.flux > 0) & move
    with np.errstate(invalid="ignore", divide="ignore"):
        crowding = np.clip(1.0 - core / light, 0.0, 1.0)
    return FrameFluxes(
        x=state.x,
        y=state.y,
        x_err=np.where(placed, errors[:, 1], np.nan),
        y_err=np.where(placed, errors[:, 2], np.nan),
        flux=np.where(known, state.flux, np.nan),
        flux_err=np.where(known, errors[:, 0], np.nan),
        chi=np.where(known, chi / np.maximum(pixels, 1.0), np.nan),
        share=share,
        crowding=np.where(light > 0, crowding, 0.0),
        flags=system.bits,
        model=model,
        sky=sky,
    )


def _errors(system: _System) -> Floats:
    """One sigma of flux, x and y; sources whose fluxes depend on each other together."""
    n = len(system.own)
    covariance = np.linalg.inv(system.own) if n else system.own
    errors: Floats = np.sqrt(np.maximum(np.einsum("nkk->nk", covariance), 0.0))
    first, second = system.pairs.T
    scale = np.sqrt(system.own[:, 0, 0])
    linked = np.abs(system.mixed[:, 0, 0]) > _COUPLED * scale[first] * scale[second]
    if not linked.any():
        return errors
    first, second, mixed = first[linked], second[linked], system.mixed[linked]
    graph = coo_array((np.ones(len(first)), (first, second)), shape=(n, n))
    _, group = connected_components(graph, directed=False)
    sizes = np.bincount(group)
    order = np.argsort(group[first], kind="stable")
    edges = np.searchsorted(group[first][order], np.arange(len(sizes) + 1))
    members = np.argsort(group, kind="stable")
    starts = np.append(0, np.cumsum(sizes))
    for number in np.flatnonzero((sizes > 1) & (sizes <= _GROUP)):
        who = members[starts[number] : starts[number + 1]]
        links = order[edges[number] : edges[number + 1]]
        errors[who] = _together(system.own[who], who, (first[links], second[links], mixed[links]))
    for number in np.flatnonzero(sizes > _GROUP):
        links = order[edges[number] : edges[number + 1]]
        for one in members[starts[number] : starts[number + 1]]:
            mine = links[(first[links] == one) | (second[links] == one)]
            who = np.unique(np.append([one], np.append(first[mine], second[mine])))
            parts = first[mine], second[mine], mixed[mine]
            errors[one] = _together(system.own[who], who, parts)[np.searchsorted(who, one)]
    return errors


def _together(own: Floats, who: Ints, links: tuple[Ints, Ints, Floats]) -> Floats:
    """Errors ``(k, 3)`` of sources `who` (ascending) from the inverse of all their equations."""
    k = len(who)
    matrix = np.zeros((k, 3, k, 3))
    each = np.arange(k)
    matrix[each, :, each, :] = own
    first, second = np.searchsorted(who, links[0]), np.searchsorted(who, links[1])
    matrix[first, :, second, :] = links[2]
    matrix[second, :, first, :] = links[2].transpose(0, 2, 1)
    inverse = np.linalg.pinv(matrix.reshape(3 * k, 3 * k), hermitian=True)
    return np.asarray(np.sqrt(np.maximum(np.diag(inverse), 0.0)).reshape(k, 3))


@njit(cache=True, nogil=True)
def _highest(plane, rows, columns, half):  # type: ignore[no-untyped-def] # compiled
    """Whether each of some pixels is higher than all others within a square around it."""
    ny, nx = plane.shape
    highest = np.ones(rows.size, np.bool_)
    for k in range(rows.size):
        own = plane[rows[k], columns[k]]
        for y in range(max(rows[k] - half, 0), min(rows[k] + half + 1, ny)):
            for x in range(max(columns[k] - half, 0), min(columns[k] + half + 1, nx)):
                before = y < rows[k] or (y == rows[k] and x < columns[k])
                if plane[y, x] > own or (before and plane[y, x] == own):
                    highest[k] = False
    return highest


@njit(cache=True, nogil=True)
def _weight_of(variance, model, y, x):  # type: ignore[no-untyped-def] # compiled
    """Weight of a pixel, zero where it cannot be used."""
    spread = variance[y, x]
    if not spread > 0.0:
        return 0.0
    light = max(model[y, x], np.float32(0.0))
    return 1.0 / (spread + light + (_MODEL_ERROR * light) ** 2)


@njit(cache=True, nogil=True)
def _columns(stamp, j, i, light, out):  # type: ignore[no-untyped-def] # compiled
    """Change of a pixel with flux, x and y of a source."""
    out[0] = stamp[j, i]
    out[1] = light * 0.5 * (stamp[j, i - 1] - stamp[j, i + 1])
    out[2] = light * 0.5 * (stamp[j - 1, i] - stamp[j + 1, i])


@njit(cache=True, nogil=True)
def _gather(frame, sources, fwhm, own, right, told, bits):  # type: ignore[no-untyped-def] # compiled
    data, variance, model, flags = frame
    stamps, middles, flux, slopes = sources
    ny, nx = data.shape
    half = stamps.shape[1] // 2
    column = np.empty(3)
    for s in range(stamps.shape[0]):
        all_light = 0.0
        for j in range(1, 2 * half):
            y = middles[s, 1] + j - half
            for i in range(1, 2 * half):
                x = middles[s, 0] + i - half
                near = (i - half) ** 2 + (j - half) ** 2 <= fwhm * fwhm
                share = stamps[s, j, i]
                all_light += share
                if x < 0 or y < 0 or x >= nx or y >= ny:
                    if near:
                        bits[s] |= np.uint16(_EDGE)
                    continue
                if near:
                    bits[s] |= flags[y, x]
                    told[s, 3] += max(flux[s] * share, 0.0)
                    told[s, 4] += max(model[y, x], np.float32(0.0))
                w = _weight_of(variance, model, y, x)
                if w == 0.0:
                    continue
                told[s, 2] += share
                off = data[y, x] - model[y, x]
                _columns(stamps[s], j, i, slopes[s], column)
                for a in range(3):
                    right[s, a] += w * column[a] * off
                    for b in range(3):
                        own[s, a, b] += w * column[a] * column[b]
                if near:
                    told[s, 0] += w * off * off
                    told[s, 1] += 1.0
        if all_light > 0.0:
            told[s, 2] /= all_light


@njit(cache=True, nogil=True)
def _overlaps(frame, sources, pairs, mixed):  # type: ignore[no-untyped-def] # compiled
    _, variance, model, _ = frame
    stamps, middles, slopes = sources
    ny, nx = variance.shape
    half = stamps.shape[1] // 2
    one, two = np.empty(3), np.empty(3)
    for k in range(pairs.shape[0]):
        s, t = pairs[k]
        low_x = max(max(middles[s, 0], middles[t, 0]) - half + 1, 0)
        low_y = max(max(middles[s, 1], middles[t, 1]) - half + 1, 0)
        high_x = min(min(middles[s, 0], middles[t, 0]) + half, nx)
        high_y = min(min(middles[s, 1], middles[t, 1]) + half, ny)
        for y in range(low_y, high_y):
            for x in range(low_x, high_x):
                w = _weight_of(variance, model, y, x)
                if w == 0.0:
                    continue
                _columns(
                    stamps[s], y - middles[s, 1] + half, x - middles[s, 0] + half, slopes[s], one
                )
                _columns(
                    stamps[t], y - middles[t, 1] + half, x - middles[t, 0] + half, slopes[t], two
                )
                for a in range(3):
                    for b in range(3):
                        mixed[k, a, b] += w * one[a] * two[b]
