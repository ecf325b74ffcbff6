import pytest

from firstlight.web.auth import csrf_token_of

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def secret_of(headers):
    return headers["Authorization"].split()[1]


def test_a_browser_signs_in_and_out(client, token):
    secret = secret_of(token("read"))
    assert "<form" in client.get("/sign-in?next=/sites/tst").text
    answer = client.post("/sign-in", data={"token": f" {secret} ", "next": "/sites/tst"})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/sites/tst")
    cookie = answer.headers["Set-Cookie"]
    assert f"firstlight_session={secret}" in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    kept = {"Cookie": f"firstlight_session={secret}"}
    assert client.get("/api/me", headers=kept).json()["data"]["name"] == "token 1"
    assert client.post("/sign-out", headers=kept).status_code == 403
    out = client.post("/sign-out", headers=kept, data={"csrf_token": csrf_token_of(secret)})
    assert 'firstlight_session=""' in out.headers["Set-Cookie"]


def test_a_wrong_token_is_not_kept(client):
    answer = client.post("/sign-in", data={"token": "fl_wrong"})
    assert answer.status_code == 401
    assert "Set-Cookie" not in answer.headers
    assert "not known" in answer.text


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example/", "//evil.example", "/\\evil.example", "", "/a\nb"]
)
def test_one_is_not_sent_elsewhere(client, token, elsewhere):
    data = {"token": secret_of(token("read")), "next": elsewhere}
    assert client.post("/sign-in", data=data).headers["Location"] == "/"


def test_another_page_cannot_sign_one_in(client, token):
    data = {"token": secret_of(token("read"))}
    answer = client.post("/sign-in", data=data, headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403
    same = client.post("/sign-in", data=data, headers={"Origin": "http://archive.example"})
    assert same.status_code == 303


def test_static_files_are_there_and_nothing_beside_them(client):
    assert client.get("/static/style.css").status_code == 200
    assert client.get("/static/live.js").headers["Content-Type"].startswith("text/javascript")
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static/nothing", "/static/"):
        assert client.get(path).status_code == 404


def test_behind_a_proxy_that_ends_tls(make_client):
    client = make_client(base_url="https://archive.example.org")
    secret = client.services.access.make("x", ["read"]).token
    origin = {"Origin": "https://archive.example.org"}
    answer = client.post("/sign-in", data={"token": secret}, headers=origin)
    assert answer.status_code == 303
    assert "Secure" in answer.headers["Set-Cookie"]
    other = client.post("/sign-in", data={"token": secret}, headers={"Origin": "https://x.org"})
    assert other.status_code == 403


def test_a_cookie_that_has_become_worthless_is_none(make_client):
    client = make_client(public_sites=("tst",))
    secret = client.services.access.make("x", ["admin"]).token
    cookie = {"Cookie": f"firstlight_session={secret}"}
    assert client.get("/api/tokens", headers=cookie).status_code == 200
    client.services.access.revoke("x")
    assert client.get("/api/tokens", headers=cookie).status_code == 401
    assert client.get("/api/exposures", headers=cookie).status_code == 200
    assert client.get("/", headers={**cookie, "Accept": "text/html"}).status_code == 200
