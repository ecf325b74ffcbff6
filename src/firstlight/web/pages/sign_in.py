"""Signing in: a browser keeps a token in a cookie, for pages and the event stream."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from starlette.responses import RedirectResponse

from firstlight.services.access import Forbidden, TokenInvalid
from firstlight.web.addresses import absolute, is_own_origin
from firstlight.web.auth import COOKIE
from firstlight.web.context import services_of
from firstlight.web.pages.rendering import render

router = APIRouter(include_in_schema=False)

_DAYS = 30
_LOCAL = re.compile(r"/(?![/\\])[\x21-\x7e]{0,500}")


@router.get("/sign-in")
def show_form(request: Request, next: str = "/") -> Response:  # noqa: A002, the query's name
    """Ask for a token."""
    return render(request, "sign_in.html", {"wrong": False, "next": _local(next)})


@router.post("/sign-in")
def sign_in(
    request: Request,
    token: Annotated[str, Form(max_length=200)],
    next: Annotated[str, Form()] = "/",  # noqa: A002, the field's name
) -> Response:
    """Keep a token that is valid in a cookie that no script can read."""
    _check_origin(request)
    try:
        services_of(request).access.identify(token.strip())
    except TokenInvalid:
        facts = {"wrong": True, "next": _local(next)}
        return render(request, "sign_in.html", facts, status=401)
    answer = RedirectResponse(_local(next), 303)
    answer.set_cookie(
        COOKIE,
        token.strip(),
        max_age=_DAYS * 86_400,
        httponly=True,
        secure=absolute(request, "").startswith("https:"),
        samesite="lax",
    )
    return answer


@router.post("/sign-out")
def sign_out(request: Request) -> Response:
    """Forget the token."""
    _check_origin(request)
    answer = RedirectResponse("/", 303)
    answer.delete_cookie(COOKIE)
    return answer


def _check_origin(request: Request) -> None:
    """Refuse a form that another site's page has sent."""
    origin = request.headers.get("origin")
    if origin is not None and not is_own_origin(request, origin):
        raise Forbidden("this form was sent by another page")


def _local(address: str) -> str:
    return address if _LOCAL.fullmatch(address) else "/"
