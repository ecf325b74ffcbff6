import gzip
import re

import pytest


@pytest.fixture
def client(make_client):
    return make_client(public_sites="*")


def test_files_named_by_their_content_are_kept_for_ever(client):
    page = client.get("/", headers={"Accept": "text/html"}).text
    address = re.search(r"/static/style\.css\?v=\w+", page)[0]
    answer = client.get(address)
    assert "immutable" in answer.headers["Cache-Control"]
    assert "immutable" not in client.get("/static/style.css").headers["Cache-Control"]
    assert "immutable" not in client.get("/static/style.css?v=0").headers["Cache-Control"]


def test_text_is_packed_for_those_who_can_unpack(client):
    plain = client.get("/static/style.css", headers={"Accept-Encoding": "identity"})
    packed = client.get("/static/style.css", headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.headers["Vary"].startswith("Accept-Encoding")
    content = packed.content
    assert (gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content) == plain.content


def test_every_page_asks_for_files_that_are_there(client):
    page = client.get("/", headers={"Accept": "text/html"}).text
    addresses = re.findall(r'(?:src|href)="(/static/[^"]+)"', page)
    assert len(addresses) >= 4
    for address in addresses:
        assert client.get(address).status_code == 200
