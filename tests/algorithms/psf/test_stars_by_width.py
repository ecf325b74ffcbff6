"""Stars are told from galaxies by their widths, also where galaxies are the brighter ones."""

from __future__ import annotations

import numpy as np
import pytest

from firstlight.algorithms.psf.model import place_terms
from firstlight.algorithms.psf.stars_by_width import stars_by_width


def drawn(seed, *, stars, galaxies, least=0.07, most=0.22, own=0.0):
    """Widths of stars, which change by a tenth over the image, and of galaxies, their errors."""
    rng = np.random.default_rng(seed)
    n = stars + galaxies
    u, v = rng.uniform(-1, 1, (2, n))
    width = 0.03 * u - 0.02 * v + 0.03 * u * v - 0.02 * u**2
    width[stars:] += rng.uniform(least, most, galaxies)
    error = 10 ** rng.uniform(-3, -1.4, n)
    error[stars:] = 10 ** rng.uniform(-3, -1.9, galaxies)
    designs = [place_terms(u, v, count) for count in (1, 3, 6, 10)]
    return width + rng.normal(0, np.hypot(error, own)), error**2, designs


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("stars", "galaxies"), [(150, 40), (90, 60), (60, 70)])
def test_galaxies_that_are_a_tenth_wider_are_left_out(seed, stars, galaxies):
    width, spread, designs = drawn(seed, stars=stars, galaxies=galaxies)
    chosen = stars_by_width(width, spread, designs)
    assert chosen[:stars].mean() > 0.9
    assert np.count_nonzero(chosen[stars:]) <= 1


@pytest.mark.parametrize("seed", range(5))
def test_hardly_wider_galaxies_that_outnumber_the_stars_are_left_out(seed):
    width, spread, designs = drawn(seed, stars=60, galaxies=110, least=0.05, most=0.16, own=0.005)
    chosen = stars_by_width(width, spread, designs)
    assert chosen[:60].mean() > 0.8
    assert np.count_nonzero(chosen[60:]) <= 5


@pytest.mark.parametrize("seed", range(10))
def test_a_few_stars_among_more_galaxies_are_found(seed):
    width, spread, designs = drawn(seed, stars=28, galaxies=40, least=0.07, most=0.19, own=0.005)
    chosen = stars_by_width(width, spread, designs)
    assert chosen[:28].mean() > 0.7
    assert np.count_nonzero(chosen[28:]) <= 5


@pytest.mark.parametrize("seed", range(5))
def test_stars_alone_are_kept(seed):
    width, spread, designs = drawn(seed, stars=200, galaxies=0)
    assert stars_by_width(width, spread, designs).mean() > 0.95


def test_stars_that_scatter_more_than_their_errors_are_kept():
    width, spread, designs = drawn(7, stars=200, galaxies=20, least=0.12, own=0.015)
    chosen = stars_by_width(width, spread, designs)
    assert chosen[:200].mean() > 0.9
    assert np.count_nonzero(chosen[200:]) <= 1


def test_a_handful_is_compared_without_regard_to_the_place():
    width = np.array([0.01, -0.01, 0.0, 0.3])
    u = np.array([-0.5, 0.5, 0.0, 0.2])
    designs = [place_terms(u, u, count) for count in (1, 3)]
    chosen = stars_by_width(width, np.full(4, 1e-4), designs)
    assert chosen.tolist() == [True, True, True, False]


def test_stars_on_a_steep_and_curved_surface_are_found_in_any_direction():
    """Without a slope to begin with, galaxies of one side were taken in some of these scenes."""
    stars, galaxies = 60, 70
    for seed in range(40):
        rng = np.random.default_rng(seed)
        u, v = rng.uniform(-1, 1, (2, stars + galaxies))
        angle = rng.uniform(0, 2 * np.pi)
        width = 0.13 * (np.cos(angle) * u + np.sin(angle) * v)
        width += 0.06 * u**2 + 0.05 * v**2 + 0.02 * u * v
        error = 10 ** rng.uniform(-2.2, np.repeat([-1.4, -1.7], [stars, galaxies]))
        width += rng.normal(0, error)
        width[stars:] += rng.uniform(0.03, 0.16, galaxies)
        designs = [place_terms(u, v, count) for count in (1, 3, 6, 10)]
        chosen = stars_by_width(width, error**2, designs)
        assert chosen[:stars].mean() > 0.7
        assert chosen[stars:].mean() < 0.25
