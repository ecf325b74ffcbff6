"""Star fields of frames that are solved or registered, and light curves of pure noise."""

from __future__ import annotations

import uuid

import numpy as np
import pytest
from in_memory import GAIN, make_exposure, make_image, make_sources

from firstlight.algorithms.flags import Flag
from firstlight.algorithms.sky.projection import Projection
from firstlight.models.astrometry import Registration, WorldCoordinates
from firstlight.models.zero_point import ZeroPoint
from firstlight.pipeline.reduced_frame import ReducedFrame
from firstlight.pipeline.solve_light_curves import solve_light_curves
from firstlight.pipeline.star_field import StarField, TooFewFrames, measure_star_field

SIDE, SIGMA, SKY, NOISE = 240, 1.3, 80.0, 9.0
ZERO = 20.0
SETTINGS = {
    "match_radius_fwhm": 1.0,
    "min_coverage": 0.8,
    "min_exposures": 3,
    "aperture_fwhm": (1.2, 1.5, 2.0, 2.5),
}


def frames(number, *, solved=True, seed=1):
    """Frames of twenty-five stars that drift by 1.5 pixels a frame, and where the stars were."""
    random = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(np.arange(5) * 45 + 30.0, np.arange(5) * 45 + 30.0))
    x0, y0 = grid.reshape(2, -1) + random.uniform(-5, 5, (2, 25))
    flux = 10 ** random.uniform(4, 5.3, 25)
    yy, xx = np.mgrid[:SIDE, :SIDE]
    made, first = [], None
    for k in range(number):
        shift = 1.5 * k
        x, y = x0 + shift, y0 - 0.5 * shift
        image = np.full((SIDE, SIDE), SKY)
        for sx, sy, light in zip(x, y, flux, strict=True):
            spot = np.exp(-((xx - sx) ** 2 + (yy - sy) ** 2) / (2 * SIGMA**2))
            image += light / (2 * np.pi * SIGMA**2) * spot
        variance = image + NOISE**2
        data = image + np.sqrt(variance) * random.standard_normal(image.shape)
        sources = make_sources(x, y, flux, np.sqrt(flux), fwhm=2.355 * SIGMA)
        first = first or sources
        exposure = make_exposure(np.zeros((4, 4), np.uint16), latitude=31.0, longitude=-110.0)
        exposure.airmass = 1.2
        calibrated = make_image(data, variance, mjd=60000.0 + 0.005 * k, gain=GAIN)
        frame = ReducedFrame(exposure, calibrated, sources)
        if solved:
            frame.wcs, frame.zero_point = solution(shift), zero_point()
        elif k:
            frame.registration = Registration(
                reference_sources_id=first.id, matrix=[[1, 0, -shift], [0, 1, 0.5 * shift]]
            )
        made.append(frame)
    return made, (x0, y0, flux)


def solution(shift):
    scale = 4.0 / 3600
    projection = Projection(
        (50.0, 20.0), (120.0 + shift, 120.0 - 0.5 * shift), np.diag([-scale, scale])
    )
    ra, dec = projection.pixel_to_sky(119.5, 119.5)
    cards = projection.to_header()
    return WorldCoordinates(
        id=uuid.uuid4(), cards=cards, ra=float(ra), dec=float(dec), pixel_scale=4.0, rms_pixels=0.1
    )


def zero_point():
    return ZeroPoint(
        id=uuid.uuid4(), zero_point=ZERO, zero_point_err=0.003, ab_offset=-0.017, system="Vega"
    )


@pytest.mark.parametrize("solved", [True, False])
def test_every_star_is_measured_in_every_frame(solved):
    given, (x0, y0, flux) = frames(6, solved=solved)
    field = measure_star_field(given, **SETTINGS)
    assert field.plane == ("sky" if solved else "pixels")
    assert field.flux.shape == (25, 6, 4)
    assert field.detected.all()
    order = [
        int(np.argmin(np.hypot(x0 - x, y0 - y)))
        for x, y in zip(field.x[:, 0], field.y[:, 0], strict=True)
    ]
    assert sorted(order) == list(range(25))
    shifts = 1.5 * np.arange(6)
    np.testing.assert_allclose(field.x, x0[order][:, None] + shifts, atol=0.05)
    total = field.flux[:, :, 1] * 10 ** (-0.4 * field.corrections[:, :, 1])
    ratio = np.median(total / flux[order][:, None], axis=1)
    assert np.median(ratio) == pytest.approx(1.0, abs=0.005)
    pulls = (total / flux[order][:, None] - 1) * flux[order][:, None] / field.flux_err[:, :, 1]
    assert np.std(pulls) == pytest.approx(1.0, abs=0.25)


def test_stars_seen_in_too_few_frames_are_left_out():
    given, _ = frames(6)
    for frame in given[:3]:
        table = frame.sources.table
        kept = np.arange(25) != 7
        frame.sources.table = type(table)(
            {name: np.asarray(table[name])[kept] for name in table.columns}
        )
    assert len(measure_star_field(given, **SETTINGS).place) == 24


def test_too_few_frames_are_an_error_that_says_so():
    given, _ = frames(2)
    with pytest.raises(TooFewFrames, match="2 of 2 frames"):
        measure_star_field(given, **SETTINGS)
    given, _ = frames(3, solved=False)
    for frame in given:
        frame.registration = None
    with pytest.raises(TooFewFrames, match="0 of 3 frames"):
        measure_star_field(given, **SETTINGS)


def noise_field(number=300, frames_=30, seed=3):
    """Stars of nothing but white noise, as a star field."""
    random = np.random.default_rng(seed)
    flux = 10 ** random.uniform(3, 5.5, number)
    error = np.sqrt(flux + 58 * 300)
    shape = (number, frames_, 2)
    one = np.random.default_rng(seed)
    given, _ = frames(1)
    many = []
    for k in range(frames_):
        image = make_image(np.zeros((2, 2)), mjd=60000.0 + 0.004 * k)
        sources = make_sources(*np.ones((4, 1)), fwhm=3.0 + 0.2 * one.standard_normal())
        many.append(ReducedFrame(given[0].exposure, image, sources, solution(0.0), zero_point()))
    measured = flux[:, None] + error[:, None] * random.standard_normal((number, frames_))
    x, y = random.uniform(0, 1000, (2, number, 1)) * np.ones((1, 1, frames_))
    return StarField(
        frames=many,
        plane="sky",
        place=np.stack([50 + random.uniform(-1, 1, number), np.full(number, 20.0)], axis=1),
        radii=np.array([4.0, 5.0]),
        x=x,
        y=y,
        flux=measured[:, :, None] * np.ones(shape),
        flux_err=error[:, None, None] * np.ones(shape),
        flags=np.zeros(shape, np.uint16),
        corrections=np.full(shape, -0.05),
        detected=np.ones(shape[:2], bool),
    ), flux


def test_noise_makes_no_variables_and_its_errors_are_honest():
    found, pulls = [], []
    for seed in range(2):
        field, _ = noise_field(seed=seed)
        solved = solve_light_curves(field)
        found.append(int(solved.candidates.is_candidate.sum()))
        relative, error = solved.ensemble.rel_flux, solved.ensemble.rel_flux_err
        pulls.append((relative - np.nanmedian(relative, axis=1, keepdims=True)) / error)
    assert sum(found) <= 2
    assert np.nanstd(np.concatenate(pulls)) == pytest.approx(1.0, abs=0.1)


def test_a_short_event_is_a_candidate():
    field, flux = noise_field()
    star = int(np.argsort(-flux)[20])
    field.flux[star, 11:16] *= 1 - 5 * field.flux_err[star, 0, 0] / flux[star]
    assert solve_light_curves(field).candidates.is_candidate[star]


def test_fluxes_are_calibrated_with_the_corrections_and_zero_points_of_their_frames():
    field, flux = noise_field()
    field.frames[4].zero_point = None
    field.frames[5].zero_point.zero_point = ZERO + 0.3
    solved = solve_light_curves(field)
    assert np.isnan(solved.flux_ujy[:, 4]).all()
    bright = flux > 1e5
    expected = flux[bright] * 10 ** (-0.4 * (ZERO - 0.05 - 0.017 - 23.9))
    np.testing.assert_allclose(np.nanmedian(solved.flux_ujy[bright], axis=1), expected, rtol=0.02)
    step = np.median(solved.mag[bright, 5] - solved.mag[bright, 6])
    assert step == pytest.approx(0.3, abs=0.01)
    assert np.nanmin(solved.mag_err) >= 0.003
    # Light crosses eight minutes to the Sun: the barycentric time is no farther from UTC.
    apart = solved.bjd - 2400000.5 - field.per_frame["mjd"]
    assert np.abs(apart).max() < 600 / 86400


def test_saturated_points_have_no_light_curve():
    field, _ = noise_field()
    field.flags[3, 7] = Flag.SATURATED
    found = solve_light_curves(field).ensemble.rel_flux
    assert np.isnan(found[3, 7])
    assert np.isfinite(found[3, 8])
