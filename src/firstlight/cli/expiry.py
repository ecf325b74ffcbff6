"""`expire`: what has an end is removed when it has come."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from firstlight.cli.console import explain, notes, out, print_json, print_table
from firstlight.cli.opening import open_workspace
from firstlight.errors import InvalidInput

__all__ = ["expire"]


def expire(
    context: typer.Context,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell what would be removed, and by which rule.")
    ] = False,
    apply_rules: Annotated[
        bool,
        typer.Option("--apply-rules", help="First date what is there by the present settings."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Remove what has expired: files, rows and thumbnails together. `serve` does it by itself.

    What has come keeps the end that the settings gave it then, until the rules are applied anew.

    Exit code 1 where something could not be removed now; the next time tries again.

    Example: [bold]firstlight -w mynight expire --dry-run[/]
    """
    if apply_rules and dry_run:
        raise InvalidInput(
            "applying the rules writes the new ends down",
            field="--dry-run, --apply-rules",
            found="both",
            expected="one of them",
            hint="apply the rules where nothing serves the workspace, then look with --dry-run",
        )
    expiration = open_workspace(context).expiration
    if apply_rules:
        changed = expiration.apply_rules()
        notes.print(f"{changed} dated anew", highlight=False)
    report = expiration.sweep(dry_run=dry_run)
    if as_json:
        print_json(report.as_dict())
    else:
        if dry_run and report.names:
            print_table(_table(report.names))
        out.print(report.sentence(), highlight=False, soft_wrap=True)
    for each in report.kept:
        line = f"{each['name']}: {each['why']}"
        notes.print(f"[yellow]kept[/] {escape(line)}", highlight=False, soft_wrap=True)
    for each in report.failed:
        told = explain({**each["error"], "subject": each["name"]})
        notes.print(f"[red]failed[/] {told}", soft_wrap=True)
    if report.failed:
        raise typer.Exit(1)


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("what", "name", "site", "rule"):
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*(escape(str(row[name] or "")) for name in ("what", "name", "site", "rule")))
    return table
