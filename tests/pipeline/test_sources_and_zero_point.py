"""Finding sources and calibrating them, on images whose stars are known."""

from __future__ import annotations

import uuid

import numpy as np
import pytest
from in_memory import GivenCatalog, make_exposure, make_image, make_sources

from firstlight.algorithms.flags import Flag
from firstlight.algorithms.sky.projection import Projection
from firstlight.models.astrometry import WorldCoordinates
from firstlight.pipeline.settings import FindSourcesSettings, SolvePhotometrySettings
from firstlight.pipeline.step import Workpiece
from firstlight.pipeline.steps.find_sources import FindSources, NoSources
from firstlight.pipeline.steps.solve_photometry import (
    NoZeroPoint,
    SolvePhotometry,
    calibration_aperture,
)

SIDE, SIGMA, SKY, NOISE = 400, 1.3, 200.0, 8.0
ZERO = 22.0
WHERE = Projection((30.0, 10.0), (199.5, 199.5), np.diag([-5 / 3600, 5 / 3600]))


@pytest.fixture(scope="module")
def stars():
    random = np.random.default_rng(6)
    grid = np.stack(np.meshgrid(np.arange(8) * 48 + 30.0, np.arange(8) * 48 + 30.0))
    x, y = grid.reshape(2, -1) + random.uniform(-6, 6, (2, 64))
    return x, y, 10 ** random.uniform(3.6, 5.2, 64)


@pytest.fixture
def piece(stars):
    random = np.random.default_rng(7)
    yy, xx = np.mgrid[:SIDE, :SIDE]
    image = SKY + 0.05 * xx
    for sx, sy, light in zip(*stars, strict=True):
        spot = np.exp(-((xx - sx) ** 2 + (yy - sy) ** 2) / (2 * SIGMA**2))
        image += light / (2 * np.pi * SIGMA**2) * spot
    variance = image + NOISE**2
    data = image + np.sqrt(variance) * random.standard_normal(image.shape)
    made = Workpiece(make_exposure(np.zeros((4, 4), np.uint16)), "A")
    made.image = make_image(data, variance)
    made.wcs = WorldCoordinates(
        id=uuid.uuid4(), cards=WHERE.to_header(), ra=30.0, dec=10.0, radius=0.5, rms_pixels=0.1
    )
    return made


def found_in(piece, **settings):
    piece.sources = FindSources(FindSourcesSettings(**settings)).run(piece)
    piece.sources.id = uuid.uuid4()
    return piece.sources


def matched(sources, stars):
    x, y, _ = stars
    table = sources.table
    apart = np.hypot(x[:, None] - table["x"], y[:, None] - table["y"])
    assert (apart.min(axis=1) < 0.5).all()
    return apart.argmin(axis=1)


def catalog(stars, magnitude=None, **errors):
    ra, dec = WHERE.pixel_to_sky(stars[0], stars[1])
    mag = ZERO - 2.5 * np.log10(stars[2]) if magnitude is None else magnitude
    return GivenCatalog(ra, dec, mag, **errors)


def zero_point(piece, reference, **settings):
    return SolvePhotometry(SolvePhotometrySettings(**settings), catalog=reference).run(piece)


def test_all_stars_are_found_with_all_their_light(piece, stars):
    sources = found_in(piece)
    row = matched(sources, stars)
    assert sources.n_sources <= 68
    assert sources.fwhm == pytest.approx(2.355 * np.hypot(SIGMA, 0.29), rel=0.03)
    assert sources.background == pytest.approx(SKY + 10, abs=2)
    table = sources.table
    pulls = (table["total_flux"][row] - stars[2]) / table["total_flux_err"][row]
    assert abs(np.mean(pulls)) < 0.5
    assert np.std(pulls) == pytest.approx(1.0, abs=0.25)
    assert sources.measures["growth"]["beyond"] < 0.002
    assert table.units["total_flux"] == "electron"


def test_an_empty_image_says_so(piece):
    random = np.random.default_rng(1)
    piece.image = make_image(100 + 5 * random.standard_normal((200, 200)), np.full((200, 200), 25))
    with pytest.raises(NoSources) as told:
        found_in(piece, threshold=8.0)
    assert told.value.code == "sources.none"


def test_a_missing_patch_and_a_saturated_star_are_flagged(piece, stars):
    x, y = (round(float(v[3])) for v in stars[:2])
    piece.image.flags[y - 1 : y + 2, x - 1 : x + 2] |= np.uint16(Flag.SATURATED)
    sources = found_in(piece)
    row = matched(sources, stars)[3]
    assert sources.table["flags"][row] & Flag.SATURATED
    assert sources.table["flux_flags"][row, 0] & Flag.SATURATED


def test_the_zero_point_is_that_of_the_stars(piece, stars):
    found_in(piece)
    made = zero_point(piece, catalog(stars))
    assert made.zero_point == pytest.approx(ZERO, abs=0.003)
    assert made.n_stars > 50
    assert made.aperture == calibration_aperture(piece.sources)
    assert (made.band, made.system) == ("VT", "Vega")
    assert made.ab_offset == pytest.approx(-0.017)
    assert made.scatter < 0.02
    assert made.limiting_magnitude == pytest.approx(ZERO - 2.5 * np.log10(5 * 16.5 * 5.7), abs=0.5)


def test_errors_of_the_catalogue_are_in_the_error(piece, stars):
    found_in(piece)
    pulls = []
    for seed in range(60):
        mag = ZERO - 2.5 * np.log10(stars[2]) + 0.1 * np.random.default_rng(seed).normal(size=64)
        made = zero_point(piece, catalog(stars, mag, mag_err=0.1))
        pulls.append((made.zero_point - ZERO) / made.zero_point_err)
    assert np.std(pulls) == pytest.approx(1.0, abs=0.25)
    assert abs(np.mean(pulls)) < 0.4


def test_companions_known_to_the_catalogue_alone_do_not_count(piece, stars):
    found_in(piece)
    ra, dec = WHERE.pixel_to_sky(stars[0][:20] + 4.0, stars[1][:20])
    plain = catalog(stars)
    mag = ZERO - 2.5 * np.log10(stars[2])
    # Twenty stars are too bright in the catalogue, as one of a pair that the image merges is.
    wrong = mag.copy()
    wrong[:20] += 0.08
    pairs = GivenCatalog(
        np.concatenate([*WHERE.pixel_to_sky(stars[0], stars[1])[:1], ra]),
        np.concatenate([*WHERE.pixel_to_sky(stars[0], stars[1])[1:], dec]),
        np.concatenate([wrong, mag[:20] + 2.8]),
    )
    made = zero_point(piece, pairs)
    assert made.n_stars <= 44
    assert made.zero_point == pytest.approx(zero_point(piece, plain).zero_point, abs=0.003)


def test_too_few_stars_are_no_zero_point(piece, stars):
    found_in(piece)
    few = tuple(column[:4] for column in stars)
    with pytest.raises(NoZeroPoint, match="usable reference stars") as told:
        zero_point(piece, catalog(few))
    assert told.value.expected == "at least 5 usable"


def test_the_calibration_aperture_is_the_one_nearest_to_one_and_a_half_widths():
    one = np.ones(1)
    assert calibration_aperture(make_sources(one, one, one, one, fwhm=4.0)) == 1
