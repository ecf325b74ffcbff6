"""Whatever is asked, the answer has the agreed shape, and is never a fault of ours."""

import json
import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firstlight.web.app import create_app

WORDS = st.text(max_size=30) | st.sampled_from(
    ["tst", "sro", "0", "-1", "1", "", "null", "x" * 300, "2026-08-24", "a/b", "%00", "..", "\x00"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)
ENDLESS = {"/api/events"}


def operations(app):
    for path, methods in app.openapi()["paths"].items():
        if path not in ENDLESS:
            for method, facts in methods.items():
                yield method.upper(), path, facts


def fill(data, path):
    for name in [each[1] for each in string.Formatter().parse(path) if each[1]]:
        value = data.draw(
            st.text(min_size=1, max_size=40) | st.sampled_from(["tst", "1", "x-EX00"])
        )
        quoted = "".join(f"%{byte:02X}" for byte in value.encode("utf-8", "replace"))
        path = path.replace("{" + name + "}", quoted)
    return path


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_request_gets_an_answer(make_client, data, one):
    client = one.get("client") or one.setdefault("client", make_client(public_sites="*"))
    admin = one.get("admin") or one.setdefault(
        "admin", client.services.access.make("admin", ["admin"]).token
    )
    method, path, facts = data.draw(st.sampled_from(sorted(operations(client.app), key=str)))
    query = {}
    for parameter in facts.get("parameters", ()):
        if parameter["in"] == "query" and data.draw(st.booleans()):
            query[parameter["name"]] = data.draw(WORDS)
    options = {"params": query}
    if method in {"POST", "PUT", "PATCH"}:
        body = data.draw(JSON)
        options["content"] = json.dumps(body).encode("utf-8", "replace")
        options["headers"] = {"Content-Type": "application/json"}
    if data.draw(st.booleans()):
        options.setdefault("headers", {})["Authorization"] = f"token {admin}"
    answer = client.request(method, fill(data, path), **options)
    assert answer.status_code < 500, answer.text
    if answer.headers.get("Content-Type") == "application/json" and "/photonranch/" not in path:
        body = answer.json()
        assert body["status"] == ("success" if answer.status_code < 400 else "error")
        if answer.status_code >= 400:
            assert body["data"]["code"]
            assert body["message"]
    assert "Traceback" not in answer.text


@pytest.fixture
def one():
    return {}


def test_every_route_is_described(make_services):
    app = create_app(make_services())
    schema = app.openapi()
    for method, path, facts in operations(app):
        assert facts["summary"], (method, path)
        assert facts.get("description"), (method, path)
        assert facts["tags"], (method, path)
        told = facts["responses"]
        good = [code for code in told if code < "400"]
        assert good, (method, path)
        for code in good:
            media = told[code].get("content", {}).get("application/json")
            assert media is None or "example" in media, (method, path, code)
    names = [facts["operationId"] for _, _, facts in operations(app)]
    assert len(set(names)) == len(names)
    assert schema["info"]["title"] == "firstlight"
