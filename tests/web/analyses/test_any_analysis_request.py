"""Whatever is asked of the routes of analyses, on either database, is answered."""

import json
from contextlib import ExitStack
from types import SimpleNamespace
from urllib.parse import quote

import httpx
import pytest
from asgi_client import AsgiTransport
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fixtures_postgres import new_database
from portal_world import make_portal

WORDS = st.text(max_size=12) | st.sampled_from(
    ["OBJ", "", "1", "\x00", "9" * 25, "x" * 3000, "NaN", "all", "completed", "None"]
)
NUMBERS = st.integers(-2, 3) | st.sampled_from([2**31, -(2**63), 2**63, 10**30])
ANYTHING = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.floats() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)
GOOD = {
    "name": "fuzz",
    "url": "https://a.example/",
    "authentication_type": "none",
    "analysis_type": "meta_analysis",
    "input_data_types": ["redshift"],
    "optional_analysis_parameters": {"a": ["x"]},
    "_authinfo": {"header_token": {"A": "b"}},
    "timeout": 5,
    "enabled": True,
    "upload_only": False,
    "input_format": "csv",
    "group_ids": [1],
    "analysis_parameters": {"a": "x"},
    "url_parameters": {},
    "input_filters": {"photometry": {"filters": ["ztfg"]}},
    "show_plots": True,
    "source_filter": {"group_id": 1},
    "daily_limit": 3,
    "default_analysis_parameters": {},
    "analysis": {},
    "message": "m",
    "status": "success",
}
BODIES = {
    ("POST", "/api/analysis_service"): [
        "name", "url", "authentication_type", "analysis_type", "input_data_types",
        "optional_analysis_parameters", "_authinfo", "timeout", "enabled", "upload_only",
        "input_format", "group_ids",
    ],
    ("PATCH", "/api/analysis_service/1"): [
        "name", "url", "authentication_type", "input_data_types", "_authinfo", "timeout",
        "optional_analysis_parameters", "enabled", "group_ids",
    ],
    ("POST", "/api/obj/{word}/analysis/1"): [
        "analysis_parameters", "url_parameters", "input_filters", "group_ids", "show_plots",
    ],
    ("POST", "/api/obj/{word}/analysis_upload/2"): [
        "analysis", "message", "status", "group_ids", "show_plots",
    ],
    ("POST", "/api/obj/analysis/1/rerun"): ["analysis_parameters"],
    ("POST", "/api/analysis_service/1/default_analysis"): [
        "source_filter", "daily_limit", "default_analysis_parameters", "group_ids", "show_plots",
    ],
    ("PATCH", "/api/analysis_service/1/default_analysis/1"): [
        "source_filter", "daily_limit", "default_analysis_parameters", "group_ids", "show_plots",
    ],
}  # fmt: skip
READ = [
    "/api/analysis_service/{number}",
    "/api/analysis_service/{number}/default_analysis",
    "/api/analysis_service/1/default_analysis/{number}",
    "/api/obj/{word}/analysis",
    "/api/obj/{word}/analysis/{number}",
    "/api/obj/analysis/{number}",
    "/api/obj/analysis",
]
QUERY = ["objID", "analysisServiceID", "status", "summaryOnly", "pageNumber", "numPerPage"]


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]
)
def asked(request, tmp_path_factory):
    """A client of a portal with one service that is called, one for uploads, and an object."""
    with ExitStack() as stack:
        url = None
        if request.param == "postgres":
            url = stack.enter_context(new_database(request.getfixturevalue("postgres_server")))
        portal = make_portal(tmp_path_factory.mktemp("fuzz") / "workspace", url)
        portal.add_user("root", roles=["Super admin"], scopes=["admin"])
        client = httpx.Client(
            transport=AsgiTransport(portal.app),
            base_url="http://portal.example",
            headers=portal.headers("root"),
        )
        assert client.post("/api/sources", json={"id": "OBJ", "ra": 1, "dec": 2}).is_success
        names = ("name", "url", "authentication_type", "analysis_type", "input_data_types")
        first = {name: GOOD[name] for name in (*names, "optional_analysis_parameters")}
        for fields in ({"name": "called"}, {"name": "uploads", "upload_only": True}):
            assert client.post("/api/analysis_service", json={**first, **fields}).is_success
        yield SimpleNamespace(client=client)
        portal.factory.database.dispose()


STEADY = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def plain(text):
    return quote(text.encode("utf-8", "replace")[:300], safe="")


@STEADY
@given(data=st.data())
def test_any_body(asked, data):
    (method, path), names = data.draw(st.sampled_from(sorted(BODIES.items())))
    chosen = data.draw(st.lists(st.sampled_from(names), max_size=2, unique=True))
    body = {name: GOOD[name] for name in names if data.draw(st.booleans()) or name in chosen}
    body |= {name: data.draw(ANYTHING) for name in chosen}
    url = path.replace("{word}", plain(data.draw(st.sampled_from(["OBJ", "OBJ", "\x00"]))))
    content = json.dumps(data.draw(st.just(body) | ANYTHING)).encode("utf-8", "replace")
    answer = asked.client.request(
        method, url, content=content, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code < 500, (method, url, content, answer.text)
    assert answer.json()["status"] in {"success", "error"}


@STEADY
@given(data=st.data())
def test_any_question(asked, data):
    path = data.draw(st.sampled_from(READ))
    number = str(data.draw(NUMBERS))
    word = plain(data.draw(WORDS.filter(lambda text: text and "/" not in text)))
    url = path.replace("{number}", number).replace("{word}", word)
    query = {
        name: str(data.draw(NUMBERS | WORDS)).encode("utf-8", "replace").decode()
        for name in data.draw(st.lists(st.sampled_from(QUERY), max_size=2, unique=True))
    }
    answer = asked.client.get(url, params=query)
    assert answer.status_code < 500, (url, query, answer.text)
