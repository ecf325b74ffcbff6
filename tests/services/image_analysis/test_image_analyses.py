"""Image analysis as a user has it: upload, live steps, preview, a point on the light curve."""

from __future__ import annotations

import gzip
import io
import json
import uuid
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from astropy.io import fits
from image_portal import OPERATOR, Portal, fits_bytes
from sqlalchemy import select

from firstlight.errors import FirstlightError, InvalidInput
from firstlight.models.account import UserNotification
from firstlight.models.event import Event
from firstlight.models.image_analysis import ImageAnalysis
from firstlight.models.object import PhotometrySummary
from firstlight.models.photometry import Photometry
from firstlight.models.provenance import Provenance
from firstlight.services.access import Forbidden, NotSignedIn, Viewer
from firstlight.services.image_analysis.image_analyses import (
    ImageAnalysisMissing,
    QueueFull,
    ReportMissing,
    WrongState,
)
from firstlight.services.image_analysis.image_analysis_engines import FirstlightMeasurer
from firstlight.services.image_analysis.image_analysis_limits import ImageAnalysisLimits
from firstlight.services.image_analysis.image_analysis_shapes import STEP_NAMES
from firstlight.services.image_analysis.image_uploads import (
    ImageEmpty,
    ImageTooLarge,
    ImageUploadMissing,
)
from firstlight.services.objects.light_curve_plot import LightCurvePlots
from firstlight.services.objects.visible_objects import ObjectMissing
from simulated_image import simulated_image

MAG, STARS = 17.5, 130


@pytest.fixture
def portal(database, store):
    return Portal(database, store)


@pytest.fixture(scope="module")
def simulated():
    return simulated_image(3, mag=MAG, stars=STARS, colour_term=0.1)


@pytest.fixture
def ada(portal, simulated):
    ada = portal.user("ada")
    portal.object("star", simulated.ra, simulated.dec, [ada])
    return ada


# --- from upload to light curve ------------------------------------------------------------------


def test_an_upload_tells_what_its_header_tells(portal, ada, simulated):
    packed = fits_bytes(simulated.raw, packed=True)
    for name, content in (
        ("a.fits", fits_bytes(simulated.raw)),
        ("b.fits.fz", packed),
        ("c.fits.gz", gzip.compress(fits_bytes(simulated.raw))),
    ):
        told = portal.upload(ada, content, name)
        facts = told["facts"]
        assert told["filename"] == name
        assert facts["error"] is None
        assert facts["shape"] == [300, 420]
        assert facts["filter"] == "r"
        assert facts["gain"] == 1.7
        assert facts["gain_from"] == "header"
        assert facts["saturation"] == 60000
        assert facts["mjd"] == pytest.approx(60370.170382, abs=1e-5)
        assert facts["has_wcs"]
        assert facts["pixel_scale"] == pytest.approx(1.1, abs=1e-3)
        assert portal.uploads.get(ada, told["id"]) == told
    defaults = portal.analyses.defaults(ada, "star", told["id"])
    assert defaults["parameters"]["gain"] == 1.7
    assert defaults["object"]["ra"] == simulated.ra
    assert defaults["references"] == []
    assert {engine["name"]: engine["available"] for engine in defaults["engines"]} == {
        "firstlight": True,
        "stdpipe": False,
    }


def test_an_image_becomes_a_point_of_the_light_curve(portal, ada, simulated):
    packed = fits_bytes(simulated.raw, packed=True)
    told = portal.analysed(
        ada, simulated, content=packed, filename="night.fits.fz", colour=simulated.colour
    )
    assert told["state"] == "done"
    assert [step["name"] for step in told["steps"]] == list(STEP_NAMES)
    assert {step["state"] for step in told["steps"]} == {"done"}
    assert all(step["seconds"] is not None and step["started_at"] for step in told["steps"])
    preview = told["preview"]
    measured = preview["methods"]["psf"]
    assert abs(measured["magnitude"] - MAG) < 4 * measured["magnitude_err"]
    assert measured["colour_term"] == pytest.approx(-0.1, abs=0.06)
    assert (preview["filter"], preview["system"]) == ("r", "AB")
    assert told["may"] == {"cancel": False, "accept": True, "discard": True, "rerun": True}

    accepted = portal.analyses.accept(ada, told["id"], method="psf")
    point = portal.rows(select(Photometry))[0]
    assert accepted["photometry_id"] == point.id
    assert (point.origin, point.image_analysis_id) == ("image_analysis", told["id"])
    assert point.mag == measured["magnitude"]
    assert point.mag_err == measured["magnitude_err"]
    assert point.flux_ujy == pytest.approx(10 ** (-0.4 * (point.mag - 23.9)), rel=1e-6)
    assert point.limiting_mag == pytest.approx(measured["limit"])
    assert point.mjd == preview["mjd"]
    assert point.filter == "r"
    assert point.altdata["method"] == "psf"
    assert portal.rows(select(Provenance.id)) == [point.provenance_id]
    assert portal.rows(select(PhotometrySummary))[0].n_points == 1
    with pytest.raises(WrongState):
        portal.analyses.accept(ada, told["id"])

    discarded = portal.analyses.discard(ada, told["id"])
    assert discarded["photometry_id"] is None
    assert portal.rows(select(Photometry)) == []
    assert portal.rows(select(PhotometrySummary)) == []
    again = portal.analyses.accept(ada, told["id"], method="aperture")
    assert again["discarded_at"] is None
    assert portal.rows(select(Photometry))[0].altdata["method"] == "aperture"


def test_watchers_are_told_every_step_and_the_user_of_the_end_once(portal, ada, simulated):
    told = portal.analysed(ada, simulated)
    events = portal.rows(select(Event).where(Event.topic == "image_analysis"))
    steps = [event.data.get("step") for event in events if event.data.get("step")]
    assert steps == list(STEP_NAMES)
    assert [event.data["state"] for event in events][:2] == ["queued", "running"]
    assert events[-1].data == {"analysis": told["id"], "object": "star", "state": "done"}
    row = portal.rows(select(ImageAnalysis))[0]
    assert {event.audience_id for event in events} == {row.audience_id}
    portal.run.run({"analysis": told["id"]})  # a worker that comes again
    notes = portal.rows(select(UserNotification))
    assert [(note.user_id, note.kind) for note in notes] == [(ada.user_id, "success")]
    assert notes[0].url == f"/source/star/image_analyses/{told['id']}"
    assert "field.fits: r (AB) = 17." in notes[0].text


def test_the_report_holds_pictures_and_their_numbers(portal, ada, simulated):
    portal.run._measurers["firstlight"] = FirstlightMeasurer(None)
    told = portal.analysed(ada, simulated)
    names = [picture["name"] for picture in told["pictures"]]
    assert names == ["field.png", "zero_point.png", "residuals.png", "limit.png", "cutout.png"]
    for name in names:
        picture = portal.analyses.report_file(ada, told["id"], name)
        assert b"".join(picture.pieces(0, 8)) == b"\x89PNG\r\n\x1a\n"
        assert picture.media_type == "image/png"
    file = portal.analyses.report_file(ada, told["id"], "plots.json")
    plots = json.loads(b"".join(file.pieces(0, file.size)))
    stars = plots["calibrators"]
    used = np.array(stars["used"])
    assert used.sum() >= 20
    assert abs(np.array(stars["residual"], float)[used].mean()) < 0.02
    assert len({len(stars[key]) for key in ("x", "y", "mag", "colour", "residual", "used")}) == 1
    assert np.shape(plots["zero_point"]["z"]) == (24, 24)
    found = plots["completeness"]["share"]
    assert np.mean(found[:3]) > 0.7  # of some sixty stars, in a field where many have neighbours
    assert found[-1] < 0.3
    with pytest.raises(ReportMissing):
        portal.analyses.report_file(ada, told["id"], "../secret.key")


def test_an_upper_limit_is_accepted_as_one(portal, ada, simulated):
    empty = simulated_image(5, mag=30.0, stars=STARS)
    portal.object("nothing", empty.ra, empty.dec, [ada])
    told = portal.analysed(ada, empty, name="nothing")
    assert not told["preview"]["methods"]["psf"]["detected"]
    portal.analyses.accept(ada, told["id"])
    point = portal.rows(select(Photometry))[0]
    assert point.mag is None
    assert abs(point.flux_ujy) < 4 * point.flux_err_ujy
    assert 20.5 < point.limiting_mag < 22.5
    assert point.limit_sigma == 5.0


@pytest.mark.parametrize(("band", "offset"), [("VT", -0.017), ("bessellr", 0.1933), ("R", None)])
def test_vega_magnitudes_become_ab_fluxes_where_the_offset_is_known(portal, ada, band, offset):
    vega = simulated_image(6, mag=17.0, stars=STARS, system="Vega", band=band)
    portal.object("vega", vega.ra, vega.dec, [ada])
    told = portal.analysed(ada, vega, name="vega")
    portal.analyses.accept(ada, told["id"])
    point = portal.rows(select(Photometry))[0]
    assert (point.filter, point.mag_system) == (band, "Vega")
    assert abs(point.mag - 17.0) < 4 * point.mag_err
    if offset is None:
        assert (point.flux_ujy, point.limiting_mag) == (None, None)
        return
    assert point.flux_ujy == pytest.approx(10 ** (-0.4 * (point.mag + offset - 23.9)), rel=1e-3)
    method = told["preview"]["chosen"]
    limit = told["preview"]["methods"][method]["limit"]
    assert point.limiting_mag == pytest.approx(limit + offset, abs=1e-4)


@pytest.mark.parametrize(("own", "filter_"), [("Clear", "Clear"), (None, "VT")])
def test_a_point_bears_the_filter_of_its_image(portal, ada, own, filter_):
    """So it is in one series with the camera's other points; the band it is tied to is kept."""
    vega = simulated_image(6, mag=17.0, stars=STARS, system="Vega", band="VT")
    del vega.raw.header["FILTER"]
    if own is not None:
        vega.raw.header["FILTER"] = own
    portal.object("vega", vega.ra, vega.dec, [ada])
    told = portal.analysed(ada, vega, name="vega")
    assert (told["preview"]["filter"], told["preview"]["band"]) == (filter_, "VT")
    portal.analyses.accept(ada, told["id"])
    point = portal.rows(select(Photometry))[0]
    assert (point.filter, point.mag_system) == (filter_, "Vega")
    assert point.altdata["catalog_band"] == "VT"
    # The flux is by the catalogue's band: V_T of Vega is 0.017 mag fainter than its AB magnitude.
    assert point.flux_ujy == pytest.approx(10 ** (-0.4 * (point.mag - 0.017 - 23.9)), rel=1e-3)
    note = portal.rows(select(UserNotification))[-1].text
    assert (": VT (Vega) = 1" if own is None else ": Clear, as VT (Vega) = 1") in note


def test_points_of_one_camera_and_filter_are_one_series(portal, ada, simulated):
    told = portal.analysed(ada, simulated)
    portal.analyses.accept(ada, told["id"])
    with portal.database.begin() as session:
        point = session.scalars(select(Photometry)).one()
        same = ("object_id", "instrument_id", "audience_id", "filter", "mag_system")
        columns = {name: getattr(point, name) for name in same}
        session.add(Photometry(key=uuid.uuid4(), mjd=point.mjd + 1, flux_ujy=1.0, **columns))
        sent = {**columns, "origin": "somebody"}
        session.add(Photometry(key=uuid.uuid4(), mjd=point.mjd + 2, flux_ujy=1.0, **sent))
    curve = LightCurvePlots(database=portal.database).curve(ada, "star")
    assert curve.series.tolist() == [0, 0, 1]


def test_the_section_of_a_file_is_told(portal, ada, simulated):
    blank = np.full((50, 60), 7, np.uint16)
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(blank, name="BLUE")]
    hdus += [fits.ImageHDU(simulated.raw.pixels, simulated.raw.header, name="RED")]
    stream = io.BytesIO()
    fits.HDUList(hdus).writeto(stream, output_verify="silentfix")
    told = portal.analysed(ada, simulated, content=stream.getvalue(), filename="two.fits")
    assert told["preview"]["section"] == "RED"
    assert told["steps"][0]["message"].startswith("section RED of 2, 420 × 300 pixels")
    portal.analyses.accept(ada, told["id"])
    assert portal.rows(select(Photometry))[0].altdata["section"] == "RED"
    upload = portal.uploads.get(ada, told["upload_id"])
    assert upload["facts"]["sections"] == ["BLUE", "RED"]
    wrong = portal.analysed(
        ada, simulated, content=stream.getvalue(), filename="two.fits", section="GREEN"
    )
    assert wrong["error"]["code"] == "instrument.unknown_section"
    assert "BLUE" in wrong["error"]["expected"]


def test_a_run_with_other_parameters_is_another(portal, ada, simulated):
    first = portal.analysed(ada, simulated)
    second = portal.analyses.rerun(ada, first["id"], {"aperture": 1.4, "artificial_stars": 150})
    assert second["id"] != first["id"]
    assert second["state"] == "queued"
    assert second["queue_position"] == 1
    portal.run.run({"analysis": second["id"]})
    told = portal.analyses.list(ada, "star")
    assert told["total"] == 2
    assert [row["id"] for row in told["analyses"]] == [second["id"], first["id"]]
    zero = [row["preview"]["methods"]["aperture"]["zero_point"] for row in told["analyses"]]
    assert zero[0] > zero[1] + 0.02  # a larger circle holds more of the light
    lineages = {row.provenance_id for row in portal.rows(select(ImageAnalysis))}
    assert len(lineages) == 2


def test_another_place_may_be_measured(portal, ada, simulated):
    told = portal.analysed(ada, simulated, ra=simulated.ra, dec=simulated.dec + 15 / 3600)
    assert told["preview"]["dec"] == pytest.approx(simulated.dec + 15 / 3600)


# --- who may ------------------------------------------------------------------------------------


def test_strangers_see_nothing_and_change_nothing(portal, ada, simulated):
    told = portal.analysed(ada, simulated)
    eve = portal.user("eve")
    stranger = Viewer(public_sites=frozenset())
    number, upload = told["id"], told["upload_id"]
    for viewer in (eve, stranger):
        with pytest.raises(ImageAnalysisMissing):
            portal.analyses.get(viewer, number)
        with pytest.raises(ImageAnalysisMissing):
            portal.analyses.report_file(viewer, number, "field.png")
        with pytest.raises(ImageUploadMissing):
            portal.uploads.get(viewer, upload)
    for ask in (portal.analyses.cancel, portal.analyses.discard, portal.analyses.accept):
        with pytest.raises(ImageAnalysisMissing):
            ask(eve, number)
    # One who sees the object does not see the analysis with it.
    portal.object("shared", simulated.ra, simulated.dec, [ada, eve])
    with pytest.raises(ImageUploadMissing):
        portal.analyses.start(eve, "shared", [upload])
    with pytest.raises(NotSignedIn):
        portal.upload(stranger, b"SIMPLE")
    with pytest.raises(NotSignedIn):
        portal.analyses.start(stranger, "star", [upload])


def test_a_group_that_it_is_shared_with_sees_it_and_leaves_it(portal, simulated):
    ada, bob = portal.user("ada"), portal.user("bob")
    portal.object("star", simulated.ra, simulated.dec, [ada, bob])
    together = sorted(ada.groups & bob.groups)
    portal.catalog = simulated.catalog
    upload = portal.upload(ada, fits_bytes(simulated.raw))
    told = portal.analyses.start(ada, "star", [upload["id"]], group_ids=together)[0]
    seen = portal.analyses.get(bob, told["id"])
    assert not seen["is_own"]
    assert not any(seen["may"].values())
    with pytest.raises(Forbidden):
        portal.analyses.cancel(bob, told["id"])
    with pytest.raises(InvalidInput):
        portal.analyses.start(ada, "star", [upload["id"]], group_ids=[987654])
    assert portal.analyses.cancel(OPERATOR, told["id"])["state"] == "cancelled"


def test_an_object_that_one_may_not_see_is_missing(portal, ada, simulated):
    upload = portal.upload(ada, fits_bytes(simulated.raw))
    portal.object("hidden", 1.0, 2.0)
    for name in ("hidden", "not there"):
        with pytest.raises(ObjectMissing):
            portal.analyses.start(ada, name, [upload["id"]])
        with pytest.raises(ObjectMissing):
            portal.analyses.expect(ada, name)


# --- what is refused at once ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"gain": -1}, "gain"),
        ({"gain": "nan"}, "gain"),
        ({"aperture": 100}, "aperture"),
        ({"obstime": "yesterday"}, "obstime"),
        ({"obstime": 5}, "obstime"),
        ({"ra": 10.0}, None),
        ({"ra": 10.0, "dec": 95.0}, None),
        ({"scale": "1"}, "scale.1"),
        ({"scale": [2.0, 1.0]}, None),
        ({"spatial_order": "four"}, "spatial_order"),
        ({"colour_of_the_dome": "white"}, "colour_of_the_dome"),
        ({"engine": "stdpipe"}, "engine"),
    ],
)
def test_parameters_that_make_no_sense(portal, ada, simulated, parameters, field):
    upload = portal.upload(ada, fits_bytes(simulated.raw))
    with pytest.raises(InvalidInput) as fault:
        portal.analyses.start(ada, "star", [upload["id"]], parameters)
    assert fault.value.field == field
    assert portal.rows(select(ImageAnalysis)) == []


def test_names_that_are_not_known(portal, ada, simulated):
    upload = portal.upload(ada, fits_bytes(simulated.raw))
    for parameters, code in (
        ({"catalog": "usno"}, "catalog.unknown"),
        ({"instrument": "Hubble"}, "instrument.unknown"),
    ):
        with pytest.raises(FirstlightError) as fault:
            portal.analyses.start(ada, "star", [upload["id"]], parameters)
        assert fault.value.code == code


def test_empty_fields_of_the_form_are_found_out(portal, ada, simulated):
    empty = dict.fromkeys(("gain", "filter", "obstime", "catalog", "spatial_order", "ra"), "")
    told = portal.analysed(ada, simulated, **empty)
    assert told["state"] == "done"
    assert told["parameters"] == {"artificial_stars": 150}


def test_sizes_are_limited(database, store, simulated):
    portal = Portal(database, store, ImageAnalysisLimits(max_upload_bytes=200_000))
    ada = portal.user("ada")
    with pytest.raises(ImageTooLarge, match=r"max_upload_bytes"):
        portal.upload(ada, fits_bytes(simulated.raw))
    with pytest.raises(ImageTooLarge):
        portal.uploads.check_size(2 << 30)
    with pytest.raises(ImageTooLarge):
        portal.uploads.check_request(2 << 30)
    with pytest.raises(ImageEmpty):
        portal.upload(ada, b"")
    with pytest.raises(InvalidInput):
        portal.uploads.check_count(21)
    assert list(store.list("portal")) == []


def test_a_user_has_only_so_many_under_way(database, store, simulated):
    portal = Portal(database, store, ImageAnalysisLimits(queued_per_user=2))
    ada, bob = portal.user("ada"), portal.user("bob")
    portal.object("star", simulated.ra, simulated.dec, [ada, bob])
    uploads = [portal.upload(ada, fits_bytes(simulated.raw))["id"] for _ in range(3)]
    with pytest.raises(QueueFull):
        portal.analyses.start(ada, "star", uploads)
    started = portal.analyses.start(ada, "star", uploads[:2])
    with pytest.raises(QueueFull):
        portal.analyses.rerun(ada, started[0]["id"])
    his = portal.upload(bob, fits_bytes(simulated.raw))["id"]
    portal.analyses.start(bob, "star", [his])
    portal.analyses.cancel(ada, started[0]["id"])
    portal.analyses.start(ada, "star", uploads[2:])


def test_images_that_nobody_analyses_are_removed(database, store, simulated):
    portal = Portal(database, store, ImageAnalysisLimits(keep_unused_h=1e-9))
    ada = portal.user("ada")
    portal.object("star", simulated.ra, simulated.dec, [ada])
    kept, unused = (portal.upload(ada, fits_bytes(simulated.raw)) for _ in range(2))
    portal.analyses.start(ada, "star", [kept["id"]])
    assert portal.uploads.remove_unused() == 1
    with pytest.raises(ImageUploadMissing):
        portal.uploads.get(ada, unused["id"])
    assert len(list(store.list("portal/images"))) == 1
    assert portal.uploads.get(ada, kept["id"])


def test_analysed_images_are_removed_where_that_is_set(database, store, simulated):
    now = [datetime(2026, 1, 1, tzinfo=UTC)]
    portal = Portal(database, store, ImageAnalysisLimits(keep_analysed_days=30))
    for service in (portal.uploads, portal.analyses, portal.run):
        service._clock = lambda: now[0]
    ada = portal.user("ada")
    portal.object("star", simulated.ra, simulated.dec, [ada])
    done = portal.analysed(ada, simulated)
    portal.analyses.accept(ada, done["id"])
    waiting = portal.upload(ada, fits_bytes(simulated.raw))
    portal.analyses.start(ada, "star", [waiting["id"]])
    now[0] += timedelta(days=29)
    assert portal.uploads.sweep() == 0
    assert done["may"]["rerun"]
    now[0] += timedelta(days=2)
    assert portal.uploads.sweep() == 1  # the other one is still waited for
    assert portal.uploads.sweep() == 0
    assert len(list(store.list("portal/images"))) == 1
    told = portal.analyses.get(ada, done["id"])
    assert told["image_removed_at"].startswith("2026-02-01")
    assert told["photometry_id"] is not None
    assert not told["may"]["rerun"]
    assert told["may"]["discard"]
    with pytest.raises(ImageUploadMissing, match="upload the image again"):
        portal.analyses.rerun(ada, done["id"])


def test_analysed_images_stay_otherwise(portal, ada, simulated):
    portal.analysed(ada, simulated)
    portal.uploads._clock = lambda: datetime(2126, 1, 1, tzinfo=UTC)
    assert portal.uploads.sweep() == 0
