"""`token`: who may use the API."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from firstlight.cli.console import guarded, notes, out, print_json, print_table
from firstlight.cli.opening import open_workspace, the_operator

if TYPE_CHECKING:
    pass

__all__ = ["token"]

token = typer.Typer(no_args_is_help=True, help="Tokens for the API: make, list, revoke.")

Json = Annotated[bool, typer.Option("--json", help="For programs.")]


@token.command("create")
@guarded
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Whom or what it is for.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(help="read, watch, upload, comment, operate, admin, ...; may be repeated."),
    ] = None,
    user: Annotated[
        str | None, typer.Option(help="Of this account; else it belongs to the workspace.")
    ] = None,
    site: Annotated[
        list[str] | None, typer.Option(help="Only for this site; may be repeated.")
    ] = None,
    days: Annotated[float | None, typer.Option(help="How long it is valid.", min=0)] = None,
    as_json: Json = False,
) -> None:
    """Make a token. It is shown this once and stored as a hash.

    What the token of an account allows is never more than the account may do; without a scope,
    to read what it may read. Programs that write comments and the like need such a token.

    Example: [bold]firstlight -w mynight token create dome --scope upload --site sro[/]
    """
    until = None if days is None else datetime.now(UTC) + timedelta(days=days)
    house, sites = open_workspace(context), site or None
    if user is None:
        made = house.access.make(name, scope or [], sites=sites, expires_at=until)
    else:
        number = house.users.number_of(the_operator(), user)
        made = house.user_tokens.make(
            the_operator(), name, scope or [], user_id=number, sites=sites, expires_at=until
        )
    if as_json:
        print_json({**made.facts, "token": made.token})
        return
    notes.print("keep it: it is shown this once")
    out.print(made.token, markup=False, highlight=False, soft_wrap=True)


@token.command("list")
@guarded
def list_tokens(context: typer.Context, as_json: Json = False) -> None:
    """All tokens, by name; those of accounts begin with user/ and the account's number.

    Example: [bold]firstlight -w mynight token list[/]
    """
    rows = open_workspace(context).access.list()
    if as_json:
        print_json(rows)
    elif not rows:
        out.print("no tokens yet; next: firstlight token create NAME --scope read")
    else:
        print_table(_table(rows))


@token.command("revoke")
@guarded
def revoke(context: typer.Context, name: Annotated[str, typer.Argument(help="Its name.")]) -> None:
    """Make a token worthless, for good.

    Example: [bold]firstlight -w mynight token revoke dome[/]
    """
    open_workspace(context).access.revoke(name)
    out.print(f"the token {escape(name)} is revoked", highlight=False)


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("name", "begins with", "scopes", "sites", "made", "valid until"):
        table.add_column(title, overflow="fold")
    for row in rows:
        ends = "revoked" if row["revoked_at"] else _day(row["expires_at"]) or "for ever"
        table.add_row(
            escape(row["name"]),
            escape(row["prefix"]),
            ", ".join(row["scopes"]),
            "all" if row["sites"] is None else escape(", ".join(row["sites"])),
            _day(row["created_at"]),
            ends,
        )
    return table


def _day(moment: str | None) -> str:
    return (moment or "")[:16].replace("T", " ")
