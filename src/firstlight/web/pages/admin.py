"""Administration: accounts, groups and their sites, invitations, tokens, webhooks, expiry."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, Response
from starlette.responses import RedirectResponse

from firstlight.errors import InvalidInput
from firstlight.services.access import Forbidden, NotSignedIn, Viewer
from firstlight.services.accounts.invitations import Admission
from firstlight.services.accounts.membership import SITEWIDE
from firstlight.services.accounts.permissions import FULL_USER, ROLES, SCOPES
from firstlight.services.accounts.user_listing import UserQuery
from firstlight.services.accounts.users import NewUser
from firstlight.web.addresses import absolute
from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.pages.rendering import render

router = APIRouter(include_in_schema=False, prefix="/admin")

_ADMINISTER = ("manage_users", "manage_groups", "manage_services", "operate", "admin")
_TOLD = 50  # of what is due
Text = Annotated[str, Form(max_length=400)]
Texts = Annotated[list[str], Form(max_length=60)]


def _check(viewer: Viewer) -> None:
    if not any(viewer.may(scope) for scope in _ADMINISTER):
        raise (Forbidden if viewer.name else NotSignedIn)("this is for who administers the archive")


def _back(where: str) -> Response:
    return RedirectResponse(f"/admin/{where}", HTTPStatus.SEE_OTHER)


def _page(request: Request, part: str, facts: dict[str, Any]) -> Response:
    return render(request, f"admin_{part}.html", {"part": part, **facts})


@router.get("")
def show_overview(request: Request, asker: Asker) -> Response:
    """What there is to administer, and the settings as they are."""
    _check(asker)
    services = services_of(request)
    facts = {
        "users": services.users.list(asker)[1] if asker.may("manage_users") else None,
        "groups": len(services.groups.list(asker)["all_groups"])
        if asker.may("manage_groups")
        else None,
        "webhooks": len(services.webhooks.list(asker)),
        "settings": services.settings_summary if asker.may("operate") else {},
    }
    return _page(request, "overview", facts)


# --- accounts ----------------------------------------------------------------------------------


@router.get("/users")
def show_users(request: Request, asker: Asker, closed: bool = False) -> Response:
    """Accounts with their roles and groups; with `closed` also those that let nobody in."""
    asker.require("manage_users")
    service = services_of(request).users
    users, _ = service.list(asker)
    known = {user["id"] for user in users}
    if closed:
        users, _ = service.list(asker, UserQuery(include_expired=True))
    facts = {
        "users": [{**user, "is_open": user["id"] in known} for user in users],
        "closed": closed,
        "roles": list(ROLES),
        "usual_role": FULL_USER,
        "shortest": service.shortest_password,
    }
    return _page(request, "users", facts)


@router.post("/users")
def make_user(
    request: Request,
    asker: Asker,
    username: Text,
    password: Text = "",
    email: Text = "",
    role: Text = FULL_USER,
) -> Response:
    """Make an account."""
    profile = {"contact_email": email} if email.strip() else None
    new = NewUser(username, profile=profile, roles=[role], password=password or None)
    services_of(request).users.create(asker, new)
    return _back("users")


@router.post("/users/{user_id}/roles")
def change_roles(
    request: Request,
    asker: Asker,
    user_id: int,
    roles: Texts = [],  # noqa: B006, FastAPI copies it
) -> Response:
    """Give an account these roles, and no others."""
    service = services_of(request).users
    before = service.one(asker, user_id).get("roles", [])
    service.grant(asker, user_id, roles=[role for role in roles if role not in before])
    service.withdraw(asker, user_id, roles=[role for role in before if role not in roles])
    return _back("users")


@router.post("/users/{user_id}/closed")
def close_user(request: Request, asker: Asker, user_id: int, closed: bool = Form()) -> Response:
    """Close an account, or open it again."""
    services_of(request).users.set_disabled(asker, user_id, closed)
    return _back("users" if closed else "users?closed=true")


@router.post("/users/{user_id}/password")
def set_password(request: Request, asker: Asker, user_id: int, password: Text) -> Response:
    """Set the password of an account, which signs it out everywhere."""
    services_of(request).users.set_password(asker, user_id, password)
    return _back("users")


# --- groups ------------------------------------------------------------------------------------


@router.get("/groups")
def show_groups(request: Request, asker: Asker) -> Response:
    """Groups with their members, and the sites whose archives these may read."""
    asker.require("manage_groups")
    services = services_of(request)
    groups = []
    for each in services.groups.list(asker)["all_groups"]:
        whole = services.groups.one(asker, each["id"])
        sites = services.groups.sites(asker, each["id"]) if asker.may("admin") else []
        groups.append({**whole, "sites": sites})
    found = services.search.latest_of_all_sites(asker.readable_sites(), role=None)
    facts = {
        "groups": groups,
        "known_sites": sorted(found),
        "requests": [
            each for each in services.admissions.list(asker) if each["status"] == "pending"
        ],
        "users": services.users.list(asker)[0],
        "may_sites": asker.may("admin"),
        "sitewide": SITEWIDE,
    }
    return _page(request, "groups", facts)


@router.post("/groups")
def make_group(
    request: Request, asker: Asker, name: Text, description: Text = "", private: bool = Form(False)
) -> Response:
    """Make a group."""
    details = {"description": description or None, "private": private}
    services_of(request).groups.create(asker, name, details=details)
    return _back("groups")


@router.post("/groups/{group_id}/remove")
def remove_group(request: Request, asker: Asker, group_id: int) -> Response:
    """Remove a group."""
    services_of(request).groups.remove(asker, group_id)
    return _back("groups")


@router.post("/groups/{group_id}/members")
def add_member(
    request: Request, asker: Asker, group_id: int, username: Text, admin: bool = Form(False)
) -> Response:
    """Let an account into a group."""
    services = services_of(request)
    user_id = services.users.number_of(asker, username.strip())
    services.groups.add_member(asker, group_id, user_id, admin=admin)
    return _back(f"groups#group-{group_id}")


@router.post("/groups/{group_id}/members/{user_id}/remove")
def remove_member(request: Request, asker: Asker, group_id: int, user_id: int) -> Response:
    """Put an account out of a group."""
    services_of(request).groups.remove_member(asker, group_id, user_id)
    return _back(f"groups#group-{group_id}")


@router.post("/groups/{group_id}/sites")
def add_site(request: Request, asker: Asker, group_id: int, site: Text) -> Response:
    """Let the members read the archive of a site."""
    services_of(request).groups.add_site(asker, group_id, site)
    return _back(f"groups#group-{group_id}")


@router.post("/groups/{group_id}/sites/remove")
def remove_site(request: Request, asker: Asker, group_id: int, site: Text) -> Response:
    """Let the members read it no more."""
    services_of(request).groups.remove_site(asker, group_id, site)
    return _back(f"groups#group-{group_id}")


@router.post("/admissions/{request_id}")
def settle_admission(request: Request, asker: Asker, request_id: int, status: Text) -> Response:
    """Let somebody into a group who asked for it, or not."""
    services_of(request).admissions.settle(asker, request_id, status)
    return _back("groups")


# --- invitations -------------------------------------------------------------------------------


@router.get("/invitations")
def show_invitations(request: Request, asker: Asker) -> Response:
    """Invitations that were not used yet."""
    return _invitations(request, asker)


@router.post("/invitations")
def invite(
    request: Request,
    asker: Asker,
    email: Text,
    role: Text = FULL_USER,
    groups: Texts = [],  # noqa: B006, FastAPI copies it
) -> Response:
    """Make an invitation, and show its link this once."""
    if not all(each.isdigit() for each in groups):
        raise InvalidInput(field="groups", found=", ".join(groups)[:80], expected="numbers")
    admissions = [Admission(int(each)) for each in groups]
    new = services_of(request).invitations.invite(asker, email, role=role, groups=admissions)
    link = absolute(request, f"/join/{new.secret}")
    return _invitations(request, asker, link=link, until=new.expires_at)


@router.post("/invitations/{number}/withdraw")
def withdraw_invitation(request: Request, asker: Asker, number: int) -> Response:
    """Take an invitation back."""
    services_of(request).invitations.withdraw(asker, number)
    return _back("invitations")


def _invitations(
    request: Request, asker: Viewer, *, link: str | None = None, until: datetime | None = None
) -> Response:
    services = services_of(request)
    facts = {
        "invitations": services.invitations.list(asker)[0],
        "roles": list(ROLES),
        "usual_role": FULL_USER,
        "groups": services.groups.list(asker)["user_accessible_groups"],
        "link": link,
        "until": until,
    }
    return _page(request, "invitations", facts)


# --- tokens of the workspace -------------------------------------------------------------------


@router.get("/tokens")
def show_tokens(request: Request, asker: Asker) -> Response:
    """Tokens that belong to no account: those of sites and programs."""
    return _tokens(request, asker)


@router.post("/tokens")
def make_token(
    request: Request,
    asker: Asker,
    name: Text,
    scopes: Texts = [],  # noqa: B006, FastAPI copies it
    sites: Text = "",
    expires: Text = "",
) -> Response:
    """Make a token, and show it this once."""
    asker.require("admin")
    places = [site.strip() for site in sites.split(",") if site.strip()]
    try:
        until = datetime.fromisoformat(expires).replace(tzinfo=UTC) if expires else None
    except ValueError as fault:
        raise InvalidInput(field="expires", found=expires[:40], expected="a date") from fault
    access = services_of(request).access
    new = access.make(name, scopes, sites=places or None, expires_at=until)
    return _tokens(request, asker, token=new.token)


@router.post("/tokens/revoke")
def revoke_token(request: Request, asker: Asker, name: Text) -> Response:
    """Make a token worthless, for good."""
    asker.require("admin")
    services_of(request).access.revoke(name)
    return _back("tokens")


def _tokens(request: Request, asker: Viewer, *, token: str | None = None) -> Response:
    asker.require("admin")
    tokens = [each for each in services_of(request).access.list() if each["revoked_at"] is None]
    return _page(request, "tokens", {"tokens": tokens, "scopes": SCOPES, "token": token})


# --- webhooks and expiry -----------------------------------------------------------------------


@router.get("/webhooks")
def show_webhooks(request: Request, asker: Asker) -> Response:
    """Addresses that are told of events."""
    return _webhooks(request, asker)


@router.post("/webhooks")
def add_webhook(
    request: Request, asker: Asker, url: Text, sites: Text = "", topics: Text = ""
) -> Response:
    """Add a webhook, and show the secret that signs its messages this once."""
    _check(asker)
    chosen = [
        [each.strip() for each in text.split(",") if each.strip()] or None
        for text in (sites, topics)
    ]
    service = services_of(request).webhooks
    new = service.add(url, asker, sites=chosen[0], topics=chosen[1])
    return _webhooks(request, asker, secret=new.secret)


@router.post("/webhooks/{webhook_id}/{what}")
def change_webhook(request: Request, asker: Asker, webhook_id: uuid.UUID, what: str) -> Response:
    """Try, enable or remove a webhook."""
    _check(asker)
    service = services_of(request).webhooks
    if what == "try":
        return _webhooks(request, asker, tried=service.ping(webhook_id, asker))
    if what == "enable":
        service.enable(webhook_id, asker)
    elif what == "remove":
        service.remove(webhook_id, asker)
    else:
        raise InvalidInput(field="what", found=what[:40], expected="try, enable or remove")
    return _back("webhooks")


def _webhooks(request: Request, asker: Viewer, **told: Any) -> Response:
    _check(asker)
    facts = {
        "webhooks": services_of(request).webhooks.list(asker),
        "secret": told.get("secret"),
        "tried": told.get("tried"),
    }
    return _page(request, "webhooks", facts)


@router.get("/expiry")
def show_expiry(request: Request, asker: Asker) -> Response:
    """What would be removed if it were done now, and what is kept although it is due."""
    asker.require("operate")
    report = services_of(request).expiration.sweep(dry_run=True)
    facts = {"report": report.as_dict(), "sentence": report.sentence(), "told": _TOLD}
    return _page(request, "expiry", facts)
