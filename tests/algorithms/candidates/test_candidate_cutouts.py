"""Candidates of which only cut-outs are known, ours and those of other surveys."""

from __future__ import annotations

import numpy as np
import pytest
from alert_cutouts import read_alert
from white_difference import FWHM, SIGMA, Source, light_of, unit_error

from firstlight.algorithms.candidates.cutouts import (
    measure_cutouts,
    moffat_psfs,
    shapes_of_cutouts,
    stamps_of_cutouts,
)
from firstlight.algorithms.sources.moments import FWHM_OF_SIGMA
from firstlight.pipeline.real_bogus_model import default_real_bogus

SIDE = 61
STARS = [Source(14, 16, 9e4), Source(45, 12, 6e4), Source(12, 47, 1.2e5)]


def cutouts(flux, seed=1, sky=500.0):
    """A source in the middle of a stamp with three stars."""
    random = np.random.default_rng(seed)
    stars = light_of(STARS, (SIDE, SIDE))
    source = light_of([Source(30.3, 29.8, flux)], (SIDE, SIDE))
    noise = random.normal(0, SIGMA, (2, SIDE, SIDE))
    difference = source + noise[0]
    return np.stack([stars + difference + sky, stars + noise[1] + sky, difference]).astype(
        np.float32
    )[None]


def test_sky_and_noise_come_from_the_stamp():
    stamps = stamps_of_cutouts(cutouts(0.0))
    assert np.sqrt(stamps.variance[0, 0, 0]) == pytest.approx(SIGMA, rel=0.05)
    assert abs(np.median(stamps.pixels[0, 1])) < 2
    assert stamps.usable.all()


def test_a_value_that_many_pixels_share_is_none():
    pixels = cutouts(0.0)
    pixels[0, 2, :20] = 0.0
    stamps = stamps_of_cutouts(pixels)
    assert not stamps.usable[0, :20].any()
    assert stamps.usable[0, 20:].all()
    assert np.sqrt(stamps.variance[0, 40, 0]) == pytest.approx(SIGMA, rel=0.07)
    assert (pixels[0, 2, :20] == 0).all()


def test_a_stamp_without_any_value_is_not_usable():
    pixels = np.full((1, 3, SIDE, SIDE), np.nan, np.float32)
    assert not stamps_of_cutouts(pixels).usable.any()
    measures = measure_cutouts(pixels, np.array([3.0]), np.array([1.0]))
    assert np.isinf(measures.flux_error[0])


def test_stars_of_the_stamp_tell_the_psf():
    shapes = shapes_of_cutouts(cutouts(3000.0), np.array([9.0]))
    assert FWHM_OF_SIGMA * np.sqrt(shapes[0][0] * shapes[0][1]) == pytest.approx(FWHM, rel=0.15)
    alone = cutouts(3000.0)
    alone[0, :2] = np.random.default_rng(2).normal(0, SIGMA, (2, SIDE, SIDE))
    assert shapes_of_cutouts(alone, np.array([9.0]))[0][0] == pytest.approx(9.0 / FWHM_OF_SIGMA)


def test_profiles_are_drawn_out_along_their_angle():
    psf = moffat_psfs([(3.0, 1.5, 0.5)], 12)[0]
    assert psf.sum() == pytest.approx(1)
    steps = np.arange(-12, 13)
    xx = (psf * steps**2).sum()
    yy = (psf * steps[:, None] ** 2).sum()
    xy = (psf * steps * steps[:, None]).sum()
    assert 0.5 * np.arctan2(2 * xy, xx - yy) == pytest.approx(0.5, abs=0.03)
    assert psf[12, 12] == psf.max()


def test_the_place_and_the_light_of_the_source():
    flux = 30 * unit_error()
    measures = measure_cutouts(cutouts(flux), np.array([FWHM]), np.array([1.0]))
    assert (measures.x[0], measures.y[0]) == pytest.approx((30.3, 29.8), abs=0.2)
    assert measures.flux[0] == pytest.approx(flux, rel=0.2)
    assert default_real_bogus().score(measures)[0] > 0.7


@pytest.mark.sample
def test_alerts_are_ranked_as_their_own_surveys_rank_them(samples):
    """ZTF and PGIR; a packet whose own score is below a half is false. Nothing was trained here."""
    paths = sorted((samples / "alerts").rglob("*.avro"))
    alerts = [read_alert(path, SIDE) for path in paths]
    assert len(alerts) >= 30
    pixels = np.stack([alert.pixels for alert in alerts])
    sign = np.array([alert.sign for alert in alerts])
    # Typical widths of stars in images of the two surveys, pixels.
    usual = np.array([4.2 if "pgir" in path.parent.name else 2.2 for path in paths])
    score = default_real_bogus().score(measure_cutouts(pixels, usual, sign))
    real = np.array([alert.score for alert in alerts]) > 0.5
    assert np.count_nonzero(~real) >= 7
    pairs = score[real][:, None] - score[~real]
    assert np.mean(pairs > 0) + 0.5 * np.mean(pairs == 0) >= 0.85
