"""The fields of an analysis service as they are given, checked, and as they are shown."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from firstlight.analysis_kit.declaration import ANALYSIS_TYPES, INPUT_FORMATS, INPUT_TYPES
from firstlight.errors import InvalidInput
from firstlight.models.analysis import AnalysisService
from firstlight.remotes.analysis_client import AUTHENTICATION_TYPES
from firstlight.services.accounts.facts import wire_time
from firstlight.services.analyses.declared_parameters import checked_declaration
from firstlight.services.objects.wire_values import finite, optional_text, plain_text

__all__ = [
    "LOCAL",
    "VOCABULARY",
    "UrlRules",
    "checked_fields",
    "same_place",
    "service_facts",
]

LOCAL = "local:"
"""The address of a service that runs in a worker of this system begins so."""

VOCABULARY = {
    "ANALYSIS_TYPES": list(ANALYSIS_TYPES),
    "ANALYSIS_INPUT_TYPES": list(INPUT_TYPES),
    "AUTHENTICATION_TYPES": list(AUTHENTICATION_TYPES),
}
"""Words that fields may have, as SkyPortal's clients ask for them."""

_LONGEST_URL = 2048
_LONGEST_DESCRIPTION = 20_000
_TEXTS = {
    "display_name": 256,
    "description": _LONGEST_DESCRIPTION,
    "version": 64,
    "contact_name": 256,
    "contact_email": 256,
}
_SWITCHES = ("enabled", "upload_only", "display_on_resource_dropdown", "is_summary")


@dataclass(frozen=True)
class UrlRules:
    """Where services may live.

    Attributes
    ----------
    check_url
        Raises for an address that can never be called.
    local_names
        Gives the names of the services that run in workers.
    """

    check_url: Callable[[str], None]
    local_names: Callable[[], Collection[str]]

    def check(self, url: object, *, called: bool) -> str:
        """Return an address.

        Parameters
        ----------
        called
            Whether it is ever called; one of a service to which results are uploaded is not.

        Raises
        ------
        InvalidInput, UrlRefused
            It is none, or may not be called.
        """
        if not isinstance(url, str) or not url.strip():
            raise InvalidInput("`url` is required to add an Analysis Service.", field="url")
        url = url.strip()
        if url.startswith(LOCAL):
            names = sorted(self.local_names())
            if url.removeprefix(LOCAL) not in names:
                raise InvalidInput(
                    "there is no such local service",
                    field="url",
                    found=url[:100],
                    expected=", ".join(f"{LOCAL}{name}" for name in names) or "no local service",
                    hint="packages offer them in the group firstlight.analyses",
                )
            return url
        if len(url) > _LONGEST_URL or not _is_plain(url):
            raise InvalidInput(
                "a valid `url` is required to add an Analysis Service.",
                field="url",
                found=url[:200],
                expected="http://host/path or https://host:port/path",
            )
        if called:
            self.check_url(url)
        return url


def checked_fields(
    given: Mapping[str, Any], rules: UrlRules, *, longest_timeout_s: float, upload_only: bool
) -> dict[str, Any]:
    """Those columns of a service that are given, each checked.

    Parameters
    ----------
    given
        By the names of the columns; those that are not known are left alone.
    longest_timeout_s
        The operator's limit.
    upload_only
        Whether the service is never called, once these fields hold.

    Raises
    ------
    InvalidInput, BadDeclaration, UrlRefused
        Naming the field at fault, in SkyPortal's words where clients know them.
    """
    readers: dict[str, Callable[[Any], Any]] = {
        "name": lambda value: plain_text(value, "name", longest=128).strip(),
        "url": lambda value: rules.check(value, called=not upload_only),
        "input_format": lambda value: _one_of("input_format", value, INPUT_FORMATS),
        "analysis_type": lambda value: _one_of("analysis_type", value, ANALYSIS_TYPES),
        "authentication_type": _authentication_type,
        "input_data_types": _input_types,
        "timeout": lambda value: _timeout(value, longest_timeout_s),
        "optional_analysis_parameters": checked_declaration,
    }
    read = {name: reader(given[name]) for name, reader in readers.items() if name in given}
    for name, longest in _TEXTS.items():
        if name in given:
            read[name] = optional_text(given[name], name, longest=longest)
    for name in _SWITCHES:
        if name in given:
            read[name] = _switch(name, given[name])
    return read


def same_place(one: str, other: str) -> bool:
    """Whether two addresses are on one host and port, so that the same people get what is sent."""
    first, second = urlsplit(one), urlsplit(other)
    return (first.scheme, first.hostname, first.port) == (
        second.scheme,
        second.hostname,
        second.port,
    )


def service_facts(row: AnalysisService, groups: list[dict[str, Any]]) -> dict[str, Any]:
    """The columns of a service under SkyPortal's names, and no others; never its secrets."""
    return {
        "id": row.id,
        "created_at": wire_time(row.created_at),
        "modified": wire_time(row.modified_at),
        "name": row.name,
        "display_name": row.display_name,
        "description": row.description,
        "version": row.version,
        "contact_name": row.contact_name,
        "contact_email": row.contact_email,
        "url": row.url,
        "optional_analysis_parameters": row.optional_analysis_parameters,
        "authentication_type": row.authentication_type,
        "enabled": row.enabled,
        "analysis_type": row.analysis_type,
        "input_data_types": row.input_data_types,
        "timeout": row.timeout,
        "upload_only": row.upload_only,
        "display_on_resource_dropdown": row.display_on_resource_dropdown,
        "is_summary": row.is_summary,
        "groups": groups,
    }


def _is_plain(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return (
            parts.scheme in {"http", "https"}
            and bool(parts.hostname)
            and parts.port != 0
            and "@" not in parts.netloc
            and url.isascii()
            and url.isprintable()
        )
    except ValueError:
        return False


def _one_of(field: str, value: object, possible: Collection[str]) -> str:
    if not isinstance(value, str) or value not in possible:
        raise InvalidInput(
            f"`{field}` must be one of: {', '.join(possible)}.",
            field=field,
            found=repr(value)[:100],
            expected=", ".join(possible),
        )
    return value


def _authentication_type(value: object) -> str:
    if value is None or value == "":
        raise InvalidInput(
            "`authentication_type` is required to add an Analysis Service.",
            field="authentication_type",
            expected=", ".join(AUTHENTICATION_TYPES),
        )
    return _one_of("authentication_type", value, AUTHENTICATION_TYPES)


def _input_types(value: object) -> list[str]:
    """A list, or JSON of one; each once, in the order of `INPUT_TYPES`."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = [value]
    if not isinstance(value, list | tuple):
        raise InvalidInput(
            field="input_data_types", found=repr(value)[:100], expected=", ".join(INPUT_TYPES)
        )
    wanted = {_one_of("input_data_types", each, INPUT_TYPES) for each in value}
    return [each for each in INPUT_TYPES if each in wanted]


def _timeout(value: object, longest: float) -> float:
    seconds = finite(value, "timeout")
    if not 0 < seconds <= longest:
        raise InvalidInput(
            field="timeout", found=f"{seconds:g} s", expected=f"above 0, at most {longest:g} s"
        )
    return seconds


def _switch(field: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in {"true", "false"}:
        return value.lower() == "true"
    raise InvalidInput(field=field, found=repr(value)[:100], expected="true or false")
