"""Bleeding of known length is found to its end, and nothing else is."""

import numpy as np
import pytest
from injected_sky import moffat_star

from firstlight.algorithms.detector.bleed import find_bleed
from firstlight.errors import InvalidInput

FULL, SKY, READ = 60_000.0, 300.0, 6.0


def bled_field(seed, stars=5, bright=0.0):
    """Saturated stars whose surplus ran along the columns; what ran there."""
    rng = np.random.default_rng(seed)
    charge = np.full((400, 400), SKY)
    for x, y in rng.uniform(60, 340, (stars, 2)):
        i, j = round(x), round(y)
        star = moffat_star(x - i, y - j, 4.0, 3.0, 40) * 10 ** rng.uniform(6.4, 6.9)
        charge[j - 40 : j + 41, i - 40 : i + 41] += star
    for x, y in rng.uniform(30, 370, (60, 2)):
        i, j = round(x), round(y)
        star = moffat_star(x - i, y - j, 4.0, 3.0, 20) * bright
        charge[j - 20 : j + 21, i - 20 : i + 21] += star
    ran = np.zeros_like(charge)
    for i in range(charge.shape[1]):
        over = np.maximum(charge[:, i] - FULL, 0)
        charge[:, i] -= over
        for direction in (1, -1):
            carried = 0.0
            for j in range(400)[::direction]:
                taken = min(carried, FULL - charge[j, i])
                charge[j, i] += taken
                ran[j, i] += taken
                carried += over[j] / 2 - taken
    data = rng.poisson(charge) + rng.normal(0, READ, charge.shape)
    full = charge >= FULL - 1
    return data - SKY, charge + READ**2, full, ran


@pytest.mark.parametrize("bright", [0.0, 2e5])
def test_trails_are_found_whole_and_little_else(bright):
    ends, extra = 0, 0
    for seed in range(3):
        data, variance, full, ran = bled_field(seed, bright=bright)
        found = find_bleed(data, variance, full, growth=0)
        wanted = (ran > 20 * np.sqrt(variance)) & ~full
        ends += wanted.sum()
        assert not (found & full).any()
        # The last pixel of a trail within the star's own bright light is not told from it.
        assert (found & wanted).sum() >= 0.8 * wanted.sum()
        grown = find_bleed(data, variance, full, growth=1)
        assert (grown & wanted).sum() == wanted.sum()
        extra += (found & (ran == 0)).sum()
    assert ends > 10
    assert extra < 3 * 5 * 15


def test_a_faint_trail_is_followed_to_its_end_over_a_gap():
    rng = np.random.default_rng(5)
    data = rng.normal(0, 10, (300, 100))
    variance = np.full(data.shape, 100.0)
    full = np.zeros(data.shape, dtype=np.bool_)
    full[100:110, 50] = True
    data[40:250, 50] += 120
    data[200, 50] = np.nan
    found = find_bleed(data, variance, full, growth=0)
    truth = np.zeros_like(full)
    truth[40:250, 50] = True
    np.testing.assert_array_equal(found[42:248], (truth & ~full)[42:248])
    assert found.sum() <= truth.sum()
    turned = find_bleed(data.T, variance.T, full.T, along="rows", growth=0)
    np.testing.assert_array_equal(turned, found.T)


def test_growth_and_edges():
    data, variance = np.zeros((20, 20)), np.ones((20, 20))
    full = np.zeros((20, 20), dtype=np.bool_)
    full[0, 0] = full[19, 19] = True
    assert not find_bleed(data, variance, full, growth=0).any()
    grown = find_bleed(data, variance, full, growth=1)
    assert sorted(zip(*np.nonzero(grown), strict=True)) == [(0, 1), (1, 0), (18, 19), (19, 18)]
    assert not find_bleed(data, variance, np.zeros_like(full)).any()
    with pytest.raises(InvalidInput, match="saturated"):
        find_bleed(data, variance, full[:5])
