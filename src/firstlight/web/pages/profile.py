"""One's own account: names, password, groups, tokens."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from starlette.responses import RedirectResponse

from firstlight.errors import InvalidInput
from firstlight.services.access import Viewer
from firstlight.services.accounts.permissions import ACLS
from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.pages.rendering import render

router = APIRouter(include_in_schema=False, prefix="/profile")

Text = Annotated[str, Form(max_length=1000)]
_BACK = "/profile"


@router.get("")
def show_profile(request: Request, asker: Asker) -> Response:
    """One's own account."""
    return _profile(request, asker)


@router.post("")
def change_profile(
    request: Request,
    asker: Asker,
    first_name: Text = "",
    last_name: Text = "",
    contact_email: Text = "",
    bio: Text = "",
) -> Response:
    """Change names and address."""
    changes = {
        "first_name": first_name or None,
        "last_name": last_name or None,
        "contact_email": contact_email or None,
        "bio": bio or None,
    }
    services_of(request).users.change_profile(asker, asker.require_user(), changes)
    return RedirectResponse(_BACK, HTTPStatus.SEE_OTHER)


@router.post("/password")
def change_password(
    request: Request, asker: Asker, password: Text, again: Text, current: Text = ""
) -> Response:
    """Set a new password; all browsers are signed out."""
    if password != again:
        raise InvalidInput("the two new passwords differ", field="again")
    users = services_of(request).users
    users.set_password(asker, asker.require_user(), password, current=current or None)
    return RedirectResponse("/sign-in?next=/profile", HTTPStatus.SEE_OTHER)


@router.post("/groups/{group_id}/ask")
def ask_for_admission(request: Request, asker: Asker, group_id: int) -> Response:
    """Ask to be let into a group."""
    services_of(request).admissions.ask(asker, group_id, asker.require_user())
    return RedirectResponse(f"{_BACK}#groups", HTTPStatus.SEE_OTHER)


@router.post("/tokens")
def make_token(
    request: Request,
    asker: Asker,
    name: Text,
    acls: Annotated[list[str], Form(max_length=40)] = [],  # noqa: B006, FastAPI copies it
) -> Response:
    """Make a token of one's own, and show it this once."""
    scopes = [ACLS[each] for each in acls if each in ACLS]
    new = services_of(request).user_tokens.make(asker, name, scopes)
    return _profile(request, asker, token=new.token)


@router.post("/tokens/{token_id}/remove")
def remove_token(request: Request, asker: Asker, token_id: str) -> Response:
    """Make a token worthless."""
    services_of(request).user_tokens.remove(asker, token_id)
    return RedirectResponse(f"{_BACK}#tokens", HTTPStatus.SEE_OTHER)


def _profile(request: Request, asker: Viewer, *, token: str | None = None) -> Response:
    services = services_of(request)
    me = services.users.profile(asker)
    groups = services.groups.list(asker)
    mine = {group["id"] for group in groups["user_groups"]}
    facts = {
        "me": me,
        "groups": [each for each in groups["user_groups"] if not each["single_user_group"]],
        "others": [each for each in groups["all_groups"] if each["id"] not in mine],
        "asked": {each["group_id"] for each in services.admissions.list(asker)},
        "tokens": services.user_tokens.list(asker),
        "acls": me["permissions"],
        "token": token,
        "shortest": services.users.shortest_password,
    }
    return render(request, "profile.html", facts)
