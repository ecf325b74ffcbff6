"""The contract of photonranch-api, as its clients use it."""

import datetime as dt

import pytest
from archived import archive

from firstlight.formats.base_filename import parse_name
from firstlight.models.arrival import Arrival

ALL = ("header_text", "fits_large", "fits_small", "jpg_medium", "thumbnail")
KEYS = {
    "image_id", "base_filename", "data_type", "site", "exposure_time", "filter_used",
    "right_ascension", "declination", "azimuth", "altitude", "airmass", "fits_01_exists",
    "fits_10_exists", "jpg_medium_exists", "jpg_small_exists", "s3_directory", "username",
    "user_id", "fits_filename", "fits_path", "SMARTSTK", "SSTKNUM", "capture_date", "sort_date",
    "jpg_url", "jpg_thumbnail_url",
}  # fmt: skip


@pytest.fixture
def client(make_client):
    return make_client(public_sites=("tst", "sro"))


@pytest.fixture
def exposures(database, store):
    return [
        archive(database, store, 1, minute=1, roles=ALL, user_id="tim"),
        archive(database, store, 2, minute=2, username="tim", filter="B"),
        archive(database, store, 3, minute=3, roles=("fits_large",)),
        archive(database, store, 4, site="sro", minute=4),
        archive(database, store, 5, site="mrc", minute=5),
    ]


def bases(answer):
    return [each["base_filename"][-1] for each in answer.json()]


def local(url):
    return url.removeprefix("http://archive.example")


def test_an_image_has_every_field_that_clients_read(client, exposures):
    answer = client.get("/photonranch/image/tst-kb001ms-20220629-00000001")
    assert answer.status_code == 200
    image = answer.json()
    assert set(image) >= KEYS
    assert image["right_ascension"] == pytest.approx(210.8 / 15), "decimal hours"
    assert image["declination"] == 54.3
    assert image["capture_date"] == 1656562560000, "milliseconds"
    assert image["fits_filename"] == "raw.fits"
    assert image["SMARTSTK"] == "no"
    assert all(image[f"{kind}_exists"] for kind in ("fits_01", "fits_10", "jpg_medium"))
    assert client.get(local(image["jpg_url"])).content.startswith(b"jpg_medium of tst")
    assert client.get(local(image["jpg_thumbnail_url"])).content.startswith(b"thumbnail of tst")


@pytest.mark.parametrize("number", [3, 5, 8])
def test_an_image_without_picture_or_leave_is_not_there(client, exposures, number):
    site = "mrc" if number == 5 else "tst"
    answer = client.get(f"/photonranch/image/{site}-kb001ms-20220629-{number:08d}")
    assert answer.status_code == 404


def test_latest_images(client, exposures):
    assert bases(client.get("/photonranch/tst/latest_images/5")) == ["2", "1"]
    assert bases(client.get("/photonranch/tst/latest_images/1")) == ["2"]
    assert bases(client.get("/photonranch/tst/latest_images/5?userid=tim")) == ["1"]
    assert client.get("/photonranch/mrc/latest_images/5").status_code == 401
    assert client.get("/photonranch/tst/latest_images/x").status_code == 400


def test_the_latest_image_of_all_sites(client, exposures, token):
    latest = client.get("/photonranch/latest_image_all_sites/").json()
    assert set(latest) == {"sro", "tst"}
    assert client.get(local(latest["tst"])).content.endswith(b"00000002")
    more = client.get("/photonranch/latest_image_all_sites/", headers=token("read")).json()
    assert set(more) == {"mrc", "sro", "tst"}


def test_the_header(client, exposures):
    header = client.get("/photonranch/fitsheader/tst-kb001ms-20220629-00000001").json()
    assert header["OBJECT"] == "M 101"
    assert client.get("/photonranch/fitsheader/tst-kb001ms-20220629-00000002").status_code == 404


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["4", "2", "1"]),
        ("site=tst", ["2", "1"]),
        ("site=sro&filter=rp", ["4"]),
        ("username=tim", ["2"]),
        ("user_id=tim", ["1"]),
        ("exposure_time_min=61", []),
        ("exposure_time_min=60&exposure_time_max=60", ["4", "2", "1"]),
        ("start_date=2022-06-30T04:17:00&end_date=2022-06-30T04:18:00", ["2"]),
        ("filename=tst-%25-0000000_", ["2", "1"]),
        ("filter=", ["4", "2", "1"]),
    ],
)
def test_filtered_images(client, exposures, query, found):
    answer = client.get(f"/photonranch/filtered_images?{query}")
    assert answer.status_code == 200, answer.text
    assert bases(answer) == found


def test_filtered_images_in_pages(client, exposures):
    first = client.get("/photonranch/filtered_images?limit=2")
    cursor = first.headers["X-Next-Cursor"]
    rest = client.get("/photonranch/filtered_images", params={"cursor": cursor})
    assert bases(first) + bases(rest) == ["4", "2", "1"]
    assert "X-Next-Cursor" not in rest.headers
    assert client.get("/photonranch/filtered_images?exposure_time_min=x").status_code == 400


def test_an_info_image_or_nothing(client, database, store):
    assert client.get("/photonranch/infoimage/tst/1").status_code == 204
    name = "tst-kb001ms-20220629-00000003-EX10.jpg"
    stored = store.put(f"info-images/{name}", b"pinned")
    with database.begin() as session:
        client.services.info_images.take(
            session,
            parse_name(f"info-images/{name}"),
            stored,
            now=dt.datetime.now(dt.UTC),
            channel=1,
        )
    image = client.get("/photonranch/infoimage/tst/1").json()
    assert (image["site"], image["channel"], image["s3_directory"]) == ("tst", 1, "info-images")
    assert image["jpg_medium_exists"]
    assert not image["fits_01_exists"]
    assert client.get(local(image["jpg_url"])).content == b"pinned"
    assert client.get("/photonranch/infoimage/mrc/1").status_code == 401


def test_leave_to_upload(client, token):
    name = "tst-kb001ms-20220629-00010442-EX10.jpg"
    headers = token("upload", sites=["tst"])
    wish = {"object_name": name, "s3_directory": "data"}
    form = client.post("/photonranch/upload", json=wish, headers=headers)
    assert form.status_code == 200
    assert set(form.json()) == {"url", "fields"}
    files = {"file": (name, b"picture")}
    sent = client.post(local(form.json()["url"]), data=form.json()["fields"], files=files)
    assert sent.status_code == 204
    for wrong in ({"s3_directory": "elsewhere"}, {"info_channel": 4}):
        answer = client.post("/photonranch/upload", json={**wish, **wrong}, headers=headers)
        assert answer.status_code == 403
    assert client.post("/photonranch/upload", json=wish).status_code == 401


def test_recent_uploads(client, database, token):
    came = dt.datetime(2022, 6, 30, 4, 15, 3, tzinfo=dt.UTC)
    for number, site in enumerate(["tst", "sro", "mrc"]):
        row = Arrival(
            source=f"s3://b/{number}",
            version="1",
            name=f"data/{site}.jpg",
            site=site,
            size=5,
            state="archived",
            created_at=came + dt.timedelta(seconds=number),
        )
        row.identify()
        with database.begin() as session:
            session.add(row)
    assert client.get("/photonranch/recentuploads?site=tst").json() == [
        {
            "site": "tst",
            "upload_timestamp_s": 1656562503,
            "expire_timestamp_s": 1656562503 + 48 * 3600,
            "filename": "data/tst.jpg",
            "size_bytes": 5,
        }
    ]
    everyone = client.get("/photonranch/recentuploads?site=all").json()
    assert [each["site"] for each in everyone] == ["sro", "tst"]
    all_ = client.get("/photonranch/recentuploads?site=all", headers=token("read")).json()
    assert [each["site"] for each in all_] == ["mrc", "sro", "tst"]
    assert client.get("/photonranch/recentuploads").status_code == 404
    assert client.get("/photonranch/recentuploads?site=mrc").status_code == 401
