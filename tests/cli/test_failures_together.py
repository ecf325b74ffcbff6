"""What failed for one reason is told in one line."""

from firstlight.cli.reduction import together


def test_one_line_for_each_reason():
    told = together([
        "a.S1: preprocess: no time: in the header", "b.S1: solve: no stars",
        "a.S2: preprocess: no time: in the header", "c.S1: preprocess: no time: in the header",
    ])  # fmt: skip
    assert told == [
        "a.S1 and 2 more: preprocess: no time: in the header",
        "b.S1: solve: no stars",
    ]


def test_what_failed_often_for_one_reason_is_one_thing():
    assert together(["known.csv: it is not there"] * 3) == ["known.csv: it is not there"]


def test_nothing_failed():
    assert together([]) == []
