"""Real frames of five cameras: solved rightly, or refused with the reason."""

from pathlib import Path

import numpy as np
import pytest
import sep
from astropy.io import fits
from PIL import Image
from scipy.ndimage import gaussian_filter
from star_fields import TYCHO2, stars_near

from firstlight.algorithms.plate.plate_solve import NotSolved, PlateSolution, Prior, plate_solve
from firstlight.algorithms.plate.registration import Registration, register
from firstlight.algorithms.sky.sky_index import angular_separation
from firstlight.catalogs.quad_index import quad_index

pytestmark = [pytest.mark.sample, pytest.mark.slow]

HAT_P_32 = 31.042833, 46.687833
CYGNUS = 303.211, 46.0195


@pytest.fixture(scope="module")
def sky(request) -> object:
    """The index of the whole sky, kept between runs in pytest's own cache."""
    return quad_index(TYCHO2, cache=Path(request.config.cache.mkdir("quads")))


def detections(image, *, smoothed=0.0, minarea=5):
    """Windowed centroids of what sep finds."""
    pixels = np.ascontiguousarray(image, np.float32)
    if smoothed:
        pixels = gaussian_filter(pixels, smoothed)
    background = sep.Background(pixels)
    pixels = pixels - background.back()
    found = sep.extract(pixels, 5.0, err=background.globalrms, minarea=minarea)
    x, y, _ = sep.winpos(pixels, found["x"], found["y"], 0.5 * np.maximum(found["a"], 0.8))
    settled = np.hypot(x - found["x"], y - found["y"]) < 1.5
    x, y = np.where(settled, x, found["x"]), np.where(settled, y, found["y"])
    return x, y, found["flux"], pixels.shape


def hatp32_frames(samples):
    frames = []
    for path in sorted((samples / "hatp32_microobs").glob("*.FITS")):
        with fits.open(path) as opened:
            header = opened[0].header
            frames.append((detections(opened[0].data), header["RA"], header["DEC"]))
    return frames


def assert_on_target(stars, answer):
    assert answer.rms <= 0.4
    assert answer.projection.pixel_scale == pytest.approx(5.164, abs=0.02)
    x, y = answer.projection.sky_to_pixel(*HAT_P_32)
    assert np.min(np.hypot(stars[0] - x, stars[1] - y)) < 1.0


def test_a_night_of_hot_pixels_and_drift(samples, sky):
    frames = hatp32_frames(samples)
    assert len(frames) == 71
    priors = {
        "hinted": lambda ra, dec: (Prior(ra, dec, 1.0, 4.7, 5.7), None),
        "blind": lambda ra, dec: (None, sky),
        "blind, scale known": lambda ra, dec: (Prior(scale_low=4.7, scale_high=5.7), sky),
    }
    for name, knowledge in priors.items():
        solved = 0
        for stars, ra, dec in frames:
            prior, index = knowledge(ra, dec)
            answer = plate_solve(*stars, stars_near, prior=prior, index=index)
            if isinstance(answer, PlateSolution):
                assert_on_target(stars, answer)
                solved += 1
        assert solved >= 70, name


def test_a_raw_colour_mosaic(samples, sky):
    stars = detections(fits.getdata(samples / "panoptes" / "unsolved.fits"), smoothed=1.0)
    for prior, index in ((Prior(*CYGNUS, 2.0, 9.5, 11.0), None), (None, sky)):
        answer = plate_solve(*stars, stars_near, prior=prior, index=index)
        assert isinstance(answer, PlateSolution)
        assert answer.n_matched >= 250
        assert answer.rms <= 0.5
        assert answer.projection.pixel_scale == pytest.approx(10.3, abs=0.05)
        assert angular_separation(*answer.projection.pixel_to_sky(349.5, 349.5), *CYGNUS) < 0.01


@pytest.mark.parametrize("name", ["tiny.fits", "noheader.fits", "rotation.fits"])
def test_little_is_solved_rightly_or_not_at_all(samples, sky, name):
    stars = detections(fits.getdata(samples / "panoptes" / name), smoothed=1.0)
    for prior in (None, Prior(scale_low=9.5, scale_high=11.0), Prior(*CYGNUS, 2.0, 9.5, 11.0)):
        answer = plate_solve(*stars, stars_near, prior=prior, index=sky)
        if isinstance(answer, PlateSolution):
            assert answer.projection.pixel_scale == pytest.approx(10.3, abs=0.1)
            assert angular_separation(*answer.projection.crval, *CYGNUS) < 1.0
        else:
            assert name == "rotation.fits"
            assert answer.reason


def test_wide_frames_with_vignetting(samples, sky):
    centres = [(230.667, 11.034), (172.368, 57.650), (296.757, 11.313), (355.207, 58.152)]
    frames = sorted((samples / "tetra3_wide").glob("*.tiff"))
    assert len(frames) == 4
    for path, centre in zip(frames, centres, strict=True):
        with Image.open(path) as picture:
            stars = detections(np.asarray(picture), minarea=4)
        answer = plate_solve(*stars, stars_near, index=sky)
        assert isinstance(answer, PlateSolution), path.name
        ny, nx = stars[3]
        middle = answer.projection.pixel_to_sky((nx - 1) / 2, (ny - 1) / 2)
        assert angular_separation(*middle, *centre) < 0.02
        assert answer.projection.pixel_scale * nx / 3600 == pytest.approx(11.4, abs=0.15)


def test_too_narrow_for_the_catalogue(samples, sky):
    frames = sorted((samples / "properimage_eso085").glob("*.fit"))
    stars = [detections(fits.getdata(path)) for path in frames]
    for one in stars:
        blind = plate_solve(*one, stars_near, index=sky)
        assert isinstance(blind, NotSolved)
        hinted = plate_solve(*one, stars_near, prior=Prior(75.375, -63.293, 1.0, 0.7, 0.8))
        assert isinstance(hinted, NotSolved)
        assert hinted.code == "catalogue_too_shallow"
        assert "catalogue stars in the field" in hinted.reason
    answer = register(*stars[0][:3], *stars[1][:3])
    assert isinstance(answer, Registration)
    assert len(answer.matched) > 100
    corners = np.array([[0, 1023, 0, 1023], [0, 0, 681, 681], [1, 1, 1, 1.0]])
    # The two frames were aligned by their owners to a fraction of a pixel.
    assert np.max(np.abs(answer.matrix @ corners - corners[:2])) < 0.5
    assert answer.rms / np.sqrt(len(answer.matched)) < 0.1
