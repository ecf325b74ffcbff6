import asyncio

import httpx
import pytest
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse

from firstlight.web.packing import PackedJson

LONG = {"flux": [1.25] * 100_000}


def answer(response, encoding="gzip", method="GET"):
    async def ask():
        transport = httpx.ASGITransport(PackedJson(response))
        async with httpx.AsyncClient(transport=transport, base_url="http://a.example") as client:
            headers = {"Accept-Encoding": encoding}
            return await client.request(method, "/", headers=headers)

    return asyncio.run(ask())


@pytest.mark.parametrize("count", [1_000, 100_000])
def test_long_json_is_packed(count):
    data = {"flux": [1.25] * count}
    got = answer(JSONResponse(data))
    assert got.headers["Content-Encoding"] == "gzip"
    assert int(got.headers["Content-Length"]) < len(got.content) / 50
    assert "Accept-Encoding" in got.headers["Vary"]
    assert got.json() == data


def test_who_cannot_unpack_gets_it_plain():
    got = answer(JSONResponse(LONG), encoding="identity")
    assert "Content-Encoding" not in got.headers
    assert got.json() == LONG


@pytest.mark.parametrize(
    "response",
    [
        JSONResponse({"short": True}),
        PlainTextResponse("x" * 10_000),
        JSONResponse(LONG, headers={"Content-Encoding": "identity"}),
        StreamingResponse(iter([b"[", b"1" * 5000, b"]"]), media_type="application/json"),
    ],
)
def test_other_answers_stay_as_they_are(response):
    got = answer(response)
    assert got.headers.get("Content-Encoding", "identity") == "identity"
    assert got.status_code == 200
    assert len(got.content) > 10


def test_an_answer_without_a_body_stays_one():
    async def empty(scope, receive, send):
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 204, "headers": headers})
        await send({"type": "http.response.body"})

    got = answer(empty)
    assert (got.status_code, got.content) == (204, b"")


def test_a_workspace_packs(make_client):
    client = make_client()
    got = client.get("/api/openapi.json", headers={"Accept-Encoding": "gzip"})
    assert got.headers["Content-Encoding"] == "gzip"
    assert got.json()["info"]["title"] == "firstlight"
    head = client.head("/api/openapi.json", headers={"Accept-Encoding": "gzip"})
    assert head.content == b""
