"""`ingest`: files into the archive."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from firstlight.cli.console import explain, notes, out, print_json, progress_bar
from firstlight.cli.opening import open_workspace

__all__ = ["ingest"]

SHOWN_FAULTS = 20


def ingest(
    context: typer.Context,
    paths: Annotated[list[Path], typer.Argument(help="Files, or folders to search for images.")],
    instrument: Annotated[
        str | None, typer.Option(help="Which instrument, instead of guessing.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Archive raw images: checksums, headers, which instrument. Repeating it is harmless.

    Files that cannot be used are left where they are and listed with the reason; the others
    are archived all the same. Exit code 2 where any was refused.

    Example: [bold]firstlight -w mynight ingest /path/to/*.fits[/]
    """
    archive = open_workspace(context).archive
    files = archive.find(paths)
    with progress_bar("ingest", len(files)) as update:
        report = archive.ingest(files, instrument=instrument, on_progress=update)
    if as_json:
        print_json(report.as_dict())
    else:
        out.print(
            f"{len(report.archived)} archived, {len(report.known)} known already, "
            f"{len(report.quarantined)} refused"
        )
    for fault in report.quarantined[:SHOWN_FAULTS]:
        notes.print(f"[red]refused[/] {explain(fault.error)}", soft_wrap=True)
    if len(report.quarantined) > SHOWN_FAULTS:
        notes.print(f"… and {len(report.quarantined) - SHOWN_FAULTS} more: firstlight status")
    if report.quarantined:
        raise typer.Exit(2)
