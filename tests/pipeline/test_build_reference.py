"""A reference is what its images show together: flux, noise, PSF, place, brightness."""

from __future__ import annotations

import numpy as np
import pytest
from frames_of_a_field import FWHM, SCALES, SHAPE, ZERO, Field, moffats, projection
from scipy.signal import fftconvolve

from firstlight.algorithms.flags import UNUSABLE
from firstlight.models.astrometry import WorldCoordinates
from firstlight.models.image import Image
from firstlight.models.psf import PSF
from firstlight.models.zero_point import ZeroPoint
from firstlight.pipeline.build_reference import ReferenceBuilder, TooFewImages
from firstlight.simulation.psf import add_stars

ALL = (0, 1, 2, 3)
INNER = np.s_[12:-12, 12:-12]
FAINT = (87.0, 205.0)  # of the first image's pixels; far from all stars
FAINT_FLUX = 1800.0  # 17 sigma, and no pixel of it above 5


def sky_of(place):
    """Right ascension and declination of a place in the first image."""
    return projection(0).pixel_to_sky(*place)


@pytest.fixture(scope="module")
def world():
    """Four images; something passed by in the third one, and something faint in the last."""
    field = Field()
    more = {2: np.zeros(SHAPE), 3: np.zeros(SHAPE)}
    more[2][150:153, :] = 400.0
    here = tuple(np.array([float(v)]) for v in projection(3).sky_to_pixel(*sky_of(FAINT)))
    one = (*here, np.array([FAINT_FLUX]), moffats(1, FWHM[3]), 3.0, np.array([20.0]))
    add_stars(more[3], *one)
    return field, [field.image(number, more.get(number)) for number in ALL]


@pytest.fixture(scope="module")
def clipped(world):
    field, images = world
    return ReferenceBuilder(field.recipe, "clipped").build("field", images, 3)


def part(built, model):
    return next(product for product in built.products if isinstance(product, model))


def flux_ratio(image, truth):
    """Of all light over what should be there, with its error."""
    good = (image.flags[INNER] & int(UNUSABLE)) == 0
    light, truth, weight = (
        plane[INNER][good].astype(float) for plane in (image.data, truth, image.weight)
    )
    power = (weight * truth * truth).sum()
    return (weight * light * truth).sum() / power, power**-0.5


def test_flux_is_that_of_the_first_image(world, clipped):
    field, _ = world
    ratio, error = flux_ratio(part(clipped, Image), field.mean_light(ALL))
    # With the forty stars of so small an image; the end-to-end test has more.
    assert error < 5e-4
    assert abs(ratio - 1) < 3e-3
    assert clipped.reference.measures["flux_ratios"] == pytest.approx(SCALES, rel=8e-3)


def test_noise_over_a_star_is_what_the_weights_say(world, clipped):
    field, _ = world
    image = part(clipped, Image)
    expected = field.mean_light(ALL)
    residual = np.where(image.weight > 0, image.data - expected, 0.0)
    star = np.zeros((21, 21))
    add_stars(
        star, *(np.array([v]) for v in (10.0, 10.0, 1.0)), moffats(1, 3.4), 3.0, np.array([9.0])
    )
    top = fftconvolve(residual * image.weight, star, mode="same")
    noise = np.sqrt(fftconvolve(image.weight, star**2, mode="same"))
    near_star = fftconvolve(expected, star, mode="same") > 2.0
    chi = (top / noise)[INNER][~near_star[INNER]]
    assert len(chi) > 10_000
    assert np.std(chi) == pytest.approx(1.0, abs=0.06)
    # Of what passed by, nothing is left.
    chi = np.where(near_star, np.nan, top / noise)
    passed, beside = np.nanmean(chi[146:157, 20:-20]), np.nanmean(chi[160:190, 20:-20])
    assert abs(passed - beside) < 0.5


def test_what_moved_is_not_in_it_even_where_no_pixel_tells(world, clipped):
    field, images = world
    assert np.hypot(field.x - FAINT[0], field.y - FAINT[1]).min() > 20
    alone, _ = light_at(images[3].image, projection(3))
    assert alone == pytest.approx(FAINT_FLUX, rel=0.2)
    light, error = light_at(part(clipped, Image), projection(0))
    share = SCALES[3] ** 2 / np.sum(np.square(SCALES)) / SCALES[3]
    assert share * FAINT_FLUX > 5 * error
    assert abs(light) < 3 * error


def light_at(image, where):
    """Of the faint thing, above the sky, and one sigma."""
    x, y = where.sky_to_pixel(*sky_of(FAINT))
    stamp = np.zeros(SHAPE)
    one = (np.array([float(v)]) for v in (x, y, 1.0))
    add_stars(stamp, *one, moffats(1, 3.6), 3.0, np.array([9.0]))
    # Of the sky around it, so that an error of the sky's level is out.
    level = np.median(image.data[int(y) - 14 : int(y) + 15, int(x) - 14 : int(x) + 15])
    power = (stamp * stamp * image.weight).sum()
    return ((image.data - level) * stamp * image.weight).sum() / power, power**-0.5


def test_psf_is_that_of_the_mean(world, clipped):
    stamp = part(clipped, PSF).model.at(160.0, 150.0, SHAPE, 8).psf
    told = np.array(SCALES) ** 2 / (np.array(SCALES) ** 2).sum()
    truth = np.zeros((17, 17))
    for share, fwhm in zip(told, FWHM, strict=True):
        one = np.array([8.0]), np.array([8.0]), np.array([share])
        add_stars(truth, *one, moffats(1, fwhm), 3.0, np.array([12.0]))
    assert np.abs(stamp / stamp.sum() - truth / truth.sum()).max() < 0.02 * truth.max()


def test_place_and_zero_point_are_those_of_the_catalogue(world, clipped):
    field, images = world
    wcs, zero, row = part(clipped, WorldCoordinates), part(clipped, ZeroPoint), clipped.reference
    x, y = wcs.projection.sky_to_pixel(field.ra, field.dec)
    inside = (field.x > 0) & (field.x < SHAPE[1] - 1) & (field.y > 0) & (field.y < SHAPE[0] - 1)
    assert np.hypot(x - field.x, y - field.y)[inside].max() < 0.05
    assert zero.zero_point == pytest.approx(ZERO, abs=0.01)
    single = images[0].zero_point.limiting_magnitude
    gain = 1.25 * np.log10(np.sum(np.square(SCALES)))
    assert row.limiting_magnitude == pytest.approx(single + gain, abs=0.2)
    assert row.seeing == pytest.approx(row.fwhm * 5.0, rel=0.01)
    assert (row.mjd_start, row.mjd_end, row.n_images) == (60000.0, 60000.03, 4)
    assert [link.role for link in part(clipped, Image).inputs] == ["coadd"] * 4


@pytest.mark.parametrize("method", ["weighted", "proper"])
def test_other_methods(world, method):
    field, images = world
    built = ReferenceBuilder(field.recipe, method).build("field", [images[k] for k in (0, 1, 3)], 3)
    image, zero = part(built, Image), part(built, ZeroPoint)
    assert zero.zero_point == pytest.approx(ZERO, abs=0.01)
    # A proper coadd has another PSF than the mean.
    limit = 4e-3 if method == "weighted" else 2e-2
    assert flux_ratio(image, field.mean_light((0, 1, 3)))[0] == pytest.approx(1.0, abs=limit)
    assert built.reference.method == method


def test_same_images_same_identity_other_pixels_another(world):
    field, images = world
    ids = [each.zero_point.id for each in images]
    builder = ReferenceBuilder(field.recipe, "clipped")
    assert builder.expected_id("A", ids) == builder.expected_id("A", [ids[0], *ids[:0:-1]])
    others = {
        builder.expected_id("A", ids),
        builder.expected_id("A", ids[::-1]),
        builder.expected_id("A", ids[:3]),
        builder.expected_id("B", ids),
        ReferenceBuilder(field.recipe, "proper").expected_id("A", ids),
    }
    assert len(others) == 5


def test_image_of_another_field_is_left_out_with_its_reason(world):
    field, images = world
    stranger = Field(seed=9).image(1)
    builder = ReferenceBuilder(field.recipe, "clipped")
    with pytest.raises(TooFewImages) as told:
        builder.build("field", [*images[:2], stranger], 3)
    assert told.value.found.startswith("2 of 3")
    assert "do not show the same stars" in told.value.found
