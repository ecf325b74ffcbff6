"""Files that cannot be measured: the page says which step failed, why, and what to try."""

import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits
from image_analysis_page import add_object, ended, upload
from patience import expect
from PIL import Image as Picture
from pyarrow.parquet import read_table

pytestmark = pytest.mark.slow

SETTINGS = "[image_analysis]\nmax_upload_bytes = 8000000\n"
HEADER = {"GAIN": 1.5, "EXPTIME": 30.0, "DATE-OBS": "2024-10-23T07:18:00", "FILTER": "V"}
SATURATED = 52_000  # ADU, somewhat below what the pixels of the simulated camera hold


@pytest.fixture(scope="module")
def sky(tmp_path_factory):
    """A frame of the simulated sky, and its stars where they are in it, brightest first."""
    folder = tmp_path_factory.mktemp("sky")
    command = [sys.executable, "-m", "firstlight", "simulate", folder, "--exposures", "1"]
    subprocess.run(command, check=True, capture_output=True)
    stars = read_table(folder / "truth" / "stars.parquet").to_pylist()
    seen = read_table(folder / "truth" / "photometry.parquet").to_pylist()
    inside = [
        {**stars[each["star"]], **each}
        for each in seen
        if each["section"] == "A" and 100 < each["x"] < 900 and 100 < each["y"] < 900
    ]
    return next(folder.glob("*science*")), sorted(inside, key=lambda each: each["magnitude"])


def two_stars(folder):
    """Noise with two stars, and no word of where it points."""
    rng = np.random.default_rng(1)
    pixels = rng.normal(300.0, 12.0, (256, 320))
    y, x = np.mgrid[:256, :320]
    for star_x, star_y in ((90.0, 70.0), (200.0, 150.0)):
        pixels += 3000.0 * np.exp(-((x - star_x) ** 2 + (y - star_y) ** 2) / 4.0)
    path = folder / "two_stars.fits"
    fits.PrimaryHDU(pixels.astype(np.uint16), fits.Header(HEADER)).writeto(path)
    return path


def failed(page, step, *words):
    """The page tells of the failure in its note, among the steps, and to whoever looks away."""
    assert page.get_attribute("#run", "data-state") == "failed"
    fault = page.inner_text("#fault")
    assert fault.startswith(step), fault
    assert "What to try: " in fault
    for word in words:
        assert word in fault, fault
    assert page.inner_text(".steps .failed b") == step
    expect(page.locator(".steps .running, .steps .waiting")).to_have_count(0)
    expect(page.locator("button:has-text('Accept')")).to_have_count(0)
    page.wait_for_selector(f".toast.error:has-text('{page.inner_text('h1')}')")
    return fault


def test_a_picture_named_fits(portal, open_page, tmp_path):
    wrong = tmp_path / "picture.fits"
    Picture.new("RGB", (320, 240), (90, 20, 10)).save(wrong, "JPEG")
    add_object(portal, "Picture", 10.0, 10.0)
    page = open_page("/objects/Picture")
    upload(page, wrong)
    # Told at once, before anything is started.
    assert "JPEG" in page.inner_text("#upload .note.error")
    ended(page)
    failed(page, "Look at the image", "no FITS image", "JPEG")
    # Other choices do not make an image of it.
    expect(page.locator("#fold-rerun")).to_have_count(1)
    expect(page.locator("#fold-rerun[open]")).to_have_count(0)
    page.click("#fault >> text=Upload another image")
    page.wait_for_selector("#upload")


def test_no_coordinates_and_few_stars(portal, open_page, tmp_path):
    add_object(portal, "Few stars", 20.0, 10.0)
    page = open_page("/objects/Few stars")
    upload(page, two_stars(tmp_path))
    ended(page)
    failed(page, "Plate solution", "not solved", "sources")
    expect(page.locator("#fold-rerun[open]")).to_have_count(1)


def test_a_target_outside_the_image(portal, open_page, sky):
    frame, stars = sky
    add_object(portal, "Outside", stars[0]["ra"], stars[0]["dec"] + 3.0)
    page = open_page("/objects/Outside")
    upload(page, frame)
    ended(page)
    failed(page, "Photometry of the target", "holds the target", "pixel", "check the position")


def test_a_saturated_target(portal, open_page, sky):
    frame, stars = sky
    add_object(portal, "Bright", stars[0]["ra"], stars[0]["dec"])
    page = open_page("/objects/Bright")
    upload(page, frame)
    page.fill("[name=saturation]", "8000")
    ended(page)
    failed(page, "Photometry of the target", "saturated", "8000 ADU", "a shorter exposure")


def test_no_pixel_says_anything(portal, open_page, tmp_path):
    blank = tmp_path / "blank.fits"
    fits.PrimaryHDU(np.full((300, 400), np.nan, np.float32), fits.Header(HEADER)).writeto(blank)
    add_object(portal, "Blank", 30.0, 10.0)
    page = open_page("/objects/Blank")
    upload(page, blank)
    ended(page)
    failed(page, "Look at the image", "undefined pixels")


@pytest.mark.parametrize("size", [9_000_000, 2_200_000_000])
def test_an_image_that_is_too_large_is_not_sent(portal, open_page, tmp_path, size):
    add_object(portal, f"Far {size}", 11.0, 10.0)
    page = open_page(f"/objects/Far {size}/image_analysis")
    page.set_input_files("#files", str(sparse(tmp_path / "large.fits", size)))
    page.wait_for_selector(".files .wrong")
    told = page.inner_text(".files .wrong")
    assert "at most 8.0 MB" in told
    assert "fpack" in told


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (9_000_000, ("larger than this portal takes", "large.fits", "at most 8.0 MB")),
        # Refused by what the browser announces, before a byte is read.
        (2_200_000_000, ("too large", "2200.0 MB")),
    ],
)
def test_an_image_that_is_too_large_is_refused_without_scripts(
    portal, open_page, tmp_path, size, words
):
    add_object(portal, f"Plain {size}", 12.0, 10.0)
    page = open_page(f"/objects/Plain {size}/image_analysis", java_script_enabled=False)
    page.set_input_files("#files", str(sparse(tmp_path / "large.fits", size)))
    page.click("button:has-text('Upload')")
    page.wait_for_selector(".fault")
    told = page.inner_text(".fault")
    for word in (*words, "fpack"):
        assert word in told
    open_page.complaints.clear()  # the browser's own word of the status 413


def sparse(path, size):
    """A file of so many bytes that takes no room on the disk."""
    with path.open("wb") as file:
        file.truncate(size)
    return path
