"""`reduce` and `status`."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from firstlight.cli.console import notes, out, print_json, progress_bar
from firstlight.cli.opening import open_workspace

__all__ = ["reduce", "status"]

STATE_MARKS = {
    "done": "[green]●[/]",
    "failed": "[red]✗[/]",
    "skipped": "[dim]–[/]",
    "queued": "[dim]○[/]",
    "running": "[yellow]◐[/]",
    "cancelled": "[yellow]◌[/]",
    "timed_out": "[red]⧖[/]",
}


def reduce(
    context: typer.Context,
    workers: Annotated[
        int | None, typer.Option(help="Worker processes; default one a core.", min=1)
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try failed steps once more.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Reduce every exposure: calibrate, find sources, solve, zero point, light curves.

    Interrupt it at any moment; the same command goes on from there. What is done already
    with the same parameters is not done again.

    Example: [bold]firstlight -w mynight reduce[/]
    """
    service = open_workspace(context).night(workers)
    with service.running() as night:
        for stage in night.stages(retry_failed=retry_failed):
            with progress_bar(stage.title, stage.total) as update:
                stage.run(update)
    report = night.report()
    if as_json:
        print_json(report.as_dict())
        return
    out.print(report.sentence())
    for line in report.failures:
        notes.print(f"[yellow]failed[/] {escape(line)}", soft_wrap=True, highlight=False)


def status(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Every exposure: state of each step, seeing, residuals, zero point, reason if failed.

    Example: [bold]firstlight -w mynight status[/]
    """
    entries = open_workspace(context).status.exposures()
    if as_json:
        print_json([entry.as_dict() for entry in entries])
        return
    if not entries:
        out.print("nothing here yet; next: firstlight -w WORKSPACE ingest /path/to/*.fits")
        return
    out.print(_status_table([entry.as_dict() for entry in entries]))
    counts: dict[str, int] = {}
    for entry in entries:
        counts[entry.state] = counts.get(entry.state, 0) + 1
    out.print(", ".join(f"{count} {state}" for state, count in sorted(counts.items())))


def _status_table(entries: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("exposure", overflow="fold")
    for title in ("kind", "filter"):
        table.add_column(title)
    table.add_column("steps", no_wrap=True)
    for title in ("fwhm″", "astr. rms″", "matched", "zero point"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("reason", overflow="fold")
    for entry in entries:
        marks = "".join(STATE_MARKS.get(step["state"], "?") for step in entry["steps"].values())
        error = entry["error"] or {}
        zero_point = _number(entry["zero_point"], 3)
        if entry["zero_point_err"] is not None:
            zero_point += f" ± {entry['zero_point_err']:.3f}"
        table.add_row(
            escape(entry["exposure"]),
            entry["kind"] or "",
            escape(entry["filter"] or ""),
            marks or STATE_MARKS.get(entry["state"], entry["state"]),
            _number(entry["fwhm_arcsec"], 1),
            _number(entry["astrometric_rms_arcsec"], 2),
            "" if entry["n_matched"] is None else str(entry["n_matched"]),
            zero_point,
            escape(error.get("message") or ""),
        )
    return table


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
