"""Whatever a program sends to the routes of sources, the answer is no fault of ours."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firstlight.web.api.source_parameters import SOURCE_PARAMETERS

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["\x00", "\ud800", "FL1", "1e400", "-0", "nan", "inf", "٣"])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
words = st.text(max_size=20) | st.sampled_from(
    ["", "1", "-1", "0", "true", "1e999", "nan", "inf", ",", "1,2", "9" * 30, "\x00", "2026-01-01",
     "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "FL1", "%", "_", "\\"]
)  # fmt: skip
COLUMNS = (
    "id", "ra", "dec", "ra_err", "t0", "redshift", "redshift_error", "redshift_origin", "alias",
    "altdata", "tns_info", "summary", "summary_history", "host_id", "transient", "score", "origin",
    "group_ids", "ignore_if_in_group_ids", "saver_per_group_id",
)  # fmt: skip
BODIES = (
    ("POST", "/api/sources", COLUMNS),
    ("PATCH", "/api/sources/FL1", COLUMNS),
    ("DELETE", "/api/sources/FL1", ("group_id",)),
    ("POST", "/api/source_groups", ("objId", "inviteGroupIds", "unsaveGroupIds")),
    ("PATCH", "/api/source_groups/FL1", ("groupID", "active", "requested")),
    ("POST", "/api/sharing", ("groupIDs", "photometryIDs", "spectrumIDs")),
    ("POST", "/api/objtag", ("obj_id", "objtagoption_id", "group_ids")),
    ("POST", "/api/objtagoption", ("name", "color")),
    ("POST", "/api/sources/FL1/labels", ("groupIds",)),
)


@pytest.fixture
def asked(sky):
    sky.client("ada")
    sky.add("FL1")
    return sky.web("ada"), sky.web("root")


def _checked(answer):
    assert answer.status_code < 500, answer.text
    assert answer.json()["status"] in ("success", "error")
    assert (answer.status_code < 300) == (answer.json()["status"] == "success")


bodies = st.sampled_from(BODIES).flatmap(
    lambda route: st.tuples(
        st.just(route), st.dictionaries(st.sampled_from(route[2]), values, max_size=5)
    )
)


def test_any_body(asked):
    @given(bodies, st.booleans())
    @settings(max_examples=45, deadline=None)
    def ask(chosen, everything):
        (method, path, _), body = chosen
        text = json.dumps({"id": "FL1", **body} if path == "/api/sources" else body)
        headers = {"Content-Type": "application/json"}
        _checked(asked[everything].request(method, path, content=text, headers=headers))

    ask()


def test_any_query(asked):
    @given(st.dictionaries(st.sampled_from([*SOURCE_PARAMETERS, "queryID"]), words, max_size=4))
    @settings(max_examples=40, deadline=None)
    def ask(query):
        _checked(asked[0].get("/api/sources", params=query))

    ask()


def test_any_query_of_the_other_lists(asked):
    names = ["name", "ra", "dec", "radius", "classification", "mag_min", "sort", "cursor", "limit"]

    @given(st.dictionaries(st.sampled_from([*names, "obj_id", "objtagoption_id"]), words))
    @settings(max_examples=15, deadline=None)
    def ask(query):
        for path in ("/api/objects", "/api/source_exists", "/api/source_exists/FL1", "/api/objtag"):
            _checked(asked[0].get(path, params=query))

    ask()


def test_any_name(asked):
    for name in ("%00", "%ff", "a" * 129, "٣", "'; --", "%F0%9F%92%A9", "..;"):
        for part in ("", "/groups", "/phot_stat", "/position", "/color_mag", "/offsets"):
            answer = asked[0].get(f"/api/sources/{name}{part}")
            assert answer.status_code in (400, 404), answer.text
        assert asked[0].get(f"/api/source_exists/{name}").status_code in (200, 400, 404)
