import numpy as np
import pytest

from firstlight.algorithms.photometry.zero_point import NotEnoughStars, References, fit_zero_point

TRUE = 27.3


def stars(rng, n=60, colour_term=0.0, intrinsic=0.02, outliers=0.0, faintest=15.5):
    mag = np.sort(10.0 + (faintest - 10.0) * np.sqrt(rng.random(n)))
    colour = rng.uniform(0.2, 1.8, n)
    expected = 10 ** (-0.4 * (mag - TRUE - colour_term * (colour - 1.0)))
    expected = expected * 10 ** (-0.4 * intrinsic * rng.standard_normal(n))
    error = np.sqrt(expected + 120.0**2)
    flux = expected + error * rng.standard_normal(n)
    mag_err = np.full(n, 0.015)
    listed = mag + mag_err * rng.standard_normal(n)
    wrong = rng.random(n) < outliers
    listed[wrong] += rng.uniform(-2.0, 2.0, wrong.sum())
    return flux, error, References(listed, mag_err, colour)


@pytest.mark.parametrize(("n", "outliers"), [(12, 0.0), (60, 0.0), (60, 0.15)])
def test_the_standard_error_is_honest(n, outliers):
    pulls = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        flux, error, references = stars(rng, n=n, outliers=outliers)
        fit = fit_zero_point(flux, error, References(references.mag, references.mag_err))
        pulls.append((fit.zero - TRUE) / fit.zero_err)
    assert abs(np.mean(pulls)) < 0.25
    assert np.std(pulls) == pytest.approx(1.0, abs=0.1 if n > 20 else 0.2)


def test_the_colour_term_and_its_error_are_honest():
    pulls = []
    for seed in range(200):
        flux, error, references = stars(np.random.default_rng(seed), n=50, colour_term=0.08)
        fit = fit_zero_point(flux, error, references)
        pulls.append((fit.colour_term - 0.08) / fit.colour_term_err)
    assert abs(np.mean(pulls)) < 0.25
    assert np.std(pulls) == pytest.approx(1.0, abs=0.12)


def test_magnitudes_come_back():
    flux, error, references = stars(np.random.default_rng(5), n=200, colour_term=0.08)
    fit = fit_zero_point(flux, error, references)
    back = fit.magnitude(flux, references.colour)
    bright = references.mag < 13
    assert np.median(np.abs(back - references.mag)[bright]) < 0.03
    assert np.isnan(fit.magnitude(np.array([-1.0, 0.0]))).all()


def test_intrinsic_scatter_is_found():
    found = [
        fit_zero_point(*stars(np.random.default_rng(s), n=150, intrinsic=0.05)).intrinsic
        for s in range(20)
    ]
    assert np.mean(found) == pytest.approx(0.05, abs=0.01)


def test_saturated_stars_do_not_drag_the_zero_point():
    flux, error, references = stars(np.random.default_rng(3), n=120)
    clean = fit_zero_point(flux, error, references)
    clipped = np.minimum(flux, np.sort(flux)[-15])
    fit = fit_zero_point(clipped, error, references)
    assert fit.zero == pytest.approx(TRUE, abs=4 * clean.zero_err)
    assert not fit.used[np.argsort(flux)[-5:]].any()


def test_faint_stars_lifted_by_noise_do_not_bias():
    biases = []
    for seed in range(60):
        flux, error, references = stars(np.random.default_rng(seed), n=300, faintest=21.5)
        seen = flux > 5 * error
        listed = References(references.mag[seen], references.mag_err[seen])
        biases.append(fit_zero_point(flux[seen], error[seen], listed).zero - TRUE)
    assert abs(np.mean(biases)) < 0.003


def test_a_gradient_over_the_image_is_taken_up():
    rng = np.random.default_rng(1)
    flux, error, references = stars(rng, n=200)
    x, y = rng.uniform(0, 2000, 200), rng.uniform(0, 1000, 200)
    tilted = flux * 10 ** (-0.4 * 2e-5 * (x - 1000))
    fit = fit_zero_point(tilted, error, references, position=(x, y))
    assert fit.gradient[0] == pytest.approx(-2e-5, abs=6e-6)
    assert fit.gradient[1] == pytest.approx(0.0, abs=1.2e-5)


def test_the_limiting_magnitude_is_where_the_ratio_is_reached():
    flux, error, references = stars(np.random.default_rng(2), n=300, faintest=20)
    fit = fit_zero_point(flux, error, references)
    limit = 10 ** (-0.4 * (fit.limiting_mag - fit.zero))
    assert limit / np.sqrt(limit + 120.0**2) == pytest.approx(5.0, rel=0.05)


@pytest.mark.parametrize("n", [0, 2])
def test_too_few_stars_is_said_so(n):
    flux, error, references = stars(np.random.default_rng(0), n=60)
    few = References(references.mag[:n], references.mag_err[:n])
    with pytest.raises(NotEnoughStars) as caught:
        fit_zero_point(flux[:n], error[:n], few)
    assert caught.value.code == "zero_point.too_few_stars"
    assert caught.value.found == str(n)


def test_stars_without_values_are_left_out():
    flux, error, references = stars(np.random.default_rng(0), n=60)
    flux[0], error[1], references.mag[2] = np.nan, 0.0, np.nan
    references.mag_err[3] = np.nan
    fit = fit_zero_point(flux, error, references)
    assert not fit.used[:3].any()
    assert np.isfinite(fit.zero_err)
