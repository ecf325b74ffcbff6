import asyncio
import socket

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firstlight.web.app import create_app

NAME = "tst-kb001ms-20220629-00010442-EX10.jpg"
WISH = {"object_name": NAME}


@pytest.fixture
def form(client, token):
    def ask(**wish):
        answer = client.post("/api/uploads", json={**WISH, **wish}, headers=token("upload"))
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    return ask


def path_of(form):
    return form["url"].removeprefix("http://archive.example")


def told(client):
    return client.services.live.told


def test_a_form_is_posted_as_to_a_bucket(client, form, store):
    given = form(metadata={"FILTER": "rp"})
    files = {"file": (NAME, b"picture" * 100_000, "image/jpeg")}
    answer = client.post(path_of(given), data=given["fields"], files=files)
    assert (answer.status_code, answer.content) == (204, b"")
    (announced,) = told(client)
    assert announced.name == f"data/{NAME}"
    assert announced.source == f"store:{given['fields']['key']}"
    assert announced.metadata == (("FILTER", "rp", ""),)
    assert store.read(given["fields"]["key"]) == b"picture" * 100_000


def test_a_file_is_posted_as_it_is(client, form, store):
    given = form()
    assert client.post(path_of(given), content=b"picture").status_code == 204
    assert store.read(given["fields"]["key"]) == b"picture"
    again = client.post(path_of(given), content=b"picture")
    assert again.status_code == 204, "the answer may have been lost"
    other = client.post(path_of(given), content=b"another")
    assert (other.status_code, other.json()["data"]["code"]) == (409, "upload.used")


def test_leave_is_given_to_those_who_have_it_at_the_site(client, token):
    here, elsewhere = token("upload", sites=["tst"]), token("upload", sites=["sro"])
    assert client.post("/api/uploads", json=WISH, headers=here).status_code == 200
    assert client.post("/api/uploads", json=WISH, headers=elsewhere).status_code == 403
    assert client.post("/api/uploads", json=WISH, headers=token("read")).status_code == 403
    assert client.post("/api/uploads", json=WISH).status_code == 401


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        ({"s3_directory": "elsewhere"}, "upload.directory"),
        ({"info_channel": 4}, "upload.channel"),
        ({"object_name": "../../etc/passwd"}, "base_filename.bad"),
        ({"max_size": 1 << 60}, "upload.too_large"),
        ({"more": 1}, "input.invalid"),
    ],
)
def test_what_cannot_be_granted_is_told(client, token, wish, code):
    answer = client.post("/api/uploads", json={**WISH, **wish}, headers=token("upload"))
    assert answer.status_code in {400, 413}
    assert answer.json()["data"]["code"].startswith(code.partition(".")[0]), answer.text
    assert told(client) == []


def test_a_changed_address_opens_nothing(client, form):
    path = path_of(form())
    for wrong in (path[:-2] + "xx", "/api/uploads/abc", "/api/uploads/a.b", path + "."):
        answer = client.post(wrong, content=b"x")
        assert answer.status_code == 403, answer.text
        assert answer.json()["data"]["code"] == "storage.link_forged"


def test_limits_hold_whatever_is_announced(client, form, store):
    async def pieces():
        for _ in range(20):
            yield b"x" * 100

    given = form(max_size=1000)
    for body in (b"x" * 1001, pieces()):
        answer = client.post(path_of(given), content=body)
        assert answer.json()["data"]["code"] == "upload.too_large"
    files = {"file": (NAME, b"x" * 1001)}
    answer = client.post(path_of(given), files=files)
    assert (answer.status_code, answer.json()["data"]["code"]) == (413, "upload.too_large")
    assert not store.exists(given["fields"]["key"])
    assert client.post(path_of(given), content=b"x" * 1000).status_code == 204


def multipart(*parts, end=b"--b--\r\n"):
    body = b"".join(
        b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % part for part in parts
    )
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    return {"content": body + end, "headers": headers}


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (multipart((b"key", b"x")), "web.bad_form"),
        (multipart((b"file", b"a"), (b"file", b"b")), "web.bad_form"),
        (multipart((b"file", b"cut"), end=b"")["content"][:-3], "web.bad_form"),
        (multipart((b"key", b"x" * 70_000), (b"file", b"a")), "web.bad_form"),
        (multipart(end=b"nonsense"), "web.bad_form"),
        (multipart((b"file", b"")), "upload.empty"),
        ({"content": b"", "headers": {}}, "upload.empty"),
        ({"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, "web.bad_form"),
    ],
)
def test_a_form_that_cannot_be_read_leaves_nothing(client, form, store, options, code):
    given = form()
    if isinstance(options, bytes):
        options = {"content": options, "headers": multipart()["headers"]}
    answer = client.post(path_of(given), **options)
    assert (answer.status_code, answer.json()["data"]["code"]) == (400, code)
    assert not store.exists(given["fields"]["key"])
    assert told(client) == []


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    content=st.binary(min_size=1, max_size=5000) | st.just(b"\r\n--b\r" * 50),
    sizes=st.lists(st.integers(1, 700), min_size=1, max_size=10),
)
def test_any_bytes_in_pieces_of_any_size_arrive_as_they_are(client, form, store, content, sizes):
    body = multipart((b"key", b"x"), (b"file", content.replace(b"\r\n--b", b"") or b"x"))

    async def pieces():
        rest, turn = body["content"], 0
        while rest:
            size = sizes[turn % len(sizes)]
            yield rest[:size]
            rest, turn = rest[size:], turn + 1

    given_form = form()
    answer = client.post(path_of(given_form), content=pieces(), headers=body["headers"])
    assert answer.status_code == 204, answer.text
    assert store.read(given_form["fields"]["key"]) == content.replace(b"\r\n--b", b"") or b"x"


def test_a_sender_who_leaves_leaves_nothing(make_services, serve, store):
    services = make_services()
    token = services.access.make("x", ["upload"]).token
    address = serve(create_app(services))
    asked = httpx.post(
        address + "/api/uploads",
        json=WISH,
        headers={"Authorization": f"token {token}"},
        trust_env=False,
    ).json()["data"]
    with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2]))) as sender:
        sender.sendall(
            b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf"
            % path_of(asked).encode()
        )
    # The same address takes the file when the sender comes back.
    done = httpx.post(address + path_of(asked), content=b"whole", trust_env=False)
    assert done.status_code == 204
    assert store.read(asked["fields"]["key"]) == b"whole"
    assert len(services.live.told) == 1


def test_a_silent_sender_is_given_up(client, form, monkeypatch):
    monkeypatch.setattr("firstlight.web.incoming._SILENCE_S", 0.1)

    async def pieces():
        yield b"half"
        await asyncio.sleep(10)

    answer = client.post(path_of(form()), content=pieces())
    assert (answer.status_code, answer.json()["data"]["code"]) == (400, "web.upload_broken")
