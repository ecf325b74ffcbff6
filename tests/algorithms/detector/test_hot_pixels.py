import numpy as np
import pytest
from injected_sky import make_sky
from scipy.ndimage import median_filter

from firstlight.algorithms.detector.hot_pixels import (
    dead_pixels_from_flat,
    hot_pixels_from_dark,
    hot_pixels_from_frame,
    hot_pixels_from_sequence,
)
from firstlight.errors import InvalidInput


def some_pixels(rng, shape, count):
    mask = np.zeros(shape, dtype=bool)
    mask[rng.integers(4, shape[0] - 4, count), rng.integers(4, shape[1] - 4, count)] = True
    return mask


def test_hot_pixels_of_a_dark():
    rng = np.random.default_rng(1)
    dark = rng.normal(0.1, 0.01, (300, 400))
    truth = some_pixels(rng, dark.shape, 200)
    dark[truth] += rng.uniform(0.2, 50, truth.sum())
    found = hot_pixels_from_dark(dark)
    assert found[truth].mean() > 0.98
    assert np.count_nonzero(found & ~truth) <= 2


def test_dead_pixels_of_a_vignetted_flat():
    rng = np.random.default_rng(2)
    y, x = np.indices((300, 400))
    flat = 1.2 - 0.8 * ((x - 200) ** 2 + (y - 150) ** 2) / 250**2
    flat *= rng.normal(1, 0.01, flat.shape)
    truth = some_pixels(rng, flat.shape, 100)
    flat[truth] *= rng.uniform(0, 0.5, truth.sum())
    flat[10, 10] = np.nan
    truth[10, 10] = True
    np.testing.assert_array_equal(dead_pixels_from_flat(flat), truth)


def test_dead_pixels_are_those_that_the_median_around_them_tells():
    rng = np.random.default_rng(3)
    flat = rng.normal(1, 0.3, (60, 90)).astype(np.float32)
    flat[rng.uniform(size=flat.shape) < 0.02] = np.nan
    flat[20:32, 40:55] = 0.0
    around = median_filter(np.where(np.isfinite(flat), flat, 0.0), 7, mode="reflect")
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = flat / around
        expected = ~((ratio >= 0.6) & (ratio <= 1.4))
    assert 0.1 < expected.mean() < 0.5
    np.testing.assert_array_equal(dead_pixels_from_flat(flat), expected)


@pytest.mark.parametrize("fwhm", [1.5, 2.0, 3.0])
def test_one_frame_spares_undersampled_stars(fwhm):
    sky = make_sky(3, stars=400, fwhm=fwhm, snr=(10, 1000))
    rng = np.random.default_rng(4)
    truth = some_pixels(rng, sky.data.shape, 100)
    alone = truth & (sky.truth < 402)
    sky.data[truth] += 2000
    found = hot_pixels_from_frame(sky.data, fwhm)
    assert found[alone].mean() > 0.95
    x, y = np.rint(sky.x).astype(int), np.rint(sky.y).astype(int)
    star = (x >= 0) & (x < 600) & (y >= 0) & (y < 600)
    star[star] = ~truth[y[star], x[star]]
    assert np.count_nonzero(found[y[star], x[star]]) == 0
    assert np.count_nonzero(found & ~truth) <= 2


def drifting(count, hot, step=3, fwhm=1.5):
    sky = make_sky(5, shape=(300, 300 + step * count), stars=500, fwhm=fwhm, snr=(5, 1000))
    rng = np.random.default_rng(6)
    for k in range(count):
        view = sky.truth[:, k * step : k * step + 300] + hot
        yield (rng.poisson(view) + rng.normal(0, 5, view.shape)).astype(np.uint16)


def test_a_sequence_of_a_drifting_field():
    rng = np.random.default_rng(7)
    truth = some_pixels(rng, (300, 300), 60)
    hot = np.where(truth, rng.uniform(45, 3000, truth.shape), 0.0)
    found = hot_pixels_from_sequence(drifting(20, hot))
    assert found.frames == 20
    assert found.hot[truth].mean() > 0.95
    assert np.count_nonzero(found.hot & ~truth) <= 2
    assert np.count_nonzero(found.cold) <= 2


def test_a_short_or_ragged_sequence_is_refused():
    with pytest.raises(InvalidInput, match="five"):
        hot_pixels_from_sequence([np.zeros((9, 9))] * 4)
    with pytest.raises(InvalidInput, match="shape"):
        hot_pixels_from_sequence([np.zeros((9, 9)), np.zeros((9, 8))])


@pytest.mark.sample
def test_real_night_has_hot_pixels_that_are_not_stars(samples):
    from astropy.io import fits  # noqa: PLC0415 # only this test reads files

    paths = sorted((samples / "hatp32_microobs").glob("*.FITS"))
    half = len(paths) // 2
    maps = [
        hot_pixels_from_sequence(np.asarray(fits.getdata(p)) for p in part)
        for part in (paths[:half], paths[half:])
    ]
    early, late = (found.hot for found in maps)
    assert early.sum() > 20
    # The two halves of the night see other stars on the same pixels, and agree.
    assert np.count_nonzero(early & late) > 0.7 * min(early.sum(), late.sum())
