"""How a service knows who calls: the six forms, as old clients write them, and one form of ours.

SkyPortal demands a key named like the type and then reads other keys beside it. Both are taken:
the keys within that entry, and those beside it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from firstlight.errors import InvalidInput

__all__ = ["checked_authinfo"]

_FIELD = "_authinfo"
_LONGEST = 8192  # characters of one value
_MOST_HEADERS = 20
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}", re.ASCII)
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_OURS = frozenset(
    {
        "host",
        "content-length",
        "content-type",
        "transfer-encoding",
        "connection",
        "accept-encoding",
        "user-agent",
    }
)
_PASSWORD = ("username", "password")
_KEYS = {
    "HTTPBasicAuth": _PASSWORD,
    "HTTPDigestAuth": _PASSWORD,
    "OAuth1": ("app_key", "app_secret", "user_oauth_token", "user_oauth_token_secret"),
}


def checked_authinfo(kind: str, given: object) -> dict[str, Any]:
    """What is kept, sealed, of ``_authinfo``.

    Parameters
    ----------
    kind
        One of `remotes.analysis_client.AUTHENTICATION_TYPES`.
    given
        An object, or JSON of one.

    Returns
    -------
    dict
        ``{}`` for ``none``; ``{"headers": {...}}``; ``{"api_key_name", "api_key"}``;
        ``{"username", "password"}``; or the four keys of OAuth1.

    Raises
    ------
    InvalidInput
        With SkyPortal's words where a key is missing. It never repeats a value.
    """
    if kind == "none":
        return {}
    if given is None or given in ("", {}):
        raise InvalidInput(
            "`_authinfo` is required to add an Analysis Service when authentication_type is not"
            " `none`.",
            field=_FIELD,
        )
    info = _as_object(given)
    nested = info.get(kind)
    named = dict(nested) if isinstance(nested, Mapping) else {}
    if kind == "header_token":
        return {"headers": _headers(nested)}
    if kind == "api_key":
        return _api_key(info, named)
    return _texts(kind, {**info, **named}, _KEYS[kind])


def _as_object(given: object) -> dict[str, Any]:
    try:
        found = json.loads(given) if isinstance(given, str) else given
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise InvalidInput("`_authinfo` must be parseable to a valid JSON object.", field=_FIELD)
    return found


def _headers(nested: object) -> dict[str, str]:
    if nested is None:
        raise _lacks("header_token")
    if not isinstance(nested, Mapping) or not 1 <= len(nested) <= _MOST_HEADERS:
        raise InvalidInput(
            "`_authinfo` must name headers and their values.",
            field=_FIELD,
            expected='{"header_token": {"Authorization": "Bearer ..."}}',
        )
    for name, value in nested.items():
        if not isinstance(name, str) or not _HEADER.fullmatch(name) or name.lower() in _OURS:
            raise InvalidInput("this header cannot be sent", field=_FIELD, found=repr(name)[:100])
        if not isinstance(value, str) or len(value) > _LONGEST or not _VALUE.fullmatch(value):
            raise InvalidInput(
                "the value of a header cannot be sent",
                field=f"{_FIELD}.{name}",
                expected="one line of Latin-1",
            )
    return dict(nested)


def _api_key(info: Mapping[str, Any], named: Mapping[str, Any]) -> dict[str, str]:
    if "api_key" not in info:
        raise _lacks("api_key")
    read = {"api_key_name": "api_key", **named} if named else {"api_key_name": "api_key", **info}
    return _texts("api_key", read, ("api_key_name", "api_key"))


def _texts(kind: str, info: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, str]:
    missing = [name for name in names if name not in info]
    if len(missing) == len(names):
        raise _lacks(kind)
    found = {}
    for name in names:
        value = info.get(name)
        if not isinstance(value, str) or len(value) > _LONGEST or "\x00" in value:
            raise InvalidInput(
                f"`_authinfo` for {kind} must contain a text `{name}`.",
                field=_FIELD,
                expected=", ".join(names),
            )
        found[name] = value
    return found


def _lacks(kind: str) -> InvalidInput:
    return InvalidInput(f'`_authinfo` must contain a key for "{kind}".', field=_FIELD)
