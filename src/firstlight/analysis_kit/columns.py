"""Reading a table in either of its two forms: SkyPortal's CSV, or plain columns of JSON."""

from __future__ import annotations

import ast
import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from firstlight.analysis_kit.failures import AnalysisFailed

if TYPE_CHECKING:
    import numpy as np

__all__ = ["columns_of", "literal", "number", "numbers", "text", "texts"]

# A spectrum is one cell, and the csv module takes 128 KiB by default.
_LARGEST_CELL = 1 << 28
_NOTHING = ("", "nan", "none", "null", "nat", "n/a")


def columns_of(kind: str, sent: Any) -> dict[str, list[Any]]:
    """The columns of one type of data.

    Parameters
    ----------
    kind
        Its name, for messages.
    sent
        A string of CSV with a header, or ``{"columns": {name: [values]}}``.

    Raises
    ------
    AnalysisFailed
        It is neither, or its columns differ in length.
    """
    if isinstance(sent, str):
        return _from_csv(kind, sent)
    columns = sent.get("columns") if isinstance(sent, Mapping) else None
    if not isinstance(columns, Mapping) or not all(
        isinstance(values, list) for values in columns.values()
    ):
        raise AnalysisFailed(f"{kind}: neither CSV nor columns")
    if len({len(values) for values in columns.values()}) > 1:
        raise AnalysisFailed(f"{kind}: its columns differ in length")
    return dict(columns)


def _from_csv(kind: str, sent: str) -> dict[str, list[Any]]:
    before = csv.field_size_limit(_LARGEST_CELL)
    try:
        rows = list(csv.reader(io.StringIO(sent, newline=""), strict=True))
    except csv.Error as fault:
        raise AnalysisFailed(f"{kind}: this is no CSV: {fault}") from fault
    finally:
        csv.field_size_limit(before)
    if not rows:
        return {}
    header, *body = [row for row in rows if row]
    for line, row in enumerate(body, start=2):
        if len(row) != len(header):
            raise AnalysisFailed(
                f"{kind}: row {line} has {len(row)} values and the header {len(header)}"
            )
    if not body:
        return {name: [] for name in header}
    return {
        name: list(values) for name, values in zip(header, zip(*body, strict=True), strict=True)
    }


def numbers(kind: str, name: str, values: Sequence[Any]) -> np.ndarray:
    """A column of numbers, float64 of shape (n,); NaN where there is none.

    Raises
    ------
    AnalysisFailed
        One is something else.
    """
    import numpy as np  # noqa: PLC0415, a server that only hands on need not load it

    nan = math.nan
    try:
        # The usual spellings first: a long light curve has hundreds of thousands of them.
        plain = [nan if each is None or each == "" else float(each) for each in values]
        return np.array(plain, dtype=np.float64)
    except (TypeError, ValueError):
        pass
    try:
        return np.array([_float(value) for value in values], dtype=np.float64)
    except (TypeError, ValueError) as fault:
        raise AnalysisFailed(f"{kind}: column {name} has something that is no number") from fault


def number(value: Any) -> float | None:
    """A number, or nothing where there is none; what is no number counts as nothing."""
    try:
        found = _float(value)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


def _float(value: Any) -> float:
    if value is None:
        return math.nan
    if isinstance(value, str) and value.strip().lower() in _NOTHING:
        return math.nan
    return float(value)


def texts(values: Sequence[Any]) -> list[str]:
    """A column of text; empty where there is none."""
    return [text(value) for value in values]


def text(value: Any) -> str:
    """Text; empty where there is none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(value)


def literal(value: Any) -> Any:
    """What a cell of CSV stands for: SkyPortal writes lists and dictionaries as Python does.

    In a list of numbers ``None`` is NaN. ``nan`` and ``inf`` are numbers, and ``true``, ``false``
    and ``null`` are known, too. What is no string, as in plain columns, is itself; an empty cell
    is ``None``.

    Raises
    ------
    AnalysisFailed
        It is no value. Nothing is ever executed.
    """
    if not isinstance(value, str):
        return value
    if value.strip().lower() in _NOTHING:
        return None
    flat = _flat_list(value)
    if flat is not None:
        return flat
    try:
        return ast.literal_eval(_Names().visit(ast.parse(value.strip(), mode="eval")))
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as fault:
        raise AnalysisFailed(f"a cell holds no value: {value[:60]!r}") from fault


def _flat_list(value: str) -> list[float] | None:
    """A list of numbers, a hundred times faster than by a syntax tree; None if it is no such."""
    inner = value.strip()
    if not inner.startswith("[") or not inner.endswith("]"):
        return None
    inside = inner[1:-1].strip()
    if not inside:
        return []
    try:
        return [_float(each) for each in inside.split(",")]
    except ValueError:
        return None


class _Names(ast.NodeTransformer):
    """Replaces the names of values by those values, before the tree is read as a literal."""

    VALUES = {  # noqa: RUF012, a constant
        "nan": math.nan,
        "NaN": math.nan,
        "inf": math.inf,
        "Infinity": math.inf,
        "true": True,
        "false": False,
        "null": None,
    }

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in self.VALUES:
            return ast.copy_location(ast.Constant(self.VALUES[node.id]), node)
        return node
