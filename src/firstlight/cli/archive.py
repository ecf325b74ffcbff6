"""`ingest`: files into the archive."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from firstlight.cli.console import explain, notes, out, print_json, progress_bar
from firstlight.cli.opening import open_workspace

if TYPE_CHECKING:
    from firstlight.factory import Factory
    from firstlight.services.intake.archive import Refusal

__all__ = ["ingest"]

SHOWN_FAULTS = 20


def ingest(
    context: typer.Context,
    paths: Annotated[
        list[str],
        typer.Argument(help="Files, folders to search for images, or s3://bucket/prefix."),
    ],
    instrument: Annotated[
        str | None, typer.Option(help="Which instrument, instead of guessing.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Archive raw images: checksums, headers, which instrument. Repeating it is harmless.

    Files that cannot be used are left where they are and listed with the reason; the others
    are archived all the same. Exit code 2 where any was refused. Cards that the reduction
    can do without, or that make no sense, are noted.

    Example: [bold]firstlight -w mynight ingest /path/to/*.fits[/]
    """
    factory = open_workspace(context)
    prefixes = [path for path in paths if "://" in path]
    if prefixes:
        _ingest_prefixes(factory, prefixes, as_json=as_json and len(prefixes) == len(paths))
        if len(prefixes) == len(paths):
            return
    archive = factory.archive
    found = archive.find([Path(path) for path in paths if path not in prefixes])
    with progress_bar("ingest", len(found.files)) as update:
        report = archive.ingest(found.files, instrument=instrument, on_progress=update)
    if as_json:
        print_json(report.as_dict() | {"passed_over": [str(path) for path in found.passed_over]})
    else:
        out.print(
            f"{len(report.archived)} archived, {len(report.known)} known already, "
            f"{len(report.quarantined)} refused"
        )
    for fault in report.quarantined[:SHOWN_FAULTS]:
        notes.print(f"[red]refused[/] {explain(fault.error)}", soft_wrap=True)
    if len(report.quarantined) > SHOWN_FAULTS:
        notes.print(f"… and {len(report.quarantined) - SHOWN_FAULTS} more: firstlight status")
    if found.passed_over:
        notes.print(escape(_told_of_others(found.passed_over)), soft_wrap=True, highlight=False)
    for line in _notes_by_card(report.noted):
        notes.print(f"[yellow]noted[/] {escape(line)}", soft_wrap=True, highlight=False)
    if report.quarantined:
        raise typer.Exit(2)


def _ingest_prefixes(factory: Factory, prefixes: list[str], *, as_json: bool) -> None:
    """Take everything below these prefixes of buckets, and return when it is archived."""
    live = factory.make_live(reduce=False)
    with live.running(), progress_bar("ingest", 0) as update:
        report = live.take(
            factory.sources(prefixes),
            lambda counts: update(counts.total - counts.waiting, counts.total),
        )
    if as_json:
        print_json(report.as_dict())
    else:
        out.print(report.counts.sentence(), highlight=False)
    for fault in report.refused:
        told = explain({**fault["error"], "subject": fault["name"]})
        notes.print(f"[red]refused[/] {told}", soft_wrap=True)
    if report.refused:
        raise typer.Exit(2)


def _told_of_others(others: list[Path]) -> str:
    """One line for files whose names are not those of images, such as a night's log."""
    names = ", ".join(path.name for path in others[:3]) + (", …" if len(others) > 3 else "")
    what = "1 file is" if len(others) == 1 else f"{len(others)} files are"
    return f"{what} no image by name and passed over: {names}"


def _notes_by_card(faults: list[Refusal]) -> list[str]:
    """One line for all files whose headers have the same fault."""
    files: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for fault in faults:
        facts = [fault.error[name] for name in ("message", "field", "found", "hint")]
        files[tuple(str(fact or "") for fact in facts)].append(Path(fault.path).name)
    lines = []
    for (message, card, found, hint), names in files.items():
        said = f"{card} = {found}" if found else card
        where = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
        lines.append(f"{where}: {message} ({said}){f'; {hint}' if hint else ''}")
    return lines
