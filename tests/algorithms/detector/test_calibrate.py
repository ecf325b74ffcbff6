import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from injected_sky import make_sky

from firstlight.algorithms.detector.calibrate import (
    Detector,
    Masters,
    ShapeMismatch,
    calibrate,
    overscan_level,
)
from firstlight.algorithms.flags import Flag
from firstlight.errors import InvalidInput

GAIN, READ_NOISE = 1.6, 5.0


def vignetting(shape):
    y, x = np.indices(shape)
    r2 = (x / shape[1] - 0.5) ** 2 + (y / shape[0] - 0.5) ** 2
    flat = 1 - 0.9 * r2
    return (flat / flat.mean()).astype(np.float32)


@pytest.mark.parametrize(
    ("sky", "read_noise"), [(0.0, 5.0), (2.0, 3.0), (20.0, 4.0), (300.0, 7.0), (3000.0, 7.0)]
)
def test_chi_square_per_pixel_is_one(sky, read_noise):
    chi2 = []
    for seed in range(4):
        flat = vignetting((512, 512))
        scene = make_sky(seed, shape=(512, 512), stars=60, sky=sky, read_noise=0.0)
        rng = np.random.default_rng(100 + seed)
        collected = rng.poisson(scene.truth * flat) + rng.normal(0, read_noise, flat.shape)
        raw = collected / GAIN + 1000
        image = calibrate(raw, Detector(GAIN, read_noise), Masters(flat=flat), overscan=1000.0)
        chi2.append(((image.data - scene.truth) ** 2 / image.variance).mean())
    assert np.mean(chi2) == pytest.approx(1.0, abs=0.02)


def test_stars_have_honest_errors_too():
    mine, exact = [], []
    for seed in range(3):
        scene = make_sky(seed, stars=300, snr=(20, 300), read_noise=0.0)
        rng = np.random.default_rng(seed)
        raw = rng.poisson(scene.truth) + rng.normal(0, READ_NOISE, scene.truth.shape)
        image = calibrate(raw, Detector(1.0, READ_NOISE))
        on_star = scene.truth > 600
        square = ((image.data - scene.truth) ** 2)[on_star]
        mine.append(square / image.variance[on_star])
        exact.append(square / (scene.truth[on_star] + READ_NOISE**2))
    mine, exact = np.concatenate(mine), np.concatenate(exact)
    assert mine.size > 5000
    assert mine.mean() == pytest.approx(exact.mean(), abs=0.04)


def test_bias_dark_flat_and_gain_are_undone():
    rng = np.random.default_rng(1)
    shape = (64, 80)
    flat, bias = vignetting(shape), rng.normal(300, 5, shape).astype(np.float32)
    dark = rng.uniform(0, 2, shape).astype(np.float32)
    signal = rng.uniform(100, 1000, shape)
    raw = (signal * flat + dark * 30) / GAIN + bias + 1000
    image = calibrate(
        raw,
        Detector(GAIN, READ_NOISE),
        Masters(bias=bias, dark=dark, flat=flat),
        overscan=1000.0,
        exposure_time=30.0,
    )
    np.testing.assert_allclose(image.data, signal, rtol=2e-5)
    in_adu = calibrate(
        raw,
        Detector(GAIN, READ_NOISE),
        Masters(bias=bias, dark=dark / np.float32(GAIN), flat=flat, dark_unit="adu/s"),
        overscan=1000.0,
        exposure_time=30.0,
    )
    np.testing.assert_allclose(in_adu.data, image.data, rtol=1e-5)


def test_errors_of_masters_enter_the_variance():
    shape = (40, 40)
    raw = np.full(shape, 2000.0)
    plain = calibrate(raw, Detector(GAIN, READ_NOISE))
    assert plain.variance.mean() == pytest.approx(READ_NOISE**2 + 2000 * GAIN, rel=1e-4)
    full = calibrate(
        raw,
        Detector(GAIN, READ_NOISE),
        Masters(
            dark=np.zeros(shape),
            bias_variance=np.full(shape, 4.0),
            dark_variance=np.full(shape, 0.01),
            flat_variance=np.full(shape, 1e-4),
        ),
        exposure_time=60.0,
    )
    expected = 2000 * GAIN + 25 + GAIN**2 * 4 + 3600 * 0.01 + (2000 * GAIN) ** 2 * 1e-4
    assert full.variance.mean() == pytest.approx(expected, rel=1e-4)


def test_saturation_is_judged_on_raw_values_and_grows():
    raw = np.full((30, 30), 1000, dtype=np.uint16)
    raw[10, 12] = 60000
    raw[20, 5] = 50001
    image = calibrate(
        raw,
        Detector(saturation=60000, linear_limit=50000, saturation_growth=2),
        Masters(bias=np.full((30, 30), 500.0)),
    )
    saturated = image.flags & Flag.SATURATED != 0
    assert np.argwhere(saturated).tolist() == [[10, 12]]
    bleed = image.flags & Flag.BLEED != 0
    assert bleed.sum() == 12
    assert not (bleed & saturated).any()
    assert np.argwhere(image.flags & Flag.NONLINEAR != 0).tolist() == [[10, 12], [20, 5]]


def test_pixels_without_a_value():
    raw = np.full((16, 16), 100.0)
    raw[3, 4] = np.nan
    flat = np.ones((16, 16))
    flat[8, 9] = 0.01
    flat[8, 10] = np.nan
    bad = np.zeros((16, 16), dtype=bool)
    bad[1, 1] = True
    image = calibrate(raw, Detector(2.0, 3.0), Masters(flat=flat, bad=bad))
    assert image.flags[3, 4] == Flag.NO_DATA
    assert image.flags[8, 9] == image.flags[8, 10] == Flag.LOW_FLAT
    assert image.flags[1, 1] == Flag.BAD
    lost = ~np.isfinite(image.variance)
    assert np.argwhere(lost).tolist() == [[3, 4], [8, 9], [8, 10]]
    assert (image.data[lost] == 0).all()
    assert (image.data[~lost] == 200).all()
    assert np.count_nonzero(image.flags) == 4


def test_data_section_trims_everything():
    rng = np.random.default_rng(3)
    raw = rng.integers(900, 1100, (50, 70)).astype(np.uint16)
    section = np.s_[5:45, 10:60]
    bias = rng.normal(0, 3, raw.shape)
    level = overscan_level(raw, np.s_[:, 60:70], along="rows")
    image = calibrate(raw, Detector(), Masters(bias=bias), overscan=level, data_section=section)
    assert image.data.shape == (40, 50)
    expected = (raw - level.level - bias)[section]
    np.testing.assert_allclose(image.data, expected, atol=1e-3)
    trimmed = calibrate(
        raw, Detector(), Masters(bias=bias[section]), overscan=level, data_section=section
    )
    np.testing.assert_array_equal(trimmed.data, image.data)


@pytest.mark.parametrize("along", ["rows", "columns", "constant"])
def test_overscan_level_finds_a_fraction_of_an_adu(along):
    rng = np.random.default_rng(4)
    truth = 1000.3
    raw = np.rint(rng.normal(truth, 2.0, (400, 60)))
    raw[50:60, 5] = 60000  # a cosmic ray in the overscan
    level = overscan_level(raw, np.s_[:, :], along=along)
    assert level.level.mean() == pytest.approx(truth, abs=0.05)
    assert level.read_noise == pytest.approx(2.02, abs=0.1)
    pulls = (level.level - truth) / level.error
    assert abs(pulls).max() < 5
    if along == "rows":
        assert pulls.std() == pytest.approx(1.0, abs=0.15)
        assert level.level.shape == (400, 1)


def test_smoothing_overscan_reduces_its_error():
    rng = np.random.default_rng(5)
    drift = 1000 + 3 * np.sin(np.arange(500) / 80)
    raw = rng.normal(drift[:, None], 4.0, (500, 20))
    rough = overscan_level(raw, np.s_[:, :])
    fine = overscan_level(raw, np.s_[:, :], smooth=6)
    residual = fine.level[:, 0] - drift
    assert residual[20:-20].std() == pytest.approx(fine.error, rel=0.3)
    assert fine.error < 0.4 * rough.error


def test_an_empty_overscan_is_refused():
    with pytest.raises(InvalidInput):
        overscan_level(np.zeros((10, 10)), np.s_[:, 10:20])


def test_a_master_of_another_shape_is_refused():
    with pytest.raises(ShapeMismatch, match="bias"):
        calibrate(np.zeros((10, 10)), Detector(), Masters(bias=np.zeros((9, 10))))
    with pytest.raises(ShapeMismatch):
        calibrate(np.zeros((10, 10)), Detector(), Masters(bad=np.zeros((9, 10), dtype=bool)))


@settings(max_examples=30, deadline=None)
@given(
    ny=st.integers(1, 40),
    nx=st.integers(1, 40),
    dtype=st.sampled_from(["u2", ">i2", "f4", "f8", "i4", ">f4"]),
    seed=st.integers(0, 1000),
)
def test_any_real_type_and_shape_gives_finite_positive_variance(ny, nx, dtype, seed):
    rng = np.random.default_rng(seed)
    raw = rng.integers(0, 3000, (ny, nx)).astype(dtype)
    image = calibrate(raw, Detector(1.5, 4.0), overscan=500.0)
    assert image.data.shape == image.variance.shape == image.flags.shape == (ny, nx)
    np.testing.assert_allclose(image.data, (raw.astype("f8") - 500) * 1.5, rtol=1e-5)
    assert (image.variance >= 16).all()
    assert (image.flags == 0).all()


def test_two_amplifiers_with_their_own_gain():
    raw = np.full((20, 40), 1100.0)
    gain = np.where(np.arange(40) < 20, 1.0, 2.0)
    level = np.broadcast_to(np.where(np.arange(40) < 20, 1000.0, 1050.0), (20, 40))
    image = calibrate(raw, Detector(gain, np.where(np.arange(40) < 20, 2.0, 4.0)), overscan=level)
    assert (image.data == 100).all()
    assert image.variance[:, 0] == pytest.approx(104)
    assert image.variance[:, -1] == pytest.approx(116)
