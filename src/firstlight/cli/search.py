"""`archive`: finding what is there, and getting it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer
from rich.markup import escape

from firstlight.cli.console import guarded, notes, out, print_json, print_table
from firstlight.cli.opening import open_workspace
from firstlight.cli.tables import table_of
from firstlight.errors import InvalidInput

if TYPE_CHECKING:
    from firstlight.services.finding.served_files import ServedFile

__all__ = ["archive"]

archive = typer.Typer(
    no_args_is_help=True, help="What the archive holds: search, header, get, zip, uploads."
)

Json = Annotated[bool, typer.Option("--json", help="For programs.")]
Limit = Annotated[int, typer.Option(help="How many at most.", min=1, max=1000)]
Cursor = Annotated[str | None, typer.Option(help="Go on where the page before ended.")]
Name = Annotated[str, typer.Argument(help="Base filename, id or image number.")]

EXPOSURE_COLUMNS = (
    ("name", "name"),
    ("start", "start"),
    ("site", "site"),
    ("camera", "camera"),
    ("type", "data_type"),
    ("target", "target"),
    ("filter", "filter"),
    ("seconds", "exp_time"),
    ("ra", "ra"),
    ("dec", "dec"),
    ("reduced", "reduction_state"),
    ("files", "n_files"),
)
UPLOAD_COLUMNS = (
    ("received (UTC)", "received_at"),
    ("name", "name"),
    ("site", "site"),
    ("way", "origin"),
    ("state", "state"),
    ("bytes", "size"),
    ("reason", "reason"),
)
WIDE = 120
NARROW = ("name", "start", "target", "filter", "received (UTC)", "state", "reason")
"""Columns for a narrow window."""
Columns: TypeAlias = tuple[tuple[str, str], ...]


@archive.command("search")
@guarded
def search(
    context: typer.Context,
    conditions: Annotated[
        list[str] | None,
        typer.Argument(help="KEY=VALUE: site, filter, night, name, cone, cards, start, ..."),
    ] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    table: Annotated[
        Literal["csv", "votable"] | None, typer.Option(help="All of them as a table of this form.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Find exposures, the newest first; all conditions hold together.

    Words may be joined by commas: `filter=rp,ip`. `cone=RA,DEC,RADIUS` and `polygon=RA,DEC,...`
    are in degrees, `cards=KEYWORD=VALUE` searches the headers, `name=*0001*` is a pattern,
    `night=2024-08-03` is local noon to noon.

    Example: [bold]firstlight -w mynight archive search site=sro filter=rp exp_time_min=30[/]
    """
    from firstlight.services.finding.exposure_forms import (  # noqa: PLC0415, loads numerical libraries
        exposure_row,
    )
    from firstlight.services.finding.search_query import (  # noqa: PLC0415, likewise
        query_from_parameters,
    )

    factory = open_workspace(context)
    query = query_from_parameters(_by_name(conditions or []))
    if table is not None:
        for piece in factory.search.export(query, None, table):
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return
    page = factory.search.exposures(query, None, cursor=cursor, limit=limit)
    rows = [exposure_row(row) for row in page.rows]
    if as_json:
        print_json({"exposures": rows, "next": page.next_cursor})
        return
    if not rows:
        out.print("no exposure fits; with no conditions all are listed")
        return
    counted = [{**row, "n_files": len(row["files"])} for row in rows]
    print_table(table_of(counted, _that_fit(EXPOSURE_COLUMNS)))
    _tell_next(page.next_cursor)


@archive.command("header")
@guarded
def header(context: typer.Context, name: Name, as_json: Json = False) -> None:
    """The whole header of an exposure, in its order.

    Example: [bold]firstlight -w mynight archive header sro-kb001ms-20220629-00010442[/]
    """
    cards = open_workspace(context).search.header(name, None)
    if as_json:
        print_json([list(card) for card in cards])
        return
    for keyword, value, comment in cards:
        told = f" / {comment}" if comment else ""
        line = f"{keyword:<8} {'' if value is None else value}{told}"
        out.print(line, markup=False, highlight=False, soft_wrap=True)


@archive.command("get")
@guarded
def get(
    context: typer.Context,
    name: Name,
    folder: Annotated[Path, typer.Option(help="Where to; made where needed.")] = Path(),
    form: Annotated[
        Literal["stored", "fits", "tiff"],
        typer.Option(help="All files as stored, the image as plain FITS, or as 16-bit TIFF."),
    ] = "stored",
    stretch: Annotated[Literal["arcsinh", "linear"], typer.Option(help="Of the TIFF.")] = "arcsinh",
) -> None:
    """Copy the files of an exposure out of the archive, and print their paths.

    Example: [bold]firstlight -w mynight archive get sro-kb001ms-20220629-00010442 --form fits[/]
    """
    downloads = open_workspace(context).downloads
    opened: Iterable[ServedFile] = downloads.all_stored(name, None)
    if form == "fits":
        opened = [downloads.fits(name, None)]
    elif form == "tiff":
        opened = [downloads.tiff(name, None, stretch=stretch)]
    for file in opened:
        _save(folder / file.name, file.pieces(0, file.size))


@archive.command("zip")
@guarded
def pack(
    context: typer.Context,
    site: Annotated[str, typer.Argument(help="Name of the site.")],
    start: Annotated[datetime, typer.Argument(help="UTC: 2024-08-03 or 2024-08-03T18:00:00.")],
    end: Annotated[datetime, typer.Argument(help="UTC; exposures that began before it.")],
    size: Annotated[
        Literal["best", "large", "small"], typer.Option(help="Which FITS file of each.")
    ] = "best",
    to: Annotated[Path | None, typer.Option(help="The file to write.")] = None,
) -> None:
    """Pack the FITS files of all exposures of a site and a period.

    Example: [bold]firstlight -w mynight archive zip sro 2022-06-29 2022-06-30[/]
    """
    made = open_workspace(context).downloads.zip(
        site, start.replace(tzinfo=UTC), end.replace(tzinfo=UTC), None, size=size
    )
    _save(to or Path(made.name), made.pieces)
    for name in made.left_out:
        notes.print(f"[yellow]left out[/] {escape(name)}: no such file", highlight=False)


@archive.command("uploads")
@guarded
def uploads(
    context: typer.Context,
    site: Annotated[list[str] | None, typer.Option(help="Of this site; may be repeated.")] = None,
    state: Annotated[
        str | None,
        typer.Option(help="received, archived, known, quarantined or superseded."),
    ] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    as_json: Json = False,
) -> None:
    """The upload log: what has come, the newest first, and why what cannot be used cannot.

    Example: [bold]firstlight -w mynight archive uploads --site sro --state quarantined[/]
    """
    log = open_workspace(context).upload_log
    page = log.page(site or None, state=state, cursor=cursor, limit=limit).as_dict()
    if as_json:
        print_json(json.loads(json.dumps(page, default=str)))
        return
    if not page["uploads"]:
        out.print("nothing has come")
        return
    rows = [
        {
            **row,
            "received_at": str(row["received_at"])[:19],
            "reason": (row["error"] or {}).get("message"),
        }
        for row in page["uploads"]
    ]
    print_table(table_of(rows, _that_fit(UPLOAD_COLUMNS)))
    _tell_next(page["next"])


def _that_fit(columns: Columns) -> Columns:
    """All columns where the window is wide, or is none; else those that matter most."""
    if not out.is_terminal or out.width >= WIDE:
        return columns
    return tuple(each for each in columns if each[0] in NARROW)


def _save(path: Path, pieces: Iterable[bytes]) -> None:
    """Write a file whole or not at all, and print its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    try:
        with partial.open("wb") as stream:
            for piece in pieces:
                stream.write(piece)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    out.print(str(path), markup=False, highlight=False, soft_wrap=True)


def _by_name(conditions: list[str]) -> dict[str, list[str]]:
    """Texts by the name before the first equals sign."""
    found: dict[str, list[str]] = {}
    for condition in conditions:
        name, equal, value = condition.partition("=")
        if not equal:
            raise InvalidInput(
                found=condition, expected="KEY=VALUE, such as site=sro", field="conditions"
            )
        found.setdefault(name.strip(), []).append(value)
    return found


def _tell_next(cursor: str | None) -> None:
    if cursor is not None:
        notes.print(f"more: --cursor {escape(cursor)}", highlight=False, soft_wrap=True)
