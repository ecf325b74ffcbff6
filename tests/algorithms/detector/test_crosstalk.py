"""Injected ghosts are measured within their errors and taken off."""

import numpy as np
import pytest
from injected_sky import moffat_star

from firstlight.algorithms.detector.crosstalk import measure_crosstalk, remove_crosstalk
from firstlight.errors import InvalidInput

TRUTH = np.array([[0.0, 2e-3, -5e-4], [8e-4, 0.0, 0.0], [1e-4, 3e-3, 0.0]])


def amplifiers(seed, noise=8.0):
    """Three with stars of their own, before and after crosstalk."""
    rng = np.random.default_rng(seed)
    clean = []
    for _ in range(3):
        plane = np.zeros((300, 300))
        for x, y in rng.uniform(20, 280, (60, 2)):
            i, j = round(x), round(y)
            star = moffat_star(x - i, y - j, 3.5, 3.0, 15) * 10 ** rng.uniform(3, 6)
            plane[j - 15 : j + 16, i - 15 : i + 16] += star
        clean.append(np.minimum(plane, 50_000.0))
    read = [
        clean[v] + sum(TRUTH[v, s] * clean[s] for s in range(3)) + rng.normal(0, noise, (300, 300))
        for v in range(3)
    ]
    return clean, read


def test_coefficients_within_their_errors():
    pulls = []
    for seed in range(5):
        found = measure_crosstalk(amplifiers(seed)[1], bright=5000.0)
        others = ~np.eye(3, dtype=bool)
        assert (found.coefficients[~others] == 0).all()
        assert (found.errors[others] < 5e-4).all()
        pulls.append((found.coefficients - TRUTH)[others] / found.errors[others])
    pulls = np.concatenate(pulls)
    assert abs(np.median(pulls)) < 1.0
    assert np.percentile(np.abs(pulls), 68) < 2.0


def test_ghosts_are_taken_off():
    clean, read = amplifiers(9)
    cleaned = remove_crosstalk(read, TRUTH)
    for victim in range(3):
        ghost = sum(TRUTH[victim, s] * clean[s] for s in range(3))
        struck = np.abs(ghost) > 10
        left = (cleaned[victim] - clean[victim])[struck]
        assert struck.sum() > 20
        assert abs(left.mean()) < 4 * 8.0 / np.sqrt(struck.sum())


def test_no_bright_pixels_no_measurement():
    dark = [np.zeros((50, 50)), np.zeros((50, 50))]
    found = measure_crosstalk(dark, bright=1000.0)
    assert not found.coefficients.any()
    assert np.isinf(found.errors[0, 1])
    with pytest.raises(InvalidInput, match="two or more"):
        measure_crosstalk(dark[:1], bright=1.0)
    with pytest.raises(InvalidInput):
        remove_crosstalk(dark, np.zeros((3, 3)))


def test_pixels_without_a_value_leave_no_ghost():
    first, second = np.full((40, 40), 100.0), np.zeros((40, 40))
    first[3, 4] = np.nan
    cleaned = remove_crosstalk([first, second], np.array([[0, 0.0], [0.01, 0]]))
    assert cleaned[1][3, 4] == 0
    assert cleaned[1][5, 5] == pytest.approx(-1.0)
