"""What all stars of a sequence share: transparency, its gradient, and the detector's response.

The magnitude of star ``i`` in frame ``j`` is modelled as

    m_ij = base_i + zero_j + gradient_j . (u, v)_ij + map(u, v)_ij + response_i . nuisance_j

with ``(u, v)`` the detector position scaled to about ±1. This is the ubercal idea (Padmanabhan
et al. 2008, ApJ 674, 1217): stars that drift over an unflattened detector measure its flat, and
stars of unlike colour measure the colour term of the extinction through the airmass.

Gradients, map and responses have Gaussian priors whose widths are estimated from the same data
(a mixed linear model, solved by expectation-maximisation), so what a field cannot measure stays
at zero instead of adding noise.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from firstlight.algorithms.median_deviation import MAD_TO_SIGMA

__all__ = ["SharedTerms", "clipped_scatter", "fit_shared_terms", "robust_scatter"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_OUTLIER = 4.0  # the biweight reaches zero here, in robust sigmas
_ITERATIONS = 6
_FLOOR_MAG = 0.002  # no star may own the fit, however small its scatter looks
_FIRST_WIDTH = 0.02  # magnitudes: where the search for the prior widths starts
_SMALLEST_WIDTH = 1e-5


def robust_scatter(values: Floats, valid: Bools) -> Floats:
    """1.4826 times the median absolute deviation from the median along the last axis.

    Rows without two valid values give NaN.
    """
    out = np.full(values.shape[:-1], np.nan)
    enough = valid.sum(-1) >= 2
    rows = np.where(valid, values, np.nan)[enough]
    if len(rows):
        middle = np.nanmedian(rows, axis=-1, keepdims=True)
        out[enough] = MAD_TO_SIGMA * np.nanmedian(np.abs(rows - middle), axis=-1)
    return out


def clipped_scatter(values: Floats, valid: Bools) -> Floats:
    """Root mean square about the median with outliers pulled in to four robust sigmas.

    Less noisy than `robust_scatter` for well-behaved points. Rows without two give NaN.
    """
    sigma = robust_scatter(values, valid)
    out = np.full(values.shape[:-1], np.nan)
    enough = np.isfinite(sigma)
    rows = np.where(valid, values, np.nan)[enough]
    if len(rows):
        away = rows - np.nanmedian(rows, axis=-1, keepdims=True)
        limit = _OUTLIER * sigma[enough][..., None]
        out[enough] = np.sqrt(np.nanmean(np.square(np.clip(away, -limit, limit)), axis=-1))
    return out


@dataclass(frozen=True)
class SharedTerms:
    """The terms that all stars share.

    Attributes
    ----------
    frame
        Zero point and its gradient along ``u`` and ``v``, magnitudes, ``(n_frame, 3)``.
    detector
        Coefficients of the Legendre products of total degree 2 to `degree`, ``(n_term,)``.
    degree
        Highest degree of the map; below 2 there is no map.
    response_width, gradient_width, map_width
        One-sigma prior widths found: the spread of the stars' responses to each nuisance
        ``(n_nuisance,)``, of the gradients ``(2,)``, of the map's terms ``(n_term,)``.
    frame_noise
        Relative noise of the frames: 1 is typical, ``(n_frame,)``.
    """

    frame: Floats
    detector: Floats
    degree: int
    response_width: Floats
    gradient_width: Floats
    map_width: Floats
    frame_noise: Floats

    def at(self, u: Floats, v: Floats) -> Floats:
        """Shared magnitudes at positions of shape ``(n_star, n_frame)``; NaN off the detector."""
        zero, along_u, along_v = self.frame.T
        level: Floats = zero + along_u * u + along_v * v
        if len(self.detector):
            series = np.zeros((self.degree + 1, self.degree + 1))
            for coefficient, pair in zip(self.detector, _term_degrees(self.degree), strict=True):
                series[pair] = coefficient
            level = level + np.polynomial.legendre.legval2d(u, v, series)
        return level


@dataclass
class _State:
    """The fit while it converges."""

    mag: Floats
    valid: Bools
    planes: Floats
    terms: Floats
    degrees: NDArray[np.int64]
    columns: Floats  # ones and the nuisances, (n_frame, 1 + n_nuisance)
    noise: Floats
    weight: Floats
    gradient_width: Floats
    map_width: Floats
    response_width: Floats
    frame_noise: Floats
    frame: Floats = field(default_factory=lambda: np.zeros((0, 3)))
    detector: Floats = field(default_factory=lambda: np.zeros(0))


def _term_degrees(highest: int) -> list[tuple[int, int]]:
    """Degrees in ``u`` and ``v`` of each map term.

    Degrees zero and one are absent: for a field that shifts they are bases and zero points.
    """
    return [(i, total - i) for total in range(2, highest + 1) for i in range(total, -1, -1)]


def _detector_terms(u: Floats, v: Floats, highest: int) -> Floats:
    """Legendre products of total degree 2 to `highest` along a new last axis; zero at NaN."""
    pairs = _term_degrees(highest)
    finite = np.isfinite(u + v)
    if not pairs:
        return np.zeros((*u.shape, 0))
    pu = np.polynomial.legendre.legvander(np.where(finite, u, 0.0), highest)
    pv = np.polynomial.legendre.legvander(np.where(finite, v, 0.0), highest)
    first, second = np.array(pairs).T
    return np.where(finite[..., None], pu[..., first] * pv[..., second], 0.0)


def fit_shared_terms(
    mag: Floats,
    valid: Bools,
    position: tuple[Floats, Floats],
    nuisance: Floats,
    *,
    degree: int = 8,
    start: SharedTerms | None = None,
) -> SharedTerms:
    """Fit what the given stars share.

    Parameters
    ----------
    mag
        Instrumental magnitudes, shape ``(n_star, n_frame)``; ignored where not `valid`.
    valid
        Which of them are usable; every star needs some.
    position
        Scaled detector positions ``(u, v)``, each ``(n_star, n_frame)``; NaN only where not
        `valid`.
    nuisance
        Regressors of the frames with zero mean and unit scatter, ``(n_frame, n_nuisance)``.
    degree
        Highest total degree of the response map; 0 or 1 for none.
    start
        Widths of the priors to begin with, from a fit to nearly the same stars: fewer passes.

    Returns
    -------
    The shared terms. A frame without valid stars has zero point 0.

    Notes
    -----
    Cost is about ``3 * n_frame * (2 * n_star)**2`` operations a pass, three or six passes.
    """
    state = _start(mag, valid, position, nuisance, degree)
    turns = _ITERATIONS
    if start is not None:
        turns = _ITERATIONS // 2
        state = replace(
            state,
            gradient_width=start.gradient_width.copy(),
            map_width=start.map_width.copy(),
            response_width=start.response_width.copy(),
            frame_noise=start.frame_noise.copy(),
        )
    for turn in range(turns):
        shared, own = _pass(state)
        if turn < turns - 1:
            _reweight(state, shared, own)
    return SharedTerms(
        frame=state.frame,
        detector=state.detector,
        degree=degree,
        response_width=state.response_width,
        gradient_width=state.gradient_width,
        map_width=state.map_width,
        frame_noise=state.frame_noise,
    )


def _start(
    mag: Floats,
    valid: Bools,
    position: tuple[Floats, Floats],
    nuisance: Floats,
    degree: int,
) -> _State:
    u, v = np.where(valid, position[0], 0.0), np.where(valid, position[1], 0.0)
    centred = np.where(valid, mag, np.nan)
    centred = centred - np.nanmedian(centred, axis=1, keepdims=True)
    common = np.zeros(mag.shape[1])
    seen = valid.any(axis=0)
    common[seen] = np.nanmedian(centred[:, seen], axis=0)
    noise = np.hypot(robust_scatter(centred - common, valid), _FLOOR_MAG)
    pairs = _term_degrees(degree)
    return _State(
        mag=np.where(valid, centred, 0.0),
        valid=valid,
        planes=np.stack([np.ones_like(u), u, v], axis=-1),
        terms=_detector_terms(u, v, degree),
        degrees=np.array([i + j for i, j in pairs], dtype=np.int64),
        columns=np.concatenate([np.ones((len(nuisance), 1)), nuisance], axis=1),
        noise=noise,
        weight=np.where(valid, 1.0 / noise[:, None] ** 2, 0.0),
        gradient_width=np.full(2, _FIRST_WIDTH),
        map_width=np.full(len(pairs), _FIRST_WIDTH),
        response_width=np.full(nuisance.shape[1], _FIRST_WIDTH),
        frame_noise=np.ones(mag.shape[1]),
    )


def _pass(state: _State) -> tuple[Floats, Floats]:
    """One solution for the current weights and widths; updates solution and widths.

    The frames' terms couple to nothing but themselves, three by three, and are eliminated first:
    the dense system that remains grows with the stars, not with the frames.

    Returns the shared magnitudes and each star's own, both ``(n_star, n_frame)``.
    """
    n_star, n_frame = state.mag.shape
    n_own, n_term = state.columns.shape[1], state.terms.shape[-1]
    normal, right = _star_equations(state)
    weighted = state.weight[..., None] * state.planes
    frame_normal = np.einsum("ijp,ijq->jpq", weighted, state.planes)
    # Zero points are free but for the gauge that they share with the bases.
    frame_normal += np.diag(np.concatenate([[1e-2], state.gradient_width**-2]))
    frame_right = np.einsum("ijp,ij->jp", weighted, state.mag)
    to_own = np.einsum("ijp,jc->jpic", weighted, state.columns)
    to_map = np.einsum("ijp,ijt->jpt", weighted, state.terms)
    coupling = np.concatenate([to_own.reshape(n_frame, 3, n_star * n_own), to_map], axis=2)
    frame_covariance = np.linalg.inv(frame_normal)
    carried = frame_covariance @ coupling
    size = n_star * n_own + n_term
    normal -= coupling.reshape(-1, size).T @ carried.reshape(-1, size)
    right -= np.einsum("jps,jp->s", carried, frame_right)
    covariance = _symmetric_inverse(normal)
    found = covariance @ right
    variance = np.maximum(np.diag(covariance), 0.0)
    state.frame = np.einsum("jpq,jq->jp", frame_covariance, frame_right) - carried @ found
    spread = np.einsum(
        "jps,jps->jp", (carried.reshape(-1, size) @ covariance).reshape(carried.shape), carried
    )
    spread += np.diagonal(frame_covariance, axis1=1, axis2=2)
    own = found[: n_star * n_own].reshape(n_star, n_own)
    state.detector = found[n_star * n_own :]
    moment = found**2 + variance
    _update_widths(
        state,
        moment[: n_star * n_own].reshape(own.shape),
        moment[n_star * n_own :],
        state.frame**2 + spread,
    )
    shared = np.einsum("ijp,jp->ij", state.planes, state.frame) + state.terms @ state.detector
    return shared, own @ state.columns.T


def _symmetric_inverse(normal: Floats) -> Floats:
    """Inverse of a positive definite matrix, at half the price of a general one."""
    factor, failed = lapack.dpotrf(normal)
    if failed:
        return np.linalg.pinv(normal, hermitian=True).astype(np.float64)
    upper, _ = lapack.dpotri(factor)
    upper = np.triu(upper)
    inverse: Floats = upper + np.triu(upper, 1).T
    return inverse


def _star_equations(state: _State) -> tuple[Floats, Floats]:
    """Normal equations of bases, responses and map, priors included, before the frames."""
    n_star, n_frame = state.mag.shape
    n_own, n_term = state.columns.shape[1], state.terms.shape[-1]
    split = n_star * n_own
    normal = np.zeros((split + n_term, split + n_term))
    blocks = np.einsum("ij,jp,jq->ipq", state.weight, state.columns, state.columns)
    blocks += np.diag(np.concatenate([[1e-6], state.response_width**-2]))
    index = np.arange(split).reshape(n_star, n_own)
    normal[index[:, :, None], index[:, None, :]] = blocks
    loaded = (state.weight[..., None] * state.terms).reshape(n_star * n_frame, n_term)
    flat = state.terms.reshape(n_star * n_frame, n_term)
    normal[split:, split:] = flat.T @ loaded + np.diag(state.map_width**-2)
    cross = np.einsum("jp,ijt->ipt", state.columns, loaded.reshape(n_star, n_frame, n_term))
    normal[:split, split:] = cross.reshape(split, n_term)
    normal[split:, :split] = normal[:split, split:].T
    own = np.einsum("ij,jp->ip", state.weight * state.mag, state.columns)
    return normal, np.concatenate([own.ravel(), loaded.T @ state.mag.ravel()])


def _update_widths(state: _State, own: Floats, terms: Floats, frame: Floats) -> None:
    """Expectation-maximisation: a prior's variance is the mean second moment it governs."""
    state.gradient_width = np.maximum(np.sqrt(frame[:, 1:].mean(axis=0)), _SMALLEST_WIDTH)
    for degree in np.unique(state.degrees):
        chosen = state.degrees == degree
        state.map_width[chosen] = max(float(np.sqrt(terms[chosen].mean())), _SMALLEST_WIDTH)
    if own.shape[1] > 1:
        # Stars that happen to vary in step with the airmass must not widen the prior: clip at
        # three sigmas, by the median of chi-square with one degree of freedom.
        limit = 9.0 * np.median(own[:, 1:], axis=0) / 0.455
        typical = np.minimum(own[:, 1:], limit).mean(axis=0)
        state.response_width = np.maximum(np.sqrt(typical), _SMALLEST_WIDTH)


def _reweight(state: _State, shared: Floats, own: Floats) -> None:
    """Biweights from the residuals, with each star's and each frame's own scatter."""
    residual = np.where(state.valid, state.mag - shared - own, 0.0)
    state.noise = np.hypot(robust_scatter(residual / state.frame_noise, state.valid), _FLOOR_MAG)
    pull = np.abs(residual) / state.noise[:, None]
    typical = np.ones(pull.shape[1])
    seen = state.valid.sum(axis=0) >= 5
    typical[seen] = MAD_TO_SIGMA * np.nanmedian(np.where(state.valid, pull, np.nan)[:, seen], 0)
    # With few stars the frames' noise is itself noisy: lean towards equal frames.
    trust = state.valid.sum(axis=0) / (state.valid.sum(axis=0) + 20.0)
    typical = np.clip(typical, 0.5, 5.0) ** trust
    state.frame_noise = typical / np.sqrt(np.mean(np.square(typical)))
    sigma = state.noise[:, None] * state.frame_noise
    balance = (1.0 - np.clip(np.abs(residual) / (_OUTLIER * sigma), 0.0, 1.0) ** 2) ** 2
    state.weight = np.where(state.valid, balance / sigma**2, 0.0)
