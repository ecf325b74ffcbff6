"""Signing in and out, and accepting an invitation: a browser keeps a session in a cookie."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Form, Path, Request, Response
from starlette.responses import RedirectResponse

from firstlight.errors import ConflictError, FirstlightError, InvalidInput, UserError
from firstlight.services.access import TokenInvalid
from firstlight.services.accounts.attempts import TooManyAttempts
from firstlight.services.accounts.invitations import InvitationInvalid
from firstlight.services.accounts.sign_in import SESSION_PREFIX, SignInFailed
from firstlight.web.addresses import absolute
from firstlight.web.auth import COOKIE, Asker, address_of, check_page
from firstlight.web.context import services_of
from firstlight.web.envelope import status_of
from firstlight.web.pages.rendering import render

router = APIRouter(include_in_schema=False)

_LONGEST_S = 366 * 86_400  # of the cookie; what it holds ends on the server, earlier
_LOCAL = re.compile(r"/(?![/\\])[\x21-\x7e]{0,500}")

Secret = Annotated[str, Path(alias="token", max_length=200)]
Field = Annotated[str, Form(max_length=2000)]


@router.get("/sign-in")
def show_form(request: Request, next: str = "/") -> Response:  # noqa: A002, the query's name
    """Ask for a username and a password, or a token."""
    return render(request, "sign_in.html", _facts(next))


@router.post("/sign-in")
def sign_in(
    request: Request,
    username: Field = "",
    password: Field = "",
    token: Field = "",
    next: Field = "/",  # noqa: A002, the field's name
) -> Response:
    """Open a session, or keep a token that is valid, in a cookie that no script can read."""
    check_page(request)
    service = services_of(request).sign_in
    try:
        if token.strip():
            service.identify_token(token.strip(), address_of(request))
            kept = token.strip()
        else:
            kept = service.sign_in(username, password, address_of(request)).secret
    except (SignInFailed, TokenInvalid, TooManyAttempts) as fault:
        status = status_of(fault)
        return render(request, "sign_in.html", _facts(next, fault, username), status=status)
    _close(request)
    return _keep(request, kept, next)


@router.post("/sign-out")
def sign_out(request: Request, asker: Asker) -> Response:
    """Close the session."""
    del asker  # has checked that a page of ours asks
    _close(request)
    answer = RedirectResponse("/", 303)
    answer.delete_cookie(COOKIE)
    return answer


@router.post("/sign-out-everywhere")
def sign_out_everywhere(request: Request, asker: Asker) -> Response:
    """Close all sessions of the account, in whatever browser."""
    services_of(request).sign_in.close_all(asker)
    answer = RedirectResponse("/sign-in", 303)
    answer.delete_cookie(COOKIE)
    return answer


@router.get("/join/{token}")
def show_invitation(request: Request, secret: Secret) -> Response:
    """Ask the person who was invited for a username and a password."""
    service = services_of(request)
    try:
        invited = service.invitations.look(secret)
    except InvitationInvalid:
        service.sign_in.count_failure(address_of(request))
        raise
    shortest = service.users.shortest_password
    facts = {"invited": invited, "wrong": None, "given": {}, "shortest": shortest}
    return render(request, "join.html", facts)


@router.post("/join/{token}")
def join(
    request: Request,
    secret: Secret,
    username: Field = "",
    password: Field = "",
    again: Field = "",
    first_name: Field = "",
    last_name: Field = "",
) -> Response:
    """Make the account, and sign it in."""
    check_page(request)
    services = services_of(request)
    given = {"username": username, "first_name": first_name, "last_name": last_name}
    try:
        invited = services.invitations.look(secret)
    except InvitationInvalid:
        services.sign_in.count_failure(address_of(request))
        raise
    try:
        if password != again:
            raise InvalidInput("the two passwords differ")
        user_id = services.invitations.accept(secret, username, password, given)
    except (UserError, ConflictError) as fault:
        shortest = services.users.shortest_password
        facts = {"invited": invited, "wrong": fault, "given": given, "shortest": shortest}
        return render(request, "join.html", facts, status=status_of(fault))
    _close(request)
    return _keep(request, services.sign_in.open(user_id).secret, "/")


def _facts(
    address: str, wrong: FirstlightError | None = None, username: str = ""
) -> dict[str, object]:
    return {"wrong": wrong, "next": _local(address), "username": username[:128]}


def _close(request: Request) -> None:
    old = request.cookies.get(COOKIE, "")
    if old.startswith(SESSION_PREFIX):
        services_of(request).sign_in.close(old)


def _keep(request: Request, kept: str, address: str) -> Response:
    answer = RedirectResponse(_local(address), 303)
    answer.set_cookie(
        COOKIE,
        kept,
        max_age=_LONGEST_S,
        httponly=True,
        secure=absolute(request, "").startswith("https:"),
        samesite="lax",
    )
    return answer


def _local(address: str) -> str:
    return address if _LOCAL.fullmatch(address) else "/"
