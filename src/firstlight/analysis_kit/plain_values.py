"""Values of scientific Python as plain JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

__all__ = ["plain"]


def plain(value: Any, where: str) -> Any:
    """`value` as JSON knows it.

    Numbers that are not finite, and what is masked, become ``None``; arrays and columns lists; a
    quantity ``{"value", "unit"}``; a table its columns; a time its ISO text.

    Parameters
    ----------
    where
        What `value` is called, for messages.

    Raises
    ------
    TypeError
        There is no plain form; the message names the place.
    """
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(each, f"{where}.{key}") for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(each, f"{where}[{index}]") for index, each in enumerate(value)]
    return _of_libraries(value, where)


def _of_libraries(value: Any, where: str) -> Any:
    """Without importing their libraries: a value of theirs has the attribute that tells it."""
    if hasattr(value, "colnames"):
        return {name: plain(value[name].tolist(), f"{where}.{name}") for name in value.colnames}
    if hasattr(value, "unit") and hasattr(value, "to_value"):
        return {"value": plain(value.value, where), "unit": str(value.unit)}
    if isinstance(value, date | datetime):
        return value.isoformat()
    if hasattr(value, "isot"):
        return plain(value.isot, where)
    if hasattr(value, "tolist"):
        listed = value.tolist()
        if listed is not value and not hasattr(listed, "tolist"):
            return plain(listed, where)
    raise TypeError(
        f"{where}: a {type(value).__name__} cannot be sent; "
        "use numbers, text, lists, arrays and dictionaries"
    )
