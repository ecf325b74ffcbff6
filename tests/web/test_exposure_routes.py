import csv
import io
import xml.etree.ElementTree as ET

import pytest
from archived import archive

ALL = ("header_text", "fits_large", "fits_small", "jpg_medium", "thumbnail")


@pytest.fixture
def exposures(database, store):
    rows = [archive(database, store, n, minute=n, roles=ALL) for n in range(1, 6)]
    rows.append(archive(database, store, 9, site="sro", minute=9))
    return rows


@pytest.fixture
def reader(token):
    return token("read", sites=["tst"])


def names(answer):
    return [each["name"] for each in answer.json()["data"]["exposures"]]


def test_a_search_gives_pages_newest_first(client, exposures, reader):
    first = client.get("/api/exposures?limit=3", headers=reader)
    assert [name[-1] for name in names(first)] == ["5", "4", "3"]
    cursor = first.json()["data"]["next"]
    rest = client.get("/api/exposures", params={"limit": 3, "cursor": cursor}, headers=reader)
    assert [name[-1] for name in names(rest)] == ["2", "1"]
    assert rest.json()["data"]["next"] is None


def test_conditions_hold_and_unknown_ones_are_errors(client, exposures, token):
    everyone = token("read")
    assert len(names(client.get("/api/exposures", headers=everyone))) == 6
    assert len(names(client.get("/api/exposures?site=sro", headers=everyone))) == 1
    found = client.get("/api/exposures?site=tst,sro&cone=210.8,54.3,1", headers=everyone)
    assert len(names(found)) == 6
    assert names(client.get("/api/exposures?filter=B", headers=everyone)) == []
    wrong = client.get("/api/exposures?fliter=B", headers=everyone)
    assert (wrong.status_code, wrong.json()["data"]["hint"]) == (400, "did you mean filter?")
    bad = client.get("/api/exposures?cursor=nonsense", headers=everyone)
    assert (bad.status_code, bad.json()["data"]["code"]) == (400, "search.bad_cursor")


def test_one_finds_what_one_may_see(client, exposures, reader, token):
    assert names(client.get("/api/exposures?site=sro", headers=reader)) == []
    for path in ("/api/exposures", "/api/sites", f"/api/exposures/{exposures[0].id}"):
        assert client.get(path).status_code == 401
        assert client.get(path, headers=token("upload")).status_code == 403
    hidden = client.get(f"/api/exposures/{exposures[-1].id}", headers=reader)
    assert (hidden.status_code, hidden.json()["data"]["code"]) == (404, "exposure.not_found")


def test_tables_are_exported(client, exposures, reader):
    answer = client.get("/api/exposures?format=csv", headers=reader)
    assert answer.headers["Content-Type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["base_filename"][-1] for row in rows] == ["5", "4", "3", "2", "1"]
    table = client.get("/api/exposures?format=votable&night=2022-06-29", headers=reader)
    assert table.headers["Content-Type"] == "application/x-votable+xml"
    assert len(ET.fromstring(table.content).findall(".//{*}TR")) == 5  # noqa: S314, our own


@pytest.mark.parametrize("which", ["id", "base_filename", "image_number"])
def test_an_exposure_has_many_names(client, exposures, reader, which):
    row = exposures[2]
    answer = client.get(f"/api/exposures/{getattr(row, which)}", headers=reader)
    facts = answer.json()["data"]
    assert facts["id"] == str(row.id)
    assert facts["start"] == "2022-06-30T04:18:00.000Z"
    by_role = {file["role"]: file for file in facts["files"]}
    assert set(by_role) == set(ALL)
    for role, file in by_role.items():
        got = client.get(file["url"], headers=reader)
        assert got.content == f"{role} of {row.base_filename}".encode()


def test_the_header(client, exposures, reader, token):
    row = exposures[0]
    answer = client.get(f"/api/exposures/{row.base_filename}/header", headers=reader)
    assert answer.json()["data"][0] == ["OBJECT", "M 101", "target"]
    none = client.get(f"/api/exposures/{exposures[-1].id}/header", headers=token("read"))
    assert (none.status_code, none.json()["data"]["code"]) == (404, "exposure.no_header")


def test_sites_with_their_latest_exposure(client, exposures, reader, token):
    (site,) = client.get("/api/sites", headers=reader).json()["data"]
    assert (site["name"], site["latest"]["name"][-1]) == ("tst", "5")
    both = client.get("/api/sites", headers=token("read")).json()["data"]
    assert [each["name"] for each in both] == ["sro", "tst"]


def test_a_file_by_the_base_filename(client, exposures, reader):
    row = exposures[0]
    path = f"/api/exposures/{row.base_filename}/files/{row.base_filename}-EX10.jpg"
    answer = client.get(path, headers=reader)
    assert answer.headers["Content-Disposition"].startswith("inline")
    saved = client.get(path + "?download=true", headers=reader)
    assert saved.headers["Content-Disposition"].startswith("attachment")


def test_messages_of_buckets_become_arrivals(client, token):
    message = {
        "Records": [
            {
                "eventName": "s3:ObjectCreated:Put",
                "s3": {
                    "bucket": {"name": bucket},
                    "object": {"key": f"data/tst+{number}%C3%A4.fits", "size": 5, "eTag": "e"},
                },
            }
            for number, bucket in enumerate(["photonranch-001", "elsewhere", "photonranch-001"])
        ]
    }
    allowed = {"Authorization": token("upload")["Authorization"].replace("token", "Bearer")}
    answer = client.post("/api/arrivals/s3", json=message, headers=allowed)
    assert (answer.status_code, answer.json()["data"]) == (200, {"announced": 2})
    assert [each.name for each in client.services.live.told] == [
        "data/tst 0\u00e4.fits",
        "data/tst 2\u00e4.fits",
    ]
    assert client.post("/api/arrivals/s3", json=message).status_code == 401
    only_here = token("upload", sites=["tst"])
    assert client.post("/api/arrivals/s3", json=message, headers=only_here).status_code == 403
    bad = client.post("/api/arrivals/s3", content=b"nonsense", headers=allowed)
    assert (bad.status_code, bad.json()["data"]["code"]) == (400, "s3_event.bad")
    assert client.head("/api/arrivals/s3").status_code == 200
    assert len(client.services.live.told) == 2
