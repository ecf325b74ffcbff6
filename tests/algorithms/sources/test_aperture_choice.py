import numpy as np

from firstlight.algorithms.sources.aperture_choice import choose_apertures


def field(rng, n=300):
    """Bright stars do best in aperture 3, faint ones in aperture 0."""
    mag = rng.uniform(10, 16, n)
    best = np.interp(mag, [10, 16], [3.0, 0.0])
    scatter = 0.005 * np.exp(0.08 * (np.arange(5) - best[:, None]) ** 2)
    return mag, scatter * np.exp(0.03 * rng.standard_normal((n, 5)))


def test_bright_stars_get_wide_apertures_and_faint_ones_narrow():
    mag, scatter = field(np.random.default_rng(0))
    chosen = choose_apertures(mag, scatter)
    assert abs(chosen[mag < 10.8] - 3).max() <= 1
    assert abs(chosen[mag > 15.2]).max() <= 1


def test_a_star_has_no_vote_on_itself():
    mag, scatter = field(np.random.default_rng(1))
    before = choose_apertures(mag, scatter)
    for i in (3, 57, 200):
        changed = scatter.copy()
        changed[i] = changed[i, ::-1] * [1e-3, 1, 1, 1, 1]
        assert choose_apertures(mag, changed)[i] == before[i]


def test_the_widest_of_equals_wins():
    mag = np.linspace(10, 14, 40)
    scatter = np.tile([0.02, 0.01, 0.01, 0.01, 0.02], (40, 1))
    assert (choose_apertures(mag, scatter) == 3).all()


def test_without_votes_the_middle_aperture_is_taken():
    assert choose_apertures(np.array([12.0, np.nan]), np.full((2, 3), np.nan)).tolist() == [1, 1]
