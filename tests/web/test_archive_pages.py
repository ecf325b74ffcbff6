import datetime as dt
import re
from html.parser import HTMLParser

import pytest
from archived import archive

from firstlight.formats.base_filename import parse_name
from firstlight.models.arrival import Arrival
from firstlight.web.auth import COOKIE

HTML = {"Accept": "text/html"}
ALL = ("header_text", "fits_large", "jpg_medium", "thumbnail")


class Elements(HTMLParser):
    """Fails where elements are not closed in their order; keeps what they point at."""

    VOID = frozenset({"meta", "link", "img", "input", "br"})

    def __init__(self, text):
        super().__init__()
        self.open, self.links, self.pictures, self.scripts = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        facts = dict(attrs)
        assert not [name for name in facts if name.startswith("on")], "no scripts in the page"
        assert "style" not in facts, "no styles in the page"
        if tag == "a":
            self.links.append(facts["href"])
        if tag == "img":
            self.pictures.append(facts["src"])
            assert facts["alt"]
        if tag == "script":
            self.scripts.append(facts["src"])
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        """An element of SVG that is closed at once."""

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture
def client(make_client):
    return make_client(public_sites=("tst", "sro"))


@pytest.fixture
def exposures(database, store):
    return [
        archive(database, store, 1, minute=1, roles=ALL),
        archive(database, store, 2, minute=2, roles=()),
        archive(database, store, 3, site="sro", minute=3, roles=ALL),
        archive(database, store, 4, site="mrc", minute=4, roles=ALL),
        archive(database, store, 5, minute=5, roles=ALL, collection="allsky"),
    ]


def page(client, url, **options):
    answer = client.get(url, headers={**HTML, **options})
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    return answer.text, Elements(answer.text)


def test_all_sites_with_their_latest_picture(client, exposures):
    text, elements = page(client, "/sites")
    assert "/sites/tst" in elements.links
    assert "/sites/sro" in elements.links
    assert "mrc" not in text
    assert len(elements.pictures) == 2
    for picture in elements.pictures:
        assert client.get(picture).status_code == 200
    own = [each.split("?")[0] for each in elements.scripts if "/vendor/" not in each]
    assert own == ["/static/theme.js", "/static/app.js", "/static/live.js"]


def test_an_empty_archive_says_what_to_do(make_client):
    text, _ = page(make_client(public_sites="*"), "/sites")
    assert "watch DIR" in text


def test_a_site(client, exposures, database, store, token):
    name = "tst-kb001ms-20220629-00000009-EX10.jpg"
    stored = store.put(f"info-images/{name}", b"pinned")
    row = Arrival(
        source="x", version="1", name="data/<b>bad</b>.jpg", site="tst", state="quarantined",
        error={"code": "jpg.bad", "message": "the picture is cut off"}, size=12345,
    )  # fmt: skip
    row.identify()
    with database.begin() as session:
        session.add(row)
        client.services.info_images.take(
            session,
            parse_name(f"info-images/{name}"),
            stored,
            now=dt.datetime.now(dt.UTC),
            channel=2,
        )
    text, elements = page(client, "/sites/tst")
    assert f"/exposures/{exposures[0].id}" in elements.links
    assert f"/exposures/{exposures[4].id}" not in elements.links, "it is of the sky"
    assert "/sites/tst/allsky" in elements.links
    first = re.search(r'<a class="(thumb[^"]*)"', text)
    assert first[1] == "thumb pinned", "left of the thumbnails"
    assert client.get(elements.pictures[0]).content == b"pinned"
    assert "no picture yet" in text
    assert "the picture is cut off" not in text, "the upload log is for operators"
    text, _ = page(client, "/sites/tst", **token("operate", sites=["tst"]))
    assert "&lt;b&gt;bad&lt;/b&gt;" in text
    assert "the picture is cut off" in text
    assert "12.3 kB" in text
    assert re.search(r'id="strip" data-live [^>]*data-site="tst"', text)


def test_the_sky_over_a_site(client, exposures):
    _, elements = page(client, "/sites/tst/allsky")
    assert f"/exposures/{exposures[4].id}" in elements.links
    assert f"/exposures/{exposures[0].id}" not in elements.links
    assert client.get(elements.pictures[0]).status_code == 200
    assert "No all-sky picture" in page(client, "/sites/sro/allsky")[0]


@pytest.mark.parametrize("which", ["id", "base_filename", "image_number"])
def test_an_exposure(client, exposures, which):
    text, elements = page(client, f"/exposures/{getattr(exposures[0], which)}")
    assert "M 101" in text
    assert "DATE-OBS" in text
    files = [link for link in elements.links if "/files/" in link]
    assert {client.get(link).status_code for link in files} == {200}
    assert len(set(files)) == 4


def test_pages_are_for_those_who_may_see_them(client, exposures, token):
    mrc = exposures[3]
    for url in ("/sites/mrc", "/sites/mrc/allsky"):
        answer = client.get(url, headers=HTML)
        assert answer.status_code == 401
        assert "/sign-in" in answer.text
    assert client.get(f"/exposures/{mrc.id}", headers=HTML).status_code == 404
    secret = token("read", sites=["mrc"])["Authorization"].split()[1]
    cookie = {"Cookie": f"{COOKIE}={secret}"}
    _, elements = page(client, f"/exposures/{mrc.id}", **cookie)
    picture = elements.pictures[0]
    assert client.get(picture, headers=cookie).status_code == 200
    assert client.get(picture).status_code == 404


def test_without_public_sites_one_is_asked_to_sign_in(make_client):
    answer = make_client().get("/", headers=HTML)
    assert answer.status_code == 401
    assert "/sign-in" in answer.text


def test_nothing_that_a_header_holds_runs(client, database, store):
    row = archive(
        database, store, 7, roles=ALL, target="<script>alert(1)</script>", camera='"><img src=x>'
    )
    text, elements = page(client, f"/exposures/{row.id}")
    assert "<script>alert" not in text
    assert all(each.startswith("/static/") for each in elements.scripts)
    page(client, "/sites/tst")
