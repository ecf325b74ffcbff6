"""How likely a candidate is a new source: a score from 0 to 1.

An ensemble of regression trees, each fitted to what the ones before it have left (Friedman 2001,
Annals of Statistics 29, 1189), on the measures of a candidate and on the rings of its stamps.
The trees are data: they come from simulated pairs of images whose truth is known, and their sum is
turned into a probability by a curve that was measured on further pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.candidates.measures import Measures
from firstlight.errors import InvalidInput

__all__ = ["FEATURES", "REAL_ABOVE", "RealBogus", "feature_table"]

Floats = NDArray[np.float64]

_PLAIN = (
    "chi2",
    "misfit",
    "worst",
    "width",
    "elongation",
    "spill",
    "dipole",
    "balance",
    "extended",
    "streak",
    "narrow",
    "bad",
    "struck",
    "filled",
    "negative",
    "change",
)
_IMAGES = ("new", "reference", "difference")
FEATURES = (
    *_PLAIN,
    "significance",
    "new_light",
    "reference_light",
    *(f"{image}_ring_{ring}" for image in _IMAGES for ring in range(4)),
)
"""Columns of `feature_table`, in its order."""

REAL_ABOVE = 0.4
"""Score that candidates are kept above unless told otherwise: what is lost below is about as rare
as what is false above, at a signal-to-noise ratio of 5."""

_LARGEST = 1e9  # of a feature, in what the trees can hold


def feature_table(measures: Measures) -> Floats:
    """What the trees look at, ``(n, len(FEATURES))``; NaN where something is not known."""
    columns = measures.columns()
    with np.errstate(divide="ignore", invalid="ignore"):
        significance = np.abs(measures.flux) / measures.flux_error
    # Heights of bright sources matter by their logarithm.
    scaled = [np.arcsinh(each) for each in (measures.new_light, measures.reference_light)]
    plain = [columns[name] for name in _PLAIN]
    count, images, radii = measures.profiles.shape
    rings = measures.profiles.reshape(count, images * radii)
    table = np.column_stack([*plain, np.arcsinh(significance), *scaled, rings])
    return np.asarray(np.clip(table, -_LARGEST, _LARGEST))


@dataclass(frozen=True, slots=True)
class RealBogus:
    """Trained trees of equal depth, and the curve that makes their sum a probability.

    Attributes
    ----------
    version
        Of the training.
    recipe
        How it was trained: seeds, settings and figures on pairs kept apart, as JSON.
    features
        Names of the columns that the trees look at.
    feature, threshold
        Of each inner node, ``(trees, 2^depth - 1)``: a candidate goes to the second child where
        its value is above the threshold, else, and where it is not known, to the first.
    leaf
        What each leaf adds to the logit, ``(trees, 2^depth)``.
    start
        Logit before the first tree.
    knots, probability
        The curve: logits ascending, and the share of real candidates there.
    """

    version: str
    recipe: str
    features: tuple[str, ...]
    feature: NDArray[np.int16]
    threshold: NDArray[np.float32]
    leaf: NDArray[np.float32]
    start: float
    knots: Floats
    probability: Floats

    def logits(self, table: Floats) -> Floats:
        """Sum of the trees, ``(n,)``, for a table with this model's columns."""
        values = np.where(np.isnan(table), -np.inf, table).astype(np.float32)
        rows = np.arange(len(values))[:, None]
        trees = np.arange(len(self.leaf))
        node = np.zeros((len(values), len(trees)), np.int64)
        inner = self.feature.shape[1]
        for _ in range(int(inner + 1).bit_length() - 1):
            column = self.feature[trees, node]
            node = 2 * node + 1 + (values[rows, column] > self.threshold[trees, node])
        return np.asarray(self.start + self.leaf[trees, node - inner].sum(axis=1, dtype=np.float64))

    def score(self, measures: Measures) -> Floats:
        """Probability that each candidate is a new source, ``(n,)``.

        Among candidates of which as many are real as in the training; the order of candidates
        does not depend on that.
        """
        logits = self.logits(feature_table(measures))
        return np.asarray(np.interp(logits, self.knots, self.probability))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """As arrays without objects, to be kept in a file."""
        return {
            "version": np.array(self.version),
            "recipe": np.array(self.recipe),
            "features": np.array(self.features),
            "feature": self.feature,
            "threshold": self.threshold,
            "leaf": self.leaf,
            "start": np.array(self.start),
            "knots": self.knots,
            "probability": self.probability,
        }

    @classmethod
    def from_arrays(cls, told: Mapping[str, NDArray[Any]]) -> RealBogus:
        """The inverse of `arrays`.

        Raises
        ------
        InvalidInput
            When it was trained on other features than this version measures.
        """
        names = tuple(str(name) for name in told["features"])
        if names != FEATURES:
            raise InvalidInput(
                "The model scores other measures than are made now.",
                field="features",
                found=[name for name in names if name not in FEATURES],
                expected=[name for name in FEATURES if name not in names],
                hint="train it anew",
            )
        return cls(
            version=str(told["version"]),
            recipe=str(told["recipe"]),
            features=names,
            feature=told["feature"],
            threshold=told["threshold"],
            leaf=told["leaf"],
            start=float(told["start"]),
            knots=told["knots"],
            probability=told["probability"],
        )
