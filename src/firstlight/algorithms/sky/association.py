"""Which sources of many exposures are the same star.

Works on sky positions (unit vectors) or, where nothing is solved, on registered pixels. The list
of stars is the union over the exposures; in one exposure a star has at most one source and a
source at most one star. The answer does not depend on the order of exposures or of sources.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

__all__ = ["Association", "associate", "unit_vectors"]

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

_SETTLING_PASSES = 2


@dataclass(frozen=True)
class Association:
    """Stars and their sources.

    Attributes
    ----------
    positions
        Mean position of each star, ``(n_star, n_axis)``, in the coordinates that were given;
        sorted by the last axis, then the ones before.
    members
        Index of the star's source in each exposure, -1 where there is none,
        ``(n_star, n_frame)``.
    """

    positions: Floats
    members: Indices

    @property
    def detections(self) -> Indices:
        """In how many exposures each star was found, ``(n_star,)``."""
        found: Indices = (self.members >= 0).sum(axis=1, dtype=np.int64)
        return found

    def missing(self, frame: int) -> Indices:
        """Stars without a source in exposure `frame`: where to put forced apertures."""
        return np.flatnonzero(self.members[:, frame] < 0)


def unit_vectors(ra: Floats, dec: Floats) -> Floats:
    """ICRS degrees, each ``(n,)``, to unit vectors ``(n, 3)``.

    A radius of ``r`` radians on the sky is a distance of ``2 sin(r / 2)`` between them.
    """
    ra, dec = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def associate(
    frames: Sequence[Floats], radius: float, *, fewest_detections: int = 1
) -> Association:
    """Match the sources of several exposures.

    Parameters
    ----------
    frames
        Positions of each exposure's sources, each ``(n_source, n_axis)`` with the same number of
        axes; an exposure may be empty.
    radius
        Largest distance between a source and its star, in the same unit.
    fewest_detections
        Leave out stars found in fewer exposures.

    Notes
    -----
    Exposures are taken with the richest first (ties by their positions). A first pass collects the
    stars; further passes match every exposure anew with the mean positions, so that early
    exposures have no privilege. Each pass is a KD-tree query an exposure.
    """
    if not frames or not any(len(frame) for frame in frames):
        n_axis = frames[0].shape[1] if frames else 2
        return Association(np.zeros((0, n_axis)), np.zeros((0, len(frames)), dtype=np.int64))
    stars = _collect(frames, radius)
    for _ in range(_SETTLING_PASSES):
        members = np.stack([_match(stars, frame, radius) for frame in frames], axis=1)
        seen = (members >= 0).any(axis=1)
        stars, members = _means(stars, frames, members)[seen], members[seen]
    kept = (members >= 0).sum(axis=1) >= fewest_detections
    stars, members = stars[kept], members[kept]
    order = np.lexsort(tuple(stars.T))
    return Association(stars[order], members[order])


def _collect(frames: Sequence[Floats], radius: float) -> Floats:
    """The union of all sources that are not each other's."""
    order = sorted(
        (i for i in range(len(frames)) if len(frames[i])),
        key=lambda i: (-len(frames[i]), tuple(np.sort(frames[i], axis=0)[0])),
    )
    first = frames[order[0]]
    stars, counts = first[np.lexsort(tuple(first.T))].copy(), np.ones(len(first))
    for i in order[1:]:
        frame = frames[i]
        owner = _match(stars, frame, radius)
        found = owner >= 0
        counts[found] += 1
        stars[found] += (frame[owner[found]] - stars[found]) / counts[found, None]
        fresh = np.ones(len(frame), dtype=bool)
        fresh[owner[found]] = False
        added = frame[fresh]
        stars = np.concatenate([stars, added[np.lexsort(tuple(added.T))]])
        counts = np.concatenate([counts, np.ones(len(added))])
    return stars


def _match(stars: Floats, frame: Floats, radius: float) -> Indices:
    """Source of each star, -1 for none: both must be the other's nearest."""
    out = np.full(len(stars), -1, dtype=np.int64)
    if not len(frame):
        return out
    distance, nearest = cKDTree(stars).query(frame, distance_upper_bound=radius)
    found = np.flatnonzero(np.isfinite(distance))
    # The last to be written wins, so write the nearest last.
    found = found[np.argsort(-distance[found], kind="stable")]
    out[nearest[found]] = found
    return out


def _means(stars: Floats, frames: Sequence[Floats], members: Indices) -> Floats:
    total, count = np.zeros_like(stars), np.zeros(len(stars))
    for j, frame in enumerate(frames):
        found = members[:, j] >= 0
        total[found] += frame[members[found, j]]
        count += found
    return np.where(count[:, None] > 0, total / np.maximum(count, 1)[:, None], stars)
