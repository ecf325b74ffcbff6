"""Every error becomes an answer: the envelope for programs, a page for people."""

from __future__ import annotations

import logging
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from firstlight.errors import FirstlightError, InternalError, InvalidInput
from firstlight.web.envelope import (
    MethodRefused,
    NoSuchAddress,
    failure,
    status_of,
    told,
)
from firstlight.web.pages.rendering import render

__all__ = ["answer_fault", "answer_faults"]

log = logging.getLogger("firstlight.web")

_PROGRAMS = ("/api/", "/photonranch/")


def answer_faults(app: FastAPI) -> None:
    """Give an application its handlers of errors."""
    app.add_exception_handler(FirstlightError, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unknown)


async def _known(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, FirstlightError)  # noqa: S101, it is registered for no other
    return answer_fault(request, fault)


async def _invalid(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, RequestValidationError)  # noqa: S101, it is registered for no other
    problems = fault.errors()
    first = problems[0]
    place = [str(part) for part in first["loc"]]
    found = first.get("input")
    return answer_fault(
        request,
        InvalidInput(
            str(first["msg"]),
            subject=place[0],
            field=".".join(place[1:]) or None,
            found=None if found is None else repr(found)[:200],
            hint=f"{len(problems) - 1} more like this" if len(problems) > 1 else None,
        ),
    )


async def _http(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, HTTPException)  # noqa: S101, it is registered for no other
    if isinstance(fault.__cause__, FirstlightError):  # raised while a body was being read
        return answer_fault(request, fault.__cause__)
    if fault.status_code == HTTPStatus.NOT_FOUND:
        return answer_fault(request, NoSuchAddress(subject=request.url.path[:200]))
    if fault.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = (fault.headers or {}).get("Allow", "")
        answer = answer_fault(request, MethodRefused(found=request.method, expected=allowed))
        answer.headers["Allow"] = allowed
        return answer
    return answer_fault(request, InvalidInput(str(fault.detail)))


async def _unknown(request: Request, fault: Exception) -> Response:
    log.error("%s failed", request.method, exc_info=fault)
    return answer_fault(request, InternalError())


def answer_fault(request: Request, fault: FirstlightError) -> Response:
    """What somebody is told of an error: a page for people, JSON for programs."""
    path = request.url.path
    for_people = "text/html" in request.headers.get("accept", "")
    if path.startswith(_PROGRAMS) or not for_people:
        return failure(fault)
    facts = {"fault": told(fault), "is_read": request.method in ("GET", "HEAD")}
    return render(request, "fault.html", facts, status=status_of(fault))
