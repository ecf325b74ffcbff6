import json
import logging

import pytest

from firstlight import __version__
from firstlight.errors import InternalError, RemoteError
from firstlight.models.database import DatabaseUnreachable
from firstlight.web.envelope import failure, success

HTML = {"Accept": "text/html,application/xhtml+xml"}


def test_a_success_has_the_shape_that_clients_know(client, token):
    answer = client.get("/api/tokens", headers=token("admin"))
    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == {"status", "data", "version"}
    assert (body["status"], body["version"]) == ("success", __version__)
    assert body["data"][0]["name"] == "token 1"


def test_a_token_is_made_used_and_revoked_over_http(client, token):
    admin = token("admin")
    made = client.post("/api/tokens", headers=admin, json={"name": "x", "scopes": ["read"]})
    assert made.status_code == 201
    secret = made.json()["data"]["token"]
    for scheme in ("token", "Token", "Bearer", "bearer"):
        me = client.get("/api/me", headers={"Authorization": f"{scheme} {secret}"})
        assert me.json()["data"]["name"] == "x"
    assert client.delete("/api/tokens/x", headers=admin).status_code == 200
    assert client.get("/api/me", headers={"Authorization": f"token {secret}"}).status_code == 401
    assert secret not in client.get("/api/tokens", headers=admin).text


@pytest.mark.parametrize("header", ["", "token", "token  ", "Basic abc", "abc", "token: abc"])
def test_a_header_that_is_not_understood_is_an_error(client, header):
    answer = client.get("/api/me", headers={"Authorization": header})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("token")
    assert answer.json()["data"]["code"] == "access.token_invalid"


def test_a_token_in_the_url_opens_nothing(client, token):
    secret = token("admin")["Authorization"].split()[1]
    assert client.get(f"/api/tokens?token={secret}").status_code == 401


def test_a_cookie_reads_and_changes_nothing(client, token):
    secret = token("admin")["Authorization"].split()[1]
    cookie = {"Cookie": f"firstlight_session={secret}"}
    assert client.get("/api/tokens", headers=cookie).status_code == 200
    new = {"name": "x", "scopes": ["read"]}
    assert client.post("/api/tokens", headers=cookie, json=new).status_code == 403
    assert client.delete("/api/tokens/token 1", headers=cookie).status_code == 403


@pytest.mark.parametrize(
    ("method", "url", "options", "status", "code"),
    [
        ("GET", "/api/nothing", {}, 404, "web.no_such_address"),
        ("PUT", "/api/me", {}, 405, "web.method_refused"),
        ("GET", "/api/tokens", {}, 401, "access.not_signed_in"),
        ("GET", "/api/events?after=x", {}, 400, "input.invalid"),
        ("POST", "/api/tokens", {"content": b"{", "json_type": True}, 400, "input.invalid"),
    ],
)
def test_every_error_has_a_code(client, method, url, options, status, code):
    if options.pop("json_type", False):
        options["headers"] = {"Content-Type": "application/json"}
    answer = client.request(method, url, **options)
    assert answer.status_code == status
    body = answer.json()
    assert (body["status"], body["data"]["code"]) == ("error", code)
    assert body["message"]


def test_a_wrong_field_is_named(client, token):
    wrong = {"name": "x", "scopes": ["write"]}
    answer = client.post("/api/tokens", headers=token("admin"), json=wrong)
    assert answer.status_code == 400
    assert answer.json()["data"]["field"] == "scopes"
    assert answer.json()["data"]["found"] == "write"


def test_the_kinds_of_errors_have_statuses(client, token):
    admin = token("admin")
    assert client.delete("/api/tokens/nobody", headers=admin).status_code == 404
    again = {"name": "token 1", "scopes": ["read"]}
    assert client.post("/api/tokens", headers=admin, json=again).status_code == 409
    assert client.get("/api/tokens", headers=token("read")).status_code == 403


def test_what_is_wrong_in_the_machine_room_is_not_told():
    told = failure(DatabaseUnreachable("no route", subject="postgresql://db.inside/x"))
    assert told.status_code == 503
    assert told.headers["Retry-After"]
    assert b"inside" not in told.body
    assert json.loads(told.body)["data"]["code"] == "database.unreachable"
    assert b"secret" not in failure(InternalError("secret thing")).body
    assert failure(RemoteError("x", subject="y")).status_code == 502


def test_a_fault_of_ours_is_logged_and_answered(make_services, make_client, caplog):
    services = make_services()

    class Broken:
        def identify(self, *args, **kwargs):
            raise ZeroDivisionError("very secret")

    services.access = Broken()
    with caplog.at_level(logging.ERROR, "firstlight.web"):
        answer = make_client(services).get("/api/me")
    assert answer.status_code == 500
    assert answer.json()["data"]["code"] == "internal"
    assert "secret" not in answer.text
    assert "very secret" in caplog.text


def test_numbers_that_json_cannot_hold_are_null():
    body = json.loads(success({"a": float("nan"), "b": [float("inf")], "c": 1.5}).body)
    assert body["data"] == {"a": None, "b": [None], "c": 1.5}


def test_people_get_a_page(client):
    answer = client.get("/nowhere", headers=HTML)
    assert answer.status_code == 404
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "There is nothing at this address" in answer.text
    assert client.get("/api/nowhere", headers=HTML).json()["status"] == "error"


def test_what_a_person_sent_is_shown_as_text(client):
    answer = client.get("/%3Cscript%3Ealert(1)%3C/script%3E", headers=HTML)
    assert "<script>" not in answer.text
    assert "&lt;script&gt;" in answer.text
