"""Ghosts that one amplifier leaves in another: their strength, and their removal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.median_deviation import scatter_about_median
from firstlight.errors import InvalidInput

__all__ = ["Crosstalk", "measure_crosstalk", "remove_crosstalk"]

Floats = NDArray[np.float64]
Plane = NDArray[np.floating]

_FEWEST = 30  # pixels
_TURNS = 6
_CLIP = 3.0  # sigma
_CLIPPED = 0.9733  # share of the variance that is left after clipping a Gaussian at 3 sigma


@dataclass(frozen=True, slots=True)
class Crosstalk:
    """What each amplifier (second axis) adds to each other one (first axis).

    Attributes
    ----------
    coefficients
        ``(n, n)``, zero on the diagonal and where nothing could be measured.
    errors
        One sigma, the same shape; infinite where nothing could be measured, zero on the diagonal.
    """

    coefficients: Floats
    errors: Floats


def measure_crosstalk(amplifiers: Sequence[Plane], *, bright: float) -> Crosstalk:
    """Measure coefficients from what bright pixels of one amplifier leave in the others.

    For each pair, the victim's pixels that were read together with bright pixels of the source
    are fitted by a line, its level free, clipped at 3 sigma so that the victim's own stars do
    not count.

    Parameters
    ----------
    amplifiers
        Overscan- and sky-subtracted ADU of each, ``(ny, nx)``, turned so that pixels of one
        index were read at the same time. Values that are not finite are left out.
    bright
        ADU above which a pixel of the source is used; a victim's pixels must be below it.

    Raises
    ------
    InvalidInput
        Fewer than two amplifiers, or of different shapes.
    """
    planes = _alike(amplifiers)
    count = len(planes)
    coefficients, errors = np.zeros((count, count)), np.full((count, count), np.inf)
    np.fill_diagonal(errors, 0.0)
    for source in range(count):
        struck = planes[source] > bright
        for victim in range(count):
            if victim != source:
                used = struck & (planes[victim] < bright) & np.isfinite(planes[victim])
                for other in set(range(count)) - {source, victim}:
                    used &= ~(planes[other] > bright)
                fitted = _slope(planes[source][used], planes[victim][used])
                coefficients[victim, source], errors[victim, source] = fitted
    return Crosstalk(coefficients, errors)


def remove_crosstalk(
    amplifiers: Sequence[Plane], coefficients: Floats
) -> list[NDArray[np.float32]]:
    """Take off every amplifier what the others left in it, to first order.

    Parameters
    ----------
    amplifiers
        Overscan-subtracted ADU, as for `measure_crosstalk`, sky in them or not: with it, its
        ghost goes too. Pixels without a finite value leave no ghost.
    coefficients
        ``(n, n)``, victim first.

    Returns
    -------
    New planes, float32, in the same order.

    Raises
    ------
    InvalidInput
        Fewer than two amplifiers, of different shapes, or coefficients for another number.
    """
    planes = _alike(amplifiers)
    count = len(planes)
    if coefficients.shape != (count, count):
        raise InvalidInput(field="coefficients", found=coefficients.shape, expected=(count, count))
    cleaned = [np.array(plane, dtype=np.float32) for plane in planes]
    for source, plane in enumerate(planes):
        light = np.where(np.isfinite(plane), plane, 0.0).astype(np.float32)
        for victim in range(count):
            if victim != source and coefficients[victim, source] != 0:
                cleaned[victim] -= np.float32(coefficients[victim, source]) * light
    return cleaned


def _alike(amplifiers: Sequence[Plane]) -> list[Plane]:
    shapes = {plane.shape for plane in amplifiers}
    if len(amplifiers) < 2 or len(shapes) != 1:
        raise InvalidInput(
            "Crosstalk needs two or more amplifiers of one shape.", found=sorted(shapes)
        )
    return list(amplifiers)


def _slope(source: Plane, victim: Plane) -> tuple[float, float]:
    """Slope of a line, and its error; (0, infinity) with too few pixels."""
    x, y = source.astype(np.float64), victim.astype(np.float64)
    if len(x) < _FEWEST:
        return 0.0, float("inf")
    slope, level = float(np.median(y / x)), 0.0
    for _ in range(_TURNS):
        left = y - slope * x - level
        kept = np.abs(left) <= _CLIP * max(scatter_about_median(left), 1e-12)
        if kept.sum() < _FEWEST:
            return 0.0, float("inf")
        far = x[kept] - x[kept].mean()
        slope = float((far * y[kept]).sum() / max(float((far**2).sum()), 1e-12))
        level = float((y[kept] - slope * x[kept]).mean())
    noise = float(np.mean((y[kept] - slope * x[kept] - level) ** 2)) / _CLIPPED
    return slope, float(np.sqrt(noise / max(float((far**2).sum()), 1e-12)))
