"""`subtract`: what changed between two images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from firstlight.cli.console import notes, out, print_json, print_table, waiting

__all__ = ["subtract"]


def subtract(  # noqa: PLR0913, PLR0917, each option of the command is one
    context: typer.Context,
    new: Annotated[Path, typer.Argument(help="The new image: FITS (plain, .fz, .gz, .bz2).")],
    reference: Annotated[Path, typer.Argument(help="An image of the same field, deeper if any.")],
    threshold: Annotated[float, typer.Option(help="Signal to noise from which on.")] = 5.0,
    gain: Annotated[float | None, typer.Option(help="Electrons per ADU of the new image.")] = None,
    reference_gain: Annotated[
        float | None, typer.Option(help="Electrons per ADU of the reference.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Folder for the difference, a table and a picture of the changes."),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Also what was found and is no new source, with why.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """What is in this image that was not in that one? Needs no workspace.

    The images are aligned by their stars; neither needs a WCS.

    Example: [bold]firstlight subtract tonight.fits lastyear.fits --output changes[/]
    """
    with waiting("starting"):
        from firstlight.factory import compare_files  # noqa: PLC0415, loads most of the house

    def told(stage: str, seconds: float) -> None:
        if not as_json:
            notes.print(f"{stage:<22} {seconds:6.2f} s", markup=False, highlight=False)

    found = compare_files(
        context.obj, new, reference,
        threshold=threshold, gains=(gain, reference_gain), output=output, on_stage=told,
    )  # fmt: skip
    if as_json:
        print_json(found.as_dict())
        return
    changes = found.changes if every else found.kept
    if changes:
        print_table(_table(changes, every=every))
    left = len(found.changes) - len(found.kept)
    out.print(f"{_count(len(found.kept), 'change')} above {threshold:g} sigma", highlight=False)
    if left and not every:
        notes.print(f"{left} more were no new sources: --all tells why", highlight=False)
    for note in found.notes:
        notes.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
    for path in found.written:
        notes.print(f"wrote {escape(path)}", highlight=False, soft_wrap=True)


def _table(changes: list[Any], *, every: bool) -> Table:
    on_sky = any(each.ra is not None for each in changes)
    table = Table(box=None, pad_edge=False, header_style="bold")
    place = ("x", "y", "ra", "dec") if on_sky else ("x", "y")
    for title in ("", *place, "sigma", "flux (e-)", "+-", "real"):
        table.add_column(title, justify="right")
    if every:
        table.add_column("no new source, because", overflow="fold")
    for number, each in enumerate(changes, 1):
        sky = (f"{each.ra:.5f}", f"{each.dec:+.5f}") if on_sky else ()
        row = (
            str(number), f"{each.x:.1f}", f"{each.y:.1f}", *sky,
            f"{each.score:+.1f}", f"{each.flux:.0f}", f"{each.flux_err:.0f}", f"{each.real:.2f}",
        )  # fmt: skip
        table.add_row(*row, *(["; ".join(each.why_not)] if every else []))
    return table


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
