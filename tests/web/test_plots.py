"""Plots and graphs that the server draws: places, ticks, levels, columns."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstlight.services.lineage_graph import GraphNode, LineageGraph
from firstlight.web.pages.plots import Mark, draw_graph, scatter_plot

LABELS = ("x", "y")


def test_values_are_where_the_ticks_say():
    plot = scatter_plot("p", LABELS, [Mark(0, 0, title="a"), Mark(10, 5, title="b")])
    ticks = {float(label): place for place, label in plot.x_ticks}
    for drawn in plot.marks:
        assert ticks[drawn.mark.x] == pytest.approx(drawn.x, abs=0.11)
    low, high = plot.marks
    assert low.y > high.y, "y grows upwards"
    faint = scatter_plot(
        "p", LABELS, [Mark(0, 0, title="a"), Mark(1, 5, title="b")], faint_down=True
    )
    assert faint.marks[0].y < faint.marks[1].y


def test_nothing_finite_is_no_plot_and_the_rest_is_drawn():
    assert scatter_plot("p", LABELS, []) is None
    assert scatter_plot("p", LABELS, [Mark(math.nan, 1), Mark(1, math.inf)]) is None
    assert len(scatter_plot("p", LABELS, [Mark(1, 1), Mark(math.nan, 1)]).dots) == 1


def test_error_bars_end_at_the_frame():
    marks = [Mark(0, 0, error=100, title="a"), Mark(1, 1, error=math.nan, title="b")]
    plot = scatter_plot("p", LABELS, marks)
    first, second = plot.marks
    assert (first.top, first.bottom) == (plot.top, plot.bottom)
    assert second.top is None


def test_a_level_is_within_the_frame():
    plot = scatter_plot("p", LABELS, [Mark(0, 5), Mark(1, 6)], level=0.0)
    assert plot.top <= plot.level <= plot.bottom


@given(st.lists(st.tuples(st.floats(-1e12, 1e12), st.floats(-1e12, 1e12)), min_size=1, max_size=20))
def test_any_numbers_are_drawn_within_the_frame(points):
    plot = scatter_plot("p", LABELS, [Mark(x, y) for x, y in points])
    for x, y in plot.dots:
        assert plot.left <= x <= plot.right
        assert plot.top <= y <= plot.bottom
    for ticks in (plot.x_ticks, plot.y_ticks):
        assert 1 <= len(ticks) <= 12
        labels = [label for _, label in ticks]
        assert "-0" not in labels


def test_a_graph_in_columns():
    graph = LineageGraph()
    graph.add(GraphNode("a", "Exposure", "Exposure", "x" * 60, 0))
    graph.add(GraphNode("b", "Image", "Image", "section 0", 1), "a", "unknown")
    graph.add(GraphNode("c", "Image", "Image", "section 1", 1), "a")
    graph.add(GraphNode("c", "Image", "Image", "section 1", 1), "a")
    drawn = draw_graph(graph, here="b")
    assert len(drawn.boxes) == 3
    assert len(drawn.paths) == 2
    first, second, third = drawn.boxes
    assert first.url == "/exposures/a"
    assert second.url == "/provenance/b"
    assert [box.here for box in drawn.boxes] == [False, True, False]
    assert first.x < second.x == third.x
    assert second.y < third.y
    assert len(first.told) <= 21
    assert first.x + drawn.box < second.x


def test_a_graph_without_end_is_cut_and_says_so():
    graph = LineageGraph()
    for n in range(200):
        graph.add(GraphNode(str(n), "Image", "Image", "", 0))
    assert len(graph.nodes) < 200
    assert draw_graph(graph).left_out
