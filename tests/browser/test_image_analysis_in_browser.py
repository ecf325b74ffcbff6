"""An image becomes a point of a light curve, click by click, as the seed's usage tells it."""

import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits
from image_analysis_page import add_object, ended, upload
from patience import expect
from pyarrow.parquet import read_table

from firstlight.catalogs.tycho2 import Tycho2

pytestmark = pytest.mark.slow

HAT_P_32 = (31.042833, 46.687833)
VT_OF_HAT_P_32 = 11.4  # Tycho-2: 11.44 +- 0.1


def packed(source, target):
    """A FITS file as `fpack` makes it."""
    with fits.open(source) as stored:
        plain = stored[0] if stored[0].data is not None else stored[1]
        image = fits.CompImageHDU(plain.data, plain.header, compression_type="RICE_1")
        fits.HDUList([fits.PrimaryHDU(), image]).writeto(target)
    return target


@pytest.mark.sample
def test_the_way_of_a_real_image(portal, open_page, samples, tmp_path):
    frame = sorted((samples / "hatp32_microobs").glob("*.FITS"))[30]
    add_object(portal, "HAT-P-32", *HAT_P_32)
    page = open_page("/objects/HAT-P-32")
    page.wait_for_selector("text=No photometry yet")
    upload(page, packed(frame, tmp_path / "field.fits.fz"))
    assert page.input_value("[name=filter]") == "Clear"
    assert float(page.input_value("[name=gain]")) > 0
    assert ended(page) == "done"
    page.wait_for_selector(".toast:has-text('field.fits.fz')")
    assert page.inner_text("[data-count]") == "1"
    for title in ("Plate solution", "Zero point", "Detection limit"):
        expect(page.locator(f".steps .done:has-text('{title}')")).to_have_count(1)
    for picture in page.locator(".report img").all():
        picture.scroll_into_view_if_needed()
        assert picture.evaluate("each => each.decode().then(() => each.naturalWidth)") > 100
    page.click("button:has-text('Accept')")
    page.click("#decision >> text=Look at it")
    page.wait_for_selector("#light-curve[data-points='1']")
    page.wait_for_selector("#points >> text=image analysis")
    page.locator("#light-curve canvas").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("[data-tip] img")
    told = page.inner_text("[data-tip]").split("AB mag")[1].split("±")
    magnitude, error = float(told[0]), float(told[1].split()[0])
    assert abs(magnitude - VT_OF_HAT_P_32) < max(3 * error, 0.3)
    page.goto("/notifications")
    page.click("text=field.fits.fz")
    page.wait_for_selector("#run")
    page.on("dialog", lambda dialog: dialog.accept())
    page.click("button:has-text('Discard')")
    page.wait_for_selector("text=there is no point of it")
    page.goto("/objects/HAT-P-32")
    page.wait_for_selector("text=No photometry yet")


@pytest.mark.sample
def test_the_way_of_a_colour_mosaic(portal, open_page, samples):
    """A PANOPTES frame without a WCS: a star of Tycho-2 has the catalogue's magnitude."""
    stars = Tycho2().cone(303.2, 46.02, 0.6, epoch=2016.7)
    star = int(np.flatnonzero(stars.mag > 9.6)[0])
    add_object(portal, "Tycho star", float(stars.ra[star]), float(stars.dec[star]))
    page = open_page("/objects/Tycho star")
    upload(page, samples / "panoptes" / "unsolved.fits")
    assert page.input_value("[name=instrument]") == "PANOPTES"
    assert ended(page) == "done", page.inner_text("#fault")
    assert "solved" in page.inner_text(".steps .done:has-text('Plate solution')")
    magnitude, error = (float(each) for each in page.inner_text(".result b").split("±"))
    assert abs(magnitude - stars.mag[star]) < 3 * np.hypot(error, stars.mag_err[star])
    assert error < 0.2
    page.click("button:has-text('Accept')")
    page.click("#decision >> text=Look at it")
    page.wait_for_selector("#light-curve[data-points='1']")


def test_the_way_of_a_simulated_image(portal, open_page, tmp_path):
    sky = tmp_path / "sky"
    command = [sys.executable, "-m", "firstlight", "simulate", sky, "--exposures", "1"]
    subprocess.run(command, check=True, capture_output=True)
    stars = read_table(sky / "truth" / "stars.parquet").to_pylist()
    seen = read_table(sky / "truth" / "photometry.parquet").to_pylist()
    # One star of the first section, far from its edges and neither faint nor saturated.
    chosen = next(
        each for each in seen
        if each["section"] == "A" and 10.5 < each["magnitude"] < 11.5
        and 200 < each["x"] < 800 and 200 < each["y"] < 800
    )  # fmt: skip
    star = stars[chosen["star"]]
    add_object(portal, "Known", star["ra"], star["dec"])
    frame = next(sky.glob("*science*"))
    page = open_page("/objects/Known")
    upload(page, frame)
    assert ended(page) == "done", page.inner_text("#fault")
    page.click("button:has-text('Accept')")
    result = page.inner_text(".result b").split("±")
    assert abs(float(result[0]) - chosen["magnitude"]) < 4 * float(result[1]) + 0.02
    page.click("#decision >> text=Look at it")
    page.wait_for_selector("#light-curve[data-points='1']")


def test_an_image_is_uploaded_without_scripts(portal, open_page, tmp_path):
    add_object(portal, "Plain", 12.0, 10.0)
    file = tmp_path / "plain.fits"
    fits.PrimaryHDU(header=fits.Header({"FILTER": "r"})).writeto(file)
    page = open_page("/objects/Plain/image_analysis", java_script_enabled=False)
    page.set_input_files("#files", str(file))
    page.click("button:has-text('Upload')")
    page.wait_for_selector("#choices")
    page.click("#choices button.primary")
    page.wait_for_selector("#run")
