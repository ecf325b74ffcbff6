"""Whatever is asked of these routes, on either database, the answer is no fault of ours."""

import json
import string
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

WORDS = st.text(max_size=20) | st.sampled_from(
    ["SHARED", "", "1", "-1", "\x00", "\ud800", "9" * 25, "x" * 3000, "2026-08-24", "NaN", "a,b"]
)
NUMBERS = st.integers(-2, 3) | st.sampled_from([2**31, -(2**63), 2**63, 10**30])
ANYTHING = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.floats() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)
GOOD = {
    "obj_id": "SHARED",
    "text": "t",
    "origin": "o",
    "data": {"a": 1},
    "classification": "x",
    "taxonomy_id": 1,
    "hierarchy": {"class": "x"},
    "name": "n",
    "nickname": "n",
    "diameter": 1.0,
    "lat": 1.0,
    "lon": 1.0,
    "elevation": 1.0,
    "type": "imager",
    "telescope_id": 1,
    "version": "1",
    "vote": 1,
    "instrument_id": 1,
    "observed_at": "2026-01-01",
    "wavelengths": [1.0, 2.0],
    "fluxes": [1.0, 2.0],
    "ascii": "1 2\n2 3",
    "filename": "f",
    "ttype": "new",
    "filters": ["V"],
    "start_date": "2026-01-01",
    "end_date": "2026-01-02",
    "log": {},
}
FIRST = {
    "/api/taxonomy": ["name", "version", "hierarchy"],
    "/api/classification": ["obj_id", "classification", "taxonomy_id"],
    "/api/sources/SHARED/comments": ["text"],
    "/api/sources/SHARED/annotations": ["origin", "data"],
    "/api/spectrum": ["obj_id", "instrument_id", "observed_at", "wavelengths", "fluxes"],
}
PATHS = {
    "kind": ["sources", "sources", "sources", "spectra", "photometry", "gcn_event"],
    "which": ["SHARED", "SHARED", "SHARED", "1", "\x00", "9" * 25],
    "name": ["SHARED", "SHARED", "\x00"],
}
CLIENTS = (None, "ada", "ada", "ada", "ada", "root", "bob", "cy", "machine")


def fields(schema, components):
    """Names of all keys that a body may have."""
    if "$ref" in schema:
        return fields(components[schema["$ref"].rpartition("/")[2]], components)
    names = list(schema.get("properties", ()))
    for each in schema.get("anyOf", ()):
        names += fields(each, components)
    return names


def address(data, path):
    for name in [each[1] for each in string.Formatter().parse(path) if each[1]]:
        known = PATHS.get(name, ["0", "1", "1", "1", "2", "7", "2147483647", "2147483648", "x"])
        value = data.draw(st.sampled_from(known))
        path = path.replace("{" + name + "}", quote(value, safe=""))
    return path


@pytest.fixture
def asked(either):
    ada = either.client("ada")
    for path, keys in FIRST.items():
        answer = ada.post(path, json={key: GOOD[key] for key in keys})
        assert answer.status_code == 200, answer.text
    schema = either.app.openapi()
    operations = [
        (method.upper(), path, facts)
        for path, methods in schema["paths"].items()
        for method, facts in methods.items()
    ]
    return {
        "operations": sorted(operations, key=str),
        "components": schema["components"]["schemas"],
        "clients": {name: either.client(name) for name in set(CLIENTS)},
    }


@settings(
    max_examples=70, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_request_gets_an_answer(asked, data):
    method, path, facts = data.draw(st.sampled_from(asked["operations"]))
    query = {
        parameter["name"]: data.draw(WORDS).encode("utf-8", "replace").decode()
        for parameter in facts.get("parameters", ())
        if parameter["in"] == "query" and data.draw(st.integers(0, 9)) == 0
    }
    options = {"params": query}
    if "requestBody" in facts:
        schema = facts["requestBody"]["content"]["application/json"]["schema"]
        body = {}
        for name in fields(schema, asked["components"]):
            if name in GOOD and data.draw(st.integers(0, 19)) > 0:
                body[name] = GOOD[name]
            elif data.draw(st.integers(0, 9)) == 0:
                body[name] = data.draw(ANYTHING)
        options["content"] = json.dumps(body if data.draw(st.integers(0, 9)) else [body])
        options["headers"] = {"Content-Type": "application/json"}
    client = asked["clients"][data.draw(st.sampled_from(CLIENTS))]
    answer = client.request(method, address(data, path), **options)
    assert answer.status_code < 500, answer.text
    if answer.headers["content-type"] == "application/json":
        told = answer.json()
        assert told["status"] == ("success" if answer.status_code < 400 else "error")
        assert answer.status_code < 400 or told["data"]["code"]
