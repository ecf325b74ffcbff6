"""Pages of objects and of image analysis: what they show to whom, and their forms."""

import gzip
import io
import json
import struct
import uuid

import numpy as np
import pytest
from astropy.io import fits
from test_archive_pages import Elements

from firstlight.algorithms.sky.sky_index import healpix_index
from firstlight.models.account import UserNotification
from firstlight.models.audience import audience_of, public_audience
from firstlight.models.database import bulk_insert
from firstlight.models.instrument_record import instrument_number
from firstlight.models.object import Object
from firstlight.models.photometry import Photometry
from firstlight.services.access import operator
from firstlight.services.accounts.users import NewUser
from firstlight.services.objects.object_summary import summarise
from firstlight.web.auth import csrf_token_of
from firstlight.web.pages.sexagesimal import sexagesimal

HTML = {"Accept": "text/html"}
PASSWORD = "a good long password"  # noqa: S105, of nobody
STAR = "/objects/Star%2B1"


class Page(Elements):
    """As `Elements`, for pages with forms that hold several buttons."""


@pytest.fixture
def client(make_client):
    return make_client()


def signed_in(client, name, **options):
    client.services.users.create(operator(), NewUser(name, password=PASSWORD, **options))
    session = client.services.sign_in.sign_in(name, PASSWORD, "203.0.113.5")
    viewer = client.services.sign_in.identify_session(session.secret)
    csrf = csrf_token_of(session.secret)
    return viewer, {"Cookie": f"firstlight_session={session.secret}", "X-CSRF-Token": csrf}


@pytest.fixture
def ada(client):
    return signed_in(client, "ada", roles=["Super admin"])


@pytest.fixture
def bob(client):
    return signed_in(client, "bob", roles=["Full user"])


def add_star(database, name, points=(), *, groups=None, ra=31.04, dec=46.69):
    """An object with points of ``(mjd, filter, flux, error)``; public without groups."""
    with database.begin() as session:
        audience = (
            public_audience(session) if groups is None else audience_of(session, groups=groups)
        )
        row = Object(
            id=uuid.uuid4(), name=name, ra=ra, dec=dec, hpx=int(healpix_index(ra, dec)),
            origin="test", audience_id=audience, aliases=["V1 Tst"],
        )  # fmt: skip
        session.add(row)
        session.flush()
        camera = instrument_number(session, "Camera")
        rows = [
            {
                "key": uuid.uuid4(), "object_id": row.id, "audience_id": audience, "mjd": mjd,
                "filter": band, "flux_ujy": flux, "flux_err_ujy": error, "origin": "test",
                "instrument_id": camera, "mag_system": "AB",
            }
            for mjd, band, flux, error in points
        ]  # fmt: skip
        if rows:
            bulk_insert(session, Photometry, rows)
        summarise(session, [row.id])
        return row.id


POINTS = [(59_000.0 + n, "r" if n % 2 else "g", 100.0 + n, 2.0) for n in range(60)]


@pytest.fixture
def star(database):
    return add_star(database, "Star+1", POINTS)


def shown(client, url, headers=(), status=200):
    answer = client.get(url, headers={**HTML, **dict(headers)})
    assert answer.status_code == status, answer.text
    return answer.text, Page(answer.text)


def unpacked(body):
    """The columns of a packed light curve."""
    raw = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
    assert raw[:4] == b"FLC1"
    (length,) = struct.unpack("<I", raw[4:8])
    head, at = json.loads(raw[8 : 8 + length]), 8 + length
    columns = {}
    for column in head["columns"]:
        kind = np.dtype(column["type"])
        size = head["n"] * kind.itemsize
        part = np.frombuffer(raw[at : at + size], np.uint8).reshape(kind.itemsize, head["n"])
        columns[column["name"]] = np.ascontiguousarray(part.T).view(kind)[:, 0]
        at += size
    assert at == len(raw)
    return head, columns


def test_the_page_of_an_object(client, star, ada):
    text, _ = shown(client, STAR, ada[1])
    assert "02 04 09.60 +46 41 24.0" in text
    assert "31.040000 +46.690000" in text
    assert "60 points" in text
    assert "V1 Tst" in text
    assert f'data-light-curve="{STAR}/light_curve.bin"' in text
    assert "Image Analysis" in text
    assert "No analyses yet" in text


def test_fluxes_of_points_have_the_digits_of_their_errors(client, database, ada):
    add_star(database, "Faint", [(60000.5, "r", -0.015301, 0.3117)])
    text, _ = shown(client, "/objects/Faint", ada[1])
    assert "-0.02 ± 0.31" in text
    assert "-0.0153" not in text


def test_a_stranger_sees_what_is_public_and_no_forms(client, star, database, bob):
    text, _ = shown(client, STAR)
    assert "Sign in" in text
    assert "/comments" not in text
    assert "image_analysis" not in text
    add_star(database, "Secret", POINTS, groups=[])
    for headers in ({}, bob[1]):
        for url in ("/objects/Secret", "/objects/Secret/light_curve.bin"):
            assert client.get(url, headers={**HTML, **headers}).status_code == 404
        assert "Secret" not in client.get("/objects", headers={**HTML, **headers}).text


def test_the_packed_light_curve_is_what_the_table_holds(client, star):
    answer = client.get(f"{STAR}/light_curve.bin", headers={"Accept-Encoding": "gzip"})
    head, columns = unpacked(answer.content)
    assert head["n"] == 60
    assert [each["filter"] for each in head["series"]] == ["g", "r"]
    np.testing.assert_allclose(columns["mjd"], [each[0] for each in POINTS])
    np.testing.assert_allclose(columns["flux"], [each[2] for each in POINTS], rtol=1e-6)
    np.testing.assert_allclose(columns["mag"], 23.9 - 2.5 * np.log10(columns["flux"]), rtol=1e-6)
    assert list(columns["series"][:3]) == [0, 1, 0]
    assert "rel" not in columns, "a column without values takes no room"
    same = client.get(f"{STAR}/light_curve.bin", headers={"If-None-Match": answer.headers["ETag"]})
    assert same.status_code == 304


def test_a_new_point_is_in_the_light_curve_at_once(client, star, database):
    before, _ = unpacked(client.get(f"{STAR}/light_curve.bin").content)
    with database.begin() as session:
        bulk_insert(session, Photometry, [{
            "key": uuid.uuid4(), "object_id": star, "mjd": 60_000.0, "filter": "i",
            "flux_ujy": 5.0, "flux_err_ujy": 1.0, "audience_id": public_audience(session),
        }])  # fmt: skip
    after, columns = unpacked(client.get(f"{STAR}/light_curve.bin").content)
    assert after["n"] == before["n"] + 1
    assert columns["mjd"][-1] == 60_000.0


def test_points_of_other_groups_are_not_drawn(client, star, database, ada, bob):
    with database.begin() as session:
        bulk_insert(session, Photometry, [{
            "key": uuid.uuid4(), "object_id": star, "mjd": 60_001.0, "filter": "z",
            "flux_ujy": 5.0, "flux_err_ujy": 1.0,
            "audience_id": audience_of(session, groups=[]),
        }])  # fmt: skip
    for headers, count in ((ada[1], 61), (bob[1], 60), ({}, 60), (ada[1], 61)):
        head, _ = unpacked(client.get(f"{STAR}/light_curve.bin", headers=headers).content)
        assert head["n"] == count
        assert ("z" in [each["filter"] for each in head["series"]]) == (count == 61)


def test_the_picture_for_browsers_without_scripts(client, star):
    answer = client.get(f"{STAR}/light_curve.svg")
    assert answer.headers["Content-Type"] == "image/svg+xml"
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert "<script" not in answer.text
    assert answer.text.count("h0") == 60
    assert "Magnitude (AB)" in answer.text


def test_an_object_without_points_says_what_to_do(client, database, ada):
    add_star(database, "Empty")
    text, _ = shown(client, "/objects/Empty", ada[1])
    assert "No photometry yet" in text
    assert client.get("/objects/Empty/light_curve.svg").status_code == 200
    assert unpacked(client.get("/objects/Empty/light_curve.bin").content)[0]["n"] == 0


def test_forms_of_the_page(client, star, bob):
    viewer, headers = bob
    post = lambda part, **data: client.post(  # noqa: E731, said once
        f"{STAR}/{part}", data=data, headers={**HTML, **headers}
    )
    answer = post("comments", text="<b>bright</b>")
    assert (answer.status_code, answer.headers["Location"]) == (303, f"{STAR}#comments")
    taxonomy = client.services.taxonomies.for_classifying(viewer)[0]["id"]
    assert (
        post("classifications", chosen=f"{taxonomy}:Pulsating", probability="0.8").status_code
        == 303
    )
    assert post("tags", tag="interesting").status_code == 303
    text, _ = shown(client, STAR, headers)
    assert "&lt;b&gt;bright&lt;/b&gt;" in text
    assert "80 %" in text
    assert "interesting" in text
    number = client.services.classifications.of_object(viewer, "Star+1")[0]["id"]
    assert post(f"classifications/{number}/vote", vote="1").status_code == 303
    assert post(f"classifications/{number}/vote", vote="0").status_code == 303
    assert post(f"classifications/{number}/delete").status_code == 303
    assert post("classifications", chosen="nonsense").status_code == 400
    assert (
        post("classifications", chosen=f"{taxonomy}:Pulsating", probability="7").status_code == 400
    )
    comment = client.services.comments.list(viewer, "sources", "Star+1")[0]["id"]
    assert post(f"comments/{comment}/delete").status_code == 303
    assert post("redshift", redshift="0.05", origin="host").status_code == 303
    assert "0.05" in shown(client, STAR, headers)[0]


def test_strangers_change_nothing(client, star):
    for part, data in (
        ("comments", {"text": "no"}),
        ("tags", {"tag": "no"}),
        ("groups", {"save": "1"}),
        ("redshift", {"redshift": "1"}),
        ("image_analysis", {"upload": "x"}),
    ):
        answer = client.post(f"{STAR}/{part}", data=data, headers=HTML)
        assert answer.status_code == 401, part


def test_points_are_judged_and_removed_by_those_who_may(client, star, ada, bob):
    text, _ = shown(client, STAR, ada[1])
    assert text.count("Mark as bad") == 50, "one page of the table"
    assert "page 1 of 2" in text
    assert "Mark as bad" not in shown(client, STAR, bob[1])[0]
    head, columns = unpacked(client.get(f"{STAR}/light_curve.bin").content)
    point = int(columns["id"][-1])
    url = f"{STAR}/photometry/{point}"
    for verdict, words in (("bad", "bad"), ("good", "good")):
        client.post(f"{url}/validation", data={"verdict": verdict}, headers=ada[1])
        assert f">{words}</span>" in shown(client, STAR, ada[1])[0]
    assert (
        client.post(f"{url}/validation", data={"verdict": "open"}, headers=ada[1]).status_code
        == 303
    )
    assert client.post(f"{url}/delete", headers=bob[1]).status_code == 403
    assert client.post(f"{url}/delete", headers=ada[1]).status_code == 303
    assert unpacked(client.get(f"{STAR}/light_curve.bin").content)[0]["n"] == head["n"] - 1


def test_a_point_without_an_image_has_no_picture(client, star):
    _, columns = unpacked(client.get(f"{STAR}/light_curve.bin").content)
    answer = client.get(f"/api/photometry/{int(columns['id'][0])}/cutout.png")
    assert answer.status_code == 404
    assert answer.json()["data"]["code"] == "photometry.cutout_missing"


def test_the_list_is_searched(client, star, database):
    add_star(database, "Other", ra=200.0, dec=-30.0)
    for query, found, lost in (
        ("", ("Star+1", "Other"), ()),
        ("name=star", ("Star+1",), ("Other",)),
        ("position=31.04+46.69&radius=2", ("Star+1",), ("Other",)),
        ("position=02:04:09.6+%2B46:41:24", ("Star+1",), ("Other",)),
        ("detected=yes", ("Star+1",), ("Other",)),
        ("brighter=15&fainter=20", ("Star+1",), ("Other",)),
    ):
        text, elements = shown(client, f"/objects?{query}")
        links = " ".join(elements.links)
        assert all(f"/objects/{name.replace('+', '%2B')}" in links for name in found), query
        assert not any(f"/objects/{name}" in links for name in lost), query
    assert "Nothing like this" in shown(client, "/objects?name=nonesuch")[0]
    text, _ = shown(client, "/objects?position=here", status=400)
    assert "this is not a position" in text
    for query in (
        "sort=nonsense",
        "cursor=nonsense",
        "brighter=x",
        "radius=-1&position=1+1",
        "tag=x",
    ):
        shown(client, f"/objects?{query}", status=400)


def test_the_list_goes_on_page_by_page(client, database):
    with database.begin() as session:
        audience = public_audience(session)
        session.add_all(
            Object(id=uuid.uuid4(), name=f"N{n:03d}", ra=float(n), dec=0.0, origin="test",
                   hpx=int(healpix_index(float(n), 0.0)), audience_id=audience)
            for n in range(120)
        )  # fmt: skip
    found, url = [], "/objects?sort=name"
    while url:
        _, elements = shown(client, url)
        names = [
            link.removeprefix("/objects/")
            for link in elements.links
            if link.startswith("/objects/N")
        ]
        found += names
        url = next(
            (link for link in elements.links if "cursor=" in link and "sort=name&" in link), None
        )
        assert len(found) <= 120
    assert found == [f"N{n:03d}" for n in range(120)]


def test_the_search_box_goes_where_it_should(client, star):
    for words, place in (
        ("Star%2B1", STAR),
        ("nonesuch", "/objects?name=nonesuch"),
        ("31.04+46.69", "/objects?position=31.04+46.69"),
        ("", "/objects"),
    ):
        assert client.get(f"/search?q={words}").headers["Location"] == place


def test_an_object_is_added(client, bob):
    answer = client.post(
        "/objects", data={"name": "SN2026a", "position": "10 20 30 -5 6 7"}, headers=bob[1]
    )
    assert (answer.status_code, answer.headers["Location"]) == (303, "/objects/SN2026a")
    assert "10 20 30.00 -05 06 07.0" in shown(client, "/objects/SN2026a", bob[1])[0]
    wrong = client.post("/objects", data={"name": "x", "position": "here"}, headers=bob[1])
    assert wrong.status_code == 400


def test_addresses_of_skyportal_lead_here(client):
    for path, place in (
        ("/source/Star%2B1", STAR),
        ("/source/Star%2B1/image_analysis", f"{STAR}/image_analysis"),
        ("/source/Star%2B1/image_analyses/7", f"{STAR}/image_analyses/7"),
    ):
        assert client.get(path).headers["Location"] == place


def fits_file():
    header = fits.Header({"DATE-OBS": "2026-08-24T20:15:00", "EXPTIME": 60.0, "FILTER": "r"})
    stream = io.BytesIO()
    pixels = np.random.default_rng(1).normal(1000, 10, (64, 80)).astype(np.float32)
    fits.PrimaryHDU(pixels, header).writeto(stream)
    return stream.getvalue()


def test_images_are_uploaded_by_a_form_and_fill_in_the_next(client, star, ada):
    headers = {**HTML, **ada[1]}
    answer = client.post(
        f"{STAR}/image_uploads", files=[("file", ("one.fits", fits_file()))], headers=headers
    )
    assert answer.status_code == 303, answer.text
    text, _ = shown(client, answer.headers["Location"], ada[1])
    assert "one.fits" in text
    assert 'value="r"' in text
    upload = answer.headers["Location"].partition("upload=")[2]
    form = {"upload": upload, "filter": "r", "gain": "2.5", "with_boxes": "yes", "recentre": "yes"}
    answer = client.post(f"{STAR}/image_analysis", data=form, headers=headers)
    assert answer.status_code == 303, answer.text
    run = client.services.image_analyses.get(ada[0], int(answer.headers["Location"].split("/")[-1]))
    assert "filter" not in run["parameters"], "what the header says is not a choice"
    assert run["parameters"]["gain"] == 2.5
    assert run["parameters"]["cosmic_rays"] is False
    text, _ = shown(client, answer.headers["Location"], ada[1])
    assert "It begins as soon as a worker is free" in text
    answer = client.post(f"{answer.headers['Location']}/cancel", headers=headers)
    assert "state cancelled" in shown(client, answer.headers["Location"], ada[1])[0]


def test_a_form_without_an_image_says_so(client, star, ada):
    headers = {**HTML, **ada[1]}
    answer = client.post(f"{STAR}/image_uploads", files=[("file", ("", b""))], headers=headers)
    assert answer.status_code == 400
    assert "no image" in answer.text
    answer = client.post(f"{STAR}/image_analysis", data={"gain": "1"}, headers=headers)
    assert answer.status_code == 400
    assert "no image" in answer.text


def test_uploads_of_a_browser_need_the_token_of_its_page(client, star, ada):
    secret = client.services.sign_in.sign_in("ada", PASSWORD, "203.0.113.5").secret
    cookie = {**HTML, "Cookie": f"firstlight_session={secret}"}
    text, _ = shown(client, f"{STAR}/image_analysis", cookie)
    token = text.partition('name="csrf_token" value="')[2].partition('"')[0]
    assert token
    for sent, status in ((token, 303), ("wrong", 403)):
        answer = client.post(
            f"{STAR}/image_uploads",
            data={"csrf_token": sent},
            files=[("file", ("one.fits", fits_file()))],
            headers=cookie,
        )
        assert answer.status_code == status, answer.text


def test_notifications(client, database, bob):
    viewer, headers = bob
    assert "Nothing yet" in shown(client, "/notifications", headers)[0]
    with database.begin() as session:
        bulk_insert(session, UserNotification, [
            {"user_id": viewer.user_id, "kind": "success", "text": f"image {n}",
             "url": "/objects", "key": uuid.uuid4()} for n in range(3)
        ])  # fmt: skip
    told = client.get("/notifications.json", headers=headers).json()
    assert (told["unread"], told["latest"]["text"]) == (3, "image 2")
    assert "Notifications: 3 not seen" in shown(client, "/objects", headers)[0]
    up_to = told["latest"]["id"]
    assert (
        client.post("/notifications/seen", data={"up_to": up_to}, headers=headers).status_code
        == 303
    )
    assert client.get("/notifications.json", headers=headers).json()["unread"] == 0
    assert client.get("/notifications.json").status_code == 401


@pytest.mark.parametrize(
    ("ra", "dec", "words"),
    [
        (31.0428, 46.6878, "02 04 10.27 +46 41 16.1"),
        (359.999999, -0.00001, "00 00 00.00 -00 00 00.0"),
        (0.0, 89.9999999, "00 00 00.00 +90 00 00.0"),
    ],
)
def test_positions_in_words(ra, dec, words):
    assert sexagesimal(ra, dec) == words


def test_objects_near_a_place_come_by_their_distance(client, database, ada):
    for name, east in (("Third", 0.03), ("First", 0.0001), ("Second", 0.01)):
        add_star(database, name, ra=31.04 + east)
    text, _ = shown(client, "/objects?position=31.04+46.69&radius=5", ada[1])
    assert text.index("First") < text.index("Second") < text.index("Third")
    assert "0.2″" in text
    assert "74.1″" in text
    sorted_by_name, _ = shown(client, "/objects?position=31.04+46.69&sort=-name", ada[1])
    found = [sorted_by_name.index(name) for name in ("Third", "Second", "First")]
    assert found == sorted(found)


def test_a_file_that_is_no_image_is_told_before_it_is_measured(client, star, ada):
    answer = client.post(
        f"{STAR}/image_uploads", files=[("file", ("notes.fits", b"an observing log " * 99))],
        headers=ada[1] | HTML,
    )  # fmt: skip
    text = shown(client, answer.headers["Location"], ada[1])[0]
    assert "The file is not a FITS file." in text
    assert "The header tells no gain" not in text, "there is no header"


def test_a_fault_leads_back_and_to_the_sign_in(client, star):
    status = client.get("/objects/Nobody", headers=HTML)
    assert status.status_code == 404
    assert "data-back" in status.text
    assert "<b>subject</b>" not in status.text, "in words of people"
    refused = client.get(f"{STAR}/image_analysis", headers=HTML)
    assert refused.status_code == 401
    assert "/sign-in?next=/objects/Star%2B1/image_analysis" in refused.text.replace("%252B", "%2B")


def test_columns_of_points_that_are_empty_are_left_out(client, star, ada):
    text, _ = shown(client, STAR, ada[1])
    assert "<th>Instrument</th>" in text
    assert '<th class="right">Relative</th>' not in text
    assert "<th>Verdict</th>" not in text
