"""`infoimage`: pictures pinned to the channels of a site."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from firstlight.cli.console import explain, guarded, notes, out, print_json
from firstlight.cli.opening import open_workspace

__all__ = ["infoimage"]

infoimage = typer.Typer(no_args_is_help=True, help="Info images: put one on a channel of a site.")


@infoimage.callback()
def options() -> None:
    """Info images: put one on a channel of a site."""


@infoimage.command("put")
@guarded
def put(
    context: typer.Context,
    paths: Annotated[
        list[Path], typer.Argument(help="A JPG; a FITS file and a header text may be beside it.")
    ],
    site: Annotated[str, typer.Option(help="Whose channel.")],
    channel: Annotated[int, typer.Option(help="1, 2 or 3.", min=1, max=3)] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show a picture to everyone who watches the site, in place of what its channel showed.

    It expires as the settings say, by default after 48 hours. Exit code 2 where a file was
    refused.

    Example: [bold]firstlight -w mynight infoimage put colour.jpg --site sro --channel 2[/]
    """
    report = open_workspace(context).info_image_put.put(paths, site, channel)
    if as_json:
        print_json(report.as_dict())
    elif report.shown:
        where = f"{report.site} channel {report.channel} shows {report.base_filename}"
        out.print(escape(where), highlight=False, soft_wrap=True)
    for fault in report.refused:
        told = explain({**fault["error"], "subject": fault["name"]})
        notes.print(f"[red]refused[/] {told}", soft_wrap=True)
    if report.refused:
        raise typer.Exit(2)
