"""A browser signs in, changes things with its cookie, and nobody else does with it."""

import pytest

from firstlight.services.access import operator
from firstlight.services.accounts.settings import AccountSettings
from firstlight.services.accounts.users import NewUser
from firstlight.web.auth import csrf_token_of

PASSWORD = "a long password"  # noqa: S105, of nobody
HTTPS = {"base_url": "https://archive.example"}


@pytest.fixture
def ada(client):
    """An account that signs in with a password."""
    return client.services.users.create(
        operator(), NewUser("ada", password=PASSWORD, roles=["Super admin"])
    )


def sign_in(client, username="ada", password=PASSWORD, **options):
    answer = client.post("/sign-in", data={"username": username, "password": password}, **options)
    assert answer.status_code == 303, answer.text
    return answer.headers["Set-Cookie"].split(";")[0].split("=")[1]


def with_cookie(secret, **headers):
    return {"Cookie": f"firstlight_session={secret}", **headers}


def test_the_cookie(client, ada, make_client):
    answer = client.post("/sign-in", data={"username": "ada", "password": PASSWORD})
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Path=/" in cookie
    assert "Secure" not in cookie
    secure = make_client(client.services)
    object.__setattr__(client.services.web_settings, "base_url", HTTPS["base_url"])
    answer = secure.post("/sign-in", data={"username": "ada", "password": PASSWORD})
    assert "Secure" in answer.headers["Set-Cookie"]


def test_what_a_page_is_given_lets_it_change_things(client, ada):
    secret = sign_in(client)
    me = client.get("/api/internal/profile", headers=with_cookie(secret)).json()["data"]
    assert me["username"] == "ada"
    page = client.get("/sign-in", headers=with_cookie(secret, Accept="text/html"))
    assert csrf_token_of(secret) in page.text
    assert secret not in page.text
    sent = with_cookie(secret, **{"X-CSRF-Token": csrf_token_of(secret)})
    answer = client.post("/api/groups", json={"name": "comets"}, headers=sent)
    assert answer.status_code == 200, answer.text
    group = answer.json()["data"]["id"]
    found = client.get(f"/api/groups/{group}", headers=with_cookie(secret)).json()["data"]
    assert [(user["username"], user["admin"]) for user in found["users"]] == [("ada", True)]


GOOD = "what the page was given"
NOT_FROM_A_PAGE_OF_OURS = (
    {},
    {"X-CSRF-Token": ""},
    {"X-CSRF-Token": csrf_token_of("another")},
    {"X-CSRF-Token": "é"},
    {"X-CSRF-Token": GOOD, "Origin": "https://evil.example"},
    {"X-CSRF-Token": GOOD, "Origin": "null"},
    {"X-CSRF-Token": GOOD, "Sec-Fetch-Site": "cross-site"},
    {"X-CSRF-Token": GOOD, "Sec-Fetch-Site": "same-site"},
)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/groups"),
        ("PUT", "/api/groups/1"),
        ("PATCH", "/api/user/1"),
        ("DELETE", "/api/user/1"),
    ],
)
def test_another_page_changes_nothing(client, ada, method, path):
    secret = sign_in(client)
    for headers in NOT_FROM_A_PAGE_OF_OURS:
        sent = {k: csrf_token_of(secret) if v is GOOD else v for k, v in headers.items()}
        raw = {name: value.encode() for name, value in with_cookie(secret, **sent).items()}
        answer = client.request(method, path, json={"name": "evil"}, headers=raw)
        assert answer.status_code == 403, headers
        assert answer.json()["data"]["code"] == "access.csrf"
    assert client.services.groups.named(operator(), "evil") == []


def test_a_form_brings_it_as_a_field(client, ada):
    secret = sign_in(client)
    answer = client.post("/sign-out-everywhere", headers=with_cookie(secret))
    assert answer.status_code == 403
    answer = client.post(
        "/sign-out-everywhere",
        data={"csrf_token": csrf_token_of(secret)},
        headers=with_cookie(secret, Origin="http://archive.example"),
    )
    assert answer.status_code == 303
    assert client.get("/api/internal/profile", headers=with_cookie(secret)).status_code == 401


def test_a_token_in_the_header_needs_none(client, ada):
    made = client.services.user_tokens.make(operator(), "x", ["admin"], user_id=ada)
    headers = {"Authorization": f"token {made.token}", "Origin": "https://evil.example"}
    assert client.post("/api/groups", json={"name": "a"}, headers=headers).status_code == 200
    # And the cookie of somebody else does not matter.
    headers["Cookie"] = f"firstlight_session={sign_in(client)}"
    assert client.post("/api/groups", json={"name": "b"}, headers=headers).status_code == 200


def test_a_narrow_token_in_the_cookie_stays_narrow(client, ada):
    made = client.services.user_tokens.make(operator(), "x", ["comment"], user_id=ada)
    answer = client.post("/sign-in", data={"token": made.token})
    assert answer.status_code == 303
    headers = with_cookie(made.token, **{"X-CSRF-Token": csrf_token_of(made.token)})
    assert client.get("/api/internal/profile", headers=headers).status_code == 200
    assert client.post("/api/groups", json={"name": "a"}, headers=headers).status_code == 403


def test_signing_in_again_ends_the_session_before(client, ada):
    first = sign_in(client)
    second = sign_in(client, headers={"Cookie": f"firstlight_session={first}"})
    assert first != second
    assert client.get("/api/internal/profile", headers=with_cookie(first)).status_code == 401
    assert client.get("/api/internal/profile", headers=with_cookie(second)).status_code == 200


def test_another_page_cannot_sign_one_in(client, ada):
    data = {"username": "ada", "password": PASSWORD}
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        assert client.post("/sign-in", data=data, headers=headers).status_code == 403


def test_too_many_failures(make_client):
    limits = AccountSettings(attempts_per_username=3, attempts_per_address=6)
    client = make_client(accounts=limits)
    client.services.users.create(operator(), NewUser("ada", password=PASSWORD))

    def attempt(username, password, address="203.0.113.5"):
        data = {"username": username, "password": password}
        return client.post("/sign-in", data=data, address=address).status_code

    assert [attempt("ada", "wrong") for _ in range(4)] == [401, 401, 401, 429]
    assert attempt("ada", PASSWORD, "198.51.100.1") == 429
    assert [attempt(f"u{n}", "wrong") for n in range(4)] == [401, 401, 401, 429]
    wrong = {"Authorization": "token fl_wrong"}
    answer = client.get("/api/me", headers=wrong)
    assert answer.status_code == 429
    assert answer.json()["data"]["code"] == "access.too_many_attempts"
    assert client.get("/api/me", headers=wrong, address="198.51.100.1").status_code == 401
    assert client.get("/api/me").status_code == 200


def test_an_invited_person_makes_an_account(client, ada):
    secret = sign_in(client)
    headers = with_cookie(secret, **{"X-CSRF-Token": csrf_token_of(secret)})
    body = {"userEmail": "bob@example.org", "groupIDs": []}
    answer = client.post("/api/invitations", json=body, headers=headers).json()
    assert answer["data"] == {"id": 1}
    path = answer["link"].removeprefix("http://archive.example")
    assert "bob@example.org" in client.get(path).text
    wrong = client.post(path, data={"username": "bob", "password": "aaaaaaaaaa", "again": "b"})
    assert (wrong.status_code, "differ" in wrong.text) == (400, True)
    taken = {"username": "ada", "password": PASSWORD, "again": PASSWORD}
    assert client.post(path, data=taken).status_code == 409
    good = {**taken, "username": "bob", "first_name": "<b>Bob</b>"}
    evil = {"Origin": "https://evil.example"}
    assert client.post(path, data=good, headers=evil).status_code == 403
    joined = client.post(path, data=good)
    assert joined.status_code == 303
    kept = joined.headers["Set-Cookie"].split(";")[0]
    me = client.get("/api/internal/profile", headers={"Cookie": kept}).json()["data"]
    assert (me["username"], me["contact_email"]) == ("bob", "bob@example.org")
    assert client.get(path).status_code == 404
    assert client.post(path, data=good).status_code == 404


def test_the_person_at_this_machine_has_an_account(make_client):
    laptop = make_client(open_on_loopback=True)
    here = {"address": "127.0.0.1", "host": "localhost:8000"}
    me = laptop.get("/api/internal/profile", **here).json()["data"]
    assert (me["username"], me["roles"]) == ("operator", ["Super admin"])
    answer = laptop.post("/api/groups", json={"name": "mine"}, **here)
    assert answer.status_code == 200
    foreign = {"Origin": "https://evil.example"}
    assert (
        laptop.post("/api/groups", json={"name": "x"}, headers=foreign, **here).status_code == 401
    )


NONSENSE = (
    ("GET", "/api/user/99999999999999999999", None),
    ("GET", "/api/user?pageNumber=0", None),
    ("GET", "/api/user?sortBy=password_hash", None),
    ("GET", "/api/user?username=%00", None),
    ("GET", "/api/user?includeExpired=perhaps", None),
    ("POST", "/api/user", {"username": "a", "groupIDsAndAdmin": [[1]]}),
    ("POST", "/api/user", {"username": "a b"}),
    ("PATCH", "/api/user/1", {"expirationDate": "yesterday"}),
    ("PATCH", "/api/user/1", {"expirationDate": "0001-01-01T00:00:00+23:59"}),
    ("POST", "/api/groups", {"name": "\u0000"}),
    ("POST", "/api/groups", {"name": " "}),
    ("POST", "/api/internal/tokens", {"name": "x", "acls": ["Fly"]}),
    ("POST", "/api/invitations", {"userEmail": "a@b", "groupIDs": [1], "groupAdmin": [True, True]}),
    ("POST", "/api/invitations", {"userEmail": "a@b", "groupIDs": [], "canSave": [True]}),
)


def test_what_makes_no_sense_is_the_callers_fault(client, ada):
    made = client.services.user_tokens.make(operator(), "x", ["admin"], user_id=ada)
    headers = {"Authorization": f"token {made.token}"}
    for method, path, body in NONSENSE:
        answer = client.request(method, path, json=body, headers=headers)
        assert answer.status_code == 400, (path, body, answer.text)
