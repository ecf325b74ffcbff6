"""`fakes`: artificial transients in real images."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from firstlight.cli.console import notes, out, print_json, print_table, progress_bar, waiting
from firstlight.cli.opening import open_workspace
from firstlight.cli.tables import table_of

__all__ = ["fakes"]

COLUMNS = (
    ("exposure", "exposure"),
    ("section", "section"),
    ("fakes", "fakes"),
    ("found", "found"),
    ("kept", "kept"),
    ("half are kept at", "limit"),
    ("flux bias", "bias"),
)


def fakes(
    context: typer.Context,
    exposure: Annotated[
        str | None, typer.Argument(help="Name or id of an exposure; all of them if none.")
    ] = None,
    number: Annotated[int, typer.Option(help="Artificial transients an image.", min=1)] = 100,
    hosted: Annotated[float, typer.Option(help="Share of them on galaxies.", min=0, max=1)] = 0.5,
    seed: Annotated[int, typer.Option(help="Of places, magnitudes and photons.", min=0)] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """How many transients are found? Puts artificial ones into reduced images and looks for them.

    The images and all that was found in them stay as they are. The same seed gives the same
    fakes, and what has been tried is not tried again.

    Example: [bold]firstlight -w survey fakes --number 200[/]
    """
    with waiting("looking for images"):
        from firstlight.pipeline.fakes import FakeWish  # noqa: PLC0415, loads numerical libraries

        service = open_workspace(context).fakes
        sections = service.sections(exposure)
    reports = []
    with progress_bar("fakes", len(sections)) as update:
        for done, report in enumerate(service.run(sections, FakeWish(number, hosted, seed)), 1):
            reports.append(report)
            update(done)
    if as_json:
        print_json([report.as_dict() for report in reports])
        return
    rows = [
        report.as_dict()
        | {
            "limit": _with_error(report.limiting_magnitude, report.limit_err, 2),
            "bias": _with_error(report.flux_bias, report.bias_err, 3),
        }
        for report in reports
        if report.error is None
    ]
    if rows:
        print_table(table_of(rows, COLUMNS))
    for report in reports:
        if report.error is not None:
            told = escape(f"{report.exposure}, section {report.section}: {report.error}")
            notes.print(f"[yellow]not tried[/] {told}", soft_wrap=True, highlight=False)
    for row in reports[0].bins if len(reports) == 1 else ():
        bias = "" if row["bias"] is None else f", flux bias {row['bias']:+.3f}"
        out.print(
            f"mag {row['mag']:.2f}: {row['fakes']} fakes, {100 * row['found']:.0f} % found, "
            f"{100 * row['kept']:.0f} % kept{bias}",
            highlight=False,
        )


def _with_error(value: float | None, error: float | None, digits: int) -> str:
    if value is None:
        return ""
    return f"{value:.{digits}f}" + ("" if error is None else f" ± {error:.{digits}f}")
