"""Tables fit the terminal without breaking a number or a name."""

import pytest
from rich.console import Console

from firstlight.cli import console
from firstlight.cli.console import print_table
from firstlight.cli.tables import table_of

COLUMNS = (
    ("exposure", "exposure"), ("ra", "ra"), ("mag", "mag"), ("known as", "known"),
    ("camera", "camera"), ("why", "why"),
)  # fmt: skip
ROWS = [
    {"exposure": "mosaic_20260121_r_0009.fits", "ra": 150.13518, "mag": 21.3, "known": None,
     "camera": "SimulatedMosaic4", "why": "it does not look like a new source"},
]  # fmt: skip


@pytest.fixture
def printed(monkeypatch, capsys):
    def of(width, **given):
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setattr(console, "out", Console())
        print_table(table_of(ROWS, COLUMNS, **given))
        return capsys.readouterr().out

    return of


def test_all_is_told_where_there_is_room(printed):
    text = printed(120, spare=("camera",))
    assert "it does not look like a new source" in text
    assert "known as" in text
    assert "camera" in text


def test_what_is_empty_goes_first_then_what_can_be_spared(printed):
    text = printed(80, spare=("camera",))
    assert "known as" not in text
    assert "SimulatedMosaic4" in text
    assert "SimulatedMosaic4" not in printed(60, spare=("camera",))


@pytest.mark.parametrize("width", [30, 60, 80])
def test_numbers_and_names_stay_whole(printed, width):
    text = printed(width)
    for word in ("mosaic_20260121_r_0009.fits", "150.13518", "SimulatedMosaic4", "source"):
        assert word in text


def test_fractions_of_a_column_have_as_many_digits(monkeypatch, capsys):
    monkeypatch.setattr(console, "out", Console())
    rows = [{"seeing": 0.9, "n": 4}, {"seeing": 0.87, "n": None}, {"seeing": None, "n": 12}]
    print_table(table_of(rows, (("seeing", "seeing"), ("n", "n"))))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [["seeing", "n"], ["0.90", "4"], ["0.87"], ["12"]]
