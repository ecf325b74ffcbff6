"""Calling a handler: its name becomes a function, its end becomes a report."""

from __future__ import annotations

import importlib
import json
import traceback
from collections.abc import Callable
from typing import Any

from firstlight.errors import FirstlightError, InternalError
from firstlight.work.engine import JsonValue, to_json
from firstlight.work.retry import Cause, Report

__all__ = ["BadHandler", "call_handler", "report_of", "resolve"]


class BadHandler(InternalError):
    """A job's handler cannot be used."""

    code = "work.bad_handler"


def resolve(path: str) -> Callable[..., Any]:
    """Import ``"module:function"``.

    Raises
    ------
    BadHandler
        It is not there.
    """
    module, _, name = path.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise BadHandler(subject=path, found=error, expected="module:function") from error
    if not callable(function):
        raise BadHandler(subject=path, found=type(function).__name__, expected="a function")
    return function  # type: ignore[no-any-return]  # known to be callable, and no more


def call_handler(path: str, payload: JsonValue, services: object) -> Report:
    """Run one attempt. Never raises, short of a KeyboardInterrupt.

    Returns
    -------
    Report
        Foreseen errors with their kind as the cause; all others as internal, with a traceback.
    """

    def attempt() -> Report:
        result = resolve(path)(payload, services)
        return Report(result=json.loads(to_json(result)))

    return report_of(attempt, path)


def report_of(action: Callable[[], Report], subject: str) -> Report:
    """Turn every fault of an action into data, as `call_handler` does."""
    try:
        return action()
    except FirstlightError as error:
        return Report(error=dict(error.as_dict()), cause=Cause(error.kind.value))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the border where faults become data
        # Of a database's error the rest is the statement, with all its values.
        first, *_ = str(error).splitlines() or [""]
        found = InternalError(f"{type(error).__name__}: {first}", subject=subject)
        facts = {**found.as_dict(), "traceback": traceback.format_exc()}
        return Report(error=facts, cause=Cause.INTERNAL)
