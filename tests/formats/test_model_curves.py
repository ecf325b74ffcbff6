"""Light curves of models are four finite numbers a row."""

import pytest

from firstlight.formats.model_curves import ModelCurves
from firstlight.formats.result_errors import ResultMalformed, ResultTooLarge


def test_rows_that_are_not_finite_are_left_out_and_counted():
    checking = ModelCurves()
    made = checking.of_model(
        {"ztfg": [[1, 2, 3, 4], [1, None, 3, 4], [1, 2, float("inf"), 4], [1, 2, 3, 10**400]]},
        "curve",
    )
    assert made == {"ztfg": [[1.0, 2.0, 3.0, 4.0]]}
    assert checking.dropped == 3


@pytest.mark.parametrize(
    "curves",
    [
        [],
        {"g": {}},
        {"g": "x"},
        {"g": [1, 2, 3, 4]},
        {"g": [[1, 2, 3]]},
        {"g": [["1", 2, 3, 4]]},
        {"g": [[1, 2, 3, [4]]]},
        {"g": [[True, 2, 3, 4]]},
    ],
)
def test_other_forms_are_malformed(curves):
    with pytest.raises(ResultMalformed):
        ModelCurves().of_model(curves, "curve")


def test_too_much_is_refused():
    row = [1.0, 2.0, 3.0, 4.0]
    checking = ModelCurves(most_rows=10)
    checking.of_model({"g": [row] * 6}, "one")
    with pytest.raises(ResultTooLarge):
        checking.of_model({"g": [row] * 6}, "other")
    with pytest.raises(ResultTooLarge):
        ModelCurves(most_curves=2).of_model({str(each): [] for each in range(3)}, "one")
