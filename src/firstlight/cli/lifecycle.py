"""`lifecycle`: cheaper storage for old files of a bucket."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from firstlight.cli.console import out, print_json
from firstlight.cli.opening import open_workspace

__all__ = ["lifecycle"]


def lifecycle(
    context: typer.Context,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell what the bucket would be told.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Tell the bucket to move old files to cheaper storage, as the settings say.

    Rules of others stay as they are. Nothing is removed by these rules: see `expire`.

    Example: [bold]firstlight -w mynight lifecycle --dry-run[/]
    """
    report = open_workspace(context).lifecycle.apply(dry_run=dry_run)
    if as_json:
        print_json(report)
        return
    for rule in report["wanted"]:
        moves = ", ".join(
            f"{each.get('Days', '?')} days: {each.get('StorageClass', '?')}"
            for each in rule.get("Transitions", ())
        )
        told = f"{rule.get('ID', 'unnamed')}  {moves or 'ends uploads that were given up'}"
        out.print(escape(told), highlight=False, soft_wrap=True)
    done = "told to the bucket" if report["applied"] else "the bucket is not changed"
    out.print(done if report["changes"] else "the bucket has these rules already", highlight=False)
