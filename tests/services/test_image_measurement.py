"""Files of every kind, real frames, and the report."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image as Picture

from firstlight.catalogs.catalog_settings import CatalogSettings
from firstlight.catalogs.quad_index import quad_index
from firstlight.catalogs.registry import get_catalog
from firstlight.catalogs.tycho2 import Tycho2
from firstlight.errors import InvalidInput
from firstlight.pipeline.image_analysis_settings import ImageAnalysisSettings
from firstlight.services.image_measurement import (
    ImageMeasurementService,
    parse_place,
    read_raw_image,
)
from firstlight.services.measurement_pictures import PICTURES
from simulated_image import simulated_image

FEW = ImageAnalysisSettings(artificial_stars=150)
HATP32 = parse_place("02:04:10.28", "+46:41:16.2")


def service_for(catalog):
    return ImageMeasurementService(catalog=lambda _: catalog, quads=None)


def offline():
    catalogs = CatalogSettings()
    return ImageMeasurementService(
        catalog=lambda name: get_catalog(name or "tycho2", catalogs),
        quads=lambda: quad_index(Tycho2()),
    )


@pytest.fixture(scope="module")
def simulated():
    return simulated_image(3, mag=17.0, stars=130)


def write(simulated, path):
    raw = simulated.raw
    fits.PrimaryHDU(raw.pixels, raw.header).writeto(path)
    return path


@pytest.mark.parametrize("name", ["a.fits", "a.fits.gz", "a.fits.bz2"])
def test_packed_or_not_the_answer_is_the_same(simulated, tmp_path, name):
    path = write(simulated, tmp_path / name)
    result = service_for(simulated.catalog).measure(path, (simulated.ra, simulated.dec), FEW)
    assert abs(result.magnitude - 17.0) < 4 * result.magnitude_err


def test_tile_compressed_and_many_images_in_a_file(simulated, tmp_path):
    raw = simulated.raw
    own = {key: raw.header[key] for key in simulated.projection.to_header()}
    blank = np.full((60, 50), 7, np.uint16)
    common = fits.Header({k: v for k, v in raw.header.items() if k not in own and k != "BITPIX"})
    hdus = [
        fits.PrimaryHDU(header=common),
        fits.CompImageHDU(blank, name="ONE"),
        fits.CompImageHDU(raw.pixels, header=fits.Header(own), name="TWO"),
    ]
    path = tmp_path / "mosaic.fits.fz"
    fits.HDUList(hdus).writeto(path)
    found = read_raw_image(path, (simulated.ra, simulated.dec), FEW)
    assert found.pixels.shape == raw.pixels.shape
    assert found.header["GAIN"] == raw.header["GAIN"]
    result = service_for(simulated.catalog).measure(path, (simulated.ra, simulated.dec), FEW)
    assert abs(result.magnitude - 17.0) < 4 * result.magnitude_err


def test_a_picture_named_fits_is_told(tmp_path):
    path = tmp_path / "holiday.fits"
    Picture.fromarray(np.zeros((20, 30), np.uint8)).save(path, format="JPEG")
    result = offline().measure(path, (10.0, 20.0))
    assert result.fault.code == "fits.not_fits"
    assert result.step("inspect").state == "failed"
    assert {step.state for step in result.steps[1:]} == {"skipped"}
    assert result.as_dict()["magnitude"] is None


def test_a_missing_file_is_told(tmp_path):
    assert offline().measure(tmp_path / "no.fits", (10.0, 20.0)).fault.code == "file.missing"


def test_the_report_is_pictures(simulated, tmp_path):
    path = write(simulated, tmp_path / "a.fits")
    folder = tmp_path / "report" / "deep"
    service_for(simulated.catalog).measure(path, (simulated.ra, simulated.dec), FEW, report=folder)
    assert {p.stem for p in folder.glob("*.png")} == set(PICTURES)
    assert (folder / "result.json").is_file()
    for drawn in folder.glob("*.png"):
        with Picture.open(drawn) as picture:
            assert min(picture.size) > 300
            assert len(np.unique(np.asarray(picture.convert("L")))) > 20


def test_a_failure_draws_what_there_is(simulated, tmp_path):
    path = write(simulated, tmp_path / "a.fits")
    folder = tmp_path / "report"
    result = service_for(simulated.catalog).measure(
        path, (simulated.ra, simulated.dec - 1), FEW, report=folder
    )
    assert result.fault.code == "analysis.outside"
    assert {p.stem for p in folder.glob("*.png")} == {"field", "zero_point", "residuals", "limit"}


@pytest.mark.parametrize(
    ("ra", "dec", "expected"),
    [
        ("31.0428", "46.6878", (31.0428, 46.6878)),
        ("02:04:10.28", "+46:41:16.2", (31.0428333, 46.6878333)),
        ("02 04 10.28", "-46 41 16.2", (31.0428333, -46.6878333)),
        ("359.5", "-0.5", (359.5, -0.5)),
    ],
)
def test_places_in_degrees_and_hours(ra, dec, expected):
    assert parse_place(ra, dec) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("ra", "dec"), [("x", "1"), ("10", "91"), ("400", "1"), ("nan", "2")])
def test_no_places(ra, dec):
    with pytest.raises(InvalidInput):
        parse_place(ra, dec)


@pytest.mark.sample
@pytest.mark.parametrize("number", [2, 60])
def test_hatp32_agrees_with_the_catalogue(samples, number):
    frame = sorted((samples / "hatp32_microobs").glob("*.FITS"))[number]
    result = offline().measure(frame, HATP32, FEW)
    result.raise_if_failed()
    star = Tycho2().cone(*HATP32, 0.005)
    assert len(star) == 1
    apart = result.magnitude - star.mag[0]
    assert abs(apart) < 3 * np.hypot(result.magnitude_err, star.mag_err[0])
    assert (result.filter, result.system, result.image_filter) == ("VT", "Vega", "Clear")
    assert result.limit > 15.0


@pytest.mark.sample
@pytest.mark.parametrize(("section", "count"), [(None, 4), ("R", 3)])
def test_a_colour_camera_agrees_with_the_catalogue(samples, section, count):
    given = ImageAnalysisSettings(artificial_stars=100, filter=section)
    frame = samples / "panoptes" / "unsolved.fits"
    stars = Tycho2().cone(303.21, 46.02, 0.5, faintest=10.5)
    chosen = np.flatnonzero(stars.mag > 9.5)[:count]
    apart = []
    for k in chosen:
        result = offline().measure(frame, (stars.ra[k], stars.dec[k]), given)
        if result.magnitude is not None:
            apart.append((result.magnitude - stars.mag[k]) / result.magnitude_err)
    assert len(apart) >= count - 1
    assert np.abs(apart).max() < 4
    assert result.name == f"unsolved.fits[{section or 'G'}]"


@pytest.mark.sample
def test_a_frame_without_a_header_has_no_time(samples):
    result = offline().measure(samples / "panoptes" / "noheader.fits", (303.2, 46.0))
    assert result.fault.code in ("analysis.no_time", "analysis.unknown_gain")
