"""The zero point over a field: coefficients, covariance, and what it does not know."""

from __future__ import annotations

import numpy as np
import pytest

from firstlight.algorithms.photometry.field_calibration import fit_field
from firstlight.algorithms.photometry.zero_point import NotEnoughStars, References

SHAPE = (600, 900)


def stars(seed, *, count=80, term=0.0, slope=(0.0, 0.0), bend=0.0, scatter=0.0, outliers=0):
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, SHAPE[1], count), rng.uniform(0, SHAPE[0], count)
    mag, colour = rng.uniform(12, 16, count), rng.normal(0.8, 0.4, count)
    u, v = (x - 449.5) / 450, (y - 299.5) / 300
    zero = 25.0 + slope[0] * u + slope[1] * v + bend * u * u
    flux = 10 ** (-0.4 * (mag - zero - term * (colour - 0.8)))
    error = np.sqrt(flux + 100.0**2)
    noise = rng.normal(0, 0.01, count) + rng.normal(0, scatter, count)
    seen = mag + noise
    seen[:outliers] -= rng.uniform(0.5, 1.5, outliers)
    references = References(seen, np.full(count, 0.01), colour)
    return flux + rng.normal(0, error), error, references, (x, y)


def test_terms_are_found_within_their_errors():
    pulls = []
    for seed in range(60):
        fit = fit_field(*stars(seed, term=0.12, slope=(0.05, -0.03)), SHAPE, order=1)
        middle = fit.predict(449.5, 299.5, colour=0.8)
        corner = fit.predict(890.0, 10.0, colour=1.6)
        expected = 25.0 + 0.05 * 440.5 / 450 + 0.03 * 289.5 / 300 + 0.12 * 0.8
        pulls.append(
            [
                (fit.colour_term - 0.12) / fit.colour_term_err,
                (middle.zero - 25.0) / middle.fit_error,
                (corner.zero - expected) / corner.fit_error,
            ]
        )
    pull = np.array(pulls)
    assert (np.abs(pull.mean(axis=0)) < 0.4).all()
    assert ((pull.std(axis=0) > 0.75) & (pull.std(axis=0) < 1.25)).all()


def test_errors_grow_away_from_the_stars_and_their_colours():
    fit = fit_field(*stars(1, term=0.1), SHAPE, order=1)
    near, far = fit.predict(449.5, 299.5, 0.8), fit.predict(899.0, 599.0, 0.8)
    red = fit.predict(449.5, 299.5, 3.0)
    assert near.fit_error < far.fit_error
    assert near.fit_error < red.fit_error


def test_an_unknown_colour_adds_what_colours_do():
    fit = fit_field(*stars(2, term=0.2), SHAPE)
    known, unknown = fit.predict(400, 300, 0.8), fit.predict(400, 300)
    assert known.colour_error == 0
    assert unknown.colour_error == pytest.approx(0.2 * 0.4, rel=0.25)
    assert unknown.error > known.error
    roughly = fit.predict(400, 300, 0.8, 0.1)
    assert roughly.colour_error == pytest.approx(0.02, rel=0.2)


@pytest.mark.parametrize(
    ("truth", "order"), [({}, 0), ({"slope": (0.1, 0.05)}, 1), ({"bend": 0.2}, 2)]
)
def test_the_order_is_what_the_stars_justify(truth, order):
    found = [fit_field(*stars(seed, **truth), SHAPE).order for seed in range(20)]
    assert np.mean(np.array(found) == order) >= 0.8


def test_scatter_beyond_the_errors_counts_where_there_is_evidence():
    quiet = [fit_field(*stars(seed), SHAPE) for seed in range(20)]
    loud = fit_field(*stars(3, scatter=0.05), SHAPE)
    assert np.median([fit.predict(400, 300, 0.8).scatter for fit in quiet]) == 0.0
    assert loud.significant
    assert loud.predict(400, 300, 0.8).scatter == pytest.approx(0.05, rel=0.3)


def test_outliers_and_excluded_stars_do_not_inform():
    flux, error, references, places = stars(4, outliers=8)
    excluded = np.zeros(80, bool)
    excluded[8:12] = True
    flux[8:12] *= 0.3
    fit = fit_field(flux, error, references, places, SHAPE, excluded=excluded)
    assert not fit.used[:12].any()
    assert fit.predict(449.5, 299.5, 0.8).zero == pytest.approx(25.0, abs=0.01)


def test_without_colours_there_is_no_term():
    flux, error, references, places = stars(5, term=0.1)
    bare = fit_field(flux, error, References(references.mag, references.mag_err), places, SHAPE)
    off = fit_field(flux, error, references, places, SHAPE, colour_term=False)
    assert bare.colour_term is None
    assert off.colour_term is None
    assert bare.predict(1, 1).colour_error == 0
    assert bare.zero(np.zeros((3, 2)), np.zeros((3, 2))).shape == (3, 2)


def test_too_few_stars():
    flux, error, references, places = stars(6, count=2)
    with pytest.raises(NotEnoughStars):
        fit_field(flux, error, references, places, SHAPE)
    few = stars(6, count=4)
    with pytest.raises(NotEnoughStars):
        fit_field(*few, SHAPE, order=2)
