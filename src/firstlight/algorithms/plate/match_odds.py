"""How much likelier a match of detections and predicted stars is than chance coincidence.

A Bayes factor after Lang et al. 2010 (AJ 139, 1782), section 2.3, seen from the catalogue: each
predicted star is found, with a normal error, or is not found; the alternative is that detections
lie where they lie by chance, at the density seen around that place.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

__all__ = ["isolated", "log_odds", "stars_needed"]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_LOCAL = 4
_CHOSEN = 8.0


def log_odds(
    distance: Floats, density: Floats, noise: float, *, parameters: int, trials: float
) -> float:
    """Natural log of the odds of a match against chance.

    Parameters
    ----------
    distance
        Pixels from each predicted star to its detection, NaN where it has none, shape
        ``(n,)``. Stars must be apart from each other by more than the matching radius, else
        one coincidence counts twice.
    density
        Detections per square pixel around each predicted place, shape ``(n,)``.
    noise
        One-sigma error of one coordinate, pixels. Take it no smaller than is believable: a
        fit to few stars has small residuals by itself.
    parameters
        Numbers fitted to the match.
    trials
        Proposals that were tested before this one.

    Returns
    -------
    The log of the Bayes factor less the log of `trials`. A similarity has four parameters and
    was proposed for the good code of four stars: eight coordinates are spent. Each further
    parameter spends another. The evidence is scaled to the share of coordinates not spent, and
    with none left the answer is minus infinity.
    """
    found = np.isfinite(distance)
    count, total = int(found.sum()), len(distance)
    spent = _CHOSEN + max(parameters - 4, 0)
    if 2 * count <= spent:
        return -np.inf
    share = (count + 0.5) / (total + 1.0)
    gains = (
        np.log(share)
        - 0.5 * (distance[found] / noise) ** 2
        - np.log(2.0 * np.pi * noise**2 * density[found])
    )
    evidence = float(np.sum(gains)) * (1.0 - spent / (2.0 * count))
    return evidence + (total - count) * float(np.log1p(-share)) - float(np.log(max(trials, 1.0)))


def local_density(x: Floats, y: Floats, at_x: Floats, at_y: Floats, area: float) -> Floats:
    """Detections per square pixel around places: the mean, or more where they crowd.

    Parameters
    ----------
    x, y
        All detections, shape ``(n,)``.
    at_x, at_y
        Places, shape ``(m,)``, each of which may have its own detection.
    area
        Pixels in the frame.
    """
    mean = len(x) / area
    if len(x) <= _LOCAL:
        return np.full(len(at_x), mean)
    tree = cKDTree(np.column_stack([x, y]))
    reach = tree.query(np.column_stack([at_x, at_y]), k=_LOCAL + 1)[0][:, -1]
    return np.asarray(np.maximum(mean, (_LOCAL - 1) / (np.pi * np.maximum(reach, 1.0) ** 2)))


def isolated(x: Floats, y: Floats, radius: float) -> Flags:
    """Points with no earlier point within `radius`, shape ``(n,)``."""
    kept = np.ones(len(x), bool)
    if len(x) > 1:
        pairs = cKDTree(np.column_stack([x, y])).query_pairs(radius, output_type="ndarray")
        # Pairs are (lower, higher): the later, fainter one goes.
        kept[pairs[:, 1]] = False
    return kept


def stars_needed(detections: int, area: float, noise: float, threshold: float) -> int:
    """Matched stars with which a plain match would reach a threshold of log odds.

    Parameters
    ----------
    detections, area
        Number of detections in the frame and its pixels.
    noise
        Error of one coordinate, pixels.
    threshold
        Natural log of the odds.
    """
    each = float(np.log(area / max(detections, 1) / (2.0 * np.pi * noise**2))) - 1.0
    return int(np.ceil(_CHOSEN / 2.0 + 1.0 + threshold / max(each, 1.0)))
