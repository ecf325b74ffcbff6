"""The grammar of parameters: what may be declared, what may be given, what a form asks for."""

import base64
import json
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firstlight.analysis_kit.parameters import read_parameters
from firstlight.errors import FirstlightError, InvalidInput
from firstlight.services.analyses.declared_parameters import (
    BadDeclaration,
    ParametersInvalid,
    checked_declaration,
    checked_parameters,
    form_fields,
    names_of_files,
)

FILE = "data:text/csv;name=model.csv;base64," + base64.b64encode(b"1,2,3").decode()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
PLAIN = st.characters(codec="ascii", min_codepoint=32, max_codepoint=126)
NAMES = st.text(st.characters(codec="ascii", min_codepoint=48), min_size=1, max_size=12)
RULES = st.one_of(
    st.lists(st.text(PLAIN, max_size=6) | st.integers(-9, 9), min_size=1, max_size=4),
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(["number", "integer", "string", "boolean", "date", "file"]),
        },
        optional={
            "title": st.text(PLAIN, max_size=5),
            "required": st.sampled_from([True, False, "True", "false"]),
            "minimum": st.integers(-5, 0),
            "maximum": st.integers(0, 5),
        },
    ),
    st.fixed_dictionaries(
        {"type": st.just("choice"), "choices": st.lists(st.text(PLAIN, max_size=6), min_size=1)}
    ),
)

# A machine with other work to do is no fault.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def test_seed_and_form():
    declared = checked_declaration(
        json.dumps(
            {
                "rrl_type": ["ab", "c"],
                "fix_z": ["True", "False"],
                "z": {"type": "number", "minimum": 0, "maximum": 2, "required": "True"},
                "start": {"type": "date", "title": "First night", "description": "UTC"},
                "templates": {"type": "file"},
                "n": {"type": "integer", "default": 3},
                "word": {"default": "x"},
            }
        )
    )
    fields = {each["name"]: each for each in form_fields(declared)}
    assert list(fields) == ["rrl_type", "fix_z", "z", "start", "templates", "n", "word"]
    assert fields["rrl_type"] == {
        "name": "rrl_type",
        "title": "rrl type",
        "description": "",
        "type": "choice",
        "choices": ["ab", "c"],
        "default": "ab",
        "minimum": None,
        "maximum": None,
        "required": False,
    }
    assert (fields["fix_z"]["type"], fields["fix_z"]["default"]) == ("boolean", True)
    assert (fields["z"]["minimum"], fields["z"]["maximum"], fields["z"]["required"]) == (0, 2, True)
    assert (fields["start"]["title"], fields["start"]["description"]) == ("First night", "UTC")
    assert (fields["word"]["type"], fields["n"]["default"]) == ("string", 3)


def test_defaults_are_filled_in_and_choices_are_not():
    declared = {"a": ["x", "y"], "b": {"type": "number", "default": 2}, "c": {"type": "string"}}
    assert checked_parameters(declared, {}) == {"b": 2.0}
    assert checked_parameters(declared, {"a": "y", "b": "", "c": None}) == {"a": "y", "b": 2.0}
    assert checked_parameters(declared, None) == {"b": 2.0}


@pytest.mark.parametrize(
    ("rule", "value", "read"),
    [
        (["a", "b"], "b", "b"),
        ([1, 2], "2", 2),
        (["1", "2"], 2, "2"),
        (["True", "False"], True, True),
        (["True", "False"], "False", "False"),
        ({"type": "number"}, "1.5", 1.5),
        ({"type": "integer"}, 4.0, 4),
        ({"type": "boolean"}, "True", True),
        ({"type": "boolean"}, False, False),
        ({"type": "date"}, "2026-11-21T03:04:05", "2026-11-21T03:04:05"),
        ({"type": "date"}, 61000.5, 61000.5),
        ({"type": "string", "choices": ["p", "q"]}, "q", "q"),
        ({"type": "file"}, FILE, FILE),
        ({"type": "number", "minimum": 0, "maximum": 1}, 1, 1.0),
    ],
)
def test_values_that_can_be_given(rule, value, read):
    found = checked_parameters(checked_declaration({"p": rule}), {"p": value})
    assert found == {"p": read}
    assert type(found["p"]) is type(read)


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        (["a", "b"], "c"),
        (["a", "b"], ["a"]),
        ([1, 2], True),
        ({"type": "number"}, "many"),
        ({"type": "number"}, True),
        ({"type": "number"}, math.nan),
        ({"type": "number"}, "inf"),
        ({"type": "number"}, 10**400),
        ({"type": "number", "minimum": 0}, -1e-9),
        ({"type": "number", "maximum": 1}, 1.1),
        ({"type": "integer"}, 1.5),
        ({"type": "integer"}, 2**60),
        ({"type": "boolean"}, "perhaps"),
        ({"type": "date"}, "yesterday"),
        ({"type": "string"}, 5),
        ({"type": "string"}, "a\x00"),
        ({"type": "string"}, "x" * 10_001),
        ({"type": "string", "choices": ["p", "q"]}, "r"),
        ({"type": "file"}, "model.csv"),
        ({"type": "file"}, "data:;base64,***"),
        ({"type": "file"}, "data:text/csv;name=a;base64," + "A" * 2_000_000),
        ({"type": "number", "required": "True"}, None),
        ({"type": "number", "required": True}, ""),
    ],
)
def test_values_that_cannot_be_given(rule, value):
    with pytest.raises(ParametersInvalid) as caught:
        checked_parameters(checked_declaration({"p": rule}), {"p": value})
    assert caught.value.field == "p"


def test_files_together_have_one_limit():
    declared = checked_declaration({name: {"type": "file"} for name in "abc"})
    large = "data:;name=a;base64," + "A" * 600_000
    assert checked_parameters(declared, {"a": large, "b": large})["a"] == large
    with pytest.raises(ParametersInvalid, match="too large together"):
        checked_parameters(declared, {"a": large, "b": large, "c": large})


def test_unknown_names_are_told_as_skyportal_does_and_extinction_is_known():
    with pytest.raises(ParametersInvalid, match=r"Invalid analysis_parameters: \{'magic'\}"):
        checked_parameters({"a": ["x"]}, {"magic": 1})
    assert checked_parameters({}, {"correct_extinction": "True"}) == {"correct_extinction": True}
    with pytest.raises(ParametersInvalid):
        checked_parameters({}, {"correct_extinction": "perhaps"})


@pytest.mark.parametrize(
    "declared",
    [
        "[1]",
        {"a": []},
        {"a": 5},
        {"a": {"type": "magic"}},
        {"a": {"type": "choice"}},
        {"a": {"choices": "xy"}},
        {"a": [["x"]]},
        {"a": [None]},
        {"a": {"type": "number", "minimum": 2, "maximum": 1}},
        {"a": {"type": "number", "minimum": "low"}},
        {"a": {"type": "number", "default": "many"}},
        {"a": {"choices": ["x"], "default": "y"}},
        {"a": {"type": "number", "step": 1}},
        {"": ["x"]},
        {"n" * 65: ["x"]},
        {str(number): ["x"] for number in range(101)},
    ],
)
def test_declarations_that_cannot_be_kept(declared):
    with pytest.raises(BadDeclaration):
        checked_declaration(declared)


def test_not_json_is_told_as_skyportal_does():
    with pytest.raises(InvalidInput, match="Could not parse `optional_analysis_parameters`"):
        checked_declaration('{"rrl_type": ["ab", "c", "d", "e"}')
    with pytest.raises(InvalidInput):
        checked_declaration("[" * 100_000)


def test_lists_show_the_name_of_a_file_alone():
    assert names_of_files({"a": FILE, "b": 2, "c": "data:;base64,AAAA"}) == {
        "a": "model.csv",
        "b": 2,
        "c": "file",
    }


@PATIENT
@given(declared=JSON, values=JSON)
def test_whatever_comes_is_taken_or_refused_with_a_code(declared, values):
    try:
        checked = checked_declaration(declared)
        read = checked_parameters(checked, values)
    except FirstlightError:
        return
    json.dumps(read, allow_nan=False)
    assert set(read) <= {*checked, "correct_extinction"}


@PATIENT
@given(declared=st.dictionaries(NAMES, RULES, max_size=4), data=st.data())
def test_what_the_portal_lets_through_the_kit_can_read(declared, data):
    checked = checked_declaration(declared)
    assert checked_declaration(json.dumps(checked)) == checked
    values = data.draw(
        st.fixed_dictionaries(
            {},
            optional={
                name: st.sampled_from(
                    rule if isinstance(rule, list) else rule.get("choices", [FILE])
                )
                | st.integers(-9, 9)
                | st.booleans()
                | st.just("2026-11-21")
                for name, rule in checked.items()
            },
        )
    )
    try:
        read = checked_parameters(checked, values)
    except ParametersInvalid:
        return
    # Twice is as once, and a service of the kit understands what it is sent.
    assert checked_parameters(checked, read) == read
    assert set(read_parameters(checked, read)) >= set(read)
    assert len(form_fields(checked)) == len(checked)
