import logging

import pytest

NEW = {"name": "x", "scopes": ["read"]}


def test_headers_keep_browsers_in_bounds(client):
    for url in ("/api/me", "/nowhere", "/api/openapi.json"):
        headers = client.get(url).headers
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "private, no-cache"
        assert "Server" not in headers


def test_a_body_that_is_announced_too_long_is_refused(make_client):
    client = make_client(max_body_bytes=2000)
    answer = client.post("/api/tokens", json={**NEW, "name": "x" * 3000})
    assert answer.status_code == 413
    assert answer.json()["data"]["code"] == "web.body_too_large"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_body_that_grows_too_long_is_refused(make_client):
    client = make_client(max_body_bytes=2000)

    async def body():
        for _ in range(30):
            yield b" " * 100

    headers = {"Content-Type": "application/json"}
    answer = client.post("/api/tokens", content=body(), headers=headers)
    assert answer.status_code == 413
    assert answer.json()["data"]["code"] == "web.body_too_large"


def test_other_pages_may_ask_only_where_that_is_set(make_client):
    origin = {"Origin": "https://portal.example"}
    assert "Access-Control-Allow-Origin" not in make_client().get("/api/me", headers=origin).headers
    client = make_client(allowed_origins=("https://portal.example",))
    allowed = client.get("/api/me", headers=origin).headers
    assert allowed["Access-Control-Allow-Origin"] == "https://portal.example"
    assert "Access-Control-Allow-Credentials" not in allowed
    other = client.get("/api/me", headers={"Origin": "https://evil.example"}).headers
    assert "Access-Control-Allow-Origin" not in other


@pytest.mark.parametrize("origin", ["*", "https://*", "portal.example", "https://a.example/"])
def test_origins_are_named_one_by_one(make_client, origin):
    with pytest.raises(ValueError, match="origin"):
        make_client(allowed_origins=(origin,))


def test_the_log_has_a_line_for_each_request_and_no_secrets(client, token, caplog):
    headers = token("admin")
    secret = headers["Authorization"].split()[1]
    with caplog.at_level(logging.INFO, "firstlight.web.requests"):
        client.get(f"/api/me?token={secret}", headers=headers)
        client.get(f"/api/nothing/{secret}")
        client.get("/evil%0Aline\u00e9")
    lines = [record.getMessage() for record in caplog.records]
    assert [line.rsplit(" ", 2)[0] for line in lines] == [
        "GET /api/me 200",
        "GET /api/nothing/(long) 404",
        "GET /evil%0Aline%C3%A9 404",
    ]
    assert secret not in caplog.text
