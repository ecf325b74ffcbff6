"""A file of several images: the one that holds the target is found, named, or missed clearly."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from firstlight.catalogs.tycho2 import Tycho2
from firstlight.pipeline.header_projection import shifted
from firstlight.pipeline.image_analysis_sections import is_beside_the_image
from firstlight.pipeline.image_analysis_settings import ImageAnalysisSettings
from firstlight.services.image_analysis.image_facts import image_facts
from firstlight.services.image_measurement import ImageMeasurementService
from firstlight.simulation import NightSettings, simulate_night
from simulated_image import simulated_image

MAG, HALF, GAP = 17.0, 420, 20
FEW = {"artificial_stars": 100}


@pytest.fixture(scope="module")
def wide():
    """Two detectors' worth of sky, with the target on the right one."""
    return simulated_image(
        4, mag=MAG, shape=(300, 2 * HALF + GAP), stars=300, place=(HALF + GAP + 150.0, 140.0)
    )


def halves(simulated, *, wcs=True, pixels=None):
    """The two detectors, side by side."""
    found = []
    for number, name in enumerate(("LEFT", "RIGHT")):
        start = number * (HALF + GAP)
        data = simulated.raw.pixels[:, start : start + HALF]
        header = fits.Header()
        if wcs:
            header = fits.Header(shifted(simulated.projection, start, 0).to_header())
        found.append(fits.ImageHDU(data if pixels is None else pixels[number], header, name=name))
    return found


def write(simulated, path, hdus, *, pointing=False):
    kept = ("GAIN", "RDNOISE", "SATURATE", "EXPTIME", "DATE-OBS", "FILTER")
    primary = fits.Header({key: simulated.raw.header[key] for key in kept})
    if pointing:
        primary["RA"], primary["DEC"] = simulated.projection.crval
    fits.HDUList([fits.PrimaryHDU(header=primary), *hdus]).writeto(path)
    return path


def measured(simulated, path, place=None, steps=None, **given):
    service = ImageMeasurementService(catalog=lambda _: simulated.catalog, quads=None)
    settings = ImageAnalysisSettings(**FEW, **given)
    said = None if steps is None else (lambda each: steps.append((each.name, each.state)))
    return service.measure(path, place or (simulated.ra, simulated.dec), settings, on_step=said)


def is_right(result, section="RIGHT"):
    result.raise_if_failed()
    assert result.section == section
    assert result.name.endswith(f"[{section}]")
    facts = result.step("inspect").facts
    assert (facts["section"], facts["sections"]) == (section, 2)
    assert abs(result.magnitude - MAG) < 4 * result.magnitude_err


def test_the_section_whose_coordinates_hold_the_target(wide, tmp_path):
    path = write(wide, tmp_path / "a.fits", halves(wide))
    steps = []
    is_right(measured(wide, path, steps=steps))
    assert [each for each in steps if each == ("inspect", "running")] == [("inspect", "running")]
    assert image_facts(path, "a.fits")["sections"] == ["LEFT", "RIGHT"]


def test_coordinates_that_are_wrong_lead_to_the_right_section(tmp_path):
    """By the header the target is on the left; what that one's solution tells leads to the right.

    The telescope is told to point to where it does not: 80 pixels beside.
    """
    simulated = simulated_image(
        4, mag=MAG, shape=(300, 2 * HALF + GAP), stars=300, place=(HALF + GAP + 40.0, 140.0)
    )
    hdus = halves(simulated)
    target = simulated.projection.pixel_to_sky(HALF + GAP + 40.0 + 80.0, 140.0)
    for hdu in hdus:
        hdu.header["CRVAL1"] += float(target[0]) - simulated.ra
        hdu.header["CRVAL2"] += float(target[1]) - simulated.dec
    path = write(simulated, tmp_path / "a.fits", hdus)
    steps = []
    is_right(measured(simulated, path, steps=steps))
    assert steps.count(("inspect", "running")) == 2
    assert ("target", "failed") not in steps


def test_without_coordinates_each_is_solved(wide, tmp_path):
    path = write(wide, tmp_path / "a.fits", halves(wide, wcs=False), pointing=True)
    is_right(measured(wide, path, scale=(1.0, 1.2)))


def test_a_section_that_is_dead_is_passed_over(wide, tmp_path):
    dead = np.zeros((300, HALF), np.uint16)
    pixels = [dead, wide.raw.pixels[:, HALF + GAP :][:, :HALF]]
    hdus = halves(wide, wcs=False, pixels=pixels)
    path = write(wide, tmp_path / "a.fits", hdus, pointing=True)
    is_right(measured(wide, path, scale=(1.0, 1.2)))


@pytest.mark.parametrize("wanted", ["right", "1", "RIGHT"])
def test_a_section_may_be_named(wide, tmp_path, wanted):
    path = write(wide, tmp_path / "a.fits", halves(wide))
    is_right(measured(wide, path, section=wanted))
    wrong = measured(wide, path, section="LEFT")
    assert wrong.fault.code == "analysis.outside"


def test_names_of_which_there_is_none(wide, tmp_path):
    path = write(wide, tmp_path / "a.fits", halves(wide))
    fault = measured(wide, path, section="MIDDLE").fault
    assert fault.code == "instrument.unknown_section"
    assert "LEFT (0), RIGHT (1)" in fault.expected
    alone = tmp_path / "alone.fits"
    fits.PrimaryHDU(wide.raw.pixels, wide.raw.header).writeto(alone)
    assert "only one image" in measured(wide, alone, section="MIDDLE").fault.expected


@pytest.mark.parametrize("wcs", [True, False])
def test_a_target_in_no_section(wide, tmp_path, wcs):
    path = write(wide, tmp_path / "a.fits", halves(wide, wcs=wcs), pointing=True)
    gap = tuple(float(v) for v in wide.projection.pixel_to_sky(HALF + GAP / 2, 150.0))
    result = measured(wide, path, gap, scale=(1.0, 1.2))
    assert result.fault.code == "analysis.no_section"
    assert result.step("target").error["code"] == "analysis.no_section"
    assert "pixel" in result.fault.found
    assert result.fault.subject == "a.fits"
    far = measured(wide, path, (gap[0], gap[1] + 5.0), scale=(1.0, 1.2))
    assert far.fault.code == "analysis.no_section"


def test_planes_of_errors_and_flags_are_not_the_sky(tmp_path):
    simulated = simulated_image(4, mag=MAG, stars=130)
    wcs = fits.Header(simulated.projection.to_header())
    shape = simulated.raw.pixels.shape
    hdus = [
        fits.ImageHDU(np.zeros(shape, np.int16), wcs, name="DQ"),
        fits.ImageHDU(np.full(shape, 3.0, np.float32), wcs, name="ERR_1"),
        fits.ImageHDU(simulated.raw.pixels, wcs, name="SCI"),
    ]
    path = write(simulated, tmp_path / "a.fits", hdus)
    result = measured(simulated, path)
    result.raise_if_failed()
    assert result.section == "SCI"
    assert image_facts(path, "a.fits")["sections"] == ["SCI"]
    assert is_beside_the_image("bpm2")
    assert not is_beside_the_image("ccd2")


@pytest.mark.parametrize("section", ["A", "B"])
def test_a_camera_knows_where_its_sections_are(tmp_path, section):
    """The simulated camera tells no WCS; its class tells how its two detectors lie."""
    truth = simulate_night(
        NightSettings(n_exposures=1, n_bias=0, n_dark=0, n_flat=0), tmp_path, catalog=Tycho2()
    )
    frame = next(p for p in sorted(tmp_path.rglob("*.fit*")) if "truth" not in p.parts)
    stars, (x, y) = truth.stars, truth.positions(0, section)
    inside = truth.inside(0, section, margin=100) & (np.abs(stars.magnitude - 10.8) < 0.3)
    alone = [
        k for k in np.flatnonzero(inside)
        if np.sort(np.hypot(x - x[k], y - y[k]))[1] > 15
    ]  # fmt: skip
    star = alone[0]
    service = ImageMeasurementService(catalog=lambda _: Tycho2(), quads=None)
    place = float(stars.ra[star]), float(stars.dec[star])
    result = service.measure(frame, place, ImageAnalysisSettings(**FEW))
    result.raise_if_failed()
    assert result.section == section
    assert abs(result.magnitude - stars.magnitude[star]) < 4 * np.hypot(result.magnitude_err, 0.03)
