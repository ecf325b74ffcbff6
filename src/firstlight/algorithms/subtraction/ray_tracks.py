"""What straight tracks of cosmic rays leave on pixels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["STEPS", "STEP_COUNTS", "TRACKS", "Tracks"]

Integers = NDArray[np.int64]

_LENGTHS = (4.0, 6.0, 9.0, 13.0)  # pixels
_ANGLES = 16
_SIDEWAYS = (0.0, 0.5)  # pixels
# One sigma across, pixels: charge diffuses by a third of a pixel, and a pixel is wide.
_ACROSS = 0.42
_REACH = 7
_LEAST = 0.1  # of the largest weight

STEPS = np.array(
    [
        [[0, 0], [0, 0], [0, 0]],
        [[0, 1], [0, 0], [0, 0]],
        [[1, 0], [0, 0], [0, 0]],
        [[1, 1], [0, 0], [0, 0]],
        [[1, -1], [0, 0], [0, 0]],
        [[0, 1], [0, 2], [0, 0]],
        [[1, 0], [2, 0], [0, 0]],
        [[1, 1], [2, 2], [0, 0]],
        [[1, -1], [2, -2], [0, 0]],
        [[0, 1], [1, 0], [1, 1]],
    ]
)
"""Of small shapes, steps (down, right) from a pixel to the others, ``(10, 3, 2)``."""

STEP_COUNTS = np.array([0, 1, 1, 1, 1, 2, 2, 2, 2, 3])
"""How many of the steps each of them has."""


class Tracks(NamedTuple):
    """Templates, a row each; all ``(n, most)`` but where said otherwise.

    Attributes
    ----------
    rows, columns
        Steps from the middle pixel.
    weight
        The sum of their squares is one.
    sizes
        How many of them each template has, ``(n,)``.
    most
        The largest of these.
    """

    rows: Integers
    columns: Integers
    weight: NDArray[np.float64]
    sizes: Integers
    most: int


def _tracks() -> Tracks:
    steps = np.arange(-_REACH, _REACH + 1)
    pixels = []
    for length in _LENGTHS:
        for angle in np.pi * np.arange(_ANGLES) / _ANGLES:
            for aside in _SIDEWAYS:
                along = steps * np.cos(angle) + steps[:, None] * np.sin(angle)
                across = steps[:, None] * np.cos(angle) - steps * np.sin(angle) - aside
                inside = np.clip(length / 2 + 0.5 - np.abs(along), 0.0, 1.0)
                light = inside * np.exp(-0.5 * (across / _ACROSS) ** 2)
                rows, columns = np.nonzero(light > _LEAST * light.max())
                told = light[rows, columns]
                pixels.append((rows - _REACH, columns - _REACH, told / np.linalg.norm(told)))
    most = max(len(rows) for rows, _, _ in pixels)
    shape = (len(pixels), most)
    found = Tracks(
        np.zeros(shape, np.int64),
        np.zeros(shape, np.int64),
        np.zeros(shape),
        np.array([len(rows) for rows, _, _ in pixels]),
        most,
    )
    for n, each in enumerate(pixels):
        for table, values in zip(found[:3], each, strict=True):
            table[n, : len(values)] = values
    return found


TRACKS = _tracks()
"""Of all lengths and directions, half a pixel apart."""
