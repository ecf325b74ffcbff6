"""`lightcurve` and `stars`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from firstlight.cli.console import out, print_json
from firstlight.cli.opening import open_workspace

__all__ = ["lightcurve", "stars"]


def lightcurve(
    context: typer.Context,
    target: Annotated[
        str, typer.Argument(help="Coordinates (hours and degrees, or degrees) or a name.")
    ],
    plot: Annotated[Path | None, typer.Option(help="Draw it to this PNG, PDF or SVG file.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write it to this CSV file.")] = None,
    radius: Annotated[
        float, typer.Option(help="How far from the coordinates a star may be, arcseconds.")
    ] = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """The light curve of one star: calibrated, and relative to its ensemble.

    Example: [bold]firstlight -w mynight lightcurve "02:04:10.28 +46:41:16.2" --plot lc.png[/]
    """
    factory = open_workspace(context)
    curve = factory.light_curves.find(target, radius_arcsec=radius)
    if plot is not None:
        factory.pictures.light_curve(curve, plot)
        out.print(f"wrote {plot}", highlight=False)
    if csv is not None:
        csv.write_text(curve.as_csv(), encoding="utf-8")
        out.print(f"wrote {csv}", highlight=False)
    if as_json:
        print_json(curve.as_dict())
    elif plot is None and csv is None:
        out.print(_curve_table(curve.as_dict()))
    if not as_json:
        out.print(curve.sentence(), highlight=False)


def stars(
    context: typer.Context,
    everything: Annotated[
        bool, typer.Option("--all", help="All stars, not only the variable candidates.")
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Draw scatter against magnitude to this file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Statistics of all light curves: variable candidates first.

    Example: [bold]firstlight -w mynight stars --plot scatter.png[/]
    """
    factory = open_workspace(context)
    rows = factory.light_curves.statistics(candidates_only=not everything)
    if plot is not None:
        factory.pictures.scatter(factory.light_curves.statistics(candidates_only=False), plot)
        out.print(f"wrote {plot}", highlight=False)
    if as_json:
        print_json(rows)
        return
    if not rows:
        out.print("no variable candidates" if not everything else "no light curves yet")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("name", "ra", "dec"):
        table.add_column(title)
    for title in ("mag", "points", "scatter", "expected", "chi²", "candidate"):
        table.add_column(title, justify="right")
    for row in rows:
        table.add_row(
            escape(row["name"] or "(pixels)"),
            _number(row["ra"], 5),
            _number(row["dec"], 5),
            _number(row["mag"], 2),
            str(row["n_points"]),
            _percent(row["scatter"]),
            _percent(row["expected_scatter"]),
            _number(row["chi2"], 1),
            "yes" if row["is_candidate"] else "",
        )
    out.print(table)


def _curve_table(curve: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("bjd_tdb", "filter", "mag", "±", "relative flux", "±", "flags"):
        table.add_column(title, justify="right")
    for point in curve["points"]:
        table.add_row(
            f"{point['bjd_tdb']:.6f}",
            escape(point["filter"] or ""),
            _number(point["mag"], 4),
            _number(point["mag_err"], 4),
            _number(point["rel_flux"], 5),
            _number(point["rel_flux_err"], 5),
            str(point["flags"] or ""),
        )
    return table


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f} %"
