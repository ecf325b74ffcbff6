"""The grammar of a service's parameters, and the reading of those of one run."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from firstlight.analysis_kit.failures import AnalysisFailed

__all__ = ["PARAMETER_TYPES", "RESERVED", "check_grammar", "read_parameters"]

PARAMETER_TYPES = ("number", "integer", "string", "boolean", "date", "file", "choice")
RESERVED = ("correct_extinction",)
"""Parameters that the portal itself understands; any service may be started with them."""

_TRUE = ("true", "t", "yes", "1")
_FALSE = ("false", "f", "no", "0")


def check_grammar(declared: Mapping[str, Any]) -> None:
    """Raise ValueError or TypeError unless each is declared as `ServiceDeclaration` says."""
    for name, rule in declared.items():
        if isinstance(rule, list | tuple):
            if not rule:
                raise ValueError(f"parameter {name}: a list of choices may not be empty")
            continue
        if not isinstance(rule, Mapping):
            raise TypeError(f"parameter {name}: a list of choices or an object is expected")
        kind = rule.get("type", "choice" if "choices" in rule else "string")
        if kind not in PARAMETER_TYPES:
            raise ValueError(
                f"parameter {name}: type {kind!r} is none of {', '.join(PARAMETER_TYPES)}"
            )
        if kind == "choice" and not rule.get("choices"):
            raise ValueError(f"parameter {name}: a choice needs its choices")


def read_parameters(declared: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """What was given, as the declared types; see `ServiceDeclaration.read_parameters`."""
    unknown = [name for name in given if name not in declared and name not in RESERVED]
    if unknown:
        raise AnalysisFailed(
            f"unknown parameter {unknown[0]}",
            hint=f"there are: {', '.join(declared) or 'none'}",
        )
    read = {name: given[name] for name in RESERVED if name in given}
    for name, rule in declared.items():
        facts = _facts(rule)
        value = given.get(name)
        if value is None or value == "":
            value = facts.get("default")
        if value is not None:
            read[name] = _value(name, value, facts)
        elif _is_true(facts.get("required", False)):
            raise AnalysisFailed(f"parameter {name} is required")
    return read


def _facts(rule: Any) -> dict[str, Any]:
    """A rule in its long form.

    SkyPortal draws the choices True and False as a box to tick, and sends nothing of one that
    was not ticked.
    """
    if isinstance(rule, Mapping):
        kind = rule.get("type", "choice" if "choices" in rule else "string")
        return {**rule, "type": kind}
    choices = list(rule)
    if [str(each) for each in choices] in (["True", "False"], ["False", "True"]):
        return {"type": "boolean", "default": False}
    return {"type": "choice", "choices": choices, "default": choices[0]}


def _value(name: str, value: Any, facts: Mapping[str, Any]) -> Any:
    read = _READERS[facts["type"]](value, facts)
    if read is None:
        raise AnalysisFailed(f"parameter {name}: {str(value)[:80]!r} is no {facts['type']}")
    choices = facts.get("choices")
    if choices and read not in choices:
        raise AnalysisFailed(
            f"parameter {name}: {str(value)[:80]!r} is not among its choices",
            hint=f"choose one of: {', '.join(str(each) for each in choices)}",
        )
    if isinstance(read, int | float) and not isinstance(read, bool):
        low, high = facts.get("minimum"), facts.get("maximum")
        if low is not None and read < low:
            raise AnalysisFailed(f"parameter {name}: {read} is less than {low}")
        if high is not None and read > high:
            raise AnalysisFailed(f"parameter {name}: {read} is more than {high}")
    return read


def _number(value: Any, facts: Mapping[str, Any]) -> float | None:
    del facts
    if isinstance(value, bool):
        return None
    try:
        read = float(value)
    except (TypeError, ValueError):
        return None
    return read if math.isfinite(read) else None


def _integer(value: Any, facts: Mapping[str, Any]) -> int | None:
    read = _number(value, facts)
    return int(read) if read is not None and read == int(read) else None


def _boolean(value: Any, facts: Mapping[str, Any]) -> bool | None:
    del facts
    text = str(value).strip().lower()
    return text in _TRUE if text in _TRUE + _FALSE else None


def _string(value: Any, facts: Mapping[str, Any]) -> str | None:
    del facts
    return value if isinstance(value, str) else None


def _date(value: Any, facts: Mapping[str, Any]) -> str | float | None:
    """An ISO date stays a text; a Modified Julian Date, as SkyPortal sends it, a number."""
    number = _number(value, facts)
    if number is not None:
        return number
    try:
        datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return str(value)


def _choice(value: Any, facts: Mapping[str, Any]) -> Any:
    """The choice itself where only its type differs, as from a command line or a form."""
    if value in facts["choices"]:
        return value
    return next((each for each in facts["choices"] if str(each) == str(value)), value)


def _is_true(value: Any) -> bool:
    return str(value).strip().lower() in _TRUE


_READERS: dict[str, Callable[[Any, Mapping[str, Any]], Any]] = {
    "number": _number,
    "integer": _integer,
    "boolean": _boolean,
    "string": _string,
    "file": _string,
    "date": _date,
    "choice": _choice,
}
