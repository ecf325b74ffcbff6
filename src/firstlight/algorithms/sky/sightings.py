"""Which sightings are of one thing, where each image shows few things and errors are known.

The groups are a function of the sightings alone: in whatever order they became known, the same
ones are together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

__all__ = ["Groups", "Reach", "Sightings", "give_nearest", "group_sightings", "mean_place", "near"]

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Reach:
    """How far apart two sightings of one thing may be, radians.

    Attributes
    ----------
    radius
        What is as near as this is always one thing, unless one image shows both.
    sigmas
        Where so many times the error of the distance is more, that counts.
    largest
        It is never more than this.
    """

    radius: float
    sigmas: float
    largest: float

    def of(self, sigma: Floats | float, other: Floats | float = 0.0) -> Floats:
        """Reach between places with these errors (one axis, radians)."""
        by_error = self.sigmas * np.hypot(sigma, other)
        return np.asarray(np.clip(by_error, self.radius, max(self.largest, self.radius)))


@dataclass(frozen=True)
class Sightings:
    """Places seen in images.

    Attributes
    ----------
    vectors
        Unit vectors ``(n, 3)``.
    sigma
        Error along one axis, radians, ``(n,)``, positive.
    image
        Rank in time of the image each was seen in, ``(n,)``.
    """

    vectors: Floats
    sigma: Floats
    image: Indices

    def __len__(self) -> int:
        return len(self.sigma)

    def batches(self) -> Iterator[Indices]:
        """The sightings of each image, the earliest first."""
        order = np.argsort(self.image, kind="stable")
        yield from np.split(order, np.flatnonzero(np.diff(self.image[order])) + 1)


@dataclass(frozen=True)
class Groups:
    """Which sightings belong together.

    Attributes
    ----------
    label
        Number of each sighting's group, from 0 on, ``(n,)``.
    counts
        Whether it is the one that its image gives to the group; others lie beside it.
    """

    label: Indices
    counts: NDArray[np.bool_]


def mean_place(vectors: Floats, sigma: Floats) -> tuple[Floats, float]:
    """Weighted mean of unit vectors ``(n, 3)``, and its error along one axis, radians."""
    weight = 1.0 / sigma**2
    mean = weight @ vectors
    return mean / np.linalg.norm(mean), float(1.0 / np.sqrt(weight.sum()))


def near(
    vectors: Floats, sigma: Floats, others: Floats, other_sigma: Floats, reach: Reach
) -> tuple[Indices, Indices, Floats]:
    """All pairs of two lists of places that are within reach of each other.

    Returns
    -------
    index, other index, distance
        Each ``(n_pair,)``, the nearest first; distances in radians.
    """
    if not len(vectors) or not len(others):
        none = np.zeros(0, dtype=np.int64)
        return none, none, np.zeros(0)
    farthest = 1.001 * max(reach.radius, reach.largest)
    lists = cKDTree(vectors).query_ball_tree(cKDTree(others), farthest)
    first = np.repeat(np.arange(len(vectors)), [len(some) for some in lists])
    second = np.array([n for some in lists for n in some], dtype=np.int64)
    apart = _apart(vectors[first], others[second])
    within = apart <= reach.of(sigma[first], other_sigma[second])
    first, second, apart = first[within], second[within], apart[within]
    order = np.lexsort((second, first, apart))
    return first[order], second[order], apart[order]


def give_nearest(first: Indices, second: Indices) -> dict[int, int]:
    """One to one, along pairs that come by rising distance."""
    given: dict[int, int] = {}
    taken: set[int] = set()
    for one, other in zip(first.tolist(), second.tolist(), strict=True):
        if one not in given and other not in taken:
            given[one] = other
            taken.add(other)
    return given


def group_sightings(seen: Sightings, reach: Reach) -> Groups:
    """Group sightings that are near each other.

    What fits into one group is one. Otherwise images are taken in the order of time: in each,
    things go to their nearest sighting one to one, and what is left is new, unless it is nearer
    than the radius to a sighting of the same image that went to a group: these two cannot be
    told apart. Then all images are given anew to the mean places, so that the earliest have no
    privilege, and groups whose means are nearer than the radius are joined where no image shows
    both.

    Parameters
    ----------
    seen
        Of a small piece of sky; their order tells nothing.
    """
    order = np.lexsort((seen.sigma, *seen.vectors.T, seen.image))
    found = _grouped(Sightings(seen.vectors[order], seen.sigma[order], seen.image[order]), reach)
    label, counts = np.empty_like(found.label), np.empty_like(found.counts)
    label[order], counts[order] = found.label, found.counts
    return Groups(label, counts)


def _grouped(seen: Sightings, reach: Reach) -> Groups:
    whole = _as_one(seen, reach)
    if whole is not None:
        return whole
    label = np.full(len(seen), -1, dtype=np.int64)
    for batch in seen.batches():
        _give(seen, reach, label, batch)
        for row in batch[label[batch] < 0].tolist():
            _give_beside(seen, reach, label, batch)
            if label[row] < 0:
                label[row] = label.max() + 1
    settled = label.copy()
    for batch in seen.batches():
        again = label.copy()
        again[batch] = -1
        _give(seen, reach, again, batch, means=label)
        _give_beside(seen, reach, again, batch)
        settled[batch] = np.where(again[batch] >= 0, again[batch], label[batch])
    _join(seen, reach, settled)
    label = np.unique(settled, return_inverse=True)[1].astype(np.int64)
    return Groups(label, _counting(seen, label))


def _as_one(seen: Sightings, reach: Reach) -> Groups | None:
    label = np.zeros(len(seen), dtype=np.int64)
    counts = _counting(seen, label)
    mean, error = mean_place(seen.vectors[counts], seen.sigma[counts])
    apart = _apart(seen.vectors, mean)
    if np.any(apart > reach.of(seen.sigma, error)):
        return None
    for row in np.flatnonzero(~counts).tolist():
        winner = np.flatnonzero(counts & (seen.image == seen.image[row]))[0]
        if _apart(seen.vectors[row], seen.vectors[winner]) > reach.radius:
            return None
    return Groups(label, counts)


def _means(seen: Sightings, label: Indices) -> tuple[Indices, Floats, Floats]:
    """Numbers, mean places and errors of the groups that have members."""
    there, place = np.unique(label[label >= 0], return_inverse=True)
    members = np.flatnonzero(label >= 0)
    weight = 1.0 / seen.sigma[members] ** 2
    total, vectors = np.zeros(len(there)), np.zeros((len(there), 3))
    np.add.at(total, place, weight)
    np.add.at(vectors, place, weight[:, None] * seen.vectors[members])
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    return there, vectors / np.where(norm > 0, norm, 1.0), 1.0 / np.sqrt(np.maximum(total, 1e-300))


def _give(
    seen: Sightings, reach: Reach, label: Indices, batch: Indices, means: Indices | None = None
) -> None:
    """Give each group its nearest sighting of one image, in place."""
    there, vectors, error = _means(seen, label if means is None else means)
    first, second, _ = near(seen.vectors[batch], seen.sigma[batch], vectors, error, reach)
    for one, group in give_nearest(first, second).items():
        label[batch[one]] = there[group]


def _give_beside(seen: Sightings, reach: Reach, label: Indices, batch: Indices) -> None:
    """Give what cannot be told apart from a sighting of the same image to the same group."""
    given = batch[label[batch] >= 0]
    if not len(given):
        return
    for row in batch[label[batch] < 0].tolist():
        apart = _apart(seen.vectors[given], seen.vectors[row])
        if apart.min() <= reach.radius:
            label[row] = label[given[apart.argmin()]]


def _join(seen: Sightings, reach: Reach, label: Indices) -> None:
    """Join groups nearer than the radius that no image shows both of, in place."""
    while True:
        there, vectors, _ = _means(seen, label)
        one, other = np.triu_indices(len(there), 1)
        apart = _apart(vectors[one], vectors[other])
        for pair in np.argsort(apart, kind="stable").tolist():
            if apart[pair] > reach.radius:
                return
            a, b = there[one[pair]], there[other[pair]]
            if not np.intersect1d(seen.image[label == a], seen.image[label == b]).size:
                label[label == b] = a
                break
        else:
            return


def _counting(seen: Sightings, label: Indices) -> NDArray[np.bool_]:
    there, vectors, _ = _means(seen, label)
    apart = _apart(seen.vectors, vectors[np.searchsorted(there, label)])
    order = np.lexsort((apart, seen.image, label))
    pairs = np.stack([label[order], seen.image[order]])
    counts = np.zeros(len(seen), dtype=bool)
    counts[order[np.r_[True, (np.diff(pairs, axis=1) != 0).any(axis=0)]]] = True
    return counts


def _apart(vectors: Floats, others: Floats) -> Floats:
    """Angles, radians, between unit vectors that are near each other."""
    return np.asarray(2.0 * np.arcsin(np.linalg.norm(vectors - others, axis=-1) / 2.0))
