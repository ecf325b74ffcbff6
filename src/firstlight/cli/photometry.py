"""`photometry`: send points of light curves, take them back, and get them as a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from firstlight.cli.console import guarded, notes, out, print_json
from firstlight.cli.opening import open_workspace, the_operator

if TYPE_CHECKING:
    pass

__all__ = ["photometry"]

photometry = typer.Typer(no_args_is_help=True, help="Photometry: upload, undo, export.")

Json = Annotated[bool, typer.Option("--json", help="For programs.")]
_ENDINGS = {".csv": "csv", ".parquet": "parquet", ".arrow": "arrow", ".arrows": "arrow"}


@photometry.command("upload")
@guarded
def upload(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="CSV with a line of names: mjd, filter, mag, ...")],
    obj_id: Annotated[
        str | None, typer.Option("--object", help="Of all rows, without a column obj_id.")
    ] = None,
    instrument: Annotated[
        str | None, typer.Option(help="Its name or number, without a column instrument_id.")
    ] = None,
    band: Annotated[str | None, typer.Option("--filter", help="Without a column filter.")] = None,
    origin: Annotated[str | None, typer.Option(help="What the points come from.")] = None,
    group: Annotated[
        list[int] | None, typer.Option(help="Number of a group that sees them; may be repeated.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Add the points of a file that are not there yet; says how to take them back.

    A magnitude with magerr, or a limiting_mag alone; or flux, fluxerr and zp. Without a group
    they are seen by whoever sees the object.

    Example: [bold]firstlight -w mynight photometry upload a.csv --object HAT-P-32[/]
    """
    from firstlight.services.objects.photometry_csv import (  # noqa: PLC0415, loads numpy
        columns_of_csv,
        in_parts,
    )

    factory = open_workspace(context)
    service = factory.photometry
    columns = columns_of_csv(
        file.read_text(encoding="utf-8-sig", errors="replace"),
        {
            "obj_id": obj_id,
            "instrument_id": None if instrument is None else service.instrument_number(instrument),
            "filter": band,
            "origin": origin,
            "group_ids": group or None,
        },
    )
    most = factory.settings.photometry.max_rows
    answers = [service.put(the_operator(), part) for part in in_parts(columns, most)]
    uploads = [answer["upload_id"] for answer in answers]
    points = sum(len(answer["ids"]) for answer in answers)
    if as_json:
        print_json({"points": points, "upload_ids": uploads})
        return
    out.print(f"{points} points are there", highlight=False)
    for each in uploads:
        notes.print(f"take them back: firstlight photometry undo {each}", highlight=False)


@photometry.command("undo")
@guarded
def undo(
    context: typer.Context,
    upload_id: Annotated[str, typer.Argument(help="As upload has told it.")],
) -> None:
    """Take an upload back. What was there before it stays.

    Example: [bold]firstlight -w mynight photometry undo 5f0c6a3e-3e0e-4a3e-8f43-a0b5f6a7f9b1[/]
    """
    count = open_workspace(context).photometry.remove_upload(the_operator(), upload_id)
    out.print(f"{count} points are removed", highlight=False)


@photometry.command("export")
@guarded
def export(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Of the object.")],
    file: Annotated[
        Path | None, typer.Option("--output", "-o", help=".csv, .parquet or .arrow; else CSV here.")
    ] = None,
    magsys: Annotated[str, typer.Option(help="ab, vega, bd17 or st.")] = "ab",
) -> None:
    """The light curve of an object in a file.

    Example: [bold]firstlight -w mynight photometry export HAT-P-32 -o hat.parquet[/]
    """
    from firstlight.errors import InvalidInput  # noqa: PLC0415, beside the services

    kind = "csv" if file is None else _ENDINGS.get(file.suffix.lower())
    if kind is None:
        raise InvalidInput(subject=file, field="--output", expected=", ".join(_ENDINGS))
    exports = open_workspace(context).light_curve_exports
    found = exports.file(the_operator(), name, kind, system=magsys)
    if file is None:
        sys.stdout.buffer.write(found.body)
        return
    file.write_bytes(found.body)
    notes.print(f"written: {file}", highlight=False)
