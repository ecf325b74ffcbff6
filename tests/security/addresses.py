"""Every address that an application answers, and how to fill in what is in braces."""

from __future__ import annotations

import re
from collections.abc import Iterator

from secret_world import BASE, OBJECT, SITE

ENDLESS = "/api/events"
"""Its answer has no end; what it tells whom is tested by itself."""


def routes(app) -> Iterator[tuple[str, str]]:
    """Method and pattern of each, files of the pages left out."""

    def walk(found):
        for route in found:
            inner = getattr(route, "original_router", None)
            if inner is not None:
                yield from walk(inner.routes)
            elif getattr(route, "methods", None):
                yield from ((method, route.path) for method in sorted(route.methods))

    seen = set()
    for method, path in walk(app.routes):
        if method not in {"HEAD", "OPTIONS"} and path != ENDLESS and (method, path) not in seen:
            seen.add((method, path))
            yield method, path


class Unfilled(AssertionError):
    """A parameter of an address has no value here: add one to `values_for`."""


def values_for(pattern: str, known: dict[str, str]) -> dict[str, str]:
    """Values that lead to what the owner keeps."""
    values = {
        "name": OBJECT,
        "obj_id": OBJECT,
        "site": SITE,
        "which": BASE,
        "base_filename": BASE,
        "channel": "1",
        "count": "5",
        "side": "256",
        "report": "field.png",
        "kind": "sources",
        "acl_id": "Comment",
        "role_id": "Full user",
        "tag_id": "1",
        "mark_id": "1",
        "request_id": "1",
        "webhook_id": "7d0c8f3a-0b8e-4f0e-8a0a-4a7d3f1b2c11",
        "image_id": known["exposure_id"],
        "key": known["exposure_id"],
        "number": "1",
        "what": "enable",
        "rest": "1",
        "survey": "gaia",
        "token_id": known["token"],
        **known,
    }
    if "{kind}" in pattern:
        values["which"] = OBJECT
    if "/files/{name}" in pattern:
        values["name"] = known["file"]
    if "observations/{name}" in pattern:
        values["name"] = known["observation"]
    if pattern.startswith("/api/image_uploads/"):
        values["upload_id"] = known["image"]
    if "/photometry/{number}" in pattern:
        values["number"] = known["photometry_id"]
    return values


def filled(pattern: str, known: dict[str, str], **others: str) -> str:
    """The address of a pattern."""
    values = {**values_for(pattern, known), **others}

    def value(match: re.Match[str]) -> str:
        name = match[1].partition(":")[0]
        if name not in values:
            raise Unfilled(f"{pattern}: no value for {name}")
        return values[name]

    return re.sub(r"\{([^}]+)\}", value, pattern)
