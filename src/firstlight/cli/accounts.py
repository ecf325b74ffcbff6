"""`user` and `group`: who has an account, and who sees what."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from firstlight.cli.console import guarded, notes, out, print_json, print_table
from firstlight.cli.opening import open_workspace, the_operator
from firstlight.cli.tables import table_of

if TYPE_CHECKING:
    from firstlight.factory import Factory

__all__ = ["group", "user"]

user = typer.Typer(no_args_is_help=True, help="Accounts: add, list, show, set, remove, invite.")
group = typer.Typer(no_args_is_help=True, help="Groups: who sees the same rows, and which sites.")

Json = Annotated[bool, typer.Option("--json", help="For programs.")]
Username = Annotated[str, typer.Argument(help="Of the account.")]
GroupName = Annotated[str, typer.Argument(help="Of the group.")]
Groups = Annotated[
    list[str] | None, typer.Option("--group", help="Becomes a member of it; may be repeated.")
]
PasswordFrom = Annotated[
    Path | None,
    typer.Option(help="File whose first line is the password; - for standard input."),
]
AskPassword = Annotated[bool, typer.Option("--ask-password", help="Type the password.")]

_USERS = (
    ("username", "username"),
    ("name", "name"),
    ("roles", "roles"),
    ("permissions besides", "acls"),
    ("groups", "groups"),
    ("ends", "expiration_date"),
)
_GROUPS = (
    ("name", "name"),
    ("members", "members"),
    ("administered by", "admins"),
    ("sites", "sites"),
    ("private", "private"),
)
ROLES_TOLD = "Super admin, Group admin, Full user or View only"


@user.command("add")
@guarded
def add_user(
    context: typer.Context,
    username: Username,
    role: Annotated[list[str] | None, typer.Option(help=f"{ROLES_TOLD}; may be repeated.")] = None,
    group_name: Groups = None,
    email: Annotated[str | None, typer.Option(help="E-mail address.")] = None,
    name: Annotated[str | None, typer.Option(help="First name and last name.")] = None,
    password_from: PasswordFrom = None,
    ask_password: AskPassword = False,
) -> None:
    """Make an account. Without a password one signs in to it by token.

    Example: [bold]firstlight -w mynight user add ada --role "Full user" --ask-password[/]
    """
    from firstlight.services.accounts.users import NewUser  # noqa: PLC0415, loads the database

    house, me = open_workspace(context), the_operator()
    first, _, last = (name or "").partition(" ")
    new = NewUser(
        username,
        profile={"contact_email": email, "first_name": first, "last_name": last},
        roles=role or None,
        groups=[(house.groups.number_of(me, each), False) for each in group_name or ()],
        password=_password(password_from, ask_password),
    )
    house.users.create(me, new)
    account = escape(username.lower())
    out.print(f"the account {account} is made", highlight=False)
    if new.password is None:
        told = f"it has no password yet: firstlight user set {account} --ask-password"
        notes.print(told, highlight=False, soft_wrap=True)


@user.command("list")
@guarded
def list_users(
    context: typer.Context,
    everyone: Annotated[
        bool, typer.Option("--all", help="Also those that let nobody in any more.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Accounts, by name.

    Example: [bold]firstlight -w mynight user list[/]
    """
    from firstlight.services.accounts.user_listing import (  # noqa: PLC0415, loads the database
        UserQuery,
    )

    query = UserQuery(include_expired=everyone)
    rows, _ = open_workspace(context).users.list(the_operator(), query)
    if as_json:
        print_json(rows)
    elif not rows:
        out.print('no accounts yet; next: firstlight user add NAME --role "Super admin"')
    else:
        print_table(table_of([_shown(row) for row in rows], _USERS))


@user.command("show")
@guarded
def show_user(context: typer.Context, username: Username, as_json: Json = False) -> None:
    """All about one account: what it may do, its tokens.

    Example: [bold]firstlight -w mynight user show ada[/]
    """
    house, me = open_workspace(context), the_operator()
    number = house.users.number_of(me, username)
    facts = house.users.one(me, number)
    facts["tokens"] = [each["name"] for each in house.user_tokens.list(me, user_id=number)]
    if as_json:
        print_json(facts)
        return
    rows = [
        {"what": key.replace("_", " "), "is": value}
        for key, value in facts.items()
        if value not in (None, [], False)
    ]
    print_table(table_of(rows, (("", "what"), ("", "is"))))


@user.command("set")
@guarded
def set_user(  # noqa: PLR0913, each is an option of the command
    context: typer.Context,
    username: Username,
    *,
    role: Annotated[list[str] | None, typer.Option(help=f"Give a role: {ROLES_TOLD}.")] = None,
    no_role: Annotated[list[str] | None, typer.Option(help="Take a role away.")] = None,
    acl: Annotated[
        list[str] | None, typer.Option(help="Give a permission, as Comment or Operate.")
    ] = None,
    no_acl: Annotated[list[str] | None, typer.Option(help="Take a permission away.")] = None,
    expires: Annotated[
        str | None, typer.Option(help="When the account ends, as 2027-01-31; or never.")
    ] = None,
    disable: Annotated[
        bool | None, typer.Option("--disable/--enable", help="Let nobody in, or again.")
    ] = None,
    password_from: PasswordFrom = None,
    ask_password: AskPassword = False,
) -> None:
    """Change what an account may do, when it ends, or its password.

    Example: [bold]firstlight -w mynight user set ada --acl Operate --expires 2027-12-31[/]
    """
    from firstlight.services.accounts.facts import (  # noqa: PLC0415, loads the database
        checked_moment,
    )

    house, me = open_workspace(context), the_operator()
    users = house.users
    number = users.number_of(me, username)
    if role or acl:
        users.grant(me, number, roles=role or (), acls=acl or ())
    if no_role or no_acl:
        users.withdraw(me, number, roles=no_role or (), acls=no_acl or ())
    if expires is not None:
        until = None if expires == "never" else checked_moment(expires, "expires")
        users.set_expiry(me, number, until)
    if disable is not None:
        users.set_disabled(me, number, disable)
    password = _password(password_from, ask_password)
    if password is not None:
        users.set_password(me, number, password)
    out.print(f"the account {escape(username)} is changed", highlight=False)


@user.command("remove")
@guarded
def remove_user(context: typer.Context, username: Username) -> None:
    """Remove an account. What it has written stays, under its name.

    Example: [bold]firstlight -w mynight user remove ada[/]
    """
    house, me = open_workspace(context), the_operator()
    if house.users.remove(me, house.users.number_of(me, username)):
        out.print(f"the account {escape(username)} is removed", highlight=False)
    else:
        out.print(
            f"the account {escape(username)} is closed; its name stays beside what it has written",
            highlight=False,
        )


@user.command("invite")
@guarded
def invite(
    context: typer.Context,
    email: Annotated[str, typer.Argument(help="E-mail address of whoever is invited.")],
    role: Annotated[str, typer.Option(help=f"{ROLES_TOLD}.")] = "Full user",
    group_name: Groups = None,
    as_json: Json = False,
) -> None:
    """Make a link with which somebody makes an account, once. Nothing is mailed.

    Example: [bold]firstlight -w mynight user invite ada@example.org --group supernovae[/]
    """
    from firstlight.services.accounts.invitations import Admission  # noqa: PLC0415, likewise

    house, me = open_workspace(context), the_operator()
    groups = [Admission(house.groups.number_of(me, each)) for each in group_name or ()]
    made = house.invitations.invite(me, email, role=role, groups=groups)
    web = house.web_settings
    base = (web.base_url or f"http://{web.host}:{web.port}").rstrip("/")
    link = f"{base}/join/{made.secret}"
    if as_json:
        print_json({"id": made.number, "link": link, "expires_at": made.expires_at.isoformat()})
        return
    notes.print(f"send this link, which works once, until {made.expires_at:%Y-%m-%d %H:%M} UTC")
    out.print(link, markup=False, highlight=False, soft_wrap=True)


@group.command("add")
@guarded
def add_group(
    context: typer.Context,
    name: GroupName,
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    private: Annotated[bool, typer.Option("--private", help="Known to its members only.")] = False,
    open_to_all: Annotated[
        bool, typer.Option("--auto-accept", help="Whoever asks is let in.")
    ] = False,
) -> None:
    """Make a group.

    Example: [bold]firstlight -w mynight group add supernovae --private[/]
    """
    details = {
        "description": description,
        "private": private,
        "auto_accept_requests": open_to_all,
    }
    open_workspace(context).groups.create(the_operator(), name, details=details)
    out.print(f"the group {escape(name)} is made", highlight=False)


@group.command("list")
@guarded
def list_groups(context: typer.Context, as_json: Json = False) -> None:
    """Groups, who administers them, and the sites that their members may read.

    Example: [bold]firstlight -w mynight group list[/]
    """
    house, me = open_workspace(context), the_operator()
    rows = [_of_group(house, each) for each in house.groups.list(me)["all_groups"]]
    if as_json:
        print_json(rows)
    else:
        print_table(table_of(rows, _GROUPS))


@group.command("add-user")
@guarded
def add_member(
    context: typer.Context,
    name: GroupName,
    username: Username,
    admin: Annotated[bool, typer.Option("--admin", help="Lets it administer the group.")] = False,
) -> None:
    """Make an account a member of a group.

    Example: [bold]firstlight -w mynight group add-user supernovae ada --admin[/]
    """
    house, me = open_workspace(context), the_operator()
    number = house.groups.number_of(me, name)
    house.groups.add_member(me, number, house.users.number_of(me, username), admin=admin)
    out.print(f"{escape(username)} is a member of {escape(name)}", highlight=False)


@group.command("remove-user")
@guarded
def remove_member(context: typer.Context, name: GroupName, username: Username) -> None:
    """Take an account out of a group.

    Example: [bold]firstlight -w mynight group remove-user supernovae ada[/]
    """
    house, me = open_workspace(context), the_operator()
    number = house.groups.number_of(me, name)
    house.groups.remove_member(me, number, house.users.number_of(me, username))
    out.print(f"{escape(username)} is no member of {escape(name)} any more", highlight=False)


@group.command("add-site")
@guarded
def add_site(
    context: typer.Context,
    name: GroupName,
    site: Annotated[str, typer.Argument(help="Whose archive the members may read.")],
) -> None:
    """Let the members of a group read the archive of a site.

    Example: [bold]firstlight -w mynight group add-site supernovae tst[/]
    """
    house, me = open_workspace(context), the_operator()
    house.groups.add_site(me, house.groups.number_of(me, name), site)
    out.print(f"{escape(name)} reads the archive of {escape(site)}", highlight=False)


@group.command("remove-site")
@guarded
def remove_site(
    context: typer.Context,
    name: GroupName,
    site: Annotated[str, typer.Argument(help="Whose archive they may read no more.")],
) -> None:
    """Let the members of a group read the archive of a site no more.

    Example: [bold]firstlight -w mynight group remove-site supernovae tst[/]
    """
    house, me = open_workspace(context), the_operator()
    house.groups.remove_site(me, house.groups.number_of(me, name), site)
    out.print(f"{escape(name)} reads the archive of {escape(site)} no more", highlight=False)


@group.command("remove")
@guarded
def remove_group(context: typer.Context, name: GroupName) -> None:
    """Remove a group. What its members alone saw is then seen by Super admins alone.

    Example: [bold]firstlight -w mynight group remove supernovae[/]
    """
    house, me = open_workspace(context), the_operator()
    house.groups.remove(me, house.groups.number_of(me, name))
    out.print(f"the group {escape(name)} is removed", highlight=False)


def _of_group(house: Factory, facts: dict[str, Any]) -> dict[str, Any]:
    me = the_operator()
    members = house.groups.one(me, facts["id"])["users"]
    return {
        **facts,
        "members": len(members),
        "admins": [each["username"] for each in members if each["admin"]],
        "sites": house.groups.sites(me, facts["id"]),
    }


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    names = [row["first_name"], row["last_name"]]
    return {
        **row,
        "name": " ".join(each for each in names if each),
        "groups": [each["name"] for each in row["groups"] if not each["single_user_group"]],
    }


def _password(source: Path | None, asks: bool) -> str | None:
    if source is not None:
        text = sys.stdin.readline() if str(source) == "-" else source.read_text(encoding="utf-8")
        return next(iter(text.splitlines()), "")
    if asks:
        typed: str = typer.prompt("password", hide_input=True, confirmation_prompt=True)
        return typed
    return None
