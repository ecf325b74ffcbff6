"""What a service may be asked for: its declaration checked, and what was given for one run.

A parameter is a list of choices, as SkyPortal has it, or an object with a type. The portal fills
in the defaults that a declaration names; of a list of choices nothing is filled in, so that a
service written for SkyPortal gets what it would get there.
"""

from __future__ import annotations

import binascii
import json
import math
import re
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from firstlight.errors import InvalidInput, UserError
from firstlight.services.objects.wire_values import plain_json, storable

__all__ = [
    "DEFAULT_FILE_BYTES",
    "PARAMETER_TYPES",
    "RESERVED",
    "BadDeclaration",
    "ParametersInvalid",
    "checked_declaration",
    "checked_parameters",
    "form_fields",
    "names_of_files",
]

PARAMETER_TYPES = ("number", "integer", "string", "boolean", "date", "file", "choice")
RESERVED = ("correct_extinction",)
"""What any service may be started with: the portal itself heeds it."""
DEFAULT_FILE_BYTES = 1_048_576

_FIELD = "optional_analysis_parameters"
_MOST_PARAMETERS = 100
_MOST_CHOICES = 1000
_LONGEST_NAME = 64
_LONGEST_TEXT = 10_000
_TRUE, _FALSE = ("true", "t", "yes", "1"), ("false", "f", "no", "0")
_SWITCHES = ({"true", "false"}, {"yes", "no"})
_KEYS = frozenset(
    {"type", "choices", "default", "minimum", "maximum", "title", "description", "required"}
)
_DATA_URL = re.compile(r"data:[^,;]*((?:;[^,;]*)*);base64,(.*)", re.DOTALL)
_NAME_OF_FILE = re.compile(r";(?:file)?name=([^,;]*)")

Reader = Callable[["_Rule", Any], Any]


class BadDeclaration(UserError):
    """The parameters of a service are not declared as they should be."""

    code = "analysis_service.bad_declaration"


class ParametersInvalid(UserError):
    """The analysis cannot be started with these parameters."""

    code = "analysis.parameters"


@dataclass(frozen=True)
class _Rule:
    """One parameter, in the long form."""

    name: str
    type: str
    choices: tuple[Any, ...] = ()
    default: Any = None
    minimum: float | None = None
    maximum: float | None = None
    title: str = ""
    description: str = ""
    required: bool = False
    listed: bool = False  # SkyPortal's list of choices

    @property
    def is_switch(self) -> bool:
        """Whether the choices are yes and no, which pages show as a checkbox."""
        return {str(each).lower() for each in self.choices} in _SWITCHES


def checked_declaration(value: object) -> dict[str, Any]:
    """What is stored of ``optional_analysis_parameters``.

    Parameters
    ----------
    value
        An object, or JSON of one; None and a blank text for no parameters.

    Raises
    ------
    BadDeclaration, InvalidInput
        Naming the parameter at fault.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return {}
    try:
        declared = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError) as fault:
        raise InvalidInput(
            "Could not parse `optional_analysis_parameters` as JSON.", field=_FIELD
        ) from fault
    if not isinstance(declared, Mapping) or len(declared) > _MOST_PARAMETERS:
        raise BadDeclaration(
            field=_FIELD, expected=f"an object of at most {_MOST_PARAMETERS} parameters"
        )
    plain: dict[str, Any] = plain_json(dict(declared), _FIELD)
    for name, rule in plain.items():
        if not name or len(name) > _LONGEST_NAME:
            raise BadDeclaration(
                field=_FIELD, found=repr(name)[:100], expected=f"1 to {_LONGEST_NAME} characters"
            )
        _check(_rule(name, rule))
    return plain


def checked_parameters(
    declared: Mapping[str, Any],
    given: object,
    *,
    max_file_bytes: int = DEFAULT_FILE_BYTES,
) -> dict[str, Any]:
    """The parameters of one run, with the defaults of those that were left out.

    Parameters
    ----------
    declared
        Of the service, as `checked_declaration` returned it.
    given
        Values by name; None and a blank text count as left out.
    max_file_bytes
        Longest file that may be given, and of all files together.

    Raises
    ------
    ParametersInvalid
        One is unknown, missing, of another type, not among its choices, or out of range.
    """
    if given is None:
        given = {}
    if not isinstance(given, Mapping):
        raise ParametersInvalid(
            field="analysis_parameters", found=type(given).__name__, expected="an object"
        )
    known = {*declared, *RESERVED}
    unknown = sorted(str(name) for name in given if name not in known)
    if unknown:
        raise ParametersInvalid(
            f"Invalid analysis_parameters: {set(unknown)}.",
            field="analysis_parameters",
            found=", ".join(unknown)[:200],
            expected=", ".join(sorted(known)),
        )
    read = {name: _reserved(name, given[name]) for name in RESERVED if given.get(name) is not None}
    for name, raw in declared.items():
        rule = _rule(name, raw)
        value = given.get(name)
        if value is None or value == "":
            value = rule.default
        if value is not None and value != "":
            read[name] = _value(rule, value, max_file_bytes)
        elif rule.required:
            raise ParametersInvalid(f"the parameter {name} is required", field=name)
    _check_size(read, max_file_bytes)
    return read


def form_fields(declared: Mapping[str, Any]) -> list[dict[str, Any]]:
    """How a page asks for the parameters, in their order.

    Returns
    -------
    list of dict
        ``name``, ``title``, ``description``, ``type`` (see `PARAMETER_TYPES`; a list of yes and no
        is ``boolean``), ``choices``, ``default`` (of a list of choices its first), ``minimum``,
        ``maximum``, ``required``.
    """
    fields = []
    for name, raw in declared.items():
        rule = _rule(name, raw)
        default = rule.default
        if default is None and rule.listed and rule.choices:
            default = rule.choices[0]
        is_switch = rule.type == "boolean" or (rule.listed and rule.is_switch)
        if is_switch and default is not None:
            default = str(default).lower() in _TRUE
        fields.append(
            {
                "name": name,
                "title": rule.title or name.replace("_", " "),
                "description": rule.description,
                "type": "boolean" if is_switch else rule.type,
                "choices": [] if is_switch else list(rule.choices),
                "default": default,
                "minimum": rule.minimum,
                "maximum": rule.maximum,
                "required": rule.required,
            }
        )
    return fields


def names_of_files(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters as lists show them: of a file its name alone."""
    shown = {}
    for name, value in parameters.items():
        found = _DATA_URL.fullmatch(value) if isinstance(value, str) else None
        if found:
            called = _NAME_OF_FILE.search(found[1])
            shown[name] = called[1] if called else "file"
        else:
            shown[name] = value
    return shown


# --- the declaration ---------------------------------------------------------------------------


def _rule(name: str, raw: Any) -> _Rule:
    if isinstance(raw, list | tuple):
        return _Rule(name, "choice", tuple(raw), listed=True)
    if not isinstance(raw, Mapping):
        raise _bad(name, repr(raw)[:100], "a list of choices, or an object with a type")
    unknown = sorted(set(raw) - _KEYS)
    if unknown:
        raise _bad(name, unknown[0], ", ".join(sorted(_KEYS)))
    choices = raw.get("choices") or ()
    kind = raw.get("type", "choice" if choices else "string")
    if kind not in PARAMETER_TYPES:
        raise _bad(name, repr(kind)[:100], "a type: " + ", ".join(PARAMETER_TYPES))
    if not isinstance(choices, list | tuple):
        raise _bad(name, repr(choices)[:100], "a list of choices")
    return _Rule(
        name=name,
        type=kind,
        choices=tuple(choices),
        default=raw.get("default"),
        minimum=_limit(name, raw, "minimum"),
        maximum=_limit(name, raw, "maximum"),
        title=str(raw.get("title") or ""),
        description=str(raw.get("description") or ""),
        required=_is_true(raw.get("required", False)),
    )


def _limit(name: str, raw: Mapping[str, Any], which: str) -> float | None:
    value = raw.get(which)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _bad(name, f"{which}: {value!r}"[:100], "a number")
    return value


def _check(rule: _Rule) -> None:
    """Raise unless a rule can be kept by somebody."""
    if (rule.listed or rule.type == "choice") and not rule.choices:
        raise _bad(rule.name, "no choices", "at least one")
    if len(rule.choices) > _MOST_CHOICES:
        raise _bad(rule.name, f"{len(rule.choices)} choices", f"at most {_MOST_CHOICES}")
    for each in rule.choices:
        if isinstance(each, Mapping | list) or each is None:
            raise _bad(rule.name, repr(each)[:100], "choices that are texts or numbers")
    low, high = rule.minimum, rule.maximum
    if low is not None and high is not None and low > high:
        raise _bad(rule.name, f"{low} to {high}", "a minimum below the maximum")
    if rule.default is not None and rule.default != "":
        try:
            _value(rule, rule.default, DEFAULT_FILE_BYTES)
        except ParametersInvalid as fault:
            raise BadDeclaration(
                f"the default of the parameter {rule.name} is not one of its values",
                field=_FIELD,
                found=fault.found,
                expected=fault.expected,
            ) from fault


def _bad(name: str, found: str, expected: str) -> BadDeclaration:
    return BadDeclaration(
        f"the parameter {name} is not declared as it should be",
        field=_FIELD,
        found=found,
        expected=expected,
    )


# --- the values of one run ---------------------------------------------------------------------


def _check_size(read: Mapping[str, Any], max_file_bytes: int) -> None:
    """Refuse files that are too large together: a run keeps them."""
    size = sum(len(value) for value in read.values() if _is_file(value))
    if size * 3 // 4 > max_file_bytes + 3:
        raise ParametersInvalid(
            "the files are too large together",
            field="analysis_parameters",
            found=f"{size * 3 // 4} bytes",
            expected=f"at most {max_file_bytes} bytes",
        )


def _is_file(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("data:")


def _value(rule: _Rule, value: Any, max_file_bytes: int) -> Any:
    if rule.type == "file":
        return _file(rule, value, max_file_bytes)
    read = _READERS[rule.type](rule, value)
    if read is None:
        raise _refused(rule, value, f"a {rule.type}")
    if rule.choices and rule.type != "choice" and read not in rule.choices:
        raise _refused(rule, value, "one of: " + _told(rule.choices))
    if isinstance(read, int | float) and not isinstance(read, bool):
        _check_range(rule, read)
    return read


def _check_range(rule: _Rule, value: float) -> None:
    low, high = rule.minimum, rule.maximum
    if (low is None or value >= low) and (high is None or value <= high):
        return
    wanted = " and ".join(
        f"{word} {limit:g}"
        for word, limit in (("at least", low), ("at most", high))
        if limit is not None
    )
    raise _refused(rule, value, wanted)


def _refused(rule: _Rule, value: Any, expected: str) -> ParametersInvalid:
    shown = repr(value) if isinstance(value, str | int | float | bool) else type(value).__name__
    return ParametersInvalid(
        f"the parameter {rule.name} has a value that it cannot have",
        field=rule.name,
        found=shown[:100],
        expected=expected[:500],
    )


def _number(rule: _Rule, value: Any) -> float | None:
    del rule
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        read = float(value)
    except (ValueError, OverflowError):
        return None
    return read if math.isfinite(read) else None


def _integer(rule: _Rule, value: Any) -> int | None:
    read = _number(rule, value)
    return int(read) if read is not None and read == int(read) and abs(read) < 2**53 else None


def _boolean(rule: _Rule, value: Any) -> bool | None:
    del rule
    text = str(value).strip().lower()
    return text in _TRUE if text in _TRUE + _FALSE else None


def _string(rule: _Rule, value: Any) -> str | None:
    del rule
    plain = isinstance(value, str) and len(value) <= _LONGEST_TEXT and storable(value)
    return value if plain else None


def _date(rule: _Rule, value: Any) -> str | float | None:
    """A date in ISO 8601 stays a text, a Modified Julian Date a number."""
    number = _number(rule, value)
    if number is not None:
        return number
    try:
        datetime.fromisoformat(str(value).strip())
    except ValueError:
        return None
    return str(value).strip()


def _choice(rule: _Rule, value: Any) -> Any:
    """The choice itself where only its type differs, as from a form. Yes and no stay as given."""
    if rule.is_switch and isinstance(value, bool):
        return value
    if isinstance(value, str | int | float):
        for each in rule.choices:
            if type(each) is type(value) and each == value:
                return each
        for each in rule.choices:
            if str(each) == str(value):
                return each
    raise _refused(rule, value, "one of: " + _told(rule.choices))


def _file(rule: _Rule, value: Any, max_file_bytes: int) -> str:
    """A file as browsers give it: ``data:TYPE;name=NAME;base64,CONTENT``."""
    found = _DATA_URL.fullmatch(value) if isinstance(value, str) else None
    if found is None or not storable(value):
        raise ParametersInvalid(
            f"the parameter {rule.name} is a file",
            field=rule.name,
            expected="data:TYPE;name=NAME;base64,CONTENT",
        )
    encoded = found[2]
    if len(encoded) * 3 // 4 > max_file_bytes + 3:
        raise ParametersInvalid(
            f"the file of the parameter {rule.name} is too large",
            field=rule.name,
            found=f"{len(encoded) * 3 // 4} bytes",
            expected=f"at most {max_file_bytes} bytes",
        )
    try:
        b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as fault:
        raise ParametersInvalid(
            f"the file of the parameter {rule.name} is not in base64", field=rule.name
        ) from fault
    return str(value)


def _reserved(name: str, value: Any) -> bool:
    read = _boolean(_Rule(name, "boolean"), value)
    if read is None:
        raise _refused(_Rule(name, "boolean"), value, "true or false")
    return read


def _is_true(value: Any) -> bool:
    return str(value).strip().lower() in _TRUE


def _told(choices: Sequence[Any]) -> str:
    return ", ".join(str(each) for each in choices)


_READERS: dict[str, Reader] = {
    "number": _number,
    "integer": _integer,
    "string": _string,
    "boolean": _boolean,
    "date": _date,
    "choice": _choice,
}
