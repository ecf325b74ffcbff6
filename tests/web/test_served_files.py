from datetime import timedelta

import pytest

HOUR = timedelta(hours=1)
BODY = bytes(range(256)) * 40


@pytest.fixture
def link(store):
    store.put("raw/tst/x-EX00.fits.fz", BODY)
    address = store.signed_link("raw/tst/x-EX00.fits.fz", HOUR)
    return address.removeprefix("http://archive.example")


def test_a_link_gives_the_whole_file(client, link):
    answer = client.get(link)
    assert (answer.status_code, answer.content) == (200, BODY)
    assert answer.headers["Content-Type"] == "application/fits"
    assert answer.headers["Content-Length"] == str(len(BODY))
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert 'attachment; filename="x-EX00.fits.fz"' in answer.headers["Content-Disposition"]
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("bytes=0-99", slice(0, 100)),
        ("bytes=100-", slice(100, None)),
        ("bytes=-100", slice(-100, None)),
        ("bytes=-99999999", slice(None)),
        ("bytes=10239-10239", slice(10239, None)),
        ("bytes=0-99999999", slice(None)),
        ("bytes=9-5", slice(None)),
        ("bytes=0-9,20-29", slice(None)),
        ("bytes=-", slice(None)),
        ("lines=1-2", slice(None)),
        ("bytes=a-b", slice(None)),
    ],
)
def test_ranges(client, link, asked, part):
    answer = client.get(link, headers={"Range": asked})
    assert answer.content == BODY[part]
    whole = answer.content == BODY
    assert answer.status_code == (200 if whole else 206)
    if not whole:
        start = BODY[part] and part.indices(len(BODY))
        assert answer.headers["Content-Range"] == f"bytes {start[0]}-{start[1] - 1}/{len(BODY)}"


@pytest.mark.parametrize("asked", ["bytes=10240-", "bytes=-0", "bytes=99999-100000"])
def test_a_range_that_is_not_there(client, link, asked):
    answer = client.get(link, headers={"Range": asked})
    assert answer.status_code == 416
    assert answer.headers["Content-Range"] == "bytes */10240"


def test_a_look_costs_nothing(client, link):
    answer = client.head(link)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["Content-Length"] == str(len(BODY))
    assert client.head(link, headers={"Range": "bytes=0-9"}).status_code == 206


def test_who_has_it_need_not_load_it_again(client, link):
    tag = client.get(link).headers["ETag"]
    again = client.get(link, headers={"If-None-Match": f'"other", W/{tag}'})
    assert (again.status_code, again.content) == (304, b"")
    part = {"Range": "bytes=0-9", "If-Range": tag}
    assert client.get(link, headers=part).status_code == 206
    assert client.get(link, headers={**part, "If-Range": '"other"'}).content == BODY


def test_a_file_that_expires_while_it_is_read_is_served_whole(client, store, link):
    file = client.services.served_files.by_key("raw/tst/x-EX00.fits.fz")
    pieces = file.pieces(0, file.size)
    store.delete("raw/tst/x-EX00.fits.fz")
    assert b"".join(pieces) == BODY
    answer = client.get(link)
    assert (answer.status_code, answer.json()["data"]["code"]) == (404, "storage.key_missing")


def test_a_changed_link_opens_nothing(client, link):
    for wrong in (link[:-3] + "abc", "/api/files/x", "/api/files/a.b"):
        answer = client.get(wrong)
        assert (answer.status_code, answer.json()["data"]["code"]) == (403, "storage.link_forged")


@pytest.mark.parametrize(
    ("name", "kind", "way"),
    [
        ("a.jpg", "image/jpeg", "inline"),
        ("a.txt", "text/plain; charset=utf-8", "inline"),
        ("a.html", "application/octet-stream", "attachment"),
        ("a.svg", "application/octet-stream", "attachment"),
        ("a.fits.bz2", "application/x-bzip2", "attachment"),
    ],
)
def test_what_a_sender_filled_cannot_run_in_a_browser(client, store, name, kind, way):
    store.put(f"x/{name}", b"<script>alert(1)</script>")
    link = store.signed_link(f"x/{name}", HOUR).removeprefix("http://archive.example")
    answer = client.get(link)
    assert answer.headers["Content-Type"] == kind
    assert answer.headers["Content-Disposition"].startswith(way)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_an_empty_file(client, store):
    store.put("x/empty.txt", b"")
    link = store.signed_link("x/empty.txt", HOUR).removeprefix("http://archive.example")
    assert (client.get(link).status_code, client.get(link).content) == (200, b"")
