"""`lightcurve` and `stars`."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from firstlight.cli.console import is_narrow, notes, out, print_json, print_table
from firstlight.cli.opening import open_workspace
from firstlight.errors import InvalidInput

if TYPE_CHECKING:
    from firstlight.services.star_light_curve import StarLightCurve

__all__ = ["lightcurve", "stars"]

METHOD_HELP = "Only those from stamps, or by aperture; default stamps where there are any."
FARTHEST = 3600.0  # arcseconds; beyond it "the nearest star" says nothing


class Method(Enum):
    """How light curves are made."""

    STAMPS = "stamps"
    APERTURE = "aperture"


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
    method: Annotated[Method | None, typer.Option(help=METHOD_HELP)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """The light curve of one star: calibrated, and relative to its ensemble.

    Of colour cameras: of each colour, and of all together (RGB).

    Example: [bold]firstlight -w mynight lightcurve "02:04:10.28 +46:41:16.2" --plot lc.png[/]
    """
    if not 0 < radius <= FARTHEST:
        raise InvalidInput(
            field="--radius", found=radius, expected=f"more than 0, at most {FARTHEST:g} arcseconds"
        )
    factory = open_workspace(context)
    curve = factory.light_curve_search.find(
        target, radius_arcsec=radius, method=None if method is None else method.value
    )
    if plot is not None:
        factory.pictures.light_curve(curve, plot)
        notes.print(f"wrote {escape(str(plot))}", highlight=False, soft_wrap=True)
    if csv is not None:
        csv.write_text(curve.as_csv(), encoding="utf-8")
        notes.print(f"wrote {escape(str(csv))}", highlight=False, soft_wrap=True)
    if as_json:
        print_json(curve.as_dict())
    elif plot is None and csv is None:
        by_colour = curve.is_simultaneous
        print_table(_colours_table(curve, narrow=is_narrow()) if by_colour else _curve_table(curve))
    if not as_json:
        out.print(escape(curve.sentence()), highlight=False, soft_wrap=True)


def stars(
    context: typer.Context,
    everything: Annotated[
        bool, typer.Option("--all", help="All stars, not only the variable candidates.")
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Draw scatter against magnitude to this file.")
    ] = None,
    method: Annotated[Method | None, typer.Option(help=METHOD_HELP)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Statistics of all light curves: variable candidates first.

    A star of a colour camera is one row: the numbers of all its colours together, and the rms
    in red, green and blue. Its magnitude is the catalogue's. Blends are told from variables.

    Example: [bold]firstlight -w mynight stars --plot scatter.png[/]
    """
    factory = open_workspace(context)
    every = factory.light_curve_search.statistics(method=None if method is None else method.value)
    rows = [row for row in every if everything or row["is_candidate"]]
    if plot is not None:
        factory.pictures.scatter(every, plot)
        notes.print(f"wrote {escape(str(plot))}", highlight=False, soft_wrap=True)
    if as_json:
        print_json(rows)
        return
    if not every:
        out.print("no light curves yet; next: firstlight reduce", highlight=False)
        return
    if not rows:
        told = f"none of {len(every)} stars varies more than its noise; all of them: --all"
        out.print(told, highlight=False)
        return
    print_table(_stars_table(rows, narrow=is_narrow()))


def _stars_table(rows: list[dict[str, Any]], *, narrow: bool) -> Table:
    """Of colour cameras with the rms in each colour; in a narrow window with less beside it."""
    letters = list(dict.fromkeys(letter for row in rows for letter in row.get("colours", {})))
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("name", no_wrap=True)
    cells: dict[str, Callable[[dict[str, Any]], str]] = {
        "ra": lambda row: _number(row["ra"], 5),
        "dec": lambda row: _number(row["dec"], 5),
        "mag": lambda row: _number(row["mag"], 2),
        "points": lambda row: str(row["n_points"]),
        "scatter": lambda row: _percent(row["scatter"]),
        "expected": lambda row: _percent(row["expected_scatter"]),
        **{f"rms {letter}": partial(_rms, letter) for letter in letters},
        "chi²": lambda row: _number(row["chi2"], 1),
        "candidate": _verdict,
    }
    left_out = {"ra", "dec", *(("points", "expected", "chi²") if letters else ())}
    shown = {title: cell for title, cell in cells.items() if not narrow or title not in left_out}
    for title in shown:
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        name = escape(row["name"] or f"(pixel {row['x']:.0f}, {row['y']:.0f})")
        table.add_row(name, *(cell(row) for cell in shown.values()))
    return table


def _rms(letter: str, row: dict[str, Any]) -> str:
    return _percent(row.get("colours", {}).get(letter, {}).get("rms"))


def _verdict(row: dict[str, Any]) -> str:
    return "yes" if row["is_candidate"] else "blend" if row.get("blended") else ""


def _curve_table(curve: StarLightCurve) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("bjd_tdb", "filter", "mag", "±", "relative flux", "±", "flags"):
        table.add_column(title, justify="right")
    for point in curve.points:
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


def _colours_table(curve: StarLightCurve, *, narrow: bool) -> Table:
    """Relative flux of each filter side by side, a row a moment.

    In a narrow window the errors are left out but for the last filter, all colours together.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    columns = []
    for name in curve.filters:
        columns.append((name, "rel_flux", name or "no filter"))
        if not narrow or name == curve.filters[-1]:
            columns.append((name, "rel_flux_err", "±"))
    for title in ("bjd_tdb", *(title for *_, title in columns), "flags"):
        table.add_column(escape(title), justify="right", no_wrap=True)
    for moment in curve.by_time():
        points = moment["colours"]
        numbers = [_number(points.get(name, {}).get(key), 4) for name, key, _ in columns]
        table.add_row(f"{moment['bjd_tdb']:.5f}", *numbers, str(moment["flags"] or ""))
    return table


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f} %"
