"""`watch`, `serve` and `worker`: what runs until it is stopped."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from firstlight.cli.console import explain, notes, out, print_json, progress_bar
from firstlight.cli.opening import open_with_workers, open_workspace
from firstlight.cli.reduction import run_night

if TYPE_CHECKING:
    from firstlight.services.live import LiveReport, LiveService

__all__ = ["serve", "watch", "worker"]

Workers = Annotated[
    int | None, typer.Option(help="Worker processes; default one a core.", min=1, max=1024)
]


def watch(
    context: typer.Context,
    sources: Annotated[
        list[str] | None,
        typer.Argument(help="Folders or s3://bucket/prefix; default those of the settings."),
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="Take what is there, reduce it, and end.")
    ] = False,
    no_reduce: Annotated[
        bool, typer.Option("--no-reduce", help="Only archive; reduce nothing.")
    ] = False,
    workers: Workers = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: a line a report.")] = False,
) -> None:
    """Archive every file that arrives, as it arrives, and reduce it.

    Files are left where they are. Stop it with Ctrl-C at any moment; started again it goes on
    from there. What cannot be used goes to quarantine and is told here with the reason.

    Example: [bold]firstlight -w mynight watch /data/incoming[/]
    """
    factory = open_workspace(context)
    where = factory.sources([_absolute(each) for each in sources or []])
    live = factory.make_live(workers, reduce=not no_reduce and not once)
    if once:
        _take_once(live, where, as_json=as_json)
        if not no_reduce:
            run_night(factory.night(workers), as_json=as_json)
        return
    with live.running(where):
        for each in where:
            notes.print(f"watching [bold]{escape(str(each))}[/]", highlight=False, soft_wrap=True)
        for report in live.reports():
            _tell(report, as_json=as_json)


def serve(
    context: typer.Context,
    host: Annotated[str | None, typer.Option(help="Address; default that of the settings.")] = None,
    port: Annotated[int | None, typer.Option(help="0 for any free one.", min=0, max=65535)] = None,
    workers: Workers = None,
    no_reduce: Annotated[
        bool, typer.Option("--no-reduce", help="Only archive; reduce nothing.")
    ] = False,
    no_worker: Annotated[
        bool, typer.Option("--no-worker", help="Do no jobs here: `firstlight worker` does them.")
    ] = False,
) -> None:
    """Serve pages, API and live events, take uploads, and watch the sources of the settings.

    Example: [bold]firstlight -w mynight serve --port 8000[/]
    """
    from firstlight.web.server import serve as answer  # noqa: PLC0415, loads the web framework

    factory = open_workspace(context)
    factory.live = factory.make_live(0 if no_worker else workers, reduce=not no_reduce)

    with ExitStack() as until_the_end:

        def ready(address: str) -> None:
            factory.serving_at = address  # where analysis services call back
            # Pages are loaded by now: to load them beside the threads below would take longer.
            until_the_end.enter_context(factory.live.running(factory.sources([])))
            _tell_address(address)

        answer(factory, host=host, port=port, on_ready=ready)


def worker(context: typer.Context, workers: Workers = None) -> None:
    """Do jobs of a workspace whose database is PostgreSQL, on another machine or beside.

    Example: [bold]firstlight -w mynight worker --workers 8[/]
    """
    factory = open_with_workers(context)
    with factory.make_live(workers, reduce=False).running() as live:
        notes.print("ready for jobs")
        for report in live.reports():
            _tell(report, as_json=False)


def _absolute(where: str) -> str:
    """What is typed is relative to where it is typed; settings are relative to the workspace."""
    return where if "://" in where else str(Path(where).expanduser().absolute())


def _tell_address(address: str) -> None:
    out.print(f"serving {address}", highlight=False, soft_wrap=True)


def _take_once(live: LiveService, where: list[Any], *, as_json: bool) -> None:
    with live.running(), progress_bar("archive", 0) as update:

        def show(counts: Any) -> None:
            update(counts.total - counts.waiting, counts.total)

        report = live.take(where, show)
    _tell(report, as_json=as_json)
    if report.refused and not as_json:
        notes.print(f"{len(report.refused)} refused: their bytes are kept in quarantine")


def _tell(report: LiveReport, *, as_json: bool) -> None:
    if as_json:
        print_json(report.as_dict(), one_line=True)
        return
    for fault in report.refused:
        told = explain({**fault["error"], "subject": fault["name"]})
        notes.print(f"[red]refused[/] {told}", soft_wrap=True)
    out.print(report.counts.sentence(), highlight=False, soft_wrap=True)
