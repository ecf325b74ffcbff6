"""Plots and graphs as numbers that a template draws as SVG: they need no scripts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from firstlight.services.lineage_graph import LineageGraph

__all__ = ["Box", "GraphDrawing", "Mark", "Plot", "draw_graph", "scatter_plot"]

WIDTH, HEIGHT = 460.0, 220.0
LEFT, RIGHT, TOP, BOTTOM = 58.0, 12.0, 10.0, 34.0
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_TICKS = 5
_MARGIN = 0.06

BOX, TALL, ACROSS, DOWN = 136.0, 46.0, 162.0, 58.0
EDGE = 8.0


@dataclass(frozen=True, slots=True)
class Mark:
    """One point of a plot.

    Attributes
    ----------
    error
        One sigma, in the units of `y`; None for none.
    title
        What is told when it is pointed at.
    url
        Where it leads.
    kind
        Class of its style.
    """

    x: float
    y: float
    error: float | None = None
    title: str = ""
    url: str | None = None
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A mark at its place in the drawing; the error bar reaches from `top` to `bottom`."""

    x: float
    y: float
    top: float | None
    bottom: float | None
    mark: Mark


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot that is ready to be drawn.

    Attributes
    ----------
    marks, dots
        Those that are told of when pointed at, or lead somewhere; and places of the others.
    x_ticks, y_ticks
        Place in the drawing and label.
    level
        Place of the line at zero, or another value that was asked for; None for none.
    """

    title: str
    x_label: str
    y_label: str
    marks: tuple[Drawn, ...]
    dots: tuple[tuple[float, float], ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    level: float | None
    width: float = WIDTH
    height: float = HEIGHT
    left: float = LEFT
    right: float = WIDTH - RIGHT
    top: float = TOP
    bottom: float = HEIGHT - BOTTOM


@dataclass(frozen=True, slots=True)
class Axis:
    """From values to places in the drawing."""

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        """Where a value is."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self) -> tuple[tuple[float, str], ...]:
        """Round values with their places."""
        raw = (self.high - self.low) / _TICKS
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(each * power for each in _STEPS if each * power >= raw * (1 - 1e-9))
        digits = max(0, -math.floor(math.log10(step) + 1e-9) + (step / power == 2.5))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return tuple(
            (self.place(n * step), f"{n * step + 0.0:.{digits}f}") for n in range(first, last + 1)
        )


def _axis(values: Sequence[float], least: float, start: float, end: float) -> Axis:
    low, high = min(values), max(values)
    middle, half = (low + high) / 2, max((high - low) / 2, least / 2)
    # Numbers that are large and equal to their last digit still need room on the axis.
    half = max(half, abs(middle) * 1e-9) * (1 + 2 * _MARGIN)
    return Axis(middle - half, middle + half, start, end)


def scatter_plot(
    title: str,
    labels: tuple[str, str],
    marks: Sequence[Mark],
    *,
    least: tuple[float, float] = (1e-3, 1e-3),
    level: float | None = None,
    faint_down: bool = False,
) -> Plot | None:
    """Lay out a scatter plot; None where there is no finite point.

    Parameters
    ----------
    labels
        Of the axes.
    least
        Smallest ranges of the axes, so that noise is not drawn as large as a signal.
    level
        A value of `y` at which a line is drawn.
    faint_down
        Whether `y` grows downwards, as magnitudes are drawn.
    """
    good = [mark for mark in marks if math.isfinite(mark.x) and math.isfinite(mark.y)]
    if not good:
        return None
    x = _axis([mark.x for mark in good], least[0], LEFT, WIDTH - RIGHT)
    values = [mark.y for mark in good] + ([] if level is None else [level])
    ends = (TOP, HEIGHT - BOTTOM) if faint_down else (HEIGHT - BOTTOM, TOP)
    y = _axis(values, least[1], *ends)
    drawn = [_drawn(mark, x, y) for mark in good]
    at = None if level is None else y.place(level)
    told = tuple(each for each in drawn if each.mark.title)
    dots = tuple((each.x, each.y) for each in drawn if not each.mark.title)
    return Plot(title, *labels, told, dots, x.ticks(), y.ticks(), at)


def _drawn(mark: Mark, x: Axis, y: Axis) -> Drawn:
    ends: tuple[float | None, float | None] = (None, None)
    if mark.error is not None and math.isfinite(mark.error):
        reach = [y.place(mark.y + mark.error), y.place(mark.y - mark.error)]
        inside = [min(max(each, TOP), HEIGHT - BOTTOM) for each in reach]
        ends = (min(inside), max(inside))
    return Drawn(x.place(mark.x), y.place(mark.y), *ends, mark)


@dataclass(frozen=True, slots=True)
class Box:
    """One node of a graph: its upper left corner, its words, where it leads."""

    x: float
    y: float
    title: str
    told: str
    url: str
    kind: str
    here: bool


@dataclass(frozen=True, slots=True)
class GraphDrawing:
    """A graph that is ready to be drawn; edges are paths of SVG."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    paths: tuple[str, ...]
    left_out: bool
    box: float = BOX
    tall: float = TALL


def draw_graph(graph: LineageGraph, *, here: str | None = None) -> GraphDrawing:
    """Lay a graph out in columns, inputs to the left.

    Parameters
    ----------
    here
        Key of the node that the page is about.
    """
    rows: dict[int, int] = {}
    places: dict[str, tuple[float, float]] = {}
    boxes = []
    for node in graph.nodes.values():
        row = rows.get(node.column, 0)
        rows[node.column] = row + 1
        x, y = EDGE + node.column * ACROSS, EDGE + row * DOWN
        places[node.key] = (x, y)
        below = "exposures" if node.kind == "Exposure" else "provenance"
        told = node.told if len(node.told) <= 21 else f"{node.told[:9]}…{node.told[-11:]}"
        boxes.append(
            Box(x, y, node.title, told, f"/{below}/{node.key}", node.kind, node.key == here)
        )
    paths = []
    for first, second in graph.edges:
        (x0, y0), (x1, y1) = places[first], places[second]
        x0, y0, y1 = x0 + BOX, y0 + TALL / 2, y1 + TALL / 2
        bend = max(12.0, (x1 - x0) / 2)
        turns = f"{x0 + bend:.0f} {y0:.0f} {x1 - bend:.0f} {y1:.0f}"
        paths.append(f"M{x0:.0f} {y0:.0f}C{turns} {x1:.0f} {y1:.0f}")
    width = max((x for x, _ in places.values()), default=0.0) + BOX + EDGE
    height = max((y for _, y in places.values()), default=0.0) + TALL + EDGE
    return GraphDrawing(width, height, tuple(boxes), tuple(paths), graph.left_out)
