import datetime as dt
import uuid

import pytest

from firstlight.formats.base_filename import parse_name
from firstlight.models.arrival import Arrival
from firstlight.models.exposure import Exposure
from firstlight.models.exposure_file import ExposureFile

NOW = dt.datetime.now(dt.UTC)


@pytest.fixture
def uploads(database):
    with database.begin() as session:
        for number in range(5):
            row = Arrival(
                source=f"/folder/{number}",
                version="1",
                name=f"data/{number}.jpg",
                site="tst" if number else None,
                state="archived" if number % 2 else "quarantined",
            )
            row.identify()
            session.add(row)


def test_the_upload_log_of_a_site(client, token, uploads):
    headers = token("read", sites=["tst"])
    body = client.get("/api/sites/tst/uploads?limit=3", headers=headers).json()["data"]
    assert len(body["uploads"]) == 3
    rest = client.get(
        "/api/sites/tst/uploads", params={"cursor": body["next"]}, headers=headers
    ).json()["data"]
    assert (len(rest["uploads"]), rest["next"]) == (1, None)
    assert client.get("/api/sites/sro/uploads", headers=headers).status_code == 403
    assert client.get("/api/sites/tst/uploads").status_code == 401
    bad = client.get("/api/sites/tst/uploads?state=archived", headers=headers).json()["data"]
    assert {each["state"] for each in bad["uploads"]} == {"archived"}


def test_the_log_of_all_sites_shows_those_that_one_may_see(client, token, uploads):
    everything = client.get("/api/uploads", headers=token("read")).json()["data"]["uploads"]
    mine = client.get("/api/uploads", headers=token("read", sites=["tst"])).json()["data"]
    assert len(everything) == 5
    assert len(mine["uploads"]) == 4
    assert client.get("/api/uploads").status_code == 401


@pytest.fixture
def pin(client, database, store):
    def put(channel, name, content):
        parsed = parse_name(f"info-images/{name}")
        stored = store.put(f"info-images/{name}", content)
        with database.begin() as session:
            client.services.info_images.take(session, parsed, stored, now=NOW, channel=channel)

    return put


def test_what_is_pinned_to_a_site(client, token, pin):
    base = "tst-kb001ms-20220629-00000003"
    pin(2, f"{base}-EX10.jpg", b"picture")
    pin(2, f"{base}-EX00.fits.fz", b"pixels")
    headers = token("read", sites=["tst"])
    (image,) = client.get("/api/sites/tst/info-images", headers=headers).json()["data"]
    assert (image["channel"], image["base_filename"]) == (2, base)
    assert image["jpg_medium_exists"]
    assert client.get(image["jpg_url"], headers=headers).content == b"picture"
    assert client.get(image["fits_01_url"], headers=headers).content == b"pixels"
    assert [client.get(file["url"], headers=headers).status_code for file in image["files"]] == [
        200,
        200,
    ]
    one = client.get("/api/sites/tst/info-images/2", headers=headers).json()["data"]
    assert one == image
    for empty in ("/1", "/3", "/2/files/nothing.jpg", "/1/files/x"):
        answer = client.get(f"/api/sites/tst/info-images{empty}", headers=headers)
        assert answer.status_code == 404
    assert client.get("/api/sites/tst/info-images/4", headers=headers).status_code == 400


def test_what_is_pinned_is_for_those_who_may_see_it(client, token, pin):
    pin(1, "tst-kb001ms-20220629-00000003-EX10.jpg", b"picture")
    path = "/api/sites/tst/info-images/1/files/tst-kb001ms-20220629-00000003-EX10.jpg"
    for below in ("/api/sites/tst/info-images", "/api/sites/tst/info-images/1", path):
        assert client.get(below).status_code == 401
        assert client.get(below, headers=token("read", sites=["sro"])).status_code == 403
        assert client.get(below, headers=token("read", sites=["tst"])).status_code == 200


@pytest.fixture
def exposure(database, store):
    stored = store.put("raw/x-EX00.fits", b"pixels")
    row = Exposure(
        nofile=True,
        instrument="GenericFITS",
        site="tst",
        kind="unknown",
        base_filename="tst-kb001ms-20220629-00000003",
    )
    row.id = uuid.uuid4()
    with database.begin() as session:
        session.add(row)
        session.flush()
        file = ExposureFile(
            exposure_id=row.id,
            name="x-EX00.fits",
            role="fits_large",
            key=stored.key,
            size=stored.size,
            sha256=stored.sha256,
            md5=stored.md5,
        )
        file.identify()
        session.add(file)
    return row


def test_a_file_of_an_exposure_is_for_those_who_may_see_it(client, token, exposure, store):
    path = f"/api/exposures/{exposure.id}/files/x-EX00.fits"
    mine, other = token("read", sites=["tst"]), token("read", sites=["sro"])
    answer = client.get(path, headers=mine)
    assert (answer.status_code, answer.content) == (200, b"pixels")
    assert client.head(path, headers=mine).status_code == 200
    assert client.get(path, headers={**mine, "Range": "bytes=0-1"}).content == b"pi"
    hidden = client.get(path, headers=other)
    missing = client.get(path.replace("x-EX00", "y"), headers=other)
    assert hidden.status_code == missing.status_code == 404, "one cannot tell which"
    assert hidden.json()["data"]["code"] == missing.json()["data"]["code"]
    assert client.get(path).status_code == 401
    assert client.get(path, headers=token("upload")).status_code == 403
    store.delete("raw/x-EX00.fits")
    assert client.get(path, headers=mine).status_code == 404
