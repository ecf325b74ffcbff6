"""The shape of every JSON answer, and the HTTP status of every error.

A success is ``{"status": "success", "data": ..., "version": ...}``; an error is ``{"status":
"error", "message": ..., "data": {"code": ..., "kind": ..., ...}, "version": ...}``. Programs
test the code; people read the message.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import Response
from pydantic_core import to_json

from firstlight import __version__
from firstlight.errors import FirstlightError, InternalError, Kind, MissingError, UserError

__all__ = [
    "BodyTooLarge",
    "BodyTooSlow",
    "MethodRefused",
    "NoSuchAddress",
    "ServerBusy",
    "TooManyRequests",
    "asks",
    "failure",
    "json_response",
    "shows",
    "status_of",
    "success",
]

log = logging.getLogger("firstlight.web")

_BY_KIND = {
    Kind.USER: 400,
    Kind.MISSING: 404,
    Kind.CONFLICT: 409,
    Kind.REMOTE: 502,
    Kind.INTERNAL: 500,
}
_BY_CODE = {
    "access.not_signed_in": 401,
    "access.token_invalid": 401,
    "access.csrf": 403,
    "access.forbidden": 403,
    "access.sign_in_failed": 401,
    "access.too_many_attempts": 429,
    "analysis.too_many_waiting": 429,
    "analysis.already_updated": 403,
    "analysis.reader_busy": 503,
    "analysis.result_too_large": 413,
    "analysis.token_invalid": 403,
    "database.outdated": 503,
    "database.unreachable": 503,
    "image_analysis.queue_full": 429,
    "image_upload.too_large": 413,
    "storage.full": 507,
    "storage.link_expired": 403,
    "storage.link_forged": 403,
    "storage.unreachable": 503,
    "upload.too_large": 413,
    "web.body_too_large": 413,
    "web.body_too_slow": 408,
    "web.busy": 503,
    "web.method_refused": 405,
    "web.too_many_requests": 429,
}
# What went wrong in our own machine room is for the log, not for everyone who asks.
_TOLD_OF_OTHERS = "remote."


class NoSuchAddress(MissingError):
    """There is nothing at this address."""

    code = "web.no_such_address"


class MethodRefused(UserError):
    """The address does not answer to this method."""

    code = "web.method_refused"


class BodyTooLarge(UserError):
    """The body of the request is too large."""

    code = "web.body_too_large"


class BodyTooSlow(UserError):
    """The body of the request comes too slowly."""

    code = "web.body_too_slow"


class TooManyRequests(UserError):
    """Too many requests have come from this sender."""

    code = "web.too_many_requests"


class ServerBusy(InternalError):
    """There are too many open connections of this kind."""

    code = "web.busy"


def json_response(
    data: Any, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None
) -> Response:
    """Render JSON; numbers that JSON cannot hold become null."""
    body = to_json(data, inf_nan_mode="null")
    return Response(body, status, dict(headers or {}), "application/json")


def success(data: Any = None, status: int = HTTPStatus.OK) -> Response:
    """Render the answer to a request that was done."""
    return json_response({"status": "success", "data": data, "version": __version__}, status)


def status_of(fault: FirstlightError) -> int:
    """HTTP status of an error: by its code, else by whose turn it is."""
    return _BY_CODE.get(fault.code, _BY_KIND[fault.kind])


def told(fault: FirstlightError) -> dict[str, Any]:
    """What a caller is told about an error."""
    facts: dict[str, Any] = fault.as_dict()
    ours = fault.kind in {Kind.INTERNAL, Kind.REMOTE}
    if ours and not fault.code.startswith(_TOLD_OF_OTHERS):
        message = (type(fault).__doc__ or "").strip().splitlines()[0]
        return {"code": fault.code, "kind": fault.kind.value, "message": message}
    return facts


def failure(fault: FirstlightError) -> Response:
    """Render an error."""
    status = status_of(fault)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("%s: %s", fault.code, fault)
    facts = told(fault)
    message = facts.pop("message")
    body = {"status": "error", "message": message, "data": facts, "version": __version__}
    headers = {}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'token realm="firstlight"'
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = "5"
    return json_response(body, status, headers)


def asks(parameters: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    """Describe the query of a route whose conditions are read by name.

    Parameters
    ----------
    parameters
        What each means, and an example.
    """
    return {
        "parameters": [
            {
                "name": name,
                "in": "query",
                "required": False,
                "description": text,
                "schema": {"type": "string"},
                "example": example,
            }
            for name, (text, example) in parameters.items()
        ]
    }


def shows(example: Any, *errors: int, status: int = HTTPStatus.OK) -> dict[int | str, Any]:
    """Describe the answers of a route for OpenAPI: an example, and the errors to expect."""
    answer = {"status": "success", "data": example, "version": "0.1.0"}
    described: dict[int | str, Any] = {
        int(status): {
            "description": "Success",
            "content": {"application/json": {"example": answer}},
        }
    }
    for code in errors:
        fault = {
            "status": "error",
            "message": HTTPStatus(code).phrase,
            "data": {"code": "a.stable_code", "kind": "user", "hint": None},
            "version": "0.1.0",
        }
        described[code] = {
            "description": HTTPStatus(code).phrase,
            "content": {"application/json": {"example": fault}},
        }
    return described
