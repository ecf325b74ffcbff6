"""Keywords of a corner plot are taken from JSON and from queries, and nothing else is."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstlight.errors import InvalidInput
from firstlight.services.analyses.corner_options import (
    CORNER_OPTIONS,
    corner_options,
    options_key,
)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("bins", "30", 30),
        ("bins", "[10, 20]", [10, 20]),
        ("quantiles", "[0.16, 0.5, 0.84]", [0.16, 0.5, 0.84]),
        ("quantiles", "0.16,0.5,0.84", [0.16, 0.5, 0.84]),
        ("quantiles", "0.5", [0.5]),
        ("show_titles", "True", True),
        ("show_titles", "false", False),
        ("show_titles", "1", True),
        ("truths", "[1, null, -2.5]", [1, None, -2.5]),
        ("truths", "1.5,null", [1.5, None]),
        ("labels", "t0,x1", ["t0", "x1"]),
        ("labels", '["$t_0$", "x, y"]', ["$t_0$", "x, y"]),
        ("color", "#336699", "#336699"),
        ("color", "0.5", "0.5"),
        ("color", "tab:blue", "tab:blue"),
        ("title_fmt", ".3g", ".3g"),
        ("smooth", "1.5", 1.5),
        ("range", "[0.99, [1, 2]]", [0.99, [1, 2]]),
        ("axes_scale", "log,linear", ["log", "linear"]),
        ("model", "123", "123"),
    ],
)
def test_texts_of_a_query_and_values_of_json_mean_the_same(name, text, value):
    assert corner_options({name: text}) == {name: value}
    assert corner_options({name: value}) == {name: value}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bins", 1),
        ("bins", 10**9),
        ("bins", 10.5),
        ("bins", True),
        ("bins", float("nan")),
        ("quantiles", [0.0]),
        ("quantiles", [0.5] * 51),
        ("quantiles", []),
        ("truths", [1e301]),
        ("truths", ["x"]),
        ("range", [[2, 1]]),
        ("labels", ["x" * 101]),
        ("labels", [""]),
        ("labels", ["a\nb"]),
        ("labels", [["a"]]),
        ("color", "url(http://x)"),
        ("color", {"a": 1}),
        ("title_fmt", "{.__class__}"),
        ("title_fmt", ".99999999f"),
        ("show_titles", "maybe"),
        ("smooth", -1),
        ("axes_scale", "symlog"),
        ("labels", "[" * 5000),
    ],
)
def test_wrong_values_are_named(name, value):
    with pytest.raises(InvalidInput) as told:
        corner_options({name: value})
    assert told.value.field == name
    assert told.value.expected


@pytest.mark.parametrize(
    "name", ["fig", "hist_kwargs", "weights", "contour_kwargs", "data", "divergences", "x" * 300]
)
def test_other_keywords_are_refused(name):
    with pytest.raises(InvalidInput, match="no such keyword") as told:
        corner_options({name: 1})
    assert "quantiles" in told.value.expected


def test_the_same_options_have_the_same_key():
    one = corner_options({"bins": "30", "color": "red"})
    other = corner_options({"color": "red", "bins": 30})
    assert options_key(one) == options_key(other)
    assert options_key(one) != options_key({})
    assert len(options_key(one)) == 64


@given(
    st.dictionaries(
        st.sampled_from(sorted(CORNER_OPTIONS)),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=6,
        ),
        max_size=3,
    )
)
def test_any_values_are_taken_or_refused(given_options):
    try:
        chosen = corner_options(given_options)
    except InvalidInput:
        return
    json.dumps(chosen, allow_nan=False)
