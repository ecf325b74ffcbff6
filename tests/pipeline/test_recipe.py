"""The recipe: order, lineage, what is found, and what happens when a step fails."""

from __future__ import annotations

import uuid

import numpy as np
import pytest
from in_memory import make_exposure, make_image, make_sources

from firstlight.errors import UserError
from firstlight.models.image import Image
from firstlight.models.sources import SourceList
from firstlight.models.step_run import StepState
from firstlight.pipeline.recipe import Recipe
from firstlight.pipeline.step import Step, StepImpossible, Workpiece


class First(Step):
    name, version, makes, product_class = "first", "1", "image", Image

    def __init__(self, **parameters):
        self._parameters = parameters
        self.runs = 0

    def parameters(self):
        return self._parameters

    def run(self, piece):
        self.runs += 1
        piece.notes["seen"] = piece.section_id
        return make_image(np.zeros((4, 4)))


class Second(First):
    name, makes, product_class, after = "second", "sources", SourceList, ("first",)

    def run(self, piece):
        assert piece.image is not None
        self.runs += 1
        return make_sources(np.ones(1), np.ones(1), np.ones(1), np.ones(1))


class Third(Second):
    name, after = "third", ("second",)


@pytest.fixture
def piece():
    return Workpiece(make_exposure(np.zeros((4, 4), np.uint16)), "A")


def ids(recipe, piece):
    return recipe.expected_ids(piece.section_id, piece.inputs)


def test_products_get_the_ids_that_were_foretold(piece):
    recipe = Recipe([First(), Second()])
    outcomes = recipe.run(piece, {})
    assert [each.state for each in outcomes] == [StepState.DONE] * 2
    assert {each.step: each.product.id for each in outcomes} == ids(recipe, piece)
    assert piece.image is outcomes[0].product
    assert piece.image.provenance_id == recipe.lineages["first"].id
    assert outcomes[0].notes == {"seen": "A"}
    assert outcomes[1].notes == {}
    assert all(each.is_new and each.cpu_s >= 0 for each in outcomes)


def test_a_parameter_changes_only_what_lies_downstream(piece):
    one = ids(Recipe([First(), Second(), Third()]), piece)
    two = ids(Recipe([First(), Second(deep=True), Third()]), piece)
    assert one["first"] == two["first"]
    assert one["second"] != two["second"]
    assert one["third"] != two["third"]


def test_masters_and_sections_are_inputs(piece):
    recipe = Recipe([First()])
    plain = recipe.expected_ids("A", piece.inputs)
    assert plain != recipe.expected_ids("A", {**piece.inputs, "bias": uuid.uuid4()})
    assert plain != recipe.expected_ids("B", piece.inputs)


def test_what_is_found_is_not_made_again(piece):
    first, second = First(), Second()
    recipe = Recipe([first, second])
    there = make_image(np.ones((4, 4)))
    there.id = ids(recipe, piece)["first"]
    outcomes = recipe.run(piece, {there.id: there})
    assert (first.runs, second.runs) == (0, 1)
    assert piece.image is there
    assert [each.is_new for each in outcomes] == [False, True]


def test_a_failure_is_told_and_what_needs_it_is_skipped(piece):
    class Failing(Second):
        def run(self, piece):
            piece.notes["tried"] = "hard"
            raise StepImpossible("no stars", field="section A")

    third = Third()
    outcomes = Recipe([First(), Failing(), third]).run(piece, {})
    assert [each.state for each in outcomes] == [
        StepState.DONE,
        StepState.FAILED,
        StepState.SKIPPED,
    ]
    assert outcomes[1].error["code"] == "step.impossible"
    assert outcomes[1].notes == {"tried": "hard"}
    assert outcomes[2].notes == {"reason": "second was not done"}
    assert third.runs == 0
    assert piece.sources is None


def test_our_own_faults_are_internal_errors_with_their_traceback(piece):
    class Broken(First):
        def run(self, piece):
            return 1 / 0

    (outcome,) = Recipe([Broken()]).run(piece, {})
    assert outcome.state is StepState.FAILED
    assert outcome.error["kind"] == "internal"
    assert "ZeroDivisionError" in outcome.error["traceback"]


def test_interruption_is_not_swallowed(piece):
    class Interrupted(First):
        def run(self, piece):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Recipe([Interrupted()]).run(piece, {})


def test_user_errors_stay_user_errors(piece):
    class Refusing(First):
        def run(self, piece):
            raise UserError("not this one")

    (outcome,) = Recipe([Refusing()]).run(piece, {})
    assert outcome.error["kind"] == "user"
    assert "traceback" not in outcome.error
