import numpy as np
import pytest
from injected_sky import make_sky
from scipy.ndimage import gaussian_filter, label, maximum_filter

from firstlight.algorithms.detector.calibrate import Detector, Masters, calibrate
from firstlight.algorithms.detector.cosmic_rays import find_cosmic_rays
from firstlight.algorithms.flags import Flag
from firstlight.errors import InvalidInput
from firstlight.simulation.transient_pair import PairSettings, simulate_pair

READ_NOISE = 7.0


def tracks(rng, shape, count):
    """Straight tracks with a little diffusion; electrons."""
    charge = np.zeros(shape)
    for _ in range(count):
        length, angle = rng.exponential(5) + 0.5, rng.uniform(0, 2 * np.pi)
        steps = max(int(4 * length), 1)
        along = (np.arange(steps) + 0.5) / steps * length
        y = np.rint(rng.uniform(0, shape[0]) + along * np.sin(angle)).astype(int)
        x = np.rint(rng.uniform(0, shape[1]) + along * np.cos(angle)).astype(int)
        each = 10 ** rng.uniform(2.3, 3.8) * length / steps * rng.gamma(4, 0.25, steps)
        inside = (y >= 0) & (y < shape[0]) & (x >= 0) & (x < shape[1])
        np.add.at(charge, (y[inside], x[inside]), each[inside])
    return gaussian_filter(charge, 0.35)


def hit_sky(seed, fwhm, sky, hits=150):
    scene = make_sky(seed, stars=400, fwhm=fwhm, beta=3.5, sky=sky, read_noise=0.0, snr=(3, 1000))
    rng = np.random.default_rng(seed + 50)
    charge = tracks(rng, scene.truth.shape, hits)
    raw = rng.poisson(scene.truth) + rng.poisson(charge) + rng.normal(0, READ_NOISE, charge.shape)
    return scene, charge, calibrate(raw, Detector(1.0, READ_NOISE))


@pytest.mark.parametrize(("fwhm", "sky"), [(1.6, 400.0), (2.5, 100.0), (4.0, 2000.0)])
def test_completeness_false_pixels_and_star_cores(fwhm, sky):
    pixels, objects, false, cores, bright_stars, marked = [], [], 0, 0, 0, 0
    for seed in range(3):
        scene, charge, image = hit_sky(seed, fwhm, sky)
        measured = np.hypot(fwhm, 0.68)  # with the pixel's width
        found = find_cosmic_rays(image.data, image.variance, image.flags, fwhm=measured).mask
        sigma = np.sqrt(scene.truth + READ_NOISE**2)
        pixels.append(found[charge > 5 * sigma])
        names, _ = label(charge > 2 * sigma, np.ones((3, 3)))
        wanted = np.unique(names[charge > 10 * sigma])
        objects.append(np.isin(wanted, np.unique(names[found])))
        false += np.count_nonzero(found & (charge < 2 * sigma))
        marked += np.count_nonzero(charge > 2 * sigma)
        x, y = np.rint(scene.x).astype(int), np.rint(scene.y).astype(int)
        star = (scene.snr > 20) & (x >= 0) & (y >= 0) & (x < 600) & (y < 600)
        clean = charge[y[star], x[star]] < 2 * sigma[y[star], x[star]]
        cores += np.count_nonzero(found[y[star], x[star]] & clean)
        bright_stars += np.count_nonzero(clean)
    # Sparing stars that fill one pixel costs hits that look like them.
    assert np.concatenate(pixels).mean() > (0.85 if fwhm < 2 else 0.9)
    assert np.concatenate(objects).mean() > (0.95 if fwhm < 2 else 0.97)
    assert false < 0.03 * marked
    assert cores <= 0.01 * bright_stars


def test_stars_alone_are_left_alone_down_to_extreme_undersampling():
    for fwhm in (1.3, 1.6, 2.0, 3.0):
        scene = make_sky(3, stars=500, fwhm=fwhm, snr=(20, 2000))
        found = find_cosmic_rays(scene.data, scene.variance, fwhm=fwhm)
        x, y = np.rint(scene.x).astype(int), np.rint(scene.y).astype(int)
        inside = (x >= 0) & (y >= 0) & (x < 600) & (y < 600)
        assert np.count_nonzero(found.mask[y[inside], x[inside]]) <= 1, fwhm
        assert np.count_nonzero(found.mask) < 60


def test_cleaning_restores_the_sky():
    scene, _, image = hit_sky(7, 3.0, 500.0)
    found = find_cosmic_rays(image.data, image.variance, fwhm=3.0)
    faint = found.mask & (scene.truth < 510)
    assert faint.sum() > 200
    left = found.cleaned[faint] - scene.truth[faint]
    # Below the threshold, the flanks of a track still lend its neighbours a little charge.
    assert abs(np.median(left)) < 0.5 * np.sqrt(549)
    same = ~found.mask
    np.testing.assert_array_equal(found.cleaned[same], image.data[same])


def test_masked_pixels_are_bridged_and_never_flagged():
    scene = make_sky(8, stars=50)
    data = scene.data.copy()
    flags = np.zeros(data.shape, dtype=np.uint16)
    data[100:300, 250] = 0.0
    flags[100:300, 250] = Flag.NO_DATA
    data[400, 400] = np.nan
    data[450:456, 450:456] = 60000
    flags[450:456, 450:456] = Flag.SATURATED
    found = find_cosmic_rays(data, scene.variance, flags, fwhm=3.0)
    assert not found.mask[95:305, 245:256].any()
    assert not found.mask[395:406, 395:406].any()
    assert not found.mask[448:458, 448:458].any()


def test_hits_at_the_border_are_found():
    scene = make_sky(9, stars=20)
    for at in ((0, 100), (599, 200), (300, 0), (310, 599), (0, 0)):
        scene.data[at] += 5000
    found = find_cosmic_rays(scene.data, scene.variance, fwhm=3.0)
    assert [bool(found.mask[at]) for at in ((0, 100), (599, 200), (300, 0), (310, 599))] == [
        True
    ] * 4


@pytest.mark.parametrize("middle", [-1.0, -0.4, 0.0, 0.5])
def test_a_star_on_the_border_is_no_hit(middle):
    """Half of it is seen, and what is beyond the border must not make it sharper."""
    y, x = np.mgrid[:60, :200]
    light = np.zeros(y.shape)
    for number, column in enumerate(range(15, 200, 17)):
        off = np.hypot(y - middle, x - column - 0.1 * number)
        light += 3e5 / 22 * (1 + (off / 3.0) ** 2) ** -3.5
    variance = light + 500.0
    data = light + np.sqrt(variance) * np.random.default_rng(3).standard_normal(light.shape)
    found = find_cosmic_rays(data, variance, fwhm=2.8, sky=0.0).mask
    assert not found.any()


def test_small_and_ill_fitting_images():
    tiny = find_cosmic_rays(np.zeros((4, 9), np.float32), np.ones((4, 9), np.float32))
    assert not tiny.mask.any()
    with pytest.raises(InvalidInput, match="variance"):
        find_cosmic_rays(np.zeros((20, 20), np.float32), np.ones((20, 19), np.float32))


def test_input_is_not_changed():
    scene = make_sky(10, stars=20)
    scene.data[50, 50] += 9000
    before = scene.data.copy()
    assert find_cosmic_rays(scene.data, scene.variance, fwhm=3.0).mask[50, 50]
    np.testing.assert_array_equal(scene.data, before)


@pytest.mark.parametrize(
    ("seed", "changes"), [(71, {}), (72, {"fwhm": 2.5, "reference_fwhm": 2.5}), (73, {"fwhm": 6.0})]
)
def test_hits_on_a_crowded_field_are_found_whole_and_its_stars_are_spared(seed, changes):
    pair = simulate_pair(PairSettings.of_size(640, 640, seed=seed, cosmic_rays=150, **changes))
    image = calibrate(pair.raw, Detector(4.0, 7.1), Masters(bias=pair.bias, flat=pair.flat))
    found = find_cosmic_rays(
        image.data, image.variance, pair.new.flags, fwhm=np.hypot(pair.settings.fwhm, 0.68)
    ).mask
    usable = pair.new.flags == 0
    share = pair.charge / np.sqrt(pair.new.variance)
    names, _ = label(share > 2, np.ones((3, 3)))
    wanted = np.unique(names[(share > 10) & usable])
    false = found & usable & (maximum_filter(names, 3) == 0)
    assert found[(share > 5) & usable].mean() > 0.9
    assert np.isin(wanted, names[found]).sum() >= wanted.size - 2
    assert false.sum() < 0.03 * (share > 2).sum()
    x, y = np.rint(pair.stars.x).astype(int), np.rint(pair.stars.y).astype(int)
    inside = (pair.stars.flux > 5000) & (x >= 0) & (y >= 0) & (x < 640) & (y < 640)
    assert inside.sum() > 50
    assert not maximum_filter(false, 3)[y[inside], x[inside]].any()


def test_a_hit_on_a_bright_star_does_not_take_its_core():
    scene = make_sky(12, stars=40, fwhm=4.0, snr=(150, 400))
    struck, far = 0, 0
    for x, y in np.rint(np.stack([scene.x, scene.y], axis=1)).astype(int):
        if 20 < x < 580 and 20 < y < 580:
            scene.data[y - 2, x - 1 : x + 3] += 60 * np.sqrt(scene.variance[y, x])
            found = find_cosmic_rays(
                scene.data[y - 20 : y + 21, x - 20 : x + 21],
                scene.variance[y - 20 : y + 21, x - 20 : x + 21],
                fwhm=4.0,
                sky=400.0,
            ).mask
            struck += np.count_nonzero(found[18, 19:23])
            far += np.count_nonzero(found[20:])
    assert struck > 60
    assert far <= 3


def test_the_sky_may_be_given_or_taken_off():
    image = hit_sky(11, 3.0, 500.0)[2]
    given = find_cosmic_rays(image.data, image.variance, fwhm=3.0, sky=500.0)
    off = find_cosmic_rays(image.data - np.float32(500.0), image.variance, fwhm=3.0, sky=0.0)
    own = find_cosmic_rays(image.data, image.variance, fwhm=3.0)
    np.testing.assert_array_equal(given.mask, off.mask)
    assert np.count_nonzero(given.mask != own.mask) < 0.02 * np.count_nonzero(own.mask)


def test_pixels_below_the_sky_make_no_hits_of_their_neighbours():
    scene = make_sky(13, stars=20)
    scene.data[100:500, 300] -= 200.0
    scene.data[50:550:25, 50] = 0.0
    found = find_cosmic_rays(scene.data, scene.variance, fwhm=3.0).mask
    assert np.count_nonzero(found[:, 297:304]) <= 8
    assert np.count_nonzero(found[:, 47:54]) <= 2
