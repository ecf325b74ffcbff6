"""Boosted regression trees for two classes, and the curve that makes their sum a probability.

Friedman 2001 (Annals of Statistics 29, 1189) with second derivatives and on histograms, as
gradient boosting is done today (Chen & Guestrin 2016, KDD '16, 785). All trees have the same
depth, so that they are plain arrays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BINS = 64


@dataclass(frozen=True)
class Growth:
    """How trees are grown.

    Attributes
    ----------
    trees, depth, rate
        Number, levels, and share of each step that is taken.
    ridge
        Added to the second derivative of each leaf.
    fewest
        Second derivative that either side of a split has at least.
    rows, columns
        Share of the sample and of the features that a tree sees.
    """

    trees: int = 250
    depth: int = 4
    rate: float = 0.08
    ridge: float = 2.0
    fewest: float = 4.0
    rows: float = 0.6
    columns: float = 0.6


@dataclass(frozen=True)
class Forest:
    """Trees as arrays: see `firstlight.algorithms.candidates.real_bogus.RealBogus`."""

    feature: NDArray[np.int16]
    threshold: NDArray[np.float32]
    leaf: NDArray[np.float32]
    start: float


def grow(table: Floats, real: NDArray[np.bool_], growth: Growth, seed: int) -> Forest:
    """Fit trees to a table ``(n, features)`` whose NaN go to the first child of each node."""
    random = np.random.default_rng(seed)
    edges = _edges(table)
    bins = np.stack(
        [
            np.searchsorted(edge, column, side="left")
            for edge, column in zip(edges, table.T, strict=True)
        ],
        axis=1,
    )
    bins[np.isnan(table)] = 0
    start = float(np.log(real.mean() / (1 - real.mean())))
    logit = np.full(len(real), start)
    inner = 2**growth.depth - 1
    feature = np.zeros((growth.trees, inner), np.int16)
    threshold = np.full((growth.trees, inner), np.inf, np.float32)
    leaf = np.zeros((growth.trees, inner + 1), np.float32)
    for tree in range(growth.trees):
        chance = 1 / (1 + np.exp(-logit))
        slope, bend = chance - real, chance * (1 - chance)
        seen = random.random(len(real)) < growth.rows
        columns = random.permutation(table.shape[1])[: int(growth.columns * table.shape[1])]
        node = np.zeros(len(real), int)
        for level in range(growth.depth):
            for one in range(2**level - 1, 2 ** (level + 1) - 1):
                held = seen & (node == one)
                split = _best(bins[held], (slope[held], bend[held]), np.sort(columns), growth)
                if split is not None:
                    column, cut = split
                    feature[tree, one], threshold[tree, one] = column, edges[column][cut]
            chosen = feature[tree, node]
            above = table[np.arange(len(real)), chosen].astype(np.float32) > threshold[tree, node]
            node = 2 * node + 1 + above
        node -= inner
        down = np.bincount(node[seen], slope[seen], inner + 1)
        up = np.bincount(node[seen], bend[seen], inner + 1)
        leaf[tree] = -growth.rate * down / (up + growth.ridge)
        logit += leaf[tree, node]
    return Forest(feature, threshold, leaf, start)


def _edges(table: Floats) -> list[Floats]:
    """Places between the bins of each feature, at most `BINS` less one, as float32 holds them."""
    shares = np.linspace(0, 1, BINS + 1)[1:-1]
    edges = []
    for column in table.T:
        known = column[np.isfinite(column)]
        places = np.quantile(known, shares) if known.size else np.zeros(1)
        edges.append(np.unique(places.astype(np.float32)).astype(np.float64))
    return edges


def _best(
    bins: NDArray[np.int64],
    derivatives: tuple[Floats, Floats],
    columns: NDArray[np.int64],
    growth: Growth,
) -> tuple[int, int] | None:
    """Feature and edge of the split that lowers the loss most, or None."""
    if not len(bins):
        return None
    place = bins[:, columns] + np.arange(len(columns)) * BINS
    sums = [
        np.bincount(
            place.ravel(), np.repeat(values, len(columns)), minlength=len(columns) * BINS
        ).reshape(len(columns), BINS)
        for values in derivatives
    ]
    (slope, bend), total = (
        (np.cumsum(each, axis=1) for each in sums),
        [e.sum() for e in derivatives],
    )
    other_slope, other_bend = total[0] - slope, total[1] - bend
    gain = slope**2 / (bend + growth.ridge) + other_slope**2 / (other_bend + growth.ridge)
    gain[(bend < growth.fewest) | (other_bend < growth.fewest)] = -np.inf
    best = int(gain.argmax())
    if gain.flat[best] <= total[0] ** 2 / (total[1] + growth.ridge) + 1e-9:
        return None
    return int(columns[best // BINS]), best % BINS


def calibration_curve(
    logits: Floats, real: NDArray[np.bool_], knots: int = 24
) -> tuple[Floats, Floats]:
    """Rising curve from logit to the share of real ones: isotonic regression, then few knots.

    Pools neighbours that fall (Ayer et al. 1955, Annals of Mathematical Statistics 26, 641) of
    groups of equal size; each group counts one real and one false candidate more than it has, so
    that no probability is 0 or 1.
    """
    order = np.argsort(logits)
    groups = [
        [logits[part].mean(), (real[part].sum() + 1) / (len(part) + 2), float(len(part))]
        for part in np.array_split(order, knots)
        if len(part)
    ]
    pooled: list[list[float]] = []
    for group in groups:
        pooled.append(group)
        while len(pooled) > 1 and pooled[-2][1] >= pooled[-1][1]:
            last, before = pooled.pop(), pooled.pop()
            weight = last[2] + before[2]
            pooled.append(
                [*((last[i] * last[2] + before[i] * before[2]) / weight for i in (0, 1)), weight]
            )
    place, share, _ = np.array(pooled).T
    return place, share


def area_under_curve(scores: Floats, real: NDArray[np.bool_]) -> float:
    """Share of pairs of a real and a false one that are in order; ties count half."""
    values, place = np.unique(scores, return_inverse=True)
    good = np.bincount(place[real], minlength=len(values)).astype(float)
    bad = np.bincount(place[~real], minlength=len(values)).astype(float)
    below = np.cumsum(bad) - bad
    return float((good * (below + 0.5 * bad)).sum() / (good.sum() * bad.sum()))
