"""From one image and a position to a magnitude: truth, limits, and clear ends."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from astropy.io.fits import Header

from firstlight.pipeline.header_projection import header_projection
from firstlight.pipeline.image_analysis import analyse_image
from firstlight.pipeline.image_analysis_result import STEPS
from firstlight.pipeline.image_analysis_settings import ImageAnalysisSettings
from simulated_image import ColourCatalog, simulated_image

FEW = {"artificial_stars": 150}
STARS = 130


def analysed(simulated, **given):
    settings = ImageAnalysisSettings(**{**FEW, **given})
    place = simulated.ra, simulated.dec
    return analyse_image(simulated.raw, place, catalog=simulated.catalog, settings=settings)


def true_ujy(mag):
    return 10 ** (-0.4 * (mag - 23.9))


def pulls(seeds, *, give_colour, mags=(16.0, 21.6), **truth):
    """(flux - truth) / error of each target, and its true signal to noise."""
    told = []
    for seed in seeds:
        mag = float(np.random.default_rng(10_000 + seed).uniform(*mags))
        simulated = simulated_image(seed, mag=mag, stars=STARS, **truth)
        given = {"colour": simulated.colour} if give_colour else {}
        result = analysed(simulated, **given).result
        result.raise_if_failed()
        # V_T of Vega is 0.017 mag fainter than its AB magnitude (Pickles & Depagne 2010).
        expected = true_ujy(mag - (0.017 if result.system == "Vega" else 0.0))
        pull = (result.flux_ujy - expected) / result.flux_ujy_err
        told.append((pull, result.magnitude, result.magnitude_err, mag))
    return told


# --- what it answers -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def one():
    simulated = simulated_image(3, mag=18.0, stars=STARS, colour_term=0.1, gradient=0.04)
    return simulated, analysed(simulated, colour=simulated.colour)


def test_a_star_gets_its_magnitude(one):
    result = one[1].result
    assert result.state == "done"
    assert abs(result.magnitude - 18.0) < 4 * result.magnitude_err
    assert result.magnitude_err < 0.03
    assert result.flux_ujy == pytest.approx(true_ujy(result.magnitude), rel=1e-9)
    assert (result.filter, result.system) == ("r", "AB")
    assert 20.5 < result.limit < 22
    assert result.limit_at_target == pytest.approx(result.limit, abs=0.4)
    assert result.mjd == pytest.approx(60370.170382, abs=1e-5)
    assert set(result.measurements) == {"aperture", "psf"}
    assert result.flags == []


def test_it_is_json_and_every_step_tells_itself(one):
    told = json.loads(json.dumps(one[1].result.as_dict(), allow_nan=False))
    assert [step["name"] for step in told["steps"]] == list(STEPS)
    assert {step["state"] for step in told["steps"]} == {"done"}
    facts = {step["name"]: step["facts"] for step in told["steps"]}
    assert facts["plate_solve"]["how"] == "refined"
    assert facts["zero_point"]["psf"]["colour_term"] == pytest.approx(-0.1, abs=0.06)
    assert facts["inspect"]["gain_from"] == "header"
    assert told["error"] is None


def test_the_same_image_gives_the_same_numbers(one):
    simulated, first = one
    again = analysed(simulated, colour=simulated.colour)
    assert again.result.magnitude == first.result.magnitude
    assert again.result.limit == first.result.limit


def test_an_empty_place_gets_a_limit_and_no_magnitude():
    result = analysed(simulated_image(5, mag=30.0, stars=STARS)).result
    assert result.magnitude is None
    assert result.magnitude_err is None
    assert "not_detected" in result.flags
    assert abs(result.flux_ujy) < 4 * result.flux_ujy_err
    assert 20.5 < result.limit_at_target < 22.5


def test_vega_magnitudes_say_so_and_fluxes_are_ab():
    simulated = simulated_image(6, mag=17.5, stars=STARS, system="Vega", band="VT")
    result = analysed(simulated).result
    assert (result.filter, result.system) == ("VT", "Vega")
    assert abs(result.magnitude - 17.5) < 4 * result.magnitude_err
    assert result.flux_ujy == pytest.approx(true_ujy(result.magnitude - 0.017), rel=1e-6)


def test_a_vega_band_of_unknown_offset_has_no_flux():
    result = analysed(simulated_image(6, mag=17.5, stars=STARS, system="Vega", band="R")).result
    assert result.magnitude is not None
    assert result.flux_ujy is None
    assert any("no known AB offset" in note for note in result.notes)


def test_an_unknown_colour_counts_in_the_error():
    simulated = simulated_image(8, mag=17.0, stars=STARS, colour_term=0.2)
    blind = analysed(simulated).result
    seeing = analysed(simulated, colour=simulated.colour).result
    assert "no_colour" in blind.flags
    assert blind.magnitude_err > 2 * seeing.magnitude_err
    assert abs(seeing.magnitude - 17.0) < 4 * seeing.magnitude_err


def test_a_neighbour_is_noted_and_fitted_along():
    place = (200.3, 150.8)
    extra = [[205.5], [150.8], [17.5]]
    simulated = simulated_image(9, mag=18.0, stars=STARS, place=place, extra=extra)
    bench = analysed(simulated, method="psf")
    assert "blended" in bench.result.flags
    near = bench.result.step("target").facts["neighbours"]
    away = near[0]["distance_arcsec"]
    assert away == pytest.approx(5.2 * 1.1, abs=0.3)
    assert f'A neighbour {away:.1f}" away, may disturb the target.' in bench.result.notes
    error = np.hypot(bench.result.magnitude_err, 0.01)
    assert abs(bench.result.magnitude - 18.0) < 4 * error


def test_the_wcs_may_be_trusted_or_ignored():
    simulated = simulated_image(10, mag=17.0, stars=STARS)
    trusted, ignored = (
        analysed(simulated, trust_wcs=True),
        analysed(simulated, trust_wcs=False, scale=(1.0, 1.2)),
    )
    assert trusted.how == "header"
    assert ignored.how == "hinted"
    assert ignored.result.magnitude == pytest.approx(trusted.result.magnitude, abs=0.01)


def test_a_wrong_wcs_is_found_out_by_the_stars():
    simulated = simulated_image(11, mag=17.0, stars=STARS)
    simulated.raw.header["CRVAL2"] += 0.004
    bench = analysed(simulated)
    assert bench.how in ("refined", "hinted")
    assert abs(bench.result.magnitude - 17.0) < 5 * bench.result.magnitude_err


def test_the_projection_is_from_all_clean_stars_by_their_errors():
    off = []
    for seed in (40, 41, 42):
        simulated = simulated_image(seed, mag=17.0, stars=STARS)
        truth = header_projection(simulated.raw.header, simulated.raw.pixels.shape)
        simulated.raw.header["CRVAL2"] += 0.001
        bench = analysed(simulated)
        assert bench.result.step("plate_solve").facts["polished_by"] > 100
        along = (np.arange(20.0, size - 20, 40) for size in bench.shape[::-1])
        x, y = (each.ravel() for each in np.meshgrid(*along))
        found = bench.projection.sky_to_pixel(*truth.pixel_to_sky(x, y))
        off.append(np.sqrt(np.mean((found[0] - x) ** 2 + (found[1] - y) ** 2)))
    # Stars that count alike, however faint, leave 0.03 pixels.
    assert np.mean(off) < 0.02


# --- what it refuses -----------------------------------------------------------------------------


def refused(simulated, code, step, **given):
    result = analysed(simulated, **given).result
    assert result.fault is not None
    assert result.fault.code == code, result.fault
    assert result.step(step).state == "failed"
    assert result.magnitude is None
    assert result.flux_ujy is None
    told = result.as_dict()
    assert told["state"] == "failed"
    assert told["error"]["code"] == code
    with pytest.raises(type(result.fault)):
        result.raise_if_failed()
    return result


def test_all_nan():
    simulated = simulated_image(1, mag=18.0)
    raw = simulated.raw
    blank = np.full(raw.pixels.shape, np.nan, np.float32)
    simulated.raw = type(raw)(raw.name, blank, raw.header, raw.camera, raw.section_id)
    result = refused(simulated, "fits.all_nan", "inspect")
    assert result.step("limit").state == "skipped"


def test_no_time():
    simulated = simulated_image(1, mag=18.0)
    del simulated.raw.header["DATE-OBS"]
    refused(simulated, "analysis.no_time", "inspect")
    assert analysed(simulated, mjd=60000.5).result.mjd == 60000.5


def test_unknown_gain():
    simulated = simulated_image(1, mag=18.0)
    del simulated.raw.header["GAIN"]
    refused(simulated, "analysis.unknown_gain", "inspect")
    simulated.raw.header["GAIN"] = 120.0  # the setting of a CMOS camera
    refused(simulated, "analysis.unknown_gain", "inspect")
    assert analysed(simulated, gain=1.7).result.state == "done"


def test_no_wcs_and_few_stars():
    simulated = simulated_image(1, mag=17.0, stars=2, wcs=False)
    refused(simulated, "astrometry.not_solved", "plate_solve")


def test_no_wcs_to_be_trusted():
    simulated = simulated_image(1, mag=17.0, stars=STARS, wcs=False)
    refused(simulated, "astrometry.not_solved", "plate_solve", trust_wcs=True)


def test_target_outside():
    simulated = simulated_image(1, mag=18.0, stars=STARS)
    simulated.dec += 0.2
    result = refused(simulated, "analysis.outside", "target")
    # The limit is that of the image, and needs no target.
    assert result.limit is not None


def test_target_on_the_other_side_of_the_sky():
    simulated = simulated_image(1, mag=18.0, stars=STARS)
    simulated.ra, simulated.dec = (simulated.ra + 180.0) % 360.0, -simulated.dec
    result = refused(simulated, "analysis.outside", "target")
    assert result.step("target").error["found"] == "more than 90 degrees away"


def test_target_saturated():
    simulated = simulated_image(2, mag=12.6, stars=STARS)
    refused(simulated, "analysis.saturated", "target", saturation=30000)


def test_too_few_calibrators():
    simulated = simulated_image(4, mag=18.0, stars=STARS)
    full = simulated.catalog
    simulated.catalog = ColourCatalog(
        full.ra[:3], full.dec[:3], full.mag[:3], 0.02, full.colour[:3]
    )
    refused(simulated, "photometry.no_zero_point", "zero_point", trust_wcs=True)


def test_nothing_in_the_image():
    simulated = simulated_image(4, mag=30.0, stars=0)
    refused(simulated, "sources.none", "sources")


def test_a_target_on_lost_pixels():
    simulated = simulated_image(4, mag=17.0, stars=STARS)
    x, y = (float(v) for v in simulated.projection.sky_to_pixel(simulated.ra, simulated.dec))
    pixels = simulated.raw.pixels.astype(np.float32)
    pixels[int(y) - 9 : int(y) + 10, int(x) - 9 : int(x) + 10] = np.nan
    raw = simulated.raw
    simulated.raw = type(raw)(raw.name, pixels, raw.header, raw.camera, raw.section_id)
    refused(simulated, "analysis.unmeasurable", "target")


# --- headers -------------------------------------------------------------------------------------


def test_other_projections_are_fitted():
    header = Header(
        {"CTYPE1": "RA---ZPN", "CTYPE2": "DEC--ZPN", "CRVAL1": 40.0, "CRVAL2": -30.0,
         "CRPIX1": 200.0, "CRPIX2": 150.0, "CD1_1": -3e-4, "CD1_2": 0.0, "CD2_1": 0.0,
         "CD2_2": 3e-4, "PV2_1": 1.0, "PV2_3": -20.0}
    )  # fmt: skip
    from astropy.wcs import WCS  # noqa: PLC0415, this test alone needs it

    found = header_projection(header, (300, 400))
    ra, dec = WCS(header).all_pix2world([10.0, 390.0], [290.0, 5.0], 0)
    x, y = found.sky_to_pixel(ra, dec)
    np.testing.assert_allclose(x, [10, 390], atol=0.05)
    np.testing.assert_allclose(y, [290, 5], atol=0.05)


def test_galactic_and_old_coordinates_are_turned_to_icrs():
    header = Header(
        {"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN", "CRVAL1": 120.0, "CRVAL2": 10.0,
         "CRPIX1": 50.0, "CRPIX2": 50.0, "CDELT1": -1e-3, "CDELT2": 1e-3}
    )  # fmt: skip
    found = header_projection(header, (100, 100))
    from astropy.coordinates import SkyCoord  # noqa: PLC0415, this test alone needs it

    place = SkyCoord(120.0, 10.0, unit="deg", frame="galactic").icrs
    x, y = found.sky_to_pixel(place.ra.deg, place.dec.deg)
    assert (float(x), float(y)) == pytest.approx((49.0, 49.0), abs=0.02)


@pytest.mark.parametrize(
    "cards",
    [
        {},
        {"CTYPE1": "LINEAR", "CTYPE2": "LINEAR"},
        {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 1.0, "CRVAL2": 2.0, "CRPIX1": 1.0,
         "CRPIX2": 1.0, "CD1_1": 0.0, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 0.0},
    ],
)  # fmt: skip
def test_no_projection_from_a_header_without_one(cards):
    assert header_projection(Header(cards), (100, 100)) is None


# --- truth, on many images -----------------------------------------------------------------------


def test_magnitudes_of_a_few_images_agree_with_the_truth():
    told = np.array([pull for pull, *_ in pulls(range(8), give_colour=True, colour_term=0.1)])
    assert np.abs(told).max() < 4
    assert abs(told.mean()) < 1.1


def nightly(*values):
    return pytest.param(*values, marks=pytest.mark.nightly)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "truth", "images"),
    [
        nightly("colours given", {"give_colour": True, "colour_term": 0.15}, 200),
        ("colours not known", {"give_colour": False, "colour_term": 0.15}, 50),
        nightly("colours not known", {"give_colour": False, "colour_term": 0.15}, 200),
        nightly("no colours", {"give_colour": False, "with_colours": False, "system": "Vega",
                               "band": "VT"}, 200),
        nightly("tall and tilted", {"give_colour": False, "shape": (440, 260),
                                    "gradient": 0.06}, 200),
    ],
)  # fmt: skip
def test_magnitudes_are_unbiased_with_honest_errors(name, truth, images):
    told = pulls(range(images), **truth)
    pull = np.array([row[0] for row in told])
    of_few = math.sqrt(200 / images)
    assert abs(pull.mean()) <= 0.15 * of_few, (name, pull.mean())
    assert pull.std() == pytest.approx(1.0, abs=0.15 * of_few), name
    assert np.mean(np.abs(pull) > 4) <= 0.01
    # Magnitudes themselves, of what is well seen: a logarithm of noise is not symmetric.
    seen = [(mag - true) / err for _, mag, err, true in told if mag is not None and err < 0.15]
    assert abs(np.mean(seen)) <= 0.2 * of_few
    assert np.std(seen) == pytest.approx(1.0, abs=0.15 * of_few)


@pytest.mark.slow
@pytest.mark.parametrize(("images", "within"), [(6, 0.08), nightly(16, 0.05)])
def test_half_of_the_stars_at_the_stated_limit_are_found(images, within):
    found, tried = 0, 0
    for seed in range(images):
        limit = analysed(
            simulated_image(seed, mag=18.0, stars=STARS), artificial_stars=1200
        ).result.limit
        # The same sky with stars of exactly that magnitude, and other noise.
        rng = np.random.default_rng(seed + 500)
        x, y = (g.ravel() for g in np.meshgrid(np.arange(20, 405, 40.0), np.arange(20, 285, 40.0)))
        x, y = x + rng.uniform(0, 15, x.size), y + rng.uniform(0, 15, y.size)
        extra = np.stack([x, y, np.full(x.size, limit)])
        bench = analysed(simulated_image(seed, mag=18.0, stars=STARS, extra=extra))
        without = analysed(simulated_image(seed, mag=18.0, stars=STARS))
        near, before = (_is_found(b, x, y) for b in (bench, without))
        found, tried = found + int((near & ~before).sum()), tried + len(x)
    assert tried >= 60 * images
    assert found / tried == pytest.approx(0.5, abs=within)


def _is_found(bench, x, y):
    seen = bench.detection.sources
    apart = np.hypot(x[:, None] - seen.x_win, y[:, None] - seen.y_win)
    return apart.min(axis=1) < 0.75 * bench.fwhm
