"""The recipe on the colours of a mosaic."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from astropy.io import fits
from astropy.io.fits import Header

from firstlight.algorithms.detector.calibrate import Masters
from firstlight.catalogs.quad_index import quad_index
from firstlight.catalogs.tycho2 import Tycho2
from firstlight.instruments import (
    dslr,  # noqa: F401, registers the camera
    get_instrument_instance,
    panoptes,  # noqa: F401, likewise
)
from firstlight.models.data_root import configure_data_roots
from firstlight.models.exposure import Exposure
from firstlight.pipeline.detector_frame import DetectorFrame
from firstlight.pipeline.recipe import Recipe
from firstlight.pipeline.settings import (
    FindSourcesSettings,
    PreprocessSettings,
    RecipeSettings,
    SolveAstrometrySettings,
)
from firstlight.pipeline.standard import standard_recipe
from firstlight.pipeline.step import Workpiece
from firstlight.pipeline.steps.find_sources import FindSources
from firstlight.pipeline.steps.preprocess import Preprocess

HEADER = {
    "FILTER": "RGGB",
    "OBSERVER": "PAN001",
    "SEQID": "PAN001_14d3bd_20180216T110623",
    "DATE-OBS": "2018-02-16T11:30:00",
    "EXPTIME": 120.0,
}
LEVELS = {"R": 60.0, "G": 120.0, "B": 80.0}  # ADU above the bias


@pytest.fixture
def root(tmp_path):
    configure_data_roots(tmp_path)
    return tmp_path


def test_the_known_level_is_taken_off_and_the_noise_is_that_of_the_light(root):
    rng = np.random.default_rng(4)
    mosaic = np.empty((600, 600))
    for channel, places in {"G": [(0, 0), (1, 1)], "B": [(0, 1)], "R": [(1, 0)]}.items():
        for y, x in places:
            electrons = rng.poisson(LEVELS[channel] * 1.5, (300, 300))
            mosaic[y::2, x::2] = 2048 + (electrons + rng.normal(0, 10.5, (300, 300))) / 1.5
    fits.writeto(root / "a.fits", np.round(mosaic).astype(np.uint16), Header(HEADER))
    exposure = Exposure("a.fits")
    assert (exposure.instrument, exposure.filter, exposure.filter_array) == (
        "PANOPTES",
        None,
        ["R", "G", "B"],
    )
    step = Preprocess(PreprocessSettings(cosmic_rays=False))
    for channel, level in LEVELS.items():
        image = step.run(Workpiece(exposure, channel))
        pixels = 2 if channel == "G" else 1
        assert image.filter == channel
        assert image.data.shape == (300, 300)
        assert image.data.mean() == pytest.approx(pixels * 1.5 * level, rel=0.005)
        assert image.data.var() == pytest.approx(float(np.median(image.variance)), rel=0.03)
        assert image.calibration["bias_level"]["value"] == 2048.0
        assert "colour_mosaic" not in image.calibration


def test_calibration_frames_lose_the_known_level_too():
    camera = get_instrument_instance("PANOPTES")
    header = Header({**HEADER, "FILTER": "R"})
    frame = DetectorFrame.of(camera, header, "R", np.full((8, 8), 2058.0))
    plain = frame.to_electrons(Masters(), 0.0, overscan=False, growth=0)
    np.testing.assert_allclose(plain.data, 15.0)
    # A master bias of such frames holds what is left of them, so it comes off on top.
    left = Masters(bias=np.full((8, 8), 4.0))
    again = frame.to_electrons(left, 0.0, overscan=False, growth=0)
    np.testing.assert_allclose(again.data, 9.0)


def test_noise_is_measured_where_the_camera_says_nothing_of_it(root):
    rng = np.random.default_rng(6)
    cards = {"BAYERPAT": "GBRG", "BLKLEVEL": 512.0, "WHTLEVEL": 16_000, "WBRGGB": "2 1 1 1.5"}
    header = Header({**cards, "DATE-OBS": "2020-01-01T00:00:00", "EXPTIME": 10.0})
    # Darker than the black level in places: a model of light alone would know no noise there.
    mosaic = rng.normal(513, 9, (200, 200)).round().astype(np.uint16)
    fits.writeto(root / "a.fits", mosaic, header)
    exposure = Exposure("a.fits")
    assert exposure.instrument == "DSLR"
    image = Preprocess(PreprocessSettings(cosmic_rays=False)).run(Workpiece(exposure, "R"))
    assert float(np.median(image.variance)) == pytest.approx(81, rel=0.05)
    assert image.calibration["noise"]["why"] == "the read noise is not known: measured"
    assert (image.weight > 0).all()


def test_saturation_of_one_green_is_flagged(root):
    mosaic = np.random.default_rng(3).normal(2100, 8, (64, 64)).astype(np.uint16)
    mosaic[20, 20] = 13_583  # a green; its partner is dark
    fits.writeto(root / "a.fits", mosaic, Header(HEADER))
    step = Preprocess(PreprocessSettings(cosmic_rays=False, saturation_growth=0))
    image = step.run(Workpiece(Exposure("a.fits"), "G"))
    assert image.flags[10, 10] != 0
    assert np.count_nonzero(image.flags) == 1


@pytest.mark.sample
@pytest.mark.slow
def test_every_colour_of_a_real_frame_is_solved(root, samples):
    shutil.copy(samples / "panoptes" / "unsolved.fits", root)
    tycho = Tycho2()
    recipe = standard_recipe(
        RecipeSettings(solve_astrometry=SolveAstrometrySettings(solve_field=False)),
        astrometry=tycho,
        photometry=tycho,
        quads=lambda: quad_index(tycho),
    )
    exposure = Exposure("unsolved.fits")
    grid = np.meshgrid(np.linspace(50, 650, 9), np.linspace(50, 650, 9))
    sky = {}
    for channel in ("R", "G", "B"):
        piece = Workpiece(exposure, channel)
        outcomes = recipe.run(piece, {})
        assert {outcome.state.value for outcome in outcomes} == {"done"}
        assert piece.wcs is not None
        assert piece.zero_point is not None
        assert piece.wcs.n_matched >= 250
        assert piece.wcs.rms_pixels < 0.2
        assert piece.wcs.pixel_scale == pytest.approx(20.62, abs=0.01)
        assert piece.zero_point.zero_point_err < 0.06
        at = exposure.instrument_object.mosaic_position({}, channel, 0.0, 0.0)
        inside = [(axis - start) / 2 for axis, start in zip(grid, at, strict=True)]
        sky[channel] = piece.wcs.projection.pixel_to_sky(*inside)
    # The lens, not the convention, puts green 0.09 pixels from red and blue, which agree.
    assert _apart(sky["R"], sky["B"]) < 0.05
    assert _apart(sky["R"], sky["G"]) < 0.15


def _apart(one, other):
    """Median distance in pixels of a channel."""
    across = (one[0] - other[0]) * np.cos(np.radians(one[1]))
    return float(np.median(np.hypot(across, one[1] - other[1])) * 3600 / 20.62)


def test_colours_of_one_star_field_agree(root):
    """Without a lens the channels agree to a fiftieth of a pixel."""
    rng = np.random.default_rng(11)
    shape, sigma = (500, 500), 1.5
    x, y = rng.uniform(15, 485, (2, 250))
    flux = rng.uniform(9_000, 40_000, 250)
    jj, ii = np.indices(shape)
    light = np.full(shape, 50.0)
    for a, b, total in zip(x, y, flux, strict=True):
        light += total * np.exp(-((ii - a) ** 2 + (jj - b) ** 2) / (2 * sigma**2)) / 14.1
    noisy = 2048 + rng.normal(rng.poisson(light * 1.5), 10.5) / 1.5
    fits.writeto(root / "a.fits", np.round(noisy).astype(np.uint16), Header(HEADER))
    exposure = Exposure("a.fits")
    recipe = Recipe(
        [Preprocess(PreprocessSettings(cosmic_rays=False)), FindSources(FindSourcesSettings())]
    )
    off = {}
    for channel in ("R", "G", "B"):
        piece = Workpiece(exposure, channel)
        recipe.run(piece, {})
        assert piece.sources is not None
        table = piece.sources.table
        camera = exposure.instrument_object
        at = camera.mosaic_position({}, channel, table["x"], table["y"])
        apart = np.hypot(at[0][:, None] - x, at[1][:, None] - y)
        good, nearest = apart.min(axis=1) < 1.0, apart.argmin(axis=1)
        assert good.sum() > 180
        off[channel] = [
            np.median(a[good] - b[nearest[good]]) for a, b in zip(at, (x, y), strict=True)
        ]
    np.testing.assert_allclose(list(off.values()), 0.0, atol=0.04)
