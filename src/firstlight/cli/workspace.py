"""`init`, `upgrade` and `doctor`: the workspace itself."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from firstlight.cli.console import out, print_json, print_table

__all__ = ["compile_kernels", "doctor", "init", "upgrade"]

MARKS = {"ok": "[green]ok[/]", "missing": "[yellow]missing[/]", "broken": "[red]broken[/]"}


def init(
    folder: Annotated[Path, typer.Argument(help="Folder to make.")],
    database: Annotated[
        str | None,
        typer.Option(help="URL of a PostgreSQL database instead of the embedded SQLite."),
    ] = None,
) -> None:
    """Make a workspace: settings, database, data folder.

    Example: [bold]firstlight init mynight[/]
    """
    from firstlight.factory import Factory  # noqa: PLC0415, loads most of the house

    Factory.create(folder, database_url=database)
    out.print(f"made the workspace [bold]{escape(str(folder))}[/]")
    command = f"next: firstlight -w {shlex.quote(str(folder))} ingest /path/to/*.fits"
    out.print(command, markup=False, highlight=False, soft_wrap=True)


def upgrade(context: typer.Context) -> None:
    """Bring the database of a workspace to this version of firstlight.

    Example: [bold]firstlight -w mynight upgrade[/]
    """
    from firstlight.factory import Factory  # noqa: PLC0415, loads most of the house

    revision = Factory.upgrade(context.obj)
    out.print(f"the database stands at {revision}")


def compile_kernels() -> None:
    """Compile the numerical kernels now, not at their first use. Needed once, half a minute.

    Example: [bold]firstlight compile[/]
    """
    from firstlight import factory  # noqa: PLC0415, loads most of the house

    factory.compile_kernels()
    out.print("the numerical kernels are compiled and cached")


def doctor(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """What is installed, reachable, missing, and how to mend it.

    Outside a workspace it looks at the installation alone.

    Example: [bold]firstlight -w mynight doctor[/]
    """
    from firstlight.factory import diagnose  # noqa: PLC0415, loads most of the house

    checks = diagnose(context.obj)
    if as_json:
        print_json([check.as_dict() for check in checks])
    else:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for title in ("what", "state", "found", "how to mend it"):
            table.add_column(title, overflow="fold")
        for check in checks:
            table.add_row(check.name, MARKS[check.state], escape(check.found), escape(check.mend))
        print_table(table)
    if any(check.state == "broken" for check in checks):
        raise typer.Exit(1)
