"""What can be chosen of a corner plot: keywords of the package `corner`, as far as they are safe.

They come from strangers and go to a drawing library, so each is checked, and none of those that
take functions, files or keywords for other functions is among them.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from firstlight.errors import InvalidInput

__all__ = ["CORNER_OPTIONS", "corner_options", "options_key"]

_COLOUR = re.compile(r"#[0-9A-Fa-f]{3,8}|[A-Za-z]{1,30}|C\d|tab:[a-z]{1,10}|0?\.\d{1,4}")
_NUMBER_FORMAT = re.compile(r"\.?\d{0,2}[defgEG]")
_LONGEST_LIST = 50
_LONGEST_TEXT = 100
_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off", ""})

Check = Callable[[Any], Any]


class _WrongError(Exception):
    """The value is not of the kind that is expected."""


def corner_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Check keywords, from a body of JSON or as texts from a query.

    Raises
    ------
    InvalidInput
        A keyword is not known, or has a value that it cannot have.
    """
    unknown = sorted(set(given) - set(CORNER_OPTIONS))
    if unknown:
        raise InvalidInput(
            "there is no such keyword of a corner plot",
            field=unknown[0][:_LONGEST_TEXT],
            expected=", ".join(CORNER_OPTIONS),
        )
    made = {}
    for name, value in sorted(given.items()):
        expected, check = CORNER_OPTIONS[name]
        try:
            made[name] = check(_parsed(value, is_text=name in _TEXTS))
        except _WrongError as fault:
            raise InvalidInput(
                field=name, found=repr(value)[:_LONGEST_TEXT], expected=expected
            ) from fault
    return made


def options_key(options: Mapping[str, Any]) -> str:
    """A name for the plot that these options make."""
    return hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()


def _parsed(value: Any, *, is_text: bool) -> Any:
    """What a query says in text: JSON, or values between commas."""
    if not isinstance(value, str) or is_text:
        return value
    text = value.strip()
    if len(text) > _LONGEST_TEXT * _LONGEST_LIST:
        raise _WrongError
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        if "," not in text:
            return text
        return [_parsed(part, is_text=False) for part in text.split(",")]


def _yes_or_no(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).lower()[:10]
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise _WrongError


def _number(low: float, high: float) -> Check:
    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _WrongError
        if not math.isfinite(value) or not low <= value <= high:
            raise _WrongError
        return value

    return check


def _whole(low: int, high: int) -> Check:
    def check(value: Any) -> int:
        number = _number(low, high)(value)
        if number != int(number):
            raise _WrongError
        return int(number)

    return check


def _text(pattern: re.Pattern[str] | None = None) -> Check:
    def check(value: Any) -> str:
        if not isinstance(value, str) or not value or len(value) > _LONGEST_TEXT:
            raise _WrongError
        if not value.isprintable() or (pattern and not pattern.fullmatch(value)):
            raise _WrongError
        return value

    return check


def _list(of: Check) -> Check:
    def check(value: Any) -> list[Any]:
        values = value if isinstance(value, list) else [value]
        if not 1 <= len(values) <= _LONGEST_LIST:
            raise _WrongError
        return [of(each) for each in values]

    return check


def _either(*checks: Check) -> Check:
    def check(value: Any) -> Any:
        for each in checks:
            try:
                return each(value)
            except _WrongError:
                continue
        raise _WrongError

    return check


def _or_none(of: Check) -> Check:
    return lambda value: None if value is None else of(value)


def _pair(value: Any) -> list[float]:
    if not isinstance(value, list) or len(value) != 2:
        raise _WrongError
    low, high = (_number(-1e300, 1e300)(each) for each in value)
    if not low < high:
        raise _WrongError
    return [low, high]


_ANY = _number(-1e300, 1e300)
_PART = _number(1e-6, 1 - 1e-6)
_WORDS = ("a list of names", _list(_text()))
_SWITCH = ("true or false", _yes_or_no)
_SHADE = ("a colour", _text(_COLOUR))
_SMOOTH = ("a number from 0 to 20", _number(0, 20))

CORNER_OPTIONS: dict[str, tuple[str, Check]] = {
    "model": ("the name of a model", _text()),
    "var_names": _WORDS,
    "labels": _WORDS,
    "titles": _WORDS,
    "bins": ("a whole number from 2 to 200, or a list of them", _either(
        _whole(2, 200), _list(_whole(2, 200))
    )),
    "range": ("for each parameter a pair of numbers, or the part to be shown", _list(
        _either(_PART, _pair)
    )),
    "quantiles": ("numbers between 0 and 1", _list(_PART)),
    "title_quantiles": ("numbers between 0 and 1", _list(_PART)),
    "levels": ("numbers between 0 and 1", _list(_PART)),
    "truths": ("a number or null for each parameter", _list(_or_none(_ANY))),
    "truth_color": _SHADE,
    "color": _SHADE,
    "show_titles": _SWITCH,
    "title_fmt": ("a format of numbers, as .2f", _text(_NUMBER_FORMAT)),
    "smooth": _SMOOTH,
    "smooth1d": _SMOOTH,
    "axes_scale": ("linear or log, for each parameter", _list(_text(re.compile("linear|log")))),
    "hist_bin_factor": ("a number from 0.1 to 10", _number(0.1, 10)),
    "max_n_ticks": ("a whole number from 1 to 20", _whole(1, 20)),
    "labelpad": ("a number from -1 to 2", _number(-1, 2)),
    "plot_datapoints": _SWITCH,
    "plot_density": _SWITCH,
    "plot_contours": _SWITCH,
    "fill_contours": _SWITCH,
    "no_fill_contours": _SWITCH,
    "scale_hist": _SWITCH,
    "top_ticks": _SWITCH,
    "use_math_text": _SWITCH,
    "reverse": _SWITCH,
}  # fmt: skip
"""Each with what it takes, for messages, and its check."""
_TEXTS = frozenset({"model", "color", "truth_color", "title_fmt"})
