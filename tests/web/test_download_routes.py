import datetime as dt
import io
import uuid
import zipfile

import numpy as np
import pytest
from archived import archive
from astropy.io import fits
from PIL import Image

from firstlight.models.observation import Observation

PIXELS = np.arange(600, dtype=np.int16).reshape(20, 30)
NAME = "tst-kb001ms-20220629-00000001-EX00.fits.fz"


def packed():
    stream = io.BytesIO()
    hdus = [fits.PrimaryHDU(), fits.CompImageHDU(PIXELS, compression_type="RICE_1")]
    fits.HDUList(hdus).writeto(stream)
    return stream.getvalue()


@pytest.fixture
def client(make_client):
    return make_client(public_sites=("tst", "sro"))


@pytest.fixture
def exposures(database, store):
    content = packed()
    return [
        archive(
            database, store, number, site=site, minute=number,
            roles=("fits_large", "jpg_medium"), contents={"fits_large": content},
        )
        for number, site in [(1, "tst"), (2, "tst"), (3, "mrc")]
    ]  # fmt: skip


def pixels_of(content):
    with fits.open(io.BytesIO(content)) as opened:
        return next(hdu.data for hdu in opened if hdu.data is not None)


def test_plain_fits_and_pictures(client, exposures):
    path = f"/api/exposures/{exposures[0].id}"
    plain = client.get(path + "/fits")
    assert plain.status_code == 200, plain.text
    assert (
        'filename="tst-kb001ms-20220629-00000001-EX00.fits"' in plain.headers["Content-Disposition"]
    )
    np.testing.assert_array_equal(pixels_of(plain.content), PIXELS)
    tiff = client.get(path + "/tiff?stretch=linear")
    assert tiff.headers["Content-Type"] == "image/tiff"
    assert Image.open(io.BytesIO(tiff.content)).size == (30, 20)
    assert client.get(path + "/tiff?stretch=square").status_code == 400
    assert client.get(path + "/fits?name=nothing").status_code == 404


def test_downloads_are_for_those_who_may_see_them(client, exposures):
    hidden = exposures[2]
    assert client.get(f"/api/exposures/{hidden.id}/fits").status_code == 404
    assert client.get(f"/api/exposures/{hidden.id}/tiff").status_code == 404
    period = {"start": "2022-06-30T00:00:00Z", "end": "2022-07-01T00:00:00Z"}
    assert client.get("/api/sites/mrc/zip", params=period).status_code == 401


def test_a_period_in_one_archive(client, exposures):
    period = {"start": "2022-06-30T04:16:00Z", "end": "2022-06-30T04:17:00Z"}
    answer = client.get("/api/sites/tst/zip", params=period)
    assert answer.headers["Content-Type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive_:
        assert archive_.namelist() == [NAME]
        assert archive_.read(NAME) == packed()
    none = client.get("/api/sites/tst/zip", params={**period, "end": "2022-06-30T04:16:00Z"})
    assert none.status_code == 404
    naive = client.get("/api/sites/tst/zip", params={**period, "end": "2022-06-30T04:16:00"})
    assert naive.status_code == 400


def local(url):
    return url.removeprefix("http://archive.example")


@pytest.mark.parametrize("kind", ["fits.fz", "fz", "other"])
def test_photon_ranchs_stored_file(client, exposures, kind):
    body = {"object_name": NAME, "s3_directory": "data", "image_type": kind}
    answer = client.post("/photonranch/download", json=body)
    assert client.get(local(answer.json())).content == packed()


def test_photon_ranchs_converted_files(client, exposures):
    body = {"object_name": NAME, "s3_directory": "data", "image_type": "fits"}
    address = client.post("/photonranch/download", json=body).json()
    np.testing.assert_array_equal(pixels_of(client.get(local(address)).content), PIXELS)
    for kind in ("tif", "tiff"):
        wish = {**body, "image_type": kind, "stretch": "linear"}
        address = client.post("/photonranch/download", json=wish).json()
        assert Image.open(io.BytesIO(client.get(local(address)).content)).size == (30, 20)


@pytest.mark.parametrize("kind", ["fits", "tif", "fz"])
def test_photon_ranch_gives_nothing_that_one_may_not_see(client, exposures, kind):
    body = {"object_name": NAME.replace("tst", "mrc").replace("1-EX", "3-EX")}
    answer = client.post("/photonranch/download", json={**body, "image_type": kind})
    assert answer.status_code == 404
    info = {**body, "s3_directory": "info-images"}
    assert client.post("/photonranch/download", json=info).status_code == 401


def test_photon_ranchs_archive(client, exposures):
    start = int(dt.datetime(2022, 6, 30, tzinfo=dt.UTC).timestamp())
    body = {"site": "tst", "start_timestamp_s": start, "end_timestamp_s": start + 86400}
    answer = client.post("/photonranch/downloadzip", json={**body, "fits_size": "large"})
    assert answer.status_code == 200, answer.text
    address = answer.json()["message"]
    got = client.get(local(address))
    with zipfile.ZipFile(io.BytesIO(got.content)) as archive_:
        assert len(archive_.namelist()) == 2
    none = client.post("/photonranch/downloadzip", json={**body, "fits_size": "small"})
    assert none.status_code == 404
    assert client.post("/photonranch/downloadzip", json={**body, "site": "mrc"}).status_code == 401
    forged = local(address)[:-4] + "AAAA"
    assert client.get(forged).status_code == 403
    assert client.get("/photonranch/zips/x").status_code == 403


@pytest.fixture
def observation(database, store):
    row = Observation(
        instrument="GenericFITS",
        target="M 101",
        night=dt.date(2022, 6, 29),
        sequence="PAN001_14d3bd_20220630T041500",
        site="tst",
    )
    row.id = uuid.uuid4()
    with database.begin() as session:
        session.add(row)
    for number in (1, 2):
        archive(database, store, number, minute=number, observation_id=row.id)
    return row


def test_observations(client, observation):
    found = client.get("/api/observations?min_images=2&unit=").json()["data"]
    assert [each["id"] for each in found["items"]] == [observation.sequence]
    assert client.get("/api/observations?min_images=3").json()["data"]["items"] == []
    assert client.get("/api/observations?nonsense=3").status_code == 400
    one = client.get(f"/api/observations/{observation.sequence}").json()["data"]["items"]
    assert len(one["images"]) == 2
    listed = client.get(f"/api/observations/{observation.id}/files.txt")
    assert listed.headers["Content-Type"].startswith("text/plain")
    assert 'filename="PAN001_14d3bd_20220630T041500.txt"' in listed.headers["Content-Disposition"]
    for address in listed.text.split():
        assert client.get(local(address)).content.startswith(b"jpg_medium of tst")
    (week,) = client.get("/api/observations/weeks").json()["data"]
    assert (week["year"], week["week"], week["num_images"]) == (2022, 26, 2)
    assert client.get("/api/observations/nothing").status_code == 404


def test_observations_are_for_those_who_may_see_them(make_client, observation, token):
    private = make_client()
    for path in ("", "/weeks", f"/{observation.sequence}", f"/{observation.id}/files.txt"):
        assert private.get(f"/api/observations{path}").status_code == 401
    other = private.services.access.make("other", ["read"], sites=["sro"]).token
    headers = {"Authorization": f"token {other}"}
    assert private.get("/api/observations", headers=headers).json()["data"]["items"] == []
    hidden = private.get(f"/api/observations/{observation.id}", headers=headers)
    assert hidden.status_code == 404
