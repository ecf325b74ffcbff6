"""Image analysis over HTTP: forms of several files, the former route, reports, refusals."""

from __future__ import annotations

import base64
import io
import json
import uuid

import pytest
from astropy.io import fits

from firstlight.algorithms.sky.sky_index import healpix_index
from firstlight.models.audience import public_audience
from firstlight.models.object import Object
from firstlight.services.image_analysis.accepted_photometry import AcceptedPhotometry
from firstlight.services.image_analysis.image_analyses import Catalogues, ImageAnalysisService
from firstlight.services.image_analysis.image_analysis_engines import FirstlightMeasurer
from firstlight.services.image_analysis.image_analysis_limits import ImageAnalysisLimits
from firstlight.services.image_analysis.image_analysis_run import ImageAnalysisRun
from firstlight.services.image_analysis.image_uploads import ImageUploadService
from firstlight.services.objects.bandpasses import Bandpasses
from simulated_image import simulated_image

FEW = {"artificial_stars": 150}
PATH = "/api/sources/star/image_analyses"
LIMITS = ImageAnalysisLimits(max_upload_bytes=2_000_000, max_images=3)


@pytest.fixture(scope="module")
def simulated():
    return simulated_image(3, mag=17.5, stars=130)


@pytest.fixture(scope="module")
def image(simulated):
    stream = io.BytesIO()
    fits.PrimaryHDU(simulated.raw.pixels, simulated.raw.header).writeto(stream)
    return stream.getvalue()


@pytest.fixture
def portal(make_services, make_client, database, store, simulated):
    services = make_services(open_on_loopback=False)
    services.image_uploads = ImageUploadService(database=database, store=store, limits=LIMITS)
    services.image_analyses = ImageAnalysisService(
        database=database,
        files=services.served_files,
        photometry=AcceptedPhotometry(Bandpasses().offset),
        catalogues=lambda: Catalogues(["tycho2"], ["tycho2"], "tycho2"),
        engines=lambda: ["firstlight"],
        limits=LIMITS,
    )
    with database.begin() as session:
        session.add(
            Object(
                id=uuid.uuid4(),
                name="star",
                ra=simulated.ra,
                dec=simulated.dec,
                hpx=int(healpix_index(simulated.ra, simulated.dec)),
                origin="test",
                audience_id=public_audience(session),
            )
        )
    return make_client(services)


@pytest.fixture
def worker(database, store, simulated):
    return ImageAnalysisRun(
        database=database,
        store=store,
        measurers={"firstlight": FirstlightMeasurer(None)},
        catalog=lambda _: simulated.catalog,
        limits=LIMITS,
    )


@pytest.fixture
def operator(portal):
    new = portal.services.access.make("operator", ["admin"])
    return {"Authorization": f"token {new.token}"}


def data_of(answer, status=200):
    assert answer.status_code == status, answer.text
    return answer.json()["data"]


def refusal(answer):
    told = answer.json()
    assert told["status"] == "error"
    return answer.status_code, told["data"]["code"]


def test_the_way_of_an_image(portal, operator, worker, image):
    started = data_of(
        portal.post(
            PATH,
            files=[("file", ("one.fits", image)), ("file", ("two.fits", image))],
            data={"parameters": json.dumps(FEW), "gain": "1.7", "filter": ""},
            headers=operator,
        ),
        202,
    )
    assert [each["filename"] for each in started] == ["one.fits", "two.fits"]
    assert started[0]["parameters"] == {"gain": 1.7, **FEW}
    number = started[0]["id"]
    worker.run({"analysis": number})
    listed = data_of(portal.get(PATH, headers=operator))
    assert listed["total"] == 2
    assert {each["state"] for each in listed["analyses"]} == {"queued", "done"}
    told = data_of(portal.get(f"{PATH}/{number}", headers=operator))
    picture = portal.get(told["pictures"][0]["url"], headers=operator)
    assert picture.status_code == 200
    assert picture.headers["content-type"] == "image/png"
    assert picture.content[:4] == b"\x89PNG"
    assert portal.get(told["plots_url"], headers=operator).json()["band"] == "r"
    accepted = data_of(
        portal.post(f"{PATH}/{number}/accept", json={"method": "aperture"}, headers=operator)
    )
    assert accepted["photometry_id"] is not None
    assert data_of(portal.post(f"{PATH}/{number}/discard", headers=operator))["discarded_at"]
    again = portal.post(f"{PATH}/{number}/rerun", json={"parameters": FEW}, headers=operator)
    assert data_of(again, 202)["state"] == "queued"
    other = started[1]["id"]
    assert data_of(portal.post(f"{PATH}/{other}/cancel", headers=operator))["state"] == "cancelled"


def test_images_may_be_uploaded_first(portal, operator, image):
    uploads = data_of(
        portal.post("/api/image_uploads", files={"file": ("a b.fits", image)}, headers=operator),
        201,
    )
    assert uploads[0]["facts"]["filter"] == "r"
    upload = uploads[0]["id"]
    assert data_of(portal.get(f"/api/image_uploads/{upload}", headers=operator)) == uploads[0]
    query = {"object": "star", "upload_id": upload}
    address = "/api/internal/image_analysis/defaults"
    defaults = data_of(portal.get(address, params=query, headers=operator))
    assert defaults["parameters"]["gain"] == 1.7
    started = portal.post(
        PATH, json={"upload_ids": [upload], "parameters": {"method": "psf"}}, headers=operator
    )
    assert data_of(started, 202)[0]["parameters"] == {"method": "psf"}


def test_the_former_route_takes_a_data_url(portal, operator, image):
    body = {
        "instrument_id": "",
        "image_data": "data:application/octet-stream;name=old%20way.fits;base64,"
        + base64.b64encode(image).decode(),
        "obstime": "2024-03-01T04:05:06",
        "filter": "r",
        "saturation": 50000,
        "s_n_detection": 5,
        "crossmatch_catalog": "ps1",
    }
    address = "/api/internal/sources/star/image_analysis"
    told = data_of(portal.post(address, json=body, headers=operator), 202)[0]
    assert told["filename"] == "old way.fits"
    assert told["parameters"]["saturation"] == 50000
    assert told["parameters"]["obstime"] == "2024-03-01T04:05:06"
    for damaged in ("data:x;base64,####", "data:x,AAAA", "no url"):
        answer = portal.post(address, json={"image_data": damaged}, headers=operator)
        assert refusal(answer) == (400, "image_upload.data_url")
    large = "data:;base64," + "A" * 2_666_680  # 2,000,010 bytes, by its length
    answer = portal.post(address, json={"image_data": large}, headers=operator)
    assert refusal(answer) == (413, "image_upload.too_large")


def test_a_body_of_the_former_route_is_bounded(make_services, make_client):
    services = make_services(open_on_loopback=False, max_body_bytes=2000, max_data_bytes=3000)
    client = make_client(services)
    address = "/api/internal/sources/star/image_analysis"
    answer = client.post(address, json={"image_data": "A" * 4000})
    assert refusal(answer) == (413, "web.body_too_large")
    assert answer.json()["data"]["expected"] == "at most 3000 bytes"


def test_what_is_too_large_is_refused(portal, operator, image):
    large = {"file": ("large.fits", b"\0" * 2_000_001)}
    for address in (PATH, "/api/image_uploads"):
        answer = portal.post(address, files=large, headers=operator)
        assert refusal(answer) == (413, "image_upload.too_large")
        assert "max_upload_bytes" in answer.json()["data"]["hint"]
        many = [("file", (f"{k}.fits", image)) for k in range(4)]
        assert refusal(portal.post(address, files=many, headers=operator))[0] == 400
        # By the length that is announced, before anything is read.
        headers = {**operator, "Content-Type": "multipart/form-data; boundary=x"}
        answer = portal.post(
            address, content=b"", headers={**headers, "Content-Length": "99999999"}
        )
        assert refusal(answer) == (413, "image_upload.too_large")


def test_forms_that_are_none(portal, operator, image):
    for address in (PATH, "/api/image_uploads"):
        headers = {**operator, "Content-Type": "multipart/form-data; boundary=x"}
        for body in (b"", b"--x\r\n\r\n", b"not a form at all", b"--x\r\nContent-Dis"):
            answer = portal.post(address, content=body, headers=headers)
            assert refusal(answer) == (400, "web.bad_form")
    assert refusal(portal.post(PATH, data={"a": "b"}, headers=operator))[0] == 400
    for body in ({"upload_ids": []}, {"upload_ids": ["x"], "more": 1}, [1], {}):
        assert refusal(portal.post(PATH, json=body, headers=operator)) == (400, "input.invalid")
    answer = portal.post(PATH, json={"upload_ids": ["x"]}, headers=operator)
    assert refusal(answer) == (404, "image_upload.missing")
    answer = portal.post(
        PATH, files={"file": ("a.fits", image)}, data={"parameters": "{"}, headers=operator
    )
    assert refusal(answer) == (400, "input.invalid")


def test_strangers(portal, operator, image):
    upload = {"file": ("a.fits", image)}
    started = data_of(portal.post(PATH, files=upload, headers=operator), 202)[0]
    one = f"{PATH}/{started['id']}"
    assert data_of(portal.get(PATH))["total"] == 0  # the object is public, the analysis is not
    for address in (one, f"{one}/report/field.png"):
        assert refusal(portal.get(address)) == (404, "image_analysis.missing")
    for address in (PATH, "/api/image_uploads"):
        assert refusal(portal.post(address, files=upload))[0] == 401
    for verb in ("accept", "discard", "rerun"):
        assert refusal(portal.post(f"{one}/{verb}"))[0] == 401
    assert refusal(portal.post(f"{one}/cancel"))[0] == 404
    assert refusal(portal.get(f"/api/image_uploads/{started['upload_id']}"))[0] == 404
    reader = portal.services.access.make("reader", ["read"])
    headers = {"Authorization": f"token {reader.token}"}
    assert refusal(portal.post(PATH, files=upload, headers=headers))[0] == 403
    answer = portal.post("/api/sources/none/image_analyses", files=upload, headers=operator)
    assert refusal(answer) == (404, "object.missing")


def test_the_form_offers_the_sections_of_a_file(portal, operator, simulated):
    stream = io.BytesIO()
    hdus = [fits.ImageHDU(simulated.raw.pixels, name=name) for name in ("EAST", "WEST")]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(stream)
    one = io.BytesIO()
    fits.PrimaryHDU(simulated.raw.pixels).writeto(one)
    shown = []
    for content in (stream.getvalue(), one.getvalue()):
        uploaded = portal.post(
            "/api/image_uploads", files={"file": ("a.fits", content)}, headers=operator
        )
        query = {"upload": data_of(uploaded, 201)[0]["id"]}
        page = portal.get("/objects/star/image_analysis", params=query, headers=operator)
        assert page.status_code == 200
        shown.append(page.text)
    assert '<option value="">the one that holds the target</option>' in shown[0]
    assert "<option>EAST</option><option>WEST</option>" in shown[0]
    assert 'name="section"' not in shown[1]


def test_the_page_of_an_analysis_tells_filter_band_and_what_to_do(portal, operator, worker, image):
    shown = []
    for content in (image, b"\xff\xd8\xff\xe0" + bytes(3000)):
        form = {"parameters": json.dumps({**FEW, "filter": "Clear"})}
        files = {"file": ("a.fits", content)}
        started = portal.post(PATH, files=files, data=form, headers=operator)
        number = data_of(started, 202)[0]["id"]
        worker.run({"analysis": number})
        page = portal.get(f"/objects/star/image_analyses/{number}", headers=operator)
        assert page.status_code == 200
        shown.append(" ".join(page.text.split()))
    assert "Clear = <b>17." in shown[0]
    assert '<span class="quiet">AB, as r of simulated</span>' in shown[0]
    assert '<dt>Tied to</dt><dd class="number">r (AB)</dd>' in shown[0]
    assert "Upload another image" not in shown[0]
    assert "Upload another image" in shown[1]
    assert 'id="fold-rerun"><summary>' in shown[1]
