"""`webhook`: addresses that are told of events."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from firstlight.cli.console import guarded, notes, out, print_json, print_table
from firstlight.cli.opening import open_workspace, the_operator
from firstlight.cli.tables import table_of
from firstlight.errors import InvalidInput

if TYPE_CHECKING:
    pass

__all__ = ["webhook"]

webhook = typer.Typer(no_args_is_help=True, help="Webhooks: add, list, try, remove.")

Json = Annotated[bool, typer.Option("--json", help="For programs.")]
Ident = Annotated[str, typer.Argument(help="Its id; see webhook list.")]

COLUMNS = (
    ("id", "id"),
    ("url", "url"),
    ("sites", "sites"),
    ("topics", "topics"),
    ("owner", "owner"),
    ("enabled", "enabled"),
    ("told up to", "position"),
    ("failures", "failures"),
)


@webhook.command("add")
@guarded
def add(
    context: typer.Context,
    url: Annotated[str, typer.Argument(help="Where events are posted to.")],
    site: Annotated[
        list[str] | None, typer.Option(help="Only of this site; may be repeated.")
    ] = None,
    topic: Annotated[
        list[str] | None, typer.Option(help="imagedata, expiration, ...; may be repeated.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Let an address be told of events, from the next one on. Its secret is shown this once.

    Example: [bold]firstlight -w mynight webhook add https://example.org/hook --site sro[/]
    """
    service = open_workspace(context).webhooks
    made = service.add(url, the_operator(), sites=site or None, topics=topic or None)
    if as_json:
        print_json({**made.facts, "secret": made.secret})
        return
    notes.print("keep the secret: it is shown this once, and tells the receiver who calls")
    out.print(f"{made.facts['id']} {made.secret}", markup=False, highlight=False, soft_wrap=True)


@webhook.command("list")
@guarded
def list_webhooks(context: typer.Context, as_json: Json = False) -> None:
    """All webhooks, the oldest first.

    Example: [bold]firstlight -w mynight webhook list[/]
    """
    rows = open_workspace(context).webhooks.list(the_operator())
    if as_json:
        print_json(rows)
    elif not rows:
        out.print("no webhooks yet; next: firstlight webhook add URL")
    else:
        print_table(table_of(rows, COLUMNS))


@webhook.command("try")
@guarded
def try_webhook(context: typer.Context, ident: Ident, as_json: Json = False) -> None:
    """Post one event of topic ping now, and tell what came of it. Exit code 1 where nothing did.

    Example: [bold]firstlight -w mynight webhook try 6f1c0e3a-...[/]
    """
    found = open_workspace(context).webhooks.ping(_id(ident), the_operator())
    if as_json:
        print_json(found)
    else:
        told = [str(found[name]) for name in ("outcome", "status", "error") if found[name]]
        out.print(" ".join(told), markup=False, highlight=False, soft_wrap=True)
    if found["error"]:
        raise typer.Exit(1)


@webhook.command("remove")
@guarded
def remove(context: typer.Context, ident: Ident) -> None:
    """Take a webhook away.

    Example: [bold]firstlight -w mynight webhook remove 6f1c0e3a-...[/]
    """
    open_workspace(context).webhooks.remove(_id(ident), the_operator())
    out.print(f"the webhook {escape(ident)} is removed", highlight=False)


def _id(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError as fault:
        raise InvalidInput(
            field="ident", found=text, expected="an id", hint="firstlight webhook list"
        ) from fault
