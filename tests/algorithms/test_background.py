import numpy as np
import pytest
from injected_sky import make_sky

from firstlight.algorithms.background import estimate_background, mesh_size
from firstlight.errors import InvalidInput


def test_level_and_noise_of_a_starry_sky():
    level, noise = [], []
    for seed in range(4):
        sky = make_sky(seed, stars=150, sky=400.0)
        found = estimate_background(sky.data)
        level.append(np.median(found.level) - 400)
        noise.append(found.median_rms / np.sqrt(425))
    assert np.mean(level) == pytest.approx(0, abs=0.02 * np.sqrt(425))
    assert np.mean(noise) == pytest.approx(1, abs=0.02)


def test_pure_noise_has_its_own_scatter():
    rng = np.random.default_rng(1)
    found = estimate_background(rng.normal(0, 10, (1024, 1024)))
    assert found.median_rms == pytest.approx(10, rel=0.005)
    assert abs(found.level.mean()) < 0.05


def test_strong_vignetting_is_followed():
    y, x = np.indices((768, 1024))
    truth = 3500 * (1 - 0.45 * ((x - 500) ** 2 + (y - 400) ** 2) / 640**2)
    data = truth + np.random.default_rng(2).normal(0, 60, truth.shape)
    found = estimate_background(data)
    error = found.level - truth
    assert abs(error).max() < 1.3 * 60  # in the corner, beyond the last cell's centre
    assert error.std() < 0.15 * 60
    assert found.median_rms == pytest.approx(60, rel=0.03)


def test_masked_and_missing_pixels_do_not_count():
    rng = np.random.default_rng(3)
    data = rng.normal(100, 5, (300, 300)).astype(np.float32)
    mask = np.zeros(data.shape, dtype=bool)
    data[100:200, 100:200] += 5000
    mask[100:200, 100:200] = True
    data[0:3] = np.nan
    found = estimate_background(data, mask)
    assert np.isfinite(found.level).all()
    assert abs(found.level - 100).max() < 3
    assert found.median_rms == pytest.approx(5, rel=0.03)


def test_noise_of_a_nebula_is_never_near_zero():
    y, x = np.indices((256, 256))
    glow = 1e5 * np.exp(-((x - 128) ** 2 + (y - 128) ** 2) / 2 / 10**2)
    data = 10 + glow + np.random.default_rng(4).normal(0, 3, glow.shape)
    found = estimate_background(data)
    assert found.rms.min() >= 0.09 * found.median_rms
    assert found.rms.min() > 0


@pytest.mark.parametrize("shape", [(20, 20), (5, 200), (33, 70)])
def test_small_images_work(shape):
    data = np.random.default_rng(5).normal(50, 2, shape)
    found = estimate_background(data)
    assert found.level.shape == shape
    assert found.median_level == pytest.approx(50, abs=1.5)


def test_nothing_to_see_is_refused():
    with pytest.raises(InvalidInput):
        estimate_background(np.full((50, 50), np.nan))
    with pytest.raises(InvalidInput):
        estimate_background(np.zeros((50, 50)), np.ones((50, 50), dtype=bool))


def test_cells_suit_the_image_and_the_stars():
    assert mesh_size((500, 650)) == 32
    assert mesh_size((2048, 4096)) == 128
    assert mesh_size((768, 1024)) == 48
    assert mesh_size((500, 650), fwhm=10) == 100


@pytest.mark.sample
def test_real_vignetted_frames_are_flat_afterwards(samples):
    from PIL import Image  # noqa: PLC0415 # only this test reads pictures

    frames = sorted((samples / "tetra3_wide").glob("*.tiff"))
    assert frames
    for path in frames:
        data = np.asarray(Image.open(path), dtype=np.float32)
        found = estimate_background(data)
        left = data - found.level
        blocks = [np.median(part) for part in np.array_split(left.ravel(), 40)]
        assert max(np.abs(blocks)) < 0.5 * found.median_rms
