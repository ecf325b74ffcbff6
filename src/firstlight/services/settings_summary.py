"""Settings as administrators may look at them: flat, and with nothing secret."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["settings_summary"]

_SECRET = re.compile(r"secret|password|token|credential|(^|_)key(_|$)", re.IGNORECASE)
_LOGIN = re.compile(r"//[^/@\s]*@")
_HIDDEN = "set, not shown"


def settings_summary(settings: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Dotted names and texts, by section.

    Parameters
    ----------
    settings
        Nested JSON values. Whatever is called a secret, key, token or password is only told to
        be set, and addresses lose the part before the ``@``.
    """
    sections: dict[str, dict[str, str]] = {}
    for name, value in settings.items():
        flat = dict(_flat(value, ""))
        if flat:
            sections[name] = flat
    return sections


def _flat(value: Any, name: str) -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        found = []
        for key, inner in value.items():
            whole = f"{name}.{key}" if name else str(key)
            hidden = inner is not None and _SECRET.search(str(key)) is not None
            found += [(whole, _HIDDEN)] if hidden else _flat(inner, whole)
        return found
    if isinstance(value, list) and any(isinstance(each, Mapping) for each in value):
        return [pair for n, each in enumerate(value) for pair in _flat(each, f"{name}[{n}]")]
    if isinstance(value, list):
        return [(name, ", ".join(_LOGIN.sub("//…@", str(each)) for each in value) or "none")]
    return [(name, "not set" if value is None else _LOGIN.sub("//…@", str(value)))]
