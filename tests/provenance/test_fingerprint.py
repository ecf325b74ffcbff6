import subprocess
import sys
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstlight.provenance.fingerprint import canonical_json, fingerprint, product_id
from firstlight.provenance.lineage import Lineage

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), JSON, min_size=2))
def test_the_order_of_keys_does_not_matter(facts):
    turned = dict(reversed(list(facts.items())))
    assert fingerprint(facts) == fingerprint(turned)


@given(JSON, JSON)
def test_other_facts_give_another_fingerprint(one, other):
    assert (fingerprint(one) == fingerprint(other)) == (
        canonical_json(one) == canonical_json(other)
    )


def test_the_fingerprint_is_the_same_in_another_process():
    program = (
        "from firstlight.provenance.fingerprint import fingerprint;"
        "print(fingerprint({'b': [1, 2.5], 'a': 'ü'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == fingerprint({"a": "ü", "b": (1, 2.5)})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1, 2}])
def test_what_json_cannot_hold_is_refused(value):
    with pytest.raises((TypeError, ValueError)):
        fingerprint({"x": value})


def test_product_ids_are_version_8_uuids_of_provenance_inputs_and_part():
    one = product_id("abc", {"image": uuid.UUID(int=1)}, "A")
    assert one.version == 8
    assert one.variant == uuid.RFC_4122
    assert one == product_id("abc", {"image": str(uuid.UUID(int=1))}, "A")
    others = {
        product_id("abd", {"image": uuid.UUID(int=1)}, "A"),
        product_id("abc", {"image": uuid.UUID(int=2)}, "A"),
        product_id("abc", {"dark": uuid.UUID(int=1)}, "A"),
        product_id("abc", {"image": uuid.UUID(int=1)}, "B"),
    }
    assert len(others | {one}) == 5


def test_a_critical_parameter_changes_only_what_lies_downstream():
    def chain(threshold: float) -> list[Lineage]:
        calibrate = Lineage("calibrate", "1", {"clip": 3})
        sources = Lineage("find_sources", "1", {"threshold": threshold}, (calibrate,))
        return [calibrate, sources, Lineage("solve", "1", {}, (sources,))]

    before, after = chain(4.0), chain(5.0)
    assert [a.id == b.id for a, b in zip(before, after, strict=True)] == [True, False, False]


def test_the_order_of_upstreams_does_not_matter_and_walk_visits_each_once():
    root = Lineage("root", "1")
    left, right = Lineage("left", "1", {}, (root,)), Lineage("right", "1", {}, (root,))
    assert Lineage("x", "1", {}, (left, right)).id == Lineage("x", "1", {}, (right, left)).id
    names = [node.process for node in Lineage("x", "1", {}, (left, right)).walk()]
    assert names == ["root", "left", "right", "x"]


def test_the_step_version_and_process_enter():
    ids = {Lineage("a", "1").id, Lineage("a", "2").id, Lineage("b", "1").id}
    assert len(ids) == 3
