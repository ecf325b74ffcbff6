"""Files that give no magnitude: each ends in its row with the step, the reason, what to try."""

from __future__ import annotations

import bz2
import gzip
import io

import numpy as np
import pytest
from image_portal import Portal, fits_bytes
from PIL import Image as Picture
from sqlalchemy import select

from firstlight.models.account import UserNotification
from firstlight.models.image_analysis import UploadedImage
from firstlight.services.image_analysis.image_analysis_engines import FirstlightMeasurer
from firstlight.services.image_analysis.image_analysis_limits import ImageAnalysisLimits
from firstlight.services.image_analysis.image_analysis_shapes import STEP_NAMES
from simulated_image import simulated_image

STARS = 130


@pytest.fixture
def portal(database, store):
    return Portal(database, store)


@pytest.fixture
def ada(portal):
    return portal.user("ada")


@pytest.fixture(scope="module")
def simulated():
    return simulated_image(1, mag=17.0, stars=STARS)


def with_pixels(simulated, pixels):
    raw = simulated.raw
    return type(raw)(raw.name, pixels, raw.header, raw.camera, raw.section_id)


def refused(
    portal, ada, simulated, code, *steps,
    content=None, filename="field.fits", name="wrong", **given,
):  # fmt: skip
    """The analysis fails at one of the steps with a code; whoever asked is told what to do."""
    portal.object(name, simulated.ra, simulated.dec, [ada])
    told = portal.analysed(ada, simulated, name=name, content=content, filename=filename, **given)
    assert told["state"] == "failed"
    error = told["error"]
    assert error["code"] == code, error
    assert error["step"] in steps, error
    assert error["title"]
    assert len(error["message"]) > 10
    assert len(error["hint"]) > 10
    assert told["preview"] is None
    assert not told["may"]["accept"]
    assert told["may"]["rerun"]
    states = [each["state"] for each in told["steps"]]
    failed = STEP_NAMES.index(error["step"])
    assert states[failed] == "failed"
    assert "running" not in states
    assert "waiting" not in states
    note = portal.rows(select(UserNotification))[-1]
    assert note.kind == "error"
    assert error["message"] in note.text
    return error


def test_a_picture_named_fits(portal, ada, simulated):
    stream = io.BytesIO()
    Picture.new("RGB", (64, 64), (90, 20, 10)).save(stream, "JPEG")
    upload = portal.upload(ada, stream.getvalue(), "photo.fits")
    assert upload["facts"]["error"]["found"] == "a JPEG picture"
    error = refused(
        portal, ada, simulated, "image_upload.not_fits", "inspect",
        content=stream.getvalue(), filename="photo.fits",
    )  # fmt: skip
    assert "JPEG" in str(error["found"])


def test_half_a_file(portal, ada, simulated):
    content = fits_bytes(simulated.raw)
    upload = portal.upload(ada, content[: len(content) // 2])
    assert upload["facts"]["gain"] == 1.7  # the header is whole
    error = refused(
        portal,
        ada,
        simulated,
        "fits.truncated_data",
        "inspect",
        content=content[: len(content) // 2],
    )
    assert error["found"]


def test_half_a_packed_file(portal, ada, simulated):
    content = gzip.compress(fits_bytes(simulated.raw))
    refused(
        portal, ada, simulated, "file.corrupt_stream", "inspect",
        content=content[: len(content) // 2], filename="half.fits.gz",
    )  # fmt: skip


def test_no_wcs_and_few_stars(portal, ada):
    few = simulated_image(1, mag=17.0, stars=2, wcs=False)
    refused(portal, ada, few, "astrometry.not_solved", "plate_solve")


def test_a_target_outside_the_image(portal, ada):
    outside = simulated_image(1, mag=17.0, stars=STARS)
    outside.dec += 0.2
    refused(portal, ada, outside, "analysis.outside", "target")


def test_a_saturated_target(portal, ada):
    bright = simulated_image(2, mag=12.6, stars=STARS)
    refused(portal, ada, bright, "analysis.saturated", "target", saturation=30000)


def test_no_pixel_says_anything(portal, ada, simulated):
    blank = np.full((300, 420), np.nan, np.float32)
    content = fits_bytes(with_pixels(simulated, blank))
    refused(portal, ada, simulated, "fits.all_nan", "inspect", content=content)


def test_no_gain_and_no_time(portal, ada):
    silent = simulated_image(1, mag=17.0, stars=STARS)
    del silent.raw.header["GAIN"]
    error = refused(portal, ada, silent, "analysis.unknown_gain", "inspect")
    assert "gain" in error["hint"]
    told = portal.analysed(ada, silent, name="wrong", gain=1.7)
    assert told["state"] == "done"
    timeless = simulated_image(1, mag=17.0, stars=STARS)
    del timeless.raw.header["DATE-OBS"]
    error = refused(portal, ada, timeless, "analysis.no_time", "inspect", name="timeless")
    assert "obstime" in error["hint"], "as the API and the command name it"
    told = portal.analysed(ada, timeless, name="timeless", obstime="2024-03-01T12:00:00")
    assert told["state"] == "done"


def test_two_gigabytes(portal, ada, simulated, tmp_path):
    """A file of 2 GB on the disk (with nothing in it) is refused by its header alone."""
    header = simulated.raw.header.copy()
    side = 23_170
    cards = {"SIMPLE": True, "BITPIX": -32, "NAXIS": 2, "NAXIS1": side, "NAXIS2": side}
    lines = "".join(
        f"{name:<8}= {'T' if value is True else value:>20}".ljust(80)
        for name, value in cards.items()
    )
    lines += header.tostring(endcard=True, padding=False).split("BITPIX")[0] + "END".ljust(80)
    head = lines.encode().ljust(-(-len(lines) // 2880) * 2880)
    upload = portal.upload(ada, fits_bytes(simulated.raw), "huge.fits")
    row = portal.rows(select(UploadedImage))[0]
    with (tmp_path / "data" / row.key).open("wb") as file:
        file.write(head)
        file.truncate(-(-(len(head) + 4 * side * side) // 2880) * 2880)
    assert (tmp_path / "data" / row.key).stat().st_size > 2_000_000_000
    portal.object("star", simulated.ra, simulated.dec, [ada])
    portal.catalog = simulated.catalog
    started = portal.analyses.start(ada, "star", [upload["id"]])[0]
    portal.run.run({"analysis": started["id"]})
    error = portal.analyses.get(ada, started["id"])["error"]
    assert (error["code"], error["step"]) == ("analysis.too_large", "inspect")
    assert "120 million pixels" in error["expected"]
    assert "cut out" in error["hint"]


@pytest.mark.parametrize(("pack", "suffix"), [(gzip.compress, "gz"), (bz2.compress, "bz2")])
def test_a_small_file_that_unpacks_without_end(database, store, simulated, pack, suffix):
    portal = Portal(database, store, ImageAnalysisLimits(max_unpacked_bytes=3_000_000))
    ada = portal.user("ada")
    bomb = pack(fits_bytes(simulated.raw) + bytes(20_000_000))
    error = refused(
        portal, ada, simulated, "analysis.too_large", "inspect",
        content=bomb, filename=f"bomb.fits.{suffix}",
    )  # fmt: skip
    assert "unpacked" in error["message"]
    told = portal.analysed(
        ada, simulated, name="wrong", content=pack(fits_bytes(simulated.raw)),
        filename=f"good.fits.{suffix}",
    )  # fmt: skip
    assert told["state"] == "done"


def test_an_image_that_needs_more_memory_than_is_allowed(database, store, simulated):
    portal = Portal(database, store, ImageAnalysisLimits(memory_mb=256))
    ada = portal.user("ada")
    large = np.tile(simulated.raw.pixels, (14, 14))  # 24.7 million pixels, 49 MB
    content = fits_bytes(with_pixels(simulated, large))
    # Where exactly depends on how much this process has taken and freed before.
    hungry = "mask", "cosmic_rays", "background"
    error = refused(portal, ada, simulated, "analysis.memory", *hungry, content=content)
    assert "bin the image" in error["hint"]
    # The worker goes on with the next one.
    assert portal.analysed(ada, simulated, name="wrong")["state"] == "done"


def test_a_fault_of_the_program_is_told_as_one(database, store, simulated):
    class Broken:
        def measure(self, *args, **options):
            raise ZeroDivisionError("of all things")

    portal = Portal(database, store, measurers={"stdpipe": Broken()})
    ada = portal.user("ada")
    error = refused(portal, ada, simulated, "internal", "inspect", engine="stdpipe")
    assert "tell whoever runs this portal" in error["hint"]


def test_a_report_that_cannot_be_drawn_does_not_lose_the_magnitude(
    portal, ada, simulated, monkeypatch
):
    portal.run._measurers["firstlight"] = FirstlightMeasurer(None)

    def broken(bench, folder):
        raise ValueError("no ink")

    monkeypatch.setattr(
        "firstlight.services.image_analysis.image_analysis_engines.draw_report", broken
    )
    portal.object("star", simulated.ra, simulated.dec, [ada])
    told = portal.analysed(ada, simulated)
    assert told["state"] == "done"
    assert told["preview"]["methods"]
    assert told["steps"][-1]["state"] == "failed"
    assert "no ink" in told["steps"][-1]["message"]
    assert told["may"]["accept"]


def test_one_that_was_cancelled_is_not_run(portal, ada, simulated):
    portal.object("star", simulated.ra, simulated.dec, [ada])
    portal.catalog = simulated.catalog
    upload = portal.upload(ada, fits_bytes(simulated.raw))
    started = portal.analyses.start(ada, "star", [upload["id"]])[0]
    assert portal.analyses.cancel(ada, started["id"])["state"] == "cancelled"
    assert portal.run.run({"analysis": started["id"]})["state"] == "ended before"
    assert portal.analyses.get(ada, started["id"])["state"] == "cancelled"
    assert portal.rows(select(UserNotification)) == []


def test_one_cancelled_while_it_runs_stays_cancelled(portal, ada, simulated, monkeypatch):
    portal.object("star", simulated.ra, simulated.dec, [ada])
    number = []

    def cancel_first(*args, **options):
        portal.analyses.cancel(ada, number[0])
        return real(*args, **options)

    real = portal.run._measurers["firstlight"].measure
    monkeypatch.setattr(portal.run._measurers["firstlight"], "measure", cancel_first)
    portal.catalog = simulated.catalog
    upload = portal.upload(ada, fits_bytes(simulated.raw))
    number.append(portal.analyses.start(ada, "star", [upload["id"]])[0]["id"])
    assert portal.run.run({"analysis": number[0]})["state"] == "cancelled"
    told = portal.analyses.get(ada, number[0])
    assert (told["state"], told["preview"]) == ("cancelled", None)
