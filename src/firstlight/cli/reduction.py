"""`reduce` and `status`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from firstlight.cli.console import (
    EXIT_CODES,
    awaited,
    notes,
    out,
    print_json,
    print_table,
    progress_bar,
    waiting,
)
from firstlight.cli.opening import open_with_workers, open_workspace

if TYPE_CHECKING:
    from firstlight.services.night import NightService, Stage
    from firstlight.services.status import ExposureStatus

__all__ = ["reduce", "run_night", "run_stages", "status"]

OPENING = "opening the workspace"
LOOKING = "looking at what is to be done"
LEGEND = "● done ✗ failed – not reached ○ waiting"

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
    with waiting(OPENING):
        service = open_with_workers(context).night(workers)
    run_night(service, retry_failed=retry_failed, as_json=as_json)


def run_night(service: NightService, *, retry_failed: bool = False, as_json: bool = False) -> None:
    """Run all stages under progress bars, and tell what they did.

    Raises
    ------
    typer.Exit
        Jobs broke off; with the exit code of the gravest error.
    """
    with service.running() as night:
        run_stages(night.stages(retry_failed=retry_failed), LOOKING)
    report = night.report()
    if as_json:
        print_json(report.as_dict())
    else:
        out.print(report.sentence(), highlight=False, soft_wrap=True)
        for line in together(report.failures):
            notes.print(f"[yellow]failed[/] {escape(line)}", soft_wrap=True, highlight=False)
    if report.broken:
        raise typer.Exit(max(EXIT_CODES[kind] for kind in report.broken))


def run_stages(stages: Iterable[Stage], waiting_for: str) -> None:
    """Run each stage under a progress bar; while the next is planned, say what is waited for."""
    for stage in awaited(waiting_for, stages):
        with progress_bar(stage.title, stage.total) as update:
            stage.run(update)


def together(failures: Iterable[str]) -> list[str]:
    """Failures as ``what: why``, one line for all that failed for the same reason."""
    things: dict[str, dict[str, None]] = {}
    for line in failures:
        what, _, why = line.partition(": ")
        things.setdefault(why, {})[what] = None
    return [
        f"{first}{f' and {len(others)} more' if others else ''}: {why}"
        for why, (first, *others) in things.items()
    ]


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
    science = [entry for entry in entries if entry.kind == "science"]
    others = [entry for entry in entries if entry.kind not in ("science", None)]
    if science:
        print_table(_status_table(science))
        steps = max((list(entry.steps) for entry in science), key=len)
        out.print(f"[dim]steps: {', '.join(steps) or 'none yet'}; {LEGEND}[/]", soft_wrap=True)
    _print_reasons(entries)
    if others:
        out.print(_sentence("calibration", others), highlight=False, soft_wrap=True)
    if science:
        out.print(_sentence("science", science), highlight=False, soft_wrap=True)
    refused = len(entries) - len(science) - len(others)
    if refused:
        out.print(f"refused: {refused}", highlight=False)


def _status_table(entries: list[ExposureStatus]) -> Table:
    table = Table(box=None, pad_edge=False, collapse_padding=True, header_style="bold")
    table.add_column("exposure", overflow="fold")
    table.add_column("filter", overflow="fold")
    table.add_column("steps", no_wrap=True)
    for title in ("fwhm″", "rms″", "matched", "zero point"):
        table.add_column(title, justify="right", no_wrap=True)
    for entry in entries:
        marks = "".join(STATE_MARKS.get(step["state"], "?") for step in entry.steps.values())
        zero_point = _number(entry.zero_point, 3)
        if entry.zero_point_err is not None:
            zero_point += f" ± {entry.zero_point_err:.3f}"
        table.add_row(
            escape(entry.exposure),
            escape(entry.filter or ""),
            marks or STATE_MARKS.get(entry.state, entry.state),
            _number(entry.fwhm_arcsec, 1),
            _number(entry.astrometric_rms_arcsec, 2),
            "" if entry.n_matched is None else str(entry.n_matched),
            zero_point,
        )
    return table


def _print_reasons(entries: list[ExposureStatus]) -> None:
    """Why, for each exposure that has no place in the table or an empty one."""
    for entry in entries:
        if entry.error is None:
            continue
        word = "failed" if entry.exposure_id else "refused"
        reason = f"{entry.exposure}: {entry.error.get('message') or entry.error.get('code')}"
        out.print(f"[red]{word}[/] {escape(reason)}", highlight=False, soft_wrap=True)


def _sentence(kind: str, entries: list[ExposureStatus]) -> str:
    """How many of each kind and state, as ``calibration: 3 bias done, 6 dark done``."""
    counts = Counter(
        entry.state if kind == entry.kind else f"{entry.kind} {entry.state}" for entry in entries
    )
    return f"{kind}: " + ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
