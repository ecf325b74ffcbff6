import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from injected_sky import make_sky

from firstlight.algorithms.flags import Flag
from firstlight.algorithms.sources.aperture import aperture_fluxes
from firstlight.errors import InvalidInput

FWHM = 3.0
WIDE = 4 * FWHM / 2.3548  # 4 sigma holds 99.97 % of a Gaussian


def inside(sky, margin=25):
    ny, nx = sky.data.shape
    return (sky.x > margin) & (sky.x < nx - margin) & (sky.y > margin) & (sky.y < ny - margin)


@settings(max_examples=60, deadline=None)
@given(x=st.floats(15, 25), y=st.floats(15, 25), radius=st.floats(0.05, 14), size=st.just(41))
def test_area_is_that_of_the_circle(x, y, radius, size):
    result = aperture_fluxes(np.ones((size, size), dtype=np.float32), x, y, radius)
    assert result.flux[0, 0] == pytest.approx(np.pi * radius**2, rel=1e-6)


def test_flux_is_unbiased_and_its_error_honest():
    ratios, pulls = [], []
    for seed in range(6):
        sky = make_sky(seed, stars=220, fwhm=FWHM, snr=(5, 300))
        good = inside(sky)
        result = aperture_fluxes(sky.data - 400, sky.x, sky.y, [2.0, WIDE], variance=sky.variance)
        flux, error = result.flux[good, 1], result.error[good, 1]
        pulls.append((flux - sky.flux[good]) / error)
        bright = sky.snr[good] > 50
        ratios.append((flux / sky.flux[good])[bright])
    ratios = np.concatenate(ratios)
    assert ratios.size > 200
    assert np.median(ratios) == pytest.approx(1, abs=0.005)
    assert ratios.mean() == pytest.approx(1, abs=0.005)
    assert np.concatenate(pulls).std() == pytest.approx(1.0, abs=0.1)


def test_local_sky_is_subtracted_with_its_error():
    pulls, spreads = [], []
    for seed in range(6):
        sky = make_sky(seed, stars=150, fwhm=FWHM, snr=(5, 300))
        good = inside(sky)
        result = aperture_fluxes(
            sky.data, sky.x, sky.y, WIDE, variance=sky.variance, annulus=(8, 11)
        )
        pulls.append((result.flux[good, 0] - sky.flux[good]) / result.error[good, 0])
        assert result.sky[good].mean() == pytest.approx(400, abs=0.6)
        spreads.append((result.sky[good] - 400) / result.sky_error[good])
    pulls = np.concatenate(pulls)
    assert np.concatenate(spreads).std() == pytest.approx(1.0, abs=0.08)
    assert pulls.std() == pytest.approx(1.0, abs=0.1)
    assert abs(pulls.mean()) < 0.2


def test_a_masked_pixel_takes_its_mirror_image():
    sky = make_sky(3, shape=(200, 200), stars=9, snr=(200, 300))
    flags = np.zeros(sky.data.shape, dtype=np.uint16)
    image = (sky.truth - 400).astype(np.float32)
    whole = aperture_fluxes(image, sky.x, sky.y, WIDE)
    broken = image.copy()
    for x, y in zip(sky.x, sky.y, strict=True):
        at = round(y), round(x) + 2
        flags[at] = Flag.COSMIC_RAY
        broken[at] = 1e6
    healed = aperture_fluxes(broken, sky.x, sky.y, WIDE, flags=flags)
    np.testing.assert_allclose(healed.flux, whole.flux, rtol=0.02)
    assert (healed.flags == Flag.COSMIC_RAY).all()
    assert (healed.masked == 0).all()


def test_losing_most_of_the_circle_gives_no_flux():
    image = np.ones((50, 50), dtype=np.float32)
    flags = np.zeros((50, 50), dtype=np.uint16)
    flags[20:31, 20:31] = Flag.BAD
    result = aperture_fluxes(image, 25, 25, [3, 20], flags=flags)
    assert np.isnan(result.flux[0, 0])
    assert result.flux[0, 1] == pytest.approx(np.pi * 400, rel=1e-3)
    assert 0.05 < result.masked[0, 1] < 0.15


def test_saturated_pixels_are_summed_and_flagged():
    image = np.ones((21, 21), dtype=np.float32)
    flags = np.zeros((21, 21), dtype=np.uint16)
    flags[10, 10] = Flag.SATURATED
    result = aperture_fluxes(image, 10, 10, [3], flags=flags)
    assert result.flux[0, 0] == pytest.approx(9 * np.pi)
    assert result.flags[0, 0] == Flag.SATURATED


def test_edges_and_positions_outside():
    image = np.ones((30, 40), dtype=np.float32)
    x = [2.0, 39.0, 20.0, -50.0, np.nan, 1e12]
    y = [15.0, 15.0, 15.0, 15.0, 15.0, 15.0]
    result = aperture_fluxes(image, x, y, [1, 5], annulus=(6, 9))
    assert np.isnan(result.flux[:, 1]).tolist() == [True, True, False, True, True, True]
    assert np.isfinite(result.flux[0, 0])
    assert ((result.flags[:, 1] & Flag.EDGE) != 0).tolist() == [
        True, True, False, True, True, True,
    ]  # fmt: skip


def test_no_positions_is_an_empty_answer():
    result = aperture_fluxes(np.ones((30, 40), dtype=np.float32), [], [], [1, 2])
    assert result.flux.shape == (0, 2)


@pytest.mark.parametrize(
    "wrong", [{"radii": []}, {"radii": [0.0]}, {"radii": [2], "annulus": (5, 4)}]
)
def test_impossible_apertures_are_refused(wrong):
    with pytest.raises(InvalidInput):
        aperture_fluxes(np.ones((9, 9), dtype=np.float32), 4, 4, **wrong)
